"""The bundled node as a target: how it is started, and in which dialects."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

from meshwire_conformance.catalogue.case import DIALS_OVER
from meshwire_conformance.contracts import Attachment
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.extras import install_line
from meshwire_conformance.targets.base import CONTROL_HERE, MESH_HERE

REFERENCE = "meshwire_reference"
"""The package of the bundled node. It is never imported, only started as a process."""
SHORT_DEADLINE_S = 1.0
"""Deadlines given to the bundled node on an idle machine, in seconds.

Short ones shorten the cases about them.
"""
SAMPLE_S = 0.02
"""CPU time in seconds of the work that measures how busy the machine is."""
DIALS = 12
"""Number of addresses that the bundled node dials, so that several cases have a connection."""
QUIC_DIALS = 4
"""Number of them over QUIC: few cases need them, and each dial costs both sides a handshake."""
DIALECTS = ("open", "H1", "H2")
"""Variants of the bundled node in which it waits for connections."""
CONTROL = "control"
"""Variant of the bundled node that offers its control socket, as a node for tests."""
LIBRARY_OF_QUIC = "aioquic"
"""The package without which neither the suite nor the bundled node has QUIC."""
QUIC = "quic"
"""Variant of the bundled node that waits for connections over QUIC."""
OVER_QUIC = {QUIC: ("binding:quic",), "quic-dials": (f"{DIALS_OVER}:quic", "dials-named")}
"""Variants of the bundled node over QUIC, and the needs of the cases about QUIC itself."""
HEARTBEAT_S = 0.5
"""Time between heartbeats of the bundled node in one attachment, in seconds."""
SHORT_CAP = 2**20
"""Payload cap of the bundled node in one attachment, in bytes: documents may be longer."""
HOUR_S = 3600
"""Time between heartbeats of the bundled node whose clock the suite moves, in seconds: none comes
by itself."""
DAY_S = 86400
"""Time after which that node leaves a silent peer, in seconds."""
SERVED = (
    f"--control {CONTROL_HERE} --test-control --heartbeat-s {HOUR_S} --dead-peer-s {DAY_S} "
    "--graveyard-days 7 --connect {dial} "
    f"--authority {MESH_HERE} --enroll-listen tcp://127.0.0.1:0"
)
"""Options of that node, which dials one address and enrolls others."""
REDIAL_S = 0.1
"""Longest wait of the bundled node before it dials again, in seconds."""
# A suite on a busy machine is no dead peer (LV-010).
DIALLING = f"--redial-s {REDIAL_S:g} --dead-peer-s 0"
"""Options of each variant of the bundled node that dials."""


def strain(
    clock: Callable[[], float] = time.perf_counter, cpu: Callable[[], float] = time.thread_time
) -> float:
    """Return by how much the wall time of a short calculation exceeds its CPU time, at least 1."""
    began, used = clock(), cpu()
    while cpu() - used < SAMPLE_S:
        pass
    return max(1.0, (clock() - began) / (cpu() - used))


def short_deadline_s(timeout_scale: float = 1.0, busy: float | None = None) -> float:
    """Return the deadlines to give to the bundled node, in seconds.

    A busy machine makes them longer, since the suite itself is late on it; so does a greater scale.
    """
    factor = strain() if busy is None else busy
    return round(SHORT_DEADLINE_S * factor * max(1.0, timeout_scale), 1)


def bundled(timeout_scale: float = 1.0, *, full: bool = True) -> list[Attachment]:
    """Return the attachments of the bundled node; raises Incomplete if it is not installed.

    Without `full` each case that fits several dialects runs in one of them, and over QUIC only
    those about QUIC. Where its library is not installed, the node is not started over it.
    """
    command, deadline_s = _reference_command(), short_deadline_s(timeout_scale)
    nodes = node_attachments(command, deadline_s, beside=True)
    if find_spec(LIBRARY_OF_QUIC) is None:
        nodes = [one for one in nodes if one.variant not in OVER_QUIC]
    if not full:
        shares = {**dict.fromkeys(DIALECTS, DIALECTS), CONTROL: (CONTROL,), QUIC: (QUIC,)}
        nodes = [
            replace(
                one,
                shared_with=shares.get(one.variant, ()),
                only=OVER_QUIC.get(one.variant, one.only),
            )
            for one in nodes
        ]
    return [bundled_codec(), *nodes, bundled_oplog(command)]


def bundled_oplog(command: str) -> Attachment:
    """Return the attachment of a node of `oplog/1` with the bundled node's command line."""
    run_it = (
        f"{command} run --listen ws://127.0.0.1:0 "
        f"--control {CONTROL_HERE} --test-control --mesh-loopback"
    )
    return Attachment("oplog-node", run_it, f"oplog-node:{run_it}", variant="oplog", beside=True)


def bundled_codec() -> Attachment:
    """Return the attachment of the bundled codec harness; raises Incomplete without it."""
    command = f"{_reference_command()} codec"
    return Attachment("stdio", command, f"stdio:{command}", variant="codec")


def node_attachments(command: str, deadline_s: float, *, beside: bool = False) -> list[Attachment]:
    """Return the attachments for a node with the bundled node's command line.

    There is one for each dialect: that of H1 serves initiators of H2 too, that of H2 does not, and
    one of H1 alone has the cases about that. In three the node dials, for the cases about that
    alone: as a node that proves itself, first in H1 or first in H2, and as an open one that
    reconciles. The first of these also runs a share of the other cases, over connections that the
    node dials.
    One proves itself where it has accepted and wants that of those whom it has dialled.
    One waits on QUIC, for every case that does not need the lab binding, and one dials over it.
    One more offers its control socket, as a node for tests, for the cases that need one.
    `deadline_s` is its deadline for a handshake, and that inside a frame, in seconds.
    Serial cases that do not depend on the dialect run in the dialect open alone. With `beside` they
    run beside each other: every node listens on a port of its own.
    """
    deadlines = f"--handshake-s {deadline_s:g} --frame-stall-s {deadline_s:g}"
    runs = [
        (variant, f"{command} run --listen {_listens(variant)} {deadlines} {how}", elsewhere, only)
        for variant, how, elsewhere, only in _node_rows()
    ]
    return [
        Attachment(
            "node",
            run_it,
            f"node:{run_it}",
            variant=variant,
            serial_cases_in=elsewhere,
            only=only,
            dialled=variant == "dials",
            beside=beside,
        )
        for variant, run_it, elsewhere, only in runs
    ]


def _listens(variant: str) -> str:
    """Return the address on which a variant listens."""
    return f"{'quic' if variant in OVER_QUIC else 'tcp'}://127.0.0.1:0"


def _node_rows() -> tuple[tuple[str, str, str, tuple[str, ...]], ...]:
    """Return each variant of the node: its options, where serial cases run, and what alone runs."""
    member = "--formation-id lab-formation"
    client = f"--open --reconcile --heartbeat-s {HEARTBEAT_S:g}"
    dials = DIALLING + DIALS * " --connect {dial}"
    dials_quic = DIALLING + QUIC_DIALS * " --connect {dial-quic}"
    return (
        ("open", "--open", "", ()),
        ("H1", member, "open", ()),
        ("H2", f"{member} --dialect H2 --no-detection", "open", ()),
        ("H1-alone", f"{member} --no-detection", "", ("without:detection dialect:H1",)),
        ("dials", f"{member} {dials}", "", ("dials",)),
        (
            "dials-H2",
            f"{member} --dialect H2 {dials}",
            "",
            ("dials dialect:H2", "dials dialect:secret"),
        ),
        (
            "reconciles",
            f"{client} {dials} --payload-cap {SHORT_CAP}",
            "",
            ("reconciles", "dials dialect:open", f"cap:{SHORT_CAP}"),
        ),
        (QUIC, "--open", "open", ()),
        (
            "quic-dials",
            f"{member} {dials_quic} --connect {{dial-quic-named}}",
            "",
            ("dials", "dials-named"),
        ),
        (
            "proves",
            f"{member} --unproven refuse {dials} --connect {{dial-named}}",
            "",
            ("mutual-proof", "dials-named"),
        ),
        (CONTROL, f"--open {SERVED}", "", ("control",)),
    )


def _reference_command() -> str:
    if find_spec(REFERENCE) is None:
        raise Incomplete(f"the bundled node is not installed: {install_line('node')}")
    return f"'{sys.executable}' -P -m {REFERENCE}.cli"
