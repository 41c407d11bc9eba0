"""A command loads what it needs itself: a suite starts dozens of nodes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer.main

from meshwire_reference.cli.app import ADDERS, build_app

LIMIT_S = 600
HEAVY = ("websockets", "nacl", "rich.table", "meshwire_reference.oplog")


def commands(command: str = "") -> list[str]:
    """Return the names of the commands that are built for this one."""
    group = typer.main.get_command(build_app(command))
    return list(group.commands)  # type: ignore[attr-defined]


def test_every_command_is_built_for_itself() -> None:
    """And is in the table under the name that it has."""
    assert commands() == list(ADDERS)
    for command in ADDERS:
        assert command in commands(command)


@pytest.mark.parametrize("command", ["", "--help", "bogus"])
def test_without_a_command_all_are_built(command: str) -> None:
    """Help lists them, and the fault of an unknown name is said."""
    assert commands(command) == list(ADDERS)


@pytest.mark.process
def test_a_node_starts_without_what_other_commands_need() -> None:
    """That took a third of the processor time of a start."""
    script = (
        "import sys; from meshwire_reference.cli.app import build_app; build_app('run');"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=LIMIT_S
    )

    assert done.stdout == "[]\n"
