"""Vectors of signed operations: each names lines of the recordings, which are read here.

The format is `meshwire_spec.schemas.oplog`. What level `strict` requires where it differs from
what was recorded is in `levels/` beside the recordings: states in `differences.json`, documents in
`views.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec

from meshwire_conformance.catalogue.case import Case, digest_of
from meshwire_conformance.catalogue.data_files import vectors_folder
from meshwire_conformance.errors import SuiteFault
from meshwire_spec.schemas.oplog import OplogFile, OplogVector

PART = "oplog"
TEXT, SIGNATURE, HISTORY = "oplog_text", "oplog_signature", "oplog_history"
JOIN, CANONICAL = "oplog_join", "oplog_canonical"
# Files of lines by their folder: those that were recorded, and those that were made by hand.
FILES = {
    "recorded": ("ids", "ed25519", "apply", "panics"),
    "hand": ("joins", "canonical", "histories"),
}


@dataclass(frozen=True, slots=True)
class OplogRun:
    """A vector with the recorded lines that it names."""

    vector: OplogVector
    lines: tuple[Mapping[str, Any], ...]
    # Of a history at `strict`: outcomes by index that differ, and the final document if it does.
    strict: tuple[Mapping[int, str], ...] = ()
    finals: tuple[Mapping[str, Any], ...] = ()


@dataclass(slots=True)
class _Recordings:
    lines: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    shared: dict[str, list[Any]] = field(default_factory=dict)


@cache
def recordings() -> _Recordings:
    """Return every recorded line, by file and number; raises SuiteFault if a file is no such."""
    found = _Recordings()
    for folder, name in ((folder, name) for folder, names in FILES.items() for name in names):
        path = vectors_folder() / PART / folder / f"{name}.jsonl"
        try:
            lines = [json.loads(line) for line in path.read_text().split("\n") if line]
        except (OSError, ValueError) as exc:
            raise SuiteFault(f"{path.name} is no recording: {exc}") from exc
        found.lines[name] = {line["n"]: line for line in lines}
        found.shared |= {line["ref"]: line["ops"] for line in lines if "ref" in line}
    return found


def operations_of(line: Mapping[str, Any]) -> list[Any]:
    """Return the operations of a scenario in the order in which they are applied."""
    made = line["ops"] if "ops" in line else recordings().shared[line["ops_ref"]]
    return [made[index] for index in line.get("order", range(len(made)))]


@cache
def _level(name: str) -> dict[str, Any]:
    path = vectors_folder() / PART / "levels" / f"{name}.json"
    table: dict[str, Any] = json.loads(path.read_text())
    return table


@cache
def _outcomes() -> dict[int, dict[int, str]]:
    """Return outcomes that differ at `strict`, by scenario and index."""
    outcomes: dict[int, dict[int, str]] = {}
    for row in _level("differences")["outcomes"]:
        for number, indices in row["at"]:
            outcomes.setdefault(number, {}).update(dict.fromkeys(indices, row["strict"]))
    return outcomes


@cache
def _finals() -> dict[int, dict[str, Any]]:
    """Return view and lists by scenario where they differ at `strict`."""
    rows = _level("views")["views"]
    return {n: {key: row[key] for key in row if key != "n"} for row in rows for n in row["n"]}


def run_of(vector: OplogVector) -> OplogRun:
    """Return a vector with its lines; raises SuiteFault if one is missing."""
    known = recordings().lines[vector.recorded]
    try:
        lines = tuple(known[number] for number in vector.n)
    except KeyError as exc:
        raise SuiteFault(f"{vector.id}: {vector.recorded} has no line {exc}") from exc
    if vector.recorded not in {"apply", "histories"}:
        return OplogRun(vector, lines)
    # What was made by hand is what `strict` requires.
    outcomes, finals = (_outcomes(), _finals()) if vector.recorded == "apply" else ({}, {})
    return OplogRun(
        vector,
        lines,
        tuple(outcomes.get(number, {}) for number in vector.n),
        tuple(finals.get(number, {}) for number in vector.n),
    )


def case_of(vector: OplogVector) -> Case:
    """Return the case for a vector of operations."""
    run = run_of(vector)
    strict = [sorted(outcomes.items()) for outcomes in run.strict]
    content = [msgspec.to_builtins(vector), list(run.lines), strict, list(run.finals)]
    return Case(
        id=vector.id,
        title=vector.title,
        kind=vector.kind,
        part=PART,
        rules=tuple(vector.rules),
        results=msgspec.structs.asdict(vector.result),
        source=vector.source,
        digest=digest_of(content),
        body=run,
    )


def read_files() -> Iterator[OplogFile]:
    """Yield every file of vectors of operations; raises SuiteFault for one of another format."""
    for path in sorted((vectors_folder() / PART / "cases").glob("*.json")):
        try:
            yield msgspec.json.decode(path.read_bytes(), type=OplogFile)
        except msgspec.DecodeError as exc:
            raise SuiteFault(f"{path.name} is no file of vectors of operations: {exc}") from exc


def load_cases() -> Iterator[Case]:
    """Yield every case of the profile `oplog/1`."""
    for file in read_files():
        yield from map(case_of, file.vectors)
