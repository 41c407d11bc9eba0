"""The socket part begins no case once violations have ended the run.

No target is asked anything here: the cases follow a script.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.python_cases import PythonCase
from meshwire_conformance.contracts import Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.progress import RunProgress
from meshwire_conformance.socket_suite.attempts import (
    Attempt,
    body_of,
    is_final,
    is_hostile,
    is_serial,
    with_control,
)
from meshwire_conformance.socket_suite.calibration import CANARY_DOCUMENT, Canary, Deadline
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.inbox import Inbox
from meshwire_conformance.socket_suite.part import SocketPart
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.transport import Address
from meshwire_conformance.verdicts import (
    ENDED,
    SUITE_FAULT,
    CaseResult,
    ExitCode,
    Verdict,
    exit_code,
)
from turns import all_wait

SOCKET = [case for case in load_catalogue().cases if case.kind == "socket"]
SERIAL = [case for case in SOCKET if is_serial(case) and not is_hostile(body_of(case))][:3]
HOSTILE = [case for case in SOCKET if is_hostile(body_of(case))][:3]
FINAL = [case for case in SOCKET if is_final(body_of(case))][:1]
BESIDE = [
    case
    for case in SOCKET
    if not is_serial(case) and not is_final(body_of(case)) and not case.needs
][:40]
TARGET = Target(Address("tcp", "", 0), Facts(), dialler=None, formation=None)  # type: ignore[arg-type]


class Answering(Canary):
    """A canary that is always read."""

    async def read(self, deadline_s: float, through: object = None) -> bool:
        """Return True."""
        return True


class Scripted(SocketPart):
    """A part in which the case `fails` breaks a rule, and `late` misses its deadline."""

    def __init__(self, fails: str, late: str = "") -> None:
        self.progress = RunProgress(load_catalogue().by_id, {}, len(SOCKET), violations_max=1)
        settings = Settings(ends_early=True, ended=self.progress.ended, keeps_order=True)
        super().__init__(TARGET, load_catalogue(), settings, None, "", self.progress)
        self.begun: list[str] = []
        self.calibrations = 0
        self.fails, self.late = fails, late
        self._deadline = Deadline(0.01, 1.0)
        self._canary = Answering(Session(TARGET, settings, "n", Inbox()), CANARY_DOCUMENT)
        self._asked = frozenset(case.id for case in SOCKET)

    async def _calibrate(self) -> None:
        self.calibrations += 1

    async def _run_on(self, session: Session, case: Case, number: int) -> Attempt:
        del session, number
        self.begun.append(case.id)
        # Cases beside each other wait for answers, so that several have begun when one fails.
        await all_wait()
        is_bad = case.id in {self.fails, self.late}
        result = CaseResult(case.id, Verdict.FAIL if is_bad else Verdict.PASS, symptom="s" * is_bad)
        return Attempt(case, result, missed=case.id == self.late)

    async def _in_fresh_process(self, case: Case, number: int) -> Attempt:
        return await self._run_on(self._session, case, number)


def judged(part: Scripted) -> dict[str, CaseResult]:
    """The results of the cases after the run."""
    cases = [*FINAL, *HOSTILE, *SERIAL, *BESIDE]
    results = asyncio.run(part._judge(cases))
    assert set(results) == {case.id for case in cases}
    return {result.case: result for result in part.progress.over(results.values())}


def test_no_case_begins_after_the_violation() -> None:
    """Of those beside it a few have begun; no serial, hostile or final one does."""
    part = Scripted(BESIDE[2].id)
    results = judged(part)
    failed = [name for name, result in results.items() if result.verdict is Verdict.FAIL]
    left = [name for name, result in results.items() if result.symptom == ENDED]

    assert failed == [BESIDE[2].id]
    assert results[BESIDE[0].id].verdict is Verdict.PASS
    assert len(part.begun) < 20
    assert not {case.id for case in (*SERIAL, *HOSTILE, *FINAL)} & {*part.begun}
    assert {*left} >= {case.id for case in BESIDE[20:]}


def test_a_violation_of_a_hostile_case_leaves_the_next_ones_out() -> None:
    """Those before it count."""
    part = Scripted(HOSTILE[0].id)
    results = judged(part)

    assert part.begun[-1] == HOSTILE[0].id
    assert [results[case.id].symptom for case in (*HOSTILE[1:], *FINAL)] == [ENDED] * 3
    assert {results[case.id].verdict for case in (*SERIAL, *BESIDE)} == {Verdict.PASS}


def test_a_missed_deadline_is_not_repeated_after_the_end() -> None:
    """The miss alone is no violation, and no repetition delays the end."""
    part = Scripted(BESIDE[1].id, late=BESIDE[0].id)
    results = judged(part)

    assert part.begun.count(BESIDE[0].id) == 1
    assert part.calibrations == 0
    assert results[BESIDE[0].id].symptom == ENDED


def test_a_negative_whose_control_did_not_run_says_why() -> None:
    """It would count only beside its control."""
    negative = next(case for case in SOCKET if case.control)
    assert negative.control is not None
    end = CaseResult(negative.control, Verdict.COULD_NOT_RUN, ("the run ended",), ENDED)
    passed = CaseResult(negative.id, Verdict.PASS)
    result = with_control(negative, {end.case: end, passed.case: passed})

    assert (result.verdict, result.symptom) == (Verdict.COULD_NOT_RUN, ENDED)
    assert result.reasons == end.reasons


class Faulty(SocketPart):
    """A part with a session that was never connected."""

    def __init__(self) -> None:
        settings = Settings()
        super().__init__(TARGET, load_catalogue(), settings, None, "", lambda _result: None)
        self._session = Session(TARGET, settings, "n", self._inbox)
        self._deadline = Deadline(0.01, 1.0)
        self._asked = frozenset()


def test_a_fault_of_the_suite_ends_one_case_and_not_the_run() -> None:
    """The case could not run, its reason names the place, and the exit code is 2."""

    async def fails(_run: CaseRun) -> None:
        bytearray()[0]

    case = next(case for case in SOCKET if isinstance(case.body, PythonCase))
    assert isinstance(case.body, PythonCase)
    part = Faulty()
    faulty = replace(case, body=replace(case.body, run=fails))
    result = asyncio.run(part._run_on(part._session, faulty, 1)).result

    assert (result.verdict, result.symptom) == (Verdict.COULD_NOT_RUN, SUITE_FAULT)
    assert "IndexError" in result.reasons[0]
    assert "test_early_end.py" in result.reasons[0]
    assert exit_code([result]) is ExitCode.FAULT
