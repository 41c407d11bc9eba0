"""The report as SARIF 2.1.0, for viewers of results: rules, failures, known ones suppressed."""

import hashlib
import json
from pathlib import Path
from typing import Any

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.report.record import Report, TargetRun
from meshwire_conformance.report.saving import harmless, save
from meshwire_conformance.verdicts import CaseResult, Verdict

VERSION = "2.1.0"
LEVELS = {
    Verdict.FAIL: "error",
    Verdict.COULD_NOT_RUN: "warning",
    Verdict.KNOWN_FAILING: "error",
}
"""Level of the result for each verdict that has one."""


def log_of(report: Report) -> dict[str, Any]:
    """Return the report as a log, with a run for each way to attach."""
    return {"version": VERSION, "runs": [_run(report, run) for run in report.runs]}


def _run(report: Report, run: TargetRun) -> dict[str, Any]:
    shown = [result for result in run.results if result.verdict in LEVELS]
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
                "rules": [
                    {"id": rule, "shortDescription": {"text": report.rules.get(rule) or rule}}
                    for rule in rules
                ],
            }
        },
        "automationDetails": {"id": f"meshwire/{harmless(run.name)[:100]}/"},
        "invocations": [invocation],
        "results": [_result(report, run, result, index) for result in shown],
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
    found: dict[str, Any] = {
        "ruleId": _rule(case),
        "ruleIndex": index[_rule(case)],
        "level": LEVELS[result.verdict],
        "message": {"text": f"{name}: {harmless(why)} (again: {again})"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": f"meshwire/{case.part}/{case.id}"},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [{"name": case.id, "fullyQualifiedName": name}],
            }
        ],
        "partialFingerprints": {"caseAndSymptom/v1": _fingerprint(run, result)},
        "properties": {"rules": list(case.rules), "symptom": harmless(result.symptom)},
    }
    if result.verdict is Verdict.KNOWN_FAILING:
        reason = harmless(result.reasons[0]) if result.reasons else "known"
        found["suppressions"] = [{"kind": "external", "justification": reason}]
    return found


def _fingerprint(run: TargetRun, result: CaseResult) -> str:
    text = f"{run.name}\n{result.case}\n{result.variant}\n{result.symptom}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def write(report: Report, path: Path) -> None:
    """Write the log; raises UsageError if that fails."""
    save(json.dumps(log_of(report), indent=1, ensure_ascii=True) + "\n", path, "ascii")
