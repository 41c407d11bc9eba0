"""Vector files and the ledger of ids: reading, writing and formatting."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshwire_conformance.errors import SuiteFault
from meshwire_spec.numbers import KINDS
from meshwire_spec.schemas.validation import faults

ROOT = Path(__file__).resolve().parents[1]
VECTORS = ROOT / "vectors"
LEDGER = VECTORS / "ids.json"
FIRST_ID = 1001
"""Number of the first codec vector."""
SOCKET = "socket|"
"""Prefix of the keys of socket cases."""

ORDER = (
    "id",
    "kind",
    "title",
    "rules",
    "field",
    "fault",
    "hex",
    "at",
    "respond",
    "value",
    "result",
    "reasons",
    "hunts",
    "harm",
    "control",
    "disputed",
    "source",
)
"""Members of a vector in the order in which they are written."""

FAULT_MAX = 240
"""Characters of a fault that are shown."""
REPEAT_FROM = 512
"""Length from which a text is searched for repetitions of one short unit."""


TODO = "TODO"
"""What the stubs of `new_rule` have where something is to be filled in."""
UNNUMBERED = "MW-0000"
CLAIM = re.compile(
    r"(?<!that )(?<!which )\b(?:is|are) (?:accepted|answered|applied|deleted|ignored|kept|listed"
    r"|offered|passed|processed|refused|relayed|sent|served|skipped|stored|taken)\b"
)
"""A result that a title must not claim: it is printed beside the verdict of a failure."""
INDEXED = re.compile(r"\b(?P<list>vectors|transcripts)(?:\.|\[)(?P<index>\d+)\]?")
"""How a fault of a schema names one vector or transcript of a file."""


@dataclass(slots=True)
class Ledger:
    """Every id ever assigned, with its key; entries are never removed."""

    keys: dict[str, str] = field(default_factory=dict)

    def id_of(self, key: str) -> str:
        """Return the id of this key: the assigned one, else the next unused one."""
        for name, known in self.keys.items():
            if known == key:
                return name
        own = [name for name, known in self.keys.items() if not known.startswith(SOCKET)]
        number = max([FIRST_ID - 1, *(int(name.partition("-")[2]) for name in own)]) + 1
        while f"MW-{number:04d}" in self.keys:
            number += 1
        self.keys[f"MW-{number:04d}"] = key
        return f"MW-{number:04d}"

    def note(self, number: str, title: str) -> None:
        """Record the id of a socket case, which is written by hand in its file."""
        self.keys.setdefault(number, f"{SOCKET}{title}")

    def text(self) -> str:
        """Return the canonical text of the ledger file."""
        return json.dumps(dict(sorted(self.keys.items())), indent=0, ensure_ascii=False) + "\n"


def read_ledger() -> Ledger:
    """Return the committed ledger, or an empty one if the file does not exist."""
    return Ledger(json.loads(LEDGER.read_text()) if LEDGER.exists() else {})


def title_fault(title: str) -> str:
    """Return the fault of the title of a case, or an empty text."""
    if TODO in title:
        return f"{TODO} stands in its title"
    if found := CLAIM.search(title):
        return f'its title claims "{found.group()}": name the input, or write "must be"'
    return ""


def canonical(part: str, vectors: Iterable[Mapping[str, Any]]) -> str:
    """Return the canonical text of a vector file: one member per line, in `ORDER`."""
    blocks = []
    for vector in sorted(vectors, key=lambda v: str(v["id"])):
        unknown = set(vector) - set(ORDER)
        if unknown:
            raise SystemExit(f"{vector['id']}: unknown members {sorted(unknown)}")
        lines = [f'    "{name}": {_compact(vector[name])}' for name in ORDER if name in vector]
        blocks.append("  {\n" + ",\n".join(lines) + "\n  }")
    body = ",\n".join(blocks)
    return f'{{\n"part": {json.dumps(part)},\n"vectors": [\n{body}\n]\n}}\n'


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def schema_faults(name: str, texts: Mapping[Path, str]) -> Iterator[str]:
    """Yield the faults of these files by the published schema of this name, one line each."""
    for path, text in texts.items():
        document = json.loads(text)
        for fault in faults(name, document):
            yield f"{path.name}: {with_ids(fault, document)[:FAULT_MAX]}"


def written_faults(files: Mapping[Path, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the faults of vectors as written, which need no id yet, one line each."""
    for path, document in files.items():
        vectors = document["vectors"]
        for vector in vectors:
            open_members = [name for name, value in vector.items() if TODO in json.dumps(value)]
            if open_members:
                named = vector.get("id") or ", ".join(vector.get("rules", ()))
                yield f"{path.name}: {named}: {TODO} stands in {', '.join(open_members)}"
            elif fault := title_fault(str(vector.get("title", ""))):
                yield f"{path.name}: {vector.get('id') or vector.get('title')}: {fault}"
            elif vector.get("kind") not in KINDS:
                yield f"{path.name}: {vector.get('title')}: no kind {vector.get('kind')!r}"
        complete = {**document, "vectors": [{"id": UNNUMBERED, **vector} for vector in vectors]}
        for fault in faults("vectors", complete):
            yield f"{path.name}: {with_ids(fault, document)[:FAULT_MAX]}"


def with_ids(fault: str, document: Any) -> str:
    """Return a fault of a file with the ids of vectors and transcripts instead of indexes."""

    def named(found: re.Match[str]) -> str:
        one = document[found["list"]][int(found["index"])]
        return str(one.get("id") or one.get("title") or found[0])

    return INDEXED.sub(named, fault)


def fault_text(fault: SuiteFault) -> str:
    """Return the text of a fault of a file, with ids instead of indexes if the file is readable."""
    text = str(fault)
    name = text.partition(":")[0]
    path = next(VECTORS.glob(f"*/{name}"), None) if name.endswith(".json") else None
    return text if path is None else with_ids(text, read_json(path))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; ends the tool with the place where it is no JSON."""
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as exc:
        raise SystemExit(f"{path.parent.name}/{path.name} is no JSON: {exc}") from exc


def shorten(node: Any) -> Any:
    """Return a value in which every long repetition of one unit is written as such."""
    if isinstance(node, dict):
        return node if node.keys() == {"join"} else {k: shorten(v) for k, v in node.items()}
    if isinstance(node, list):
        return [shorten(item) for item in node]
    if isinstance(node, str) and len(node) > REPEAT_FROM:
        return _shorten_text(node)
    return node


def _shorten_text(text: str) -> Any:
    """Return the text as up to three parts, the middle one repeated, if that is much shorter."""
    best: tuple[int, int, str, int] | None = None
    for size in (1, 2, 3, 4, 6):
        start = _run_start(text, size)
        unit = text[start : start + size]
        times = 0
        while text.startswith(unit, start + times * size) and unit:
            times += 1
        if best is None or times * size > best[0]:
            best = (times * size, start, unit, times)
    assert best is not None
    covered, start, unit, times = best
    if covered < REPEAT_FROM:
        return text
    parts: list[Any] = [text[:start], {"repeat": unit, "times": times}, text[start + covered :]]
    return {"join": [part for part in parts if part]}


def _run_start(text: str, size: int) -> int:
    """Return the start of the longest repetition of a unit of this size, at aligned places only."""
    best_start, best_length, start = 0, 0, 0
    while start + size <= len(text):
        unit, end = text[start : start + size], start + size
        while text.startswith(unit, end):
            end += size
        if end - start > best_length:
            best_start, best_length = start, end - start
        start = max(start + (2 if size % 2 == 0 else 1), end - size)
    return best_start


def read_files() -> dict[Path, dict[str, Any]]:
    """Return every vector file of the checkout by its path."""
    return {
        path: read_json(path)
        for path in sorted(VECTORS.glob("*/*.json"))
        if not path.name.endswith(".transcript.json")
    }
