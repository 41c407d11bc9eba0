"""Bytes worked out by hand from the pages, in both directions, a few of every kind."""

from dataclasses import dataclass

import pytest

from meshwire_reference.harness import kinds

BATCH = "00000000000000010000018bcfe568000500000001000a626561636f6e733a62310100000002aabb"
TOMBSTONE = "0006747261636b730005646f632d310000018bcfe56800000000000000000a00066e6f64652d61000000"
TOMBSTONE_BATCH = "000000010000002a" + TOMBSTONE
CERTIFICATE = (
    "01" * 32
    + "024d31"
    + "036e2d37"
    + "02"
    + "87"
    + "0807060504030201"
    + "1817161514131211"
    + "03" * 32
    + "04" * 64
)
BATCH_VALUE = {
    "batch_id": "1",
    "created_at": "1700000000000",
    "ttl": 5,
    "entry_count": 1,
    "entries": [{"key": "beacons:b1", "type": 1, "payload": "aabb"}],
    "fault": None,
    "extra": "",
}
TOMBSTONE_VALUE = {
    "collection": "tracks",
    "document_id": "doc-1",
    "deleted_at": "1700000000000",
    "lamport": "10",
    "deleted_by": "node-a",
    "reason": "",
    "direction": 0,
    "extra": "",
}
CERTIFICATE_VALUE = {
    "subject": "01" * 32,
    "mesh_id": "M1",
    "node_id": "n-7",
    "tier": 2,
    "permissions": 0x87,
    "issued_at": str(0x0102030405060708),
    "expires_at": str(0x1112131415161718),
    "issuer": "03" * 32,
    "signature": "04" * 64,
}


@dataclass(frozen=True, slots=True)
class Worked:
    """One message: its kind, its bytes and its value."""

    kind: str
    data: str
    value: dict[str, object]


WORKED = (
    Worked(
        "stream_frame",
        "0010746f6d6273746f6e65733a6261746368" + "05" + "00000032" + TOMBSTONE_BATCH,
        {"key": "tombstones:batch", "type": 5, "payload": TOMBSTONE_BATCH},
    ),
    Worked(
        "stream_frame",
        "00056261746368" + "07" + "00000028" + BATCH,
        {"key": "batch", "type": 7, "payload": BATCH},
    ),
    Worked(
        "sync_entry", "0003" + "c3a97a" + "0a00000000", {"key": "éz", "type": 10, "payload": ""}
    ),
    Worked("sync_batch", BATCH, BATCH_VALUE),
    Worked(
        "sync_batch",
        "0102030405060708" + "1112131415161718" + "09" + "00000002"
        "0003613a62" + "01" + "00000001" + "77" + "0003613a",
        {
            "batch_id": str(0x0102030405060708),
            "created_at": str(0x1112131415161718),
            "ttl": 9,
            "entry_count": 2,
            "entries": [{"key": "a:b", "type": 1, "payload": "77"}],
            "fault": {"reason": "truncated", "offset": 32, "rest": "0003613a"},
            "extra": "",
        },
    ),
    Worked("tombstone", TOMBSTONE, TOMBSTONE_VALUE),
    Worked("tombstone", TOMBSTONE + "beef", {**TOMBSTONE_VALUE, "extra": "beef"}),
    Worked(
        "tombstone_batch",
        TOMBSTONE_BATCH + "0102",
        {
            "tombstone_count": 1,
            "tombstones": [TOMBSTONE_VALUE],
            "fault": None,
            "extra": "0102",
        },
    ),
    Worked(
        "tombstone_batch",
        "00000002" + "0000002a" + TOMBSTONE + "00000019" + "00" * 24 + "04",
        {
            "tombstone_count": 2,
            "tombstones": [TOMBSTONE_VALUE],
            "fault": {
                "reason": "bad-direction",
                "offset": 50,
                "rest": "00000019" + "00" * 24 + "04",
            },
            "extra": "",
        },
    ),
    Worked(
        "heartbeat", "010000018bcfe56800", {"marker": 1, "sent_at": "1700000000000", "extra": ""}
    ),
    Worked(
        "negentropy_message",
        "61" + "0000" + "0200",
        {
            "version": 0x61,
            "ranges": [
                {"upper": {"timestamp": None, "prefix": ""}, "mode": 2, "payload": {"ids": []}}
            ],
        },
    ),
    Worked(
        "negentropy_message",
        # 1 + 300 in two digits; then 1 + (556 - 300), with a prefix; then a fingerprint to infinity
        "61" + "822d0000" + "820102abcd02" + "01" + "05" * 32 + "0000" + "01" + "06" * 16,
        {
            "version": 0x61,
            "ranges": [
                {"upper": {"timestamp": "300", "prefix": ""}, "mode": 0, "payload": None},
                {
                    "upper": {"timestamp": "556", "prefix": "abcd"},
                    "mode": 2,
                    "payload": {"ids": ["05" * 32]},
                },
                {
                    "upper": {"timestamp": None, "prefix": ""},
                    "mode": 1,
                    "payload": {"fingerprint": "06" * 16},
                },
            ],
        },
    ),
    Worked("formation_id", "0500616c706861", {"formation_id": "alpha"}),
    Worked(
        "formation_challenge",
        "0e00746573742d666f726d6174696f6e" + "ab" * 32,
        {"formation_id": "test-formation", "nonce": "ab" * 32},
    ),
    Worked("formation_version", "01", {"version": 1}),
    Worked(
        "formation_challenge_h2",
        "23000000" + "010078" + "cd" * 32,
        {"formation_id": "x", "nonce": "cd" * 32},
    ),
    Worked("formation_response", "17" * 32, {"hmac": "17" * 32}),
    Worked(
        "formation_response_h2",
        "22000000" + "19" * 32 + "0708",
        {"hmac": "19" * 32, "extra": "0708"},
    ),
    Worked("formation_result", "02", {"result": 2}),
    Worked("channel_record", "07" + "00000028" + BATCH, {"marker": 7, "batch": BATCH_VALUE}),
    Worked(
        "lab_preamble",
        "4d574c42"
        "01"
        "0f6361702f6175746f6d657267652f31"
        + "21" * 32
        + "0000000000100000"
        + "0000000000080000"
        + "0000000000000040"
        + "0000000000000020",
        {
            "magic": "4d574c42",
            "version": 1,
            "alpn": "cap/automerge/1",
            "endpoint_id": "21" * 32,
            "max_data": "1048576",
            "max_stream_data": "524288",
            "max_streams_bidi": "64",
            "max_streams_uni": "32",
        },
    ),
    Worked(
        "lab_record",
        "00" + "0000000b" + "0000000000000104" + "01" + "6869",
        {"type": 0, "body": {"stream_id": "260", "fin": 1, "data": "6869"}},
    ),
    Worked(
        "lab_record",
        "02" + "00000010" + "0000000000000003" + "000000004d570004",
        {"type": 2, "body": {"stream_id": "3", "code": str(0x4D570004)}},
    ),
    Worked(
        "lab_record",
        "04" + "00000010" + "0000000000000007" + "0000000000020001",
        {"type": 4, "body": {"stream_id": "7", "maximum": "131073"}},
    ),
    Worked(
        "lab_record",
        "05" + "00000008" + "0000000000000102",
        {"type": 5, "body": {"maximum": "258"}},
    ),
    Worked(
        "lab_record",
        "08" + "00000008" + "0102030405060708",
        {"type": 8, "body": {"payload": "0102030405060708"}},
    ),
    Worked(
        "lab_record",
        "09" + "0000000b" + "0000000000000001" + "627965",
        {"type": 9, "body": {"code": "1", "reason": "bye"}},
    ),
    Worked(
        "enrollment_request",
        "31" * 32 + "026d31" + "036e2d37" + "03" + "0200" + "beef" + "0807060504030201" + "32" * 64,
        {
            "public_key": "31" * 32,
            "mesh_id": "m1",
            "node_id": "n-7",
            "tier": 3,
            "token": "beef",
            "timestamp": str(0x0102030405060708),
            "signature": "32" * 64,
        },
    ),
    Worked(
        "enrollment_response",
        "010300796573019900" + CERTIFICATE + "01" + "0200" + "cafe" + "0807060504030201",
        {
            "status": 1,
            "reason": "yes",
            "has_certificate": 1,
            "certificate": CERTIFICATE_VALUE,
            "has_secret": 1,
            "secret": "cafe",
            "timestamp": str(0x0102030405060708),
        },
    ),
    Worked(
        "enrollment_response",
        "02" + "0000" + "07" + "00" + "0100000000000000",
        {
            "status": 2,
            "reason": "",
            "has_certificate": 7,
            "certificate": None,
            "has_secret": 0,
            "secret": None,
            "timestamp": "1",
        },
    ),
    Worked("mesh_certificate", CERTIFICATE, CERTIFICATE_VALUE),
    Worked(
        "membership_certificate",
        "41" * 32
        + "03726564"
        + "4131423243334434"
        + "0807060504030201"
        + "1817161514131211"
        + "07"
        + "42" * 32
        + "43" * 64,
        {
            "member": "41" * 32,
            "callsign": "red",
            "mesh_id": "A1B2C3D4",
            "issued_at": str(0x0102030405060708),
            "expires_at": str(0x1112131415161718),
            "permissions": 7,
            "issuer": "42" * 32,
            "signature": "43" * 64,
        },
    ),
    Worked(
        "mesh_genesis",
        "0500414c504841" + "51" * 32 + "52" * 32 + "0807060504030201" + "01",
        {
            "name": "ALPHA",
            "root_secret": "51" * 32,
            "authority_secret": "52" * 32,
            "created_at": str(0x0102030405060708),
            "policy": 1,
        },
    ),
    Worked(
        "mesh_credentials",
        "0500414c504841" + "4131423243334434" + "61" * 32 + "62" * 32 + "02",
        {
            "name": "ALPHA",
            "mesh_id": "A1B2C3D4",
            "formation_secret": "61" * 32,
            "authority_public": "62" * 32,
            "policy": 2,
        },
    ),
    Worked(
        "mesh_revocation",
        "71" * 32 + "0441314232" + "0807060504030201" + "046c6f7374" + "72" * 32 + "73" * 64,
        {
            "subject": "71" * 32,
            "mesh_id": "A1B2",
            "revoked_at": str(0x0102030405060708),
            "reason": "lost",
            "issuer": "72" * 32,
            "signature": "73" * 64,
        },
    ),
)


@pytest.mark.parametrize("worked", WORKED, ids=lambda worked: worked.kind)
def test_decodes_to_the_value(worked: Worked) -> None:
    """The bytes give the value that stands beside them."""
    message = kinds.decode(worked.kind, bytes.fromhex(worked.data))

    assert worked.value == kinds.to_value(worked.kind, message)


@pytest.mark.parametrize("worked", WORKED, ids=lambda worked: worked.kind)
def test_encodes_to_the_bytes(worked: Worked) -> None:
    """The value gives the bytes that stand beside it."""
    message = kinds.from_value(worked.kind, worked.value)

    assert worked.data == kinds.encode(worked.kind, message).hex()


def test_every_kind_is_worked() -> None:
    """No kind of the profile is without an example."""
    assert set(kinds.KINDS) == {worked.kind for worked in WORKED}
