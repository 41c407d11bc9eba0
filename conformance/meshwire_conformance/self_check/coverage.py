"""Coverage of the vectors: every field of the schema against every fault class that fits it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.self_check.field_table import FieldRow, fields_of, generic
from meshwire_spec.numbers import KINDS
from meshwire_spec.schemas.vectors import Vector

Cell = tuple[str, str, str]
"""Kind, field path without indices, fault class."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Numbers of vectors: negatives by cell, all by cell, and in total."""

    cells: Counter[Cell]
    everything: Counter[Cell]
    positives: int
    negatives: int
    sources: Counter[str]

    @property
    def triples(self) -> int:
        """Distinct cells of negatives, and positives."""
        return len(self.cells) + self.positives

    def empty(self) -> list[tuple[FieldRow, str]]:
        """Return the cells of the schema that no vector fills."""
        return [(row, fault) for row, fault, count in self.table() if count == 0]

    def table(self) -> Iterator[tuple[FieldRow, str, int]]:
        """Yield every field with each fault class that fits it, and the number of its vectors."""
        for kind in KINDS:
            for row in fields_of(kind):
                for fault in row.classes:
                    yield row, fault, self.everything[(row.kind, row.path, fault)]


def measure(cases: Iterable[Case]) -> Coverage:
    """Return the coverage of the codec cases among `cases`."""
    cells: Counter[Cell] = Counter()
    everything: Counter[Cell] = Counter()
    sources: Counter[str] = Counter()
    positives = negatives = 0
    for case in cases:
        if not isinstance(case.body, Vector):
            continue
        cell = (case.kind, generic(case.body.field), case.body.fault)
        everything[cell] += 1
        sources[case.source.partition(":")[0]] += 1
        if case.results["strict"] == "valid":
            positives += 1
        else:
            negatives += 1
            cells[cell] += 1
    return Coverage(cells, everything, positives, negatives, sources)


def lines_of(coverage: Coverage) -> Iterator[str]:
    """Yield the table, one line per field, and the totals."""
    last: FieldRow | None = None
    line = ""
    for row, fault, count in coverage.table():
        if row != last:
            if line:
                yield line
            if last is None or row.kind != last.kind:
                yield f"{row.kind}"
            line = f"  {row.path or '(end of message)':<36} {row.role:<12}"
            last = row
        line += f" {fault}:{count or 'EMPTY'}"
    yield line
    yield ""
    yield (
        f"{coverage.positives} positives, {coverage.negatives} negatives, "
        f"{coverage.triples} distinct triples or positives"
    )
    for source, count in sorted(coverage.sources.items()):
        yield f"  {source}: {count}"
    for row, fault in coverage.empty():
        yield f"EMPTY {row.kind} {row.path} {fault}"
