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


def _html(report: Report, path: Path) -> None:
    from meshwire_conformance.report import html  # noqa: PLC0415 - few runs write reports

    html.write(report, path)


def _markdown(report: Report, path: Path) -> None:
    from meshwire_conformance.report import markdown  # noqa: PLC0415 - few runs write reports

    markdown.write(report, path)


def _github(report: Report, path: Path) -> None:
    from meshwire_conformance.report import github  # noqa: PLC0415 - few runs write reports

    github.write(report, path)


def _sarif(report: Report, path: Path) -> None:
    from meshwire_conformance.report import sarif  # noqa: PLC0415 - few runs write reports

    sarif.write(report, path)


def _badge(report: Report, path: Path) -> None:
    from meshwire_conformance.report import badge  # noqa: PLC0415 - few runs write reports

    badge.write(report, path)


WRITERS: Mapping[str, Callable[[Report, Path], None]] = {
    "junit": _junit,
    "json": _json,
    "html": _html,
    "markdown": _markdown,
    "github": _github,
    "sarif": _sarif,
    "badge": _badge,
}
"""Functions that write a report to a file, by format. Each raises UsageError."""

FORMS = ", ".join(f"{name}=PATH" for name in WRITERS)
