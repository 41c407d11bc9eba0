"""Negentropy messages, version 1: a version byte, then ranges to the end of the message."""

from __future__ import annotations

from typing import Any

from meshwire_spec.cursor import Cursor
from meshwire_spec.fields import (
    DECIMAL,
    Block,
    Constant,
    Fixed,
    Int8ub,
    Row,
    bytes_from_json,
    fail,
    hex_schema,
)
from meshwire_spec.layouts.compound import Layout
from meshwire_spec.numbers import (
    NEGENTROPY_EMPTY_REST,
    NEGENTROPY_FINGERPRINT,
    NEGENTROPY_ID,
    NEGENTROPY_PREFIX_MAX,
    NEGENTROPY_TIMESTAMP_MAX,
    NEGENTROPY_VERSION,
    U64_MAX,
    NegentropyMode,
)

VARINT_BITS = 7
CONTINUES = 0x80


def parse_varint(cursor: Cursor, path: str) -> int:
    """Read a minimal varint, most significant group first; raises `Malformed` bad-varint."""
    start = cursor.tell()
    value = 0
    while True:
        if not cursor.left():
            fail("truncated", start, path)
        byte = cursor.take(1, path)[0]
        if cursor.tell() == start + 1 and byte == CONTINUES:
            fail("bad-varint", start, path, "not minimal")
        value = value << VARINT_BITS | byte & ~CONTINUES
        if value > U64_MAX:
            fail("bad-varint", start, path, "over 64 bits")
        if byte < CONTINUES:
            return value


def build_varint(value: int) -> bytes:
    """Return the bytes of a minimal varint."""
    groups = [value & ~CONTINUES & 0xFF]
    while value := value >> VARINT_BITS:
        groups.append(value & ~CONTINUES & 0xFF | CONTINUES)
    return bytes(reversed(groups))


class Timestamp(Block):
    """Upper timestamp of a range: 0 is infinity, else 1 + the difference from the last one."""

    def _parse(self, stream: Any, context: Any, path: str) -> int | None:
        start = stream.tell()
        if stream.timestamp is None:
            fail("bad-bound", start, path, "a range after infinity", "NG-006")
        raw = parse_varint(stream, path)
        value = None if raw == 0 else stream.timestamp + raw - 1
        if value is not None and value > NEGENTROPY_TIMESTAMP_MAX:
            fail("bad-bound", start, path, "over 2^64-2", "NG-005")
        stream.timestamp = value
        self.note(stream, start, path, value)
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if stream.timestamp is None:
            fail("bad-bound", stream.tell(), path, "a range after infinity", "NG-006")
        if obj is not None and not stream.timestamp <= obj <= NEGENTROPY_TIMESTAMP_MAX:
            fail("bad-bound", stream.tell(), path, "below the last one, or over 2^64-2", "NG-005")
        stream.write(build_varint(0 if obj is None else obj - stream.timestamp + 1))
        stream.timestamp = obj
        return obj

    def to_json(self, obj: Any) -> Any:
        return None if obj is None else str(obj)

    def from_json(self, value: Any, path: str) -> Any:
        if value is None:
            return None
        if not isinstance(value, str) or not value.isdigit() or str(int(value)) != value:
            fail("bad-value", 0, path, "64-bit integers are decimal strings")
        return int(value)

    def schema(self) -> dict[str, Any]:
        return {"oneOf": [{"type": "null"}, dict(DECIMAL)]}

    def type_text(self) -> str:
        return "varint; 0 is infinity, else 1 + difference from the timestamp before"

    def rows(self, name: str) -> list[Row]:
        return [Row(name, "1..10", self.type_text(), self.meaning())]


class Prefix(Block):
    """Length varint, then the first bytes of an id; missing bytes count as zero."""

    def _parse(self, stream: Any, context: Any, path: str) -> bytes:
        start = stream.tell()
        size = parse_varint(stream, f"{path}.length")
        if size > NEGENTROPY_PREFIX_MAX:
            fail(
                "bad-bound", start, f"{path}.length", f"{size} > {NEGENTROPY_PREFIX_MAX}", "NG-004"
            )
        data: bytes = stream.take(size, path)
        self.note(stream, start, path, data)
        return data

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, bytes) or len(obj) > NEGENTROPY_PREFIX_MAX:
            fail(
                "bad-bound",
                stream.tell(),
                f"{path}.length",
                "over 32 bytes",
            )
        stream.write(build_varint(len(obj)) + obj)
        return obj

    def to_json(self, obj: Any) -> Any:
        return obj.hex()

    def from_json(self, value: Any, path: str) -> Any:
        return bytes_from_json(value, path)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^([0-9a-f]{{2}}){{0,{NEGENTROPY_PREFIX_MAX}}}$"}

    def type_text(self) -> str:
        return f"varint length, then at most {NEGENTROPY_PREFIX_MAX} bytes"

    def rows(self, name: str) -> list[Row]:
        return [Row(name, "1 + n", self.type_text(), self.meaning())]


class Mode(Block):
    """Mode varint of a range."""

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        start = stream.tell()
        value = parse_varint(stream, path)
        if value > max(NegentropyMode):
            fail("bad-mode", start, path, str(value))
        self.note(stream, start, path, value)
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if type(obj) is not int or not 0 <= obj <= max(NegentropyMode):
            fail("bad-mode", stream.tell(), path)
        stream.write(build_varint(obj))
        return obj

    def schema(self) -> dict[str, Any]:
        return {"enum": [int(mode) for mode in NegentropyMode]}

    def type_text(self) -> str:
        return f"varint, 0..{int(max(NegentropyMode))}: skip, fingerprint, id list"

    def rows(self, name: str) -> list[Row]:
        return [Row(name, "1", self.type_text(), self.meaning())]


class RangePayload(Block):
    """The content of a range by its mode: nothing, a fingerprint, or a counted list of ids."""

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        start = stream.tell()
        value = self._PARSERS[context["mode"]](stream, path)
        if value is not None:
            self.note(stream, start, path, value)
        return value

    @staticmethod
    def _parse_fingerprint(stream: Cursor, path: str) -> dict[str, Any]:
        return {"fingerprint": stream.take(NEGENTROPY_FINGERPRINT, f"{path} -> fingerprint")}

    @staticmethod
    def _parse_ids(stream: Cursor, path: str) -> dict[str, Any]:
        start = stream.tell()
        count = parse_varint(stream, f"{path} -> count")
        if count > stream.left() // NEGENTROPY_ID:
            fail("count-limit", start, f"{path} -> count", f"{count} ids do not fit")
        return {"ids": [stream.take(NEGENTROPY_ID, path) for _ in range(count)]}

    _PARSERS = {  # noqa: RUF012 - construct copies blocks, a class table is shared on purpose
        int(NegentropyMode.SKIP): lambda _stream, _path: None,
        int(NegentropyMode.FINGERPRINT): _parse_fingerprint,
        int(NegentropyMode.ID_LIST): _parse_ids,
    }
    _MEMBERS = {  # noqa: RUF012 - as above
        int(NegentropyMode.SKIP): None,
        int(NegentropyMode.FINGERPRINT): "fingerprint",
        int(NegentropyMode.ID_LIST): "ids",
    }

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        member = self._MEMBERS[context["mode"]]
        if (obj is None) != (member is None) or (obj is not None and list(obj) != [member]):
            fail("bad-value", stream.tell(), path, "does not belong to the mode")
        if member == "fingerprint":
            Fixed(NEGENTROPY_FINGERPRINT, "the fingerprint")._build(  # noqa: SLF001
                obj[member], stream, context, f"{path} -> fingerprint"
            )
        elif member == "ids":
            stream.write(build_varint(len(obj[member])))
            for index, item in enumerate(obj[member]):
                Fixed(NEGENTROPY_ID, "an id")._build(  # noqa: SLF001
                    item, stream, context, f"{path} -> ids[{index}]"
                )
        return obj

    def to_json(self, obj: Any) -> Any:
        if obj is None:
            return None
        if "ids" in obj:
            return {"ids": [item.hex() for item in obj["ids"]]}
        return {"fingerprint": obj["fingerprint"].hex()}

    def from_json(self, value: Any, path: str) -> Any:
        if value is None:
            return None
        if isinstance(value, dict) and value.keys() == {"ids"} and isinstance(value["ids"], list):
            return {"ids": [bytes_from_json(item, path) for item in value["ids"]]}
        if isinstance(value, dict) and value.keys() == {"fingerprint"}:
            return {"fingerprint": bytes_from_json(value["fingerprint"], path)}
        return fail("bad-value", 0, path, "neither null, fingerprint nor ids")

    def schema(self) -> dict[str, Any]:
        ids = {"type": "array", "items": hex_schema(NEGENTROPY_ID)}
        return {
            "oneOf": [
                {"type": "null"},
                _only("fingerprint", hex_schema(NEGENTROPY_FINGERPRINT)),
                _only("ids", ids),
            ]
        }

    def type_text(self) -> str:
        return (
            f"by `mode`: nothing; {NEGENTROPY_FINGERPRINT} bytes; "
            f"varint count, at most what is left / {NEGENTROPY_ID}, "
            f"then ids of {NEGENTROPY_ID} bytes"
        )


def _only(name: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name],
        "additionalProperties": False,
        "properties": {name: value},
    }


UPPER = Layout(
    "bound",
    "Upper end of a range, exclusive",
    {
        "timestamp": Timestamp("upper timestamp"),
        "prefix": Prefix("shortest id prefix that separates the ranges"),
    },
)


class Inner(Block):
    """A layout without a length as one field."""

    def __init__(self, layout: Layout, means: str) -> None:
        super().__init__(means)
        self.layout = layout

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        return self.layout.parse(stream, path, closed=False)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        self.layout.build(obj, stream, path)
        return obj

    def to_json(self, obj: Any) -> Any:
        return self.layout.to_json(obj)

    def from_json(self, value: Any, path: str) -> Any:
        return self.layout.from_json(value, path)

    def schema(self) -> dict[str, Any]:
        return self.layout.schema()

    def type_text(self) -> str:
        return self.layout.kind


RANGE = Layout(
    "range",
    "One range",
    {
        "upper": Inner(UPPER, "where the range ends"),
        "mode": Mode("what is said of the range"),
        "payload": RangePayload("fingerprint or ids of the range"),
    },
)


EMPTY_REST = {
    "upper": {"timestamp": None, "prefix": b""},
    "mode": int(NegentropyMode.FINGERPRINT),
    "payload": {"fingerprint": NEGENTROPY_EMPTY_REST[-NEGENTROPY_FINGERPRINT:]},
}
"""The value of NEGENTROPY_EMPTY_REST."""


class Ranges(Block):
    """Ranges to the end of the message; only the empty rest may follow an infinite bound."""

    def _parse(self, stream: Any, context: Any, path: str) -> list[Any]:
        stream.timestamp = 0
        found: list[Any] = []
        while stream.left():
            rest = stream.data[stream.tell() : stream.end]
            if stream.timestamp is None and rest == NEGENTROPY_EMPTY_REST:
                stream.timestamp = 0
            found.append(RANGE.parse(stream, f"{path}[{len(found)}]", closed=False))
        return found

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if not isinstance(obj, list):
            fail("bad-value", stream.tell(), path, "not a list")
        stream.timestamp = 0
        for index, item in enumerate(obj):
            if stream.timestamp is None and item == EMPTY_REST and index == len(obj) - 1:
                stream.timestamp = 0
            RANGE.build(item, stream, f"{path}[{index}]")
        return obj

    def to_json(self, obj: Any) -> Any:
        return [RANGE.to_json(item) for item in obj]

    def from_json(self, value: Any, path: str) -> Any:
        if not isinstance(value, list):
            fail("bad-value", 0, path, "not a list")
        return [RANGE.from_json(item, f"{path}[{i}]") for i, item in enumerate(value)]

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": RANGE.schema()}

    def type_text(self) -> str:
        return "ranges to the end of the message"


NEGENTROPY_MESSAGE = Layout(
    "negentropy_message",
    "Payload of 0x08 and 0x09",
    {
        "version": Constant(
            Int8ub, NEGENTROPY_VERSION, "version 1 of the algorithm", reason="bad-version"
        ),
        "ranges": Ranges("ranges in ascending order"),
    },
)
