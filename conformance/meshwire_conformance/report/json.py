"""The report as JSON, for programs; its shape is the schema `report.json`."""

import json
from pathlib import Path
from typing import Any

from meshwire_conformance.errors import UsageError
from meshwire_conformance.report.record import FORMAT_VERSION, Report, Run, tallies
from meshwire_conformance.verdicts import CaseResult


def document_of(report: Report) -> dict[str, Any]:
    """The report as plain JSON values."""
    return {
        "report": FORMAT_VERSION,
        "suite": {
            "version": report.suite_version,
            "spec_revision": report.spec_revision,
            "digest": report.suite_digest,
            "selection_digest": report.selection_digest,
        },
        "target": report.target,
        "level": report.level,
        "seed": report.seed,
        "exit_code": int(report.exit_code),
        "duration_s": round(report.duration_s, 3),
        "runs": [_run(report, run) for run in report.runs],
    }


def _run(report: Report, run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "faults": list(run.faults),
        **({"codec": dict(run.codec)} if run.codec else {}),
        "parts": {
            part: {
                "total": tally.total,
                "applicable": tally.applicable,
                "unbound": tally.unbound,
                "verdicts": {str(verdict): n for verdict, n in sorted(tally.verdicts.items())},
            }
            for part, tally in tallies(run, report.cases).items()
        },
        "cases": [_case(report, run, result) for result in run.results],
    }


def _case(report: Report, run: Run, result: CaseResult) -> dict[str, Any]:
    case = report.cases[result.case]
    return {
        "id": case.id,
        "kind": case.kind,
        "part": case.part,
        "title": case.title,
        "rules": list(case.rules),
        "verdict": str(result.verdict),
        "symptom": result.symptom,
        "reasons": list(result.reasons),
        "sent": list(result.sent),
        "expected": list(result.expected),
        "received": list(result.received),
        "notes": list(result.notes),
        "unbound": result.unbound,
        "variant": result.variant,
        "duration_s": round(result.duration_s, 6),
        "again": report.again(run, case),
    }


def write(report: Report, path: Path) -> None:
    """Write the report; raises UsageError where the file cannot be written."""
    # Escaped to ASCII: no byte of a hostile text reaches a terminal that shows the file.
    text = json.dumps(document_of(report), indent=1, ensure_ascii=True)
    try:
        path.write_text(text + "\n", encoding="ascii")
    except OSError as exc:
        raise UsageError(f"the report {path} cannot be written: {exc}") from exc
