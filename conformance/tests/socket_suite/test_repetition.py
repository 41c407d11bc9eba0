"""A passed deadline counts only where a repetition beside prompt probes confirms it.

Nothing here waits for a target: reads are answered by a script, on a clock that it moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.contracts import Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.attempts import Attempt, with_control, without_verdict
from meshwire_conformance.socket_suite.calibration import (
    CANARY_DOCUMENT,
    FLOOR_S,
    MEDIANS,
    READS,
    READS_MIN,
    Canary,
    Deadline,
)
from meshwire_conformance.socket_suite.evidence import (
    CouldNotRun,
    Evidence,
    NoDial,
    NotApplicable,
)
from meshwire_conformance.socket_suite.inbox import Inbox
from meshwire_conformance.socket_suite.part import MISSES_CONFIRMED_MAX, SocketPart
from meshwire_conformance.socket_suite.peers import Peer, Session
from meshwire_conformance.socket_suite.repetition import decided, until_in_time
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.probes import PATIENCE, Beside, Probes
from meshwire_conformance.targets.transport import Address
from meshwire_conformance.verdicts import (
    NOT_DIALLED,
    PROMPT,
    TOO_SLOW,
    CaseResult,
    ExitCode,
    Verdict,
    exit_code,
)
from turns import all_wait

CASES = [case for case in load_catalogue().cases if case.kind == "socket"]
DEADLINE_S = 5.0
PROMPT_S, SLOW_S = 0.5, 4.0
"""Times of probes on either side of what is prompt."""
GONE = None
"""A read without an answer."""


class ScriptedCanary(Canary):
    """Answers each read after the time that a script says, on a clock of its own.

    A script that is over repeats its last time.
    """

    def __init__(self, *times_s: float | None) -> None:
        target = Target(Address("tcp", "", 0), Facts(), dialler=None, formation=None)  # type: ignore[arg-type]
        super().__init__(Session(target, Settings(), "n", Inbox()), CANARY_DOCUMENT)
        self.times_s = list(times_s)
        self.now_s = 0.0
        self.read_enough = asyncio.Event()

    async def read(self, deadline_s: float, through: object = None) -> bool:
        """Move the clock by the next time of the script."""
        if len(self.times_s) == 1:
            self.read_enough.set()
        taken_s = self.times_s.pop(0) if len(self.times_s) > 1 else self.times_s[0]
        await all_wait()
        self.now_s += deadline_s if taken_s is None else min(taken_s, deadline_s)
        return taken_s is not None and taken_s <= deadline_s

    async def calibrate(self, scale: float) -> Deadline:
        """Measure nothing."""
        return Deadline(0.01, scale)


def attempt(case: Case, verdict: Verdict = Verdict.FAIL, *, missed: bool = True) -> Attempt:
    """An attempt; one that fails misses a deadline unless the test says otherwise."""
    symptom = "" if verdict is Verdict.PASS else "no-answer"
    return Attempt(
        case, CaseResult(case.id, verdict, symptom=symptom), missed=bool(symptom) and missed
    )


MISS = attempt(CASES[0])
HELD = attempt(CASES[0], Verdict.PASS)
PROMPT_PROBES = Beside(DEADLINE_S, PROMPT_S)
SLOW_PROBES = Beside(DEADLINE_S, SLOW_S)


def test_a_deadline_is_fifty_medians_and_five_seconds_at_least() -> None:
    """Both are scaled."""
    assert Deadline(None, 1.0).seconds == 5.0
    assert Deadline(0.05, 1.0).seconds == 5.0
    assert Deadline(0.25, 3.0).seconds == 37.5
    assert Deadline(None, 2.0).beyond(3.0) == 13.0


def test_the_page_on_time_states_these_numbers() -> None:
    """A number that is changed here is changed there."""
    page = (Path(__file__).parents[3] / "spec" / "20-time.md").read_text(encoding="utf-8")
    stated = (
        f"{MEDIANS} times the median of {READS} reads of a document "
        f"(of {READS_MIN} or more, if they are slow), at least {FLOOR_S:g} seconds"
    )

    assert stated in page
    assert PROMPT == 1 / 4
    assert "within a quarter of the deadline" in page


def test_a_case_that_holds_when_it_is_repeated_passes_and_is_slow() -> None:
    """The miss beside others is reported."""
    found = decided(MISS, HELD, SLOW_PROBES).result

    assert (found.verdict, found.slow) == (Verdict.PASS, True)
    assert "no-answer" in found.notes[-1]


def test_a_second_miss_fails_beside_prompt_probes() -> None:
    """Also where the target answers no probe any more: that is checked in the end."""
    for beside in (PROMPT_PROBES, Beside(DEADLINE_S, PROMPT_S, gone="nothing")):
        assert decided(MISS, MISS, beside).result.verdict is Verdict.FAIL


def test_a_second_miss_beside_slow_probes_could_not_run() -> None:
    """It is incomplete, and the reason names what gives the target more time."""
    found = decided(MISS, MISS, SLOW_PROBES).result

    assert (found.verdict, found.symptom) == (Verdict.COULD_NOT_RUN, TOO_SLOW)
    assert "too slow to judge" in found.reasons[0]
    assert "--timeout-scale" in found.reasons[0]
    assert exit_code([found]) is ExitCode.INCOMPLETE


def test_a_miss_of_the_suite_itself_is_held_against_nobody() -> None:
    """The target's deadline passed, and the suite may have been late itself."""
    late = Attempt(MISS.case, MISS.result, missed=True, suite_late=True)

    assert decided(MISS, late, PROMPT_PROBES).result.verdict is Verdict.COULD_NOT_RUN


@pytest.mark.parametrize(
    ("late", "repeated", "verdict"),
    [
        ([False], [2], Verdict.FAIL),
        ([True, True, False], [2, 3, 4], Verdict.FAIL),
        ([True] * 9, [2, 3, 4, 5], Verdict.COULD_NOT_RUN),
    ],
)
def test_a_case_is_repeated_until_the_suite_was_in_time(
    late: list[bool], repeated: list[int], verdict: Verdict
) -> None:
    """A few times at most; each repetition has a number, and so keys, of its own."""
    numbers: list[int] = []

    async def repeat(number: int) -> Attempt:
        numbers.append(number)
        again = replace(MISS, suite_late=late[len(numbers) - 1])
        return decided(MISS, again, PROMPT_PROBES)

    found = asyncio.run(until_in_time(repeat))

    assert numbers == repeated
    assert found.result.verdict is verdict


def test_a_slow_target_is_not_repeated_again() -> None:
    """More repetitions would not make it prompt."""
    numbers: list[int] = []

    async def repeat(number: int) -> Attempt:
        numbers.append(number)
        return decided(MISS, MISS, SLOW_PROBES)

    found = asyncio.run(until_in_time(repeat))

    assert (numbers, found.result.verdict) == ([2], Verdict.COULD_NOT_RUN)


def test_a_repetition_that_breaks_a_rule_fails_however_slow_the_probes() -> None:
    """A wrong answer is evidence, however late it is."""
    broken = attempt(CASES[0], missed=False)

    assert decided(MISS, broken, SLOW_PROBES).result.verdict is Verdict.FAIL


def test_a_negative_whose_control_was_too_slow_is_too_slow_itself() -> None:
    """A ledger that expects another failure of it is not contradicted."""
    negative = next(case for case in CASES if case.control)
    control = decided(MISS, MISS, SLOW_PROBES).result
    results = {negative.id: CaseResult(negative.id, Verdict.PASS), str(negative.control): control}

    found = with_control(negative, results)

    assert (found.verdict, found.symptom) == (Verdict.COULD_NOT_RUN, TOO_SLOW)


@pytest.mark.parametrize(
    ("times_s", "slowest_s", "is_gone"),
    [
        ((0.1, 0.2, 0.1), 0.2, False),
        ((0.1, SLOW_S, 0.1), SLOW_S, False),
        ((0.1, DEADLINE_S * PATIENCE, 0.1), DEADLINE_S * PATIENCE, False),
        ((0.1, GONE), 0.1, True),
    ],
)
def test_probes_report_the_slowest_answer(
    times_s: Sequence[float | None], slowest_s: float, *, is_gone: bool
) -> None:
    """One that is late by more than the deadline is slow; one that never comes is gone."""

    async def probe() -> Beside:
        canary = ScriptedCanary(*times_s)
        async with Probes(canary.read, DEADLINE_S, clock=lambda: canary.now_s) as probes:
            await canary.read_enough.wait()
            return await probes.found()

    found = asyncio.run(probe())

    assert found.slowest_s == pytest.approx(slowest_s)
    assert bool(found.gone) == is_gone
    assert found.prompt == (slowest_s <= PROMPT * DEADLINE_S)


@dataclass
class ScriptedPart(SocketPart):
    """Repeats cases by a script instead of running them, and records which ran beside which."""

    held: frozenset[str] = frozenset()
    expected: frozenset[str] = frozenset()
    read_s: float | None = 0.01
    answers: Iterator[bool] = field(default_factory=lambda: iter([True] * 1000))
    running: int = 0
    most: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = Settings(expects=lambda case, _symptom: case in self.expected)
        target = Target(Address("tcp", "", 0), Facts(), dialler=None, formation=None)  # type: ignore[arg-type]
        super().__init__(target, load_catalogue(), settings, None, "", lambda _result: None)
        self._deadline = Deadline(0.01, 1.0)
        self._canary = ScriptedCanary(self.read_s)

    async def _calibrate(self) -> None:
        self._deadline = Deadline(0.01 if next(self.answers) else None, 1.0)

    async def _dialled_anew(self) -> bool:
        """Find that a further connection is as silent."""
        return False

    async def _attempt(self, case: Case, number: int) -> Attempt:
        assert number == 2
        self.running += 1
        await all_wait()
        self.most[case.id] = self.running
        self.running -= 1
        return attempt(case, Verdict.PASS if case.id in self.held else Verdict.FAIL)


SEVERAL = [case for case in CASES if case.part == "tombstones"][: MISSES_CONFIRMED_MAX + 6]


def test_every_miss_is_repeated_however_many_were_confirmed() -> None:
    """The first ones alone, what is beyond them beside each other; those that hold pass."""
    late = frozenset(case.id for case in SEVERAL[-3:])

    async def run() -> Mapping[str, CaseResult]:
        part = ScriptedPart(held=late)
        attempts = {case.id: attempt(case) for case in SEVERAL}
        await part._repeat(attempts)
        assert {part.most[case.id] for case in SEVERAL[:MISSES_CONFIRMED_MAX]} == {1}
        return {name: one.result for name, one in attempts.items()}

    found = asyncio.run(run())

    assert {name for name, result in found.items() if result.verdict is Verdict.PASS} == late
    assert all(found[name].slow for name in late)


@pytest.mark.parametrize(
    ("why", "symptom", "verdict", "is_repeated"),
    [
        (NoDial("no dial"), NOT_DIALLED, Verdict.COULD_NOT_RUN, True),
        (CouldNotRun("no library"), "", Verdict.COULD_NOT_RUN, False),
        (NotApplicable("not offered"), "", Verdict.NOT_APPLICABLE, False),
    ],
)
def test_a_case_that_waited_for_a_dial_is_repeated(
    why: CouldNotRun, symptom: str, verdict: Verdict, *, is_repeated: bool
) -> None:
    """The target may be slow; what else a case lacks does not come by itself."""
    found = without_verdict(SEVERAL[0], why, Evidence())

    assert (found.result.symptom, found.result.verdict) == (symptom, verdict)
    assert found.missed is is_repeated


def test_a_target_that_did_not_dial_gets_the_whole_time_once_more() -> None:
    """After one wait in vain the cases beside it do not wait; repeated, the first one does."""
    listener = Mock(silent=True)

    async def run() -> CaseResult:
        part = ScriptedPart(held=frozenset((SEVERAL[0].id,)))
        part._target = replace(part._target, listener=listener)
        first = without_verdict(SEVERAL[0], NoDial("no dial"), Evidence())
        attempts = {SEVERAL[0].id: first}
        await part._repeat(attempts)
        return attempts[SEVERAL[0].id].result

    result = asyncio.run(run())

    assert result.verdict is Verdict.PASS
    assert result.slow
    assert not listener.silent


def test_misses_that_a_ledger_expects_take_no_repetition_from_others() -> None:
    """They keep the symptom that the ledger names, and the last case is still repeated alone."""
    expected = frozenset(case.id for case in SEVERAL[:-1])

    async def run() -> ScriptedPart:
        part = ScriptedPart(expected=expected, held=frozenset((SEVERAL[-1].id,)))
        attempts = {case.id: attempt(case) for case in SEVERAL}
        await part._repeat(attempts)
        assert attempts[SEVERAL[-1].id].result.verdict is Verdict.PASS
        return part

    part = asyncio.run(run())

    assert part.most == {SEVERAL[-1].id: 1}


@pytest.mark.parametrize(
    ("read_s", "verdict"),
    [
        (PROMPT_S, Verdict.COULD_NOT_RUN),
        (3 * DEADLINE_S, Verdict.COULD_NOT_RUN),
        (GONE, Verdict.FAIL),
    ],
)
def test_a_target_that_answers_nothing_is_asked_again_in_the_end(
    read_s: float | None, verdict: Verdict
) -> None:
    """One that answers then, however late, was slow, and no case of it fails."""

    async def run() -> Mapping[str, Attempt]:
        part = ScriptedPart(read_s=read_s, answers=iter([False]))
        attempts = {case.id: attempt(case) for case in SEVERAL}
        await part._repeat(attempts)
        assert part.most == {}
        return attempts

    found = asyncio.run(run())

    assert {one.result.verdict for one in found.values()} == {verdict}


class RecordingPart(SocketPart):
    """Passes every case, and records in which order the cases start."""

    def __init__(self, *, keeps_order: bool) -> None:
        target = Target(Address("tcp", "", 0), Facts(), dialler=None, formation=None)  # type: ignore[arg-type]
        settings = Settings(keeps_order=keeps_order)
        super().__init__(target, load_catalogue(), settings, None, "", lambda _result: None)
        self.order: list[str] = []

    async def _attempt(self, case: Case, number: int) -> Attempt:
        self.order.append(case.id)
        return attempt(case, Verdict.PASS)


@pytest.mark.parametrize("keeps_order", [True, False])
def test_cases_start_in_the_given_order_only_if_it_is_asked_for(*, keeps_order: bool) -> None:
    """Else those that wait for the target come first."""
    cases = list(reversed(SEVERAL))

    async def judge() -> list[str]:
        part = RecordingPart(keeps_order=keeps_order)
        await part._judge(cases)
        return part.order

    assert (asyncio.run(judge()) == [case.id for case in cases]) == keeps_order


class TestCanary:
    """What the canary does toward a target that ends no stream."""

    def test_a_target_without_credit_for_a_stream_keeps_no_canary_waiting(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its document is not sent, and the calibration is over."""

        class Exhausted:
            async def open(self, *, uni: bool = False) -> None:
                await asyncio.Event().wait()

        async def connection(_peer: Peer) -> Exhausted:
            return Exhausted()

        monkeypatch.setattr(Peer, "connection", connection)
        canary = ScriptedCanary(SLOW_S)

        with pytest.raises(TimeoutError):
            asyncio.run(canary.send(0.0))
        assert asyncio.run(Canary.calibrate(canary, 0.0)).median_s is None
