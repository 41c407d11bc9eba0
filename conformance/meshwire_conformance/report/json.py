"""The report as JSON, for programs; its shape is the struct `ReportFile`, schema `report.json`."""

import json
from pathlib import Path

import msgspec

from meshwire_conformance.report.record import Report, TargetRun, tallies
from meshwire_conformance.report.saving import save
from meshwire_conformance.verdicts import CaseResult
from meshwire_spec.schemas.report import (
    FORMAT_VERSION,
    Judge,
    NamedCodec,
    PartCounts,
    ReportedCase,
    ReportedRun,
    ReportFile,
)


def file_of(report: Report) -> ReportFile:
    """Return the content of the file for a report."""
    return ReportFile(
        report=FORMAT_VERSION,
        suite=Judge(
            version=report.suite_version,
            spec_revision=report.spec_revision,
            digest=report.suite_digest,
            selection_digest=report.selection_digest,
        ),
        target=report.target,
        level=report.level,
        seed=report.seed,
        exit_code=report.exit_code.value,
        duration_s=round(report.duration_s, 3),
        runs=[_run(report, run) for run in report.runs],
    )


def _run(report: Report, run: TargetRun) -> ReportedRun:
    return ReportedRun(
        name=run.name,
        faults=list(run.faults),
        codec=NamedCodec(**run.codec) if run.codec else msgspec.UNSET,
        notes=list(run.notes) or msgspec.UNSET,
        contact=list(run.contact) or msgspec.UNSET,
        parts={
            part: PartCounts(
                total=tally.total,
                applicable=tally.applicable,
                unbound=tally.unbound,
                verdicts={verdict.value: n for verdict, n in sorted(tally.verdicts.items())},
            )
            for part, tally in tallies(run, report.cases).items()
        },
        cases=[_case(report, run, result) for result in run.results],
    )


def _case(report: Report, run: TargetRun, result: CaseResult) -> ReportedCase:
    case = report.cases[result.case]
    return ReportedCase(
        id=case.id,
        kind=case.kind,
        part=case.part,
        title=case.title,
        rules=list(case.rules),
        verdict=result.verdict.value,
        symptom=result.symptom,
        reasons=list(result.reasons),
        cause=result.cause,
        sent=list(result.sent),
        expected=list(result.expected),
        received=list(result.received),
        notes=list(result.notes),
        unbound=result.unbound,
        slow=result.slow,
        variant=result.variant,
        circumstances=result.circumstances or msgspec.UNSET,
        duration_s=round(result.duration_s, 6),
        rounds={verdict.value: count for verdict, count in result.rounds} or msgspec.UNSET,
        again=report.again(run, case),
    )


def write(report: Report, path: Path) -> None:
    """Write the report; raises UsageError if that fails, BrokenPipeError if its reader has gone."""
    # Escaped to ASCII: no byte of a hostile text reaches a terminal that shows the file.
    text = json.dumps(msgspec.to_builtins(file_of(report)), indent=1, ensure_ascii=True)
    save(text + "\n", path, "ascii")
