"""Values that no bytes can hold: the value of a positive with one member changed.

Each class says for which reasons an encoder may refuse; if the schema encodes the value, or refuses
it for another reason, the class or the schema is wrong.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshwire_conformance.self_check.field_table import FieldRow, fields_of
from meshwire_spec import fields as blocks
from meshwire_spec.layouts import LAYOUTS, compound
from meshwire_spec.numbers import LabRecordType, NegentropyMode
from vector_mutations import Base, block_of, fits, wire_path

TOKEN = re.compile(r"[^.\[\]]+")
INDEXES = (2, 1, 0)
"""Elements of a list in which a member is changed: the last of these that there is."""
COUNTED_MAX = 2
"""Greatest size in bytes of a length whose text a vector can exceed."""
TWO_BYTES = "\u00e9"
PREFIX_OVER = "a7" * 33
TIMESTAMP_OVER = str(2**64 - 1)


@dataclass(frozen=True, slots=True)
class ValueClass:
    """A way to change one member: the reasons to refuse it, title, hunted mistake and harm.

    `always` are reasons that a codec may give without the schema doing so. `free` says that a
    member may hold the changed value; then there is no vector.
    """

    reasons: frozenset[str]
    title: str
    hunts: str
    harm: str
    rules: tuple[str, ...] = ("ER-004",)
    always: tuple[str, ...] = ()
    free: bool = False


def _class(reasons: str, title: str, hunts: str, harm: str, **more: Any) -> ValueClass:
    return ValueClass(frozenset(reasons.split()), title, hunts, harm, **more)


OTHER_NUMBER = "the encoded number differs from the given one"
REFUSED = "the sender emits a message that every receiver refuses"
SHIFTED = "every later field is at the wrong offset"
CONTRADICTS = "members that contradict each other are encoded, and one of them is lost"
LOST = "the receiver decodes another message than the sender was given"
CLASSES = {
    "value-above": _class(
        "bad-value bad-bound",
        "encoding {} one above its greatest value",
        "an integer too large for its field is truncated",
        OTHER_NUMBER,
    ),
    "value-below": _class(
        "bad-value",
        "encoding {} of -1",
        "a negative integer is written as a large one",
        OTHER_NUMBER,
    ),
    "value-unassigned": _class(
        "bad-value bad-marker bad-version bad-magic bad-direction bad-enum bad-flag unknown-type "
        "bad-mode",
        "encoding {} with an unassigned value",
        "a value is encoded without checking that its registry contains it",
        REFUSED,
        free=True,
    ),
    "value-short": _class(
        "bad-value truncated",
        "encoding {} one byte short",
        "the encoder pads or copies a value of the wrong size into a field of fixed size",
        SHIFTED,
        always=("truncated",),
    ),
    "value-long": _class(
        "bad-value trailing-bytes length-limit",
        "encoding {} one byte too long",
        "the encoder truncates or copies a value of the wrong size into a field of fixed size",
        SHIFTED,
        always=("trailing-bytes",),
    ),
    "value-over-length": _class(
        "length-limit bad-bound",
        "encoding {} with more bytes than its length can say",
        "a length is truncated, or counts characters instead of bytes",
        "the receiver decodes the rest of the text as other fields",
        rules=("FR-007", "ER-004"),
    ),
    "value-over-ceiling": _class(
        "length-limit",
        "encoding {} with fewer characters and more bytes than its ceiling",
        "the ceiling of a text counts characters instead of bytes, or holds for decoding alone",
        REFUSED,
        rules=("FR-007", "ER-004"),
    ),
    "value-count-short": _class(
        "bad-value",
        "encoding {} one below the number of elements",
        "the encoder writes the given count without comparing it with the elements",
        LOST,
    ),
    "value-count-long": _class(
        "bad-value count-limit truncated",
        "encoding {} one above the number of elements",
        "the encoder writes the given count without comparing it with the elements",
        LOST,
        always=("count-limit", "truncated"),
    ),
    "value-invented-fault": _class(
        "bad-value",
        "encoding {} with a fault that the bytes do not have",
        "a fault is ignored, or its bytes are appended",
        LOST,
    ),
    "value-invented-rest": _class(
        "bad-value",
        "encoding {} with a fault and two bytes of it, where nothing is at fault",
        "the bytes of a fault are appended although no element is missing",
        LOST,
    ),
    "value-absent": _class(
        "bad-value",
        "encoding {} of null behind a flag of 1",
        "a member that is absent is written as an empty one",
        CONTRADICTS,
    ),
    "value-present": _class(
        "bad-value",
        "encoding {} behind a flag of 0",
        "a member is written, or dropped, although its flag says that there is none",
        CONTRADICTS,
    ),
    "value-other-flag": _class(
        "bad-value",
        "encoding {} with the other flag than its member has",
        "a flag is written without comparing it with the member",
        CONTRADICTS,
    ),
    "value-other-type": _class(
        "bad-value",
        "encoding {} with the content of another type",
        "the content of a message is encoded by its members, and the type by itself",
        CONTRADICTS,
    ),
}
"""Every class of values that cannot be encoded."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A value with one member changed: its path as vectors write it, and the class.

    `reason` is that of the member's registry, for which a codec may refuse it in any case.
    """

    where: str
    fault: str
    value: Any = field(repr=False)
    reason: str = ""


Leaf = Callable[[Any, FieldRow, Base, str], Any]
"""Returns the changed content of a member, or None if the base does not permit it."""


def changed_values(kind: str, base: Base, value: Any) -> Iterator[Changed]:
    """Yield the values that differ from that of a base in one member, and cannot be encoded."""
    for row in fields_of(kind):
        if fits(base, row):
            yield from _of_row(row, base, value)
    yield from _of_faults(value)
    yield from _of_flags(kind, value)
    yield from _of_types(kind, value)


def _of_row(row: FieldRow, base: Base, value: Any) -> Iterator[Changed]:
    for fault, change in LEAVES.get(row.role, {}).items():
        for index in INDEXES if "[]" in row.path else (0,):
            where = row.path.replace("[]", f"[{index}]")
            path = wire_path(where)
            old = _get(value, path)
            new = None if old is None else change(old, row, base, path)
            if new is not None:
                yield Changed(where, fault, _put(value, path, new), _registry(row, path))
                break


def _registry(row: FieldRow, path: str) -> str:
    """Return the reason for which a value is refused that the registry of a member lacks."""
    if row.role in REGISTRIES:
        return REGISTRIES[row.role]
    return getattr(block_of(row.kind, path), "reason", "") if row.role in WITH_REASON else ""


def _tokens(path: str) -> list[str | int]:
    return [int(one) if one.isdigit() else one for one in TOKEN.findall(path)]


def _get(value: Any, path: str) -> Any:
    """Return the member at a path, or None if there is none."""
    for name in _tokens(path):
        try:
            value = value[name]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _put(value: Any, path: str, new: Any) -> Any:
    """Return a copy of a value with another member at a path."""
    result = copy.deepcopy(value)
    *outer, last = _tokens(path)
    inner = result
    for name in outer:
        inner = inner[name]
    inner[last] = new
    return result


# --- members ----------------------------------------------------------------------------------


def _like(old: Any, number: int) -> Any:
    """Return a number in the JSON form of another one."""
    return str(number) if isinstance(old, str) else number


def _above(old: Any, _row: FieldRow, base: Base, path: str) -> Any:
    span = base.span(path)
    return None if span is None else _like(old, 2 ** (8 * span.size))


def _unassigned(old: Any, _row: FieldRow, base: Base, path: str) -> Any:
    block = block_of(base.kind, path)
    if isinstance(block, blocks.Flag):
        return 2
    return max(block.legal) + 1 if isinstance(block, blocks.Choice) else old + 1


def _over_length(_old: Any, row: FieldRow, base: Base, path: str) -> Any:
    length = base.span(f"{path}.length")
    if length is None or length.size > COUNTED_MAX:
        return None
    most = 2 ** (8 * length.size)
    return TWO_BYTES * (most // 2) if row.role == "text" else "a7" * most


def _over_ceiling(_old: Any, _row: FieldRow, base: Base, path: str) -> Any:
    ceiling = getattr(block_of(base.kind, path), "ceiling", None)
    return None if ceiling is None else TWO_BYTES * (ceiling // len(TWO_BYTES.encode()) + 1)


def _flipped(old: Any, _row: FieldRow, _base: Base, _path: str) -> Any:
    return old[:-1] + ("0" if old[-1] != "0" else "1")


def _first_id(change: Callable[[str], str]) -> Leaf:
    return lambda old, *_: [change(old[0]), *old[1:]] if old else None


def _step(by: int) -> Leaf:
    return lambda old, *_: old + by if old + by >= 0 else None


OF_NUMBER: Mapping[str, Leaf] = {
    "value-above": _above,
    "value-below": lambda old, *_: _like(old, -1),
}
OF_REGISTRY: Mapping[str, Leaf] = {**OF_NUMBER, "value-unassigned": _unassigned}
OF_SIZE: Mapping[str, Leaf] = {
    "value-short": lambda old, *_: old[:-2],
    "value-long": lambda old, *_: old + "a7",
}
OF_LENGTH: Mapping[str, Leaf] = {"value-over-length": _over_length}
LEAVES: Mapping[str, Mapping[str, Leaf]] = {
    "number": OF_NUMBER,
    "constant": OF_REGISTRY,
    "choice": OF_REGISTRY,
    "flag": OF_REGISTRY,
    "count": {
        **OF_NUMBER,
        "value-count-short": _step(-1),
        "value-count-long": _step(1),
    },
    "fixed": OF_SIZE,
    "magic": {**OF_SIZE, "value-unassigned": _flipped},
    "chars": {
        "value-short": lambda old, *_: old[:-1],
        "value-long": lambda old, *_: f"{old}x",
    },
    "bytes": OF_LENGTH,
    "text": {**OF_LENGTH, "value-over-ceiling": _over_ceiling},
    "rest-text": {"value-over-ceiling": _over_ceiling},
    "varint": {"value-above": lambda *_: TIMESTAMP_OVER},
    "prefix": {"value-over-length": lambda *_: PREFIX_OVER},
    "mode": {"value-unassigned": lambda *_: max(NegentropyMode) + 1},
    "fingerprint": OF_SIZE,
    "ids": {
        "value-short": _first_id(lambda one: one[:-2]),
        "value-long": _first_id(lambda one: f"{one}a7"),
    },
}
"""Changes of a member by its role."""

REGISTRIES = {"magic": "bad-magic", "mode": "bad-mode", "flag": "bad-flag"}
WITH_REASON = ("constant", "choice")


# --- members that depend on one another ---------------------------------------------------------

INVENTED = {
    "value-invented-fault": {"reason": "truncated", "offset": 0, "rest": ""},
    "value-invented-rest": {"reason": "truncated", "offset": 0, "rest": "000b"},
}


def _of_faults(value: Any) -> Iterator[Changed]:
    for path in ("fault", "batch.fault"):
        owner = value if path == "fault" else value.get("batch") or {}
        if isinstance(owner, dict) and "fault" in owner and owner["fault"] is None:
            for fault, invented in INVENTED.items():
                yield Changed(path, fault, _put(value, path, invented))


def _of_flags(kind: str, value: Any) -> Iterator[Changed]:
    """Change a flag without its member, and a member without its flag."""
    for name, block in LAYOUTS[kind].blocks.items():
        if not isinstance(block, compound.When):
            continue
        is_there = value[name] is not None
        yield Changed(block.flag, "value-other-flag", _put(value, block.flag, int(not is_there)))
        if is_there:
            yield Changed(name, "value-absent", _put(value, name, None))
        elif not isinstance(block.block, compound.Nested):
            yield Changed(name, "value-present", _put(value, name, "a7"))


def _of_types(kind: str, value: Any) -> Iterator[Changed]:
    """Change the type of a body, or the mode of a payload, without its content."""
    if kind == "lab_record":
        other = LabRecordType.CLOSE if value["type"] != LabRecordType.CLOSE else LabRecordType.PING
        yield Changed("type", "value-other-type", _put(value, "type", int(other)))
    for index, part in enumerate(value.get("ranges") or ()):
        path = f"ranges[{index}].mode"
        other_mode = (part["mode"] + 1) % len(NegentropyMode)
        yield Changed(path, "value-other-type", _put(value, path, other_mode))
