"""The control channel of a node: one JSON object per line, over a unix socket.

A client sends requests; a node answers each with a line that repeats its `id`. A request with
`do` = `watch` is answered by a line for each event, until either side closes the connection.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from meshwire_spec.numbers import COLLECTION_MAX, DOCUMENT_ID_MAX
from meshwire_spec.schemas.base import Hex32, Strict, Tally

ADVANCE_MAX_S = 10**9
"""Greatest number of seconds by which clocks are put forward at once."""
WALL_MAX_MS = 2**53 - 1
"""Greatest time of the calendar, and how far it may be before 1970."""

RequestId = Annotated[
    int,
    Meta(ge=0, description="Chosen by the client; the reply has the same."),
]
CollectionName = Annotated[
    str, Meta(min_length=1, max_length=COLLECTION_MAX, description="Name of the collection.")
]
DocumentId = Annotated[
    str, Meta(min_length=1, max_length=DOCUMENT_ID_MAX, description="Id of the document in it.")
]
FieldsOfDocument = Annotated[
    dict[str, Any], Meta(description="Root fields of a document by name, as JSON.")
]


class Request(Strict, frozen=True, kw_only=True, tag_field="do"):
    """What every request has."""

    id: RequestId


class Put(Request, frozen=True, kw_only=True, tag="put"):
    """Write fields of a document; answered once they are durable, with the document."""

    collection: CollectionName
    document: DocumentId
    fields: FieldsOfDocument
    replace: Annotated[
        bool | UnsetType, Meta(description="Remove the fields that are not given; false is usual.")
    ] = UNSET


class Get(Request, frozen=True, kw_only=True, tag="get"):
    """Read a document; answered with it."""

    collection: CollectionName
    document: DocumentId


class Delete(Request, frozen=True, kw_only=True, tag="delete"):
    """Delete a document as the policy of its collection says; answered once that is durable."""

    collection: CollectionName
    document: DocumentId


class Docs(Request, frozen=True, kw_only=True, tag="docs"):
    """List documents of one collection or of all, by collection and id, without deleted ones."""

    collection: CollectionName | UnsetType = UNSET
    after: Annotated[
        str | UnsetType,
        Meta(description="Key after which the list begins: `collection:document` of the last one."),
    ] = UNSET


class Peers(Request, frozen=True, kw_only=True, tag="peers"):
    """List the peers: those connected, those dialled, and those refused lately."""


class ConnectPeer(Request, frozen=True, kw_only=True, tag="connect"):
    """Keep a connection to an address from now on; answered by the peer once it is connected."""

    address: Annotated[
        str, Meta(min_length=1, description="Address of a node, such as `tcp://127.0.0.1:4711`.")
    ]


class AssignRole(Request, frozen=True, kw_only=True, tag="role"):
    """Say what a peer is to this node from now on; what goes to it follows from that."""

    endpoint_id: Annotated[Hex32, Meta(description="Endpoint id of the peer, connected or not.")]
    role: Annotated[
        Literal["parent", "child", "lateral"] | None,
        Meta(description="Its place in the hierarchy; null takes it away."),
    ]


class Invite(Request, frozen=True, kw_only=True, tag="invite"):
    """Give out a token with which one node can enroll, once; answered once it is durable."""

    token_file: Annotated[
        str, Meta(min_length=1, description="Absolute path of the new file for it, of mode 0600.")
    ]
    term_s: Annotated[
        Annotated[float, Meta(gt=0, le=ADVANCE_MAX_S)] | UnsetType,
        Meta(description="How long it can be used, in seconds; a day is usual."),
    ] = UNSET
    node_id: Annotated[
        str | UnsetType | None,
        Meta(description="Name of the only node that it enrolls; null or left out, any."),
    ] = UNSET


class WatchDocuments(Request, frozen=True, kw_only=True, tag="watch"):
    """Report documents and every change of them; answered by a line for each event.

    The connection carries nothing else from now on, until either side closes it.
    """

    collection: CollectionName | UnsetType = UNSET


class Stats(Request, frozen=True, kw_only=True, tag="stats"):
    """Return the counters of the node."""

    by_peer: Annotated[
        bool | UnsetType, Meta(description="Return those of each peer too; false is usual.")
    ] = UNSET


class Status(Request, frozen=True, kw_only=True, tag="status"):
    """Return what the node is and has, or with a document what became of that."""

    collection: CollectionName | UnsetType = UNSET
    document: DocumentId | UnsetType = UNSET


class MoveClock(Request, frozen=True, kw_only=True, tag="clock"):
    """Move the clocks of a node for tests; answered once what is due then is done and durable."""

    advance_s: Annotated[
        Annotated[float, Meta(ge=0, le=ADVANCE_MAX_S)] | UnsetType,
        Meta(description="Seconds by which all clocks go forward; 0 is usual."),
    ] = UNSET
    wall_ms: Annotated[
        Annotated[int, Meta(ge=-WALL_MAX_MS, le=WALL_MAX_MS)] | UnsetType | None,
        Meta(
            description="What the clock of the calendar shows afterwards, in ms since 1970; null "
            "or left out, it goes on as the others."
        ),
    ] = UNSET


class ReplaceTrust(Request, frozen=True, kw_only=True, tag="trust"):
    """Have a node for tests demand certificates of these roots, and of no others, from now on."""

    mesh_id: Annotated[str, Meta(max_length=255, description="The mesh that they are of.")]
    roots: Annotated[list[Hex32], Meta(description="Public keys of those who issue them.")]


class EmptyNode(Request, frozen=True, kw_only=True, tag="reset"):
    """Empty a node for tests; answered once it can be reached again, as after its start."""


ControlRequest = (
    Put
    | Get
    | Delete
    | Docs
    | Peers
    | ConnectPeer
    | AssignRole
    | Invite
    | WatchDocuments
    | Stats
    | Status
    | MoveClock
    | ReplaceTrust
    | EmptyNode
)


class DocumentOut(Strict, frozen=True, kw_only=True):
    """A document."""

    collection: CollectionName
    document: DocumentId
    fields: FieldsOfDocument


class DocumentName(Strict, frozen=True, kw_only=True):
    """The name of a document."""

    collection: CollectionName
    document: DocumentId


class DocumentList(Strict, frozen=True, kw_only=True):
    """A part of the list of documents."""

    names: Annotated[list[DocumentName], Meta(description="Documents in order.")]
    more: Annotated[bool, Meta(description="True if the list goes on after the last one.")]


class PeerOut(Strict, frozen=True, kw_only=True):
    """A peer that is connected or dialled."""

    endpoint_id: Annotated[
        Hex32 | None, Meta(description="Its endpoint id; null while nobody has answered.")
    ]
    connected: Annotated[bool, Meta(description="Whether documents are exchanged with it.")]
    addresses: Annotated[
        list[str], Meta(description="Those that this node dials; none if only the peer dials.")
    ]
    why: Annotated[str, Meta(description="Reason of the last failure; empty without one.")]


class RefusedOut(Strict, frozen=True, kw_only=True):
    """A connection that the node has refused."""

    endpoint_id: Annotated[str, Meta(description="What the peer claims to be.")]
    reason: Annotated[str, Meta(description="Name of the reason.")]
    at_ms: Annotated[int, Meta(description="When, in ms since 1970.")]


class PeerList(Strict, frozen=True, kw_only=True):
    """The peers of a node."""

    known: Annotated[list[PeerOut], Meta(description="Connected ones first.")]
    refused: Annotated[list[RefusedOut], Meta(description="The latest ones, oldest first.")]


class ControlEvent(Strict, frozen=True, kw_only=True):
    """An event of `watch`: one of `initial`, `updated` and `removed`."""

    initial: Annotated[
        list[DocumentOut] | UnsetType,
        Meta(
            description="Documents that are there: the first event, and again for a reader that "
            "is far behind, which then forgets what it knew."
        ),
    ] = UNSET
    more: Annotated[
        bool | UnsetType, Meta(description="True if `initial` goes on in the next event.")
    ] = UNSET
    updated: Annotated[
        DocumentOut | UnsetType, Meta(description="A document that is new or has changed.")
    ] = UNSET
    removed: Annotated[
        DocumentName | UnsetType, Meta(description="A document that was deleted.")
    ] = UNSET


Counts = dict[str, Tally]


class PeerStatsOut(Strict, frozen=True, kw_only=True):
    """The counters of a peer, or of all of them."""

    frames: Annotated[Counts, Meta(description="Frames received, by type, such as `0x00`.")]
    applied: Annotated[Counts, Meta(description="Changes that took effect, by kind.")]
    ignored: Annotated[Counts, Meta(description="Frames and entries without effect, by cause.")]
    refused: Annotated[Counts, Meta(description="Refusals, by reason.")]
    heartbeats: Annotated[Tally, Meta(description="Heartbeats received.")]
    frame_bytes: Annotated[
        Counts | UnsetType,
        Meta(description="Bytes of the frames received, headers included, by type."),
    ] = UNSET
    sent_frames: Annotated[Counts | UnsetType, Meta(description="Frames sent, by type.")] = UNSET
    sent_frame_bytes: Annotated[
        Counts | UnsetType, Meta(description="Bytes of the frames sent, by type.")
    ] = UNSET
    sent_documents: Annotated[
        Counts | UnsetType,
        Meta(description="Documents sent, by the mode of their collection, tombstones included."),
    ] = UNSET
    not_sent: Annotated[
        Counts | UnsetType, Meta(description="Documents that could not be sent, by reason.")
    ] = UNSET
    runs: Annotated[
        Counts | UnsetType,
        Meta(
            description="Reconciliations: `begun`, `completed`, `incomplete`, `served`; their "
            "`rounds`; keys that peers lacked (`have`) and that this node lacked (`need`)."
        ),
    ] = UNSET
    sessions: Annotated[
        Counts | UnsetType,
        Meta(description="Sessions begun, `dialled` and `accepted`; ended as `silent`."),
    ] = UNSET
    received_bytes: Annotated[
        Tally | UnsetType, Meta(description="Bytes received on streams, of whatever kind.")
    ] = UNSET
    sent_bytes: Annotated[
        Tally | UnsetType, Meta(description="Bytes sent on streams, of whatever kind.")
    ] = UNSET
    lost: Annotated[
        Tally | UnsetType,
        Meta(description="Frames whose stream ended before the transport had them."),
    ] = UNSET
    sent_heartbeats: Annotated[Tally | UnsetType, Meta(description="Heartbeats sent.")] = UNSET
    last_ms: Annotated[
        int | UnsetType | None,
        Meta(
            description="When the last document or tombstone was taken or sent, in ms since 1970; "
            "null before the first."
        ),
    ] = UNSET


class StatsOut(PeerStatsOut, frozen=True, kw_only=True):
    """The counters of a node since it was started."""

    now: Annotated[
        Counts | UnsetType,
        Meta(
            description="What the node holds and is at: `kept_documents`, `kept_tombstones`, "
            "`sessions`, `streams`, `documents` with work under way, connections that are `held` "
            "by a write, `outbound_bytes`, `inbound_bytes`."
        ),
    ] = UNSET
    peers: Annotated[
        dict[str, PeerStatsOut] | UnsetType,
        Meta(description="By endpoint id, if asked for: the peers counted last, 1,024 at most."),
    ] = UNSET


class StatusOut(Strict, frozen=True, kw_only=True):
    """What a node is and has."""

    endpoint_id: Hex32
    addresses: Annotated[list[str], Meta(description="Where peers can dial it.")]
    dialect: Literal["open", "H1", "H2"]
    formation_id: Annotated[str | None, Meta(description="Its formation; null for an open node.")]
    data: Annotated[
        str | None, Meta(description="Folder of its durable store; null if it has none.")
    ]
    documents: Annotated[Tally, Meta(description="Documents that it holds, deleted ones too.")]
    peers: Annotated[Tally, Meta(description="Peers that are connected.")]
    store: Annotated[str, Meta(description="`ok`, or why it cannot be written.")]
    for_tests: Annotated[
        bool | UnsetType, Meta(description="Whether it carries out `clock` and `reset`.")
    ] = UNSET
    mesh_id: Annotated[
        str | UnsetType | None,
        Meta(description="The mesh whose certificates it verifies; null if it verifies none."),
    ] = UNSET


class NotedOut(Strict, frozen=True, kw_only=True):
    """Something that became of a document."""

    times: Annotated[Tally, Meta(description="How often.")]
    at_ms: Annotated[int, Meta(description="When last, in ms since 1970.")]
    why: Annotated[str, Meta(description="A reason or a kind; empty without one.")]


class WaitOut(Strict, frozen=True, kw_only=True, rename={"cause": "for"}):
    """What a document waits for."""

    cause: Annotated[
        Literal[
            "connection",
            "handshake",
            "role",
            "tombstones",
            "reconciliation",
            "turn",
            "credit",
            "room",
            "interval",
            "work",
            "write",
        ],
        Meta(description="What has to happen first."),
    ]
    ahead: Annotated[Tally, Meta(description="Of `turn`: how many others come before.")]


class PeerDocumentOut(PeerOut, frozen=True, kw_only=True):
    """A document between the node and one peer."""

    noted: Annotated[
        dict[str, NotedOut],
        Meta(
            description="What became of it: `offered`, `sent`, `lost`, `not sent`, `received`, "
            "`applied`, `equal`, `deleted`, `guarded`, `refused`, `ignored`, `expired`, `awaits "
            "changes`."
        ),
    ]
    waits: Annotated[list[WaitOut], Meta(description="What it waits for now.")]


class DocumentStatusOut(Strict, frozen=True, kw_only=True):
    """What became of a document at a node, and between it and each peer."""

    collection: CollectionName
    document: DocumentId
    size: Annotated[Tally | None, Meta(description="Bytes as it is stored; null without one.")]
    is_deleted: Annotated[bool, Meta(description="By a tombstone or by marks.")]
    tombstone_expires_ms: Annotated[
        int | None,
        Meta(description="When the tombstone that guards it expires; null without one."),
    ]
    peers: Annotated[
        list[PeerDocumentOut],
        Meta(description="Connected ones, dialled ones, others of which something is noted."),
    ]
    words: Annotated[list[str], Meta(description="The same for people, line by line.")]


class InvitedOut(Strict, frozen=True, kw_only=True):
    """A token that was given out."""

    token_file: Annotated[str, Meta(description="Path of the file with it.")]
    expires_at_ms: Annotated[int, Meta(description="End of its term, in ms since 1970.")]


class ClockOut(Strict, frozen=True, kw_only=True):
    """The clocks of a node after they were moved."""

    wall_ms: Annotated[int, Meta(description="Time of its calendar in ms since 1970.")]


class ControlError(Strict, frozen=True, kw_only=True):
    """Why a request was not carried out; nothing has changed."""

    code: Annotated[
        Literal[
            "bad-request",
            "bad-key",
            "bad-fields",
            "bad-address",
            "no-document",
            "deleted",
            "expires",
            "too-large",
            "not-stored",
            "not-connected",
            "not-an-authority",
            "not-for-tests",
            "internal",
        ],
        Meta(description="Stable name of the error."),
    ]
    message: Annotated[
        str, Meta(min_length=1, description="One line that says what, and what to do.")
    ]


class ControlReply(Strict, frozen=True, kw_only=True):
    """The reply to a request: either `error`, or the member that the request asks for."""

    id: Annotated[
        int | None,
        Meta(description="That of the request; null where the line held none."),
    ]
    error: ControlError | UnsetType = UNSET
    document: Annotated[
        DocumentOut | UnsetType, Meta(description="The document, of `put` and `get`.")
    ] = UNSET
    deleted: Annotated[Literal[True] | UnsetType, Meta(description="Of `delete`.")] = UNSET
    documents: Annotated[DocumentList | UnsetType, Meta(description="Of `docs`.")] = UNSET
    peers: Annotated[PeerList | UnsetType, Meta(description="Of `peers`.")] = UNSET
    peer: Annotated[PeerOut | UnsetType, Meta(description="Of `connect`.")] = UNSET
    assigned: Annotated[Literal[True] | UnsetType, Meta(description="Of `role`.")] = UNSET
    invited: Annotated[InvitedOut | UnsetType, Meta(description="Of `invite`.")] = UNSET
    event: Annotated[ControlEvent | UnsetType, Meta(description="Of `watch`.")] = UNSET
    stats: Annotated[StatsOut | UnsetType, Meta(description="Of `stats`.")] = UNSET
    status: Annotated[StatusOut | UnsetType, Meta(description="Of `status`.")] = UNSET
    document_status: Annotated[
        DocumentStatusOut | UnsetType, Meta(description="Of `status` with a document.")
    ] = UNSET
    clock: Annotated[ClockOut | UnsetType, Meta(description="Of `clock`.")] = UNSET
    trusted: Annotated[Literal[True] | UnsetType, Meta(description="Of `trust`.")] = UNSET
    reset: Annotated[Literal[True] | UnsetType, Meta(description="Of `reset`.")] = UNSET
