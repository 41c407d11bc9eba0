"""The ledger of known failures: which cases fail, why, and with which symptom."""

import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from meshwire_conformance.catalogue.catalogue import Catalogue
from meshwire_conformance.catalogue.data_files import data_folder
from meshwire_conformance.errors import UsageError
from meshwire_conformance.explain.values import printable
from meshwire_conformance.verdicts import NO_EVIDENCE, STALE, CaseResult, Remark, Verdict

MEMBERS = {"id": str, "reason": str, "symptom": str, "predicted": bool, "expires": date}
EITHER = " | "
"""Separates symptoms if the timing of the target decides which of them occurs."""
REQUIRED = ("id", "reason", "symptom")
UNTRIED = "in the ledger, but not applicable in this run"
"""Note of a case that the ledger lists and that is not applicable to this target."""
SOON_DAYS = 14
"""Days before an entry expires in which a run warns of it."""
EXCUSABLE = frozenset((Verdict.FAIL, Verdict.COULD_NOT_RUN))


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """A case that is known to fail, with its symptom; `predicted` ones were never observed.

    From the day `expires` on the failure is no longer excused. A `flaky` case may also pass.
    """

    id: str
    reason: str
    symptom: str
    predicted: bool = False
    expires: date | None = None
    flaky: bool = False

    def fits(self, symptom: str) -> bool:
        """Return True if this symptom is expected."""
        return symptom in self.symptom.split(EITHER)


def ledger_file(name: Path) -> Path:
    """Return the file of this name, else the ledger of that name in the suite.

    Raises UsageError if neither exists.
    """
    if name.exists() or name.name != str(name) or name.suffix:
        return name
    folder = data_folder("_ledgers", "conformance/ledgers")
    own = {path.stem: path for path in folder.glob("*.toml")}
    if str(name) in own:
        return own[str(name)]
    names = ", ".join(sorted(own))
    raise UsageError(
        f"there is neither a file nor a ledger {str(name)!r}; the suite has {names}, and "
        "`meshwire ledger write FILE TARGET` writes one"
    )


def read_ledger(path: Path, catalogue: Catalogue) -> dict[str, KnownFailure]:
    """Return known failures by case id, from a TOML file or a ledger of the suite (`ledger_file`).

    Raises UsageError for an entry that is not valid.
    """
    try:
        document = tomllib.loads(ledger_file(path).read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise UsageError(
            f"the ledger {path} cannot be read: there is no such file; "
            f"`meshwire ledger write {printable(shlex.quote(str(path)))} TARGET` writes one"
        ) from exc
    except (OSError, ValueError, RecursionError) as exc:
        raise UsageError(f"the ledger {path} cannot be read: {exc}") from exc
    entries = document.get("known", [])
    if document.keys() - {"known"} or not isinstance(entries, list):
        raise UsageError(f"the ledger {path} contains something other than [[known]] entries")
    known: dict[str, KnownFailure] = {}
    for entry in entries:
        failure = _failure(path, entry)
        if failure.id not in catalogue.by_id:
            raise UsageError(f"the ledger {path} names {failure.id}, which is no case")
        if failure.id in known:
            raise UsageError(f"the ledger {path} names {failure.id} twice")
        known[failure.id] = failure
    return known


def _failure(path: Path, entry: object) -> KnownFailure:
    if not isinstance(entry, dict) or any(name not in entry for name in REQUIRED):
        raise UsageError(f"an entry of the ledger {path} lacks one of {', '.join(REQUIRED)}")
    for name, value in entry.items():
        if type(value) is not MEMBERS.get(name):
            raise UsageError(f"an entry of the ledger {path} has a bad member {name!r}")
    if not entry["reason"].strip():
        raise UsageError(f"the entry {entry['id']} of the ledger {path} has an empty reason")
    return KnownFailure(**entry)


def read_ledgers(
    failing: Path | None, flaky: Path | None, catalogue: Catalogue
) -> dict[str, KnownFailure]:
    """Return the entries of a ledger of failures and of one of flaky cases, by case id.

    Raises UsageError for an entry that is not valid, or a case in both.
    """
    known = {} if failing is None else read_ledger(failing, catalogue)
    for case, entry in ({} if flaky is None else read_ledger(flaky, catalogue)).items():
        if case in known:
            raise UsageError(f"{case} is in both ledgers, {failing} and {flaky}")
        known[case] = replace(entry, flaky=True)
    return known


def apply_ledger(
    results: Iterable[CaseResult], known: Mapping[str, KnownFailure], today: date = date.min
) -> list[CaseResult]:
    """Return the results with known failures excused, and wrong entries as failures.

    Entries that have expired by the day `today` excuse nothing.
    """
    # A case that was not judged is no evidence about the expected failure.
    return [
        _judge(result, known[result.case], today)
        if result.case in known and result.symptom not in NO_EVIDENCE
        else result
        for result in results
    ]


def expiries(
    results: Iterable[CaseResult], known: Mapping[str, KnownFailure], today: date
) -> tuple[dict[str, date], dict[str, date]]:
    """Return the cases that fail since their entries have expired, and those that soon will.

    The results are those that `apply_ledger` has judged; each case has the day of its entry.
    """
    expired: dict[str, date] = {}
    soon: dict[str, date] = {}
    for result in results:
        entry = known.get(result.case)
        if entry is None or entry.expires is None or not entry.fits(result.symptom):
            continue
        if result.verdict is Verdict.FAIL and entry.expires <= today:
            expired[result.case] = entry.expires
        elif result.verdict is Verdict.KNOWN_FAILING and (entry.expires - today).days <= SOON_DAYS:
            soon[result.case] = entry.expires
    return expired, soon


def _judge(result: CaseResult, failure: KnownFailure, today: date) -> CaseResult:
    if result.verdict in EXCUSABLE:
        return _judge_failure(result, failure, today)
    if result.verdict is Verdict.NOT_APPLICABLE:
        return replace(result, notes=(*result.notes, UNTRIED), remark=Remark.UNTRIED)
    if result.verdict is not Verdict.PASS or failure.flaky:
        return result
    if failure.predicted:
        note = f"predicted to fail: {failure.reason}"
        return replace(result, notes=(*result.notes, note), remark=Remark.SURPRISE)
    stale = f"passes, but the ledger says it fails: {failure.reason}"
    return replace(result, verdict=Verdict.FAIL, symptom=STALE, reasons=(stale,))


def _judge_failure(result: CaseResult, failure: KnownFailure, today: date) -> CaseResult:
    if not failure.fits(result.symptom):
        if not result.symptom and result.verdict is Verdict.COULD_NOT_RUN:
            # Something was lacking, such as a target that starts: nothing was judged.
            return result
        said = f"known to fail with {failure.symptom!r}, but it fails with {result.symptom!r}"
        return replace(result, verdict=Verdict.FAIL, reasons=(said, *result.reasons))
    if failure.expires is not None and failure.expires <= today:
        said = f"known until {failure.expires}, which is over: {failure.reason}"
        return replace(result, verdict=Verdict.FAIL, reasons=(said, *result.reasons))
    reasons = (f"known: {failure.reason}", *result.reasons)
    return replace(result, verdict=Verdict.KNOWN_FAILING, reasons=reasons)
