"""Refusals of decoding, with reason, offset and field, and refusals of encoding."""

from dataclasses import replace

import pytest

from meshwire_reference.harness import kinds
from meshwire_reference.wire.batches import (
    Fault,
    StreamFrame,
    SyncBatch,
    SyncEntry,
    decode_stream_frame,
    decode_sync_batch,
    encode_stream_frame,
    encode_sync_batch,
)
from meshwire_reference.wire.certificates import decode_mesh_certificate
from meshwire_reference.wire.enrollment import EnrollmentResponse, encode_enrollment_response
from meshwire_reference.wire.errors import FieldError, Malformed, Unencodable
from meshwire_reference.wire.reconciliation import (
    Bound,
    Fingerprint,
    NegentropyMessage,
    Range,
    encode_negentropy_message,
)
from meshwire_reference.wire.tombstones import TombstoneBatch, encode_tombstone_batch
from meshwire_spec.numbers import REASONS, EnrollmentStatus, NegentropyMode

Found = tuple[str, int | None, str]

TOMBSTONE = "0001740001640000000000000005000000000000000900016e000002"
BATCH_HEAD = "0000000000000001" + "0000000000000002" + "05"
ENTRY = "0003613a62" + "01" + "00000001" + "77"
CERTIFICATE = "01" * 32 + "00" + "00" + "00" + "00" + "00" * 16 + "02" * 32 + "03" * 64


def found(fault: FieldError) -> Found:
    """Return what the harness says of a fault."""
    return fault.reason, fault.offset, fault.field


FAULTS = (
    ("stream_frame", "00", ("truncated", 0, "key.length")),
    ("stream_frame", "000561", ("truncated", 2, "key")),
    ("stream_frame", "0001c3", ("bad-utf8", 2, "key")),
    ("stream_frame", "000161", ("truncated", 3, "type")),
    ("stream_frame", "0001610a", ("unknown-type", 3, "type")),
    ("stream_frame", "00016101000000", ("truncated", 4, "payload.length")),
    ("stream_frame", "0001610101000001", ("length-limit", 4, "payload.length")),
    ("stream_frame", "0001610101000000", ("truncated", 8, "payload")),
    ("stream_frame", "0001610100000000ff", ("trailing-bytes", 8, "")),
    ("sync_entry", "0001610affffffff", ("length-limit", 4, "payload.length")),
    # T-009
    ("sync_entry", "000102", ("truncated", 3, "type")),
    ("sync_batch", "00000000000000", ("truncated", 0, "batch_id")),
    # T-010
    ("sync_batch", "00010203040506070809", ("truncated", 8, "created_at")),
    ("sync_batch", "00" * 16, ("truncated", 16, "ttl")),
    ("sync_batch", "00" * 20, ("truncated", 17, "entry_count")),
    ("sync_batch", BATCH_HEAD + "ffffffff", ("count-limit", 17, "entry_count")),
    (
        "sync_batch",
        BATCH_HEAD + "00000001" + "0001ff0100000000",
        ("bad-utf8", 23, "entries[0].key"),
    ),
    (
        "sync_batch",
        BATCH_HEAD + "00000001" + "0009613a620100000000",
        ("truncated", 23, "entries[0].key"),
    ),
    ("tombstone", TOMBSTONE[:-2], ("truncated", 27, "direction")),
    ("tombstone", TOMBSTONE[:-2] + "04", ("bad-direction", 27, "direction")),
    ("tombstone", "000174" + "0001ff" + TOMBSTONE[12:], ("bad-utf8", 5, "document_id")),
    ("tombstone_batch", "000000", ("truncated", 0, "tombstone_count")),
    ("tombstone_batch", "00000001" + "00" * 28, ("count-limit", 0, "tombstone_count")),
    (
        "tombstone_batch",
        "00000001" + "0000001d" + TOMBSTONE,
        ("truncated", 8, "tombstones[0]"),
    ),
    (
        "tombstone_batch",
        "00000001" + "0000001b" + TOMBSTONE,
        ("truncated", 35, "tombstones[0].direction"),
    ),
    ("heartbeat", "02" + "00" * 8, ("bad-marker", 0, "marker")),
    ("heartbeat", "01" + "00" * 7, ("truncated", 1, "sent_at")),
    ("negentropy_message", "60", ("bad-version", 0, "version")),
    ("negentropy_message", "618000", ("bad-varint", 1, "ranges[0].upper.timestamp")),
    (
        "negentropy_message",
        "61" + "82" + "80" * 8 + "00" + "0000",
        ("bad-varint", 1, "ranges[0].upper.timestamp"),
    ),
    ("negentropy_message", "6181", ("truncated", 1, "ranges[0].upper.timestamp")),
    ("negentropy_message", "610121", ("bad-bound", 2, "ranges[0].upper.prefix.length")),
    ("negentropy_message", "610102ab", ("truncated", 3, "ranges[0].upper.prefix")),
    ("negentropy_message", "61010003", ("bad-mode", 3, "ranges[0].mode")),
    (
        "negentropy_message",
        "61000001" + "aa" * 15,
        ("truncated", 4, "ranges[0].payload.fingerprint"),
    ),
    (
        "negentropy_message",
        "6100000281ffffff7f",
        ("count-limit", 4, "ranges[0].payload.count"),
    ),
    ("negentropy_message", "61000000" + "00", ("bad-bound", 4, "ranges[1].upper.timestamp")),
    (
        "negentropy_message",
        "61" + "81ffffffffffffffff7f" + "0000" + "02" + "0000",
        ("bad-bound", 13, "ranges[1].upper.timestamp"),
    ),
    ("formation_id", "0100", ("truncated", 2, "formation_id")),
    ("formation_challenge", "0000" + "ab" * 31, ("truncated", 2, "nonce")),
    ("formation_challenge", "0000" + "ab" * 33, ("trailing-bytes", 34, "")),
    ("formation_version", "20", ("bad-version", 0, "version")),
    ("formation_version", "0101", ("trailing-bytes", 1, "")),
    ("formation_challenge_h2", "01040000", ("length-limit", 0, "length")),
    ("formation_challenge_h2", "23000000" + "0000" + "ab" * 32, ("truncated", 4, "length")),
    ("formation_challenge_h2", "21000000" + "0000" + "ab" * 31, ("truncated", 6, "nonce")),
    ("formation_challenge_h2", "23000000" + "0000" + "ab" * 33, ("trailing-bytes", 38, "")),
    ("formation_response", "ab" * 31, ("truncated", 0, "hmac")),
    ("formation_response_h2", "1f000000" + "ab" * 31, ("length-limit", 0, "length")),
    ("formation_response_h2", "01010000" + "ab" * 257, ("length-limit", 0, "length")),
    ("formation_response_h2", "21000000" + "ab" * 32, ("truncated", 4, "length")),
    ("formation_response_h2", "20000000" + "ab" * 33, ("trailing-bytes", 36, "")),
    ("formation_result", "", ("truncated", 0, "result")),
    ("channel_record", "0600000000", ("bad-marker", 0, "marker")),
    ("channel_record", "0701000001", ("length-limit", 1, "batch.length")),
    ("channel_record", "0700000016" + BATCH_HEAD + "00000000", ("truncated", 5, "batch")),
    ("channel_record", "0700000014" + "00" * 20, ("truncated", 22, "batch.entry_count")),
    (
        "channel_record",
        "0700000015" + BATCH_HEAD + "00000000" + "00",
        ("trailing-bytes", 26, ""),
    ),
    ("lab_preamble", "4d574c43", ("bad-magic", 0, "magic")),
    ("lab_preamble", "4d574c", ("truncated", 0, "magic")),
    ("lab_preamble", "4d574c4202", ("bad-version", 4, "version")),
    ("lab_preamble", "4d574c420101ff", ("bad-utf8", 6, "alpn")),
    ("lab_record", "0a00000000", ("unknown-type", 0, "type")),
    ("lab_record", "0000010001", ("length-limit", 1, "body.length")),
    ("lab_record", "0000010000", ("truncated", 5, "body")),
    ("lab_record", "0300000007" + "00" * 7, ("truncated", 5, "body.maximum")),
    ("lab_record", "0300000009" + "00" * 9, ("trailing-bytes", 13, "body")),
    ("lab_record", "0000000009" + "00" * 8 + "02", ("bad-flag", 13, "body.fin")),
    ("lab_record", "0900000409" + "00" * 8 + "61" * 1025, ("length-limit", 13, "body.reason")),
    ("lab_record", "0900000009" + "00" * 8 + "80", ("bad-utf8", 13, "body.reason")),
    ("lab_record", "0300000008" + "00" * 9, ("trailing-bytes", 13, "")),
    ("enrollment_request", "01" * 32 + "00" + "00" + "04", ("bad-enum", 34, "tier")),
    ("enrollment_response", "04", ("bad-enum", 0, "status")),
    (
        "enrollment_response",
        "01" + "0000" + "01" + "9500" + CERTIFICATE + "ff" + "00" + "00" * 8,
        ("trailing-bytes", 154, "certificate"),
    ),
    (
        "enrollment_response",
        "01" + "0000" + "01" + "9300" + CERTIFICATE,
        ("truncated", 90, "certificate.signature"),
    ),
    ("mesh_certificate", CERTIFICATE + "00", ("trailing-bytes", 148, "")),
    (
        "membership_certificate",
        "01" * 32 + "11" + "61" * 17,
        ("length-limit", 32, "callsign.length"),
    ),
    ("membership_certificate", "01" * 32 + "00" + "ff" * 8, ("bad-utf8", 33, "mesh_id")),
    ("mesh_genesis", "0000" + "00" * 72 + "03", ("bad-enum", 74, "policy")),
    ("mesh_credentials", "0000" + "30" * 7, ("truncated", 2, "mesh_id")),
)


@pytest.mark.parametrize(("kind", "data", "expected"), FAULTS)
def test_names_the_field_at_fault(kind: str, data: str, expected: Found) -> None:
    """The first field that fails decides reason, offset and path."""
    with pytest.raises(Malformed) as raised:
        kinds.decode(kind, bytes.fromhex(data))

    assert expected == found(raised.value)


def test_every_reason_is_in_the_registry() -> None:
    """No reason is made up by this codec."""
    assert {expected[0] for _, _, expected in FAULTS} <= set(REASONS)


def test_keeps_the_entries_before_a_fault() -> None:
    """An entry over the payload cap ends the batch like one that is cut."""
    rest = bytes.fromhex("0003613a62" + "01" + "ffffffff" + "77")
    data = bytes.fromhex(BATCH_HEAD + "00000002" + ENTRY) + rest

    batch = decode_sync_batch(data)

    assert Fault("length-limit", 32, rest) == batch.fault
    assert (SyncEntry("a:b", 1, b"\x77"),) == batch.entries
    assert data == encode_sync_batch(batch)


def test_judges_the_fields_of_an_entry_in_their_order() -> None:
    """A key that is not UTF-8 comes before a payload that is cut."""
    data = bytes.fromhex(BATCH_HEAD + "00000002" + ENTRY + "0001ff" + "01" + "00000009")

    batch = decode_sync_batch(data)

    assert batch.fault is not None
    assert batch.fault.reason == "bad-utf8"


def test_a_cap_of_the_caller_holds() -> None:
    """The payload cap is an argument, in both directions and in batches."""
    frame = StreamFrame("a:b", 1, b"123456")
    data = encode_stream_frame(frame, payload_cap=6)

    with pytest.raises(Malformed, match="length-limit"):
        decode_stream_frame(data, payload_cap=5)
    with pytest.raises(Unencodable, match="length-limit"):
        encode_stream_frame(frame, payload_cap=5)
    batch = SyncBatch(1, 2, 3, 1, (SyncEntry("a:b", 1, b"123456"),))
    with pytest.raises(Unencodable, match="length-limit"):
        encode_sync_batch(batch, payload_cap=5)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (StreamFrame("k" * 65536, 1, b""), ("length-limit", 0, "key.length")),
        (StreamFrame("\ud800", 1, b""), ("bad-utf8", 0, "key")),
        (StreamFrame("a:b", 3, b""), ("unknown-type", 5, "type")),
    ],
)
def test_never_cuts_a_frame(message: StreamFrame, expected: Found) -> None:
    """A value too large for its field is an error, never truncated."""
    with pytest.raises(Unencodable) as raised:
        encode_stream_frame(message)

    assert expected == found(raised.value)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (SyncBatch(2**64, 0, 0, 0, ()), ("bad-value", 0, "batch_id")),
        (SyncBatch(1, 2, 256, 0, ()), ("bad-value", 16, "ttl")),
        (SyncBatch(1, 2, 3, 1, ()), ("bad-value", 17, "entry_count")),
        (
            SyncBatch(1, 2, 3, 2, (SyncEntry("a", 1, b""), SyncEntry("k" * 65536, 1, b""))),
            ("length-limit", 29, "entries[1].key.length"),
        ),
        (
            SyncBatch(1, 2, 3, 1, (SyncEntry("a:b", 256, b""),)),
            ("unknown-type", 26, "entries[0].type"),
        ),
        (
            SyncBatch(1, 2, 3, 2, (SyncEntry("a", 1, b""),), Fault("bad-utf8", 29, b"\0" * 6)),
            ("bad-value", 29, "fault"),
        ),
        (
            SyncBatch(1, 2, 3, 1, (), Fault("truncated", 21, b"\0" * 7)),
            ("bad-value", 21, "fault"),
        ),
    ],
)
def test_never_writes_a_batch_that_reads_otherwise(batch: SyncBatch, expected: Found) -> None:
    """Counts and faults of a batch are compared with its bytes."""
    with pytest.raises(Unencodable) as raised:
        encode_sync_batch(batch)

    assert expected == found(raised.value)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (TombstoneBatch(1, ()), ("bad-value", 0, "tombstone_count")),
        (TombstoneBatch(1, (), Fault("truncated", 4, b"")), ("bad-value", 4, "fault")),
    ],
)
def test_never_writes_tombstones_that_read_otherwise(
    batch: TombstoneBatch, expected: Found
) -> None:
    """The same for batches of tombstones."""
    with pytest.raises(Unencodable) as raised:
        encode_tombstone_batch(batch)

    assert expected == found(raised.value)


def test_a_fault_in_a_certificate_has_its_place_in_the_response() -> None:
    """EN-002: the offset counts from the first byte of the response."""
    certificate = decode_mesh_certificate(bytes.fromhex(CERTIFICATE))
    wrong = replace(certificate, signature=b"\3" * 63)
    response = EnrollmentResponse(EnrollmentStatus(0), "why", 1, wrong, 0, None, 5)

    with pytest.raises(Unencodable) as raised:
        encode_enrollment_response(response)

    # Status, reason and its length, flag, length, and the certificate up to its signature.
    assert raised.value.offset == 1 + 2 + 3 + 1 + 2 + 84
    assert raised.value.field == "certificate.signature"


SKIP = NegentropyMode.SKIP


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        (
            (Range(Bound(7, b""), SKIP, None), Range(Bound(6, b""), SKIP, None)),
            ("bad-bound", 4, "ranges[1].upper.timestamp"),
        ),
        (
            (Range(Bound(None, b""), SKIP, None), Range(Bound(None, b""), SKIP, None)),
            ("bad-bound", 4, "ranges[1].upper.timestamp"),
        ),
        (
            (Range(Bound(2**64 - 1, b""), SKIP, None),),
            ("bad-bound", 1, "ranges[0].upper.timestamp"),
        ),
        (
            (Range(Bound(7, b"\1" * 33), SKIP, None),),
            ("bad-bound", 2, "ranges[0].upper.prefix.length"),
        ),
        ((Range(Bound(7, b""), SKIP, Fingerprint(b"\1" * 16)),), ("bad-mode", 4, "ranges[0].mode")),
    ],
)
def test_never_writes_bounds_that_cannot_be(ranges: tuple[Range, ...], expected: Found) -> None:
    """Bounds that go back have no encoding, and a payload has the shape of its mode."""
    with pytest.raises(Unencodable) as raised:
        encode_negentropy_message(NegentropyMessage(0x61, ranges))

    assert expected == found(raised.value)
