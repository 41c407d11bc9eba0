"""Asks a codec harness whether certificates count, and judges its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.certificates import CHECK
from meshwire_conformance.codec_suite.judge import Finding, Given, Hello, misshapen
from meshwire_conformance.codec_suite.requests import Ask
from meshwire_conformance.explain.values import shown
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_spec.schemas.certificates import CertificateVector

OPERATIONS_BY_KIND: Mapping[str, frozenset[str]] = {CHECK: frozenset((CHECK,))}
"""Operations that a harness has to offer for these cases."""
REFUSED = "refused"
"""The member of a result that decides, and the field that a failure names."""


@dataclass(frozen=True, slots=True)
class CertificateFinding:
    """The fault found in the answer to one vector, the request, and what was expected."""

    finding: Finding
    sent: str = ""
    expected: str = ""


def asks_of_certificate(case: Case, vector: CertificateVector, number: int) -> Iterator[Ask]:
    """Yield the one request of a vector."""
    request = {"id": number, "op": CHECK, **msgspec.to_builtins(vector.inputs)}
    yield Ask(number, case, CHECK, json.dumps(request, separators=(",", ":")))


def finding_of_certificate(
    vector: CertificateVector, pairs: Sequence[tuple[Ask, Given]], hello: Hello, demanded: str
) -> CertificateFinding:
    """Return the fault in the answer to a vector, or a finding without symptom."""
    for ask, given in pairs:
        if given.answer is None:
            return CertificateFinding(Finding("no-answer", CHECK, received=given.ending), ask.line)
        if demanded == "any":
            continue
        found = misshapen(CHECK, given.answer) or _judge(vector, given.answer, hello)
        if found.symptom or found.unbound:
            expected = " or ".join(vector.reasons or ("no refusal",))
            return CertificateFinding(found, ask.line, f"{REFUSED}: {expected}")
    return CertificateFinding(Finding())


def _judge(vector: CertificateVector, answer: Mapping[str, Any], hello: Hello) -> Finding:
    result = answer.get("result")
    if not isinstance(result, dict) or "error" in answer or result.keys() != {REFUSED}:
        said = answer.get("error", result)
        received = f"no result with `{REFUSED}` alone: {shown(said)}"
        return Finding("no-value", CHECK, received=received)
    came, wanted = result[REFUSED], vector.reasons or ()
    if (came is None) is (not wanted):
        if came in wanted or came is None:
            return Finding()
        if not hello.reasons:
            return Finding(unbound=True)
    return Finding(f"wrong-{REFUSED}", CHECK, received=f"{REFUSED}: {shown(came)}")


def describe_certificate(case: Case, found: CertificateFinding) -> CaseResult:
    """Return the result of a failed vector with request, expectation and answer."""
    finding = found.finding
    return CaseResult(
        case.id,
        Verdict.FAIL,
        reasons=(f"{CHECK}: {(finding.received or finding.symptom).splitlines()[0]}",),
        symptom=finding.symptom,
        sent=(found.sent,),
        expected=(found.expected,) if found.expected else (),
        received=tuple(finding.received.splitlines()),
    )
