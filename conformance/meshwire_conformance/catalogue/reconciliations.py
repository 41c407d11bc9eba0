"""Vectors of whole reconciliations: two sets, and every message between them, read from data.

The format is described in `vectors/README.md` and checked by the schema `reconciliation.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from meshwire_conformance.catalogue.case import Case, digest_of
from meshwire_conformance.catalogue.data_files import vectors_folder
from meshwire_conformance.errors import SuiteFault

KIND = "negentropy_run"
"""Kind of these cases; no message has it."""
FOLDER = "reconciliation/runs"
ID = 32
LISTED_MAX = 40
"""More ids than so many are told by their number and digest."""

Item = tuple[int, bytes]


def expand_items(parts: Sequence[Mapping[str, Any]]) -> list[Item]:
    """Items of a set as a vector tells it."""
    return [item for part in parts for item in part_items(json.dumps(part, sort_keys=True))]


@cache
def part_items(text: str) -> tuple[Item, ...]:
    """Items of one part, given as JSON with its members in order."""
    part = json.loads(text)
    timestamp = int(part["timestamp"])
    if "id" in part:
        return ((timestamp, bytes.fromhex(part["id"])),)
    prefix, label = bytes.fromhex(part.get("prefix", "")), part["label"]
    first, step, group = part["first"], int(part["step"]), part.get("group", 1)
    return tuple(
        (
            timestamp + step * (number // group),
            (prefix + sha256(f"{label}:{number}".encode()).digest())[:ID],
        )
        for number in range(first, first + part["count"])
    )


def told(ids: Sequence[bytes]) -> list[str] | dict[str, Any]:
    """Ids as a vector tells them: in order, each once, and many of them by their digest."""
    names = sorted(set(ids))
    if len(names) <= LISTED_MAX:
        return [name.hex() for name in names]
    return {"count": len(names), "sha256": sha256(b"".join(names)).hexdigest()}


@dataclass(frozen=True, slots=True)
class Run:
    """What a reconciliation case is made of: a member of a file of such vectors."""

    raw: Mapping[str, Any]

    def items(self, role: str) -> list[Item]:
        """Items of one side, `client` or `server`."""
        return expand_items(self.raw[role]["items"])

    def frame_limit(self, role: str) -> int:
        """Frame limit of one side; 0 is none."""
        return int(self.raw[role]["frame_limit"])

    @property
    def messages(self) -> Sequence[str]:
        """Messages in turn as hex, the client's first."""
        return tuple(self.raw["messages"])

    @property
    def bad(self) -> str | None:
        """The message that is to be refused, or None where all is well."""
        return self.raw.get("bad")

    @property
    def bad_role(self) -> str:
        """Which side gets the bad message."""
        return "server" if len(self.messages) % 2 == 0 else "client"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons that the refusal may give."""
        return tuple(self.raw.get("reasons", ()))


def run_files(folder: Path | None = None) -> list[Path]:
    """Files of reconciliation vectors."""
    root = vectors_folder() if folder is None else folder
    return sorted((root / FOLDER).glob("*.json"))


def case_of(raw: dict[str, Any]) -> Case:
    """The case that a run is."""
    return Case(
        id=raw["id"],
        title=raw["title"],
        kind=KIND,
        part="reconciliation",
        rules=tuple(raw["rules"]),
        results=raw["result"],
        source=raw["source"],
        digest=digest_of(raw),
        hunts=raw.get("hunts", ""),
        harm=raw.get("harm", ""),
        control=raw.get("control"),
        body=Run(raw),
    )


def load_cases() -> Iterator[Case]:
    """Every reconciliation case; raises SuiteFault on an unreadable file."""
    for path in run_files():
        try:
            yield from map(case_of, json.loads(path.read_bytes())["runs"])
        except (ValueError, KeyError, TypeError) as exc:
            raise SuiteFault(f"{path.name} is no file of reconciliations: {exc!r}") from exc
