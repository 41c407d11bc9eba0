"""Requests and replies of the control channel; the page on running has them member by member.

A line is at most `LINE_MAX` bytes. What is wrong with a request becomes one line of text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from meshwire_reference.backend import (
    BackendError,
    BadFields,
    Document,
    DocumentStatus,
    KnownPeer,
    NodeStatistics,
    PeerDocument,
    PeerRole,
)
from meshwire_reference.backend.statistics import CountsSnapshot
from meshwire_reference.backend.values import Json, parse_object, shown

LINE_MAX: Final = 64 * 2**20
"""Greatest number of bytes in a line, its end included."""

ADVANCE_MAX_S: Final = 10**9
"""Greatest number of seconds by which the clocks are put forward at once: 31 years."""
WALL_MAX_MS: Final = 2**53 - 1
"""Greatest time of the calendar, and how far it may be before 1970."""

TERM_S: Final = 86400.0
"""How long a token can be used, in seconds, unless the request says otherwise."""

ENDPOINT: Final = "^[0-9a-f]{64}$"
"""An endpoint id."""

WANTED: Final = 'a request is a JSON object, such as {"id": 1, "do": "status"}'


class NoRequest(BackendError):
    """A line that is no request."""

    code = "bad-request"


class NoDocument(BackendError):
    """There is no document of this id, or it is deleted."""

    code = "no-document"


class NotAnAuthority(BackendError):
    """The node enrolls nobody."""

    code = "not-an-authority"


class NotForTests(BackendError):
    """The node was not started for tests."""

    code = "not-for-tests"


class Request(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"
):
    """What every request has."""

    id: Annotated[int, Meta(ge=0)]


class Put(Request, frozen=True, kw_only=True, tag="put"):
    """Write fields of a document."""

    collection: str
    document: str
    fields: dict[str, Any]
    replace: bool = False


class Get(Request, frozen=True, kw_only=True, tag="get"):
    """Read a document."""

    collection: str
    document: str


class Delete(Request, frozen=True, kw_only=True, tag="delete"):
    """Delete a document."""

    collection: str
    document: str


class Docs(Request, frozen=True, kw_only=True, tag="docs", omit_defaults=True):
    """List documents."""

    collection: str | None = None
    after: str = ""


class Peers(Request, frozen=True, kw_only=True, tag="peers"):
    """List the peers."""


class Connect(Request, frozen=True, kw_only=True, tag="connect"):
    """Keep a connection to an address."""

    address: str


class AssignRole(Request, frozen=True, kw_only=True, tag="role"):
    """Say what a peer is to this node."""

    endpoint_id: Annotated[str, Meta(pattern=ENDPOINT)]
    role: PeerRole | None


class Invite(Request, frozen=True, kw_only=True, tag="invite", omit_defaults=True):
    """Give out a token with which one node can enroll."""

    token_file: Annotated[str, Meta(min_length=1)]
    term_s: Annotated[float, Meta(gt=0, le=ADVANCE_MAX_S)] = TERM_S
    node_id: str | None = None


class Watch(Request, frozen=True, kw_only=True, tag="watch", omit_defaults=True):
    """Report documents and every change of them."""

    collection: str | None = None


class Stats(Request, frozen=True, kw_only=True, tag="stats", omit_defaults=True):
    """Return the counters of the node, and those of each peer if asked for."""

    by_peer: bool = False


class Status(Request, frozen=True, kw_only=True, tag="status", omit_defaults=True):
    """Return what the node is and has, or what became of a document."""

    collection: str | None = None
    document: str | None = None


class MoveClock(Request, frozen=True, kw_only=True, tag="clock"):
    """Move the clocks of a node that was started for tests."""

    advance_s: Annotated[float, Meta(ge=0, le=ADVANCE_MAX_S)] = 0.0
    wall_ms: Annotated[int, Meta(ge=-WALL_MAX_MS, le=WALL_MAX_MS)] | None = None


class ReplaceTrust(Request, frozen=True, kw_only=True, tag="trust"):
    """Have a node that was started for tests demand certificates."""

    mesh_id: str
    roots: list[Annotated[str, Meta(pattern=ENDPOINT)]]


class EmptyNode(Request, frozen=True, kw_only=True, tag="reset"):
    """Empty a node that was started for tests."""


AnyRequest: TypeAlias = (
    Put
    | Get
    | Delete
    | Docs
    | Peers
    | Connect
    | AssignRole
    | Invite
    | Watch
    | Stats
    | Status
    | MoveClock
    | ReplaceTrust
    | EmptyNode
)


def decode_request(line: bytes) -> AnyRequest:
    """Read a line of a client. Raises NoRequest with what is wrong, and where."""
    try:
        text = line.decode()
    except UnicodeDecodeError as exc:
        raise NoRequest(f"the line is not UTF-8 at byte {exc.start}") from exc
    try:
        # This reading notices names that come twice, and NaN.
        members = parse_object(text, WANTED)
    except BadFields as exc:
        raise NoRequest(str(exc)) from exc
    try:
        request: AnyRequest = msgspec.convert(members, AnyRequest)
    except msgspec.ValidationError as exc:
        raise NoRequest(f"this is no request: {exc}") from exc
    return request


def id_of(line: bytes) -> int | None:
    """Return the id in a line that may be no request, None if it has none."""
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        return None
    number = members.get("id") if isinstance(members, dict) else None
    return number if type(number) is int and number >= 0 else None


def encode_request(request: AnyRequest) -> bytes:
    """Return the line of a request."""
    return msgspec.json.encode(request) + b"\n"


def encode_reply(number: int | None, reply: Mapping[str, Json]) -> bytes:
    """Return the line of a reply."""
    return json.dumps({"id": number, **reply}).encode() + b"\n"


def error_reply(error: BackendError) -> dict[str, Json]:
    """Return the reply to a request that was not carried out."""
    return {"error": {"code": error.code, "message": " ".join(str(error).split())}}


def show_peer(peer: KnownPeer) -> dict[str, Json]:
    """Return a peer as a reply has it."""
    return {
        "endpoint_id": peer.endpoint_id or None,
        "connected": peer.is_connected,
        "addresses": list(peer.addresses),
        "why": peer.why,
    }


def show_counts(counts: CountsSnapshot) -> dict[str, Json]:
    """Return counters as a reply has them."""
    labelled: dict[str, Json] = {name: dict(value) for name, value in counts.by_label.items()}
    return {**labelled, **counts.numbers, "last_ms": counts.last_ms}


def show_statistics(statistics: NodeStatistics, *, by_peer: bool) -> dict[str, Json]:
    """Return the counters of a node as a reply has them."""
    shown = show_counts(statistics.total)
    shown["now"] = dict(statistics.now)
    if by_peer:
        shown["peers"] = {peer: show_counts(one) for peer, one in statistics.by_peer.items()}
    return shown


def show_document_status(status: DocumentStatus) -> dict[str, Json]:
    """Return what became of a document as a reply has it."""
    return {
        "collection": status.collection,
        "document": status.id,
        "size": status.size,
        "is_deleted": status.is_deleted,
        "tombstone_expires_ms": status.tombstone_expires_ms,
        "peers": [_show_peer_document(peer) for peer in status.peers],
        "words": list(status.lines()),
    }


def _show_peer_document(peer: PeerDocument) -> dict[str, Json]:
    noted: dict[str, Json] = {
        str(fate): {"times": one.times, "at_ms": one.at_ms, "why": one.why}
        for fate, one in peer.noted.items()
    }
    waits: list[Json] = [{"for": str(one.cause), "ahead": one.ahead} for one in peer.waits]
    return {
        "endpoint_id": peer.endpoint_id or None,
        "connected": peer.is_connected,
        "addresses": list(peer.addresses),
        "why": peer.why,
        "noted": noted,
        "waits": waits,
    }


def show_document(document: Document) -> dict[str, Json]:
    """Return a document as a reply has it."""
    return {
        "collection": document.collection,
        "document": document.id,
        "fields": dict(document.fields),
    }


def not_for_tests() -> NotForTests:
    """Return the error for a request that only a node for tests carries out."""
    return NotForTests(
        "this node was not started for tests, so its clock cannot be moved and it cannot be "
        "emptied: `meshwire-node run --test-control` starts one"
    )


def not_an_authority() -> NotAnAuthority:
    """Return the error for a request that only the authority of a mesh carries out."""
    return NotAnAuthority(
        "this node is not the authority of a mesh: `meshwire-node run --authority FOLDER "
        "--enroll-listen ADDRESS` starts one"
    )


def no_document(collection: str, document_id: str) -> NoDocument:
    """Return the error for a document that does not exist."""
    return NoDocument(
        f"there is no document {shown(document_id)} in {shown(collection)}: "
        "`meshwire-node docs` lists those that are there"
    )
