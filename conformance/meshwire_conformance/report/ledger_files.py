"""Ledgers written, pruned and compared: TOML text from a run, and less of it once cases pass."""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from meshwire_conformance.errors import UsageError
from meshwire_conformance.explain.values import printable
from meshwire_conformance.report.ledger import EITHER, KnownFailure
from meshwire_conformance.verdicts import NO_EVIDENCE, STALE, Verdict
from meshwire_spec.schemas.report import ReportedCase, ReportFile

OPEN = frozenset({Verdict.FAIL.value, Verdict.COULD_NOT_RUN.value, Verdict.KNOWN_FAILING.value})
"""Verdicts of cases that a ledger can list."""
_BLOCK = re.compile(r"^[ \t]*\[\[[ \t]*known[ \t]*\]\][ \t]*(?:#.*)?$", re.MULTILINE)
_ID = re.compile(r"^[ \t]*id[ \t]*=[ \t]*[\"'](MW-\d+)[\"']", re.MULTILINE)
_ESCAPED = re.compile('[\x00-\x1f\x7f-\x9f"\\\\\ud800-\udfff]')


@dataclass(slots=True)
class _Drafted:
    """A case to list, its symptoms in the runs of the report, and why it fails."""

    case: ReportedCase
    symptoms: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """A ledger as text, the number of its entries, and of those that have no reason."""

    text: str
    entries: int
    unexplained: int


def drafted(report: ReportFile, reason: str, expires: date | None) -> Draft:
    """Return a ledger of the failures of a run.

    Failures are grouped by cause, else by rule and symptom. A case without a symptom was not
    judged and is left out. An entry without a reason has to get one before a check takes it.
    """
    found: dict[str, _Drafted] = {}
    for run in report.runs:
        for case in run.cases:
            if (
                case.verdict not in OPEN
                or not case.symptom
                or case.symptom in {*NO_EVIDENCE, STALE}
            ):
                continue
            found.setdefault(case.id, _Drafted(case)).symptoms[case.symptom] = None
    groups: dict[str, list[_Drafted]] = {}
    for one in sorted(found.values(), key=lambda one: one.case.id):
        groups.setdefault(_group(one.case), []).append(one)
    text = [
        f"# Known failures of {_comment(report.target)} at level {report.level}.",
        f"# From a run of meshwire {report.suite.version}, suite {report.suite.digest[:12]}.",
        "# Each entry needs a reason; `meshwire ledger prune` removes the cases that pass by now.",
    ]
    for name, members in sorted(groups.items(), key=lambda item: -len(item[1])):
        cases = "1 case" if len(members) == 1 else f"{len(members)} cases"
        text += ["", f"# {_comment(name)} ({cases} in that run)"]
        for one in members:
            text += ["", *_entry(one, reason, expires)]
    unexplained = sum(not (reason or one.case.cause) for one in found.values())
    return Draft("\n".join(text) + "\n", len(found), unexplained)


def _group(case: ReportedCase) -> str:
    return case.cause or f"{case.rules[0]}: {case.symptom}"


def _entry(one: _Drafted, reason: str, expires: date | None) -> Iterator[str]:
    yield "[[known]]"
    yield f'id = "{one.case.id}"  # {_comment(one.case.title)}'
    yield f"symptom = {_text(EITHER.join(one.symptoms))}"
    yield f"reason = {_text(reason or one.case.cause)}"
    if expires is not None:
        yield f"expires = {expires.isoformat()}"


def _comment(text: str) -> str:
    return printable(text)[:200].replace("\n", " ")


def _text(value: str) -> str:
    """Return a basic string of TOML."""
    return f'"{_ESCAPED.sub(_escape, value)}"'


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    if char in '"\\':
        return f"\\{char}"
    # TOML has no escape for half of a character.
    return "\\ufffd" if "\ud800" <= char <= "\udfff" else f"\\u{ord(char):04x}"


def passing(report: ReportFile, known: Collection[str]) -> list[str]:
    """Return the cases of a ledger that passed in every run of the report that judged them."""
    verdicts: dict[str, set[bool]] = {}
    for run in report.runs:
        for case in run.cases:
            passed = case.verdict == Verdict.PASS.value or case.symptom == STALE
            if case.id in known and (passed or case.verdict in OPEN):
                verdicts.setdefault(case.id, set()).add(passed)
    return sorted(case for case, passed in verdicts.items() if passed == {True})


def pruned(text: str, remove: Collection[str]) -> str:
    """Return the text of a ledger without these cases; everything else in it stays as it is.

    A comment over the first entry of a group stays for the others of the group. Raises UsageError
    for a ledger that is written in another form, such as an array of its entries in one line.
    """
    head, blocks = _blocks(text)
    kept = head
    waiting = ""
    for comment, block in blocks:
        found = _ID.search(block)
        if found is not None and found[1] in remove:
            waiting = comment if "#" in comment else waiting
            continue
        kept += comment if "#" in comment or "#" not in waiting else waiting
        kept += block
        waiting = ""
    kept = kept.rstrip("\n") + "\n" if kept.strip() else ""
    if _entries(kept) != [entry for entry in _entries(text) or () if entry["id"] not in remove]:
        raise UsageError(
            "the ledger is left as it is, since its entries are not each under a line [[known]]; "
            f"remove by hand: {', '.join(sorted(remove))}"
        )
    return kept


def _entries(text: str) -> list[dict[str, Any]] | None:
    try:
        return list(tomllib.loads(text).get("known", []))
    except tomllib.TOMLDecodeError:
        return None


def _blocks(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Return what is before the first entry, and each entry with the comment lines before it."""
    starts = [found.start() for found in _BLOCK.finditer(text)]
    if not starts:
        return text, []
    head, comment = _cut_comment(text[: starts[0]])
    blocks = []
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else len(text)
        block, after = _cut_comment(text[start:end])
        blocks.append((comment, block))
        comment = after
    return head, blocks


def _cut_comment(text: str) -> tuple[str, str]:
    """Return a text without its last paragraph of comments, and that with its blank lines."""
    lines = text.splitlines(keepends=True)
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    start = end
    while start and lines[start - 1].startswith("#"):
        start -= 1
    while start and not lines[start - 1].strip():
        start -= 1
    return "".join(lines[:start]), "".join(lines[start:])


def changes(old: Mapping[str, KnownFailure], new: Mapping[str, KnownFailure]) -> list[str]:
    """Return how two ledgers differ, one line for each case."""
    lines = []
    for case in sorted(old.keys() | new.keys()):
        if case not in new:
            lines.append(f"- {case}  {printable(old[case].symptom)}: {printable(old[case].reason)}")
        elif case not in old:
            lines.append(f"+ {case}  {printable(new[case].symptom)}: {printable(new[case].reason)}")
        else:
            lines += _changed(case, old[case], new[case])
    return lines


def _changed(case: str, old: KnownFailure, new: KnownFailure) -> Sequence[str]:
    members = ("symptom", "reason", "predicted", "expires")
    found = [name for name in members if getattr(old, name) != getattr(new, name)]
    return [
        f"~ {case}  {name}: {printable(str(getattr(old, name)))} -> "
        f"{printable(str(getattr(new, name)))}"
        for name in found
    ]
