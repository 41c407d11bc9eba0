"""Frames of one stream as its bytes arrive: the incremental reader, without any IO."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

from meshwire_reference.wire.batches import FRAME_TYPES, StreamFrame
from meshwire_reference.wire.cursor import U8, U16_BE, U32_BE
from meshwire_reference.wire.errors import Malformed
from meshwire_spec.numbers import NEGENTROPY_MESSAGE_MAX, PAYLOAD_MAX, FrameType

KNOWN_TYPES: Final = FRAME_TYPES
GREAT: Final = 256 * 2**10
"""Size of a payload in bytes from which it is not copied."""
KEY_START: Final = U16_BE.size
FRAME_HEADER: Final = U16_BE.size + U8.size + U32_BE.size
"""Bytes of a frame besides its key and payload."""
HEAD: Final = 1024
"""Bytes of the beginning of a frame that are shown."""
NO_CAPS: Final[Mapping[int, int]] = MappingProxyType({})
RUN_CAPS: Final[Mapping[int, int]] = MappingProxyType(
    {
        FrameType.NEGENTROPY_INIT: NEGENTROPY_MESSAGE_MAX,
        FrameType.NEGENTROPY_RESPONSE: NEGENTROPY_MESSAGE_MAX,
    }
)
"""Greatest payloads that a node takes of types with a lower cap than the others, in bytes."""


def size_of_frame(frame: StreamFrame) -> int:
    """Return the bytes of a frame on its stream, with the header."""
    return FRAME_HEADER + len(frame.key.encode()) + len(frame.payload)


class FrameReader:
    """Splits the bytes of one stream into frames.

    After `put` the caller takes frames with `next_frame` while there are any, then looks at
    `fault`: once that is set, the stream is refused with its reason and nothing more comes out.
    While `is_inside_frame` holds the stall deadline runs. At the peer's FIN the caller asks `end`.
    Offsets of a fault count from the start of its frame. No memory is allocated for the length that
    a header announces: the buffer holds only received bytes.
    """

    __slots__ = ("_buffer", "_caps", "_known_types", "_needed", "_payload_cap", "fault", "key")

    def __init__(
        self,
        payload_cap: int = PAYLOAD_MAX,
        known_types: frozenset[int] | None = KNOWN_TYPES,
        caps: Mapping[int, int] = NO_CAPS,
    ) -> None:
        """Take the cap on payloads and the types to let through (None lets all through).

        `caps` are lower caps of single types.
        """
        self._buffer = bytearray()
        self._needed = KEY_START
        self._payload_cap = payload_cap
        self._caps = caps
        self._known_types = known_types
        self.fault: Malformed | None = None
        self.key = ""
        """Key of the frame that has begun or is at fault, once it has been read."""

    @property
    def is_inside_frame(self) -> bool:
        """True if a frame has begun and was neither taken nor refused."""
        return bool(self._buffer)

    @property
    def head(self) -> bytes:
        """The first bytes of a frame that has begun and was neither taken nor refused."""
        return bytes(self._buffer[:HEAD])

    @property
    def held_bytes(self) -> int:
        """Number of bytes received of frames that were not taken."""
        return len(self._buffer)

    def put(self, data: bytes) -> None:
        """Add the next bytes."""
        if self.fault is None:
            # FR-005: it grows with received bytes, never by an announced length.
            self._buffer += data

    def clear(self) -> None:
        """Drop the bytes of a frame that is incomplete."""
        self._buffer.clear()

    def next_frame(self) -> StreamFrame | None:
        """Take the next frame, None if no whole one is there."""
        buffer = self._buffer
        if len(buffer) < self._needed:
            return None
        try:
            taken = self._take(0)
        except Malformed as malformed:
            self.fault = malformed
            buffer.clear()
            return None
        if taken is None:
            return None
        frame_type, start, end = taken
        self._needed = KEY_START
        if end - start < GREAT:
            with memoryview(buffer) as view:
                payload = bytes(view[start:end])
            del buffer[:end]
        else:
            # A copy would take longer than others should wait. Nobody changes these bytes.
            self._buffer = buffer[end:]
            del buffer[end:], buffer[:start]
            payload = cast("bytes", buffer)
        key, self.key = self.key, ""
        return StreamFrame(key, frame_type, payload)

    def feed(self, data: bytes) -> list[StreamFrame]:
        """Add the next bytes and take every frame that is whole now."""
        self.put(data)
        return list(iter(self.next_frame, None))

    def end(self) -> Malformed | None:
        """Return the fault of the stream at the peer's FIN, or None."""
        if self.fault is None and self._buffer:
            self.fault = self._cut_short()
            self._buffer.clear()
        return self.fault

    def _take(self, start: int) -> tuple[int, int, int] | None:
        """Return type, beginning and end of the payload of the frame at `start`; its key is `key`.

        Return None and note what is needed if the frame is not whole. Each field is checked as soon
        as its last byte is there, in the order of the layout.
        """
        buffer = self._buffer
        here = len(buffer) - start
        self._needed, self.key = KEY_START, ""
        if here < KEY_START:
            return None
        type_at = KEY_START + U16_BE.unpack_from(buffer, start)[0]
        self._needed = type_at
        if here < type_at:
            return None
        self.key = self._key(start, type_at)
        length_at = type_at + U8.size
        self._needed = length_at
        if here < length_at:
            return None
        frame_type = buffer[start + type_at]
        # FR-011
        if self._known_types is not None and frame_type not in self._known_types:
            raise Malformed("unknown-type", type_at, "type")
        payload_at = length_at + U32_BE.size
        self._needed = payload_at
        if here < payload_at:
            return None
        size = U32_BE.unpack_from(buffer, start + length_at)[0]
        # FR-004, NG-018: refused by its length, before any byte of the payload is read.
        if size > min(self._payload_cap, self._caps.get(frame_type, size)):
            raise Malformed("length-limit", length_at, "payload.length")
        self._needed = payload_at + size
        if here < self._needed:
            return None
        return frame_type, start + payload_at, start + self._needed

    def _key(self, start: int, type_at: int) -> str:
        try:
            # FR-028
            return self._buffer[start + KEY_START : start + type_at].decode()
        except UnicodeDecodeError as fault:
            # FR-002
            raise Malformed("bad-utf8", KEY_START, "key") from fault

    def _cut_short(self) -> Malformed:
        """Return the fault of a stream that ends inside the frame in the buffer."""
        # FR-003
        here = len(self._buffer)
        if here < KEY_START:
            return Malformed("truncated", 0, "key.length")
        type_at = KEY_START + U16_BE.unpack_from(self._buffer)[0]
        length_at = type_at + U8.size
        payload_at = length_at + U32_BE.size
        fields = (
            (type_at, KEY_START, "key"),
            (length_at, type_at, "type"),
            (payload_at, length_at, "payload.length"),
        )
        for end, offset, field in fields:
            if here < end:
                return Malformed("truncated", offset, field)
        return Malformed("truncated", payload_at, "payload")
