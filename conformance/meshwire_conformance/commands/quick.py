"""`meshwire smoke` and `meshwire compare`: a first look at a target, and two codecs compared."""

from typing import Annotated

import typer

from meshwire_conformance.commands.check import CheckOptions, check_command
from meshwire_conformance.commands.process import run_interruptibly
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import UsageError
from meshwire_conformance.run.loading import load_listing
from meshwire_conformance.targets.base import parse_target
from meshwire_conformance.verdicts import ExitCode
from meshwire_spec.schemas.vectors import Vector

SMOKE_OVER_SOCKETS = ("MW-5001", "MW-5002", "MW-5003", "MW-5005", "MW-5006", "MW-5008")
"""Cases over connections that every node passes that exchanges documents at all."""
DIFFERENCES_SHOWN = 25
"""Disagreements that are shown with their bytes."""
STDIO = "stdio"
Scale = Annotated[float, typer.Option(min=0.1, max=1000.0, help="Factor for every deadline.")]


def smoke_command(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="As for check.")],
    timeout_scale: Scale = 1.0,
    writes_are_ok: Annotated[
        bool,
        typer.Option("--writes-are-ok", help="Allow a target on another machine, as for check."),
    ] = False,
) -> None:
    """Run a few easy cases: one valid message of each kind, or the first exchanges of documents.

    The exit codes are those of check. It says nothing of conformance: that is `meshwire check`.

    Example: meshwire smoke stdio:./my-codec
    """
    check_command(
        CheckOptions(
            targets=[target],
            only=smoke_cases(),
            level="wire",
            timeout_scale=timeout_scale,
            quiet=True,
            writes_are_ok=writes_are_ok,
        )
    )


def smoke_cases() -> list[str]:
    """Return the ids of the cases of a smoke test: the shortest valid vector of each kind."""
    shortest: dict[str, tuple[int, str]] = {}
    for case in load_listing().cases:
        if not isinstance(case.body, Vector) or case.demanded("strict") != "valid":
            continue
        found = (len(case.body.hex), case.id)
        shortest[case.kind] = min(found, shortest.get(case.kind, found))
    return [*(case for _, case in shortest.values()), *SMOKE_OVER_SOCKETS]


def compare_command(
    one: Annotated[str, typer.Argument(metavar="A", help="A codec, as stdio:COMMAND.")],
    other: Annotated[str, typer.Argument(metavar="B", help="A codec, as stdio:COMMAND.")],
    seed: Annotated[int, typer.Option(help="Seed of the random messages.")] = 0,
    timeout_scale: Scale = 1.0,
) -> None:
    """Ask two codecs the same and print where they differ, with bytes and rule.

    Both are asked every vector, and random messages of each kind with mutations. Neither is
    presumed to be right; what the schema says of the bytes is shown beside.

    Exit codes: 0 they agree, 1 they differ, 2 wrong use, 3 one of them does not answer.

    Example: meshwire compare stdio:./my-codec "stdio:meshwire-node codec"
    """
    from meshwire_conformance.self_check.comparing import (  # noqa: PLC0415 - loads the schema
        compared,
        disagreement_lines,
    )

    settings = Settings(seed=seed, timeout_scale=timeout_scale)
    pair = (_codec(one), _codec(other))
    count, found = run_interruptibly(compared(load_listing().cases, pair, settings))
    for disagreement in found[:DIFFERENCES_SHOWN]:
        for line in disagreement_lines(disagreement):
            typer.echo(line)
    if len(found) > DIFFERENCES_SHOWN:
        typer.echo(f"... and {len(found) - DIFFERENCES_SHOWN} more")
    typer.echo(f"{count} messages sent to both codecs, {len(found)} disagreements")
    raise typer.Exit(int(ExitCode.VIOLATIONS if found else ExitCode.PASSED))


def _codec(text: str) -> Attachment:
    target = parse_target(text)
    if target.scheme != STDIO:
        raise UsageError(f"{text!r} is no codec: compare asks two codecs, as stdio:COMMAND")
    return target
