"""The byte stream of the schemas, with the end of its scope and a record of the fields read."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from meshwire_spec.errors import Malformed


@dataclass(frozen=True, slots=True)
class Span:
    """One field found in the bytes; `size` in bytes, `value` in its JSON form."""

    offset: int
    size: int
    path: str
    value: Any
    type: str
    means: str
    rule: str = ""


def field_path(path: str) -> str:
    """Return the dotted path of a construct path: `message -> entries[1]` is `entries[1]`."""
    return ".".join(path.split(" -> ")[1:])


class Cursor(io.BytesIO):
    """Bytes with a scope: a nested message sees no byte beyond its own length.

    Offsets stay absolute, also inside nested messages, so that a fault can be shown where it is.
    With `annotates` it records the fields read in `spans`.
    `timestamp` is the last upper timestamp that a negentropy message has given, 0 before the first;
    None is infinity.
    """

    def __init__(self, data: bytes = b"", *, annotates: bool = False) -> None:
        super().__init__(data)
        self.data = data
        self.end = len(data)
        self.annotates = annotates
        self.spans: list[Span] = []
        self.fault: dict[str, Any] | None = None
        self.timestamp: int | None = 0

    def left(self) -> int:
        """Return the number of unread bytes in the current scope."""
        return self.end - self.tell()

    def take(self, size: int, path: str) -> bytes:
        """Read `size` bytes; raises `Malformed` truncated if the scope has fewer."""
        if self.left() < size:
            raise Malformed("truncated", self.tell(), field_path(path))
        return self.read(size)

    def note(self, span: Span) -> None:
        """Record one field for the annotated dump."""
        self.spans.append(span)
