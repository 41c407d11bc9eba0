"""For tests: run commands of the node in this process.

To start an interpreter and to load the node takes far longer than what such a command does. A test
about the process itself (signals, closed streams, a second process) starts one.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

from meshwire_reference.cli.app import main
from meshwire_reference.testing.commands import NodeProcess, environment


def run_here(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as `meshwire_reference.testing.commands.run` does.

    Output and exit code are those of a process, since both pass through the console script.
    """
    source, *written = (io.BytesIO(data) for data in ((given or "").encode(), b"", b""))
    stdin, stdout, stderr = (
        io.TextIOWrapper(one, "utf-8", write_through=True) for one in (source, *written)
    )
    code: object = None
    with (
        mock.patch.object(sys, "argv", ["meshwire-node", *arguments]),
        mock.patch.object(sys, "stdin", stdin),
        mock.patch.dict(os.environ, environment(), clear=True),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as left:
            code = left.code
    assert isinstance(code, int), "each end of a command has a number"
    said, complained = (one.getvalue().decode() for one in written)
    return subprocess.CompletedProcess(arguments, code, said, complained)


class NodeHere(NodeProcess):
    """A node as a process, whose user gives commands in this process."""

    run_command = staticmethod(run_here)
