"""Signed operations over the codec harness: texts, signatures, and replicas by number."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from meshwire_reference.harness.shapes import BadRequest, member_of, number_of
from meshwire_reference.oplog.authoring import OperationAuthor, Unauthored
from meshwire_reference.oplog.canonical import CANONICAL_VERSION, canonical_content
from meshwire_reference.oplog.debug_text import debug_text
from meshwire_reference.oplog.join import JoinFacts, Role, proof_of
from meshwire_reference.oplog.nodes import ListNode
from meshwire_reference.oplog.operations import (
    KEY_SIZE,
    SIGNATURE_SIZE,
    SignedOperation,
    digest_text,
    has_valid_id,
    hash_text,
    id_text,
    path_text,
    signed_text,
)
from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.schema import PIPELINE, TYPES
from meshwire_reference.oplog.signatures import Signer, is_signed
from meshwire_reference.oplog.spelling import operation_json, read_operation_json
from meshwire_reference.oplog.tagged import (
    read_hex,
    read_path,
    read_tagged,
    read_tree,
    write_tagged,
    write_tree,
)
from meshwire_reference.oplog.values import ABSENT, JsonValue, Unreadable
from meshwire_reference.oplog.waiting import QueueLimits

_DOCUMENTS: Final = {"pipeline": PIPELINE, "types": TYPES}

_ROLES: Final = {"dialler": Role.DIALLER, "listener": Role.LISTENER}

_replicas: Final[dict[int, Replica]] = {}


def _operation(request: dict[str, object]) -> SignedOperation:
    return read_tagged(member_of(request, "operation"))


def _hex(request: dict[str, object], name: str, size: int) -> bytes:
    try:
        return read_hex(member_of(request, name), size)
    except Unreadable as fault:
        raise BadRequest(f"{name}: {fault}") from fault


def _texts(request: dict[str, object]) -> dict[str, object]:
    signed = _operation(request)
    inner = signed.inner
    text = id_text(inner)
    signed_text = digest_text(inner.id, inner.path, signed.depends_on)
    digest = hash_text(signed_text)
    return {
        "content_text": "" if inner.content is ABSENT else debug_text(inner.content),
        "id_text": text,
        "id": hash_text(text).hex(),
        "path_text": path_text(inner.path),
        "digest_text": signed_text,
        "digest": digest.hex(),
        "valid_id": has_valid_id(inner),
        "valid_signature": is_signed(signed.author, digest, signed.signed_digest),
    }


def _canonical(request: dict[str, object]) -> dict[str, object]:
    """Return the texts of an operation of version 2."""
    signed = _operation(request)
    inner = signed.inner
    try:
        signed = replace(
            signed,
            inner=replace(
                inner, version=CANONICAL_VERSION, content=canonical_content(inner.content)
            ),
        )
    except ValueError as fault:
        raise Unreadable("bad-sequence") from fault
    text, digest_of = id_text(signed.inner), signed_text(signed)
    digest = hash_text(digest_of)
    return {
        "id_text": text,
        "id": hash_text(text).hex(),
        "digest_text": digest_of,
        "digest": digest.hex(),
        "valid_id": has_valid_id(signed.inner),
        "valid_signature": is_signed(signed.author, digest, signed.signed_digest),
    }


def _sign(request: dict[str, object]) -> dict[str, object]:
    signer = Signer(_hex(request, "seed", KEY_SIZE))
    signature = signer.sign(_hex(request, "digest", KEY_SIZE))
    return {"author": signer.author.hex(), "signature": signature.hex()}


def _verify(request: dict[str, object]) -> dict[str, object]:
    author = _hex(request, "author", KEY_SIZE)
    digest = _hex(request, "digest", KEY_SIZE)
    return {"valid": is_signed(author, digest, _hex(request, "signature", SIGNATURE_SIZE))}


def _read(request: dict[str, object]) -> dict[str, object]:
    text = member_of(request, "text")
    if not isinstance(text, str):
        raise BadRequest("text is not a string")
    return {"operation": write_tagged(read_operation_json(text))}


def _write(request: dict[str, object]) -> dict[str, object]:
    try:
        return {"text": operation_json(_operation(request))}
    except ValueError as fault:
        raise Unreadable("not-finite") from fault


def _open(request: dict[str, object]) -> dict[str, object]:
    number = number_of(request, "session")
    if number in _replicas:
        raise BadRequest(f"session {number} is open")
    schema = _DOCUMENTS.get(str(member_of(request, "document")))
    level = member_of(request, "level")
    if schema is None or level not in tuple(Level):
        raise BadRequest("unknown document or level")
    limits = QueueLimits(count=number_of(request, "queue")) if "queue" in request else QueueLimits()
    members = request.get("members")
    _replicas[number] = Replica(
        ReplicaSettings(
            level=Level(str(level)),
            schema=schema,
            queue=limits,
            members=None if members is None else _members(members),
        )
    )
    return {}


def _members(members: object) -> frozenset[bytes]:
    if not isinstance(members, list):
        raise BadRequest("members is not a list")
    try:
        return frozenset(read_hex(member, KEY_SIZE) for member in members)
    except Unreadable as fault:
        raise BadRequest(f"members: {fault}") from fault


def _replica(request: dict[str, object]) -> Replica:
    number = number_of(request, "session")
    if number not in _replicas:
        raise BadRequest(f"session {number} is not open")
    return _replicas[number]


def _apply(request: dict[str, object]) -> dict[str, object]:
    replica = _replica(request)
    outcome = replica.apply(_operation(request))
    return {
        "outcome": outcome.state.value,
        "reason": outcome.reason or None,
        "waiting": len(replica.queue),
        "evicted": replica.queue.evicted,
        "applied": [signed.signed_digest.hex() for signed in replica.applied],
    }


def _author(request: dict[str, object]) -> dict[str, object]:
    """Make an operation on a replica, as an author with a seed."""
    author = OperationAuthor(Signer(_hex(request, "seed", KEY_SIZE)), _replica(request))
    call, path = member_of(request, "call"), read_path(member_of(request, "path"))
    try:
        match call:
            case "insert":
                value = read_tree(member_of(request, "value"))
                signed = author.insert(path, _hex(request, "after", KEY_SIZE), value)
            case "set":
                signed = author.set(path, read_tree(member_of(request, "value")))
            case "delete":
                signed = author.delete(path, _hex(request, "element", KEY_SIZE))
            case _:
                raise BadRequest("unknown call")
    except Unauthored as fault:
        raise Unreadable("unauthored", str(fault)) from fault
    return {"operation": write_tagged(signed)}


def _view(request: dict[str, object]) -> dict[str, object]:
    replica = _replica(request)
    view: JsonValue = replica.view()
    lists = {
        name: node for name, node in replica.document.fields.items() if isinstance(node, ListNode)
    }
    return {
        "view": write_tree(view),
        "lists": {name: _order(node) for name, node in lists.items()},
        "list_waiting": {name: node.waiting_count for name, node in lists.items()},
        "waiting": len(replica.queue),
        "received": len(replica.received),
    }


def _order(node: ListNode) -> list[list[Any]]:
    return [
        [element.id.hex(), element.is_deleted, element.node is not None] for element in node.walk()
    ]


def _close(request: dict[str, object]) -> dict[str, object]:
    _replica(request)
    del _replicas[number_of(request, "session")]
    return {}


def _join(request: dict[str, object]) -> dict[str, object]:
    role = _ROLES.get(str(member_of(request, "role")))
    token = member_of(request, "token")
    if role is None or not isinstance(token, str):
        raise BadRequest("unknown role, or no token")
    facts = JoinFacts(
        *(
            _hex(request, name, KEY_SIZE)
            for name in (
                "dialler_nonce", "listener_nonce", "dialler_id", "listener_id", "certificate"
            )
        )
    )  # fmt: skip
    return {"proof": proof_of(_hex(request, "token", len(token) // 2), role, facts).hex()}


OPERATIONS: Final[dict[str, Callable[[dict[str, object]], dict[str, object]]]] = {
    "oplog_texts": _texts,
    "oplog_canonical": _canonical,
    "oplog_sign": _sign,
    "oplog_verify": _verify,
    "oplog_read": _read,
    "oplog_write": _write,
    "oplog_open": _open,
    "oplog_apply": _apply,
    "oplog_author": _author,
    "oplog_view": _view,
    "oplog_close": _close,
    "oplog_join": _join,
}
