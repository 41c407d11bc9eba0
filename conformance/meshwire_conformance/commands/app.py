"""The command line as typer reads it: which commands there are, and wrong arguments as errors."""

from typing import Annotated

import typer

from meshwire_conformance.commands.check import check_command
from meshwire_conformance.commands.decode import decode_command
from meshwire_conformance.commands.vectors import app as vectors_app
from meshwire_conformance.errors import UsageError
from meshwire_conformance.verdicts import ExitCode

WRONG_ARGUMENTS: type[Exception] = typer.BadParameter.__mro__[2]
"""Root of what typer raises for wrong arguments; typer itself gives it no public name."""
HELP = "Usage:"
INTERRUPTED = 130
"""What typer makes of an interrupt; no command of ours ends so."""

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


def run_arguments() -> int:
    """Do what the arguments of the process say; returns the exit code.

    Raises UsageError for wrong arguments, and KeyboardInterrupt and whatever a command raises.
    """
    try:
        code: int | None = app(standalone_mode=False)
    except WRONG_ARGUMENTS as exc:
        message = getattr(exc, "format_message", exc.__str__)()
        if not message.lstrip().startswith(HELP):
            raise UsageError(message) from exc
        # A command without the one it needs: its help, as it was laid out.
        typer.echo(message)
        return int(ExitCode.FAULT)
    except typer.Abort:
        raise KeyboardInterrupt from None
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code or 0
