"""The command line of the suite and its tools, `meshwire`."""

import sys
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
        sys.exit(_say(message, ExitCode.FAULT))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(_say("interrupted", ExitCode.INCOMPLETE))
    except BrokenPipeError:
        # The reader has gone: nothing is left to be said.
        streams.give_up_output()
        sys.exit(ExitCode.INCOMPLETE)
    except OSError as exc:
        streams.give_up_output()
        what = "the output cannot be written" if streams.is_full(exc) else "fault of the suite"
        sys.exit(_say(f"{what}: {exc}", ExitCode.FAULT))
    sys.exit(code or 0)


def _say(message: str, code: ExitCode) -> int:
    print(f"meshwire: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201 - the command line
    return int(code)


if __name__ == "__main__":
    main()
