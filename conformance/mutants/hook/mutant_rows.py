"""The table of mutants: its rows as they are read from `rows/*.toml`, and how an edit is applied.

Standard library only: the import hook loads this module inside every mutated process.
"""

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

ROWS = Path(__file__).parents[1] / "rows"
EDITS_MAX = 6
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
SEPARATOR = ","
"""Separates the ids of rows that are applied together."""
ROW_BEGINS = re.compile(r"^\[\[row\]\]$", re.MULTILINE)
FAULT = "error: "
"""Prefix of a line of the record that says why a row could not be applied."""


class RowError(Exception):
    """A row that cannot be read or applied."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in the source of a module.

    `function` is a function, method or class as "Class.method", or empty for the whole module.
    """

    module: str
    find: str
    put: str
    function: str = ""

    def place(self, source: str) -> tuple[int, int, str]:
        """Return where in `source` the text to replace begins and ends, and its margin.

        The text must occur once in the function, or else once in the module. Raises RowError.
        """
        area = function_span(source, self.function) if self.function else None
        found = list(occurrences(source, self.find, area)) if area else []
        if len(found) != 1:
            found = list(occurrences(source, self.find, (0, len(source))))
        if len(found) != 1:
            where = f"{self.module}:{self.function}" if self.function else self.module
            raise RowError(f"{where}: the text occurs {len(found)} times, not once: {self.find!r}")
        return found[0]


@dataclass(frozen=True, slots=True)
class Row:
    """One mutant: a mistake, the rule it breaks and the cases that must notice it.

    `arguments` are added to the command line of the node, for the cases that they are given for.
    A row with a `kind` mutates the codec: a failed case of that kind must name `field`. `limit` is
    the limit of that kind that is broken, if it is one. A failed case counts if it cites `rule` or
    one of `also`. `crashes` says that the mistake is to end, or to fail unexpectedly,
    `idle` that only a machine without other work shows it.
    """

    id: str
    rule: str
    mistake: str
    edits: tuple[Edit, ...]
    noticed_by: tuple[str, ...] = ()
    survives: str = ""
    arguments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kind: str = ""
    field: str = ""
    limit: str = ""
    also: tuple[str, ...] = ()
    crashes: bool = False
    idle: bool = False


def read_rows(folder: Path = ROWS, only: str | None = None) -> dict[str, Row]:
    """Return the rows of every file of the folder by id. Raises RowError.

    With `only`, a list of ids separated by commas, it reads those alone: each process of a mutant
    does, and to read them all takes longer than the start of a codec.
    """
    rows: dict[str, Row] = {}
    for path in sorted(folder.glob("*.toml")):
        text = path.read_text("utf-8")
        if only is not None:
            text = _cut_to(text, _names_in(only))
        try:
            content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            raise RowError(f"{path.name}: {exc}") from exc
        if set(content) - {"row"}:
            raise RowError(f"{path.name}: holds [[row]] only, not {sorted(set(content) - {'row'})}")
        for table in content.get("row", ()):
            row = _read_row(table, path.name)
            if row.id in rows:
                raise RowError(f"{path.name}: {row.id} occurs twice")
            rows[row.id] = row
    if only is not None and not rows.keys() >= set(_names_in(only)):
        # Spelled in another way, or not there, which the whole table shows.
        return read_rows(folder)
    return rows


def choose(rows: Mapping[str, Row], names: str) -> list[Row]:
    """Return the rows of a list of ids separated by commas. Raises RowError for an unknown id."""
    wanted = _names_in(names)
    unknown = [name for name in wanted if name not in rows]
    if unknown:
        raise RowError(f"no row {', '.join(unknown)}")
    return [rows[name] for name in wanted]


def edits_by_module(rows: Iterable[Row]) -> dict[str, list[Edit]]:
    """Return the edits of all rows, by the module that they change."""
    by_module: dict[str, list[Edit]] = {}
    for row in rows:
        for edit in row.edits:
            by_module.setdefault(edit.module, []).append(edit)
    return by_module


def apply_edits(source: str, edits: Iterable[Edit]) -> str:
    """Return the source with every edit made. All texts are looked for in the unchanged source.

    Raises RowError where a text is not found once or where two edits overlap.
    """
    found = sorted(((*edit.place(source), edit) for edit in edits), key=lambda place: place[:2])
    for (_, end, _, one), (start, _, _, other) in pairwise(found):
        if start < end:
            raise RowError(f"{one.module}: two edits overlap: {one.find!r} and {other.find!r}")
    for start, end, margin, edit in reversed(found):
        source = source[:start] + indented(edit.put, margin) + source[end:]
    return source


def function_span(source: str, name: str) -> tuple[int, int] | None:
    """Return where a function or class, decorators included, begins and ends; None without it."""
    body: Sequence[ast.stmt] = ast.parse(source).body
    found: Definition | None = None
    for part in name.split("."):
        named = [node for node in _definitions(body) if node.name == part]
        if not named:
            return None
        found, body = named[-1], named[-1].body
    assert found is not None
    first = min([found.lineno, *(decorator.lineno for decorator in found.decorator_list)])
    starts = _line_starts(source)
    assert found.end_lineno is not None
    return starts[first - 1], starts[found.end_lineno]


def occurrences(source: str, text: str, area: tuple[int, int]) -> Iterator[tuple[int, int, str]]:
    """Yield begin, end and margin of every place inside the area that reads as the text.

    The margin is what every line of the text but its first has before it in the source: the blanks
    of the line in which the place begins, less those with which the text itself begins.
    """
    first = text.split("\n", maxsplit=1)[0].lstrip(" ")
    lead = text.index(first)
    at = source.find(first, area[0], area[1])
    while at >= 0:
        begin, margin = at - lead, indentation(source, at)[lead:]
        whole = indented(text, margin)
        if begin >= area[0] and source.startswith(whole, begin) and begin + len(whole) <= area[1]:
            yield begin, begin + len(whole), margin
        at = source.find(first, at + 1, area[1])


def indentation(source: str, at: int) -> str:
    """Return the blanks at the begin of the line that holds this place."""
    line = source[source.rfind("\n", 0, at) + 1 :]
    return line[: len(line) - len(line.lstrip(" "))]


def indented(text: str, blanks: str) -> str:
    """Return the text with blanks before every line but the first; empty lines stay empty."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(blanks + line if line else line for line in rest)])


def _names_in(names: str) -> list[str]:
    return [name.strip() for name in names.split(SEPARATOR) if name.strip()]


def _cut_to(text: str, names: Iterable[str]) -> str:
    """Return what a file has of rows with these ids."""
    lines = {f'id = "{name}"' for name in names}
    blocks = ROW_BEGINS.split(text)[1:]
    kept = [block for block in blocks if not lines.isdisjoint(block.splitlines())]
    return "".join(f"[[row]]{block}" for block in kept)


def _definitions(
    body: Sequence[ast.stmt],
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Yield the definitions of a body, also those under `if` and `try`."""
    for node in body:
        if isinstance(node, Definition):
            yield node
        else:
            for name in ("body", "orelse", "handlers", "finalbody"):
                yield from _definitions(getattr(node, name, ()))


def _line_starts(source: str) -> list[int]:
    starts = [0]
    for line in source.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    starts[-1] = len(source)
    return starts


def _read_row(table: Mapping[str, Any], place: str) -> Row:
    name = table.get("id", "?")
    where = f"{place}: {name}"
    _require(table, Row, where)
    if not all(isinstance(table[key], str) and table[key] for key in ("id", "rule", "mistake")):
        raise RowError(f"{where}: id, rule and mistake are texts")
    if not 1 <= len(table["edits"]) <= EDITS_MAX:
        raise RowError(f"{where}: has {len(table['edits'])} edits, not 1 to {EDITS_MAX}")
    for edit in table["edits"]:
        _require(edit, Edit, where)
    if bool(table.get("noticed_by")) == bool(table.get("survives")):
        raise RowError(f"{where}: needs either noticed_by or survives with the reason")
    if bool(table.get("kind")) != bool(table.get("field")):
        raise RowError(f"{where}: kind and field go together")
    edits = tuple(
        Edit(**{**edit, "find": _text(edit["find"]), "put": _text(edit["put"])})
        for edit in table["edits"]
    )
    if not all(edit.find for edit in edits):
        raise RowError(f"{where}: an edit with nothing to find")
    lists = {name: tuple(table.get(name, ())) for name in ("noticed_by", "also")}
    return Row(**{**table, "edits": edits, **lists})


def _require(table: Mapping[str, Any], shape: type[Row] | type[Edit], where: str) -> None:
    known = {member.name for member in fields(shape)}
    needed = {"id", "rule", "mistake", "edits"} if shape is Row else {"module", "find", "put"}
    if set(table) - known or needed - set(table):
        said = f"unknown {sorted(set(table) - known)}, missing {sorted(needed - set(table))}"
        raise RowError(f"{where}: {shape.__name__.lower()} has {said}")


def _text(text: str) -> str:
    """Return a text of the file without its common indentation and its last line end."""
    return dedent(text).removesuffix("\n") if "\n" in text else text
