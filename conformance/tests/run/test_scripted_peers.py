"""The suite run on a scripted peer that behaves as a deployed node does.

These start processes and talk over loopback: they are the suite's own acceptance, not unit tests.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from meshwire_conformance.contracts import Attachment
from meshwire_conformance.report.record import Report
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.runner import Options, check
from meshwire_conformance.socket_suite.calibration import CANARY_DOCUMENT
from meshwire_conformance.targets.attach import parse_address
from meshwire_conformance.targets.bundle import strain
from meshwire_conformance.targets.lab_records import Preamble
from meshwire_conformance.targets.tcp import TcpDialler
from meshwire_conformance.targets.transport import Connection, Dial, Stream
from meshwire_conformance.verdicts import TOO_SLOW, CaseResult, ExitCode, Verdict
from meshwire_spec.codec import Message, encode
from meshwire_spec.numbers import FrameType
from meshwire_spec.schemas.vectors import Vector

pytestmark = [pytest.mark.process, pytest.mark.socket]

HERE = Path(__file__).parents[1]
LEDGER = HERE.parent / "ledgers" / "peat-mesh.toml"
HURRIED = 0.2
"""Timeout scale on an idle machine.

The deployed peer leaves many cases without an answer, each of which waits to its end.
"""
ECHOED = "MW-5024"
"""A deployed node also sends each message back, which is no push of its store; this peer does not.
"""
LIVE_ONLY = frozenset({ECHOED, "MW-5924"})
"""Entries that this peer does not show: it passes on no key that the suite has not sent."""
A_TOMBSTONE = "MW-2122"
PATIENCE_S = 600.0
"""Seconds after which a test gives up; none is waited for if the peer answers."""
MENDED_BY_THE_POLL = ("no-answer", "no-offer")
"""Symptoms that the next push of the whole store may mend, if it comes in time."""


@contextmanager
def deployed_peer(poll_s: float) -> Iterator[str]:
    """The address of the scripted deployed peer, which ends with the context."""
    program = str(HERE / "programs" / "deployed_peer.py")
    command = [sys.executable, program, "--poll-s", str(poll_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def held_against_deployed(options: Options, poll_s: float = 5.0) -> Report:
    """The report of a run against the scripted deployed peer, reached by its address alone."""
    with deployed_peer(poll_s) as location:
        attachment = Attachment("tcp", location, f"tcp://{location}")
        return check([attachment], "deployed peer", options)


def hurried() -> float:
    """The timeout scale on the machine as it is, as the deadlines of the bundled node have it."""
    return min(1.0, HURRIED * strain())


def judged(level: str = "strict", known_failing: Path | None = None) -> list[CaseResult]:
    """The verdicts of a hurried run; what fails in it is judged again with full deadlines.

    The machine may have become busy since the hurried ones were chosen.
    """
    options = Options(level=level, known_failing=known_failing)
    report = held_against_deployed(replace(options, timeout_scale=hurried()))
    results = {one.case: one for one in results_of(report)}
    failed = tuple(name for name, one in results.items() if one.verdict is Verdict.FAIL)
    if failed:
        report = held_against_deployed(replace(options, only=failed))
        results |= {one.case: one for one in results_of(report)}
    assert report.exit_code is exit_code_of(results_of(report))
    return list(results.values())


def exit_code_of(results: list[CaseResult]) -> ExitCode:
    """The exit code of a run whose open cases, if any, were all too slow to judge.

    Which cases are is a matter of the machine that the tests run on.
    """
    left = [one for one in results if one.verdict is Verdict.COULD_NOT_RUN]
    assert {one.symptom for one in left} <= {TOO_SLOW}
    if told(results):
        return ExitCode.VIOLATIONS
    return ExitCode.INCOMPLETE if left else ExitCode.PASSED


def results_of(report: Report) -> list[CaseResult]:
    """All verdicts of the only run."""
    (run,) = report.runs
    return list(run.results)


def told(results: list[CaseResult]) -> list[str]:
    """Failures in a form that a failed test can show."""
    return [f"{one.case} {one.symptom}" for one in results if one.verdict is Verdict.FAIL]


def test_a_deployed_peer_fails_nothing_at_level_wire() -> None:
    """No codes, one frame per stream, pushes of the whole store: all of it is legal at wire."""
    results = judged(level="wire")

    assert told(results) == []
    assert any(result.unbound for result in results)


def test_a_deployed_peer_fails_exactly_its_ledger_at_level_strict() -> None:
    """Every failure is predicted with its symptom, and every prediction comes true."""
    results = judged(known_failing=LEDGER)
    held = [
        result.case
        for result in results
        if result.verdict is Verdict.PASS and any("predicted" in note for note in result.notes)
    ]
    symptoms = _symptoms()

    assert told(results) == []
    mended = [case for case in held if any(one in symptoms[case] for one in MENDED_BY_THE_POLL)]
    assert set(held) - set(mended) <= LIVE_ONLY


def _symptoms() -> dict[str, str]:
    entries = tomllib.loads(LEDGER.read_text("utf-8"))["known"]
    return {entry["id"]: entry["symptom"] for entry in entries}


async def finished(connection: Connection, key: str, frame_type: int, payload: bytes) -> bool:
    """Return True if the peer finishes its half of a stream with this frame."""
    stream = await connection.open()
    fields = {"key": key, "type": int(frame_type), "payload": payload}
    await stream.write(encode(Message("stream_frame", fields)))
    await stream.finish()
    return await stream.wait_for(lambda: stream.read_over, PATIENCE_S)


def test_a_connection_without_credit_stops_neither_the_poll_nor_another_sender() -> None:
    """A case that holds its preamble or its credit would fail all the others."""
    tombstone = load_catalogue().by_id[A_TOMBSTONE].body
    assert isinstance(tombstone, Vector)
    buried = bytes.fromhex(tombstone.hex)
    pushed: list[Stream] = []

    async def run(location: str) -> tuple[bool, bool, bool]:
        dialler = TcpDialler(parse_address(f"tcp://{location}"))
        unsaid = Preamble(bytes(32), whole=b"")
        mute = await dialler.dial_raw(Dial(bytes(32), preamble=unsaid), PATIENCE_S)
        await mute.ready(PATIENCE_S)
        sender = await dialler.dial(Dial(bytes([1] * 32), on_stream=pushed.append), PATIENCE_S)
        stored = await finished(sender, "notes:a", FrameType.SNAPSHOT, CANARY_DOCUMENT)
        gone = await finished(sender, "tombstones:b", FrameType.TOMBSTONE, buried)
        came = await sender.signal.wait_for(lambda: bool(pushed), PATIENCE_S)
        await sender.close()
        await mute.close()
        return stored, gone, came

    with deployed_peer(0.2) as location:
        assert asyncio.run(run(location)) == (True, True, True)


def test_pushes_of_the_whole_store_fail_no_case() -> None:
    """They are legal at any time; this peer pushes everything many times during a case."""
    cases = ("MW-5024", "MW-5030", "MW-5034", "MW-5035")
    report = held_against_deployed(Options(only=cases, known_failing=LEDGER), poll_s=0.2)

    assert [(one.case, one.symptom) for one in results_of(report)] == [(case, "") for case in cases]
