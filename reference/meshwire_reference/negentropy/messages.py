"""The bytes of a message, read and written at the pace of a session: a range at a time.

The reader refuses whatever an honest V1 sender cannot have written, and holds no more than one
range. The codec of whole messages is `meshwire_reference.wire.reconciliation`.
"""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Final

from meshwire_reference.negentropy.errors import Refused
from meshwire_reference.negentropy.storage import INFINITY, TIMESTAMP
from meshwire_spec.numbers import (
    NEGENTROPY_FINGERPRINT,
    NEGENTROPY_ID,
    NEGENTROPY_PREFIX_MAX,
    NEGENTROPY_TIMESTAMP_MAX,
    U64_MAX,
    NegentropyMode,
)

CONTINUES: Final = 0x80
DIGIT_BITS: Final = 7
DIGIT: Final = 0x7F

SKIP: Final = int(NegentropyMode.SKIP)
FINGERPRINT: Final = int(NegentropyMode.FINGERPRINT)
ID_LIST: Final = int(NegentropyMode.ID_LIST)

SKIP_MODE: Final = b"%c" % SKIP
FINGERPRINT_MODE: Final = b"%c" % FINGERPRINT
ID_LIST_MODE: Final = b"%c" % ID_LIST

SUM_MASK: Final = (1 << 8 * NEGENTROPY_ID) - 1


@lru_cache(maxsize=4096)  # counts and steps of a run are few
def encode_varint(value: int) -> bytes:
    """Return a number of up to 64 bits in its only form."""
    if value < CONTINUES:
        return value.to_bytes(1, "big")
    if value < CONTINUES << DIGIT_BITS:
        return bytes((value >> DIGIT_BITS | CONTINUES, value & DIGIT))
    digits = [value & DIGIT]
    while value := value >> DIGIT_BITS:
        digits.append((value & DIGIT) | CONTINUES)
    digits.reverse()
    return bytes(digits)


_VARINTS: Final = tuple(encode_varint(value) for value in range(CONTINUES))
"""The varints of one byte, which most are."""


_NO_PREFIX: Final = _VARINTS[0]


def read_varint(message: bytes, start: int) -> tuple[int, int]:
    """Return a number and the place behind it; raises Refused where it is not in its only form."""
    value = 0
    for at in range(start, len(message)):
        byte = message[at]
        value = (value << DIGIT_BITS) | (byte & DIGIT)
        # NG-003: judged as the digits come, so that a long one costs no more than ten of them.
        if value > U64_MAX or (byte == CONTINUES and at == start):
            raise Refused("bad-varint", start)
        if byte < CONTINUES:
            return value, at + 1
    # NG-009
    raise Refused("truncated", start)


def fingerprint(total: int, count: int) -> bytes:
    """Return the fingerprint of a range from the sum of its ids and their number."""
    number = _VARINTS[count] if count < CONTINUES else encode_varint(count)
    content = (total & SUM_MASK).to_bytes(NEGENTROPY_ID, "little") + number
    return sha256(content).digest()[:NEGENTROPY_FINGERPRINT]


EMPTY_TAIL: Final = b"\x00\x00\x01" + fingerprint(0, 0)
"""A V1 server whose last id list ends at infinity and fills the frame adds this empty range."""


def read_ranges(message: bytes) -> Iterator[tuple[bytes, int, bytes]]:  # noqa: C901, PLR0912 - see below
    """Yield key of the upper bound, mode and payload of each range behind the version byte.

    The payload of an id list is its ids in one piece. Raises Refused at the first field that is
    wrong, after the ranges before it; the caller takes all of them to know that none is.
    """
    # Longer than 40 lines: a run spends most of its time here, and calls would double it. A varint
    # of one byte and a step of two are read in place; anything else, and the end of the message,
    # is for `read_varint`.
    at = 1
    end = len(message)
    previous = b""
    timestamp = 0
    while at < end:
        start = at
        if previous >= INFINITY:
            if message[start:] == EMPTY_TAIL:
                return
            # NG-006
            raise Refused("bad-bound", start)
        step = message[at]
        at += 1
        if step > CONTINUES and at < end and message[at] < CONTINUES:
            step = (step & DIGIT) << DIGIT_BITS | message[at]
            at += 1
        elif step >= CONTINUES:
            step, at = read_varint(message, start)
        if step:
            timestamp += step - 1
            if timestamp > NEGENTROPY_TIMESTAMP_MAX:
                # NG-005
                raise Refused("bad-bound", start)
            bound = timestamp.to_bytes(TIMESTAMP, "big")
        else:
            bound = INFINITY
        size = message[at] if at < end else CONTINUES
        if size:
            prefix, at = _read_prefix(message, at)
            bound += prefix
        else:
            at += 1
        if bound <= previous:
            # NG-011
            raise Refused("bad-bound", start)
        previous = bound
        mode = message[at] if at < end else CONTINUES
        place = at + 1
        at = place + NEGENTROPY_FINGERPRINT
        if mode != FINGERPRINT:
            mode, place, at = _find_payload(message, place - 1)
        if at > end:
            # NG-009
            raise Refused("truncated", place)
        yield bound, mode, message[place:at]


def _read_prefix(message: bytes, start: int) -> tuple[bytes, int]:
    size, at = read_varint(message, start)
    if size > NEGENTROPY_PREFIX_MAX:
        # NG-004
        raise Refused("bad-bound", start)
    end = at + size
    if end > len(message):
        # NG-009
        raise Refused("truncated", at)
    return message[at:end], end


def _find_payload(message: bytes, start: int) -> tuple[int, int, int]:
    """Return a mode, and where its payload begins and ends."""
    mode, at = read_varint(message, start)
    if mode == SKIP:
        return mode, at, at
    if mode != ID_LIST:
        # NG-007
        raise Refused("bad-mode", start)
    start = at
    count, at = read_varint(message, start)
    # NG-008: nothing is reserved for what the message cannot hold.
    if count > (len(message) - at) // NEGENTROPY_ID:
        raise Refused("count-limit", start)
    return mode, at, at + count * NEGENTROPY_ID


def split_ids(payload: bytes) -> list[bytes]:
    """Return the ids of a list one by one."""
    return [payload[at : at + NEGENTROPY_ID] for at in range(0, len(payload), NEGENTROPY_ID)]


class Writer:
    """Puts ranges behind one another; timestamps are written as steps from the one before."""

    __slots__ = ("_timestamp", "buffer")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._timestamp = 0

    def range(self, bound: bytes, content: bytes) -> None:
        """Put a range: its upper bound, then its mode and payload; ids come next, as `ids`."""
        if bound < INFINITY:
            timestamp = int.from_bytes(bound[:TIMESTAMP], "big")
            step = timestamp - self._timestamp + 1
            self._timestamp = timestamp
            start = _VARINTS[step] if step < CONTINUES else encode_varint(step)
        else:
            start = _VARINTS[0]
        size = len(bound) - TIMESTAMP
        if size:
            self.buffer += start + _VARINTS[size] + bound[TIMESTAMP:] + content
        else:
            self.buffer += start + _NO_PREFIX + content

    def ids(self, identities: list[bytes]) -> None:
        """Put the payload of an id list."""
        self.buffer += encode_varint(len(identities))
        self.buffer += b"".join(identities)
