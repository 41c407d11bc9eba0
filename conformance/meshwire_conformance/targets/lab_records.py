"""Values of the lab binding: preambles, windows, records, and the events of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from meshwire_spec.numbers import (
    ALPN,
    LAB_MAGIC,
    LAB_MAX_DATA,
    LAB_MAX_STREAM_DATA,
    LAB_MAX_STREAMS,
    LAB_VERSION,
)

HEADER = Struct("!BI")
"""Type and length of a record."""
WINDOWS = Struct("!QQQQ")
"""The windows in a preamble."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Credit that one side grants at the start, in bytes and streams."""

    max_data: int = LAB_MAX_DATA
    max_stream_data: int = LAB_MAX_STREAM_DATA
    max_streams_bidi: int = LAB_MAX_STREAMS
    max_streams_uni: int = LAB_MAX_STREAMS
    held: bool = False
    """True if no stream gets more credit than at first, since the suite reads none of them."""
    all_held: bool = False
    """True if neither the connection nor the number of streams gets more credit either."""


@dataclass(frozen=True, slots=True)
class Preamble:
    """The first bytes that each side writes."""

    endpoint_id: bytes
    alpn: bytes = ALPN.encode()
    magic: bytes = LAB_MAGIC
    version: int = LAB_VERSION
    windows: Windows = Windows()
    whole: bytes | None = None
    """Bytes written instead of the preamble, wrong on purpose."""

    def encode(self) -> bytes:
        """Return bytes of the preamble (page Lab binding); wrong values are written as they are."""
        if self.whole is not None:
            return self.whole
        windows = self.windows
        return b"".join(
            (
                self.magic,
                bytes((self.version, len(self.alpn))),
                self.alpn,
                self.endpoint_id,
                WINDOWS.pack(
                    windows.max_data,
                    windows.max_stream_data,
                    windows.max_streams_bidi,
                    windows.max_streams_uni,
                ),
            )
        )


@dataclass(frozen=True, slots=True)
class Writing:
    """How the DATA of a stream is cut into records and mixed with that of other streams."""

    chopped: bool = True
    """True if half of its records end at a random byte, as far as more bytes are queued."""
    in_turns: bool = False
    """True if another stream has its turn after each record, in the order of their bytes."""
    cuts: tuple[int, ...] = ()
    """Offsets in the bytes of one write at which a record ends."""


ORDINARY = Writing()


@dataclass(frozen=True, slots=True)
class PreambleReceived:
    """The peer's preamble is complete; streams may be opened from now on."""

    preamble: Preamble


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream: its first record was received."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Bytes of a stream, in order; with `fin` they are the last."""

    stream_id: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class ResetReceived:
    """The peer reset its half of a stream."""

    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class StopReceived:
    """The peer stopped this side's half of a stream."""

    stream_id: int
    code: int


@dataclass(frozen=True, slots=True)
class PongReceived:
    """The peer echoed a PING."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class CloseReceived:
    """The peer closed the connection."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class PeerFault:
    """The peer broke the binding; no later bytes are read.

    `rule` has the ids of the rules that it broke, empty if none says it. `data` are the bytes of
    the preamble or record, as far as they came, `kind` is the kind of message that they are, and
    `at` the offset of the field at fault.
    """

    reason: str
    detail: str
    rule: str = ""
    kind: str = ""
    data: bytes = b""
    at: int = 0


Event = (
    PreambleReceived
    | StreamOpened
    | DataReceived
    | ResetReceived
    | StopReceived
    | PongReceived
    | CloseReceived
    | PeerFault
)


def record(record_type: int, body: bytes) -> bytes:
    """Return one record as bytes, for any type and body."""
    return HEADER.pack(record_type, len(body)) + body


def is_uni(stream_id: int) -> bool:
    """Return True if this is the number of a unidirectional stream (as in QUIC)."""
    return bool(stream_id & 0x2)
