"""Decides in which order attempts at socket cases start, and what each attempt means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.python_cases import PythonCase
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import SuiteFault, fault_text
from meshwire_conformance.socket_suite.calibration import NO_CONNECTION
from meshwire_conformance.socket_suite.evidence import (
    CaseFailed,
    CouldNotRun,
    Evidence,
    NoDial,
    NotApplicable,
    bad_frames,
    sent_lines,
)
from meshwire_conformance.socket_suite.shortfall import arrival_lines
from meshwire_conformance.socket_suite.timeline import timeline_of
from meshwire_conformance.verdicts import NO_EVIDENCE, NOT_DIALLED, SUITE_FAULT, CaseResult, Verdict
from meshwire_spec.schemas.steps import Connect
from meshwire_spec.schemas.transcripts import Transcript

Body = Transcript | PythonCase

COSTLY = frozenset(
    (
        *("MW-5550", "MW-5558", "MW-5620", "MW-5772", "MW-5914", "MW-5921", "MW-5923", "MW-6235"),
        *("MW-6304", "MW-6820", "MW-6821", "MW-6822", "MW-6950", "MW-6951", "MW-6952", "MW-6953"),
        *("MW-7020", "MW-7021", "MW-7022", "MW-7023", "MW-7024", "MW-7025", "MW-7026", "MW-7027"),
        *("MW-7028", "MW-7029", "MW-7030", "MW-7031", "MW-7032", "MW-7033", "MW-7040", "MW-7041"),
        *("MW-7045", "MW-7091"),
    )
)
"""Cases that take half a second of processor time or more, a hundred times as much as others.

Most of them need a process of their own, or hundreds of connections or documents.
"""
COSTLY_RUN = 8
"""Number of them in a run of the bundled node without --full."""
MARKS = 8
"""Number of different marks of documents: cases that share one share the cost of making them."""


@dataclass(slots=True)
class Attempt:
    """One attempt at one case: its result so far and the watches that it leaves armed.

    `missed` is True if it failed because something did not come in time, and `suite_late` if the
    suite may have been late itself. `departed` is True if the target ended for good meanwhile; the
    first reason says how.
    """

    case: Case
    result: CaseResult
    evidence: Evidence = field(default_factory=Evidence)
    missed: bool = False
    suite_late: bool = False
    departed: bool = False


def body_of(case: Case) -> Body:
    """Return the transcript or function of a socket case; raises SuiteFault for any other case."""
    if not isinstance(case.body, Transcript | PythonCase):
        raise SuiteFault(f"{case.id} is no socket case")
    return case.body


def mark_of(case: Case) -> str:
    """Return the hex that marks the documents of a case; neighbours in the order of ids differ."""
    return f"{int(case.id.rpartition('-')[2]) % MARKS:02x}"


def is_final(body: Body) -> bool:
    """Return True if a case judges the whole run and therefore runs last."""
    return isinstance(body, PythonCase) and body.final


def is_hostile(body: Body) -> bool:
    """Return True if a case attacks the target, which may end it."""
    return isinstance(body, PythonCase) and body.hostile


def start_order(case: Case) -> tuple[int, str]:
    """Return the sort key of a case: first those that wait for a deadline of the target.

    Those with connections of their own follow, while the target has little to offer to them.
    """
    body = body_of(case)
    if any(need.startswith("deadline:") for need in case.needs):
        return 0, case.id
    dials = isinstance(body, Transcript) and any(isinstance(s, Connect) for s in body.steps)
    return (1 if dials or body.isolation != "key" else 2), case.id


def failure(case: Case, failed: CaseFailed) -> CaseResult:
    """Return the result of a case that failed with `failed`."""
    return CaseResult(
        case.id,
        Verdict.FAIL,
        (failed.reason,),
        failed.symptom,
        expected=failed.expected,
        received=failed.received,
    )


def fault_of(case: Case, exc: Exception) -> CaseResult:
    """Return the result of a case in which the suite itself failed, whatever the target did."""
    reason = f"suite fault: {fault_text(exc)}"
    return CaseResult(case.id, Verdict.COULD_NOT_RUN, (reason,), SUITE_FAULT)


def left_open(case: Case, why: str, symptom: str = "") -> Attempt:
    """Return the attempt at a case that was not run."""
    return Attempt(case, CaseResult(case.id, Verdict.COULD_NOT_RUN, (why,), symptom))


def without_verdict(case: Case, why: CouldNotRun, evidence: Evidence) -> Attempt:
    """Return the attempt at a case that lacked something; it is repeated if it lacked a dial."""
    is_lacking, is_late = isinstance(why, NotApplicable), isinstance(why, NoDial)
    verdict = Verdict.NOT_APPLICABLE if is_lacking else Verdict.COULD_NOT_RUN
    symptom = NOT_DIALLED if is_late else ""
    result = CaseResult(case.id, verdict, (str(why),), symptom)
    return Attempt(case, result, evidence, missed=is_late)


def connection_lost(result: CaseResult, why: str) -> CaseResult:
    """Return the result of a case that got no answer, since its connection was lost."""
    reason = f"the connection is gone: {why}"
    others = (one for one in result.reasons if one != why)
    return replace(result, symptom="connection-lost", reasons=(reason, *others))


def when_late(attempt: Attempt) -> Attempt:
    """Return an attempt that failed as one to be repeated, if the suite or the target was late.

    Whatever failed may have failed for that: a target gives up what its peer leaves open for long.
    """
    evidence = attempt.evidence
    if attempt.result.verdict is not Verdict.FAIL or not (evidence.suite_late or evidence.was_slow):
        return attempt
    return replace(attempt, missed=True, suite_late=attempt.suite_late or evidence.suite_late)


def ended_by(attempt: Attempt, why_not: str) -> Attempt:
    """Return the attempt at a case after which the target takes no connection any more.

    A target that is only silent may be slow: the result of its case is kept.
    """
    result = noted(attempt.result, f"afterwards: {why_not}")
    if result.verdict is Verdict.PASS and why_not.startswith(NO_CONNECTION):
        reason = f"afterwards the target no longer answers: {why_not}"
        result = replace(result, verdict=Verdict.FAIL, symptom="target-gone", reasons=(reason,))
    return replace(attempt, result=result)


def noted(result: CaseResult, note: str) -> CaseResult:
    """Return the result with one more note."""
    return replace(result, notes=(*result.notes, note))


def watched(attempt: Attempt) -> CaseResult:
    """Return the final result of an attempt.

    A passed case fails if one of its watches tripped, or if bad frames showed up in it (FR-013).
    """
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
                timeline=timeline_of(attempt.evidence),
            )
    claim = attempt.evidence.claim
    faults = claim.found() if claim else []
    if not faults:
        return result
    failed = bad_frames(faults)
    return replace(failure(attempt.case, failed), notes=result.notes, duration_s=result.duration_s)


def with_control(case: Case, results: Mapping[str, CaseResult]) -> CaseResult:
    """Return the result of a case with regard to its control.

    A negative that passed counts only if its positive control passed too.
    """
    result = results[case.id]
    control = results.get(case.control or "")
    if control is not None and result.verdict is Verdict.FAIL:
        state = "passed" if control.verdict is Verdict.PASS else f"did not pass ({control.symptom})"
        return noted(result, f"control {case.control} {state}")
    if result.verdict is not Verdict.PASS or control is None or control.verdict is Verdict.PASS:
        return result
    why = f"does not count: its control {case.control} did not pass ({control.symptom})"
    if control.symptom in NO_EVIDENCE:
        return replace(
            result, verdict=Verdict.COULD_NOT_RUN, reasons=control.reasons, symptom=control.symptom
        )
    return replace(
        result,
        verdict=Verdict.COULD_NOT_RUN,
        reasons=(why,),
        symptom="control-failed",
        cause=control.cause,
    )


def is_serial(case: Case) -> bool:
    """Return True if a case must run alone."""
    return body_of(case).serial


def left_out(settings: Settings) -> frozenset[str]:
    """Return the ids of the costly cases that the seed leaves to runs with --full."""
    return COSTLY - set(settings.generator("costly").sample(sorted(COSTLY), COSTLY_RUN))


def shown_elsewhere(
    cases: Sequence[Case], attachment: Attachment, settings: Settings
) -> dict[str, CaseResult]:
    """Return results for the cases that another attachment to the same node runs, or none.

    None of these depends on the dialect. Serial cases have one home, and the seed decides where
    another case runs, and which of the costly ones run at all where dialects share the cases.
    """
    found = {}
    costly = left_out(settings) if attachment.shared_with else frozenset()
    for case in cases:
        if case.id in costly:
            why = "costly: --full runs it, and another seed"
            found[case.id] = CaseResult(
                case.id, Verdict.NOT_APPLICABLE, (why,), variant=attachment.variant
            )
            continue
        if any(need.startswith("dialect:") for need in case.needs) or is_final(body_of(case)):
            continue
        if is_serial(case):
            other, why = attachment.serial_cases_in, "serial, and shown in the run of dialect {}"
        elif attachment.shared_with:
            generator = settings.generator(f"dialect:{case.id}")
            other = generator.choice(attachment.shared_with)
            why = "shown in the run of dialect {}; --full runs it in each dialect"
        else:
            other = ""
        if other and other != attachment.variant:
            found[case.id] = CaseResult(
                case.id, Verdict.NOT_APPLICABLE, (why.format(other),), variant=attachment.variant
            )
    return found
