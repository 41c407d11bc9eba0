"""The formats that a report can be written in, one module each."""

from collections.abc import Callable, Mapping
from pathlib import Path

from meshwire_conformance.report.record import Report


def _junit(report: Report, path: Path) -> None:
    from meshwire_conformance.report import junit  # noqa: PLC0415 - few runs write reports

    junit.write(report, path)


def _json(report: Report, path: Path) -> None:
    from meshwire_conformance.report import json  # noqa: PLC0415 - few runs write reports

    json.write(report, path)


WRITERS: Mapping[str, Callable[[Report, Path], None]] = {"junit": _junit, "json": _json}
"""Functions that write a report to a file, by format. Each raises UsageError."""

FORMS = " or ".join(f"{name}=PATH" for name in WRITERS)
