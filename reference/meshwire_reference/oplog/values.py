"""The content of an operation: JSON values whose numbers are all 64-bit floats, or none at all."""

import json
from enum import Enum
from math import isfinite
from typing import Any, Final, Literal

from meshwire_spec.numbers import OPLOG_DEPTH_MAX

JsonValue = None | bool | float | str | list["JsonValue"] | dict[str, "JsonValue"]


class _Absent(Enum):
    """The type of `ABSENT`, which no JSON value has."""

    ABSENT = "absent"


# No content. The JSON null is None.
ABSENT: Final = _Absent.ABSENT

Content = JsonValue | Literal[_Absent.ABSENT]


class Unreadable(Exception):
    """Text or a JSON value that is not what it should be; `reason` says why."""

    def __init__(self, reason: str, what: str = "") -> None:
        super().__init__(f"{reason}: {what}" if what else reason)
        self.reason = reason


def _take_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    taken = dict(members)
    if len(taken) != len(members):
        raise Unreadable("duplicate-member")
    return taken


def _refuse_constant(_: str) -> float:
    raise Unreadable("not-finite")


# Keeps the order of members; refuses a member that is given twice, NaN and infinities.
_DECODER = json.JSONDecoder(object_pairs_hook=_take_members, parse_constant=_refuse_constant)


def parse_json(text: str) -> Any:
    """Return the value of a JSON text, with integers as int; raise Unreadable."""
    try:
        return _DECODER.decode(text)
    except RecursionError as exc:
        raise Unreadable("too-deep") from exc
    except ValueError as exc:
        raise Unreadable("bad-json") from exc


def take_text(value: Any) -> str:
    """Return `value` if it is a text of whole code points, else raise Unreadable."""
    if not isinstance(value, str):
        raise Unreadable("wrong-type", "text expected")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise Unreadable("lone-surrogate") from exc
    return value


def take_number(value: float) -> float:
    """Return a JSON number as a finite float, else raise Unreadable."""
    try:
        number = float(value)
    except OverflowError as exc:
        raise Unreadable("not-finite") from exc
    if not isfinite(number):
        raise Unreadable("not-finite")
    return number


def take_content(value: Any, depth: int = OPLOG_DEPTH_MAX) -> JsonValue:
    """Return a parsed JSON value as content; raise Unreadable."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return take_text(value)
    if isinstance(value, int | float):
        return take_number(value)
    if not depth:
        raise Unreadable("too-deep")
    if isinstance(value, list):
        return [take_content(part, depth - 1) for part in value]
    return {take_text(name): take_content(part, depth - 1) for name, part in value.items()}
