"""Vector files and the ledger of ids: reading, writing and formatting."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        for fault in faults(name, json.loads(text)):
            yield f"{path.name} {fault[:FAULT_MAX]}"


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
        path: json.loads(path.read_text())
        for path in sorted(VECTORS.glob("*/*.json"))
        if not path.name.endswith(".transcript.json")
    }
