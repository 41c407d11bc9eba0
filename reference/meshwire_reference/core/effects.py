"""The effects of a node core. The driver carries them out in order.

A `ConnectionEffect` can be seen by one peer; `after` names the write that must be durable first.
The core holds an effect until then, and the later ones of the same connection with it, so the
driver may carry out whatever it receives at once. The docstring of an effect lists the inputs that
answer it; an effect of a closed connection needs no answer.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from meshwire_reference.core.document_calls import (
    Call,
    KeptTombstone,
    Life,
    Result,
    Together,
    Write,
)

WriteNumber: TypeAlias = int
"""Number of a change set; later ones are greater."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEffect:
    """An effect that one peer can see; those of one connection keep their order."""

    connection: int
    after: WriteNumber | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStream(ConnectionEffect):
    """Open a stream when the peer's credit allows; answered by `StreamGranted`."""

    ticket: int
    bidi: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Send(ConnectionEffect):
    """Send bytes on a stream, and its FIN.

    With FIN, and where it `reports`, answered by `StreamSent` or `SendFailed`, unless the stream is
    released before. No `Send` follows one with FIN on the same stream. `frame` is the type of the
    frame that the bytes are, for the counters.
    """

    stream: int
    data: bytes
    fin: bool = False
    reports: bool = False
    frame: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(ConnectionEffect):
    """Reset this side's half of a stream. Queued bytes are dropped."""

    stream: int
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(ConnectionEffect):
    """Ask the peer to end its half of a stream."""

    stream: int
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumed(ConnectionEffect):
    """Grant the peer again the credit for bytes that were read. Never held."""

    stream: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred(ConnectionEffect):
    """Grant the credit of the connection, not of the stream, for bytes that wait. Never held.

    `Consumed` for these bytes follows once they are read.
    """

    stream: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(ConnectionEffect):
    """End the use of a stream: halves that have not ended are reset or stopped with code 0.

    Bytes sent before are still delivered. Afterwards only `Consumed` follows for the stream.
    """

    stream: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseConnection(ConnectionEffect):
    """End the connection; answered by `ConnectionClosed`."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class CallDocuments:
    """Carry out a document call, or several; answered by `DocumentDone` with the same number.

    At most one call of a key is in flight, or several `Together` that do not change its document;
    `Forget` has no key. Never held.
    """

    number: int
    call: Call | Together


@dataclass(frozen=True, slots=True)
class WriteStore:
    """Write what a call has changed, or remove the document where `write` is None.

    `tombstone` is kept in its place, with `lamport`, the greatest Lamport time of all tombstones so
    far. `life` is that of a document with a lifetime. Numbers rise by one from write to write.
    Answered by `Durable` with this number or a greater one. Never held.
    """

    number: WriteNumber
    key: str
    write: Write | None
    tombstone: KeptTombstone | None = None
    lamport: int = 0
    life: Life | None = None


@dataclass(frozen=True, slots=True)
class DropTombstones:
    """Remove the tombstones of these keys from the store: they have expired. Never answered."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something of a peer was refused: the content of the log line.

    `scope` is "bidi" or "uni" for a stream of that kind, "connection" for the whole connection.
    """

    reason: str
    peer: str
    connection: int
    scope: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class RunOver:
    """A reconciliation that this node began has ended: the content of the log line.

    `rounds` are answers of the peer; bytes are those of the messages. `reason` is None if the run
    was complete, else why it was not.
    """

    peer: str
    connection: int
    rounds: int
    sent_bytes: int
    received_bytes: int
    have: int
    need: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """A document of this node was not sent to a peer as it should be: the content of the log line.

    Its call was refused for this reason, or its frame is longer than the payload cap
    (length-limit). It is sent again when it changes or the peer asks for it.
    """

    key: str
    reason: str
    peer: str
    connection: int


@dataclass(frozen=True, slots=True)
class OtherDialect:
    """A peer that this node dialled did not answer in the dialect of its first message.

    It may do so in the other one, over another connection.
    """

    peer: str
    connection: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry or tombstone of a batch was skipped for this reason: the content of the log line.

    One of a key is an event at most once a minute.
    """

    key: str
    reason: str
    peer: str
    connection: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The session with a peer begins: its handshake is over, or none was needed.

    `dialled` is True if this side dialled.
    """

    peer: str
    connection: int
    dialled: bool
    dialect: str


@dataclass(frozen=True, slots=True)
class Silent:
    """A peer that this node dialled does not answer any more: the content of the log line.

    Its connection is closed.
    """

    peer: str
    connection: int


@dataclass(frozen=True, slots=True)
class Proven:
    """An acceptor that this node dialled has proven itself too."""

    peer: str
    connection: int


@dataclass(frozen=True, slots=True)
class Unproven:
    """An acceptor that this node dialled has not proven itself, and is served all the same."""

    peer: str
    connection: int
    reason: str


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """A peer was refused, since its endpoint id is not among those that are allowed."""

    peer: str
    connection: int
    dialled: bool


@dataclass(frozen=True, slots=True)
class NotCertified:
    """No certificate counts for the endpoint id of a peer; `fault` says why not.

    It is refused if the node requires certificates.
    """

    peer: str
    connection: int
    dialled: bool
    fault: str
    is_refused: bool


@dataclass(frozen=True, slots=True)
class CredentialIgnored:
    """The document of a certificate or revocation does not count, for a reason."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A peer is configured otherwise than this node, as far as what it sent tells.

    `what` is "dialect" or "formation"; `own` is that of this node.
    """

    what: str
    own: str
    theirs: str
    peer: str
    connection: int


@dataclass(frozen=True, slots=True)
class TombstonesFull:
    """A tombstone of a peer was refused, since the node stores as many as it may.

    This is an event at most once a minute.
    """

    held: int
    peer: str
    connection: int


@dataclass(frozen=True, slots=True)
class ClockOff:
    """The clock of a peer is `ahead_s` ahead of that of this node; negative if it is late.

    This is one event of a connection: either of the two clocks may be wrong.
    """

    ahead_s: float
    peer: str
    connection: int


Event: TypeAlias = (
    Refusal
    | RunOver
    | NotSent
    | OtherDialect
    | Skipped
    | Accepted
    | Proven
    | Unproven
    | NotAllowed
    | NotCertified
    | CredentialIgnored
    | Mismatch
    | Silent
    | TombstonesFull
    | ClockOff
)


@dataclass(frozen=True, slots=True)
class Notify:
    """Log an event. Never held, never answered."""

    event: Event


class LocalRefusal(StrEnum):
    """Why an operation of the user was not carried out; nothing has changed."""

    DELETED = "deleted"
    """The document has a tombstone, which guards it."""
    ABSENT = "absent"
    """There is no such document to delete."""
    EXPIRES = "expires"
    """Documents of this collection are not deleted: they expire."""
    TOO_LARGE = "too-large"
    """The document would be larger than a payload may be."""
    NOT_STORED = "not-stored"
    """The store cannot be written."""
    FULL = "full"
    """The node holds as many tombstones as it may."""


@dataclass(frozen=True, slots=True)
class LocalDone:
    """The end of a `LocalOperation`, by its number. Never answered.

    `result` is that of its document call: `Listed` of a read, `Edited` of an edit or a deletion by
    marks, `Done` of one by a tombstone, `Refused`. Held until all of it is durable.
    """

    number: int
    result: Result | LocalRefusal


Effect: TypeAlias = (
    ConnectionEffect | CallDocuments | WriteStore | DropTombstones | Notify | LocalDone
)
