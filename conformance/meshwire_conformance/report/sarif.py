"""The report as SARIF 2.1.0, for viewers of results: rules, failures, known ones suppressed."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.report.markdown import code, plain
from meshwire_conformance.report.record import Report, TargetRun
from meshwire_conformance.report.saving import harmless, save
from meshwire_conformance.verdicts import ENDED, CaseResult, Verdict

VERSION = "2.1.0"
SCHEMA = (
    "https://raw.githubusercontent.com/schemastore/schemastore/master/src/schemas/json/"
    "sarif-2.1.0-rtm.5.json"
)
"""Identifier of the schema that a log fits; nothing is read from there."""
LEVELS = {
    Verdict.FAIL: "error",
    Verdict.COULD_NOT_RUN: "warning",
    Verdict.KNOWN_FAILING: "error",
}
"""Level of the result for each verdict that has one."""


def log_of(report: Report) -> dict[str, Any]:
    """Return the report as a log, with a run for each way to attach."""
    return {
        "$schema": SCHEMA,
        "version": VERSION,
        "runs": [_run(report, run) for run in report.runs],
    }


def _run(report: Report, run: TargetRun) -> dict[str, Any]:
    shown = [result for result in run.results if _is_shown(run, result)]
    rules = sorted({_rule(report.cases[result.case]) for result in shown})
    index = {rule: number for number, rule in enumerate(rules)}
    invocation: dict[str, Any] = {
        "executionSuccessful": not run.faults,
        "exitCode": int(report.exit_code),
    }
    if run.faults:
        notes = [{"level": "error", "message": {"text": harmless(one)}} for one in run.faults]
        invocation["toolExecutionNotifications"] = notes
    return {
        "tool": {
            "driver": {
                "name": "meshwire",
                "version": report.suite_version,
                "properties": {"suiteDigest": report.suite_digest, "level": report.level},
                "rules": [_described(report, rule) for rule in rules],
            }
        },
        "automationDetails": {"id": f"meshwire/{harmless(run.name)[:100]}/"},
        "invocations": [invocation],
        "results": [_result(report, run, result, index) for result in shown],
    }


def _is_shown(run: TargetRun, result: CaseResult) -> bool:
    """Return True if a result is one of its case; what kept the whole run is reported once."""
    if result.symptom == ENDED or (run.faults and result.reasons == tuple(run.faults)):
        return False
    return result.verdict in LEVELS


def _described(report: Report, rule: str) -> dict[str, Any]:
    """Return a rule with its sentence, and with the command that tells more of it as its help."""
    text = report.rules.get(rule) or rule
    command = f"meshwire explain {rule}"
    more = "tells why, what deployed peers do, the bytes and the cases"
    return {
        "id": rule,
        "shortDescription": {"text": text},
        "fullDescription": {"text": f"{rule}: {text}"},
        "help": {
            "text": f"{text} `{command}` {more}.",
            "markdown": f"{plain(text)}\n\n{code(command)} {more}.",
        },
    }


def _rule(case: Case) -> str:
    return case.rules[0]


def _result(
    report: Report, run: TargetRun, result: CaseResult, index: dict[str, int]
) -> dict[str, Any]:
    case = report.cases[result.case]
    why = "; ".join(harmless(reason) for reason in result.reasons) or result.symptom
    again = harmless(report.again(run, case))
    name = f"{case.id} {case.title}"
    fingerprint = _fingerprint(run, result)
    found: dict[str, Any] = {
        "ruleId": _rule(case),
        "ruleIndex": index[_rule(case)],
        "level": LEVELS[result.verdict],
        "message": {"text": f"{name}: {harmless(why)} (again: {again})"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": f"meshwire/{case.part}/{case.id}"},
                    # Some viewers want a region that is whole and not empty, even of no file.
                    "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 2},
                },
                "logicalLocations": [{"name": case.id, "fullyQualifiedName": name}],
            }
        ],
        "partialFingerprints": {
            # The name by which GitHub recognises a result, with its number in the line.
            "primaryLocationLineHash": f"{fingerprint[:16]}:1",
            "caseAndSymptom/v1": fingerprint,
        },
        "properties": {"rules": list(case.rules), "symptom": harmless(result.symptom)},
    }
    if report.ledger:
        # All results of a run have the member, or none: an empty one is a result that counts.
        found["suppressions"] = list(_suppressions(result))
    return found


def _suppressions(result: CaseResult) -> Iterator[dict[str, str]]:
    if result.verdict is Verdict.KNOWN_FAILING:
        reason = harmless(result.reasons[0]) if result.reasons else "known"
        yield {"kind": "external", "justification": reason}


def _fingerprint(run: TargetRun, result: CaseResult) -> str:
    text = f"{run.name}\n{result.case}\n{result.variant}\n{result.symptom}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def write(report: Report, path: Path) -> None:
    """Write the log; raises UsageError if that fails."""
    save(json.dumps(log_of(report), indent=1, ensure_ascii=True) + "\n", path, "ascii")
