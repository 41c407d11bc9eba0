"""`meshwire ledger`: write a ledger of known failures, remove what passes, compare two."""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from meshwire_conformance.commands.check import CheckOptions, attachments_of, checked
from meshwire_conformance.commands.progress import SilentProgress, progress_on
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.hints import is_file
from meshwire_conformance.report.ledger import ledger_file, read_ledger
from meshwire_conformance.report.saving import replace_file
from meshwire_conformance.run.loading import load_listing
from meshwire_conformance.verdicts import ExitCode

if TYPE_CHECKING:
    from meshwire_spec.schemas.report import ReportFile

EXPIRES_DAYS = 90
"""Days after which a drafted entry excuses nothing any more."""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Level = Annotated[
    Literal["wire", "strict"], typer.Option(help="Level of the run, for a target to be run.")
]
From = Annotated[
    str, typer.Argument(metavar="REPORT|TARGET", help="JSON report of a run, or a target to run.")
]
Writes = Annotated[
    bool,
    typer.Option("--writes-are-ok", help="Allow a target on another machine, as for check."),
]


@app.callback()
def ledger() -> None:
    """Keep a ledger of known failures true.

    Example: meshwire ledger write known.toml stdio:./my-codec --reason "see issue 12"
    """


@app.command()
def write(
    path: Annotated[Path, typer.Argument(metavar="LEDGER", help="The file to write.")],
    origin: From,
    reason: Annotated[
        str,
        typer.Option(help="Reason of every entry; without one an entry has its cause, or none."),
    ] = "",
    expires: Annotated[
        str,
        typer.Option(
            help="Day from which the entries excuse nothing, such as 2027-03-01; or never."
        ),
    ] = "",
    level: Level = "strict",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    writes_are_ok: Writes = False,
) -> None:
    """Draft a ledger of the failures of a run, grouped by cause.

    Entries expire after 90 days unless --expires says otherwise. A check refuses a ledger with an
    empty reason, so give --reason or write one where no cause is known.

    Example: meshwire ledger write known.toml run.json
    """
    from meshwire_conformance.report.ledger_files import drafted  # noqa: PLC0415 - few need it

    if not force:
        _refuse_existing(path)
    report = _report(origin, level, (), writes_are_ok=writes_are_ok)
    expiry = _expiry(expires)
    _require_judgement(report)
    draft = drafted(report, reason, expiry)
    _save(path, draft.text)
    typer.echo(f"{draft.entries} entries in {path}")
    if draft.unexplained:
        typer.echo(
            f"write a reason into the entries that have none ({draft.unexplained}); "
            "a check refuses an empty one"
        )


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise UsageError(
            f"{path} exists; --force replaces it with every reason in it; to add entries, write "
            "another file, and copy those that `meshwire ledger diff` shows as new"
        )


@app.command()
def prune(
    path: Annotated[Path, typer.Argument(metavar="LEDGER", help="The file to change.")],
    origin: From,
    level: Level = "strict",
    writes_are_ok: Writes = False,
) -> None:
    """Remove the entries of a ledger whose cases pass; comments and all else stay.

    Of a target only the cases of the ledger are run.

    Example: meshwire ledger prune known.toml stdio:./my-codec
    """
    from meshwire_conformance.report.ledger_files import passing, pruned  # noqa: PLC0415 - few need it

    known = read_ledger(path, load_listing())
    file = ledger_file(path)
    report = _report(origin, level, sorted(known), writes_are_ok=writes_are_ok)
    _require_judgement(report)
    if report.level != level:
        raise UsageError(
            f"{origin} is a run at level {report.level}, and a case can pass there that fails at "
            f"{level}; if the ledger is one of that level, say --level {report.level}"
        )
    remove = passing(report, known)
    if remove:
        _save(file, pruned(file.read_text(encoding="utf-8"), set(remove)))
    for case in remove:
        typer.echo(f"removed {case}  {known[case].reason}")
    typer.echo(f"{len(remove)} removed, {len(known) - len(remove)} left in {file}")


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A ledger, or the name of one.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="A ledger, or the name of one.")],
) -> None:
    """Print how two ledgers differ; exit 1 if they do.

    Example: meshwire ledger diff old.toml known.toml
    """
    from meshwire_conformance.report.ledger_files import changes  # noqa: PLC0415 - few need it

    listing = load_listing()
    lines = changes(read_ledger(old, listing), read_ledger(new, listing))
    for line in lines:
        typer.echo(line)
    typer.echo(f"{len(lines)} changes")
    raise typer.Exit(int(ExitCode.VIOLATIONS if lines else ExitCode.PASSED))


def _report(
    origin: str, level: Literal["wire", "strict"], only: Sequence[str], *, writes_are_ok: bool
) -> "ReportFile":
    """Return the report in a file, or that of a run of these cases on a target."""
    from meshwire_conformance.report.comparison import read_report  # noqa: PLC0415 - few need it
    from meshwire_conformance.report.json import file_of  # noqa: PLC0415 - as above

    if is_file(origin):
        return read_report(Path(origin))
    if ":" not in origin:
        raise UsageError(f"{origin!r} is neither the file of a report nor a target")
    given = CheckOptions(
        targets=[origin], only=list(only) or None, level=level, writes_are_ok=writes_are_ok
    )
    progress = progress_on(sys.stderr, os.environ, colour=False)
    # A failure that a ledger is written for is no news.
    silent = SilentProgress() if not sys.stderr.isatty() else progress
    found = checked(attachments_of(given), origin, given.to_run(silent), silent)
    return file_of(found)


def _require_judgement(report: "ReportFile") -> None:
    """Raise Incomplete if the target could not be run, so that nothing is known of its cases."""
    faults = list(dict.fromkeys(fault for run in report.runs for fault in run.faults))
    if faults:
        raise Incomplete(f"the ledger is left as it is: {'; '.join(faults)}")


def _expiry(text: str) -> date | None:
    if text == "never":
        return None
    if not text:
        return datetime.now(UTC).date() + timedelta(days=EXPIRES_DAYS)
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise UsageError(f"--expires {text!r} is no day such as 2027-03-01, nor never") from exc


def _save(path: Path, text: str) -> None:
    try:
        replace_file(path, text.encode())
    except OSError as exc:
        raise UsageError(f"the ledger {path} cannot be written: {exc}") from exc
