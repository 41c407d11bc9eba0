"""Shapes of JSON values: the fields of a message in vectors and in the harness.

Bytes are lower-case hex, 64-bit integers decimal strings, smaller ones numbers. Every shape has
both directions; `from_value` accepts only what `to_value` would write. `member_of`, `bytes_of` and
`number_of` read the members of a request.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Protocol

from meshwire_reference.wire.errors import Unencodable, bad_value
from meshwire_spec.numbers import U8_MAX, U32_MAX, U64_MAX


class Shape(Protocol):
    """One shape; `from_value` raises Unencodable, mostly `bad-value`."""

    def to_value(self, part: Any) -> object:
        """Write a part of a message as a JSON value."""
        ...

    def from_value(self, value: object, field: str) -> object:
        """Read the part back; `field` is its path, for errors."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    def to_value(self, part: str) -> object:
        """Return it unchanged."""
        return part

    def from_value(self, value: object, field: str) -> str:
        """Read a string; the encoder checks that it can be written as UTF-8."""
        if not isinstance(value, str):
            raise bad_value(field, "not a string")
        return value


@dataclass(frozen=True, slots=True)
class Hex:
    """Bytes as lower-case hex."""

    def to_value(self, part: bytes) -> object:
        """Write two digits per byte."""
        return part.hex()

    def from_value(self, value: object, field: str) -> bytes:
        """Read hex without blanks or capitals."""
        return read_hex(value, field)


@dataclass(frozen=True, slots=True)
class Number:
    """An integer of at most 32 bits."""

    maximum: int

    def to_value(self, part: int) -> object:
        """Write a JSON number."""
        return int(part)

    def from_value(self, value: object, field: str) -> int:
        """Read a whole number in the width of its field; true and false are none."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise bad_value(field, "not a whole number")
        if not 0 <= value <= self.maximum:
            raise bad_value(field, f"not in 0..{self.maximum}")
        return value


@dataclass(frozen=True, slots=True)
class Decimal:
    """An integer of 64 bits as a decimal string, which survives every JSON reader."""

    def to_value(self, part: int) -> object:
        """Write the shortest decimal."""
        return str(part)

    def from_value(self, value: object, field: str) -> int:
        """Read the shortest decimal."""
        digits = len(str(U64_MAX))
        if not (isinstance(value, str) and value.isascii() and value.isdigit()):
            raise bad_value(field, "not a decimal string")
        if len(value) > digits or int(value) > U64_MAX or str(int(value)) != value:
            raise bad_value(field, "not a 64-bit number in its shortest form")
        return int(value)


@dataclass(frozen=True, slots=True)
class RegistryNumber:
    """A number of a registry; another one is refused with the registry's reason."""

    registry: type[IntEnum]
    reason: str

    def to_value(self, part: IntEnum) -> object:
        """Write the number."""
        return int(part)

    def from_value(self, value: object, field: str) -> IntEnum:
        """Read the number."""
        number = Number(U8_MAX).from_value(value, field)
        try:
            return self.registry(number)
        except ValueError as unlisted:
            raise Unencodable(self.reason, None, field) from unlisted


@dataclass(frozen=True, slots=True)
class OrNull:
    """A value that may be absent."""

    shape: Shape

    def to_value(self, part: object) -> object:
        """Write null for what is absent."""
        return None if part is None else self.shape.to_value(part)

    def from_value(self, value: object, field: str) -> object:
        """Read null as absent."""
        return None if value is None else self.shape.from_value(value, field)


@dataclass(frozen=True, slots=True)
class ListOf:
    """Any number of one shape."""

    shape: Shape

    def to_value(self, part: tuple[object, ...]) -> object:
        """Write a list."""
        return [self.shape.to_value(element) for element in part]

    def from_value(self, value: object, field: str) -> tuple[object, ...]:
        """Read a list."""
        if not isinstance(value, list):
            raise bad_value(field, "not a list")
        read = self.shape.from_value
        return tuple(read(element, f"{field}[{index}]") for index, element in enumerate(value))


@dataclass(frozen=True, slots=True)
class Null:
    """Nothing, always null."""

    def to_value(self, part: None) -> object:
        """Write null."""
        return part

    def from_value(self, value: object, field: str) -> None:
        """Read null."""
        if value is not None:
            raise bad_value(field, "not null")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A member whose shape follows from an earlier member of the same record."""

    by: str
    shapes: Mapping[int, Shape]


class Record:
    """An object with exactly the members of a message class, in their order."""

    def __init__(self, message: type, **members: Shape | Chosen) -> None:
        self.message = message
        self.members = members

    def to_value(self, part: object) -> dict[str, object]:
        """Write every member."""
        return {
            name: self._shape(shape, getattr(part, shape.by)).to_value(getattr(part, name))
            if isinstance(shape, Chosen)
            else shape.to_value(getattr(part, name))
            for name, shape in self.members.items()
        }

    def from_value(self, value: object, field: str = "") -> Any:
        """Read every member; one missing or unknown is an error."""
        if not isinstance(value, dict):
            raise bad_value(field, "not an object")
        prefix = f"{field}." if field else ""
        for name in sorted(value.keys() - self.members.keys()):
            raise bad_value(f"{prefix}{name}", "an unknown member")
        parts: dict[str, Any] = {}
        for name, shape in self.members.items():
            if name not in value:
                raise bad_value(f"{prefix}{name}", "missing")
            plain = self._shape(shape, parts[shape.by]) if isinstance(shape, Chosen) else shape
            parts[name] = plain.from_value(value[name], f"{prefix}{name}")
        return self.message(**parts)

    @staticmethod
    def _shape(chosen: Chosen, number: int) -> Shape:
        return chosen.shapes[number]


def read_hex(value: object, field: str) -> bytes:
    """Return the bytes of a lower-case hex string; raises Unencodable."""
    if not isinstance(value, str):
        raise bad_value(field, "not a hex string")
    try:
        content = bytes.fromhex(value)
    except ValueError as fault:
        raise bad_value(field, "not hex") from fault
    if content.hex() != value:
        raise bad_value(field, "hex with blanks or capitals")
    return content


class BadRequest(Exception):
    """A line that is not a request; its text is returned to the sender."""


def member_of(request: dict[str, object], name: str) -> object:
    """Return a member of a request; raises BadRequest if it is missing."""
    if name not in request:
        raise BadRequest(f"{name} is missing")
    return request[name]


def bytes_of(request: dict[str, object], name: str) -> bytes:
    """Return a member in lower-case hex as bytes; raises BadRequest if it is not hex."""
    try:
        return read_hex(member_of(request, name), name)
    except Unencodable as fault:
        raise BadRequest(f"{name} is {fault.problem}") from fault


def number_of(request: dict[str, object], name: str) -> int:
    """Return a member that is a number; raises BadRequest if it is not."""
    value = member_of(request, name)
    if type(value) is not int:
        raise BadRequest(f"{name} is not a number")
    return value


TEXT: Final = Text()
HEX: Final = Hex()
U8_NUMBER: Final = Number(U8_MAX)
U32_NUMBER: Final = Number(U32_MAX)
U64_DECIMAL: Final = Decimal()
NULL: Final = Null()
