"""Peers that greet correctly and absorb everything after it pass next to nothing.

The command is run as its users run it. The socket peers keep the lab binding; those of dialect H1
complete the handshake too, so that nothing but their answers can tell them from a node.
"""

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meshwire_conformance.verdicts import APPLICABLE, ExitCode, Verdict

pytestmark = pytest.mark.process

PROGRAMS = Path(__file__).parents[1] / "programs"
CEILING = 0.02
"""No peer that absorbs everything may pass this share of its applicable cases."""
OVER_WITHIN_S = 600
"""Seconds after which a run hangs; one takes a few."""
HURRIED = ("--timeout-scale", "0.1")
"""Socket peers answer nothing, so that nearly every case waits to its end: shorter here."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program, how it is attached, and with which options."""

    scheme: str
    words: tuple[str, ...]
    options: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The target as the command line takes it."""
        return f"{self.scheme}:{shlex.join((sys.executable, *self.words))}"


def codec(mode: str) -> Peer:
    """A codec harness whose answer to hello is right."""
    return Peer("stdio", (str(PROGRAMS / "codec_peer.py"), mode))


def node(how: str, dialect: str) -> Peer:
    """A node that admits every peer."""
    return Peer("node", (str(PROGRAMS / "socket_peer.py"), how, dialect), HURRIED)


PEERS = {
    "always error truncated": codec("truncated"),
    "always the first result": codec("hello-again"),
    "always the first message": codec("first"),
    "an empty result after hello": codec("empty"),
    "echo of the request": codec("echo"),
    "accept, then close": node("close", "open"),
    "shake hands, then close": node("close", "H1"),
    "read, never answer": node("silent", "open"),
    "shake hands, never answer": node("silent", "H1"),
    "echo on every stream": node("echo", "open"),
    "shake hands, then echo": node("echo", "H1"),
}


def report_on(peer: Peer, folder: Path) -> dict[str, Any]:
    """The report of a whole run of the command, which must come to an end."""
    path = folder / "report.json"
    command = [sys.executable, "-m", "meshwire_conformance.commands.main", "check", peer.target]
    done = subprocess.run(
        [*command, *peer.options, "--report", f"json={path}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=OVER_WITHIN_S,
    )

    assert done.returncode == ExitCode.VIOLATIONS, done.stdout[-2000:] + done.stderr
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


@pytest.mark.socket
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_absorbs_everything_passes_next_to_nothing(name: str, tmp_path: Path) -> None:
    """Under two in a hundred of the cases that apply, and exit 1."""
    (run,) = report_on(PEERS[name], tmp_path)["runs"]
    applicable = [case for case in run["cases"] if case["verdict"] in APPLICABLE]
    passed = [case["id"] for case in applicable if case["verdict"] == Verdict.PASS]

    assert len(passed) < CEILING * len(applicable), passed
