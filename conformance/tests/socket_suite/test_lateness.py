"""A failure after the suite or the target was late is repeated alone before it counts."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from meshwire_conformance.catalogue.python_cases import PythonCase
from meshwire_conformance.contracts import Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.attempts import Attempt, when_late
from meshwire_conformance.socket_suite.calibration import Deadline
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.evidence import CaseFailed, Evidence
from meshwire_conformance.socket_suite.part import SocketPart
from meshwire_conformance.socket_suite.punctuality import LATE_S, TICK_S, Lateness
from meshwire_conformance.socket_suite.repetition import decided
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.probes import Beside
from meshwire_conformance.targets.transport import Address
from meshwire_conformance.verdicts import TOO_SLOW, CaseResult, Verdict

CASE = load_catalogue().by_id["MW-5001"]
SHORT = Facts(deadlines={"handshake_s": 1.0, "frame_stall_s": 4.0})
LONG = Facts(deadlines={"handshake_s": 30.0, "frame_stall_s": 30.0})
BEGAN_S = 100.0


class Clocks:
    """A clock, and the processor time of this thread."""

    def __init__(self) -> None:
        self.now_s, self.used_s = BEGAN_S, 0.0

    def clock(self) -> float:
        """Return the time."""
        return self.now_s

    def cpu(self) -> float:
        """Return the processor time."""
        return self.used_s


def is_late(
    facts: Facts, stopped_s: float, computed_s: float = 0.0, asked_s: float = BEGAN_S
) -> bool:
    """Return what is seen after the suite was stopped, and computed, for so long."""
    clocks = Clocks()
    lateness = Lateness(facts, clocks.clock, clocks.cpu)

    async def run() -> bool:
        lateness.begin()
        clocks.used_s += computed_s
        clocks.now_s += TICK_S + computed_s + stopped_s
        found = lateness.since(asked_s)
        lateness.end()
        return found

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("facts", "stopped_s", "late"),
    [(SHORT, 0.4, False), (SHORT, 0.6, True), (LONG, 0.9, False), (LONG, LATE_S + 0.1, True)],
)
def test_a_suite_that_was_stopped_is_late(facts: Facts, stopped_s: float, *, late: bool) -> None:
    """Half of the shortest declared deadline counts, and a second whatever is declared."""
    assert is_late(facts, stopped_s) is late


def test_what_the_suite_computes_makes_it_not_late() -> None:
    """Otherwise a costly case that fails would never be judged."""
    assert not is_late(SHORT, 0.0, computed_s=30.0)


@pytest.mark.parametrize(("after_s", "late"), [(3.0, True), (30.0, False)])
def test_what_was_late_long_before_is_over(after_s: float, *, late: bool) -> None:
    """A target may have dialled shortly before an attempt, and counts from there."""
    stopped_s = 2.0

    assert is_late(SHORT, stopped_s, asked_s=BEGAN_S + stopped_s + after_s) is late


def test_lateness_between_two_looks_is_remembered() -> None:
    """An attempt is looked at when it is over, and the stop may be long past then."""
    clocks = Clocks()
    lateness = Lateness(LONG, clocks.clock, clocks.cpu)

    async def run() -> bool:
        lateness.begin()
        clocks.now_s += TICK_S + 2.0
        lateness._tick()
        clocks.now_s += TICK_S
        found = lateness.since(BEGAN_S)
        lateness.end()
        return found

    assert asyncio.run(run())


def failed(*, suite_late: bool = False, was_slow: bool = False) -> Attempt:
    """An attempt that failed for a reason that has nothing to do with time."""
    evidence = Evidence(suite_late=suite_late, was_slow=was_slow)
    return Attempt(CASE, CaseResult(CASE.id, Verdict.FAIL, symptom="out-of-order"), evidence)


@pytest.mark.parametrize(
    ("attempt", "repeated", "late"),
    [
        (failed(), False, False),
        (failed(suite_late=True), True, True),
        (failed(was_slow=True), True, False),
        (replace(failed(suite_late=True), result=CaseResult(CASE.id, Verdict.PASS)), False, False),
    ],
)
def test_a_failure_that_may_come_from_lateness_is_repeated(
    attempt: Attempt, *, repeated: bool, late: bool
) -> None:
    """It counts only if the suite was in time when it is repeated."""
    found = when_late(attempt)

    assert (found.missed, found.suite_late) == (repeated, late)


def test_a_repetition_beside_which_the_suite_was_late_again_is_not_judged() -> None:
    """One beside which it was in time is, whatever the first one was."""
    first, prompt = when_late(failed(suite_late=True)), Beside(5.0, 0.1)
    again = decided(first, when_late(failed(suite_late=True)), prompt).result

    assert (again.verdict, again.symptom) == (Verdict.COULD_NOT_RUN, TOO_SLOW)
    assert decided(first, when_late(failed()), prompt).result.verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("is_late", "final", "missed"),
    [(False, False, False), (True, False, True), (True, True, False)],
)
def test_an_attempt_knows_whether_the_suite_was_late(
    monkeypatch: pytest.MonkeyPatch, *, is_late: bool, final: bool, missed: bool
) -> None:
    """What judges the whole run is never repeated."""

    async def fails(_run: CaseRun) -> None:
        raise CaseFailed("out-of-order", "the second came first")

    monkeypatch.setattr(Lateness, "since", lambda _lateness, _began_s: is_late)
    ended: list[CaseResult] = []
    target = Target(Address("tcp", "", 0), Facts(), dialler=None, formation=None)  # type: ignore[arg-type]
    part = SocketPart(target, load_catalogue(), Settings(), None, "", ended.append)
    part._deadline, part._asked = Deadline(None, 0.001), frozenset((CASE.id,))
    attempt = asyncio.run(part._attempt(replace(CASE, body=PythonCase(fails, final=final)), 1))

    assert attempt.result.symptom == "out-of-order"
    assert attempt.missed is missed
    assert len(ended) == (not missed)
