"""The suite is shown red: every mutant of the codec is noticed, and its field is named."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from mutant_rows import read_rows

from meshwire_conformance.catalogue.case import OPLOG_SESSION
from meshwire_conformance.catalogue.certificates import CHECK
from meshwire_conformance.catalogue.oplog import CANONICAL, HISTORY, JOIN, SIGNATURE, TEXT
from meshwire_conformance.catalogue.reconciliations import KIND as RUN
from meshwire_conformance.verdicts import ExitCode
from meshwire_spec.numbers import COUNT_BOUNDS, KINDS, LIMITS
from mutants import hold, mutant_of

ROWS = read_rows()
OF_OPLOG = (TEXT, SIGNATURE, HISTORY, JOIN, CANONICAL)
CODEC_ROWS = [row for row in ROWS.values() if row.kind]


def test_the_table_has_every_kind_limit_and_count() -> None:
    """A kind, limit or bounded count without a mutant is not shown to be guarded."""
    kinds = {row.kind for row in CODEC_ROWS if not row.limit}
    limits = {limit.name for limit in LIMITS} | set(COUNT_BOUNDS)
    bare = limits - {row.limit for row in CODEC_ROWS}

    assert kinds == {*KINDS, RUN, *OF_OPLOG, CHECK, OPLOG_SESSION}, (
        f"no row in codec.toml for: {sorted(set(KINDS) - kinds)}"
    )
    assert not bare, f"no row in codec_limits.toml for: {sorted(bare)}"


def test_every_kind_of_a_limit_has_a_mutant() -> None:
    """A limit that holds for several kinds is broken in each of them."""
    broken = {(row.limit, row.kind) for row in CODEC_ROWS}

    bare = {(limit.name, kind) for limit in LIMITS for kind in limit.kinds} - broken
    assert not bare, f"no row in codec_limits.toml for: {sorted(bare)}"


@pytest.mark.process
@pytest.mark.parametrize("kind", [*KINDS, *OF_OPLOG, CHECK])
def test_every_mutant_of_a_kind_is_noticed_and_its_field_named(kind: str) -> None:
    """By every case that its row names."""
    rows = [row for row in CODEC_ROWS if row.kind == kind and not row.survives]
    mutants = [mutant_of(row.id, ROWS) for row in rows]

    assert asyncio.run(hold(mutants)) == []


@pytest.mark.process
@pytest.mark.parametrize(
    "name", ["tombstone-lamport-order", "callsign-max+1", "batch-fault-silent"]
)
def test_the_command_line_exits_1_and_prints_the_field(name: str, tmp_path: Path) -> None:
    """`meshwire check`, as its users meet it."""
    meshwire = [sys.executable, "-m", "meshwire_conformance.commands.main", "check"]
    command = mutant_of(name, ROWS).command(tmp_path / "record")
    done = subprocess.run(
        [*meshwire, f"stdio:{command} codec"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )

    assert done.returncode == ExitCode.VIOLATIONS, done.stdout + done.stderr
    assert ROWS[name].field in done.stdout
