"""The page of the mutants: kill scores, survivors with their reasons, and who noticed each row."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from meshwire_spec.rules import rules_by_id
from mutant_results import Outcome, State
from mutants import ROOT, Row

PAGE: Final = ROOT / "spec" / "95-mutants.md"
SPLIT: Final = "transport"
"""The package whose subpackages have a score of their own."""
HIDES: Final = "it shows only as time, for which its case has a wide margin (`idle`)"
MARK: Final = "## Kill score\n"
"""Begins the part of the page that is measured; everything before it is written by hand."""


def package_of(row: Row) -> str:
    """Return the package of the reference that a row mutates first."""
    _, package, *rest = row.edits[0].module.split(".")
    return f"{package}/{rest[0]}" if package == SPLIT and rest else package


def page_text(page: str, rows: Iterable[Row], outcomes: Mapping[str, Outcome]) -> str:
    """Return the page with what was measured in place of everything after its first heading."""
    rows = list(rows)
    measured = [row for row in rows if row.id in outcomes]
    parts = (
        page.partition(MARK)[0] + MARK,
        f"{len(measured)} of {len(rows)} rows have been measured.\n",
        *_scores(measured, outcomes),
        "## Survivors\n",
        *_survivors(measured, outcomes),
        "## Every mutant\n",
        *_every(measured, outcomes),
    )
    return "\n".join(parts) + "\n"


def _scores(rows: Sequence[Row], outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    counts: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        counts[package_of(row)].append(outcomes[row.id].state is State.NOTICED)
    yield "| Package | Mutants | Noticed | Kill score |"
    yield "| --- | --- | --- | --- |"
    for package in sorted(counts):
        yield _score(f"`{package}`", counts[package])
    yield _score("all", [each for one in counts.values() for each in one])
    yield ""


def _score(name: str, noticed: Sequence[bool]) -> str:
    share = 100 * sum(noticed) / max(1, len(noticed))
    return f"| {name} | {len(noticed)} | {sum(noticed)} | {share:.1f} % |"


def _survivors(rows: Sequence[Row], outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    left = [row for row in rows if outcomes[row.id].state is not State.NOTICED]
    if not left:
        yield "Every mutant was noticed.\n"
        return
    yield "| Mutant | Rule | Mistake | Why it is not noticed |"
    yield "| --- | --- | --- | --- |"
    for row in sorted(left, key=lambda row: row.id):
        outcome = outcomes[row.id]
        why = row.survives or (HIDES if row.idle else "")
        why = why or f"**no reason given** ({outcome.state}: {outcome.why or 'no case'})"
        yield f"| `{row.id}` | {_link(row.rule)} | {_cell(row.mistake)} | {_cell(why)} |"
    yield ""


def _every(rows: Sequence[Row], outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    yield "| Mutant | Package | Rule | Mistake | Noticed by | Time |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in sorted(rows, key=lambda row: (package_of(row), row.id)):
        outcome = outcomes[row.id]
        by = outcome.by or "no case"
        if outcome.by and outcome.by not in row.noticed_by:
            by += " (not named by the row)"
        cells = (
            f"`{row.id}`",
            f"`{package_of(row)}`",
            _link(row.rule),
            _cell(row.mistake),
            by,
            f"{outcome.seconds:.1f}",
        )
        yield f"| {' | '.join(cells)} |"


def _link(name: str) -> str:
    rule = rules_by_id()[name]
    return f"[{name}]({rule.page}#{rule.anchor})"


def _cell(text: str) -> str:
    """Return a text as the content of a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def read_page(path: Path = PAGE) -> str:
    """Return the page as it is, empty without one."""
    return path.read_text("utf-8") if path.exists() else ""
