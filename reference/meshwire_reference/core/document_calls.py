"""The document port: the calls of the node about documents, and their results, as plain values.

The core emits a call and receives its result; it does not know about the worker process.
At most one call per key that may change its document is in flight at a time, and then no other of
the key: that is the per-document lock (D-56, D-81).

A result that carries a `Write` has changed the document in the worker's memory only.
The receiver hands the write to the store before anything it causes becomes visible and
before the next call for that key; when the store fails, it calls `Drop` for the key.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from meshwire_spec.numbers import PAYLOAD_MAX

ConnectionName: TypeAlias = int | str
"""Name of one connection; sync states are kept per (connection, key)."""

Heads: TypeAlias = tuple[bytes, ...]
"""Hashes of the newest changes, sorted; empty for a document that does not exist."""

DELETION_MARKS = ("_deleted", "_deleted_at", "_deleted_by")
"""Root fields that a soft deletion sets, where the fields of a document are read (D-86)."""

Scalar: TypeAlias = bool | int | float | str | None
"""A value that a local edit may write."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a document, with its Automerge type as `kind`.

    `counter` and `unknown` are opaque: their `value` is None and means nothing.
    A timestamp is milliseconds since the epoch, in or out of the calendar's range; bytes are
    lower-case hex.
    """

    kind: str
    value: "Scalar | list[Value] | dict[str, Value]"


@dataclass(frozen=True, slots=True)
class Write:
    """What the store must keep for a key: a new snapshot if there is one, else more changes.

    `heads` are those of the document with it; empty where they are not known.
    """

    snapshot: bytes | None
    changes: bytes
    heads: Heads = ()


@dataclass(frozen=True, slots=True)
class Life:
    """When a document with a lifetime was first stored, and last changed, in ms since 1970.

    `began_ms` is 0 where a store of an earlier version does not say it.
    """

    began_ms: int
    written_ms: int


@dataclass(frozen=True, slots=True)
class KeptTombstone:
    """A tombstone as a store keeps it: its bytes as they are sent, and when it was received."""

    content: bytes
    received_ms: int


# --- Calls -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receive:
    """Apply a sync message (0x00) of a peer and compute the answer. Result: `Received`."""

    connection: ConnectionName
    key: str
    message: bytes


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge a snapshot (0x01). Result: `Merged`.

    `connection` names the sender: costly calls of a peer delay only its own lane.
    """

    key: str
    snapshot: bytes
    connection: ConnectionName | None = None


@dataclass(frozen=True, slots=True)
class Generate:
    """Make the next message of an exchange that this node starts. Result: `Generated`.

    If nothing is known of the peer, the message carries the whole document (D-143); for a key
    without a document it is the read (DC-001). With `opens` it has heads and no changes, and the
    exchange begins afresh with it; with `resumes` it is made although nothing is left to say, and
    the exchange begins with the heads that both sides are known to have, or afresh without any.
    With `announces` it has heads and no changes, and the exchange goes on.
    """

    connection: ConnectionName
    key: str
    opens: bool = False
    resumes: bool = False
    announces: bool = False


@dataclass(frozen=True, slots=True)
class Piece(Generate):
    """Make a message of up to `size_max` bytes of what the peer lacks. Result: `Generated`.

    For a document whose next message is longer. That message was never sent: what the peer was
    known to hold before it stays known. Refused with `document-limit` if a change alone is longer.
    """

    size_max: int = PAYLOAD_MAX


@dataclass(frozen=True, slots=True)
class Unsent:
    """Undo the last message made for (connection, key), which was never sent. Result: `Done`.

    What the peer was known to hold before stays known (D-152).
    """

    connection: ConnectionName
    key: str


@dataclass(frozen=True, slots=True)
class Save:
    """Return the whole document as a snapshot, to be sent as 0x01. Result: `Saved`."""

    key: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Write root fields locally, as one change on the existing document. Result: `Edited`.

    Only what differs is written, within maps, lists and texts too. An opaque value is never
    written: a field with one can be given back as it was read, or removed. `exact` removes every
    root field that is not given. With `as_json` a value keeps the type that is held where JSON has
    one type for several: a string for a text, a number for a timestamp, null for an opaque value.
    `author` is appended to the actor of the node: a document that has ended and is written again
    has another one, since peers that still hold it would refuse a second first change of one actor.
    """

    key: str
    fields: dict[str, Scalar | Value]
    removed: tuple[str, ...] = ()
    exact: bool = False
    as_json: bool = False
    author: bytes = b""


@dataclass(frozen=True, slots=True)
class SoftDelete:
    """Mark a document as deleted, with who did it and when, in ms since 1970. Result: `Edited`.

    The other fields stay. A key without a document gets none.
    """

    key: str
    by: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Fields:
    """Read the root fields. Result: `Listed`."""

    key: str


@dataclass(frozen=True, slots=True)
class FindHeads:
    """Find the heads of a document. Result: `FoundHeads`."""

    key: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop every sync state of a connection that has ended. Result: `Done`."""

    connection: ConnectionName


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop a document from the worker's memory, with its sync states. Result: `Done`.

    For a tombstoned key, after it was removed from the store, and after a failed write.
    """

    key: str


@dataclass(frozen=True, slots=True)
class Together:
    """Several calls at once, of one kind.

    Either each is about another document, for one connection; or all are about one document, which
    none of them changes.
    Result: `Each`. A call that is refused, or that ends its worker, does nothing to the others.
    """

    calls: tuple["Call", ...]


# --- Results ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A sync message took effect; `answer` is the 0x00 to send back, None when there is none.

    `read`: the message had no heads and no changes and was answered as a read (DC-001).
    `awaited`: it had none either and needs no answer (DC-006, DC-009, DC-018).
    """

    heads: Heads
    write: Write | None
    answer: bytes | None
    read: bool = False
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Merged:
    """A snapshot took effect; `ahead`: this node holds changes that it lacked (D-45)."""

    heads: Heads
    write: Write | None
    ahead: bool


@dataclass(frozen=True, slots=True)
class Generated:
    """The message to send as 0x00, None if the peer needs nothing or must answer first."""

    message: bytes | None
    heads: Heads
    is_last: bool = True
    """False if the peer lacks more, which another `Piece` brings."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The whole document, None when the key has none."""

    snapshot: bytes | None
    heads: Heads


@dataclass(frozen=True, slots=True)
class Edited:
    """A local edit was made; `write` is None when it changed nothing."""

    heads: Heads
    write: Write | None


@dataclass(frozen=True, slots=True)
class Listed:
    """The root fields by name, None when the key has no document; and whether it is marked deleted.

    A reader that lists documents leaves out those that are (D-86).
    """

    fields: dict[str, Value] | None
    heads: Heads
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class FoundHeads:
    """The heads of a document; empty for a key without one."""

    heads: Heads


@dataclass(frozen=True, slots=True)
class Done:
    """The call had nothing to report."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The call was not carried out and nothing changed; `reason` is a name of the registry.

    `bad-document`: Automerge refuses the bytes. `document-limit`: they cost more than a call may.
    `internal`: this node could not do it, through no fault of the peer.
    """

    reason: str
    detail: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Each:
    """The result of each of several calls, in their order."""

    results: tuple["Result", ...]


Call: TypeAlias = (
    Receive
    | Merge
    | Generate
    | Piece
    | Unsent
    | Save
    | Edit
    | SoftDelete
    | Fields
    | Forget
    | Drop
    | FindHeads
)
Result: TypeAlias = (
    Received | Merged | Generated | Saved | Edited | Listed | Done | Refused | FoundHeads
)

Joinable: TypeAlias = Receive | Merge | Generate | Save | FindHeads
"""Calls that may be made together."""


def lane_of(call: Call) -> ConnectionName | None:
    """Return the connection that a call is made for, or None if it is made for none."""
    return (
        call.connection if isinstance(call, Receive | Merge | Generate | Unsent | Forget) else None
    )


def size_of(call: Call) -> int:
    """Return how many bytes of a peer a call carries."""
    if isinstance(call, Receive):
        return len(call.message)
    return len(call.snapshot) if isinstance(call, Merge) else 0
