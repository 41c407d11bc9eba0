"""A target that ended is found by a further connection, also where the earlier ones stay silent.

Over QUIC nothing else shows it in time. The connections here are scripted.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace

import pytest

from meshwire_conformance.contracts import Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.attempts import Attempt
from meshwire_conformance.socket_suite.calibration import CANARY_DOCUMENT, Canary, Deadline
from meshwire_conformance.socket_suite.evidence import TARGET_GONE, Evidence, Sending
from meshwire_conformance.socket_suite.part import SocketPart
from meshwire_conformance.socket_suite.peers import Peer, Session
from meshwire_conformance.socket_suite.redial import LOST, Departure, why_lost
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.transport import (
    Address,
    Closed,
    Connection,
    Dial,
    Overdue,
    Stream,
)
from meshwire_conformance.verdicts import TARGET_ENDED, TARGET_SILENT, CaseResult, Verdict
from turns import all_wait

CASE = next(case for case in load_catalogue().cases if case.kind == "socket")
DEADLINE_S = 0.01


class Silent(Connection):
    """A connection of which nothing shows that its target has ended."""

    async def open(self, *, uni: bool = False) -> Stream:
        """Return a stream."""
        return Stream(self, 0, uni=uni, ours=True)

    async def write(self, stream: Stream, data: bytes) -> None:
        """Drop the bytes."""

    async def finish(self, stream: Stream) -> None:
        """Do nothing."""

    async def reset(self, stream: Stream, code: int) -> None:
        """Do nothing."""

    async def stop(self, stream: Stream, code: int) -> None:
        """Do nothing."""

    async def close(self, code: int = 0, text: str = "") -> None:
        """End it."""
        self.gone(Closed(code, text, by_suite=True))


class Dialler:
    """Dials as a script says: a failure, or a connection."""

    shows: frozenset[str] = frozenset()

    def __init__(self, error: ConnectionError | None) -> None:
        self.error = error

    async def dial(self, dial: Dial, deadline_s: float) -> Connection:
        """Fail, or return a connection."""
        if self.error is not None:
            raise self.error
        return Silent()

    async def close(self) -> None:
        """Do nothing."""


class Read(Canary):
    """Reads are answered over connections that were opened after the target had ended."""

    answers = True
    offers = False
    old: frozenset[Connection | None] = frozenset()

    async def read(
        self, deadline_s: float, through: Peer | None = None, *, unknown: bool = False
    ) -> bool:
        """Return True on a new connection, and nothing on an old one.

        A target that only offers its store sends the canary there, and no unknown document.
        """
        await all_wait()
        is_sent = self.answers or (self.offers and not unknown)
        return is_sent and (through or self.peer).last not in self.old


class Patient(Read):
    """Its probe does not ask twice."""

    async def probe(self, deadline_s: float) -> str | None:
        """Return what the read shows."""
        return None if await self.read(deadline_s) else "no answer"


def after_the_end(
    error: ConnectionError | None,
    *,
    answers: bool = True,
    offers: bool = False,
    kind: type[Read] = Read,
) -> tuple[Session, Read]:
    """A session with two connections to a target that has ended, and perhaps started again."""
    target = Target(Address("iroh", "", 0), Facts(), Dialler(error), formation=None)
    part = SocketPart(target, load_catalogue(), Settings(), None, "", lambda _result: None)
    session = part._session
    canary = kind(session, CANARY_DOCUMENT)
    for peer in (session.peer("A"), canary.peer):
        peer.adopt(Silent())
    canary.old = frozenset(peer.last for peer in session.live_peers())
    canary.answers, canary.offers = answers, offers
    return session, canary


@pytest.mark.parametrize(
    ("error", "answers", "why", "live"),
    [
        (Overdue("no answer within 5 s"), True, "no connection: no answer within 5 s", 2),
        (ConnectionError("refused"), True, "no connection: refused", 2),
        (None, False, "", 2),
        (None, True, LOST, 0),
    ],
)
def test_a_further_connection_decides(
    error: ConnectionError | None, *, answers: bool, why: str, live: int
) -> None:
    """Earlier connections are closed only if it is answered and they are not."""
    session, canary = after_the_end(error, answers=answers)

    assert asyncio.run(why_lost(session, canary, DEADLINE_S)) == why
    assert len(session.live_peers()) == live


def test_an_offer_on_a_further_connection_is_no_answer() -> None:
    """A new peer may get the whole store, also from a target that answers no read."""
    session, canary = after_the_end(None, answers=False, offers=True)

    assert asyncio.run(why_lost(session, canary, DEADLINE_S)) == ""
    assert len(session.live_peers()) == 2


@pytest.mark.parametrize(
    ("error", "symptom"),
    [(Overdue("no answer within 5 s"), "connection-lost"), (None, "no-answer")],
)
def test_a_miss_of_a_target_that_ended_is_a_lost_connection(
    error: ConnectionError | None, symptom: str
) -> None:
    """One that takes a connection and stays silent gave no answer."""

    async def run() -> CaseResult:
        session, canary = after_the_end(error, answers=False)
        part = SocketPart(
            session.target, load_catalogue(), Settings(), None, "", lambda _result: None
        )
        part._canary, part._session = canary, session
        part._deadline = Deadline(None, 0.001)
        missed = Attempt(CASE, CaseResult(CASE.id, Verdict.FAIL, ("late",), "no-answer"))
        missed.missed = True
        attempts = {CASE.id: missed}
        await part._repeat(attempts)
        return attempts[CASE.id].result

    result = asyncio.run(run())

    assert (result.verdict, result.symptom) == (Verdict.FAIL, symptom)
    assert ("the connection is gone" in result.reasons[0]) is (error is not None)


SENT = Sending("A", 0, "a frame", b"frame")


def lost(*sent: Sending, symptom: str = "no-connection") -> Attempt:
    """A failed attempt that had sent this."""
    result = CaseResult(CASE.id, Verdict.FAIL, ("gone",), symptom)
    return Attempt(CASE, result, Evidence(sent=list(sent)))


def judged_in_turn(
    error: ConnectionError | None, *attempts: Attempt, answers: bool = False
) -> tuple[Departure, list[Attempt]]:
    """The attempts, judged one after another beside a target that takes connections or not."""
    session, canary = after_the_end(error, answers=answers)
    if answers:
        canary.old = frozenset()
    departure = Departure(session)

    async def run() -> list[Attempt]:
        with departure.during(CASE.id):
            return [await departure.judged(one, canary, DEADLINE_S) for one in attempts]

    return departure, asyncio.run(run())


def test_the_cases_that_ran_fail_and_the_others_are_left_open() -> None:
    """One that had sent nothing says nothing about the target; the one that finds its end fails."""
    refused = ConnectionError("refused")
    departure, found = judged_in_turn(refused, lost(), lost(), lost(SENT))
    why = f"the target takes no connection any more (refused) while {CASE.id} ran"
    verdicts = [one.result.verdict for one in found]

    assert departure.why == why
    assert verdicts == [Verdict.FAIL, Verdict.COULD_NOT_RUN, Verdict.FAIL]
    assert [one.result.reasons[0] for one in found] == [why] * 3
    assert [one.departed for one in found] == [True, False, True]
    assert found[1].result.symptom == TARGET_ENDED


@pytest.mark.parametrize(
    ("error", "answers", "symptom"),
    [
        (None, False, "no-connection"),
        (Overdue("no preamble"), False, "no-connection"),
        (ConnectionError("refused"), True, "connection-lost"),
        (ConnectionError("refused"), False, "wrong-value"),
    ],
    ids=["takes one", "slow", "is full", "another failure"],
)
def test_a_target_that_may_still_run_has_not_ended(
    error: ConnectionError | None, *, answers: bool, symptom: str
) -> None:
    """Its cases stay as they are."""
    attempt = lost(symptom=symptom)
    departure, found = judged_in_turn(error, attempt, answers=answers)

    assert not departure.why
    assert found == [attempt]


def test_cases_go_on_once_the_target_takes_connections_again() -> None:
    """Something else may have started it again."""
    departure, _ = judged_in_turn(ConnectionError("refused"), lost(SENT))
    dialler = departure._session.target.dialler

    assert asyncio.run(departure.holds()) == departure.why != ""
    assert isinstance(dialler, Dialler)
    dialler.error = None
    assert asyncio.run(departure.holds()) == ""


def silent_in_turn(
    error: ConnectionError | None,
    *,
    answers: bool = False,
    others: tuple[str, ...] = (),
    symptom: str = "no-answer",
) -> tuple[Departure, Attempt]:
    """The attempt at a case that got no answer while these cases ran too."""
    session, canary = after_the_end(error, answers=answers, kind=Patient)
    if answers:
        canary.old = frozenset()
    departure = Departure(session)
    missed = replace(lost(SENT, symptom=symptom), missed=symptom == "no-answer")

    async def run() -> Attempt:
        with ExitStack() as running:
            for name in (CASE.id, *others):
                running.enter_context(departure.during(name))
            return await departure.heard(missed, canary, DEADLINE_S)

    return departure, asyncio.run(run())


@pytest.mark.parametrize("symptom", ["no-answer", TARGET_GONE])
def test_a_target_that_answers_nothing_at_all_ends_the_run_without_a_verdict(symptom: str) -> None:
    """Neither a read nor a further connection is answered: it may be stopped from outside."""
    silent = Overdue("no preamble")
    departure, found = silent_in_turn(silent, others=("MW-5003",), symptom=symptom)

    assert departure.symptom == found.result.symptom == TARGET_SILENT
    assert found.result.verdict is Verdict.COULD_NOT_RUN
    assert not found.missed
    assert "kill -CONT" in departure.why
    assert f"{CASE.id}, MW-5003" in departure.why
    assert asyncio.run(departure.holds()) == departure.why


def test_a_case_that_ran_alone_when_the_target_fell_silent_fails() -> None:
    """Nothing else was sent: that case is the one that a hang comes from."""
    departure, found = silent_in_turn(Overdue("no preamble"))

    assert departure.symptom == TARGET_SILENT
    assert (found.result.verdict, found.result.symptom) == (Verdict.FAIL, "no-answer")
    assert found.result.reasons[0] == departure.why
    assert not found.missed


@pytest.mark.parametrize(
    ("error", "answers"),
    [(None, False), (ConnectionError("refused"), False), (Overdue("no preamble"), True)],
    ids=["takes a connection", "refuses it", "answers a read"],
)
def test_a_target_that_answers_anything_is_not_silent(
    error: ConnectionError | None, *, answers: bool
) -> None:
    """Its miss is repeated."""
    departure, found = silent_in_turn(error, answers=answers, others=("MW-5003",))

    assert not departure.why
    assert found.missed


def test_a_target_that_is_silent_from_the_calibration_on_is_named_before_the_cases() -> None:
    """No case has to wait for it, and none is a suspect."""
    session, canary = after_the_end(Overdue("no preamble"), answers=False, kind=Patient)
    departure = Departure(session)

    asyncio.run(departure.listen(canary, DEADLINE_S))

    assert departure.symptom == TARGET_SILENT
    assert "since the calibration ran" in departure.why
