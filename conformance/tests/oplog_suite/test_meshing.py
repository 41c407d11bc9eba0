"""Transcripts of a mesh whose target is not set up for one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from meshwire_conformance.verdicts import ExitCode


@pytest.mark.process
def test_a_mesh_that_the_target_refuses_to_begin_is_no_violation() -> None:
    """A node on loopback needs an option to name its address to others, which it says."""
    meshwire = f"'{sys.executable}' -m meshwire_reference.cli"
    node = f"{meshwire} run --listen ws://127.0.0.1:0 --control {{control}} --test-control"
    check = (sys.executable, "-m", "meshwire_conformance.commands.main", "check")
    done = subprocess.run(
        (*check, f"oplog-node:{node}", "--only", "MW-9130", "--timeout-scale", "4"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == ExitCode.INCOMPLETE
    assert "--mesh-loopback" in done.stdout
    assert "FAIL" not in done.stdout
