"""`meshwire check`: run the cases of the suite on a target."""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from meshwire_conformance.commands.process import give_up_output, run_interruptibly
from meshwire_conformance.commands.progress import SilentProgress, progress_on, ticking
from meshwire_conformance.contracts import Attachment
from meshwire_conformance.errors import Incomplete, Interrupted, SuiteError, UsageError
from meshwire_conformance.report.formats import FORMS as REPORT_FORMS
from meshwire_conformance.report.formats import WRITERS
from meshwire_conformance.report.record import Report
from meshwire_conformance.run.loading import load_listing
from meshwire_conformance.run.runner import Options, check, unfinished
from meshwire_conformance.targets.base import FORMS as TARGET_FORMS
from meshwire_conformance.targets.base import SCHEMES, parse_target
from meshwire_conformance.targets.bundle import bundled
from meshwire_conformance.verdicts import ExitCode
from meshwire_spec.numbers import FORMATION_ID_MAX, PROFILE

if TYPE_CHECKING:
    from meshwire_conformance.report.text import Detail

PATTERN = (
    "a shell pattern names: by id or rule ('MW-10*', 'TS-*'), else by kind ('heartbeat'), else by "
    "a part of the title. 'title:TEXT' names titles only."
)


STDOUT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """The arguments of `meshwire check`, as typer reads them off the fields."""

    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET",
            help=f"{TARGET_FORMS}; several are shown side by side; without one, the bundled node.",
        ),
    ] = None
    target_file: Annotated[
        Path | None, typer.Option("--target", help="TOML file that describes the target.")
    ] = None
    control: Annotated[
        Path | None,
        typer.Option(
            help="Control socket of the target, for the cases that need one; of a node:COMMAND "
            "the command says {control} instead."
        ),
    ] = None
    formation_id: Annotated[
        str | None,
        typer.Option(help="Id of the formation whose secret a target with an address demands."),
    ] = None
    formation_secret_file: Annotated[
        Path | None, typer.Option(help="File with the secret of that formation in base64.")
    ] = None
    dialect: Annotated[
        Literal["H1", "H2"] | None,
        typer.Option(help="Dialect of the handshake of that formation; H1 if left out."),
    ] = None
    only: Annotated[
        list[str] | None, typer.Option(help=f"Run only the cases that {PATTERN} May be repeated.")
    ] = None
    skip: Annotated[
        list[str] | None,
        typer.Option(help="Skip the cases that a pattern names, as for --only. May be repeated."),
    ] = None
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Run only cases of this kind, as --list shows it. May be repeated."),
    ] = None
    level: Annotated[
        Literal["wire", "strict"], typer.Option(help="Level whose results are required.")
    ] = "strict"
    list_cases: Annotated[
        bool, typer.Option("--list", help="Print one line per case and run nothing.")
    ] = False
    as_json: Annotated[
        bool, typer.Option("--json", help="With --list: print the cases as JSON.")
    ] = False
    report: Annotated[
        list[str] | None, typer.Option(help=f"Write a report: {REPORT_FORMS}. May be repeated.")
    ] = None
    known_failing: Annotated[
        Path | None,
        typer.Option(help="TOML ledger of known failures, or the name of one in the suite."),
    ] = None
    known_flaky: Annotated[
        Path | None,
        typer.Option(help="TOML ledger of cases that may fail so or pass."),
    ] = None
    timeout_scale: Annotated[
        float, typer.Option(min=0.1, max=1000.0, help="Factor for every deadline.")
    ] = 1.0
    repeat: Annotated[
        int, typer.Option(min=1, help="Run every case this number of times and report the rates.")
    ] = 1
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="Run the cases in a random order, set by the seed.")
    ] = False
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Run each case in each dialect of the bundled node; otherwise the seed "
            "decides on one.",
        ),
    ] = False
    trace: Annotated[
        Path | None,
        typer.Option(
            help="File for a trace of everything sent and received, one JSON object per line."
        ),
    ] = None
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="End the run after the first violation.")
    ] = False
    max_failures: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="End the run after this number of violations."),
    ] = None
    quiet: Annotated[
        bool,
        typer.Option("--quiet", help="Print one line per violation, and the verdict."),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", help="Print a line per case too: verdict, time, and why it ended so."
        ),
    ] = False
    color: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(help="Colour; auto follows NO_COLOR, FORCE_COLOR and the terminal."),
    ] = "auto"
    writes_are_ok: Annotated[
        bool,
        typer.Option(
            "--writes-are-ok", help="Allow a target on another machine; its documents are changed."
        ),
    ] = False

    def to_run(self, progress: SilentProgress) -> Options:
        """Return the options of the run; raises UsageError if two exclude each other."""
        return Options(
            only=self.only or (),
            skip=self.skip or (),
            kinds=self.kind or (),
            level=self.level,
            seed=self.seed,
            timeout_scale=self.timeout_scale,
            writes_are_ok=self.writes_are_ok,
            known_failing=self.known_failing,
            known_flaky=self.known_flaky,
            compares=len(self.targets or ()) > 1,
            today=datetime.now(UTC).date(),
            trace=self.trace,
            watcher=progress,
            rounds=self.repeat,
            shuffle=self.shuffle,
            violations_max=_violations_max(self.max_failures, fail_fast=self.fail_fast),
            tells=_tell,
            waits_for=progress.waits_for,
        )


def check_command(given: CheckOptions) -> None:
    """Run the conformance cases on a target and report the rules that it breaks.

    Exit codes: 0 every required case passed, 1 violations, 2 wrong use, a fault of the suite or
    an interrupt, 3 incomplete.

    \b
    Example: meshwire check stdio:./my-codec --only 'TS-*' --report junit=report.xml
             meshwire check stdio:./my-codec --kind heartbeat --fail-fast
             meshwire check "node:./my-node --port 0" --level wire --quiet
             meshwire check --list --json --only 'document key'
    """  # noqa: D301 - the control character keeps the lines of the example apart
    if given.list_cases:
        _list(given)
        return
    if given.as_json:
        raise UsageError("--json is for --list; the results of a run are --report json=PATH")
    detail = _detail(quiet=given.quiet, verbose=given.verbose)
    colours = wants_colour(given.color, os.environ, sys.stderr)
    progress = (
        SilentProgress() if given.quiet else progress_on(sys.stderr, os.environ, colour=colours)
    )
    options = given.to_run(progress)
    writers = _writers(given.report or ())
    text = " | ".join(given.targets or ()) or str(given.target_file or "bundled node")
    with _reported(writers, text, options):
        attachments = attachments_of(given)
        found = checked(attachments, text, options, progress)
    # Written first: a report must exist even if the output cannot be written.
    faults = _written(writers, found)
    try:
        _show(found, detail, colour=wants_colour(given.color, os.environ, sys.stdout))
    finally:
        for fault in faults:
            _tell(fault)
    raise typer.Exit(int(ExitCode.FAULT if faults else found.exit_code))


def _written(writers: Sequence[tuple[str, Path]], found: Report) -> list[str]:
    """Write every report; returns why those are not there that could not be written."""
    faults: list[str] = []
    for name, path in writers:
        try:
            WRITERS[name](found, path)
        except UsageError as exc:
            faults.append(str(exc))
    return faults


@contextmanager
def _reported(writers: Sequence[tuple[str, Path]], text: str, options: Options) -> Iterator[None]:
    """Write reports that say why a run ended, if it raises; all else is left to the caller."""
    try:
        yield
    except Exception as exc:
        code = exc.exit_code if isinstance(exc, SuiteError) else ExitCode.FAULT
        why = str(exc) or type(exc).__name__
        for fault in _written(writers, unfinished(text, options, why, code)):
            _tell(fault)
        raise


def checked(
    attachments: Sequence[Attachment], text: str, options: Options, progress: SilentProgress
) -> Report:
    """Run the suite; raises SuiteError, Interrupted where an interrupt has ended it."""
    try:
        return check(
            attachments,
            text,
            options,
            lambda work: run_interruptibly(ticking(work, progress.tick)),
        )
    except KeyboardInterrupt:
        raise Interrupted(progress.so_far()) from None
    finally:
        progress.clear()


def attachments_of(given: CheckOptions) -> Sequence[Attachment]:
    """Return the ways to reach the target that was given; raises SuiteError for a wrong one."""
    if given.targets and given.target_file is not None:
        raise UsageError("give a target or --target FILE, not both")
    formation = _formation_of(given)
    if given.control is not None:
        return [_controlled(given, given.control)]
    if given.target_file is not None:
        from meshwire_conformance.targets.facts import read_target_file  # noqa: PLC0415 - sockets only

        return list(read_target_file(given.target_file))
    if given.targets:
        if len(set(given.targets)) < len(given.targets):
            raise UsageError("a target is given twice")
        return [formation.demanded_by(parse_target(text)) for text in given.targets]
    # Who names cases wants to see them wherever they apply.
    full = given.full or bool(given.only or given.kind)
    return bundled(given.timeout_scale, full=full)


@dataclass(frozen=True, slots=True)
class _Membership:
    """The formation that the options name; without an id none is demanded."""

    id: str = ""
    secret_file: str = ""
    dialect: Literal["H1", "H2"] = "H1"

    def demanded_by(self, one: Attachment) -> Attachment:
        """Return a target that demands the handshake of this formation.

        Raises UsageError for one without an address, whose facts come from elsewhere.
        """
        if not self.id:
            return one
        scheme = SCHEMES[one.scheme]
        if scheme.part != "socket" or not (scheme.dialler or scheme.has_address):
            raise UsageError(
                f"--formation-id is for a target with an address, and {one.text!r} has none: the "
                "suite tells a node:COMMAND its secret in MESHWIRE_FORMATION_FILE"
            )
        from meshwire_spec.schemas.targets import TargetFile  # noqa: PLC0415 - sockets only

        facts = TargetFile(
            addresses=[one.text],
            profile=PROFILE,
            dialect=self.dialect,
            formation_id=self.id,
            formation_secret_file=self.secret_file,
        )
        options = (
            f"--formation-id {shlex.quote(self.id)} "
            f"--formation-secret-file {shlex.quote(self.secret_file)} --dialect {self.dialect}"
        )
        return replace(one, facts=facts, variant=self.dialect, command=f"{options} {one.command}")


def _formation_of(given: CheckOptions) -> _Membership:
    """Return the formation of the options; raises UsageError if they do not belong together."""
    if given.formation_id is None and given.formation_secret_file is None:
        if given.dialect is not None:
            raise UsageError("--dialect is for --formation-id and --formation-secret-file")
        return _Membership()
    if not given.formation_id or given.formation_secret_file is None:
        raise UsageError("give --formation-id and --formation-secret-file, both or neither")
    if len(given.formation_id.encode()) > FORMATION_ID_MAX:
        raise UsageError(f"--formation-id has more than {FORMATION_ID_MAX} bytes")
    if not given.targets:
        raise UsageError(
            "--formation-id is for a target with an address; a target file says formation_id"
        )
    return _Membership(given.formation_id, str(given.formation_secret_file), given.dialect or "H1")


def _controlled(given: CheckOptions, control: Path) -> Attachment:
    """Return the target with its control socket; raises UsageError if it can have none."""
    one = parse_target(given.targets[0]) if given.targets and len(given.targets) == 1 else None
    if one is None or one.scheme in ("node", "stdio"):
        raise UsageError(
            "--control is for one target with an address; a target file names the socket as "
            "`control`, and the command of a node:COMMAND says --control {control}"
        )
    one = _formation_of(given).demanded_by(one)
    command = f"--control {shlex.quote(str(control))} {one.command}"
    return replace(one, control=control, command=command)


def _list(given: CheckOptions) -> None:
    from meshwire_conformance.report.listing import listing_json, listing_lines  # noqa: PLC0415 - few need it

    if given.report:
        raise UsageError("--report is for a run; the list of cases is --list --json")
    catalogue = load_listing()
    cases = catalogue.select(given.only or (), given.skip or (), given.kind or ())
    for line in [listing_json(catalogue, cases)] if given.as_json else listing_lines(cases):
        typer.echo(line)


def _tell(line: str) -> None:
    """Say at once what the person at the keyboard has to do."""
    try:
        typer.echo(f"meshwire: {line}", err=True)
    except OSError:
        # As in the progress: what is on standard error costs no verdict.
        give_up_output()


def _writers(texts: Sequence[str]) -> list[tuple[str, Path]]:
    """Return format and file of each report; raises UsageError if two have one file."""
    writers: dict[Path, tuple[str, Path]] = {}
    for text in texts:
        name, path = _writer(text)
        # A link to the same file counts as that file.
        if path.resolve() in writers:
            raise UsageError(f"--report {text!r}: another report is written to {path} too")
        writers[path.resolve()] = name, path
    return list(writers.values())


def _writer(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not separator or name not in WRITERS or not path:
        raise UsageError(f"--report {text!r}: expected {REPORT_FORMS}")
    if path == STDOUT:
        raise UsageError(f"--report {text!r}: standard output is {name}=/dev/stdout")
    # Checked before the run, so that no finished run lacks its report.
    folder = Path(path).parent
    if not folder.is_dir():
        raise UsageError(f"--report {text!r}: there is no folder {folder}")
    existing = Path(path) if Path(path).exists() else folder
    if Path(path).is_dir() or not os.access(existing, os.W_OK):
        raise UsageError(f"--report {text!r}: {path} cannot be written")
    return name, Path(path)


def _detail(*, quiet: bool, verbose: bool) -> "Detail":
    if quiet and verbose:
        raise UsageError("give --quiet or --verbose, not both")
    return "quiet" if quiet else "verbose" if verbose else "normal"


def _violations_max(max_failures: int | None, *, fail_fast: bool) -> int | None:
    if fail_fast and max_failures is not None:
        raise UsageError("give --fail-fast or --max-failures, not both")
    return 1 if fail_fast else max_failures


NOT_FORCED = frozenset({"", "0", "false", "no"})


def wants_colour(choice: str, environment: Mapping[str, str], stream: TextIO) -> bool:
    """Return True if output to this stream has colour.

    The option decides; under `auto` a NO_COLOR that is not empty, then a FORCE_COLOR that is
    neither empty nor a word for no, then whether the stream is a terminal.
    """
    if choice != "auto":
        return choice == "always"
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR", "").lower() not in NOT_FORCED:
        return True
    return stream.isatty() and environment.get("TERM") != "dumb"


def _show(found: Report, detail: "Detail", *, colour: bool) -> None:
    from meshwire_conformance.report.text import contact_lines, lines_of  # noqa: PLC0415 - after the run

    if found.nothing_ran:
        for run in found.runs:
            for line in contact_lines(run):
                typer.echo(line)
        raise Incomplete("; ".join(found.nothing_ran))
    for line in lines_of(found, colour=colour, detail=detail):
        # Given, or typer would take the colour out of what is piped.
        typer.echo(line, color=colour)
