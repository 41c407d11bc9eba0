"""What the failure of a connection usually means, for the operator."""

from typing import Final

NO_HANDSHAKE: Final = "one side may be open, or speak another dialect"
EXPLANATIONS: Final = {
    "authentication-failed": "another secret or formation id than this node's",
    "handshake-timeout": f"no handshake in time: {NO_HANDSHAKE}",
    "truncated": f"no whole handshake: {NO_HANDSHAKE}",
    "length-limit": f"no whole handshake: {NO_HANDSHAKE}",
    "cannot be reached: connection refused": "nothing listens at the address",
}
"""Reason why a connection was refused, has ended or could not be opened -> what it often means."""


def explained(reason: str) -> str:
    """Return a reason with what it usually means."""
    meaning = EXPLANATIONS.get(reason)
    return reason if meaning is None else f"{reason}: {meaning}"
