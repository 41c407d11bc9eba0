"""The codec part: sends every vector to a codec harness and judges the answers.

Theory: all requests go out in one pipeline. If the target dies, hangs or floods, each
unanswered request is repeated alone in a fresh process, so that the fault is assigned to the case
that causes it; after a few at one kind its remaining cases are not sent, and not judged. A negative
counts only if its positive control passed under the same conditions, so a target that refuses
every message, or gives the same answer to all, passes no negative.
"""

import asyncio
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from meshwire_conformance.catalogue.case import HARNESS, SOCKET, Case
from meshwire_conformance.catalogue.catalogue import Catalogue
from meshwire_conformance.catalogue.reconciliations import KIND
from meshwire_conformance.codec_suite.judge import Finding, Given, Hello, finding_of, vector_of
from meshwire_conformance.codec_suite.manners import (
    UNFIT,
    UNSENT,
    Manners,
    UnfitHello,
    adapter_results,
    hello_faults,
    require_profile,
    stated_by,
)
from meshwire_conformance.codec_suite.reconciliation_judge import (
    RunFinding,
    describe_run,
    finding_of_run,
)
from meshwire_conformance.codec_suite.requests import OPERATIONS, Ask, asks_of, asks_of_run
from meshwire_conformance.codec_suite.witness import is_beside_prompt
from meshwire_conformance.contracts import Attachment, Progress, Settings
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.explain.values import shown
from meshwire_conformance.targets.stdio import Ending, Harness, Replies, cancelled
from meshwire_conformance.verdicts import (
    CONTROL_FAILED,
    ENDED,
    TOO_SLOW,
    TOO_SLOW_REASON,
    CaseResult,
    Verdict,
)
from meshwire_spec.schemas.reconciliation import ReconciliationRun

ANSWER_S = 5.0
"""Seconds that the answer to one request may take, before scaling."""
START_S = 15.0
"""Seconds that the process may take to start and to answer hello, before scaling."""
TOTAL_S = 30.0
"""Seconds that a whole conversation may take, before scaling."""
FAULTS_OF_KIND_MAX = 5
"""Number of process faults after which no request of that kind is sent."""
FAULTS_IN_ROW_MAX = 10
"""Number of process faults, one after the other, after which no request is sent at all."""
BATCH = 32
"""Requests of the first batch, if violations can end the run; each next batch is twice as large."""
MEDIANS = 50
"""Deadline of an answer after a miss, in medians of the answers to hello."""
HELLOS = 3
"""Number of answers to hello that give the median."""
HELLO_ID = 0
HELLO = f'{{"id":{HELLO_ID},"op":"hello"}}'
FIRST_ID = 2
FLUSH_HINT = "an adapter writes each answer out at once (CH-002): did it flush?"


class LateHello(Incomplete):
    """A process did not answer hello in time."""


async def run(
    cases: Sequence[Case],
    catalogue: Catalogue,
    attachment: Attachment,
    settings: Settings,
    progress: Progress,
) -> list[CaseResult]:
    """Run the codec cases against the harness that `attachment` names.

    Raises Incomplete if the command cannot be started, does not answer hello, or supports only
    other profiles.
    """
    clock = time.perf_counter()
    session = HarnessSession(attachment.location, settings)
    about_adapter = [case for case in cases if case.kind == HARNESS]
    about_codec = [case for case in cases if case.kind != HARNESS]
    asks: list[Ask] = []
    given: dict[int, Given] = {}
    results: list[CaseResult] = []
    try:
        await session.start()
        # Made while the target starts, which takes as long.
        chosen = about_codec or _everything(catalogue)
        if settings.ends_early:
            # No batch then lacks the control of one of its cases.
            chosen.sort(key=lambda case: case.control is not None)
        made = list(_asks(_with_controls(chosen, [*cases, *chosen], catalogue)))
        hello = await session.greet()
        for batch in _batches(made, ends_early=settings.ends_early):
            sent = [ask for ask in batch if ask.case.kind in hello.kinds]
            asks += sent
            given |= await session.ask(sent)
            names = {ask.case.id for ask in batch}
            these = [case for case in about_codec if case.id in names]
            verdicts = judged(these, asks, given, hello, settings)
            results += _reported((session.timed(case, one) for case, one in verdicts), progress)
            if settings.ended():
                break
    except UnfitHello as exc:
        # Without cases of the harness itself nothing was judged.
        if not about_adapter:
            raise
        reason = (str(exc),)
        unfit = (
            CaseResult(case.id, Verdict.COULD_NOT_RUN, reason, symptom=UNFIT)
            for case in about_codec
        )
        results += _reported(unfit, progress)
    finally:
        await session.close()
    if why := settings.ended():
        over = {result.case for result in results}
        results += [
            _unoffered(case, hello) or CaseResult(case.id, Verdict.COULD_NOT_RUN, (why,), ENDED)
            for case in about_codec
            if case.id not in over
        ]
    for ask in asks:
        if ask.op == "decode":
            session.manners.notice_offset(given[ask.id].answer)
    adapter = adapter_results(about_adapter, session.manners, asked=bool(asks))
    results += _reported(adapter, progress)
    duration_s = (time.perf_counter() - clock) / max(1, len(asks))
    order = {case.id: number for number, case in enumerate(cases)}
    silence = session.manners.silence
    return [
        replace(result, duration_s=duration_s, cause=result.cause or silence(result.symptom))
        for result in sorted(results, key=lambda result: order[result.case])
    ]


def _batches(asks: Iterable[Ask], *, ends_early: bool) -> Iterator[list[Ask]]:
    """Yield the requests at once, or in batches that grow if a violation may end the run.

    Requests of one case stay together.
    """
    size = BATCH
    batch: list[Ask] = []
    for _, of_case in groupby(asks, key=lambda ask: ask.case.id):
        batch += of_case
        if ends_early and len(batch) >= size:
            yield batch
            batch = []
            size *= 2
    if batch:
        yield batch


def _reported(results: Iterable[CaseResult], progress: Progress) -> Iterator[CaseResult]:
    """Yield each result after it was reported."""
    for result in results:
        progress(result)
        yield result


def _everything(catalogue: Catalogue) -> list[Case]:
    """Return the cases to send if only cases of the harness itself are selected."""
    return [case for case in catalogue.cases if case.kind not in (SOCKET, HARNESS)]


def _with_controls(
    chosen: Sequence[Case], cases: Sequence[Case], catalogue: Catalogue
) -> Iterator[Case]:
    """Yield the chosen cases and all their controls, each once, controls first."""
    wanted = {case.control for case in chosen if case.control} - {case.id for case in cases}
    for name in sorted(wanted):
        yield catalogue.by_id[name]
    yield from chosen


def _asks(cases: Iterable[Case]) -> Iterator[Ask]:
    number = FIRST_ID
    for case in cases:
        body = case.body
        asks = (
            asks_of_run(case, body, number)
            if isinstance(body, ReconciliationRun)
            else asks_of(case, vector_of(case), number)
        )
        for ask in asks:
            number += 1
            yield ask


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
                reasons=(TOO_SLOW_REASON,),
                symptom=TOO_SLOW,
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
                await self._calibrate()
            except LateHello as exc:
                self.too_slow.add(ask.case.id)
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

    async def _calibrate(self) -> None:
        """Measure the deadline of the answers of a process that was just started."""
        assert self._harness is not None
        taken = []
        for _ in range(HELLOS):
            began = time.monotonic()
            if await _greeted(self._harness) is not Ending.ANSWERED:
                # It answers hello once only, or hangs: the floor is its deadline.
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
    """Return what may have kept an answer back; bytes without a line feed say it themselves."""
    is_open = spoken.ending is Ending.HUNG and not spoken.unended
    return form.format(FLUSH_HINT) if is_open else ""


def _findings(
    asks: Sequence[Ask], given: Mapping[int, Given], hello: Hello, level: str
) -> dict[str, Finding | RunFinding]:
    """Return the finding of each case asked; controls are not considered yet."""
    by_case: dict[str, list[tuple[Ask, Given]]] = {}
    for ask in asks:
        by_case.setdefault(ask.case.id, []).append((ask, given[ask.id]))
    found: dict[str, Finding | RunFinding] = {}
    for name, pairs in by_case.items():
        case = pairs[0][0].case
        demanded = case.demanded(level)
        if isinstance(case.body, ReconciliationRun):
            found[name] = finding_of_run(case.body, pairs, hello, demanded, level)
        else:
            found[name] = finding_of(pairs, hello, demanded)
    return found


def judged(
    cases: Sequence[Case],
    asks: Sequence[Ask],
    given: Mapping[int, Given],
    hello: Hello,
    settings: Settings,
) -> Iterator[tuple[Case, CaseResult]]:
    """Yield each case with its result."""
    findings = _findings(asks, given, hello, settings.level)
    causes = _causes(findings, asks, given, hello)
    for case in cases:
        yield case, _result(case, findings, causes, hello, settings)


def _causes(
    findings: Mapping[str, Finding | RunFinding],
    asks: Sequence[Ask],
    given: Mapping[int, Given],
    hello: Hello,
) -> Mapping[str, str]:
    """Return the causes of the failures that typical mistakes explain, by the id of the case."""
    failed = [
        name for name, found in findings.items() if isinstance(found, Finding) and found.symptom
    ]
    if not failed:
        return {}
    # The layouts are heavy, and only failures need them.
    from meshwire_conformance.codec_suite.causes import causes_of  # noqa: PLC0415

    return causes_of(failed, [(ask, given[ask.id]) for ask in asks], hello)


def _result(
    case: Case,
    findings: Mapping[str, Finding | RunFinding],
    causes: Mapping[str, str],
    hello: Hello,
    settings: Settings,
) -> CaseResult:
    """Return the verdict of one case, with regard to its control and to the level."""
    if unoffered := _unoffered(case, hello):
        return unoffered
    told = findings[case.id]
    found, control = _plain(told), _plain(findings.get(case.control or ""))
    assert found is not None
    if found.symptom and isinstance(told, RunFinding) and isinstance(case.body, ReconciliationRun):
        return describe_run(case, case.body, told, control)
    if found.symptom:
        # The schema codec is slow to load, and only failures need it.
        from meshwire_conformance.codec_suite.findings import describe  # noqa: PLC0415

        told_in_full = describe(case, found, control, settings.level)
        return replace(told_in_full, cause=causes.get(case.id, ""))
    if case.demanded(settings.level) == "any":
        return CaseResult(case.id, Verdict.INFORMATIONAL)
    if case.demanded(settings.level) == "reject" and control is not None and control.symptom:
        reason = f"does not count: its control {case.control} did not pass ({control.symptom})"
        result = CaseResult(case.id, Verdict.COULD_NOT_RUN, (reason,), symptom=CONTROL_FAILED)
        return replace(result, cause=causes.get(case.control or "", ""))
    return CaseResult(case.id, Verdict.PASS, unbound=found.unbound)


def _unoffered(case: Case, hello: Hello) -> CaseResult | None:
    """Return the result of a case of a kind that the codec does not offer, else None."""
    if case.kind in hello.kinds:
        return None
    runs = f"the operations {', '.join(sorted(OPERATIONS))}"
    reason = f"the harness does not offer {runs if case.kind == KIND else case.kind}"
    return CaseResult(case.id, Verdict.NOT_APPLICABLE, (reason,))


def _plain(found: Finding | RunFinding | None) -> Finding | None:
    """Return the finding alone, without the step of a run at which it occurred."""
    return found.finding if isinstance(found, RunFinding) else found
