"""A badge as SVG: profile, level, counts, and the digest of the suite as its description."""

from html import escape
from pathlib import Path

from meshwire_conformance.report.record import Report
from meshwire_conformance.report.saving import save
from meshwire_conformance.verdicts import APPLICABLE, ExitCode
from meshwire_spec.numbers import PROFILE

CHAR = 6.6
"""Pixels of a character, about those of the font."""
MARGIN = 7
HEIGHT = 20
COLOURS = {
    ExitCode.PASSED: "#1a7f37",
    ExitCode.VIOLATIONS: "#b42318",
    ExitCode.FAULT: "#57606a",
    ExitCode.INCOMPLETE: "#57606a",
}
"""Colour of each end of a run; white text on any of them is easy to read."""
LEFT = "#24292f"


def badge_of(report: Report) -> str:
    """Return the badge as SVG."""
    results = [result for run in report.runs for result in run.results]
    counts = report.closing
    applicable = sum(result.verdict in APPLICABLE for result in results)
    right = f"{counts.passed}/{applicable}"
    right += f", {counts.failed} failed" if counts.failed else ""
    right += f", {counts.known} known" if counts.known else ""
    if report.exit_code not in {ExitCode.PASSED, ExitCode.VIOLATIONS}:
        right = f"incomplete {right}"
    left = f"meshwire {PROFILE} {report.level}"
    widths = [round(len(text) * CHAR + 2 * MARGIN) for text in (left, right)]
    says = escape(f"{left}: {right}; suite {report.suite_digest}")
    size = f'width="{sum(widths)}" height="{HEIGHT}"'
    right_side = f'x="{widths[0]}" width="{widths[1]}" height="{HEIGHT}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{says}">',
            f"<title>{says}</title>",
            f'<rect width="{widths[0]}" height="{HEIGHT}" fill="{LEFT}"/>',
            f'<rect {right_side} fill="{COLOURS[report.exit_code]}"/>',
            '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">',
            f'<text x="{MARGIN}" y="14">{escape(left)}</text>',
            f'<text x="{widths[0] + MARGIN}" y="14">{escape(right)}</text>',
            "</g>",
            "</svg>",
            "",
        )
    )


def write(report: Report, path: Path) -> None:
    """Write the badge; raises UsageError if that fails."""
    save(badge_of(report), path)
