"""What the first bytes of a peer say about its dialect, where it is not that of this side.

Only for the log: peers that are configured otherwise wait for each other until a deadline passes,
and nothing on the wire says why.
"""

from collections.abc import Callable, Mapping
from typing import Final

from meshwire_reference.core.settings import Dialect
from meshwire_reference.wire.cursor import U16_BE, U32_LE
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.frames import KNOWN_TYPES
from meshwire_reference.wire.handshake import decode_formation_id, decode_formation_version
from meshwire_spec.numbers import FRAME_KEY_MAX, HMAC, REASONS

FIRST_MAX: Final = U16_BE.size + FRAME_KEY_MAX + 1
"""Bytes of a peer that are enough to tell its dialect."""
FORMATION: Final = "H1 or H2"
"""The dialect of a peer of which is known only that it awaits a handshake."""
REFUSED_HANDSHAKE: Final = frozenset(
    REASONS[name].code
    for name in ("authentication-failed", "handshake-timeout", "truncated", "length-limit")
)
"""Codes with which a peer closes that has heard no handshake: it never came, or frames did."""


def dialect_of(first: bytes) -> Dialect | None:
    """Return the dialect of a peer whose first bytes on a bidi stream these are, if they tell."""
    return next((dialect for dialect, fits in SHAPES.items() if fits(first)), None)


def _is_version(first: bytes) -> bool:
    """Return True for the first message of an H2 connector, or that of an early one."""
    if len(first) == U32_LE.size + HMAC and first.startswith(U32_LE.pack(HMAC)):
        return True
    try:
        decode_formation_version(first)
    except Malformed:
        return False
    return True


def _is_formation_id(first: bytes) -> bool:
    """Return True for the first message of an H1 initiator, with the name of a formation."""
    try:
        return bool(decode_formation_id(first).formation_id)
    except Malformed:
        return False


def _is_frame(first: bytes) -> bool:
    """Return True for the beginning of a frame of a known type, with its key."""
    if len(first) < U16_BE.size:
        return False
    type_at = U16_BE.size + U16_BE.unpack_from(first)[0]
    if not U16_BE.size < type_at < len(first) or first[type_at] not in KNOWN_TYPES:
        return False
    try:
        first[U16_BE.size : type_at].decode()
    except UnicodeDecodeError:
        return False
    return True


SHAPES: Final[Mapping[Dialect, Callable[[bytes], bool]]] = {
    Dialect.H2: _is_version,
    Dialect.H1: _is_formation_id,
    Dialect.OPEN: _is_frame,
}
"""Whether bytes are the beginning of a peer in each dialect; at most one fits."""
