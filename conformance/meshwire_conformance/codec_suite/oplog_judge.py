"""Asks a codec harness about signed operations, and judges its answers.

A replica gets the level that is judged: the recordings say what level `wire` requires, and the
tables of differences what level `strict` requires instead.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.oplog import (
    CANONICAL,
    HISTORY,
    JOIN,
    SIGNATURE,
    TEXT,
    OplogRun,
    operations_of,
)
from meshwire_conformance.codec_suite.judge import Finding, Given, misshapen
from meshwire_conformance.codec_suite.requests import Ask
from meshwire_conformance.explain.values import shown
from meshwire_conformance.verdicts import CaseResult, Verdict

OPERATIONS = frozenset(
    ("oplog_texts", "oplog_verify", "oplog_open", "oplog_apply", "oplog_view", "oplog_close")
)
"""Operations that a harness offers, all of them or none."""
JOINS, SECOND = "oplog_join", "oplog_canonical"
"""Operations that a harness may offer besides."""
OPERATIONS_BY_KIND: Mapping[str, frozenset[str]] = {
    **dict.fromkeys((TEXT, SIGNATURE, HISTORY), OPERATIONS),
    JOIN: OPERATIONS | {JOINS},
    CANONICAL: OPERATIONS | {SECOND},
}
PREFIX = "oplog_"

REFUSED = "refused"
"""An outcome that any state of a refusal fulfils."""
NO_REFUSAL = frozenset(("Ok", "AlreadySeen", "MissingCausalDependencies"))
# What the fork of deployed peers answers to an operation that comes again.
AGAIN = frozenset(("Ok", "AlreadySeen"))

TEXT_MEMBERS: Mapping[str, str] = {
    "content_text": "content_debug",
    "id_text": "id_text",
    "id": "id_computed",
    "path_text": "path_text",
    "digest_text": "digest_text",
    "digest": "digest",
    "valid_id": "valid_hash",
    "valid_signature": "valid_digest",
}
"""Members of an answer about texts, and those of the recording."""
# The text of a typed value is not that of the plain value which is sent.
OF_TYPED = frozenset(("content_text", "id_text"))


@dataclass(frozen=True, slots=True)
class OplogStep:
    """One request and what its result must hold."""

    op: str
    expected: Mapping[str, Any] = field(default_factory=dict)


def asks_of_oplog(case: Case, run: OplogRun, first: int, level: str) -> Iterator[Ask]:
    """Yield the requests of one vector at a level, numbered from `first`."""
    for number, (step, members) in enumerate(_MAKERS[case.kind](run, first, level), start=first):
        request = {"id": number, "op": step.op, **members}
        yield Ask(number, case, step.op, json.dumps(request, separators=(",", ":")), step)


Request = tuple[OplogStep, dict[str, Any]]


def _texts(run: OplogRun, _first: int, _level: str) -> Iterator[Request]:
    for line in run.lines:
        expected = {
            ours: line[theirs] or ("" if ours == "content_text" else line[theirs])
            for ours, theirs in TEXT_MEMBERS.items()
            if line["source"] != "typed" or ours not in OF_TYPED
        }
        yield OplogStep("oplog_texts", expected), {"operation": line["op"]}


def _signatures(run: OplogRun, _first: int, _level: str) -> Iterator[Request]:
    for line in run.lines:
        # OP-008: what the recording accepts of a key of small order is refused at both levels.
        is_valid = run.vector.result.strict == "valid"
        members = {"author": line["author"], "digest": line["message"]}
        yield (
            OplogStep("oplog_verify", {"valid": is_valid}),
            {**members, "signature": line["signature"]},
        )


def _joins(run: OplogRun, _first: int, _level: str) -> Iterator[Request]:
    for line in run.lines:
        members = {name: line[name] for name in line if name not in {"n", "name", "proof"}}
        yield OplogStep(JOINS, {"proof": line["proof"]}), members


def _canonical(run: OplogRun, _first: int, _level: str) -> Iterator[Request]:
    for line in run.lines:
        expected = {name: line[name] for name in line if name not in {"n", "name", "op"}}
        yield OplogStep(SECOND, expected), {"operation": line["op"]}


def _histories(run: OplogRun, first: int, level: str) -> Iterator[Request]:
    session = first
    for at, line in enumerate(run.lines):
        for step, members in _history(run, at, level):
            yield step, {"session": session, **members}
        session += 1 + len(operations_of(line)) + 2


def _history(run: OplogRun, at: int, level: str) -> Iterator[Request]:
    line = run.lines[at]
    yield OplogStep("oplog_open"), {"document": line["doc"], "level": level}
    outcomes, waiting = _outcomes(run, at, level)
    seen: set[str] = set()
    for index, operation in enumerate(operations_of(line)):
        expected: dict[str, Any] = {"outcome": outcomes[index]}
        if operation["signed_digest"] in seen and outcomes[index] == "Ok":
            expected["outcome"] = AGAIN
        elif level == "wire" and waiting:
            expected["waiting"] = waiting[index]
        seen.add(operation["signed_digest"])
        yield OplogStep("oplog_apply", expected), {"operation": operation}
    yield OplogStep("oplog_view", _final(run, at, level)), {}
    yield OplogStep("oplog_close"), {}


def _outcomes(run: OplogRun, at: int, level: str) -> tuple[Sequence[str], Sequence[int]]:
    """Return the outcome of each operation of a history, and the queue after it if recorded."""
    line = run.lines[at]
    if run.vector.recorded == "panics":
        return [REFUSED, *["Ok"] * (len(line["ops"]) - 1)], ()
    outcomes: list[str] = list(line["outcomes"])
    if level == "strict":
        for index, outcome in run.strict[at].items():
            outcomes[index] = outcome
    return outcomes, line.get("queue_after", ())


def _final(run: OplogRun, at: int, level: str) -> dict[str, Any]:
    line = run.lines[at]
    if run.vector.recorded == "panics":
        return {}
    expected = {name: line[name] for name in ("view", "lists") if name in line}
    return {**expected, **(run.finals[at] if level == "strict" else {})}


_MAKERS = {
    TEXT: _texts,
    SIGNATURE: _signatures,
    HISTORY: _histories,
    JOIN: _joins,
    CANONICAL: _canonical,
}


@dataclass(frozen=True, slots=True)
class OplogFinding:
    """The fault found in a vector of operations, the request, and what was expected of it."""

    finding: Finding
    sent: str = ""
    expected: str = ""


def finding_of_oplog(pairs: Sequence[tuple[Ask, Given]], demanded: str, level: str) -> OplogFinding:
    """Return the first fault in the answers to one vector, or a finding without symptom."""
    for ask, given in pairs:
        step = ask.step
        assert isinstance(step, OplogStep)
        if given.answer is None:
            return OplogFinding(Finding("no-answer", step.op, received=given.ending), ask.line)
        if demanded == "any":
            continue
        wrong = misshapen(step.op, given.answer)
        if wrong:
            return OplogFinding(wrong, ask.line)
        found = _judge(step, given.answer, ask.line)
        if found.finding.symptom:
            return found
    return OplogFinding(Finding())


def _judge(step: OplogStep, answer: Mapping[str, Any], line: str) -> OplogFinding:
    result = answer.get("result")
    if not isinstance(result, dict) or "error" in answer:
        received = f"refused: {shown(answer.get('error'))}"
        return OplogFinding(Finding("refused", step.op, received=received), line, "a result")
    for name, wanted in step.expected.items():
        came = result.get(name)
        if not _fits(name, wanted, came):
            named = sorted(wanted) if isinstance(wanted, frozenset) else wanted
            received = f"{name}: {shown(came)}"
            finding = Finding(f"wrong-{name.replace('_', '-')}", step.op, received=received)
            return OplogFinding(finding, line, f"{name}: {shown(named)}")
    waiting = result.get("waiting")
    if step.op == "oplog_apply" and (type(waiting) is not int or waiting < 0):
        finding = Finding("wrong-waiting", step.op, received=f"waiting: {shown(waiting)}")
        return OplogFinding(finding, line, "waiting: a number of operations")
    return OplogFinding(Finding())


def _fits(name: str, wanted: Any, came: Any) -> bool:
    """Return True if a member of a result is what was expected of it."""
    if name == "outcome" and wanted == REFUSED:
        return isinstance(came, str) and came not in NO_REFUSAL
    if isinstance(wanted, frozenset):
        return came in wanted
    if name == "view":
        try:
            return bool(plain(came) == wanted)
        except (TypeError, ValueError, struct.error):
            return False
    # Order and marks of lists are internal: an adapter may leave them out.
    return bool(came == wanted) or (name == "lists" and came is None)


def plain(tree: Any) -> Any:
    """Return the JSON value of a tree of pairs; raise ValueError or TypeError if it is none."""
    name, *rest = tree
    if name == "null":
        return None
    if name in {"bool", "str"}:
        return rest[0]
    if name == "num":
        return struct.unpack(">d", bytes.fromhex(rest[0]))[0]
    if name == "arr":
        return [plain(part) for part in rest[0]]
    if name == "obj":
        return {key: plain(part) for key, part in rest[0]}
    raise ValueError(name)


def describe_oplog(case: Case, found: OplogFinding) -> CaseResult:
    """Return the result of a failed vector with request, expectation and answer."""
    finding = found.finding
    return CaseResult(
        case.id,
        Verdict.FAIL,
        reasons=(f"{finding.op}: {(finding.received or finding.symptom).splitlines()[0]}",),
        symptom=finding.symptom,
        sent=(found.sent,),
        expected=(found.expected,) if found.expected else (),
        received=tuple(finding.received.splitlines()),
    )
