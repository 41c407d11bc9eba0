"""The socket part: every socket case run against a target, and a verdict for each.

Theory of operation. After a calibration the cases run beside each other over shared connections;
those that wait for a deadline of the target's own begin first, so that they wait side by side.
A case that missed its deadline is run once more, alone, and both are reported. Watches stay armed
until everything is over: a late frame turns a pass into a failure.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from meshwire_conformance.attach import Target, attach
from meshwire_conformance.calibration import CANARY_DOCUMENT, PROBE, Canary
from meshwire_conformance.case_run import CaseRun, Terms
from meshwire_conformance.cases import PythonCase
from meshwire_conformance.catalogue import Case, load_catalogue
from meshwire_conformance.content import Contents, Documents
from meshwire_conformance.deadlines import Deadline
from meshwire_conformance.errors import Incomplete, SuiteFault
from meshwire_conformance.evidence import Evidence, sent_lines
from meshwire_conformance.inbox import Inbox
from meshwire_conformance.outcome import CaseFailed, CouldNotRun
from meshwire_conformance.parts import Attachment, Progress, Settings
from meshwire_conformance.peers import Session
from meshwire_conformance.scope import Scope
from meshwire_conformance.shortfall import arrival_lines
from meshwire_conformance.socket_needs import open_documents, unmet
from meshwire_conformance.transcript_steps import run_transcript
from meshwire_conformance.transcripts import Transcript
from meshwire_conformance.verdicts import CaseResult, Verdict

BESIDE_EACH_OTHER = 12
BESIDE_IN_SILENCE = 96
"""How many cases run at once; and with a target that did not answer the calibration."""
MISSES_CONFIRMED_MAX = 8
"""After so many misses that were repeated alone in vain, further ones are believed."""
BESIDE = "beside"
"""Says that the same node is run in another dialect too, where serial cases are shown once."""
SHORT_DEADLINE_S = 1
"""Deadlines given to the bundled node, in seconds, so that cases about them are soon over."""
READ_RULE = "DC-001"

Body = Transcript | PythonCase


async def run(
    cases: Sequence[Case], attachment: Attachment, settings: Settings, progress: Progress
) -> list[CaseResult]:
    """Run the socket cases against the target that `attachment` names.

    Raises Incomplete where the target cannot be reached at all, UsageError where it is not on
    this machine and writes were not allowed.
    """
    target = await attach(attachment, settings)
    documents = await open_documents()
    try:
        variant = attachment.variant or target.facts.dialect
        part = SocketPart(target, settings, documents, variant, progress)
        elsewhere = _shown_elsewhere(cases, attachment)
        for result in elsewhere.values():
            progress(result)
        asked = [case for case in cases if case.id not in elsewhere]
        results = {result.case: result for result in await part.run(asked)} | elsewhere
        return [results[case.id] for case in cases]
    finally:
        if documents is not None:
            await documents.close()
        await target.close()


def _shown_elsewhere(cases: Sequence[Case], attachment: Attachment) -> dict[str, CaseResult]:
    """Serial cases that no dialect changes, where the same node is run in another one too."""
    other = attachment.facts.get(BESIDE)
    if other is None:
        return {}
    why = (f"serial, and shown in the run of dialect {other}",)
    return {
        case.id: CaseResult(case.id, Verdict.NOT_APPLICABLE, why, variant=attachment.variant)
        for case in cases
        if _is_serial(case) and not any(need.startswith("dialect:") for need in case.needs)
    }


def _is_serial(case: Case) -> bool:
    body = _body(case)
    return body.serial


def bundled(command: str) -> list[Attachment]:
    """Ways to attach to the bundled node, whose command line this is: one for each dialect."""
    deadlines = f"--handshake-s {SHORT_DEADLINE_S} --frame-stall-s {SHORT_DEADLINE_S}"
    run_it = f"{command} run --listen tcp://127.0.0.1:0 {deadlines}"
    dialects: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("open", "--open", {}),
        ("H1", "--formation-id lab-formation", {BESIDE: "open"}),
    )
    return [
        Attachment("node", f"{run_it} {how}", f"node:{run_it} {how}", variant=variant, facts=facts)
        for variant, how, facts in dialects
    ]


@dataclass(slots=True)
class Attempt:
    """One run of one case: its result so far and what it leaves armed."""

    case: Case
    result: CaseResult
    evidence: Evidence = field(default_factory=Evidence)
    missed: bool = False


def _body(case: Case) -> Body:
    if not isinstance(case.body, Transcript | PythonCase):
        raise SuiteFault(f"{case.id} is no socket case")
    return case.body


class SocketPart:
    """One run of the socket cases against one attached target."""

    def __init__(
        self,
        target: Target,
        settings: Settings,
        documents: Documents | None,
        variant: str,
        progress: Progress,
    ) -> None:
        self._target = target
        self._settings = settings
        self._documents = documents
        self._variant = variant
        self._progress = progress
        self._nonce = secrets.token_hex(4)
        self._inbox = Inbox(settings.trace)
        self._session = Session(target, settings, self._nonce, self._inbox)
        self._deadline = Deadline(None, settings.timeout_scale)
        self._confirmed_misses = 0
        self._asked: frozenset[str] = frozenset()
        self._slots = asyncio.Semaphore(BESIDE_EACH_OTHER)

    async def run(self, cases: Sequence[Case]) -> list[CaseResult]:
        """A verdict for every case, in the order given."""
        results = {case.id: found for case in cases if (found := self._beforehand(case))}
        asked = {case.id: case for case in cases if case.id not in results}
        work = {**self._controls(asked.values()), **asked}
        self._asked = frozenset(asked)
        for result in results.values():
            self._progress(result)
        try:
            if work:
                self._deadline = await self._calibrate()
                if self._deadline.median_s is None:
                    self._slots = asyncio.Semaphore(BESIDE_IN_SILENCE)
                results |= await self._judge(list(work.values()))
        finally:
            await self._session.close()
        return [replace(results[case.id], variant=self._variant) for case in cases]

    def _beforehand(self, case: Case) -> CaseResult | None:
        """A verdict that needs no run."""
        if case.demanded(self._settings.level) == "any":
            return CaseResult(
                case.id, Verdict.INFORMATIONAL, ("level strict alone demands this: not run",)
            )
        return unmet(case, self._target, self._documents)

    def _controls(self, asked: Iterable[Case]) -> dict[str, Case]:
        """Controls that were not asked for themselves."""
        index = load_catalogue().by_id
        names = {case.control for case in asked if case.control is not None}
        wanted = {name: index[name] for name in sorted(names)}
        return {
            name: control for name, control in wanted.items() if self._beforehand(control) is None
        }

    async def _calibrate(self) -> Deadline:
        canary = Canary(self._session, CANARY_DOCUMENT)
        deadline = await canary.calibrate(self._settings.timeout_scale)
        self._session.probe = canary.probe
        self._settings.trace({"note": deadline.describe()})
        return deadline

    # --- running ----------------------------------------------------------------------------

    async def _judge(self, cases: list[Case]) -> dict[str, CaseResult]:
        final = [case for case in cases if _is_final(_body(case))]
        # What answers nothing cannot be disturbed: then all cases wait side by side.
        hopeless = self._deadline.median_s is None
        serial = [case for case in cases if _is_serial(case) and not hopeless]
        beside = sorted(
            (case for case in cases if case not in final and case not in serial), key=_patience
        )
        attempts = {
            attempt.case.id: attempt
            for attempt in await asyncio.gather(*(self._beside(case) for case in beside))
        }
        for case in serial:
            attempts[case.id] = await self._attempt(case, 1)
        for attempt in [attempt for attempt in attempts.values() if attempt.missed]:
            attempts[attempt.case.id] = await self._once_more(attempt)
        await self._flush()
        for case in final:
            attempts[case.id] = await self._attempt(case, 1)
        results = {name: _watched(attempt) for name, attempt in attempts.items()}
        return {name: _with_control(attempts[name].case, results) for name in results}

    async def _beside(self, case: Case) -> Attempt:
        """One case beside others; what waits for a deadline of the target takes no slot."""
        if _patience(case)[0] == 0:
            return await self._attempt(case, 1)
        async with self._slots:
            return await self._attempt(case, 1)

    async def _once_more(self, first: Attempt) -> Attempt:
        """A miss counts only if it is missed alone too; both are reported."""
        hopeless = self._deadline.median_s is None
        if hopeless or self._confirmed_misses >= MISSES_CONFIRMED_MAX:
            note = "not repeated: the target misses its deadlines throughout"
            self._ended(first.result)
            return replace(first, result=_noted(first.result, note))
        second = await self._attempt(first.case, 2)
        if second.result.verdict is Verdict.PASS:
            note = f"beside others: {first.result.symptom}; repeated alone it held"
        else:
            self._confirmed_misses += 1
            note = f"beside others: {first.result.symptom}; alone: {second.result.symptom}"
        self._ended(second.result)
        return replace(second, result=_noted(second.result, note))

    def _ended(self, result: CaseResult) -> None:
        """Tell who watches that a case is over; controls that were not asked for are not told."""
        if result.case in self._asked:
            self._progress(result)

    async def _attempt(self, case: Case, number: int) -> Attempt:
        body = _body(case)
        started = time.perf_counter()
        if body.isolation == "process":
            attempt = await self._in_fresh_process(case, number)
        else:
            attempt = await self._run_on(self._session, case, number)
        duration_s = time.perf_counter() - started
        failed = attempt.result.verdict is Verdict.FAIL
        notes = (*attempt.result.notes, *attempt.evidence.notes)
        if READ_RULE in case.rules:
            notes = (*notes, self._deadline.describe())
        result = replace(
            attempt.result,
            duration_s=duration_s,
            sent=sent_lines(attempt.evidence.sent, attempt.result.symptom) if failed else (),
            notes=notes,
            unbound=attempt.evidence.unbound,
        )
        if not attempt.evidence.watches:
            # Only a watch can still turn the verdict, and bytes sent may be many.
            attempt.evidence.sent.clear()
        if number == 1 and not attempt.missed:
            self._ended(result)
        return replace(attempt, result=result)

    async def _in_fresh_process(self, case: Case, number: int) -> Attempt:
        try:
            target = await self._target.fresh()
        except Incomplete as exc:
            return Attempt(case, CaseResult(case.id, Verdict.COULD_NOT_RUN, (str(exc),)))
        session = Session(target, self._settings, f"{self._nonce}p", self._inbox)
        try:
            session.probe = Canary(session, CANARY_DOCUMENT).probe
            return await self._run_on(session, case, number)
        finally:
            await session.close()
            await target.close()

    async def _run_on(self, session: Session, case: Case, number: int) -> Attempt:
        body = _body(case)
        terms = Terms(self._settings.level, self._deadline, body.isolation != "key")
        scope = Scope(self._names(case, number), time.time_ns() // 1_000_000)
        run = CaseRun(case.id, session, terms, scope, Contents(self._documents))
        try:
            if isinstance(body, Transcript):
                await run_transcript(run, body)
            else:
                run.begin(body.let)
                await body.run(run)
                if body.negative:
                    await run.probe()
        except CaseFailed as failed:
            return Attempt(case, _failure(case, failed), run.evidence, failed.missed)
        except CouldNotRun as exc:
            result = CaseResult(case.id, Verdict.COULD_NOT_RUN, (str(exc),))
            return Attempt(case, result, run.evidence)
        except ConnectionError as exc:
            lost = CaseFailed("connection-lost", f"the connection is gone: {exc}")
            return Attempt(case, _failure(case, lost), run.evidence)
        except SuiteFault as exc:
            raise SuiteFault(f"{case.id}: {exc}") from exc
        finally:
            await run.end()
        return Attempt(case, CaseResult(case.id, Verdict.PASS), run.evidence)

    def _names(self, case: Case, number: int) -> Mapping[str, str]:
        facts = self._target.facts
        return {
            "case": f"{case.id.lower()}-{self._nonce}-{number}",
            "nonce": self._nonce,
            "formation_id": facts.formation_id,
            "beyond_payload_cap": str(facts.payload_cap + 1),
        }

    async def _flush(self) -> None:
        """What the target has queued for the shared connections comes before these answers."""
        probe = self._session.probe
        if probe is not None and self._deadline.median_s is not None:
            await probe(self._deadline.seconds)


def _is_final(body: Body) -> bool:
    return isinstance(body, PythonCase) and body.final


def _patience(case: Case) -> tuple[int, str]:
    """What waits longest begins first; then what dials, while there is little to be offered."""
    body = _body(case)
    if any(need.startswith("deadline:") for need in case.needs):
        return 0, case.id
    dials = isinstance(body, Transcript) and any(step.connect for step in body.steps)
    return (1 if dials or body.isolation != "key" else 2), case.id


def _failure(case: Case, failed: CaseFailed) -> CaseResult:
    return CaseResult(
        case.id,
        Verdict.FAIL,
        (failed.reason,),
        failed.symptom,
        expected=failed.expected,
        received=failed.received,
    )


def _noted(result: CaseResult, note: str) -> CaseResult:
    return replace(result, notes=(*result.notes, note))


def _watched(attempt: Attempt) -> CaseResult:
    """The result once everything is over: what a watch has seen turns a pass into a failure."""
    result = attempt.result
    if result.verdict is not Verdict.PASS:
        return result
    for watch in attempt.evidence.watches:
        for arrival in watch.tripped():
            return replace(
                result,
                verdict=Verdict.FAIL,
                symptom="came-anyway",
                reasons=(f"something came for {arrival.key} that must not come",),
                sent=sent_lines(attempt.evidence.sent),
                expected=(f"nothing for {arrival.key}",),
                received=arrival_lines(arrival),
            )
    return result


def _with_control(case: Case, results: Mapping[str, CaseResult]) -> CaseResult:
    """A negative that passed counts only if its positive control passed too."""
    result = results[case.id]
    control = results.get(case.control or "")
    if control is not None and result.verdict is Verdict.FAIL:
        state = "passed" if control.verdict is Verdict.PASS else f"did not pass ({control.symptom})"
        return _noted(result, f"control {case.control} {state}")
    if result.verdict is not Verdict.PASS or control is None or control.verdict is Verdict.PASS:
        return result
    why = f"does not count: its control {case.control} did not pass ({control.symptom})"
    return replace(result, verdict=Verdict.COULD_NOT_RUN, reasons=(why,), symptom="control-failed")


__all__ = ["PROBE", "SocketPart", "run"]
