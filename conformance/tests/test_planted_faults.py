"""The suite is shown red: every fault planted in the bundled codec is found, its field named.

The faults are a table of `reference/tests/faulty_codec.py`, which is reached as any target is:
through a process.
"""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.catalogue import load_catalogue
from meshwire_conformance.catalogue.vectors import Vector
from meshwire_conformance.codec_suite.part import run
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.verdicts import CaseResult, ExitCode, Verdict, exit_code
from meshwire_spec.numbers import COUNT_BOUNDS, KINDS, LIMITS

pytestmark = pytest.mark.process

CODEC = Path(__file__).parents[2] / "reference" / "tests" / "faulty_codec.py"
AT_ONCE = 2
INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Row:
    """One fault of the table."""

    name: str
    kind: str
    limit: str
    breaks: str
    field: str

    @property
    def command(self) -> str:
        """What starts the codec with this fault."""
        return f"'{sys.executable}' '{CODEC}' {self.name}"

    def is_named(self, result: CaseResult) -> bool:
        """Whether a failure says where the fault is, apart from its title and its rules."""
        parts = (result.reasons, result.sent, result.expected, result.received, result.notes)
        told = INDEX.sub("[]", "\n".join(line for lines in parts for line in lines))
        return re.search(rf"(?<![\w.]){re.escape(self.field)}(?!\w)", told) is not None


def read_table() -> list[Row]:
    """The table as the program prints it."""
    command = [sys.executable, str(CODEC), "--list"]
    printed = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return [Row(**row) for row in json.loads(printed.stdout)]


ROWS = read_table()
CODEC_CASES = [case for case in load_catalogue().cases if isinstance(case.body, Vector)]


def cases_of(row: Row, rows: Sequence[Row]) -> list[Case]:
    """Every codec case for the first fault of a kind, the cases of the kind for its others."""
    if row is rows[0]:
        return CODEC_CASES
    return [case for case in CODEC_CASES if case.kind == row.kind]


async def judge(rows: Sequence[Row]) -> dict[str, list[CaseResult]]:
    """The codec part run against every fault, a few at once."""
    free = asyncio.Semaphore(AT_ONCE)

    async def judge_one(row: Row) -> list[CaseResult]:
        target = Attachment("stdio", row.command, f"stdio:{row.command}")
        async with free:
            return await run(cases_of(row, rows), target, Settings(), lambda _result: None)

    # All are let end, also when one cannot be judged: a start that is cancelled may wait for ever.
    tasks = [asyncio.create_task(judge_one(row)) for row in rows]
    await asyncio.wait(tasks)
    return {row.name: task.result() for row, task in zip(rows, tasks, strict=True)}


def missed(row: Row, results: Sequence[CaseResult]) -> str:
    """What the suite failed to say about a fault; empty where it said everything."""
    index = load_catalogue().by_id
    failed = [
        result
        for result in results
        if result.verdict is Verdict.FAIL and index[result.case].kind == row.kind
    ]
    if not failed or exit_code(results) is not ExitCode.VIOLATIONS:
        return f"{row.kind} that {row.breaks} passes"
    if not any(row.is_named(result) for result in failed):
        return f"no failure of {row.kind} that {row.breaks} names {row.field}"
    return ""


def test_the_table_has_every_kind_limit_and_count() -> None:
    """A kind, limit or bounded count without a planted fault is not shown to be guarded."""
    assert {row.kind for row in ROWS if not row.limit} == set(KINDS)
    assert {limit.name for limit in LIMITS} | set(COUNT_BOUNDS) <= {row.limit for row in ROWS}


def test_every_kind_of_a_limit_has_a_fault() -> None:
    """A limit that holds for several kinds is broken in each of them."""
    broken = {(row.limit, row.kind) for row in ROWS}

    assert {(limit.name, kind) for limit in LIMITS for kind in limit.kinds} <= broken


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_of_a_kind_is_found_and_its_field_named(kind: str) -> None:
    """The run ends in violations, and a failure of this kind names the field."""
    rows = [row for row in ROWS if row.kind == kind]
    found = asyncio.run(judge(rows))
    unsaid = {row.name: missed(row, found[row.name]) for row in rows}

    assert {name: said for name, said in unsaid.items() if said} == {}


@pytest.mark.parametrize(
    "name", ["tombstone-lamport-order", "callsign-max+1", "batch-fault-silent"]
)
def test_the_command_line_exits_1_and_prints_the_field(name: str) -> None:
    """`meshwire check`, as its users meet it."""
    row = next(row for row in ROWS if row.name == name)
    meshwire = [sys.executable, "-m", "meshwire_conformance.commands.main", "check"]
    done = subprocess.run(
        [*meshwire, f"stdio:{row.command}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == ExitCode.VIOLATIONS, done.stdout + done.stderr
    assert row.field in done.stdout
