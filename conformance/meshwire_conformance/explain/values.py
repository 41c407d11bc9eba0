"""Comparison of decoded values: the first difference, and the text of each value."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SHOWN = 80
"""Characters shown of a value."""
STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two values differ, as a field path, and the value of each there."""

    path: str
    expected: str
    received: str


def shown(value: Any) -> str:
    """Return a value as it prints, cut if it is long."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"


def printable(text: str) -> str:
    """Return the text without control characters, so that a peer cannot control the terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def member_at(value: Any, path: str) -> Any:
    """Return the value at a field path; raises LookupError if there is no such member."""
    if not path:
        raise LookupError("the message as a whole")
    for name, index in STEP.findall(path):
        fits = isinstance(value, list if index else dict)
        if not fits:
            raise LookupError(path)
        value = value[int(index)] if index else value[name]
    return value


def first_difference(one: Sequence[object], other: Sequence[object]) -> int | None:
    """Return the index of the first item that differs in two texts or byte strings, else None."""
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return None if len(one) == len(other) else min(len(one), len(other))


def difference(expected: Any, received: Any, path: str = "") -> Difference | None:
    """Return the first place where two JSON values differ, or None; 1, 1.0 and true differ."""
    if type(expected) is not type(received):
        return Difference(path, shown(expected), shown(received))
    if isinstance(expected, dict):
        return _difference_of_objects(expected, received, path)
    if isinstance(expected, list):
        return _difference_of_lists(expected, received, path)
    if expected == received:
        return None
    if isinstance(expected, str) and max(len(expected), len(received)) > SHOWN:
        return _difference_of_texts(expected, received, path)
    return Difference(path, shown(expected), shown(received))


def _difference_of_texts(expected: str, received: str, path: str) -> Difference:
    """Return the difference of two long texts, both cut to the same place around it."""
    first = first_difference(expected, received) or 0
    start = max(0, first - SHOWN // 2)
    return Difference(path, *(_piece(text, start) for text in (expected, received)))


def _piece(text: str, start: int) -> str:
    piece = json.dumps(text[start : start + SHOWN], ensure_ascii=True)
    before = f"(from character {start}) " if start else ""
    return f"{before}{piece} ({len(text)} characters)"


def _difference_of_objects(
    expected: dict[str, Any], received: dict[str, Any], path: str
) -> Difference | None:
    for name, member in expected.items():
        inner = f"{path}.{name}" if path else name
        if name not in received:
            return Difference(inner, shown(member), "no such member")
        if found := difference(member, received[name], inner):
            return found
    if extra := sorted(received.keys() - expected.keys()):
        inner = f"{path}.{extra[0]}" if path else extra[0]
        return Difference(inner, "no such member", shown(received[extra[0]]))
    return None


def _difference_of_lists(expected: list[Any], received: list[Any], path: str) -> Difference | None:
    for index, (left, right) in enumerate(zip(expected, received, strict=False)):
        if found := difference(left, right, f"{path}[{index}]"):
            return found
    if len(expected) == len(received):
        return None
    return Difference(path, f"{len(expected)} elements", f"{len(received)} elements")
