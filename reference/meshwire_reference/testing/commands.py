"""Nodes as processes, and the commands of their users as processes, as an operator has them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

PROGRAM: Final = (sys.executable, "-P", "-m", "meshwire_reference.cli")
LIMIT_S: Final = 600
"""Seconds after which a command hangs; none takes as long."""


def environment() -> dict[str, str]:
    """Return the environment without what would change a command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESHWIRE_")}
    return kept | {"COLUMNS": "100"}


def run(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        (*PROGRAM, *arguments),
        input=given,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=environment(),
        check=False,
    )


class NodeProcess:
    """A node in a folder of its own, with a control socket; ended by SIGTERM at the end."""

    run_command = staticmethod(run)
    """Runs a command of its user to its end."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(exist_ok=True)
        self.control = folder / "node.sock"
        self.log = folder / "log"
        # The log has no reader, so it goes to a file.
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                (*PROGRAM, "run", "--control", str(self.control), *options),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(),
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise AssertionError(f"the node does not start: {self.log.read_text('utf-8')}")
        self.facts: dict[str, Any] = json.loads(line)

    @property
    def address(self) -> str:
        """The first address of the node."""
        return str(self.facts["addresses"][0])

    def command(self, name: str, *arguments: str, given: str | None = None) -> tuple[int, str, str]:
        """Run a command of its user; return exit code, output, and what it said on stderr."""
        done = self.run_command(name, "--control", str(self.control), *arguments, given=given)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=LIMIT_S)
