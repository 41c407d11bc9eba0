"""Frames of a stream as its bytes arrive in pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwire_reference.wire.batches import StreamFrame, decode_stream_frame, encode_stream_frame
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.frames import FrameReader

FRAMES = (
    StreamFrame("beacons:b1", 1, b"\x01\x02\x03"),
    StreamFrame("", 7, b""),
    StreamFrame("\u00e9:z", 6, bytes(range(256)) * 3),
    StreamFrame("nodes:n1", 2, b"\xff"),
)
STREAM = b"".join(encode_stream_frame(frame) for frame in FRAMES)


def read_in_pieces(pieces: list[bytes], reader: FrameReader) -> list[StreamFrame]:
    """Feed a reader piece by piece and return all frames."""
    return [frame for piece in pieces for frame in reader.feed(piece)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted))
def test_cuts_frames_however_they_arrive(cuts: list[int]) -> None:
    """Where the transport cuts the bytes makes no difference."""
    edges = [0, *cuts, len(STREAM)]
    reader = FrameReader()

    frames = read_in_pieces([STREAM[low:high] for low, high in pairwise(edges)], reader)

    assert list(FRAMES) == frames
    assert reader.end() is None
    assert not reader.is_inside_frame


def test_is_inside_a_frame_from_its_first_byte_to_its_last() -> None:
    """The stall deadline runs inside frames and not between them."""
    reader = FrameReader()
    data = encode_stream_frame(FRAMES[0])
    inside = []
    for byte in data:
        reader.feed(bytes([byte]))
        inside.append(reader.is_inside_frame)

    assert [True] * (len(data) - 1) + [False] == inside


REFUSED_AT_ONCE = (
    ("0001ff", "bad-utf8"),
    ("0001610a", "unknown-type"),
    ("00000101000001", "length-limit"),
)


@pytest.mark.parametrize(("data", "reason"), REFUSED_AT_ONCE)
def test_refuses_with_the_byte_that_decides(data: str, reason: str) -> None:
    """Nothing after the deciding byte is waited for, and nothing before it refuses."""
    content = bytes.fromhex(data)
    reader = FrameReader()

    faults = []
    for piece in (content[:-1], content[-1:]):
        reader.feed(piece)
        faults.append(reader.fault.reason if reader.fault else None)

    assert [None, reason] == faults


@pytest.mark.parametrize(("data", "reason"), REFUSED_AT_ONCE)
def test_refuses_by_the_same_field_as_the_whole_message(data: str, reason: str) -> None:
    """Reader and decoder name the same field of a frame."""
    content = bytes.fromhex(data)
    reader = FrameReader()
    reader.feed(content)

    with pytest.raises(Malformed) as raised:
        decode_stream_frame(content)
    assert reader.fault is not None
    assert reason == raised.value.reason
    assert (raised.value.offset, raised.value.field) == (reader.fault.offset, reader.fault.field)


def test_gives_the_frames_before_a_fault_and_none_after() -> None:
    """Elements before a fault take effect, later ones do not."""
    reader = FrameReader()

    frames = reader.feed(STREAM + bytes.fromhex("000161ff") + STREAM)
    later = reader.feed(STREAM)

    assert list(FRAMES) == frames
    assert later == []
    assert reader.fault is not None
    assert not reader.is_inside_frame


@pytest.mark.parametrize("size", range(1, len(encode_stream_frame(FRAMES[0]))))
def test_a_stream_that_ends_inside_a_frame_is_truncated(size: int) -> None:
    """The field that is cut is the one that the decoder would name."""
    data = encode_stream_frame(FRAMES[0])[:size]
    reader = FrameReader()
    reader.feed(data)

    fault = reader.end()

    with pytest.raises(Malformed) as raised:
        decode_stream_frame(data)
    assert fault is not None
    assert str(raised.value) == str(fault)


def test_reserves_nothing_for_what_a_header_announces() -> None:
    """The buffer holds what has come, whatever the length says."""
    reader = FrameReader(payload_cap=2**32 - 1)
    reader.feed(bytes.fromhex("00000100") + bytes.fromhex("ffffff") + b"\x07" * 100)

    assert len(reader._buffer) == 107


def test_lets_all_types_through_when_asked() -> None:
    """Which types are known is the caller's to say."""
    reader = FrameReader(known_types=None)

    assert [StreamFrame("a", 0x0A, b"")] == reader.feed(bytes.fromhex("0001610a00000000"))
