"""The schema codec: exact both ways, one exception, tolerances as members."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwire_spec.codec import (
    ROOT,
    Malformed,
    Message,
    UnknownKind,
    accept,
    annotate,
    decode,
    encode,
    from_value,
    to_value,
)
from meshwire_spec.cursor import Cursor
from meshwire_spec.layouts import LAYOUTS
from meshwire_spec.numbers import KINDS, READ_MESSAGE, REASONS

ENTRY_1 = "0003613a620100000002aabb"
ENTRY_UNKNOWN = "0003633a640a00000001ff"
HEAD = "01020304050607080000018bcfe5687b05"


def value_of(kind: str, data: str) -> dict[str, Any]:
    """JSON shape of these bytes, after they were seen to come back from it."""
    value = to_value(decode(kind, bytes.fromhex(data)))
    assert encode(from_value(kind, json.loads(json.dumps(value)))).hex() == data
    return value


def test_every_kind_has_a_layout_in_the_order_of_the_registry() -> None:
    """Schema, vectors, harness and command line know the same kinds."""
    assert tuple(LAYOUTS) == KINDS


def test_a_batch_keeps_unknown_entries_among_the_others() -> None:
    """An entry of type 0x0A is skipped by its length and kept as bytes (D-05)."""
    value = value_of("sync_batch", f"{HEAD}00000003{ENTRY_1}{ENTRY_UNKNOWN}{ENTRY_1}")

    assert [entry["type"] for entry in value["entries"]] == [1, 10, 1]
    assert value["fault"] is None
    assert value["batch_id"] == "72623859790382856"


def test_a_fault_after_entries_that_stand_is_a_member() -> None:
    """Half an entry after two whole ones: both are kept, the rest is kept (D-05)."""
    value = value_of("sync_batch", f"{HEAD}00000003{ENTRY_1}{ENTRY_1}0003613a")

    assert len(value["entries"]) == 2
    assert value["entry_count"] == 3
    assert value["fault"] == {"reason": "truncated", "offset": 45, "rest": "0003613a"}


def test_a_fault_before_the_first_entry_refuses_the_batch() -> None:
    """Nothing stands before it, so there is nothing to keep."""
    with pytest.raises(Malformed) as caught:
        decode("sync_batch", bytes.fromhex(f"{HEAD}000000010003ff3a620100000000"))

    assert (caught.value.reason, caught.value.offset) == ("bad-utf8", 23)
    assert caught.value.field == "entries[0].key"
    assert caught.value.code == REASONS["bad-utf8"].code


def test_the_fault_of_a_tombstone_batch_is_kept_alike() -> None:
    """A second tombstone with direction 4 leaves the first standing."""
    one = "000374726b0003642d310000018bcfe5687b010203040506070800046e642d610003776879"
    element = "00000026" + one
    value = value_of("tombstone_batch", f"00000002{element}02{element}04")

    assert value["fault"]["reason"] == "bad-direction"
    assert value["tombstones"][0]["direction"] == 2


def test_an_element_may_carry_more_than_its_tombstone() -> None:
    """Bytes after the direction byte of an element are its own extra (D-04)."""
    one = "000374726b0003642d310000018bcfe5687b010203040506070800046e642d61000377687902"
    value = value_of("tombstone_batch", f"0000000100000028{one}5aa5ff")

    assert value["tombstones"][0]["extra"] == "5aa5"
    assert value["extra"] == "ff"


def test_negentropy_timestamps_are_absolute() -> None:
    """Differences on the wire, absolute in the message, null for infinity."""
    value = value_of("negentropy_message", "61820200000502abcd0200" + "000000")

    assert [found["upper"]["timestamp"] for found in value["ranges"]] == ["257", "261", None]
    assert value["ranges"][1]["upper"]["prefix"] == "abcd"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("6100000281ffffff7f", "count-limit"),
        ("610000020000000200", "bad-bound"),
        ("6180000200", "bad-varint"),
        ("60", "bad-version"),
    ],
)
def test_negentropy_messages_are_refused(data: str, reason: str) -> None:
    """The nine bytes that end a deployed peer are a plain count-limit (D-138)."""
    with pytest.raises(Malformed, match=reason):
        decode("negentropy_message", bytes.fromhex(data))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("tracks:doc-1", None),
        ("a:b:c", None),
        ("", "length-limit"),
        ("a:" + "i" * 895, None),
        ("a:" + "i" * 896, "bad-key"),
        ("c" * 128 + ":" + "i" * 895, None),
        ("c" * 129 + ":i", "bad-key"),
        ("k" * 1025, "length-limit"),
        ("nocolon", "bad-key"),
        (":id", "bad-key"),
        ("notes:", "bad-key"),
        ("no/tes:x", "bad-key"),
        ("notes:a\x00b", "bad-key"),
        ("notes:a\x85b", "bad-key"),
        ("batch", "bad-key"),
        ("tombstones:tracks:x", "bad-key"),
    ],
)
def test_accept_keeps_the_key_grammar(key: str, reason: str | None) -> None:
    """The structure of each of these is fine; a strict node refuses some (D-11, D-10)."""
    message = from_value("stream_frame", {"key": key, "type": 1, "payload": ""})

    assert accept("stream_frame", message) == reason


def test_a_read_is_a_frame_like_any_other() -> None:
    """The constant 10 bytes ride in a 0x00."""
    value = {"key": "notes:x", "type": 0, "payload": READ_MESSAGE.hex()}

    assert encode(from_value("stream_frame", value)).hex() == (
        "00076e6f7465733a78000000000a42000001000000020102"
    )


def test_members_that_contradict_each_other_do_not_encode() -> None:
    """A batch of one entry that claims two cannot be made without its fault."""
    value = to_value(decode("sync_batch", bytes.fromhex(f"{HEAD}00000001{ENTRY_1}")))

    with pytest.raises(Malformed, match="bad-value"):
        from_value("sync_batch", {**value, "entry_count": 2})


def test_an_unknown_kind_names_the_known_ones() -> None:
    """A caller's slip is not reported as a fault of the bytes."""
    with pytest.raises(UnknownKind, match="sync_batch"):
        decode("sync_bach", b"")


def test_fields_are_recorded_for_a_dump_alone() -> None:
    """A cursor keeps no fields unless it is asked to: most messages are never shown."""
    data = bytes.fromhex("000374726b0003642d31000001")
    plain, annotating = Cursor(data), Cursor(data, annotates=True)
    for cursor in (plain, annotating):
        with pytest.raises(Malformed):
            LAYOUTS["tombstone"].parse(cursor, ROOT)

    assert plain.spans == []
    assert [span.path for span in annotating.spans][:2] == ["collection.length", "collection"]


def test_annotate_shows_everything_up_to_the_fault() -> None:
    """Spans are absolute and contiguous, and the fault follows the last one."""
    spans, fault = annotate("tombstone", bytes.fromhex("000374726b0003642d31000001"))

    assert [span.path for span in spans] == [
        "collection.length",
        "collection",
        "document_id.length",
        "document_id",
    ]
    assert fault is not None
    assert (fault.reason, fault.field, fault.offset) == ("truncated", "deleted_at", 10)


@given(kind=st.sampled_from(KINDS), data=st.binary(max_size=200))
def test_any_bytes_are_refused_or_come_back_exactly(kind: str, data: bytes) -> None:
    """Received bytes raise nothing but Malformed, and what decodes re-encodes."""
    _, fault = annotate(kind, data)
    if fault is not None:
        assert fault.reason in REASONS
        assert 0 <= fault.offset <= len(data)
        return
    message = decode(kind, data)

    assert encode(message) == data
    assert from_value(kind, to_value(message)) == message
    accept(kind, message)


def test_a_message_is_frozen_all_the_way_down() -> None:
    """Decoded values are immutable."""
    message = decode("sync_batch", bytes.fromhex(f"{HEAD}00000001{ENTRY_1}"))

    with pytest.raises(TypeError):
        message.fields["entries"][0]["key"] = "x"  # type: ignore[index]
    assert isinstance(message, Message)
