"""Causes of codec failures: named only where the mistake was tried and fits."""

import asyncio
import shlex
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from mutant_rows import read_rows

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.codec_suite.part import run
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.report.causes import groups_of
from meshwire_conformance.report.record import TargetRun
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.runner import Options, unfinished
from meshwire_conformance.targets.bundle import bundled_codec
from meshwire_conformance.verdicts import CaseResult, ExitCode, Verdict
from meshwire_spec.schemas.vectors import Vector
from mutants import mutant_of

pytestmark = pytest.mark.process

ROWS = read_rows()
PROGRAMS = Path(__file__).parents[1] / "programs"
TYPICAL = {
    "frame-payload-length-order": "`payload.length` is read in the other byte order",
    "batch-created-at-order": "`created_at` is read in the other byte order",
    "batch-id-double": "`batch_id` is held as a floating-point number",
    "tombstone-clocks-swapped": "`deleted_at` and `lamport` are exchanged",
    "tombstones-time-signed": "`tombstones[].deleted_at` is read as a signed number",
    "batch-key-replaced": "bytes of `entries[].key` that are not UTF-8 are replaced",
    "tombstone-author-bom-dropped": "a U+FEFF at the start of `deleted_by` is dropped",
    "heartbeat-marker-any": "any value of `marker` is taken",
    "formation-latin": "`formation_id` is read as Latin-1",
    "challenge-nonce-backwards": "the bytes of `nonce` are in reverse order",
    "frame-trailing": "bytes after the end of stream_frame are ignored",
    "challenge-h2-length-order": "`length` is read in the other byte order",
    "negentropy-version-any": "any value of `version` is taken",
}
"""Typical mistakes of a codec of its own, with the cause to be named first."""


def cases_of(kind: str) -> list[Case]:
    """The vectors of a kind."""
    cases = load_catalogue().cases
    return [case for case in cases if case.kind == kind and isinstance(case.body, Vector)]


def results_of(target: Attachment, cases: list[Case]) -> list[CaseResult]:
    """The verdicts of a codec."""
    return asyncio.run(run(cases, load_catalogue(), target, Settings(), lambda _result: None))


def first_cause(results: list[CaseResult]) -> str:
    """The cause that a report of these results names first."""
    empty = unfinished("stdio:x", Options(), "", ExitCode.VIOLATIONS)
    report = replace(empty, runs=[TargetRun("codec", "stdio:x", results)])
    return groups_of(report)[0].says


@pytest.mark.parametrize("name", TYPICAL)
def test_the_first_cause_is_the_mistake(name: str, tmp_path: Path) -> None:
    """The mistake is one edit of a codec that shares nothing with the schemas."""
    command = f"{mutant_of(name, ROWS).command(tmp_path / 'record')} codec"
    results = results_of(
        Attachment("stdio", command, f"stdio:{command}"), cases_of(ROWS[name].kind)
    )

    assert first_cause(results).startswith(TYPICAL[name]), Counter(one.cause for one in results)


def test_a_correct_codec_has_no_cause() -> None:
    """Without a failure nothing is looked for."""
    results = results_of(bundled_codec(), cases_of("heartbeat"))

    assert {one.cause for one in results} == {""}


def test_an_uncommon_mistake_is_no_cause(tmp_path: Path) -> None:
    """What no known mistake explains stays without one: nothing is guessed."""
    command = f"{mutant_of('batch-fault-offset', ROWS).command(tmp_path / 'record')} codec"
    target = Attachment("stdio", command, f"stdio:{command}")
    results = results_of(target, cases_of("sync_batch"))

    assert {one.cause for one in results} == {""}
    assert first_cause(results).startswith("BT-")


@pytest.mark.parametrize("mode", ["truncated", "hello-again", "empty", "echo"])
def test_a_codec_that_reads_nothing_has_no_cause(mode: str) -> None:
    """It gives every message the same answer, which no mistake in one field explains."""
    command = shlex.join((sys.executable, str(PROGRAMS / "codec_peer.py"), mode))
    target = Attachment("stdio", command, f"stdio:{command}")
    results = results_of(target, [*cases_of("heartbeat"), *cases_of("tombstone")])

    assert Verdict.FAIL in {one.verdict for one in results}
    assert {one.cause for one in results} == {""}
