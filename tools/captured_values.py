"""The values that the recorded inputs of the deployed encoder mean, in the form of each kind.

One function per kind returns the value of the `inputs` of a record; where these are seeds (of keys,
signatures, negentropy items) the value is derived, so that no value is ever taken from the bytes.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Record = Mapping[str, Any]
FORMATION_INFO = b"peat-protocol-v1-formation"
AUTHORITY_INFO = b"peat-mesh:authority-keypair"
SECRET = 32
ID_LIST_BELOW = 32
BUCKETS = 16
ONE_DIGIT_MAX = 0x7F
CERTIFICATE_FIXED = 148


def text_of(node: Any) -> str:
    """Return a recorded text, which may be a repetition."""
    return str(node["repeat"]) * int(node["count"]) if isinstance(node, dict) else str(node)


def _entry(inputs: Record) -> dict[str, Any]:
    return {
        "key": text_of(inputs["doc_key"]),
        "type": int(inputs["type"]),
        "payload": inputs["payload_hex"],
    }


def _batch(inputs: Record) -> dict[str, Any]:
    entries = [_entry(entry) for entry in inputs["entries"]]
    return {
        "batch_id": str(inputs["batch_id"]),
        "created_at": str(inputs["created_at_ms"]),
        "ttl": int(inputs["ttl"]),
        "entry_count": len(entries),
        "entries": entries,
        "fault": None,
        "extra": "",
    }


def _tombstone(inputs: Record) -> dict[str, Any]:
    if "collection" not in inputs:
        return _tombstone_of_time(inputs)
    return {
        "collection": text_of(inputs["collection"]),
        "document_id": text_of(inputs["document_id"]),
        "deleted_at": str(inputs["deleted_at_ms"]),
        "lamport": str(inputs["lamport"]),
        "deleted_by": text_of(inputs["deleted_by"]),
        "reason": text_of(inputs["reason"] or ""),
        "direction": int(inputs["direction"]),
        "extra": "",
    }


def _tombstone_of_time(inputs: Record) -> dict[str, Any]:
    """Return a tombstone of a record about unusual times, which gives only the time.

    The time is cut to milliseconds, and is 0 before 1970 (D-14).
    """
    if "deleted_at_us" in inputs:
        time_ms = int(inputs["deleted_at_us"]) // 1000
    else:
        time_ms = max(0, int(inputs["deleted_at_ms"]))
    return {"deleted_at": str(time_ms)}


def _tombstone_batch(inputs: Record) -> dict[str, Any]:
    tombstones = [_tombstone(item) for item in inputs["tombstones"]]
    return {
        "tombstone_count": len(tombstones),
        "tombstones": tombstones,
        "fault": None,
        "extra": "",
    }


def _heartbeat(inputs: Record) -> dict[str, Any]:
    return {"marker": 1, "sent_at": str(inputs["time_ms"]), "extra": ""}


def _challenge(inputs: Record) -> dict[str, Any]:
    return {"formation_id": inputs["formation_id"], "nonce": inputs["nonce"]}


def formation_answer(formation_id: str, secret: bytes, nonce: bytes) -> str:
    """Return the HMAC that answers a nonce, derived by HS-001 to HS-003."""
    whole = secret if len(secret) == SECRET else hashlib.sha256(secret).digest()
    salt = formation_id.encode()
    key = HKDF(SHA256(), 32, salt or None, FORMATION_INFO).derive(whole)
    return hmac.new(key, nonce + salt, hashlib.sha256).hexdigest()


def formation_secret(inputs: Record) -> bytes:
    """Return the raw secret of a recorded answer, given as hex or as base64 with blanks."""
    if "base64" in inputs:
        return base64.b64decode(inputs["base64"].strip())
    return bytes.fromhex(inputs["secret"])


def _answer(inputs: Record) -> dict[str, Any]:
    nonce = bytes.fromhex(inputs["nonce"])
    return {"hmac": formation_answer(inputs["formation_id"], formation_secret(inputs), nonce)}


def _result(inputs: Record) -> dict[str, Any]:
    return {"result": int(inputs["byte"])}


def _key(seed_hex: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed_hex))


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def _short(text: str) -> bytes:
    return bytes([len(text.encode())]) + text.encode()


def _little(number: Any, size: int = 8) -> bytes:
    return int(number).to_bytes(size, "little")


def _request(inputs: Record) -> dict[str, Any]:
    key = _key(inputs["subject_secret"])
    token = bytes.fromhex(inputs["token"])
    signed = (
        _public(key)
        + _short(inputs["mesh_id"])
        + _short(inputs["node_id"])
        + bytes([inputs["tier"]])
        + _little(len(token), 2)
        + token
        + _little(inputs["timestamp_ms"])
    )
    return {
        "public_key": _public(key).hex(),
        "mesh_id": inputs["mesh_id"],
        "node_id": inputs["node_id"],
        "tier": inputs["tier"],
        "token": inputs["token"],
        "timestamp": str(inputs["timestamp_ms"]),
        "signature": key.sign(signed).hex(),
    }


def _certificate(inputs: Record) -> dict[str, Any]:
    issuer = _key(inputs["issuer_secret"])
    # A root certificate is the issuer's own.
    subject = issuer if inputs.get("is_root") else _key(inputs["subject_secret"])
    signed = (
        _public(subject)
        + _short(inputs["mesh_id"])
        + _short(inputs["node_id"])
        + bytes([inputs["tier"], inputs["permissions"]])
        + _little(inputs["issued_ms"])
        + _little(inputs["expires_ms"])
        + _public(issuer)
    )
    return {
        "subject": _public(subject).hex(),
        "mesh_id": inputs["mesh_id"],
        "node_id": inputs["node_id"],
        "tier": inputs["tier"],
        "permissions": inputs["permissions"],
        "issued_at": str(inputs["issued_ms"]),
        "expires_at": str(inputs["expires_ms"]),
        "issuer": _public(issuer).hex(),
        "signature": issuer.sign(signed).hex(),
    }


def certificate_of_bytes(data: bytes) -> dict[str, Any]:
    """Return the members of a certificate that a record gives as bytes, sliced by hand."""
    mesh_end = 33 + data[32]
    node_end = mesh_end + 1 + data[mesh_end]
    rest = data[node_end:]
    assert len(data) == CERTIFICATE_FIXED + data[32] + data[mesh_end]
    return {
        "subject": data[:32].hex(),
        "mesh_id": data[33:mesh_end].decode(),
        "node_id": data[mesh_end + 1 : node_end].decode(),
        "tier": rest[0],
        "permissions": rest[1],
        "issued_at": str(int.from_bytes(rest[2:10], "little")),
        "expires_at": str(int.from_bytes(rest[10:18], "little")),
        "issuer": rest[18:50].hex(),
        "signature": rest[50:114].hex(),
    }


def _response(inputs: Record) -> dict[str, Any]:
    certificate, secret = inputs["certificate"], inputs["formation_secret"]
    return {
        "status": inputs["status"],
        "reason": inputs["reason"],
        "has_certificate": int(certificate is not None),
        "certificate": certificate and certificate_of_bytes(bytes.fromhex(certificate)),
        "has_secret": int(secret is not None),
        "secret": secret,
        "timestamp": str(inputs["timestamp_ms"]),
    }


def _genesis(inputs: Record) -> dict[str, Any]:
    seed = bytes.fromhex(inputs["mesh_seed"])
    authority = HKDF(SHA256(), 32, None, AUTHORITY_INFO).derive(seed)
    return {
        "name": inputs["mesh_name"],
        "root_secret": seed.hex(),
        "authority_secret": authority.hex(),
        "created_at": str(inputs["created_at_ms"]),
        "policy": inputs["policy"],
    }


def _credentials(inputs: Record) -> dict[str, Any]:
    return {
        "name": inputs["mesh_name"],
        "mesh_id": inputs["mesh_id"],
        "formation_secret": inputs["formation_secret"],
        "authority_public": inputs["authority_public"],
        "policy": inputs["policy"],
    }


def _negentropy(inputs: Record) -> dict[str, Any]:
    """Return the first message over the items: a list of ids, or fingerprints from 32 items on."""
    items = sorted((int(t), hashlib.sha256(k.encode()).digest()) for t, k in inputs["items"])
    if len(items) < ID_LIST_BELOW:
        payload = {"ids": [item.hex() for _, item in items]}
        infinite = {"timestamp": None, "prefix": ""}
        return {"version": 97, "ranges": [{"upper": infinite, "mode": 2, "payload": payload}]}
    ranges = []
    size, longer = divmod(len(items), BUCKETS)
    start = 0
    for bucket in range(BUCKETS):
        end = start + size + (bucket < longer)
        upper = _bound(items[end - 1], items[end]) if end < len(items) else (None, b"")
        ranges.append(_fingerprint_range(upper, [item for _, item in items[start:end]]))
        start = end
    return {"version": 97, "ranges": ranges}


def _bound(last: tuple[int, bytes], following: tuple[int, bytes]) -> tuple[int | None, bytes]:
    """Return the shortest bound between two neighbours."""
    if last[0] != following[0]:
        return following[0], b""
    shared = next(i for i in range(SECRET) if last[1][i] != following[1][i])
    return following[0], following[1][: shared + 1]


def _fingerprint_range(upper: tuple[int | None, bytes], ids: list[bytes]) -> dict[str, Any]:
    total = sum(int.from_bytes(item, "little") for item in ids) % 2**256
    assert len(ids) <= ONE_DIGIT_MAX, "a longer count is two varint bytes"
    digest = hashlib.sha256(total.to_bytes(32, "little") + bytes([len(ids)])).digest()[:16]
    timestamp = None if upper[0] is None else str(upper[0])
    return {
        "upper": {"timestamp": timestamp, "prefix": upper[1].hex()},
        "mode": 1,
        "payload": {"fingerprint": digest.hex()},
    }


VALUES: Mapping[str, tuple[str, Callable[[Record], dict[str, Any]]]] = {
    "stream_frame": ("stream_frame", _entry),
    "sync_entry": ("sync_entry", _entry),
    "sync_batch": ("sync_batch", _batch),
    "tombstone": ("tombstone", _tombstone),
    "tombstone_batch": ("tombstone_batch", _tombstone_batch),
    "heartbeat": ("heartbeat", _heartbeat),
    "formation_challenge": ("formation_challenge", _challenge),
    "formation_response": ("formation_response", _answer),
    "FormationKeyFromBase64": ("formation_response", _answer),
    "formation_result": ("formation_result", _result),
    "enrollment_request": ("enrollment_request", _request),
    "enrollment_response": ("enrollment_response", _response),
    "mesh_certificate": ("mesh_certificate", _certificate),
    "mesh_genesis": ("mesh_genesis", _genesis),
    "mesh_credentials": ("mesh_credentials", _credentials),
    "NegentropyInit": ("negentropy_message", _negentropy),
}
"""By recorded kind: our kind, and the function that returns the value of its inputs."""


def is_stub(record: Record) -> bool:
    """Return True if a record shows a fault of the deployed encoder and is no message."""
    name = str(record["name"]).lower()
    return "wrap" in name or name == "defaults" or record["kind"] == "FormationKeyFromBase64_error"
