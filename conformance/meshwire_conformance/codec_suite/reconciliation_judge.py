"""Judges the answers of a codec harness to a reconciliation, and describes failures with bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.reconciliations import expand_items, listed
from meshwire_conformance.codec_suite.judge import Finding, Given, Hello, misshapen
from meshwire_conformance.codec_suite.requests import (
    INITIATE,
    RECONCILE,
    Ask,
    Step,
    ids_in,
    union,
)
from meshwire_conformance.explain.hexdump import Mark, dump
from meshwire_conformance.explain.values import Difference, first_difference, shown
from meshwire_conformance.protocol.negentropy import Reconciliation
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_spec.schemas.reconciliation import ReconciliationRun

MESSAGE = "negentropy_message"


@dataclass(slots=True)
class _Found:
    """Ids that the client has and needs, by message; `level` is that of the demands."""

    level: str
    have: list[list[bytes]] = field(default_factory=list)
    need: list[list[bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunFinding:
    """The fault found in a run, and the step at which it occurred."""

    finding: Finding
    step: Step | None = None


def finding_of_run(
    run: ReconciliationRun,
    pairs: Sequence[tuple[Ask, Given]],
    hello: Hello,
    demanded: str,
    level: str,
) -> RunFinding:
    """Return the first fault of a run, or a finding without symptom.

    At level `wire` a message may be closed in either place (NG-064).
    """
    seen = _Found(level)
    unbound = False
    for ask, given in pairs:
        step = ask.step
        assert isinstance(step, Step)
        if given.answer is None:
            return RunFinding(Finding("no-answer", step.op, received=given.ending), step)
        if demanded == "any":
            continue
        found = misshapen(step.op, given.answer) or _judge(run, step, given.answer, hello, seen)
        if found.symptom:
            return RunFinding(found, step)
        unbound |= found.unbound
    return RunFinding(Finding(unbound=unbound))


def _judge(
    run: ReconciliationRun, step: Step, answer: Mapping[str, Any], hello: Hello, seen: _Found
) -> Finding:
    if step.bad:
        return _judge_refusal(run, answer, hello)
    result = answer.get("result")
    if not isinstance(result, dict) or "error" in answer:
        return Finding("refused", step.op, received=f"refused: {shown(answer.get('error'))}")
    if step.op == INITIATE:
        return _judge_bytes(step, result.get("message"))
    if step.op != RECONCILE:
        return Finding()
    if "reply" not in result:
        return Finding("no-reply", step.op, received=shown(result))
    wrong = _judge_bytes(step, result["reply"])
    if seen.level == "wire" and _is_closed_elsewhere(run, step, wrong.data):
        wrong = Finding()
    return wrong if wrong.symptom else _judge_ids(run, step, result, seen)


def _is_closed_elsewhere(run: ReconciliationRun, step: Step, data: Any) -> bool:
    """Return True if a reply is right but for the place of its closing fingerprint (NG-064)."""
    if data is None:
        return False
    side = run.client if step.role == "client" else run.server
    other = Reconciliation(
        expand_items(side.items),
        side.frame_limit,
        client=step.role == "client",
        forgets_unwritten=True,
    )
    reply = other.reconcile(bytes.fromhex(step.sent)).reply
    return bool((reply or b"").hex() == data)


def _judge_bytes(step: Step, data: Any) -> Finding:
    if data == (step.reply or None):
        return Finding()
    return Finding("wrong-bytes", step.op, received=shown(data), data=data)


def _judge_ids(
    run: ReconciliationRun, step: Step, result: Mapping[str, Any], seen: _Found
) -> Finding:
    for member, count, lists in (
        ("have", step.found[0], seen.have),
        ("need", step.found[1], seen.need),
    ):
        ids = ids_in(result, member)
        if ids is None or len(ids) != count:
            said = "none" if ids is None else f"{len(ids)} ids"
            return _wrong_ids(run, step, member, f"{said}, not {count}")
        lists.append(ids)
        if step.ends and listed(union(lists)) != _ids_of(run, member):
            return _wrong_ids(run, step, member, shown(listed(union(lists))))
    return Finding()


def _wrong_ids(run: ReconciliationRun, step: Step, member: str, came: str) -> Finding:
    found = Difference(member, shown(_ids_of(run, member)), came)
    return Finding(f"wrong-{member}", step.op, f"{member}: {came}", found)


def _ids_of(run: ReconciliationRun, member: str) -> Any:
    ids = run.have if member == "have" else run.need
    return None if ids is msgspec.UNSET else msgspec.to_builtins(ids)


def _judge_refusal(run: ReconciliationRun, answer: Mapping[str, Any], hello: Hello) -> Finding:
    error = answer.get("error")
    if not isinstance(error, dict):
        return Finding("accepted", RECONCILE, received=f"accepted: {shown(answer.get('result'))}")
    if not hello.reasons:
        return Finding(unbound=True)
    reason = error.get("reason")
    if reason in (run.reasons or ()):
        return Finding()
    said = f"refused for {shown(reason)}" if reason else "refused without a reason"
    return Finding(f"wrong-reason {reason or 'none'}", RECONCILE, received=said)


def describe_run(
    case: Case, run: ReconciliationRun, found: RunFinding, control: Finding | None
) -> CaseResult:
    """Return the result of a failed run with what a person needs to repair the implementation."""
    step, finding = found.step, found.finding
    assert step is not None
    place = f"{step.role}, {step.op}"
    notes = []
    if case.control is not None and control is not None:
        state = f"did not pass ({control.symptom})" if control.symptom else "passed"
        notes.append(f"control {case.control} {state}")
    return CaseResult(
        case.id,
        Verdict.FAIL,
        reasons=(f"{place}: {(finding.received or finding.symptom).splitlines()[0]}",),
        symptom=finding.symptom,
        sent=dump(bytes.fromhex(step.sent)) if step.op == RECONCILE else (step.op,),
        expected=_expected(run, step, finding),
        received=_received(step, finding),
        notes=tuple(notes),
    )


def _expected(run: ReconciliationRun, step: Step, finding: Finding) -> tuple[str, ...]:
    if step.bad:
        return (f"reject: {' or '.join(run.reasons or ())} in {run.field}",)
    if finding.difference is not None:
        return (f"{finding.difference.path}: {finding.difference.expected}",)
    if step.reply:
        return dump(bytes.fromhex(step.reply), _first_wrong(step, finding))
    return ("no further message",) if step.op == RECONCILE else ("a result",)


def _received(step: Step, finding: Finding) -> tuple[str, ...]:
    data = _bytes_of(finding.data)
    return (
        tuple(finding.received.splitlines())
        if data is None
        else dump(data, _first_wrong(step, finding))
    )


def _first_wrong(step: Step, finding: Finding) -> Mark | None:
    """Return the first byte that differs, with the field of the expected message it belongs to."""
    data = _bytes_of(finding.data)
    expected = bytes.fromhex(step.reply or "")
    offset = None if data is None else first_difference(expected, data)
    if offset is None:
        return None
    from meshwire_spec.codec import annotate  # noqa: PLC0415 - heavy, and for failures only

    spans = annotate(MESSAGE, expected)[0]
    names = [span.path for span in spans if span.offset <= offset < span.offset + span.size]
    return Mark(offset, 1, f"first wrong byte, in {names[-1] if names else 'no field'}")


def _bytes_of(text: Any) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError):
        return None
