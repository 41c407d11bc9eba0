"""A slow target is not blamed and a silent one is, on a clock that the tests move."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from unittest.mock import AsyncMock, Mock

import pytest

from meshwire_conformance.oplog_suite.conversation import (
    BYTES_A_DEADLINE,
    DEADLINES_MAX,
    Dialogue,
    Known,
    PeerSession,
    SessionFailed,
)
from meshwire_conformance.oplog_suite.part import Tried, decided
from meshwire_conformance.oplog_suite.steps import SessionRun
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.targets.probes import Beside
from meshwire_conformance.verdicts import TOO_SLOW, CaseResult, Verdict
from meshwire_spec.schemas.oplog_sessions import OplogSession

DEADLINE_S = 4.0
NEVER = math.inf


@dataclass
class Clock:
    """The time, which waiting moves."""

    now_s: float = 0.0


@dataclass(eq=False)
class SlowSession(PeerSession):
    """A session on which the first message comes after `first_s`, then an operation each `each_s`.

    Only those that `have` has come.
    """

    clock: Clock = field(default_factory=Clock)
    first_s: float = 0.0
    each_s: float = NEVER
    has: int = 0

    def __post_init__(self) -> None:
        self.due_s = self.clock.now_s + self.first_s

    async def news(self, within_s: float) -> bool:
        """Move the clock to the next message, if that comes in time."""
        if self.due_s > self.clock.now_s + within_s:
            self.clock.now_s += within_s
            return False
        self.clock.now_s = self.due_s
        if self.has_begun:
            self.bulk.append(f"operation {len(self.bulk)}")
        self.has_begun = True
        self.due_s += self.each_s if len(self.bulk) < self.has else NEVER
        return True

    async def end(self) -> None:
        """Drop nothing."""


class SlowTarget(Dialogue):
    """The sessions of a target that needs so long for its first message and for each operation."""

    def __init__(self, *, first_s: float = 0.0, each_s: float = NEVER, has: int = 10) -> None:
        self.clock = Clock()
        super().__init__("ws://", Known(), DEADLINE_S, clock=lambda: self.clock.now_s)
        self._times = {"first_s": first_s, "each_s": each_s, "has": has}

    async def open(self, name: str, *, listens: bool = True) -> PeerSession:
        """Return a session that begins now."""
        return SlowSession(name, Mock(send=AsyncMock()), Known(), clock=self.clock, **self._times)  # type: ignore[arg-type]


def missing(target: SlowTarget, wanted: int, *, open_one: bool = False) -> int:
    """Return how many of the wanted operations do not come, on an open session or on new ones."""
    names = {f"operation {number}" for number in range(wanted)}

    async def get() -> int:
        if open_one:
            return len(await target.wait(await target.open("A"), names))
        return len(names - set((await target.snapshot(names)).everything))

    return asyncio.run(get())


@pytest.mark.parametrize("open_one", [False, True])
@pytest.mark.parametrize("times", [{"each_s": 1.5}, {"first_s": 3.5, "each_s": 0.2}])
def test_a_target_that_goes_on_is_waited_for(times: dict[str, float], *, open_one: bool) -> None:
    """Beyond the deadline, and longer than the suite is used to wait within a bulk."""
    target = SlowTarget(**times)  # type: ignore[arg-type]

    assert missing(target, 10, open_one=open_one) == 0
    assert target.clock.now_s > DEADLINE_S


@pytest.mark.parametrize("open_one", [False, True])
@pytest.mark.parametrize("target", [{}, {"first_s": NEVER}])
def test_a_silent_target_is_given_up_after_a_deadline(
    target: dict[str, float], *, open_one: bool
) -> None:
    """Whether it begins a bulk or not."""
    silent = SlowTarget(**target)  # type: ignore[arg-type]

    assert missing(silent, 1, open_one=open_one) == 1
    assert silent.clock.now_s == pytest.approx(DEADLINE_S)


def test_a_target_that_stops_is_given_up_a_deadline_later() -> None:
    """What it has sent until then does not come again."""
    target = SlowTarget(each_s=0.2, has=5)

    assert missing(target, 6) == 1
    assert target.clock.now_s == pytest.approx(DEADLINE_S + 5 * 0.2)


def test_a_target_that_never_ends_is_given_up_in_the_end() -> None:
    """Operations that nobody asked for are no reason to wait for ever."""
    target = SlowTarget(each_s=0.2, has=300)

    assert missing(target, 300) > 0
    assert target.clock.now_s == pytest.approx(DEADLINES_MAX * DEADLINE_S)


@pytest.mark.parametrize(
    ("open_one", "times"),
    [(False, {"first_s": 2.9 * DEADLINE_S, "each_s": 0.2}), (True, {"each_s": 2.9 * DEADLINE_S})],
)
def test_a_target_gets_more_time_for_what_a_case_has_sent(
    times: dict[str, float], *, open_one: bool
) -> None:
    """It may apply a long message in slices, and answer pings promptly meanwhile."""
    target = SlowTarget(**times, has=1)  # type: ignore[arg-type]
    target.count("é" * BYTES_A_DEADLINE)

    assert target.deadline_s == pytest.approx(3 * DEADLINE_S)
    assert missing(target, 1, open_one=open_one) == 0


def test_the_deadline_for_a_bulk_of_5_mb_is_longer() -> None:
    """What the steps of a case send is counted, and a target that never applies it is given up."""
    transcript = load_catalogue().by_id["MW-9088"].body
    assert isinstance(transcript, OplogSession)
    target = SlowTarget()

    with pytest.raises(SessionFailed, match="did not come") as failed:
        asyncio.run(SessionRun(transcript, target, "seed").run())

    assert failed.value.missed
    assert target.clock.now_s == pytest.approx(target.deadline_s)
    assert target.deadline_s > 3 * DEADLINE_S


MISS = Tried(CaseResult("MW-1", Verdict.FAIL, ("late",), "not-applied"), missed=True)
WRONG = Tried(CaseResult("MW-1", Verdict.FAIL, ("wrong",), "relayed"))
HELD = Tried(CaseResult("MW-1", Verdict.PASS))
GONE = Tried(
    CaseResult("MW-1", Verdict.COULD_NOT_RUN, ("cannot open",), "target-ended"), missed=True
)
ENDED = Tried(CaseResult("MW-1", Verdict.COULD_NOT_RUN, ("by Ctrl-C",), "ended"))
PROMPT = Beside(DEADLINE_S, 0.1, asked="ping")
SLOW = Beside(DEADLINE_S, 3.0, asked="ping")
UNANSWERED = Beside(DEADLINE_S, 0.1, "nothing", asked="ping")


@pytest.mark.parametrize(
    ("first", "again", "beside", "verdict", "symptom"),
    [
        (MISS, HELD, SLOW, Verdict.PASS, ""),
        (MISS, MISS, PROMPT, Verdict.FAIL, "not-applied"),
        (MISS, MISS, UNANSWERED, Verdict.FAIL, "not-applied"),
        (MISS, MISS, SLOW, Verdict.COULD_NOT_RUN, TOO_SLOW),
        (MISS, WRONG, SLOW, Verdict.FAIL, "relayed"),
        (MISS, GONE, SLOW, Verdict.COULD_NOT_RUN, TOO_SLOW),
        (MISS, GONE, PROMPT, Verdict.FAIL, "not-applied"),
        (MISS, GONE, UNANSWERED, Verdict.FAIL, "not-applied"),
        (MISS, ENDED, PROMPT, Verdict.COULD_NOT_RUN, "ended"),
        (WRONG, MISS, SLOW, Verdict.FAIL, "relayed"),
        (WRONG, WRONG, SLOW, Verdict.FAIL, "relayed"),
        (WRONG, HELD, SLOW, Verdict.PASS, ""),
    ],
)
def test_a_second_miss_counts_beside_prompt_pings_alone(
    first: Tried, again: Tried, beside: Beside, verdict: Verdict, symptom: str
) -> None:
    """Wrong content counts whatever the pings show."""
    found = decided(first, again, beside)

    assert (found.verdict, found.symptom) == (verdict, symptom)
    assert found.slow is (verdict is Verdict.PASS)
    assert any("ping" in note for note in found.notes) == (first.missed and again.missed)
