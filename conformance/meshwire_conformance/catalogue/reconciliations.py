"""Vectors of whole reconciliations: found and read here, with the items that their sets hold.

The format is `meshwire_spec.schemas.reconciliation`; the page on vectors describes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from meshwire_conformance.catalogue.case import Case, case_of_data
from meshwire_conformance.catalogue.data_files import vectors_folder
from meshwire_conformance.errors import SuiteFault
from meshwire_spec.numbers import NEGENTROPY_ID
from meshwire_spec.schemas.reconciliation import Items, ReconciliationFile, ReconciliationRun

KIND = "negentropy_run"
"""Kind of these cases; no message has it."""
FOLDER = "reconciliation/runs"
LISTED_MAX = 40
"""Greatest number of ids that a vector lists; more are given by their number and digest."""


def expand_items(parts: Sequence[Items]) -> list[tuple[int, bytes]]:
    """Return every item of a set."""
    return [item for part in parts for item in part_items(part)]


@cache
def part_items(part: Items) -> tuple[tuple[int, bytes], ...]:
    """Return the items of one part of a set; the result is shared between sets."""
    timestamp = int(part.timestamp)
    if part.id:
        return ((timestamp, bytes.fromhex(part.id)),)
    assert part.first is not msgspec.UNSET
    assert part.count
    assert part.step
    prefix, step, group = bytes.fromhex(part.prefix or ""), int(part.step), part.group or 1
    return tuple(
        (
            timestamp + step * (number // group),
            (prefix + sha256(f"{part.label}:{number}".encode()).digest())[:NEGENTROPY_ID],
        )
        for number in range(part.first, part.first + part.count)
    )


def listed(ids: Sequence[bytes]) -> list[str] | dict[str, Any]:
    """Return ids as a vector gives them: sorted and unique, or a digest if there are many."""
    names = sorted(set(ids))
    if len(names) <= LISTED_MAX:
        return [name.hex() for name in names]
    return {"count": len(names), "sha256": sha256(b"".join(names)).hexdigest()}


def run_files(folder: Path | None = None) -> list[Path]:
    """Return files of reconciliation vectors."""
    root = vectors_folder() if folder is None else folder
    return sorted((root / FOLDER).glob("*.json"))


def case_of(run: ReconciliationRun) -> Case:
    """Return the case for a reconciliation vector."""
    return case_of_data(run, KIND, "reconciliation")


def load_cases() -> Iterator[Case]:
    """Yield every reconciliation case; raises SuiteFault for a file of another format."""
    for path in run_files():
        try:
            file = msgspec.json.decode(path.read_bytes(), type=ReconciliationFile)
        except msgspec.DecodeError as exc:
            raise SuiteFault(f"{path.name} is no file of reconciliations: {exc}") from exc
        yield from map(case_of, file.runs)
