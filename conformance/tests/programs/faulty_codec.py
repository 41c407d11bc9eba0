"""A codec in process, written by hand on `struct` alone, with one mistake of a choice.

A mistake is made in `decode`, in `encode`, or in both. It shares nothing with the schemas, so that
what the suite says of it is not read off the table that it tries.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Order = Literal["big", "little"]
BOM = "\ufeff"
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
DECIMAL = re.compile("0|[1-9][0-9]*")
TYPES = (0, 1, 2, 4, 5, 6, 7, 8, 9)
PAYLOAD_MAX = 2**24
LIMITS = {
    "collection": (1, 128),
    "document_id": (1, 895),
    "deleted_by": (1, 1024),
    "reason": (0, 1024),
}
KEY_LIMITS = {
    **{f"collection-{limit}": {"collection": limit} for limit in (100, 127, 129, 200)},
    **{f"id-{limit}": {"id": limit} for limit in (800, 894, 896)},
    "collection-100-id-800": {"collection": 100, "id": 800},
}
"""Wrong limits of the parts of a document key, by the name of the mistake."""
TOMBSTONE = (
    *("collection", "document_id", "deleted_at", "lamport"),
    *("deleted_by", "reason", "direction", "extra"),
)


class Fault(Exception):
    """A refusal; its text is the reason."""


@dataclass(frozen=True, slots=True)
class Codec:
    """The codec with a mistake in `decode` (`reads`) and in `encode` (`writes`), or in none."""

    reads: str = ""
    writes: str = ""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request as an adapter does."""
        read, write = KINDS[request["kind"]]
        try:
            if request["op"] == "decode":
                value, refused = read(Reader(bytes.fromhex(request["data"]), self.reads))
                return {"result": {"value": value, "refused": refused}}
            data = write(Writer(self.writes), request["value"]).hex()
            return {"result": {"data": data.upper() if self.writes == "upper" else data}}
        except Fault as fault:
            return {"error": {"reason": str(fault)}}
        except (ValueError, OverflowError, TypeError) as error:
            return {"error": {"message": repr(error)}}


@dataclass(slots=True)
class Reader:
    """Bytes with a position, read with a mistake."""

    data: bytes
    bug: str
    at: int = 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        left = len(self.data) - self.at
        if left < size + (self.bug == "full-is-short"):
            raise Fault("truncated")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int, bug: str = "") -> int:
        """A number; `bug` is the mistake by which its byte order is the other one."""
        order: Order = "little" if bug and self.bug == bug else "big"
        return int.from_bytes(self.take(size), order, signed=self.bug == f"signed-{size}")

    def long(self, bug: str = "") -> Any:
        """A 64-bit number in JSON."""
        found = self.number(8, bug)
        if self.bug == "double":
            found = int(float(found))
        return found if self.bug == "bare" else str(found)

    def text(self) -> str:
        """A text after its length."""
        size = self.number(2, "order-16")
        size += {"length-plus": 1, "length-plus-two": 2}.get(self.bug, 0)
        if self.bug == "length-minus":
            size = max(0, size - 1)
        if self.bug == "characters":
            size = len(self.data[self.at :].decode("utf-8", "ignore")[:size].encode())
        data = self.take(size)
        if self.bug == "latin":
            return data.decode("latin-1")
        try:
            text = data.decode("utf-8", "replace" if self.bug == "lossy" else "strict")
        except UnicodeDecodeError as exc:
            raise Fault("bad-utf8") from exc
        return text.removeprefix(BOM) if self.bug == "bom" else text

    def rest(self) -> str:
        """What is left, in hex."""
        return self.hex(self.data[self.at :])

    def hex(self, data: bytes) -> str:
        """Bytes in JSON."""
        return data.hex().upper() if self.bug == "upper" else data.hex()

    def size(self, text: str) -> int:
        """The size of a text as limits count it."""
        return len(text) if self.bug in ("limits", "characters") else len(text.encode())


@dataclass(frozen=True, slots=True)
class Writer:
    """The other direction, with a mistake."""

    bug: str

    def number(self, value: int, size: int, bug: str = "") -> bytes:
        """A number; `bug` is the mistake by which its byte order is the other one."""
        order: Order = "little" if bug and self.bug == bug else "big"
        return value.to_bytes(size, order, signed=self.bug == f"signed-{size}")

    def long(self, value: Any, bug: str = "") -> bytes:
        """A 64-bit number of JSON."""
        if not isinstance(value, str) or not DECIMAL.fullmatch(value):
            raise Fault("bad-value")
        found = int(value)
        if self.bug == "double":
            found = min(int(float(found)), 2**64 - 1)
        if self.bug == "wrapped-number":
            found %= 2**64
        if found >= 2**64:
            raise Fault("bad-value")
        return self.number(found, 8, bug)

    def text(self, text: Any) -> bytes:
        """A text after its length."""
        if not isinstance(text, str):
            raise Fault("bad-value")
        if self.bug == "bom":
            text = text.removeprefix(BOM)
        try:
            data = text.encode("latin-1" if self.bug == "latin" else "utf-8")
        except UnicodeEncodeError as exc:
            raise Fault("bad-utf8") from exc
        size = len(text) if self.bug == "characters" else len(data)
        size += {"length-plus": 1, "length-minus": -1}.get(self.bug, 0)
        size = max(0, size)
        if self.bug == "wrapped":
            size %= 2**16
        if self.bug == "cut":
            data = data[: 2**16 - 1]
            size = len(data)
        if size >= 2**16:
            raise Fault("length-limit")
        return self.number(size, 2, "order-16") + data


def members(value: Any, *names: str) -> None:
    """Refuse other members than these."""
    if not isinstance(value, dict) or value.keys() != set(names):
        raise Fault("bad-value")


def hex_of(text: Any) -> bytes:
    """The bytes of lower-case hex."""
    if not isinstance(text, str) or bytes.fromhex(text).hex() != text:
        raise Fault("bad-value")
    return bytes.fromhex(text)


def key_fault(reader: Reader, key: str) -> str | None:
    """Why a document key is refused."""
    if not 1 <= reader.size(key) <= (1023 if reader.bug == "key-1023" else 1024):
        return "length-limit"
    if reader.bug == "no-key-check":
        return None
    collection, colon, name = key.partition(":")
    is_legal = re.fullmatch("[A-Za-z0-9_.-]+", collection) and collection != "tombstones"
    if not colon or not is_legal or CONTROL.search(name):
        return "bad-key"
    longest = {"collection": 128, "id": 895, **KEY_LIMITS.get(reader.bug, {})}
    is_short = reader.size(collection) <= longest["collection"]
    return None if is_short and 1 <= reader.size(name) <= longest["id"] else "bad-key"


def decode_frame(reader: Reader) -> tuple[dict[str, Any], str | None]:
    """A frame."""
    key, kind = reader.text(), reader.number(1)
    if kind not in TYPES:
        raise Fault("unknown-type")
    size = reader.number(4, "order-payload")
    if size > PAYLOAD_MAX:
        raise Fault("length-limit")
    payload = reader.take(size)
    if reader.at < len(reader.data) and reader.bug != "trailing":
        raise Fault("trailing-bytes")
    if kind in (0, 1):
        refused = key_fault(reader, key)
    else:
        refused = "length-limit" if reader.size(key) > 1035 else None
    return {"key": key, "type": kind, "payload": reader.hex(payload)}, refused


def encode_frame(writer: Writer, value: Any) -> bytes:
    """A frame."""
    members(value, "key", "type", "payload")
    payload = hex_of(value["payload"])
    if value["type"] not in TYPES or isinstance(value["type"], bool):
        raise Fault("bad-value")
    if len(payload) > PAYLOAD_MAX:
        raise Fault("length-limit")
    size = writer.number(len(payload), 4, "order-payload")
    return writer.text(value["key"]) + bytes([value["type"]]) + size + payload


def decode_tombstone(reader: Reader) -> tuple[dict[str, Any], str | None]:
    """A tombstone."""
    found: dict[str, Any] = {"collection": reader.text(), "document_id": reader.text()}
    clocks = reader.long(), reader.long("order-lamport")
    found["deleted_at"], found["lamport"] = clocks[::-1] if reader.bug == "swap" else clocks
    found |= {"deleted_by": reader.text(), "reason": reader.text(), "direction": reader.number(1)}
    if not 0 <= found["direction"] <= 3 + (reader.bug == "direction"):
        raise Fault("bad-direction")
    found["extra"] = reader.rest()
    if found["extra"] and reader.bug == "extra":
        raise Fault("trailing-bytes")
    if any(not low <= reader.size(found[name]) <= high for name, (low, high) in LIMITS.items()):
        return found, "length-limit"
    is_legal = re.fullmatch("[A-Za-z0-9_.-]+", found["collection"])
    return found, None if is_legal and not CONTROL.search(found["document_id"]) else "bad-key"


def encode_tombstone(writer: Writer, value: Any) -> bytes:
    """A tombstone."""
    members(value, *TOMBSTONE)
    clocks = writer.long(value["deleted_at"]), writer.long(value["lamport"], "order-lamport")
    if writer.bug == "swap":
        clocks = clocks[::-1]
    if value["direction"] not in range(4) or isinstance(value["direction"], bool):
        raise Fault("bad-value")
    texts = [writer.text(value[name]) for name in LIMITS]
    end = bytes([value["direction"]]) + hex_of(value["extra"])
    return b"".join((*texts[:2], *clocks, *texts[2:], end))


def decode_heartbeat(reader: Reader) -> tuple[dict[str, Any], str | None]:
    """A heartbeat."""
    if reader.number(1) != 1 and reader.bug != "marker":
        raise Fault("bad-marker")
    sent_at = reader.long("order-sent")
    return {"marker": reader.data[0], "sent_at": sent_at, "extra": reader.rest()}, None


def encode_heartbeat(writer: Writer, value: Any) -> bytes:
    """A heartbeat."""
    members(value, "marker", "sent_at", "extra")
    if value["marker"] != 1 or isinstance(value["marker"], bool):
        raise Fault("bad-marker" if isinstance(value["marker"], int) else "bad-value")
    return b"\x01" + writer.long(value["sent_at"], "order-sent") + hex_of(value["extra"])


Decode = Callable[[Reader], tuple[dict[str, Any], str | None]]
Encode = Callable[[Writer, Any], bytes]
KINDS: dict[str, tuple[Decode, Encode]] = {
    "stream_frame": (decode_frame, encode_frame),
    "tombstone": (decode_tombstone, encode_tombstone),
    "heartbeat": (decode_heartbeat, encode_heartbeat),
}
