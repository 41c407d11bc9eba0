"""Content of frames: whole frames from a stream, and the documents and tombstones in them.

Everything that a target sends is checked against what a sender may send; `Malformed` names the
fault.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache, partial
from struct import Struct
from typing import Any

from meshwire_spec.codec import Malformed, Message, accept, decode, encode
from meshwire_spec.numbers import (
    BATCH_KEY,
    NEGENTROPY_KEY,
    PAYLOAD_MAX,
    SEND_ENTRIES_MAX,
    TOMBSTONE_BATCH_KEY,
    TOMBSTONE_COLLECTION,
    FrameType,
)

_KEPT_MAX = 8192
"""Longest message in bytes whose decoded form is kept: a target sends the same ones repeatedly."""
_KEY_LENGTH = Struct("!H")
_AFTER_KEY = Struct("!BI")


def take_frames(received: bytearray) -> Iterator[Message]:
    """Yield the whole frames at the front of the buffer and remove them.

    Raises Malformed if the bytes cannot be a frame; they stay in the buffer.
    """
    while size := whole_frame(received):
        frame = _decoded("stream_frame", bytes(received[:size]))
        del received[:size]
        yield frame


def _decoded(kind: str, data: bytes) -> Message:
    """Return what `decode` returns; the result for a short message is kept for equal ones."""
    return _decode_once(kind, data) if len(data) <= _KEPT_MAX else decode(kind, data)


_decode_once = lru_cache(maxsize=4096)(decode)


def after_records(data: bytes) -> bytes:
    """Return what follows the records of a channel at the front of an answering half."""
    rest = data
    while rest:
        size = 5 + int.from_bytes(rest[1:5], "big")
        try:
            decode("channel_record", rest[:size])
        except Malformed:
            return rest
        rest = rest[size:]
    return rest


def whole_frame(received: bytearray) -> int:
    """Return the size of the frame at the front in bytes, 0 until it is complete.

    Raises Malformed if the bytes cannot be a frame.
    """
    if len(received) < _KEY_LENGTH.size:
        return 0
    key_end = _KEY_LENGTH.size + _KEY_LENGTH.unpack_from(received)[0]
    header_end = key_end + _AFTER_KEY.size
    if len(received) < header_end:
        return 0
    size: int = _AFTER_KEY.unpack_from(received, key_end)[1]
    if size > PAYLOAD_MAX:
        raise Malformed("length-limit", key_end + 1, "payload", kind="stream_frame")
    return header_end + size if len(received) >= header_end + size else 0


def is_one_frame(data: bytes) -> bool:
    """Return True if these bytes are one whole frame, right or wrong in its fields."""
    try:
        return whole_frame(bytearray(data)) == len(data) > 0
    except Malformed:
        return False


def missing_bytes(received: bytes | bytearray) -> str:
    """Return how the bytes of a frame that is cut short differ from its lengths."""
    came, key = len(received), int.from_bytes(received[: _KEY_LENGTH.size], "big")
    at = _KEY_LENGTH.size + key
    if came < at + _AFTER_KEY.size:
        return f"{came} bytes came before FIN, and its header takes {at + _AFTER_KEY.size}"
    announced, there = _AFTER_KEY.unpack_from(received, at)[1], came - at - _AFTER_KEY.size
    return f"payload.length announces {announced} bytes, and {there} came before FIN"


_FRAME_KEYS = {
    FrameType.BATCH: BATCH_KEY,
    FrameType.TOMBSTONE_BATCH: TOMBSTONE_BATCH_KEY,
    FrameType.NEGENTROPY_INIT: NEGENTROPY_KEY,
    FrameType.NEGENTROPY_RESPONSE: NEGENTROPY_KEY,
}
_Content = Iterator[tuple[int, str, Callable[[], bytes]]]
"""Type, document key, and a function that returns the payload when it is needed."""
_Fields = Mapping[str, Any]


def _of_document(fields: _Fields) -> _Content:
    yield fields["type"], fields["key"], lambda: fields["payload"]


def _of_tombstone(fields: _Fields) -> _Content:
    yield FrameType.TOMBSTONE, tombstone_key(fields["payload"]), lambda: fields["payload"]


def _of_tombstones(fields: _Fields) -> _Content:
    batch = _decoded("tombstone_batch", fields["payload"])
    for element in batch.fields["tombstones"]:
        key = f"{element['collection']}:{element['document_id']}"
        # Without the tolerated bytes after it: only the tombstone is compared.
        yield FrameType.TOMBSTONE, key, partial(encode_tombstone, {**element, "extra": b""})
    _refuse_fault("tombstone_batch", batch)


def _of_batch(fields: _Fields, planted: Collection[str] = ()) -> _Content:
    batch = _decoded("sync_batch", fields["payload"])
    for entry in batch.fields["entries"]:
        if entry["key"] in planted:
            continue
        reason = accept("sync_entry", Message("sync_entry", entry))
        if reason is not None:
            raise Malformed(reason, 0, "entries", kind="sync_batch")
        yield from CONTENT[entry["type"]](entry)
    _refuse_fault("sync_batch", batch)
    refuse_extra("sync_batch", batch)
    if batch.fields["entry_count"] > SEND_ENTRIES_MAX:
        raise Malformed("count-limit", 0, "entry_count", kind="sync_batch", rule="BT-024")


def refuse_extra(kind: str, message: Message) -> None:
    """Raise Malformed if a sender added bytes after a message (D-04)."""
    if message.fields["extra"]:
        raise Malformed("trailing-bytes", 0, "extra", kind=kind, detail="a sender adds nothing")


def _of_reconciliation(fields: _Fields) -> _Content:
    decode("negentropy_message", fields["payload"])
    yield fields["type"], NEGENTROPY_KEY, lambda: fields["payload"]


def _refuse_fault(kind: str, batch: Message) -> None:
    fault = batch.fields["fault"]
    if fault is not None:
        raise Malformed(fault["reason"], fault["offset"], "", kind=kind)


def content_of(fields: _Fields, planted: Collection[str]) -> _Content | None:
    """Return the content of a frame, or None if its type has no content.

    A key that the suite has `planted` is no fault of a target that passes it on, although the key
    is outside the grammar. The iterator raises Malformed.
    """
    if fields["type"] == FrameType.BATCH:
        return _of_batch(fields, planted)
    opener = CONTENT.get(fields["type"])
    return None if opener is None else opener(fields)


def wrong_keys(data: bytes) -> Iterator[str]:
    """Yield the keys outside the grammar that a frame of the suite has for documents."""
    try:
        frame = _decoded("stream_frame", data).fields
        entries = [frame]
        if frame["type"] == FrameType.BATCH:
            entries = _decoded("sync_batch", frame["payload"]).fields["entries"]
    except Malformed:
        return
    for entry in entries:
        if entry["type"] in _OF_DOCUMENTS and accept("sync_entry", Message("sync_entry", entry)):
            yield entry["key"]


_OF_DOCUMENTS = frozenset((FrameType.DELTA, FrameType.SNAPSHOT, FrameType.TOMBSTONE))


def check_frame_key(fields: _Fields) -> None:
    """Raise Malformed unless the key of a frame is the one of its type (FR-014)."""
    wanted = _FRAME_KEYS.get(fields["type"])
    if fields["type"] == FrameType.TOMBSTONE:
        wanted = f"{TOMBSTONE_COLLECTION}:{tombstone_key(fields['payload'])}"
    if wanted is not None and fields["key"] != wanted:
        raise Malformed("bad-key", 0, "key", kind="stream_frame")


@lru_cache(maxsize=4096)
def tombstone_key(payload: bytes) -> str:
    """Return the document key that a tombstone names; raises Malformed."""
    fields = decode("tombstone", payload).fields
    return f"{fields['collection']}:{fields['document_id']}"


def encode_tombstone(fields: _Fields) -> bytes:
    """Return bytes of a tombstone with these members."""
    return encode(Message("tombstone", fields))


CONTENT: dict[int, Callable[[_Fields], _Content]] = {
    FrameType.DELTA: _of_document,
    FrameType.SNAPSHOT: _of_document,
    FrameType.TOMBSTONE: _of_tombstone,
    FrameType.TOMBSTONE_BATCH: _of_tombstones,
    FrameType.BATCH: _of_batch,
    FrameType.NEGENTROPY_INIT: _of_reconciliation,
    FrameType.NEGENTROPY_RESPONSE: _of_reconciliation,
}
