"""The codec part: sends every vector to a codec harness and judges the answers.

A negative counts only if its positive control passed under the same conditions, so a target that
refuses every message, or gives the same answer to all, passes no negative.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from meshwire_conformance.catalogue.case import HARNESS, OPLOG_SESSION, SOCKET, Case
from meshwire_conformance.catalogue.catalogue import Catalogue
from meshwire_conformance.catalogue.oplog import OplogRun
from meshwire_conformance.codec_suite.certificate_judge import (
    CertificateFinding,
    asks_of_certificate,
    describe_certificate,
    finding_of_certificate,
)
from meshwire_conformance.codec_suite.judge import Finding, Given, Hello, finding_of, vector_of
from meshwire_conformance.codec_suite.manners import (
    DECODE,
    ENCODE,
    NEEDED_OPERATIONS,
    UNFIT,
    UnfitHello,
    adapter_results,
)
from meshwire_conformance.codec_suite.oplog_judge import (
    OplogFinding,
    asks_of_oplog,
    describe_oplog,
    finding_of_oplog,
)
from meshwire_conformance.codec_suite.reconciliation_judge import (
    RunFinding,
    describe_run,
    finding_of_run,
)
from meshwire_conformance.codec_suite.requests import Ask, asks_of, asks_of_run
from meshwire_conformance.codec_suite.session import HarnessSession
from meshwire_conformance.contracts import Attachment, Progress, Settings
from meshwire_conformance.verdicts import CONTROL_FAILED, ENDED, CaseResult, Verdict
from meshwire_spec.schemas.certificates import CertificateVector
from meshwire_spec.schemas.reconciliation import ReconciliationRun

SomeFinding = Finding | RunFinding | OplogFinding | CertificateFinding

BATCH = 32
"""Requests of the first batch, if violations can end the run; each next batch is twice as large."""
FIRST_ID = 2
"""Number of the first request; hello has `HELLO_ID`."""


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
    about_codec = _in_order([case for case in cases if case.kind != HARNESS], settings)
    work = _Work(about_codec, session, settings, progress)
    try:
        await session.start()
        # Made while the target starts, which takes as long.
        chosen = about_codec or _in_order(_everything(catalogue), settings)
        chosen_first = _with_controls(chosen, [*cases, *chosen], catalogue)
        made = list(_asks(chosen_first, settings.level))
        await work.judge(made, await session.greet())
    except UnfitHello as exc:
        # Without cases of the harness itself nothing was judged.
        if not about_adapter:
            raise
        work.give_up(str(exc))
    finally:
        await session.close()
    work.finish()
    adapter = adapter_results(about_adapter, session.manners, asked=bool(work.asks))
    results = [*work.results, *_reported(adapter, progress)]
    timed = _timed(_sorted(results, cases), work.asks, time.perf_counter() - clock)
    silence = session.manners.silence
    return [replace(one, cause=one.cause or silence(one.symptom)) for one in timed]


def _sorted(results: Iterable[CaseResult], cases: Sequence[Case]) -> list[CaseResult]:
    """Return the results in the order of the cases."""
    order = {case.id: number for number, case in enumerate(cases)}
    return sorted(results, key=lambda result: order[result.case])


def _timed(
    results: Iterable[CaseResult], asks: Sequence[Ask], took_s: float
) -> Iterator[CaseResult]:
    """Yield the results with their durations; all requests together took `took_s` seconds.

    The requests of all cases go out together, so each case gets the share of its own.
    """
    share_s = took_s / max(1, len(asks))
    asked = Counter(ask.case.id for ask in asks)
    for result in results:
        yield replace(result, duration_s=share_s * asked[result.case])


class _Work:
    """The cases about the codec, with what was asked for them, answered and found."""

    def __init__(
        self,
        cases: Sequence[Case],
        session: HarnessSession,
        settings: Settings,
        progress: Progress,
    ) -> None:
        self.cases = cases
        self.asks: list[Ask] = []
        self.given: dict[int, Given] = {}
        self.results: list[CaseResult] = []
        self._session = session
        self._settings = settings
        self._progress = progress
        self._hello: Hello | None = None

    async def judge(self, made: Sequence[Ask], hello: Hello) -> None:
        """Send the requests in batches, and judge the cases of each once it is answered."""
        self._hello = hello
        for batch in _batches(made, ends_early=self._settings.ends_early):
            sent = [ask for ask in batch if ask.case.kind in hello.kinds]
            self.asks += sent
            self.given |= await self._session.ask(sent)
            names = {ask.case.id for ask in batch}
            these = [case for case in self.cases if case.id in names]
            verdicts = judged(these, self.asks, self.given, hello, self._settings)
            found = (self._session.timed(case, one) for case, one in verdicts)
            self.results += _reported(found, self._progress)
            if self._settings.ended():
                break

    def give_up(self, why: str) -> None:
        """Judge no case, because the answer to hello is unfit."""
        unfit = (
            CaseResult(case.id, Verdict.COULD_NOT_RUN, (why,), symptom=UNFIT) for case in self.cases
        )
        self.results += _reported(unfit, self._progress)

    def finish(self) -> None:
        """Note the offsets of the answers, and give the cases after an early end a result."""
        for ask in self.asks:
            if ask.op in {DECODE, ENCODE}:
                self._session.manners.notice_offset(ask, self.given[ask.id].answer)
        why = self._settings.ended()
        if not why:
            return
        over = {result.case for result in self.results}
        self.results += [
            self._unoffered(case) or CaseResult(case.id, Verdict.COULD_NOT_RUN, (why,), ENDED)
            for case in self.cases
            if case.id not in over
        ]

    def _unoffered(self, case: Case) -> CaseResult | None:
        return None if self._hello is None else _unoffered(case, self._hello)


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
    return [case for case in catalogue.cases if case.kind not in (SOCKET, OPLOG_SESSION, HARNESS)]


def _in_order(cases: Sequence[Case], settings: Settings) -> list[Case]:
    """Return the cases, controls first if a violation may end the run.

    No batch then lacks the control of one of its cases.
    """
    if not settings.ends_early:
        return list(cases)
    return sorted(cases, key=lambda case: case.control is not None)


def _with_controls(
    chosen: Sequence[Case], cases: Sequence[Case], catalogue: Catalogue
) -> Iterator[Case]:
    """Yield the chosen cases and all their controls, each once, controls first."""
    wanted = {case.control for case in chosen if case.control} - {case.id for case in cases}
    for name in sorted(wanted):
        yield catalogue.by_id[name]
    yield from chosen


def _asks(cases: Iterable[Case], level: str) -> Iterator[Ask]:
    number = FIRST_ID
    for case in cases:
        for ask in _asks_of_case(case, number, level):
            number += 1
            yield ask


def _asks_of_case(case: Case, number: int, level: str) -> Iterator[Ask]:
    match case.body:
        case ReconciliationRun() as run:
            return asks_of_run(case, run, number)
        case OplogRun() as run:
            return asks_of_oplog(case, run, number, level)
        case CertificateVector() as vector:
            return asks_of_certificate(case, vector, number)
    return asks_of(case, vector_of(case), number)


def _findings(
    asks: Sequence[Ask], given: Mapping[int, Given], hello: Hello, level: str
) -> dict[str, SomeFinding]:
    """Return the finding of each case asked; controls are not considered yet."""
    by_case: dict[str, list[tuple[Ask, Given]]] = {}
    for ask in asks:
        by_case.setdefault(ask.case.id, []).append((ask, given[ask.id]))
    found: dict[str, SomeFinding] = {}
    for name, pairs in by_case.items():
        case = pairs[0][0].case
        demanded = case.demanded(level)
        if isinstance(case.body, ReconciliationRun):
            found[name] = finding_of_run(case.body, pairs, hello, demanded, level)
        elif isinstance(case.body, OplogRun):
            found[name] = finding_of_oplog(pairs, demanded, level)
        elif isinstance(case.body, CertificateVector):
            found[name] = finding_of_certificate(case.body, pairs, hello, demanded)
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
    findings: Mapping[str, SomeFinding],
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
    findings: Mapping[str, SomeFinding],
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
    if found.symptom:
        return replace(_described(case, told, control, settings), cause=causes.get(case.id, ""))
    if case.demanded(settings.level) == "any":
        return CaseResult(case.id, Verdict.INFORMATIONAL)
    if case.demanded(settings.level) == "reject" and control is not None and control.symptom:
        reason = f"does not count: its control {case.control} did not pass ({control.symptom})"
        result = CaseResult(case.id, Verdict.COULD_NOT_RUN, (reason,), symptom=CONTROL_FAILED)
        return replace(result, cause=causes.get(case.control or "", ""))
    return CaseResult(case.id, Verdict.PASS, unbound=found.unbound)


def _described(
    case: Case, told: SomeFinding, control: Finding | None, settings: Settings
) -> CaseResult:
    """Return the result of a failure in the words of its sort of case."""
    if isinstance(told, OplogFinding):
        return describe_oplog(case, told)
    if isinstance(told, CertificateFinding):
        return describe_certificate(case, told)
    if isinstance(told, RunFinding):
        assert isinstance(case.body, ReconciliationRun)
        return describe_run(case, case.body, told, control)
    # The schema codec is slow to load, and only failures need it.
    from meshwire_conformance.codec_suite.findings import describe  # noqa: PLC0415

    return describe(case, told, control, settings.level)


def _unoffered(case: Case, hello: Hello) -> CaseResult | None:
    """Return the result of a case of a kind that the codec does not offer, else None."""
    if case.kind in hello.kinds:
        return None
    needed = NEEDED_OPERATIONS.get(case.kind)
    what = f"the operations {', '.join(sorted(needed))}" if needed else case.kind
    reason = f"the harness does not offer {what}"
    return CaseResult(case.id, Verdict.NOT_APPLICABLE, (reason,))


def _plain(found: SomeFinding | None) -> Finding | None:
    """Return the finding alone, without the step of a run at which it occurred."""
    return (
        found.finding
        if isinstance(found, RunFinding | OplogFinding | CertificateFinding)
        else found
    )
