"""What a target does wrong during a case is shown beside a missing answer, and fails the case.

The cases here are made for the test, over a connection without a target.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from unittest.mock import AsyncMock

import pytest

from meshwire_conformance.catalogue.python_cases import PythonCase
from meshwire_conformance.contracts import Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.attempts import Attempt, watched
from meshwire_conformance.socket_suite.calibration import Deadline
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.part import JUDGE_OF_ALL, SocketPart
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.transport import Address, Closed, Connection, Stream
from meshwire_conformance.verdicts import Verdict
from meshwire_spec.numbers import REASONS

CASE = load_catalogue().by_id["MW-5001"]
FRAME = bytes.fromhex("0003 613a62 00 0000000b 42")
CODE = REASONS["length-limit"].code


class Silent(Connection):
    """A connection on which nothing comes."""

    async def open(self, *, uni: bool = False) -> Stream:
        """Return a stream."""
        return Stream(self, 0, uni=uni, ours=True)

    write = finish = reset = stop = close = AsyncMock()


def err(run: CaseRun) -> None:
    """Send what no target may send, and refuse a stream of the connection."""
    run.session.inbox.fault("A", 5, "truncated", "a stream ends inside a frame", FRAME)
    connection = run.session.peer("A").last
    assert connection is not None
    refused = Stream(connection, 9, uni=False, ours=False)
    refused.stop_code = CODE
    connection.streams[9] = refused


async def ends(run: CaseRun) -> None:
    """Wait for a barrier."""
    await run.connection("A")
    err(run)
    await run.barrier("A")


async def reads(run: CaseRun) -> None:
    """Wait for an answer."""
    await run.connection("A")
    err(run)
    await run.read(Wanted("a:b"))


async def passes(run: CaseRun) -> None:
    """Wait for nothing."""
    await run.connection("A")
    err(run)


async def leaves(run: CaseRun) -> None:
    """Use another connection than the one with the fault."""
    run.peer("B")
    err(run)


def attempt_at(body: object, *asked: str) -> Attempt:
    """The attempt at a case with this body, in a run of the cases `asked`."""
    target = Target(Address("tcp", "", 0), Facts(), dialler=None, formation=None)  # type: ignore[arg-type]
    part = SocketPart(target, load_catalogue(), Settings(), None, "", lambda _result: None)
    part._deadline = Deadline(None, 0.001)
    part._asked = frozenset(asked)
    part._session.peer("A").adopt(Silent())
    case = replace(CASE, body=PythonCase(body))  # type: ignore[arg-type]
    return asyncio.run(part._run_on(part._session, case, 1))


@pytest.mark.parametrize(("body", "symptom"), [(reads, "no-answer"), (ends, "no-fin")])
def test_faults_and_refusals_are_listed_beside_what_is_missing(body: object, symptom: str) -> None:
    """The first fault with its bytes, and the code of each refusal."""
    result = attempt_at(body).result
    place = result.received.index("meanwhile came on A, stream 5: a stream ends inside a frame")

    assert result.symptom == symptom
    assert result.received[place + 1].startswith("0000  00 03")
    assert result.received[-1] == (
        f"meanwhile stream 9 of the target: STOP with length-limit (0x{CODE:08x})"
    )


@pytest.mark.parametrize(
    ("body", "asked", "verdict"),
    [
        (passes, (CASE.id,), Verdict.FAIL),
        (passes, (CASE.id, JUDGE_OF_ALL), Verdict.PASS),
        (leaves, (CASE.id,), Verdict.PASS),
    ],
)
def test_a_malformed_frame_fails_the_case_that_is_asked_alone(
    body: object, asked: tuple[str, ...], verdict: Verdict
) -> None:
    """On a shared connection, unless the case is asked that judges every frame of a run."""
    result = watched(attempt_at(body, *asked))

    assert result.verdict is verdict
    assert result.symptom == ("bad-frame truncated" if verdict is Verdict.FAIL else "")


@pytest.mark.parametrize(
    ("code", "is_left_open"), [("handshake-timeout", True), ("shutdown", False)]
)
def test_a_connection_lost_because_the_suite_was_late_is_tried_again(
    code: str, *, is_left_open: bool
) -> None:
    """The target gave up waiting on a shared connection, and the next operation of a case fails."""

    async def loses(run: CaseRun) -> None:
        connection = await run.connection("A")
        connection.closed = Closed(REASONS[code].code, code)
        raise ConnectionError(code)

    attempt = attempt_at(loses)

    assert attempt.result.symptom == "connection-lost"
    assert attempt.missed is is_left_open
