"""What must occur over many seeds: every fault, transition and reason but those listed here.

A worker has to die during a call too.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from meshwire_reference.simulation.bad_streams import HOSTILE
from meshwire_reference.simulation.node import BEGUN_ANEW
from meshwire_reference.simulation.plan import FAULTS
from meshwire_reference.simulation.transitions import transition_names

REFUSED: Final = (*HOSTILE, "document-limit", "internal")
"""Reasons for which a node of the run refuses a stream at some time."""
EXEMPT: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "streams of a handshake are neither cut nor malformed": (
            "acceptor: awaiting id, stream ended early, or a malformed message",
            "acceptor: awaiting response, stream ended early, or a malformed message",
            "acceptor of H2: awaiting version, any other first byte received",
            "acceptor of H2: awaiting version, stream ended early, or a malformed message",
            "acceptor of H2: awaiting response, stream ended early, or a malformed message",
            "detection: awaiting first bytes, stream ended early, or a malformed message",
            "initiator: awaiting challenge, stream ended early, or a malformed message",
            "initiator: awaiting result, stream ended early, or a malformed message",
            "session: unproven, connection refused",
        ),
        "an acceptor that accepts has the key that it proves to have afterwards (HS-078)": (
            "session: ready, connection refused",
        ),
        "no peer is of 0.6": ("detection: awaiting first bytes, 20 00 00 00 received",),
        "every node has the same formation id, serves both dialects, and dials others": (
            "initiator: awaiting challenge, formation_challenge of another formation received",
            "initiator: awaiting challenge, challenge of the other dialect received",
            (
                "initiator: awaiting challenge, "
                "formation_challenge with an outstanding nonce of this node received"
            ),
        ),
        "a node ends by a crash alone, and closes when its store fails": (
            "session: unproven, node ends",
            "session: rejected, node ends",
        ),
        "what is cut is a right frame, and nothing of it waits": (
            "inbound stream: cut off, RESET received, or connection ended",
            "inbound stream: cut off, fault found",
        ),
        "a peer answers the few items of a run at once and without a fault": (
            "own run: opening, fault found",
            "own run: opening, no answer in time",
            "own run: sending, no answer in time",
            "own run: awaiting an answer, fault found",
            "own run: awaiting an answer, no answer in time",
            "own run: working on an answer, answer leaves something open",
            "own run: working on an answer, fault found",
            "own run: working on an answer, no answer in time",
            "own run: sending FIN, no answer in time",
            "own run: complete, fault found",
            "own run: complete, no answer in time",
        ),
        "no time passes in these states": (
            "own run: idle, connection ended",
            "own run: opening, connection ended",
            "own run: sending, connection ended",
            "own run: working on an answer, connection ended",
            "own run: sending FIN, connection ended",
        ),
    }
)
"""Transitions that need not occur, by the reason; some of them do now and then."""


def expected_names() -> Iterator[str]:
    """Yield the name of everything that must be counted at least once."""
    yield from (f"fault: {kind}" for kind in FAULTS)
    yield from (f"refused: {reason}" for reason in REFUSED)
    exempt = {f"transition: {name}" for names in EXEMPT.values() for name in names}
    assert exempt <= set(transition_names()), "a transition that is exempt exists"
    yield from (name for name in transition_names() if name not in exempt)
    yield f"call: {BEGUN_ANEW}"
