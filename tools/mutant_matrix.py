"""Run every case over connections against every mutant of the node, and find cases without a row.

A case has a row of its own if a mutant is noticed by it alone, or by it and others that cite one
rule with it. Every other case notices only what different cases notice too. A run ends once more
cases have failed than cite any one rule: such a mutant is no row of its own for any case. The
whole table takes about two hours; what is measured is kept in conformance/mutants/matrix.json, one
line for each row, and a further run goes on with the rows that are left.

Examples: python tools/mutant_matrix.py --file lab.toml --stop-after 600
          python tools/mutant_matrix.py --check
"""

import argparse
import asyncio
import json
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from case_lines import Ran, digest_of_node, reached, read
from meshwire_conformance.catalogue.case import SOCKET, Case
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.verdicts import CaseResult, Verdict
from mutant_results import digest_of_row
from mutants import HOOK, HURRIED, ROOT, Mutant, Row, RowError, judge, read_rows, variant_of
from vector_files import fault_text

MATRIX: Final = ROOT / "conformance" / "mutants" / "matrix.json"
BESIDE: Final = 2
"""Number of mutants that run concurrently: each runs every case, which takes processor time."""
START_COSTS: Final = 50
"""How many cases take the time that the start of a node takes."""
USAGE: Final = 2
CASE: Final = "MW-"


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one row did: the digest of the row, the numbers of the cases that failed, problems.

    With `coarse` the run ended early: the cases that had failed have no rule in common.
    """

    row: str
    failed: str
    why: str = ""
    coarse: bool = False

    @property
    def cases(self) -> frozenset[str]:
        """Ids of the cases that failed."""
        return frozenset(f"{CASE}{number}" for number in self.failed.split())


def read_matrix(rows: Mapping[str, Row], path: Path = MATRIX) -> dict[str, Line]:
    """Return the lines of the rows that are now as they were measured, by the id of the row."""
    if not path.exists():
        return {}
    lines = msgspec.json.decode(path.read_bytes(), type=dict[str, Line])
    return {
        name: line
        for name, line in lines.items()
        if name in rows and line.row == digest_of_row(rows[name])
    }


def matrix_text(lines: Mapping[str, Line]) -> str:
    """Return the content of the file, one line for each row."""
    told = (
        f"{json.dumps(name)}: {msgspec.json.encode(lines[name]).decode()}" for name in sorted(lines)
    )
    return "{\n" + ",\n".join(told) + "\n}\n"


def of_node(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of the node: those of the codec are for vectors."""
    return [row for row in rows if not row.kind]


def common_rules(cases: Iterable[Case]) -> frozenset[str]:
    """Return the rules that all of these cases cite; of no case, none."""
    cited = [frozenset(case.rules) for case in cases]
    return frozenset.intersection(*cited) if cited else frozenset()


def owners(line: Line, by_id: Mapping[str, Case]) -> frozenset[str]:
    """Return the ids of the cases that have a row of their own in this line.

    That is all that failed if one rule is common to them. A line with a problem shows nothing:
    its mutant crashed, or was not applied.
    """
    failed = [by_id[name] for name in line.cases if name in by_id]
    if line.why or line.coarse or not common_rules(failed):
        return frozenset()
    return frozenset(case.id for case in failed)


async def measure(row: Row, cases: Sequence[Case], ran: Mapping[str, Ran]) -> Line:
    """Return the line of a row: cases that it reaches are run until the failed share no rule.

    Those over the attachment of the cases that the row names come first.
    """
    by_id = {case.id: case for case in cases}
    failed: dict[str, Case] = {}

    def are_too_many(result: CaseResult) -> bool:
        if result.verdict is Verdict.FAIL:
            failed[result.case] = by_id[result.case]
        return bool(failed) and not common_rules(failed.values())

    mutant = Mutant(row.id, (row,), row.noticed_by)
    named = {variant_of(by_id[name]) for name in row.noticed_by if name in by_id}
    order = sorted(reached(row, cases, ran), key=lambda case: variant_of(case) not in named)
    _, problems = await judge(mutant, order, HURRIED, are_too_many)
    numbers = " ".join(sorted(name.removeprefix(CASE) for name in failed))
    coarse = bool(failed) and not common_rules(failed.values())
    return Line(digest_of_row(row), numbers, "; ".join(problems[:1]), coarse)


def most_useful(
    rows: Sequence[Row], lines: Mapping[str, Line], cases: Sequence[Case], ran: Mapping[str, Ran]
) -> Iterator[Row]:
    """Yield every row once; at any time one with most use for its cost.

    The use is the number of the cases that it names and that have no row of their own yet, the cost
    that of a start and of the cases that it reaches.
    """
    by_id = {case.id: case for case in cases}
    left = {row.id: row for row in rows}
    costs = {row.id: START_COSTS + len(reached(row, cases, ran)) for row in rows}
    while left:
        owned = frozenset[str]().union(*(owners(line, by_id) for line in lines.values()))
        uses = {
            row.id: sum(name in by_id and name not in owned for name in row.noticed_by)
            for row in left.values()
        }
        yield left.pop(max(left, key=lambda name: (uses[name] + 0.1) / costs[name]))


async def measure_all(
    rows: Sequence[Row],
    lines: dict[str, Line],
    cases: Sequence[Case],
    ran: Mapping[str, Ran],
    ends_s: float,
) -> None:
    """Measure rows, some concurrently, and write the file after each; begin none after `ends_s`."""
    waiting = most_useful(rows, lines, cases, ran)

    async def work() -> None:
        for row in waiting:
            if time.monotonic() >= ends_s:
                return
            began_s = time.monotonic()
            lines[row.id] = line = await measure(row, cases, ran)
            MATRIX.write_text(matrix_text(lines), "utf-8")
            took_s = time.monotonic() - began_s
            why = f": {line.why}" if line.why else ""
            more = " and more" if line.coarse else ""
            print(f"{row.id}: {len(line.cases)}{more} cases fail, {took_s:.0f} s{why}", flush=True)

    workers = [asyncio.create_task(work()) for _ in range(BESIDE)]
    await asyncio.wait(workers)
    for worker in workers:
        worker.result()


def report(rows: Sequence[Row], lines: Mapping[str, Line], cases: Sequence[Case]) -> int:
    """Say which cases have no row of their own; return 1 if every row is measured and one has."""
    by_id = {case.id: case for case in cases}
    failing = [case for case in cases if any(case.id in line.cases for line in lines.values())]
    owned = frozenset[str]().union(*(owners(line, by_id) for line in lines.values()))
    shared = [case.id for case in failing if case.id not in owned]
    idle = [case.id for case in cases if case not in failing]
    print(f"{len(lines)} of {len(rows)} rows of the node are measured")
    print(f"{len(failing) - len(shared)} of {len(cases)} cases have a row of their own")
    for title, names in (("no row of its own", shared), ("fails with no row", idle)):
        if names and (title == "no row of its own" or len(lines) == len(rows)):
            print(f"{title}: {' '.join(names)}")
    return 1 if (shared or idle) and len(lines) == len(rows) else 0


def rows_of_file(rows: Mapping[str, Row], name: str) -> list[Row]:
    """Return the rows of one file of the table. Raises RowError without such a file."""
    path = HOOK.parent / "rows" / name
    if not path.is_file():
        raise RowError(f"no file {name} in conformance/mutants/rows")
    return [rows[row["id"]] for row in tomllib.loads(path.read_text("utf-8"))["row"]]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--check", action="store_true", help="run nothing, report on the file")
    made.add_argument("--file", metavar="NAME", help="the rows of this file only, such as lab.toml")
    made.add_argument("--stop-after", type=float, metavar="S", help="begin no row after S seconds")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the tool: 1 if a case has no row of its own in a whole table, 2 for bad options."""
    options = parser().parse_args(arguments)
    try:
        rows = read_rows()
        cases = [case for case in load_catalogue().cases if case.kind == SOCKET]
        chosen = rows_of_file(rows, options.file) if options.file else list(rows.values())
    except RowError as exc:
        print(exc, file=sys.stderr)
        return USAGE
    except SuiteFault as fault:
        print(fault_text(fault), file=sys.stderr)
        return USAGE
    lines = read_matrix(rows)
    if not options.check:
        left = [row for row in of_node(chosen) if row.id not in lines]
        after_s = float("inf") if options.stop_after is None else options.stop_after
        ran = read(cases, digest_of_node())
        asyncio.run(measure_all(left, lines, cases, ran, time.monotonic() + after_s))
    return report(of_node(rows.values()), lines, cases)


if __name__ == "__main__":
    sys.exit(main())
