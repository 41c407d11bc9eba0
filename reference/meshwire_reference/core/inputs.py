"""Everything that can happen to a node core; `NodeCore.handle` takes these.

A driver numbers its connections and never uses a number twice. The events of a connection name
no connection: a transport makes them, and the driver wraps each in a `ConnectionInput`.
"""

from dataclasses import dataclass
from typing import TypeAlias

from meshwire_reference.core.document_calls import Result, Write

StreamId: TypeAlias = int
"""Number of a stream, unique on its connection; on QUIC and the lab binding the id on the wire."""


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
class StreamOpened:
    """The peer opened this stream; a unidirectional one can only be read."""

    stream: StreamId
    bidi: bool


@dataclass(frozen=True, slots=True)
class StreamData:
    """The peer's next bytes on a stream that either side opened; empty only with `fin`.

    Whoever takes them reports them as consumed.
    """

    stream: StreamId
    data: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer reset its half of this stream; bytes not yet delivered never will be."""

    stream: StreamId
    code: int = 0


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """The peer stopped our half; unless it had ended, the transport has reset it with code 0."""

    stream: StreamId
    code: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The last event of a connection: who ended it, and how.

    `code` is None where the link broke without a CLOSE; `by_peer` is False also where this side
    closed because the peer broke a rule of the transport.
    """

    code: int | None = None
    reason: str = ""
    by_peer: bool = True


TransportEvent: TypeAlias = (
    StreamOpened | StreamData | StreamReset | StreamStopped | ConnectionClosed
)
"""What a transport reports of the peer."""


@dataclass(frozen=True, slots=True)
class StreamGranted:
    """The stream that `OpenStream` asked for is open."""

    ticket: int
    stream: StreamId


@dataclass(frozen=True, slots=True)
class StreamSent:
    """Everything sent on a stream is with the transport, up to a FIN or what was to be reported."""

    stream: StreamId


@dataclass(frozen=True, slots=True)
class SendFailed:
    """A stream takes no more bytes; `code` is that of the peer's stop."""

    stream: StreamId
    code: int | None = None


ConnectionEvent: TypeAlias = TransportEvent | StreamGranted | StreamSent | SendFailed


@dataclass(frozen=True, slots=True)
class ConnectionInput:
    """An event of one connection: what its peer did, or what became of an effect on a stream."""

    connection: int
    event: ConnectionEvent


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
    | ConnectionInput
    | DocumentDone
    | DocumentLoaded
    | Durable
    | TimerFired
    | ShutDown
)
