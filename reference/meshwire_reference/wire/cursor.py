"""Reader and writer of one message: every read is checked against the bytes left."""

from collections.abc import Container
from struct import Struct
from typing import Final

from meshwire_reference.wire.errors import Malformed, Unencodable

U8: Final = Struct(">B")
U16_BE: Final = Struct(">H")
U16_LE: Final = Struct("<H")
U32_BE: Final = Struct(">I")
U32_LE: Final = Struct("<I")
U64_BE: Final = Struct(">Q")
U64_LE: Final = Struct("<Q")


class Reader:
    """Takes the fields of one message in order from `data[position:end]`.

    `path` is put before every field name, for a message inside another. Each method raises
    Malformed with the field that it could not take.
    """

    __slots__ = ("data", "end", "path", "position")

    def __init__(
        self, data: bytes, position: int = 0, end: int | None = None, path: str = ""
    ) -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end
        self.path = path

    def fault(self, reason: str, field: str, offset: int | None = None) -> Malformed:
        """Return the error for a field of this message; the caller raises it."""
        at = self.position if offset is None else offset
        return Malformed(reason, at, self.path + field)

    def remaining(self) -> int:
        """Return the number of bytes left."""
        return self.end - self.position

    def number(self, layout: Struct, field: str) -> int:
        """Read one integer."""
        after = self.position + layout.size
        if after > self.end:
            # FR-003, BT-002, BT-011, TS-003, LV-003, NG-009, HS-011, LB-006, LB-023, EN-010
            raise self.fault("truncated", field)
        (value,) = layout.unpack_from(self.data, self.position)
        self.position = after
        return int(value)

    def listed(self, layout: Struct, allowed: Container[int], reason: str, field: str) -> int:
        """Read one integer that must be in `allowed`; refused with `reason` if it is not."""
        start = self.position
        value = self.number(layout, field)
        if value not in allowed:
            raise self.fault(reason, field, start)
        return value

    def fixed(self, size: int, field: str) -> bytes:
        """Read exactly `size` bytes."""
        after = self.position + size
        if after > self.end:
            raise self.fault("truncated", field)
        content = self.data[self.position : after]
        self.position = after
        return content

    def length(self, layout: Struct, field: str, maximum: int | None, minimum: int = 0) -> int:
        """Read the length of `field` and check its limits, not its content.

        The length of an unnamed part is the field `length`.
        """
        start = self.position
        path = f"{field}.length" if field else "length"
        size = self.number(layout, path)
        if size < minimum or (maximum is not None and size > maximum):
            raise self.fault("length-limit", path, start)
        return size

    def block(self, layout: Struct, field: str, maximum: int | None = None) -> bytes:
        """Read a length and that number of bytes."""
        return self.fixed(self.length(layout, field, maximum), field)

    def text(self, layout: Struct, field: str, maximum: int | None = None) -> str:
        """Read a length and that number of bytes of strict UTF-8."""
        return self.fixed_text(self.length(layout, field, maximum), field)

    def fixed_text(self, size: int, field: str) -> str:
        """Read exactly `size` bytes of strict UTF-8."""
        start = self.position
        content = self.fixed(size, field)
        try:
            return content.decode()
        except UnicodeDecodeError as fault:
            # FR-002, BT-003, TS-005, HS-012, LB-004, LB-027, EN-011
            raise self.fault("bad-utf8", field, start) from fault

    def inner(self, size: int, field: str) -> "Reader":
        """Read `size` bytes as a nested message and return its reader.

        An unnamed one is cut at the field `length`.
        """
        after = self.position + size
        if after > self.end:
            raise self.fault("truncated", field or "length")
        path = f"{self.path}{field}." if field else self.path
        reader = Reader(self.data, self.position, after, path)
        self.position = after
        return reader

    def rest(self) -> bytes:
        """Read all bytes left."""
        return self.fixed(self.remaining(), "extra")

    def close(self) -> None:
        """Check that nothing is left; the field of the fault is the message itself."""
        if self.position < self.end:
            # FR-006, BT-005, BT-033, HS-013, LB-007, LB-024, EN-012
            raise Malformed("trailing-bytes", self.position, self.path.removesuffix("."))


class Writer:
    """Writes the fields of one message in order; the mirror of Reader, field for field.

    Each method raises Unencodable if the value does not fit its field: values are never cut.
    """

    __slots__ = ("buffer", "path")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.path = ""

    def fault(self, reason: str, field: str) -> Unencodable:
        """Return the error for the field that would come next; the caller raises it."""
        return Unencodable(reason, len(self.buffer), self.path + field)

    def number(self, layout: Struct, value: int, field: str) -> None:
        """Write one integer."""
        if not 0 <= value < 1 << (8 * layout.size):
            # ER-004
            raise self.fault("bad-value", field)
        self.buffer += layout.pack(value)

    def listed(
        self, layout: Struct, value: int, allowed: Container[int], reason: str, field: str
    ) -> None:
        """Write one integer that must be in `allowed`."""
        if value not in allowed:
            raise self.fault(reason, field)
        self.number(layout, value, field)

    def fixed(self, content: bytes, size: int, field: str) -> None:
        """Write exactly `size` bytes."""
        if len(content) != size:
            raise self.fault("bad-value", field)
        self.buffer += content

    def length(
        self, layout: Struct, size: int, field: str, maximum: int | None, minimum: int = 0
    ) -> None:
        """Write the length of `field` after checking its limits."""
        path = f"{field}.length" if field else "length"
        # FR-007: never cut and never wrapped, whatever the ceiling of the field or of its length.
        ceiling = (1 << 8 * layout.size) - 1
        if not minimum <= size <= (ceiling if maximum is None else min(maximum, ceiling)):
            raise self.fault("length-limit", path)
        self.number(layout, size, path)

    def block(self, layout: Struct, content: bytes, field: str, maximum: int | None = None) -> None:
        """Write a length and the bytes."""
        self.length(layout, len(content), field, maximum)
        self.buffer += content

    def text(self, layout: Struct, content: str, field: str, maximum: int | None = None) -> None:
        """Write a length and the text as UTF-8."""
        self.block(layout, self.utf8(content, field), field, maximum)

    def utf8(self, content: str, field: str) -> bytes:
        """Return the UTF-8 bytes of a text; a lone surrogate has none."""
        try:
            return content.encode()
        except UnicodeEncodeError as fault:
            raise self.fault("bad-utf8", field) from fault

    def rest(self, content: bytes) -> None:
        """Write bytes without a length."""
        self.buffer += content

    def done(self) -> bytes:
        """Return the whole message."""
        return bytes(self.buffer)
