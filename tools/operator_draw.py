"""Draws the sample of mutants that operators make, and applies its mutants to a process."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Final

from mutants import HOOK, Mutant, source_of
from mutation_operators import Site, mutated, sites
from operator_sample import FOLDER, PACKAGES, ROOT, Draw, Drawn

# isort: split
# In the folder of the hook, which `mutants` adds to the path.
from mutant_rows import SEPARATOR, Edit, Row, RowError, apply_edits

REFERENCE: Final = ROOT / "reference"
SEED: Final = 11
SIZE: Final = 500
BATCH: Final = 40
IMPORTS_BESIDE: Final = 2
IMPORT_S: Final = 20.0
"""Seconds after which an import counts as endless."""
ENTRANCES: Final = ("meshwire_reference.cli.run", "meshwire_reference.harness.serve")
"""Modules that import every module of the packages: the node and the codec harness."""


# --- Applying --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DrawnMutant(Mutant):
    """A mutant whose row is in a table of its own, in `folder`."""

    folder: Path = FOLDER

    def command(self, record: Path) -> str:
        """Return the command line of the bundled node with the row applied."""
        table = shlex.quote(str(self.folder))
        return f"env MUTANT_TABLE={table} {Mutant.command(self, record)}"


def mutant_in(folder: Path, *drawn: Drawn) -> DrawnMutant:
    """Write the table of drawn mutants into a folder, and return the mutant of all of them."""
    (folder / "drawn.toml").write_text("\n".join(map(row_text, drawn)), "utf-8")
    name = SEPARATOR.join(one.id for one in drawn)
    return DrawnMutant(name, tuple(map(row_of, drawn)), (), folder=folder)


def row_text(drawn: Drawn) -> str:
    """Return a table with one row, for the hook; a text of JSON is one of TOML too."""
    values = {"id": drawn.id, "rule": "none", "mistake": drawn.operator, "survives": "unknown"}
    edit = {"module": drawn.module, "find": drawn.find, "put": drawn.put}
    lines = ["[[row]]", *_members(values), "[[row.edits]]", *_members(edit)]
    return "\n".join(lines) + "\n"


def _members(values: Mapping[str, str]) -> Iterator[str]:
    for name, value in values.items():
        yield f"{name} = {json.dumps(value, ensure_ascii=False)}"


def row_of(drawn: Drawn) -> Row:
    """Return a drawn mutant as a row of the table of mutants."""
    edit = Edit(drawn.module, drawn.find, drawn.put)
    return Row(drawn.id, "", drawn.operator, (edit,), survives=drawn.operator)


# --- Drawing ---------------------------------------------------------------------------------


def modules() -> list[str]:
    """Return the names of the modules that are mutated, in order."""
    return sorted(
        ".".join(path.relative_to(REFERENCE).with_suffix("").parts)
        for package in PACKAGES
        for path in (REFERENCE / "meshwire_reference" / package).rglob("*.py")
        if path.name != "__init__.py"
    )


def edit_of(module: str, source: str, text: str) -> Edit | None:
    """Return the edit of whole lines that makes `text` of `source`; None if there is none.

    Lines beside the changed ones are added until the text to find occurs once.
    """
    old, new = source.split("\n"), text.split("\n")
    head = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    end = len(old) - tail
    for before, after in _margins(head, tail):
        lines = old[head - before : end + after]
        put = new[head - before : len(new) - tail + after]
        edit = _lines_edit(module, lines, put)
        if edit is not None and _makes(edit, source, text):
            return edit
    return None


def _margins(head: int, tail: int) -> Iterator[tuple[int, int]]:
    """Yield numbers of lines before and after a change: equal ones first, then the others."""
    yield from ((min(number, head), min(number, tail)) for number in range(max(head, tail) + 1))
    for both in range(head + tail + 1):
        for before in range(max(0, both - tail), min(head, both) + 1):
            yield before, both - before


def _lines_edit(module: str, find: Sequence[str], put: Sequence[str]) -> Edit | None:
    """Return an edit of lines without their common indentation, or None if a table cannot hold it.

    A table takes off the indentation of each text by itself, and a last line end.
    """
    margin = min((len(line) - len(line.lstrip(" ")) for line in find if line), default=0)
    texts = ["\n".join(line[margin:] for line in lines) for lines in (find, put)]
    if not texts[0].strip() or any(dedent(text) != text or text.endswith("\n") for text in texts):
        return None
    return Edit(module, *texts)


def _makes(edit: Edit, source: str, text: str) -> bool:
    """Return True if the edit applies to the source and makes the text of it."""
    try:
        return apply_edits(source, [edit]) == text
    except RowError:
        return False


def draw(seed: int, size: int) -> Draw:
    """Return a sample of the mutants of all modules.

    A mutant that changes nothing, is no valid source, or prevents the import of the node or the
    codec harness is replaced by another draw.
    """
    sources = {name: _source(name) for name in modules()}
    every = [(name, site) for name, source in sources.items() for site in sites(source)]
    order = random.Random(seed)  # noqa: S311 - a sample that can be drawn again
    order.shuffle(every)
    chosen: dict[str, Drawn] = {}
    tried = 0
    with ThreadPoolExecutor(IMPORTS_BESIDE) as pool:
        while len(chosen) < size and tried < len(every):
            part = every[tried : tried + min(BATCH, size - len(chosen))]
            tried += len(part)
            found = [_drawn(name, sources[name], site) for name, site in part]
            made = [one for one in found if one is not None]
            imports = pool.map(is_imported, made)
            chosen |= {one.id: one for one, fits in zip(made, imports, strict=True) if fits}
    return Draw(seed, tuple(chosen.values()), len(every), tried - len(chosen))


def _source(module: str) -> str:
    path = source_of(module)
    assert path is not None
    return path.read_text("utf-8")


def _drawn(module: str, source: str, site: Site) -> Drawn | None:
    text = mutated(source, site)
    edit = None if text is None else edit_of(module, source, text)
    if edit is None:
        return None
    digest = hashlib.sha256(f"{module}\n{edit.find}\n{edit.put}".encode()).hexdigest()[:6]
    name = module.split(".", 1)[1].replace(".", "-").replace("_", "-")
    return Drawn(f"{name}-{digest}", module, site.operator, site.start[0], edit.find, edit.put)


def is_imported(drawn: Drawn) -> bool:
    """Return True if the node and the codec harness can be imported with the mutant."""
    with tempfile.TemporaryDirectory(prefix="meshwire-operator-") as folder:
        environment = {**os.environ, **variables(mutant_in(Path(folder), drawn))}
        command = [sys.executable, "-c", f"import {', '.join(ENTRANCES)}"]
        try:
            done = subprocess.run(
                command, capture_output=True, check=False, timeout=IMPORT_S, env=environment
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


def variables(mutant: DrawnMutant) -> dict[str, str]:
    """Return the environment in which Python loads the mutant."""
    return {
        "MUTANT_TABLE": str(mutant.folder),
        "MUTANT_ROWS": mutant.name,
        "PYTHONPATH": str(HOOK),
        "PYTHONWARNINGS": "ignore",
    }
