"""The conversation of the codec part with its target: a process, replaced after each fault.

Theory: all requests of a batch go out in one pipeline. If the target dies, hangs or floods, each
unanswered request is repeated alone in a fresh process, so that the fault is assigned to the case
that causes it; after a few faults at one kind the remaining cases of that kind are not sent and not
judged.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.codec_suite.judge import Given, Hello
from meshwire_conformance.codec_suite.manners import (
    UNSENT,
    Manners,
    UnfitHello,
    hello_faults,
    require_profile,
    stated_by,
)
from meshwire_conformance.codec_suite.requests import Ask
from meshwire_conformance.codec_suite.witness import is_beside_prompt
from meshwire_conformance.contracts import Settings
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.explain.values import shown
from meshwire_conformance.targets.stdio import Ending, Harness, Replies, cancelled
from meshwire_conformance.verdicts import (
    ADVICE,
    TARGET_SILENT,
    TOO_SLOW,
    TOO_SLOW_REASON,
    CaseResult,
    Verdict,
)

ANSWER_S = 5.0
"""Seconds that the answer to one request may take, before scaling."""
START_S = 15.0
"""Seconds that the process may take to start and to answer hello, before scaling."""
TOTAL_S = 30.0
"""Seconds that a whole conversation may take, before scaling."""
FAULTS_OF_KIND_MAX = 5
"""Number of process faults after which no request of that kind is sent."""
LATE_HELLOS_MAX = 2
"""Number of further processes, one after the other, that do not answer hello: none will."""
FAULTS_IN_ROW_MAX = 10
"""Number of process faults, one after the other, after which no request is sent at all."""
MEDIANS = 50
"""Deadline of an answer after a miss, in medians of the answers to hello."""
HELLOS = 3
"""Number of answers to hello that give the median."""
HELLO_ID = 0
HELLO = f'{{"id":{HELLO_ID},"op":"hello"}}'
FLUSH_HINT = "an adapter writes each answer out at once (CH-002): did it flush?"


class LateHello(Incomplete):
    """A process did not answer hello in time."""


class HarnessSession:
    """The target over a whole run: a process, replaced by a new one after each fault."""

    def __init__(self, command: str, settings: Settings) -> None:
        self._command = command
        self._settings = settings
        self._harness: Harness | None = None
        self._answer_s = ANSWER_S * settings.timeout_scale
        self.manners = Manners()
        self.slow: set[str] = set()
        """Ids of the cases that missed a deadline in the pipeline and were answered alone."""
        self.too_slow: set[str] = set()
        """Ids of the cases that got no answer while the codec was slow in every respect."""
        self.unsent: dict[str, str] = {}
        """Why a case was not sent at all, by its id."""
        self.silence = ""
        """Why nothing is sent any more: further processes do not answer hello either."""
        self._late_hellos = 0

    async def start(self) -> None:
        """Start the target; call `greet` next. Raises Incomplete if it cannot be started."""
        self._harness = await self._started()

    async def _started(self) -> Harness:
        scale = self._settings.timeout_scale
        total_s = max(TOTAL_S * scale, self._answer_s)
        harness = Harness(self._command, self._answer_s, total_s, self._settings.trace)
        await harness.start()
        return harness

    async def greet(self) -> Hello:
        """Send hello to a target that was just started and return its answer.

        Raises Incomplete if it does not answer or does not speak the profile, UnfitHello if the
        answer names no kinds.
        """
        assert self._harness is not None
        start_s = START_S * self._settings.timeout_scale
        spoken = await self._harness.converse({HELLO_ID: HELLO}, start_s=start_s)
        self.manners.notice(spoken)
        answer = spoken.answers.get(HELLO_ID)
        if answer is None and not spoken.garbage:
            detail = " | ".join(map(str.strip, spoken.detail.splitlines()))
            told = f"the codec harness does not answer hello: {detail}{_hint_of(spoken, '; {}')}"
            if spoken.ending is Ending.HUNG:
                raise LateHello(f"{told}; a greater --timeout-scale gives it more time")
            raise Incomplete(told)
        if answer is None:
            self.manners.hello = [f"no answer to it: {line}" for line in spoken.garbage]
            raise UnfitHello(f"hello is not answered: it said {shown(spoken.garbage[0])}")
        if HELLO_ID in spoken.void:
            self.manners.hello = [f"no strict JSON: {spoken.void[HELLO_ID]}"]
            raise UnfitHello(f"the answer to hello is no strict JSON: {spoken.void[HELLO_ID]}")
        require_profile(answer)
        self.manners.hello = list(hello_faults(answer))
        stated = stated_by(answer)
        self._settings.named({"name": stated.name, "version": stated.version})
        return stated

    def timed(self, case: Case, result: CaseResult) -> CaseResult:
        """Return a result with regard to the deadlines that the target missed."""
        why = self.unsent.get(case.id)
        if why is not None and result.verdict is Verdict.FAIL and case.id not in self.too_slow:
            return replace(
                result,
                verdict=Verdict.COULD_NOT_RUN,
                reasons=(why,),
                symptom=UNSENT,
                sent=(),
                expected=(),
                received=(),
            )
        no_answer = case.id in self.too_slow and result.verdict is Verdict.FAIL
        no_control = case.control in self.too_slow and result.verdict is Verdict.COULD_NOT_RUN
        if no_answer or no_control:
            return replace(
                result,
                verdict=Verdict.COULD_NOT_RUN,
                reasons=(self.silence or TOO_SLOW_REASON,),
                symptom=TARGET_SILENT if self.silence else TOO_SLOW,
            )
        return replace(result, slow=result.verdict is Verdict.PASS and case.id in self.slow)

    async def close(self) -> None:
        """End the process, if one is running."""
        harness, self._harness = self._harness, None
        if harness is not None:
            await harness.close()
            self.manners.strays += harness.left

    async def _abort(self) -> None:
        harness, self._harness = self._harness, None
        if harness is not None:
            await harness.abort()

    async def ask(self, asks: Sequence[Ask]) -> dict[int, Given]:
        """Return the outcome of every request by its number."""
        if self._harness is None:
            # The last request of an earlier batch has ended it.
            return await self._ask_one_by_one(asks)
        spoken = await self._harness.converse({ask.id: ask.line for ask in asks})
        self.manners.notice(spoken)
        given = {number: _answered(number, spoken) for number in spoken.answers}
        # The sessions of a run end with the process, so requests already answered are sent again.
        cut = {ask.case.id for ask in asks if ask.id not in given}
        left = [ask for ask in asks if ask.case.id in cut]
        if left:
            await self._abort()
            late = {left[0].case.id} if spoken.ending is Ending.HUNG else set()
            given |= await self._ask_one_by_one(left)
            self.slow |= late - self.too_slow
        return given

    async def _ask_one_by_one(self, asks: Sequence[Ask]) -> dict[int, Given]:
        given: dict[int, Given] = {}
        faults: dict[str, list[str]] = {}
        """Ids of the cases whose requests were not answered, by kind: one for each request."""
        in_row = 0
        sent: set[str] = set()
        for ask in asks:
            kind = ask.case.kind
            if self.silence:
                given[ask.id] = Given(None, self.silence, unasked=True)
                continue
            if why := _too_many(kind, faults.get(kind, ()), in_row):
                given[ask.id] = Given(None, why, unasked=True)
                self.unsent.setdefault(ask.case.id, why)
                continue
            sent.add(ask.case.id)
            with self._settings.waits_for(ask.case.id):
                spoken = await self._ask_alone(ask)
            given[ask.id] = _given(ask, spoken)
            in_row += 1
            if ask.id in spoken.answers:
                in_row = 0
            else:
                faults.setdefault(kind, []).append(ask.case.id)
                await self._abort()
        for name in sent:
            self.unsent.pop(name, None)
        if self.too_slow:
            self.too_slow |= {ask.case.id for ask in asks if given[ask.id].unasked}
        return given

    async def _ask_alone(self, ask: Ask) -> Replies:
        if self._harness is None:
            try:
                await self.start()
                await self.greet()
                self._late_hellos = 0
                await self._calibrate()
            except LateHello as exc:
                self.too_slow.add(ask.case.id)
                self._count_late_hello(ask)
                return Replies(ending=Ending.HUNG, detail=str(exc))
            except Incomplete as exc:
                return Replies(ending=Ending.DIED, detail=str(exc))
        assert self._harness is not None
        harness = self._harness
        asking = asyncio.create_task(harness.converse({ask.id: ask.line}))
        try:
            is_prompt = await is_beside_prompt(asking, harness.answer_s, self._started, _greeted)
            spoken = await asking
        finally:
            await cancelled(asking)
        if spoken.ending is Ending.HUNG and not is_prompt:
            self.too_slow.add(ask.case.id)
        self.manners.notice(spoken)
        return spoken

    def _count_late_hello(self, ask: Ask) -> None:
        """Give the codec up if it answers nothing any more, which a case alone cannot cause."""
        self._late_hellos += 1
        if self._late_hellos < LATE_HELLOS_MAX:
            return
        start_s = START_S * self._settings.timeout_scale
        self.silence = (
            f"the codec answers nothing any more since {ask.case.id}: {LATE_HELLOS_MAX} further "
            f"processes in a row did not answer hello within {start_s:g} s each; {ADVICE}"
        )
        self._settings.said(self.silence)

    async def _calibrate(self) -> None:
        """Measure the deadline of the answers of a process that was just started."""
        assert self._harness is not None
        taken = []
        for _ in range(HELLOS):
            began = time.monotonic()
            if await _greeted(self._harness) is not Ending.ANSWERED:
                # It answers hello only once, or hangs: it keeps the least deadline.
                await self._abort()
                await self.start()
                await self.greet()
                return
            taken.append(time.monotonic() - began)
        measured_s = MEDIANS * statistics.median(taken) * self._settings.timeout_scale
        self._harness.answer_s = max(self._answer_s, measured_s)


def _too_many(kind: str, of_kind: Sequence[str], in_row: int) -> str:
    """Return why no request of a kind is sent after these faults, or an empty text.

    `of_kind` has the id of the case for each request of the kind that was not answered.
    """
    if len(of_kind) >= FAULTS_OF_KIND_MAX:
        cases = len(set(of_kind))
        of_cases = "1 case" if cases == 1 else f"{cases} cases"
        return (
            f"not sent: the codec died or hung at {len(of_kind)} requests of {of_cases} of {kind}"
        )
    if in_row >= FAULTS_IN_ROW_MAX:
        return f"not sent: the codec died or hung at {in_row} requests in a row before it"
    return ""


async def _greeted(harness: Harness) -> Ending:
    """Send hello to a process and return how that ended."""
    return (await harness.converse({HELLO_ID: HELLO})).ending


def _answered(number: int, spoken: Replies) -> Given:
    """Return the outcome of a request that was answered, perhaps in no strict JSON."""
    if number in spoken.void:
        return Given(None, f"the answer is no strict JSON: {spoken.void[number]}")
    return Given(spoken.answers[number])


def _given(ask: Ask, spoken: Replies) -> Given:
    if ask.id in spoken.answers:
        return _answered(ask.id, spoken)
    if spoken.ending is Ending.ANSWERED:
        return Given(None, f"the answer is none: {shown(''.join(spoken.garbage))}")
    return Given(None, f"{spoken.ending.value}: {spoken.detail}{_hint_of(spoken, ' ({})')}")


def _hint_of(spoken: Replies, form: str) -> str:
    """Return why an answer may be missing; bytes without a line feed already show the reason."""
    is_open = spoken.ending is Ending.HUNG and not spoken.unended
    return form.format(FLUSH_HINT) if is_open else ""
