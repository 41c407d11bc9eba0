"""The command line of the suite and its tools, `meshwire`."""

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from meshwire_conformance import streams
from meshwire_conformance.commands.check import check_command
from meshwire_conformance.commands.decode import decode_command
from meshwire_conformance.commands.vectors import app as vectors_app
from meshwire_conformance.errors import SuiteError
from meshwire_conformance.verdicts import ExitCode

WRONG_ARGUMENTS: type[Exception] = typer.BadParameter.__mro__[2]
"""Root of what typer raises for wrong arguments; typer itself gives it no public name."""

SHOW_TRACEBACK = "MESHWIRE_TRACEBACK"
"""Set to anything, this variable shows the whole traceback of a fault of the suite."""
HELP = "Usage:"

app = typer.Typer(
    name="meshwire",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from meshwire_conformance.commands.about import version_line  # noqa: PLC0415 - reads all

        typer.echo(version_line())
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
    """Hold an implementation of the mesh sync protocol to its rules, and look into its bytes.

    Example: meshwire check stdio:./my-codec
    """


app.command("check")(check_command)
app.command("decode")(decode_command)
app.add_typer(vectors_app, name="vectors")


def main() -> None:
    """Run the command line; the console script. Ends with one clear line instead of a traceback."""
    try:
        streams.prepare()
        code = app(standalone_mode=False)
    except SuiteError as exc:
        sys.exit(_say(str(exc), exc.exit_code))
    except WRONG_ARGUMENTS as exc:
        message = getattr(exc, "format_message", exc.__str__)()
        if message.lstrip().startswith(HELP):
            # A command without the one it needs: its help, as it was laid out.
            print(message)  # noqa: T201 - the command line
            sys.exit(int(ExitCode.FAULT))
        sys.exit(_say(message, ExitCode.FAULT))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(_say("interrupted", ExitCode.INCOMPLETE))
    except BrokenPipeError:
        # The reader has gone: nothing is left to be said.
        streams.give_up_output()
        sys.exit(ExitCode.INCOMPLETE)
    except Exception as exc:  # noqa: BLE001 - nothing is swallowed: the run ends here, with exit 2
        if isinstance(exc, OSError) and streams.is_full(exc):
            streams.give_up_output()
            sys.exit(_say(f"the output cannot be written: {exc}", ExitCode.FAULT))
        sys.exit(_say(_fault_text(exc), ExitCode.FAULT))
    sys.exit(code or 0)


def _fault_text(exc: Exception) -> str:
    """A mistake of the suite itself in one line; the traceback where it was asked for."""
    if SHOW_TRACEBACK in os.environ:
        traceback.print_exception(exc)
    frames = traceback.extract_tb(exc.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    said = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    return f"suite fault: {said[:500]}{place}; {SHOW_TRACEBACK}=1 shows where in full"


def _say(message: str, code: ExitCode) -> int:
    print(f"meshwire: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201 - the command line
    return int(code)


if __name__ == "__main__":
    main()
