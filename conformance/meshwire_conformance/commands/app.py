"""The command line as typer reads it: its commands, and every failure as one line and exit code."""

import inspect
import os
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from meshwire_conformance.commands import process
from meshwire_conformance.commands.adapter import new_adapter_command
from meshwire_conformance.commands.check import CheckOptions, check_command
from meshwire_conformance.commands.decode import decode_command
from meshwire_conformance.commands.explain import explain_command
from meshwire_conformance.commands.ledger import app as ledger_app
from meshwire_conformance.commands.quick import compare_command, smoke_command
from meshwire_conformance.commands.report_diff import app as report_app
from meshwire_conformance.commands.vectors import app as vectors_app
from meshwire_conformance.errors import SuiteError, UsageError, fault_text
from meshwire_conformance.hints import did_you_mean
from meshwire_conformance.verdicts import ExitCode

WRONG_ARGUMENTS: type[Exception] = typer.BadParameter.__mro__[2]
"""Root of what typer raises for wrong arguments; typer itself gives it no public name."""
HELP = "Usage:"
NEVER_SUGGESTED = frozenset({"--writes-are-ok"})
"""Options that allow harm, so that only a person who knows them may write them."""
INTERRUPTED = 130
"""Exit code that typer gives an interrupt; no command of ours ends with it."""
NAME_SHOWN = 200
"""Characters of the name of a file that a message shows."""
SHOW_TRACEBACK = "MESHWIRE_TRACEBACK"
"""Name of the environment variable that enables tracebacks of faults of the suite."""

app = typer.Typer(
    name="meshwire",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from meshwire_conformance.catalogue.version import version_line  # noqa: PLC0415 - beside its only use
        from meshwire_conformance.run.loading import load_listing  # noqa: PLC0415 - reads all

        typer.echo(version_line(load_listing().digest))
        raise typer.Exit


@app.callback()
def meshwire(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Print version, spec revision and suite digest.",
        ),
    ] = False,
) -> None:
    """Test an implementation of the mesh sync protocol, and decode its messages.

    Example: meshwire check stdio:./my-codec
    """


def _reading(options: type[Any], command: Callable[[Any], None]) -> Callable[..., None]:
    """Return a function with a parameter for each field of `options`, which typer can read."""

    @wraps(command)
    def call(**values: Any) -> None:
        command(options(**values))

    # Typer reads the parameters off it.
    vars(call)["__signature__"] = inspect.signature(options)
    return call


app.command("check")(_reading(CheckOptions, check_command))
app.command("decode")(decode_command)
app.command("explain")(explain_command)
app.command("new-adapter")(new_adapter_command)
app.command("smoke")(smoke_command)
app.command("compare")(compare_command)
app.add_typer(ledger_app, name="ledger")
app.add_typer(report_app, name="report")
app.add_typer(vectors_app, name="vectors")


def run() -> int:
    """Run the command line; returns the exit code, after one clear line instead of a traceback.

    Raises KeyboardInterrupt if a command was interrupted and has nothing to report.
    """
    try:
        process.prepare_streams()
        return _run_arguments()
    except SuiteError as exc:
        return _say(str(exc), exc.exit_code)
    except BrokenPipeError:
        # The reader has closed the pipe: no more output is possible.
        process.give_up_output()
        return int(ExitCode.INCOMPLETE)
    except Exception as exc:  # noqa: BLE001 - nothing is swallowed: the run ends here, with exit 2
        if isinstance(exc, OSError) and process.is_full(exc):
            process.give_up_output()
            return _say(f"the output cannot be written: {exc}", ExitCode.FAULT)
        if isinstance(exc, OSError) and process.is_path_fault(exc):
            named = str(exc.filename)[:NAME_SHOWN]
            return _say(f"{named!r} cannot be used: {exc.strerror}", ExitCode.FAULT)
        return _say(_fault_text(exc), ExitCode.FAULT)


def _run_arguments() -> int:
    """Run the command that the arguments name; returns the exit code.

    Raises UsageError for wrong arguments, KeyboardInterrupt, BrokenPipeError, and whatever a
    command raises.
    """
    try:
        code: int | None = app(standalone_mode=False)
    except WRONG_ARGUMENTS as exc:
        message = _hinted(exc)
        if not message.lstrip().startswith(HELP):
            raise UsageError(message) from exc
        # A command group without a command: its help is printed unchanged.
        typer.echo(message)
        return int(ExitCode.FAULT)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except SystemExit as exc:
        # Typer raises this too if the reader has closed the pipe, with its own exit code.
        if isinstance(exc.__context__, BrokenPipeError):
            raise exc.__context__ from None
        raise
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    # Buffered output counts as written only now.
    sys.stdout.flush()
    return code or 0


def _hinted(exc: Exception) -> str:
    """Return the message of an exception of typer, with its suggestions in our words."""
    possible = getattr(exc, "possibilities", None)
    if possible is None:
        return str(getattr(exc, "format_message", exc.__str__)())
    safe = [option for option in possible if option not in NEVER_SUGGESTED]
    hint = did_you_mean(getattr(exc, "option_name", ""), safe)
    return "; ".join(filter(None, (str(getattr(exc, "message", exc)), hint)))


def _fault_text(exc: Exception) -> str:
    """Return a fault of the suite itself as one line; prints the traceback if it was asked for."""
    if SHOW_TRACEBACK in os.environ:
        traceback.print_exception(exc)
    return f"suite fault: {fault_text(exc)}; {SHOW_TRACEBACK}=1 shows where in full"


def _say(message: str, code: ExitCode) -> int:
    try:
        print(f"meshwire: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201 - the command line
    except OSError:
        process.give_up_output()
    return int(code)
