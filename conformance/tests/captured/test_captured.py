"""The bytes and verdicts of the deployed implementation, compared with the schema codec."""

import json
import tomllib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from captured_values import VALUES, is_stub
from meshwire_conformance.catalogue.vectors import read_vectors
from meshwire_spec.codec import accept, decode, encode, from_value, to_value
from meshwire_spec.errors import Malformed
from meshwire_spec.numbers import REASONS

HERE = Path(__file__).parent
FROZEN = HERE
DIGESTS = {
    "vectors.jsonl": "e4904ca89b81ade013e68f73b3089d7180e5ada0d16e19a70c1ac3f646c00f7c",
    "verdicts.jsonl": "2492f8ef73e189075977d2540e63cd0f3d5cc870d6146c9cc30fe4d73f3c2a11",
}
"""SHA-256 of each file of records."""
TRANSCRIPTS_DIGEST = "5484cbdbb0162b6dbbc527422b3dc469a769bb88f880d9b0929d0c030c1768f1"
"""SHA-256 of all recorded conversations, each file with its name and a zero byte before it."""
DIFFERENCES = HERE / "differences.toml"

NEGENTROPY = ("NegentropyServer", "NegentropyClient")
PAYLOAD_KINDS = {
    4: "tombstone",
    5: "tombstone_batch",
    7: "sync_batch",
    8: "negentropy_message",
    9: "negentropy_message",
}
DOCUMENT = "document"

PARSED_NAMES: Mapping[str, Mapping[str, str]] = {
    "tombstone": {
        "collection": "collection",
        "document_id": "document_id",
        "deleted_at_ms": "deleted_at",
        "lamport": "lamport",
        "deleted_by": "deleted_by",
        "direction": "direction",
    },
    "sync_batch": {"batch_id": "batch_id", "created_at_ms": "created_at", "ttl": "ttl"},
    "formation_challenge": {"formation_id": "formation_id", "nonce": "nonce"},
    "formation_response": {"response": "hmac"},
    "enrollment_request": {
        "mesh_id": "mesh_id",
        "node_id": "node_id",
        "subject": "public_key",
        "tier": "tier",
        "timestamp_ms": "timestamp",
        "token": "token",
    },
    "enrollment_response": {
        "reason": "reason",
        "secret": "secret",
        "status": "status",
        "timestamp_ms": "timestamp",
    },
    "mesh_certificate": {
        "subject": "subject",
        "mesh_id": "mesh_id",
        "node_id": "node_id",
        "tier": "tier",
        "issued_ms": "issued_at",
        "expires_ms": "expires_at",
        "permissions": "permissions",
    },
    "mesh_genesis": {"mesh_name": "name", "seed": "root_secret", "policy": "policy"},
    "mesh_credentials": {
        "mesh_name": "name",
        "mesh_id": "mesh_id",
        "authority_public": "authority_public",
        "secret": "formation_secret",
        "policy": "policy",
    },
}
"""The member names of the deployed decoder, by kind."""


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    """Records of a file, one a line."""
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]


@cache
def vectors() -> list[dict[str, Any]]:
    """Recorded messages of the listed kinds that are no stubs."""
    records = read(FROZEN, "vectors.jsonl")
    return [r for r in records if r["kind"] in VALUES and not is_stub(r)]


@cache
def verdicts() -> list[dict[str, Any]]:
    """Recorded verdicts of the listed kinds."""
    return read(FROZEN, "verdicts.jsonl")


@cache
def differences() -> dict[str, list[dict[str, Any]]]:
    """The table of differences."""
    return tomllib.loads(DIFFERENCES.read_text(encoding="utf-8"))


def kind_of(record: Mapping[str, Any]) -> str:
    """Our kind of a recorded verdict."""
    return "negentropy_message" if record["kind"] in NEGENTROPY else str(record["kind"])


def our_word(kind: str, data: bytes) -> tuple[str, Any]:
    """The verdict of our decoder in a word of the table, and the value."""
    try:
        value = to_value(decode(kind, data))
    except Malformed as exc:
        return exc.reason, None
    fault = value.get("fault")
    return (f"fault {fault['reason']}" if fault else "ok"), value


def deployed_word(record: Mapping[str, Any]) -> str:
    """Whether the deployed decoder took the bytes; an abort of the process is an error too."""
    return "ok" if record["verdict"] == "ok" else "error"


def agree(deployed: str, ours: str) -> bool:
    """Whether both take the bytes or both refuse them whole."""
    return ours == "ok" if deployed == "ok" else ours in REASONS


@pytest.mark.parametrize("name", DIGESTS)
def test_the_records_are_those_that_were_recorded(name: str) -> None:
    """A recording is never edited, since its bytes are those of a deployed peer."""
    assert sha256((FROZEN / name).read_bytes()).hexdigest() == DIGESTS[name]


def test_the_conversations_are_those_that_were_recorded() -> None:
    """The same for conversations, which name the project and version that was recorded."""
    digest = sha256()
    for path in sorted((FROZEN / "transcripts").glob("*.json")):
        content = path.read_bytes()
        digest.update(path.name.encode() + b"\0" + content)
        assert json.loads(content)["library"].startswith("peat-mesh 0."), path.name

    assert digest.hexdigest() == TRANSCRIPTS_DIGEST


def test_every_recorded_message_decodes_to_its_inputs() -> None:
    """Fields equal the recorded inputs, or what is derived from them."""
    for record in vectors():
        kind, value_of = VALUES[record["kind"]]
        stated = value_of(record["inputs"])
        found = to_value(decode(kind, bytes.fromhex(record["hex"])))

        assert {**found, **stated} == found, record["name"]


def test_every_recorded_message_encodes_to_its_own_bytes() -> None:
    """The value of a recorded message is written as the deployed encoder wrote it."""
    for record in vectors():
        kind = VALUES[record["kind"]][0]
        value = to_value(decode(kind, bytes.fromhex(record["hex"])))

        assert encode(from_value(kind, value)).hex() == record["hex"], record["name"]


def test_every_recorded_message_is_a_vector() -> None:
    """The vectors hold each recorded message under its source, so that every target is asked."""
    assert {record["kind"] for record in vectors()} == {*VALUES}
    held = Counter((one.kind, one.hex, one.source) for _, one in read_vectors())
    recorded = Counter((VALUES[r["kind"]][0], r["hex"], r["source"]) for r in vectors())

    assert recorded - held == Counter()


def test_stubs_are_no_messages() -> None:
    """The records left out are wrapped lengths, defaults and refused secrets, and nothing else."""
    left_out = [r for r in read(FROZEN, "vectors.jsonl") if is_stub(r)]

    assert Counter(r["kind"] for r in left_out) == {
        "sync_entry": 3,
        "sync_batch": 1,
        "mesh_certificate": 1,
        "FormationKeyFromBase64_error": 5,
    }


def test_every_recorded_verdict_agrees_or_is_listed() -> None:
    """Verdicts differ exactly where the table says, as often as it says, in its direction."""
    found: Counter[tuple[str, str, str]] = Counter()
    for record in verdicts():
        if record["kind"] == "stream_frame":
            continue
        deployed = deployed_word(record)
        ours, _ = our_word(kind_of(record), bytes.fromhex(record["hex"]))
        if not agree(deployed, ours):
            found[record["kind"], deployed, ours] += 1
    rows = differences()["difference"]
    listed = {(row["kind"], row["deployed"], row["ours"]): row["count"] for row in rows}

    assert len(listed) == len(rows)
    assert found == listed


def test_both_read_the_same_where_both_accept() -> None:
    """Members that the deployed decoder reported have the values that ours gives."""
    compared = 0
    for record in verdicts():
        names = PARSED_NAMES.get(record["kind"], {})
        ours, value = our_word(kind_of(record), bytes.fromhex(record["hex"].rstrip(".")))
        if ours != "ok" or record["verdict"] != "ok" or not names:
            continue
        parsed = {names[name]: item for name, item in record["parsed"].items() if name in names}
        compared += 1

        assert parsed == {name: value[name] for name in parsed}, record["case"]

    assert compared > 300


def frame_word(record: Mapping[str, Any]) -> str:
    """Frame, key and payload as the codec decodes them; documents are left to their library."""
    text = record["hex"]
    # One record is cut for its length: the rest of its key, and a snapshot without payload.
    data = bytes.fromhex(text.rstrip("."))
    if text.endswith(".."):
        key_size = int.from_bytes(data[:2], "big")
        data = data[:2] + b"k" * key_size + b"\x01" + bytes(4)
    word, value = our_word("stream_frame", data)
    if word != "ok":
        return word
    refused = accept("stream_frame", decode("stream_frame", data))
    if refused is not None:
        return refused
    payload = PAYLOAD_KINDS.get(value["type"])
    if payload is not None:
        return our_word(payload, bytes.fromhex(value["payload"]))[0]
    return DOCUMENT if value["type"] in (0, 1) else "ok"


def test_recorded_frames_agree_or_are_listed() -> None:
    """The same for frames, whose verdict is that of a receiver; documents stand as recorded."""
    found = {}
    for record in verdicts():
        if record["kind"] != "stream_frame":
            continue
        ours = frame_word(record)
        if ours != DOCUMENT and not agree(deployed_word(record), ours):
            found[record["case"]] = (deployed_word(record), ours)
    rows = differences()["stream_frame"]
    listed = {row["case"]: (row["deployed"], row["ours"]) for row in rows}

    assert found == listed
