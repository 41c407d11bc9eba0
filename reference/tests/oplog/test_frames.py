"""Messages of a session: bulks in chunks, single operations, envelopes."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwire_reference.oplog.frames import (
    bulk_chunks,
    decode_binary,
    decode_text,
    empty_bulk,
    encode_live,
)
from meshwire_reference.oplog.spelling import operation_json
from meshwire_reference.oplog.tagged import read_tagged
from meshwire_reference.oplog.values import Unreadable
from meshwire_reference.testing.oplog_recordings import lines


@given(texts=st.lists(st.text(max_size=40), max_size=30), size=st.integers(60, 200))
def test_chunks_hold_every_operation_in_order(texts: list[str], size: int) -> None:
    """Together they are the list, each within the size unless one operation is too long."""
    found: list[str] = []
    for message, count in bulk_chunks(texts, size):
        part = tuple(decode_text(message))
        found += part

        assert len(part) == count
        assert count == 1 or len(message.encode()) <= size
    assert found == texts


def test_a_bulk_may_be_empty() -> None:
    """A node without operations says so."""
    assert list(decode_text(empty_bulk())) == []


def test_a_single_operation_is_a_bulk_of_one() -> None:
    """Old peers send it as text."""
    assert list(decode_text('{"type":"op","op":"x"}')) == ["x"]


def test_an_envelope_holds_one_operation() -> None:
    """Encoded from the text of the log, decoded to the operation."""
    signed = read_tagged(next(lines("ids"))["op"])

    assert decode_binary(encode_live(operation_json(signed))) == signed


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("{", "bad-json"),
        ("[]", "wrong-type"),
        ('{"type":"other"}', "unknown-frame"),
        ('{"type":"bulk"}', "wrong-type"),
        ('{"type":"bulk","ops":[1]}', "wrong-type"),
        ('{"type":"op"}', "wrong-type"),
        ('{"type":"op","type":"op","op":"x"}', "duplicate-member"),
        (b"\xff", "bad-utf8"),
        (b"", "bad-json"),
        (b"7", "wrong-type"),
        (b'{"v":3,"op":{}}', "unknown-version"),
        (b'{"v":2,"op":{}}', "missing-member"),
        (b'{"v":1.0,"op":{}}', "unknown-version"),
        (b'{"v":true,"op":{}}', "unknown-version"),
        (b'{"v":1}', "wrong-type"),
    ],
)
def test_what_is_no_message_has_a_reason(message: str | bytes, reason: str) -> None:
    """The session goes on, so each kind of fault is named for its counter."""
    with pytest.raises(Unreadable) as caught:
        decode_text(message) if isinstance(message, str) else decode_binary(message)

    assert caught.value.reason == reason


def test_deep_nesting_is_refused() -> None:
    """The parser's own limit becomes a reason."""
    with pytest.raises(Unreadable):
        decode_text(json.dumps({"type": "bulk"})[:-1] + ',"ops":' + "[" * 200_000)


NO_STRINGS = ('{"type":"bulk","ops":[', "[],", "]}"), ("[", "[],", "]"), ('{"a":[', "{},", "]}")


@pytest.mark.parametrize(("begin", "part", "end"), NO_STRINGS)
def test_a_long_message_is_refused_before_its_values_are_made(
    begin: str, part: str, end: str
) -> None:
    """A list of three bytes takes 56 in memory, so 64 MiB of them would take a gigabyte."""
    text = begin + part * (2**20 // len(part)) + end
    tracemalloc.start()
    with pytest.raises(Unreadable):
        decode_text(text, 2**16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < len(text)


def test_the_operations_of_a_long_message_are_made_one_by_one() -> None:
    """A message of many short texts takes no more memory than it has."""
    text = '{"type":"bulk","ops":[' + '"ab",' * 2**17 + '"cd"]}'
    tracemalloc.start()
    count = sum(1 for _ in decode_text(text, 2**16))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 2**17 + 1
    assert peak < len(text)


BULKS = st.sampled_from(
    [
        '{"type":"bulk","ops":[',
        '{"ops":[',
        ' { "type" : "bulk" ,\n"ops" : [ ',
        '{"type":"op","ops":[',
    ]
)
PARTS = st.lists(
    st.sampled_from(['"a"', '"\\u00e9"', '"\\ud800"', '"\\x"', '"', "7", "[]", ",", " , ", "]"]),
    max_size=8,
)
ENDS = st.sampled_from(["]}", '],"type":"bulk"}', '],"type":"op"}', "] } ", "]", "", "]}x"])


@given(begin=BULKS, parts=PARTS, separator=st.sampled_from([",", " ,\t"]), end=ENDS)
def test_both_ways_to_read_a_bulk_agree(
    begin: str, parts: list[str], separator: str, end: str
) -> None:
    """What one takes the other takes too, with the same operations."""
    text = begin + separator.join(parts) + end

    assert _read(text, 0) == _read(text, len(text))


def _read(text: str, whole_max: int) -> list[str] | None:
    try:
        return list(decode_text(text, whole_max))
    except Unreadable:
        return None
