"""Everything that can happen to a node core; `NodeCore.handle` takes these.

A driver numbers its connections and never uses a number twice. The events of a connection name
no connection: a transport makes them, and the driver wraps each in a `ConnectionInput`.

The docstring of an input says which effects it may lead to by itself. Whatever gives bytes back to
a quota lets other streams and peers go on, as if more of their bytes had come or more of theirs had
left. An input of a connection, stream, ticket or call that is gone leads to nothing, but for late
bytes, which are `Consumed`, and a late grant, which is followed by `Release`.

Timers run with `TimerFired` alone. A driver that is late itself first gives what has come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from meshwire_reference.core.document_calls import (
    Each,
    Edit,
    Fields,
    Heads,
    KeptTombstone,
    Life,
    Result,
    Write,
)

StreamId: TypeAlias = int
"""Number of a stream, unique on its connection; on QUIC and the lab binding the id on the wire."""


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """A new connection; `dialled` is True if this side opened it.

    `reconciles` is True if the operator has enabled reconciliation with this peer (NG-013);
    `in_other_dialect` begins the handshake in the dialect that is not the configured one. `own_id`
    is the endpoint id of this side where the transport proves both, else empty. Leads to
    `OpenStream` for the handshake of the side that dialled. In an open node the initial exchange
    begins at once: `OpenStream` and `CallDocuments`. A peer that is not allowed, or not
    certified: `Notify`, `CloseConnection`.
    """

    connection: int
    peer_id: bytes
    dialled: bool
    reconciles: bool = False
    in_other_dialect: bool = False
    own_id: bytes = b""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened this stream; a unidirectional one can only be read. Leads to nothing yet."""

    stream: StreamId
    bidi: bool


@dataclass(frozen=True, slots=True)
class StreamData:
    """The peer's next bytes on a stream that either side opened; empty only with `fin`.

    The handler that takes them reports them as consumed. A frame leads to `Consumed`, then to
    `CallDocuments` where it is about a document, to `OpenStream` where a tombstone answers it, and
    to `Send` where it belongs to a run. With `fin`, once all has taken effect: `Send` with FIN,
    `Release`. A fault: `Notify`, `Stop`, `Reset`, `Release`. In the handshake: `Send`; then the
    effects of a beginning, as for `ConnectionOpened`, or `Notify` and `CloseConnection`.
    """

    stream: StreamId
    data: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer reset its half of this stream; bytes not yet delivered never will be.

    Leads to `Release` once whole frames have taken effect; for a run of this node to `Notify`,
    `Release`, and the documents that it held back: `CallDocuments`. In the handshake as FIN.
    """

    stream: StreamId
    code: int = 0


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """The peer stopped our half; unless it had ended, the transport has reset it with code 0.

    Has an effect only for a run of this node: the same as `StreamReset`.
    """

    stream: StreamId
    code: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The last event of a connection: who ended it, and how.

    `code` is None if the link broke without a CLOSE; `by_peer` is False also where this side
    closed because the peer broke a rule of the transport. Leads to what the whole frames of the
    peer lead to, which still take effect, to `Release` of its streams, and after the last frame to
    `CallDocuments` with `Forget`; to `Notify` where a handshake of the other dialect may succeed.
    """

    code: int | None = None
    reason: str = ""
    by_peer: bool = True


TransportEvent: TypeAlias = (
    StreamOpened | StreamData | StreamReset | StreamStopped | ConnectionClosed
)
"""An event of a connection, as its transport reports it."""


@dataclass(frozen=True, slots=True)
class StreamGranted:
    """The stream that `OpenStream` asked for is open. Leads to `Send`.

    At this point a run lists the documents; if that fails: `Notify`, `Stop`, `Reset`,
    `Release`, and the documents that it held back: `CallDocuments`.
    """

    ticket: int
    stream: StreamId


@dataclass(frozen=True, slots=True)
class StreamSent:
    """Everything sent on a stream is with the transport, up to a FIN or what was to be reported.

    Leads to `Release` of a stream that carried one frame, and to the next frames for the peer:
    `CallDocuments`, `OpenStream`. On the stream of a run the next message is taken, as if it came
    now.
    """

    stream: StreamId


@dataclass(frozen=True, slots=True)
class SendFailed:
    """A stream takes no more bytes; `code` is that of the peer's stop.

    Leads to the same as `StreamSent`, and to `CallDocuments` with `Unsent` for each delta that the
    lost frame carried.
    """

    stream: StreamId
    code: int | None = None


ConnectionEvent: TypeAlias = TransportEvent | StreamGranted | StreamSent | SendFailed


@dataclass(frozen=True, slots=True)
class ConnectionInput:
    """An event of one connection: an action of its peer, or the result of an effect on a stream."""

    connection: int
    event: ConnectionEvent


@dataclass(frozen=True, slots=True)
class DocumentDone:
    """The result of the call with this number, or `Each` of several.

    Leads to `WriteStore` where the document has changed, to `CallDocuments` for what waits for the
    same key or is passed on, to `OpenStream` for a frame that is made, to `Notify` for one that
    cannot be made, to `LocalDone` for an operation of the user, and to what the next frame or FIN
    of the stream leads to, or its refusal.
    """

    number: int
    result: Result | Each


@dataclass(frozen=True, slots=True)
class DocumentLoaded:
    """The operator has added a document, and the worker has merged it.

    Leads to `WriteStore`, and to `CallDocuments` for every peer that it is passed on to.
    """

    key: str
    write: Write


@dataclass(frozen=True, slots=True)
class Deletion:
    """Delete a document as the policy of its collection says; `by` is who does it."""

    key: str
    by: str


@dataclass(frozen=True, slots=True)
class LocalOperation:
    """The user of this node reads, edits or deletes a document, with a key that is valid.

    `number` is the caller's and never used twice. Leads to `CallDocuments`, and in the end to one
    `LocalDone`, at once where the operation is refused. A change leads to what a change of a peer
    leads to: `WriteStore`, and `CallDocuments` for every peer that it is passed on to.
    """

    number: int
    operation: Fields | Edit | Deletion


@dataclass(frozen=True, slots=True)
class StoreOpened:
    """What the store of the node holds: before any connection, and once at most.

    `sizes` are those of the stored documents by key, `heads` theirs as far as they are known, and
    `lives` those of documents with a lifetime. Leads to `DropTombstones` for the tombstones that
    have expired meanwhile, and to the removal of documents whose lifetime is over.
    """

    sizes: Mapping[str, int]
    tombstones: Sequence[KeptTombstone] = ()
    lamport: int = 0
    heads: Mapping[str, Heads] = field(default_factory=dict)
    lives: Mapping[str, Life] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Durable:
    """Every write up to this number is durable.

    Leads to the effects of connections that were held for it, in their order, to each `LocalDone`
    that was, and to nothing new.
    """

    number: int


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The store cannot be written, and every write that is not durable is lost.

    `keys` are those of the lost writes; `sizes` and `tombstones` say what the store has of them.
    From now on the node changes nothing: it serves what is stored, and refuses everything else as
    internal. Leads to `CloseConnection` for every connection, since what was queued for a peer may
    show a lost write, to `CallDocuments` with `Drop` for each key, and to `LocalDone` for each
    operation of the user that waited for a lost write.
    """

    keys: frozenset[str]
    sizes: Mapping[str, int]
    tombstones: Sequence[KeptTombstone] = ()


@dataclass(frozen=True, slots=True)
class StoreRecovered:
    """The store can be written again.

    Leads to `CloseConnection` for each peer that was refused something meanwhile, so that it offers
    that again.
    """


@dataclass(frozen=True, slots=True)
class OfferAgain:
    """The user wants every document to be offered again to every peer.

    Leads to what the beginning of an initial exchange leads to, for each peer once it is in none:
    `CallDocuments`, `OpenStream`.
    """


class PeerRole(StrEnum):
    """What a peer is to this node in a hierarchy."""

    PARENT = "parent"
    CHILD = "child"
    LATERAL = "lateral"


@dataclass(frozen=True, slots=True)
class RoleAssigned:
    """The user gives a peer a role, or takes its role away.

    Leads to what `OfferAgain` leads to, for each peer that more goes to from now on.
    """

    peer_id: bytes
    role: PeerRole | None


@dataclass(frozen=True, slots=True)
class CredentialRead:
    """What the document of a key in `certificates` or `revocations` says; None is nothing.

    Leads to `Notify` where it does not count, and where a peer is no longer certified. Then, where
    certificates are required, to `CloseConnection`.
    """

    key: str
    content: bytes | None


@dataclass(frozen=True, slots=True)
class TrustReplaced:
    """A test gives the node roots, by their public keys, and has it demand certificates.

    Without any root the node demands none. Leads to nothing yet: the documents are read next.
    """

    mesh_id: str
    roots: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of `NodeCore.deadline` may have come; with `only_work` for heavy work alone.

    Leads to what is due. Handshake: `Notify`, `CloseConnection`. Frame that stalls: `Notify`,
    `Stop`, `Reset`, `Release`. Heartbeat: `OpenStream`. Snapshot that answers: `CallDocuments`. Run
    of this node without an answer: `Notify`, `Release`, `CallDocuments`. Heavy work of a run: what
    its message leads to. Tombstones that have expired: `DropTombstones`.
    """

    only_work: bool = False


@dataclass(frozen=True, slots=True)
class ShutDown:
    """The node is to end. Leads to one `CloseConnection` for each connection not closing yet."""


Input: TypeAlias = (
    ConnectionOpened
    | ConnectionInput
    | DocumentDone
    | DocumentLoaded
    | LocalOperation
    | StoreOpened
    | StoreFailed
    | StoreRecovered
    | Durable
    | OfferAgain
    | RoleAssigned
    | CredentialRead
    | TrustReplaced
    | TimerFired
    | ShutDown
)
