"""Hostile cases run last, after repetitions, and none fails for what another did to the target.

No target is attacked here: attempts and reads follow a script.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.contracts import Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.attempts import Attempt, body_of, is_final, is_hostile
from meshwire_conformance.socket_suite.calibration import CANARY_DOCUMENT, Canary, Deadline
from meshwire_conformance.socket_suite.inbox import Inbox
from meshwire_conformance.socket_suite.part import SocketPart
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.transport import Address
from meshwire_conformance.verdicts import CaseResult, Verdict

SOCKET = [case for case in load_catalogue().cases if case.kind == "socket"]
HOSTILE = [case for case in SOCKET if is_hostile(body_of(case))]
OTHERS = [case for case in SOCKET if not is_hostile(body_of(case))][:6]
FINAL = [case for case in SOCKET if is_final(body_of(case))]
TARGET = Target(Address("tcp", "", 0), Facts(), dialler=None, formation=None)  # type: ignore[arg-type]


class Read(Canary):
    """A canary that is read until the part has ended the target."""

    def __init__(self, part: Attacked) -> None:
        super().__init__(Session(TARGET, Settings(), "n", Inbox()), CANARY_DOCUMENT)
        self.part = part

    async def read(self, deadline_s: float, through: object = None) -> bool:
        """Return True, or end as a connection to an ended process or a silent one does."""
        self.part.order.append("read")
        if self.part.is_over and self.part.refuses:
            raise ConnectionError("refused")
        return not self.part.is_over


class Attacked(SocketPart):
    """A part whose attempts pass; the case `deadly` ends its target, and `slow` ones miss first."""

    def __init__(self, deadly: str = "", slow: Sequence[str] = (), *, refuses: bool = True) -> None:
        super().__init__(TARGET, load_catalogue(), Settings(), None, "", lambda _result: None)
        self.order: list[str] = []
        self.deadly, self.slow, self.refuses = deadly, slow, refuses
        self.is_over = False
        self._deadline = Deadline(0.01, 1.0)
        self._canary = Read(self)

    async def _calibrate(self) -> None:
        """Measure nothing."""

    async def _dialled_anew(self) -> bool:
        """Find that a further connection is as silent."""
        return False

    async def _attempt(self, case: Case, number: int) -> Attempt:
        self.order.append(case.id)
        self.is_over = self.is_over or case.id == self.deadly
        is_late = number == 1 and case.id in self.slow
        verdict, symptom = (Verdict.FAIL, "no-answer") if is_late else (Verdict.PASS, "")
        return Attempt(case, CaseResult(case.id, verdict, symptom=symptom), missed=is_late)


def judged(part: Attacked) -> dict[str, CaseResult]:
    """The results of a few cases and all hostile ones."""
    return asyncio.run(part._judge([*FINAL, *HOSTILE, *OTHERS]))


def test_hostile_cases_follow_the_repetitions_with_a_read_after_each() -> None:
    """Only those that judge the whole run come later."""
    slow = OTHERS[2].id
    part = Attacked(slow=(slow,))
    results = judged(part)
    attacks = [part.order.index(case.id) for case in HOSTILE]
    again = len(part.order) - 1 - part.order[::-1].index(slow)

    assert len(HOSTILE) > 1
    assert part.order.count(slow) == 2
    assert again < min(attacks)
    assert [part.order[number + 1] for number in attacks] == ["read"] * len(attacks)
    assert max(attacks) < min(part.order.index(case.id) for case in FINAL)
    assert {result.verdict for result in results.values()} == {Verdict.PASS}


def test_misses_beside_no_answer_are_settled_before_the_hostile_cases() -> None:
    """Those of the first repetition are no matter of the second."""
    part = Attacked(HOSTILE[0].id, refuses=False)
    part._unanswered.add(OTHERS[0].id)

    assert judged(part)[OTHERS[0].id].verdict is Verdict.COULD_NOT_RUN
    assert not part._unanswered


def test_cases_after_the_one_that_ended_the_target_are_left_open() -> None:
    """That one fails, although it passed before the read."""
    deadly = HOSTILE[3]
    part = Attacked(deadly.id, slow=(HOSTILE[1].id,))
    results = judged(part)

    assert results[deadly.id].verdict is Verdict.FAIL
    assert results[deadly.id].symptom == "target-gone"
    assert "no connection: refused" in results[deadly.id].reasons[0]
    for case in HOSTILE[4:]:
        assert case.id not in part.order
        assert results[case.id].verdict is Verdict.COULD_NOT_RUN
        assert deadly.id in results[case.id].reasons[0]


def test_silence_after_a_hostile_case_alone_fails_nothing() -> None:
    """The target may be slow."""
    deadly = HOSTILE[3]
    results = judged(Attacked(deadly.id, refuses=False))

    assert results[deadly.id].verdict is Verdict.PASS
    assert "afterwards: a read got no answer" in results[deadly.id].notes[0]
    assert results[HOSTILE[-1].id].verdict is Verdict.COULD_NOT_RUN
