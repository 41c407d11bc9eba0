"""`meshwire report`: what changed between two runs."""

from pathlib import Path
from typing import Annotated

import typer

from meshwire_conformance.verdicts import ExitCode

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def report() -> None:
    """Compare reports of runs.

    Example: meshwire report diff old.json new.json
    """


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="JSON report of the older run.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="JSON report of the newer run.")],
) -> None:
    """Print which cases broke, were mended, or fail otherwise.

    Exit codes: 0 nothing broke, 1 a case fails that did not, 2 wrong use.

    Example: meshwire report diff old.json new.json
    """
    from meshwire_conformance.report.comparison import (  # noqa: PLC0415 - few need it
        compare,
        comparison_lines,
        read_report,
    )

    found = compare(read_report(old), read_report(new))
    for line in comparison_lines(found):
        typer.echo(line)
    raise typer.Exit(int(ExitCode.VIOLATIONS if found.is_worse else ExitCode.PASSED))
