"""Bytes recorded from the deployed implementation, where the recordings lie beside the checkout."""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from meshwire_reference.core.formation import BadSecret, FormationKey, read_secret
from meshwire_reference.harness import kinds

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "captured" / "vectors.jsonl"
Line = dict[str, Any]
Inputs = dict[str, Any]


@cache
def recorded(*names: str) -> tuple[Line, ...]:
    """Return the recordings of these kinds, none where there are no recordings."""
    if not RECORDED.exists():
        return ()
    lines = (json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line["kind"] in names)


def spelled_out(text: str | dict[str, Any]) -> str:
    """Return a text that may be given as a character and how often it is repeated."""
    return text if isinstance(text, str) else text["repeat"] * text["count"]


def entry(inputs: Inputs) -> dict[str, Any]:
    """Map the inputs of a frame or entry."""
    return {
        "key": spelled_out(inputs["doc_key"]),
        "type": inputs["type"],
        "payload": inputs["payload_hex"],
    }


def batch(inputs: Inputs) -> dict[str, Any]:
    """Map the inputs of a batch."""
    return {
        "batch_id": inputs["batch_id"],
        "created_at": inputs["created_at_ms"],
        "ttl": inputs["ttl"],
        "entry_count": len(inputs["entries"]),
        "entries": [entry(one) for one in inputs["entries"]],
        "fault": None,
        "extra": "",
    }


def tombstone(inputs: Inputs) -> dict[str, Any]:
    """Map the inputs of a tombstone; no reason is an empty one."""
    names = ("document_id", "lamport", "deleted_by", "direction")
    return {
        **{name: inputs[name] for name in names},
        "collection": spelled_out(inputs["collection"]),
        "deleted_at": inputs["deleted_at_ms"],
        "reason": inputs["reason"] or "",
        "extra": "",
    }


def tombstone_batch(inputs: Inputs) -> dict[str, Any]:
    """Map the inputs of a tombstone batch."""
    return {
        "tombstone_count": len(inputs["tombstones"]),
        "tombstones": [tombstone(one) for one in inputs["tombstones"]],
        "fault": None,
        "extra": "",
    }


def response(inputs: Inputs) -> dict[str, Any]:
    """Derive the proof from formation, secret and nonce."""
    key = FormationKey.derive(inputs["formation_id"], bytes.fromhex(inputs["secret"]))
    return {"hmac": key.respond(bytes.fromhex(inputs["nonce"])).hex()}


def enrollment_response(inputs: Inputs) -> dict[str, Any]:
    """Map the inputs of a response; the certificate inside is given as its bytes."""
    certificate, secret = inputs["certificate"], inputs["formation_secret"]
    decoded = None
    if certificate is not None:
        kind = "mesh_certificate"
        decoded = kinds.to_value(kind, kinds.decode(kind, bytes.fromhex(certificate)))
    return {
        "status": inputs["status"],
        "reason": inputs["reason"],
        "has_certificate": int(certificate is not None),
        "certificate": decoded,
        "has_secret": int(secret is not None),
        "secret": secret,
        "timestamp": inputs["timestamp_ms"],
    }


def some(inputs: Inputs, **renamed: str) -> dict[str, Any]:
    """Map the inputs that a recording states; derived members are not among them."""
    return {member: inputs[name] for member, name in renamed.items() if name in inputs}


MAPPINGS: Final[dict[str, Callable[[Inputs], dict[str, Any]]]] = {
    "stream_frame": entry,
    "sync_entry": entry,
    "sync_batch": batch,
    "tombstone": tombstone,
    "tombstone_batch": tombstone_batch,
    "heartbeat": lambda inputs: {"marker": 1, "sent_at": inputs["time_ms"], "extra": ""},
    "formation_challenge": lambda inputs: {
        "formation_id": inputs["formation_id"],
        "nonce": inputs["nonce"],
    },
    "formation_response": response,
    "formation_result": lambda inputs: {"result": inputs["byte"]},
    "enrollment_request": lambda inputs: some(
        inputs,
        mesh_id="mesh_id",
        node_id="node_id",
        tier="tier",
        token="token",
        timestamp="timestamp_ms",
    ),
    "enrollment_response": enrollment_response,
    "mesh_certificate": lambda inputs: some(
        inputs,
        subject="subject",
        mesh_id="mesh_id",
        node_id="node_id",
        tier="tier",
        permissions="permissions",
        issued_at="issued_ms",
        expires_at="expires_ms",
        issuer="issuer",
    ),
    "mesh_genesis": lambda inputs: some(
        inputs,
        name="mesh_name",
        root_secret="mesh_seed",
        created_at="created_at_ms",
        policy="policy",
    ),
    "mesh_credentials": lambda inputs: some(
        inputs,
        name="mesh_name",
        mesh_id="mesh_id",
        formation_secret="formation_secret",
        authority_public="authority_public",
        policy="policy",
    ),
}


def is_whole(line: Line) -> bool:
    """Say whether a recording holds a whole message with its inputs.

    Not those of over-long fields, whose length wrapped, nor the table of defaults.
    """
    return "WRAP" not in line["name"] and line["name"] != "defaults"


def completed(line: Line) -> Line:
    """Restate inputs that a recording gives as a difference to the one described in its name."""
    usual = {"collection": "t", "document_id": "d", "deleted_by": "n", "direction": 0}
    clamped = {"tombstone before 1970": "0", "tombstone sub-millisecond": "1700000000123"}
    if line["name"] not in clamped:
        return line
    inputs = {**usual, "lamport": "5", "reason": None, "deleted_at_ms": clamped[line["name"]]}
    return {**line, "inputs": inputs}


@pytest.mark.parametrize(
    "line",
    [line for line in recorded(*MAPPINGS) if is_whole(line)],
    ids=lambda line: f"{line['kind']} {line['name']}",
)
def test_a_recorded_message_has_the_stated_fields(line: Line) -> None:
    """The deployed encoder's bytes give its inputs and come back the same."""
    kind, data = line["kind"], bytes.fromhex(line["hex"])
    expected = MAPPINGS[kind](completed(line)["inputs"])

    value = kinds.to_value(kind, kinds.decode(kind, data))

    assert expected == {name: value[name] for name in expected}
    assert data == kinds.encode(kind, kinds.from_value(kind, value))


@pytest.mark.parametrize("line", recorded("NegentropyInit"), ids=lambda line: line["name"])
def test_a_recorded_reconciliation_holds_its_items(line: Line) -> None:
    """A small set is one list of its ids in order; a large one sixteen fingerprints."""
    kind, data = "negentropy_message", bytes.fromhex(line["hex"])
    items = sorted(
        (int(timestamp), hashlib.sha256(key.encode()).hexdigest())
        for timestamp, key in line["inputs"].get("items", ())
    )

    value: Any = kinds.to_value(kind, kinds.decode(kind, data))

    assert data == kinds.encode(kind, kinds.from_value(kind, value))
    if value["ranges"][0]["mode"] == 2 and "items" in line["inputs"]:
        assert [identity for _, identity in items] == value["ranges"][0]["payload"]["ids"]
    else:
        assert [one["mode"] for one in value["ranges"]] == [1] * 16


@pytest.mark.parametrize("line", recorded("FormationKeyFromBase64"), ids=lambda line: line["name"])
def test_a_recorded_secret_gives_the_recorded_response(line: Line) -> None:
    """Reading the secret, deriving the key and responding, all in one."""
    inputs = line["inputs"]
    key = FormationKey.derive(inputs["formation_id"], read_secret(inputs["base64"]))

    assert line["hex"] == key.respond(bytes.fromhex(inputs["nonce"])).hex()


@pytest.mark.parametrize(
    "line", recorded("FormationKeyFromBase64_error"), ids=lambda line: line["name"]
)
def test_a_recorded_refusal_of_a_secret_is_ours_too(line: Line) -> None:
    """Text that the deployed node refuses is refused."""
    with pytest.raises(BadSecret):
        read_secret(line["inputs"]["base64"])
