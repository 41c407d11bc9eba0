"""Everything that can happen to a node core. The driver makes these, `NodeCore.handle` takes them.

A connection is named by a number that the driver never gives twice, a stream by its number on
that connection.
"""

from dataclasses import dataclass
from typing import TypeAlias

from meshwire_reference.core.document_calls import Result, Write


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """A connection stands; `dialled` where this side made it.

    `reconciles` where the operator has said that this peer may be asked to reconcile (NG-013).
    """

    connection: int
    peer_id: bytes
    dialled: bool
    reconciles: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """A connection is gone; nothing more comes of it. `code` is None where no word was said."""

    connection: int
    code: int | None = None


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream; a unidirectional one can only be read."""

    connection: int
    stream: int
    bidi: bool


@dataclass(frozen=True, slots=True)
class StreamData:
    """The peer's next bytes on a stream that either side opened."""

    connection: int
    stream: int
    data: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave up its half of a stream."""

    connection: int
    stream: int
    code: int = 0


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """The peer reads our half of a stream no more; the transport has reset it."""

    connection: int
    stream: int
    code: int = 0


@dataclass(frozen=True, slots=True)
class StreamGranted:
    """The stream that `OpenStream` asked for is open."""

    connection: int
    ticket: int
    stream: int


@dataclass(frozen=True, slots=True)
class StreamSent:
    """Everything sent on a stream is with the transport, up to a FIN or what was to be reported."""

    connection: int
    stream: int


@dataclass(frozen=True, slots=True)
class SendFailed:
    """A stream takes no more bytes; `code` is that of the peer's stop."""

    connection: int
    stream: int
    code: int | None = None


@dataclass(frozen=True, slots=True)
class DocumentDone:
    """The result of the call with this number."""

    number: int
    result: Result


@dataclass(frozen=True, slots=True)
class DocumentLoaded:
    """A document was brought by the operator, and the worker has taken it as its result says."""

    key: str
    write: Write


@dataclass(frozen=True, slots=True)
class Durable:
    """Every write up to this number is durable."""

    number: int


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of `NodeCore.deadline` may have come."""


@dataclass(frozen=True, slots=True)
class ShutDown:
    """The node is to end: every connection is closed."""


Input: TypeAlias = (
    ConnectionOpened
    | ConnectionClosed
    | StreamOpened
    | StreamData
    | StreamReset
    | StreamStopped
    | StreamGranted
    | StreamSent
    | SendFailed
    | DocumentDone
    | DocumentLoaded
    | Durable
    | TimerFired
    | ShutDown
)
