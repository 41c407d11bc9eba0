"""`meshwire explain`: what the pages and the suite say of a rule, case, reason or defect."""

from typing import Annotated

import typer

from meshwire_conformance.run.loading import load_listing


def _complete(incomplete: str) -> list[str]:
    """Return the names that begin so, for the completion of a shell."""
    from meshwire_conformance.report.lookup import names_of  # noqa: PLC0415 - beside its only use

    return [name for name in names_of(load_listing()) if name.startswith(incomplete)]


def explain_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID|REASON",
            help="A rule (FR-002), case (MW-1016), reason (bad-utf8) or defect (D-88).",
            autocompletion=_complete,
        ),
    ],
) -> None:
    """Print what is known of an id: rule text, why, deployed peers, harm, bytes, cases, page.

    Example: meshwire explain FR-002
    """
    from meshwire_conformance.report.lookup import explained  # noqa: PLC0415 - few need it

    for line in explained(name, load_listing()):
        typer.echo(line)
