"""Steps of transcripts: one struct for each verb, and the frames and content in steps.

A step in a file is an object with one verb (`send`, `barrier`, `read` ...), which says what the
step is, and options of that verb. `tagged` reads the verb and names it as the tag of the union
`Step`, so a step with two verbs, or with an option of another verb, cannot be built.
"""

from typing import Any, Literal, get_args

from meshwire_spec.numbers import BATCH_TTL
from meshwire_spec.schemas.base import Hex, Level, Strict


class DocumentSpec(Strict, frozen=True, kw_only=True):
    """A document as data: its actor and fields; `merge` names documents that it starts from.

    `fields` are its first change and each of `edits` is one more (see `documents.values`).
    """

    actor: Hex
    fields: dict[str, Any] | None = None
    edits: list[dict[str, Any]] = []
    merge: list[str] = []


class FrameSpec(Strict, frozen=True, kw_only=True):
    """A frame, entry or tombstone to send; only members of its type are allowed.

    `cut` takes bytes off its end and `append` adds some, `payload_cut` takes them off the payload
    before its length is written; `extra` is added after the last field of the payload. `wrong`
    says that the rules forbid this message, without which the suite refuses to send it.
    A snapshot holds `document` and then those of `more`; a delta brings `document` to a peer
    that has `known`, or only opens the exchange. `replace` swaps bytes of the payload.
    """

    type: str | int
    key: str = "$key"
    frame_key: str | None = None
    document: str | None = None
    more: list[str] = []
    known: str | None = None
    opening: bool = False
    hex: Hex | None = None
    replace: dict[Hex, Hex] = {}
    lamport: int | str = 258
    deleted_at: int | str = "now-1s"
    deleted_by: str = "node-a"
    reason: str = ""
    direction: int = 0
    batch_id: int | str = 772
    created_at: int | str = "now"
    ttl: int = BATCH_TTL
    entries: list["FrameSpec"] = []
    tombstones: list["FrameSpec"] = []
    count: int | None = None
    payload_length: int | None = None
    sent_at: int | str = "now"
    extra: Hex = ""
    payload_cut: int = 0
    cut: int = 0
    append: Hex = ""
    wrong: bool = False


class ContentSpec(Strict, frozen=True, kw_only=True):
    """The expected content of a frame or an answer about a document."""

    type: str | int | None = None
    key: str = "$key"
    document: str | None = None
    documents: list[str] = []
    heads: list[Hex] = []
    empty: bool = False
    lamport: int | str | None = None
    deleted_at: int | str | None = None
    deleted_by: str | None = None
    reason: str | None = None
    direction: int | None = None
    extra: Hex | None = None


class ConnectSpec(Strict, frozen=True, kw_only=True):
    """The faults in the opening of a connection of this case alone."""

    handshake: bool = True
    alpn: str | None = None
    alpn_hex: Hex | None = None
    preamble: Hex | None = None
    magic: Hex | None = None
    version: int | None = None
    same_as: str | None = None


class HandshakeSpec(Strict, frozen=True, kw_only=True):
    """One run of the formation handshake, with its faults.

    `none` as answer stops after the challenge; `resume` goes on from there. `other` is the dialect
    that is not the target's, `early` that of an early writer of the older form of H2. A formation
    id is sent in H1 alone.
    """

    dialect: Literal["target", "other", "early"] = "target"
    formation_id: str = "$formation_id"
    answer: Literal["right", "wrong", "short", "long", "none"] = "right"
    result: Literal["accepted", "rejected", "nothing"] = "accepted"
    resume: bool = False


DeadlineName = Literal["", "handshake_s", "frame_stall_s", "verdict_linger_s"]


class _Step(Strict, frozen=True, kw_only=True, tag_field="verb"):
    """Base of every step: a step with `level` strict is skipped in runs at level wire."""

    level: Level = "wire"
    note: str = ""


class _OnConnection(_Step, frozen=True, kw_only=True):
    """Base of the steps on the connection named `on`."""

    on: str = "A"


class _OnStream(_OnConnection, frozen=True, kw_only=True):
    """Base of the steps on the stream named `stream` of a connection."""

    stream: str = ""


class Connect(_Step, frozen=True, kw_only=True, tag="connect"):
    """Dial a connection of this case alone under this name."""

    connect: str
    options: ConnectSpec = ConnectSpec()


class Open(_OnStream, frozen=True, kw_only=True, tag="open"):
    """Open a stream."""

    open: Literal["bidi", "uni"]


class Send(_OnStream, frozen=True, kw_only=True, tag="send"):
    """Write a frame, a batch, a tombstone or a heartbeat."""

    send: FrameSpec


class Raw(_OnStream, frozen=True, kw_only=True, tag="raw"):
    """Write bytes in pieces: hex, or an object with one of the names on the page on vectors."""

    raw: list[str | dict[str, Any]]


class Finish(_OnStream, frozen=True, kw_only=True, tag="finish"):
    """End our half."""

    finish: Literal[True]


class Reset(_OnStream, frozen=True, kw_only=True, tag="reset"):
    """Reset our half with this code."""

    reset: int


class Stop(_OnStream, frozen=True, kw_only=True, tag="stop"):
    """Stop the target's half with this code."""

    stop: int


class Barrier(_OnStream, frozen=True, kw_only=True, tag="barrier"):
    """Finish our half and wait for the FIN of the target's half."""

    barrier: Literal[True]


class Released(_OnStream, frozen=True, kw_only=True, tag="released"):
    """As `barrier`, but the target may also reset its half with code 0."""

    released: Literal[True]


class Answered(_OnStream, frozen=True, kw_only=True, tag="answered"):
    """Wait for the next message of a reconciliation, with these bytes if any are given."""

    answered: Hex


class Refused(_OnStream, frozen=True, kw_only=True, tag="refused"):
    """Wait for a refusal of the stream for one of these reasons."""

    refused: str | list[str]
    within: DeadlineName = ""


class Closed(_OnConnection, frozen=True, kw_only=True, tag="closed"):
    """Wait for the end of the connection for one of these reasons."""

    closed: str | list[str]
    within: DeadlineName = ""


class Close(_OnConnection, frozen=True, kw_only=True, tag="close"):
    """Close the connection with this code."""

    close: int


class Unfinished(_OnStream, frozen=True, kw_only=True, tag="unfinished"):
    """Check that the target has not ended the stream."""

    unfinished: Literal[True]


class Idle(_OnStream, frozen=True, kw_only=True, tag="idle"):
    """Check that the target does not end the stream within this deadline of its own."""

    idle: Literal["frame_stall_s"]


class Expect(_OnConnection, frozen=True, kw_only=True, tag="expect"):
    """Wait for content of the key; with `next`, only after the last one of `expect` or `read`."""

    expect: ContentSpec
    next: bool = False


class Read(_OnConnection, frozen=True, kw_only=True, tag="read"):
    """Read the document of this key until it has the expected `content`.

    `hex` is the sync message to read with, in place of the library's own.
    """

    read: str
    hex: Hex | None = None
    content: ContentSpec | None = None
    once: bool = False


class Watch(_OnConnection, frozen=True, kw_only=True, tag="watch"):
    """Fail the case if a frame of these types for this key arrives before the end of the run.

    With `pushes` a frame that belongs to a push of the whole store does not count, nor one delta
    that announces the document (DC-058).
    """

    watch: str
    types: list[str] = []
    pushes: bool = False


class Sync(_OnConnection, frozen=True, kw_only=True, tag="sync"):
    """Run Automerge's protocol for this key until `document` and the target have equal heads."""

    sync: str
    document: str
    content: ContentSpec | None = None
    messages: int = 8


class Ping(_OnConnection, frozen=True, kw_only=True, tag="ping"):
    """Send a PING with these bytes over the lab binding and wait for the PONG."""

    ping: Hex


class Record(_OnConnection, frozen=True, kw_only=True, tag="record"):
    """Send a record of the lab binding that is written by hand."""

    record: dict[str, Any]


class Handshake(_OnStream, frozen=True, kw_only=True, tag="handshake"):
    """Run one handshake."""

    handshake: HandshakeSpec


class Probe(_Step, frozen=True, kw_only=True, tag="probe"):
    """Check that another peer is still answered."""

    probe: Literal[True]


Step = (
    Connect
    | Open
    | Send
    | Raw
    | Finish
    | Reset
    | Stop
    | Barrier
    | Released
    | Answered
    | Refused
    | Closed
    | Close
    | Unfinished
    | Idle
    | Expect
    | Read
    | Watch
    | Sync
    | Ping
    | Record
    | Handshake
    | Probe
)
"""One step; the class is its verb."""
KINDS = get_args(Step)
TAG = "verb"
VERBS = tuple(str(kind.__struct_config__.tag) for kind in KINDS)
"""Names of all verbs, in the order of the format."""


def tagged(step: Any) -> Any:
    """Return the object of a step with its verb as the tag that selects the struct.

    Anything else than an object is returned unchanged. Raises ValueError unless there is exactly
    one verb.
    """
    if not isinstance(step, dict):
        return step
    verbs = [name for name in VERBS if name in step]
    if len(verbs) != 1 or TAG in step:
        raise ValueError(f"{len(verbs)} verbs instead of one")
    return {TAG: verbs[0], **step}
