"""Decoded values compared: the first place where two of them differ, and how they print."""

import json
import re
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
    return Difference(path, shown(expected), shown(received))


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
