"""`meshwire vectors`: coverage of the vectors, and agreement of both codecs on them."""

from typing import Annotated

import typer

from meshwire_conformance.commands.process import run_interruptibly
from meshwire_conformance.contracts import Settings
from meshwire_conformance.run.loading import load_listing
from meshwire_conformance.targets.bundle import bundled_codec
from meshwire_conformance.verdicts import ExitCode

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def vectors() -> None:
    """Check the codec vectors of the suite.

    Example: meshwire vectors stats
    """


@app.command()
def stats() -> None:
    """Print the number of vectors per field and fault class; exit 1 if a class has none.

    Example: meshwire vectors stats
    """
    from meshwire_conformance.self_check.coverage import lines_of, measure  # noqa: PLC0415 - loads the schema

    coverage = measure(load_listing().cases)
    for line in lines_of(coverage):
        typer.echo(line)
    raise typer.Exit(int(ExitCode.VIOLATIONS if coverage.empty() else ExitCode.PASSED))


@app.command()
def verify(seed: Annotated[int, typer.Option(help="Seed of the random messages.")] = 0) -> None:
    """Compare the schema codec with the reference codec; a disagreement is exit 2.

    Example: meshwire vectors verify --seed 7
    """
    from meshwire_conformance.self_check.verify import verify as hold  # noqa: PLC0415 - loads the schema

    settings = Settings(seed=seed)
    count, found = run_interruptibly(hold(load_listing().cases, bundled_codec(), settings))
    for line in found:
        typer.echo(line)
    typer.echo(f"{count} messages sent to both codecs, {len(found)} disagreements")
    raise typer.Exit(int(ExitCode.FAULT if found else ExitCode.PASSED))
