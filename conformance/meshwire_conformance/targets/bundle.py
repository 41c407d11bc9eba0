"""The bundled node as a target: how it is started, and in which dialects."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from meshwire_conformance.contracts import Attachment
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.extras import install_line

REFERENCE = "meshwire_reference"
"""The package of the bundled node. It is never imported, only started as a process."""
SHORT_DEADLINE_S = 1
"""Deadlines given to the bundled node, in seconds; short ones shorten the cases about them."""


def bundled() -> list[Attachment]:
    """Return the attachments of the bundled node; raises Incomplete if it is not installed."""
    return [bundled_codec(), *node_attachments(_reference_command())]


def bundled_codec() -> Attachment:
    """Return the attachment of the bundled codec harness; raises Incomplete without it."""
    command = f"{_reference_command()} codec"
    return Attachment("stdio", command, f"stdio:{command}", variant="codec")


def node_attachments(command: str) -> list[Attachment]:
    """Return one attachment per dialect for a node with the bundled node's command line.

    Serial cases that do not depend on the dialect run in the dialect open alone.
    """
    deadlines = f"--handshake-s {SHORT_DEADLINE_S} --frame-stall-s {SHORT_DEADLINE_S}"
    run_it = f"{command} run --listen tcp://127.0.0.1:0 {deadlines}"
    dialects = (("open", "--open", ""), ("H1", "--formation-id lab-formation", "open"))
    return [
        Attachment(
            "node",
            f"{run_it} {how}",
            f"node:{run_it} {how}",
            variant=dialect,
            serial_cases_in=elsewhere,
        )
        for dialect, how, elsewhere in dialects
    ]


def _reference_command() -> str:
    if find_spec(REFERENCE) is None:
        raise Incomplete(f"the bundled node is not installed: {install_line('node')}")
    return f"'{sys.executable}' -P -m {REFERENCE}.cli"
