"""Mistakes planted into the layouts: where each fits, and what a codec with it would answer.

A failure report names a cause only if it was tried: the layouts with the mistake, asked the same
vectors, give the answers that the target gave. Nothing outside of a `with planted(...)` block is
changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from meshwire_spec import acceptance
from meshwire_spec.acceptance import accept_value, collection_grammar
from meshwire_spec.cursor import Cursor, field_path
from meshwire_spec.errors import Malformed
from meshwire_spec.fields import Block, End, Number, Tolerated, struct_of
from meshwire_spec.layouts import LAYOUTS, Layout, reconciliation
from meshwire_spec.layouts.compound import Body, Elements, When
from meshwire_spec.layouts.reconciliation import CONTINUES, VARINT_BITS
from meshwire_spec.mistakes import (
    CHARACTERS,
    LENGTH_ORDER,
    MISTAKES,
    OTHER_ORDER,
    UPPER_HEX,
    Mistake,
    Patches,
)
from meshwire_spec.numbers import COLLECTION_MAX, U64_MAX

if TYPE_CHECKING:
    from construct import Renamed

ROOT = "message"


class MadeIn(StrEnum):
    """The operations of a codec in which a mistake is made."""

    BOTH = "both"
    DECODE = "decode"
    ENCODE = "encode"

    def has(self, operation: str) -> bool:
        """Return True if the mistake is made in this operation."""
        return self in (MadeIn.BOTH, operation)


VERBS = {MadeIn.BOTH: "read", MadeIn.DECODE: "read", MadeIn.ENCODE: "written"}
"""What a codec with a mistake does wrong."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A mistake in one place or in all alike: what to patch, and the path of the field, by kind."""

    mistake: Mistake
    patches: tuple[tuple[object, Patches], ...]
    paths: Mapping[str, str]

    def says(self, kind: str, direction: MadeIn = MadeIn.BOTH) -> str:
        """Return the mistake in a sentence without an end, as a cause of failures of a kind."""
        place = f"`{self.paths[kind]}`" if self.paths[kind] else kind
        only = "" if direction is MadeIn.BOTH else f", in {direction.value} only"
        return self.mistake.says.format(place, verb=VERBS[direction]) + only


@dataclass(frozen=True, slots=True)
class Answer:
    """What a codec answers: a value with the reason why it is refused, bytes, or an error."""

    error: str | None = None
    value: Any = None
    refused: str | None = None
    data: str | None = None


def _blocks(layout: Layout, path: str) -> Iterator[tuple[Block, str]]:
    """Yield every block of a layout and of those nested in it, with its generic field path."""
    for renamed in layout.closed.subcons:
        named = cast("Renamed[Any, Any]", renamed)
        outer = cast("Block", named.subcon)
        found = outer.block if isinstance(outer, When) else outer
        if isinstance(found, End):
            yield found, path
            continue
        inner = f"{path}.{named.name}" if path else str(named.name)
        yield found, inner
        yield from _nested(found, inner)


def _nested(block: Any, path: str) -> Iterator[tuple[Block, str]]:
    if isinstance(block, Body):
        for body in block.cases.values():
            yield from _blocks(body, path)
    elif (layout := getattr(block, "layout", None)) is not None:
        yield from _blocks(layout, f"{path}[]" if isinstance(block, Elements) else path)


def _framed(layout: Layout) -> Iterator[tuple[Patches, str]]:
    """Yield the other byte order of the length before a whole message."""
    frame = layout.frame
    other = None if frame is None else OTHER_ORDER.get(frame.wire.fmtstr)
    if frame is not None and other is not None:
        yield {"frame": replace(frame, wire=other)}, "length"


def plantable() -> list[Planted]:
    """Return every mistake in every field that it fits, each with the kinds that have the field.

    Mistakes that a codec makes alike in all fields of a type follow those in a single field.
    """
    found: dict[tuple[str, int], Planted] = {}
    for kind, layout in LAYOUTS.items():
        for frame, path in _framed(layout):
            framed = Planted(LENGTH_ORDER, ((layout, frame),), {kind: path})
            found[LENGTH_ORDER.name, id(layout)] = framed
        for block, path in _blocks(layout, ""):
            for mistake in MISTAKES:
                patches = mistake.plant(block)
                if patches is None:
                    continue
                key = mistake.name, id(block)
                place = _place(mistake, block, path)
                paths = {kind: place, **(found[key].paths if key in found else {})}
                found[key] = Planted(mistake, ((block, patches),), paths)
    alone = list(found.values())
    swapped = [one for kind, layout in LAYOUTS.items() for one in _swapped(kind, layout)]
    return [*alone, *swapped, *_everywhere(alone), *_general()]


def _place(mistake: Mistake, block: Any, path: str) -> str:
    """Return the path of the field at fault: the block itself, or the length before it."""
    if not mistake.of_length or not hasattr(block, "length"):
        return path
    return f"{path}[].length" if isinstance(block, Elements) else f"{path}.length"


def _swapped(kind: str, layout: Layout) -> Iterator[Planted]:
    """Yield each pair of numbers of one type, one after the other, with their names exchanged."""
    for (name, block), (after, other) in pairwise(layout.blocks.items()):
        is_pair = isinstance(block, Number) and isinstance(other, Number)
        if is_pair and block.type_text() == other.type_text():
            names = {name: after, after: name}
            swapped = {names.get(key, key): value for key, value in layout.blocks.items()}
            tail = [] if isinstance(list(swapped.values())[-1], Tolerated) else [("end", End())]
            patches = {"opened": struct_of(swapped), "closed": struct_of({**swapped, **dict(tail)})}
            says = f"`{name}` and `{after}` are exchanged"
            yield _general_one(says, ((layout, patches),), _kinds_with(kind, layout))


def _kinds_with(kind: str, layout: Layout) -> Mapping[str, str]:
    """Return the kinds that contain a layout, each with an empty path."""
    holders = [
        name
        for name, outer in LAYOUTS.items()
        if any(getattr(block, "layout", None) is layout for block, _ in _blocks(outer, ""))
    ]
    return dict.fromkeys([kind, *holders], "")


def _everywhere(alone: Sequence[Planted]) -> Iterator[Planted]:
    """Yield each mistake made in all fields that it fits, and in all those of one width."""
    groups: dict[tuple[str, str], list[Planted]] = {}
    for one in alone:
        widths = {"", _width(one)} if one.mistake.has_width else {""}
        for width in widths:
            groups.setdefault((one.mistake.everywhere, width), []).append(one)
    for (everywhere, width), members in groups.items():
        every = tuple(patch for one in members for patch in one.patches)
        paths = {kind: "" for one in members for kind in one.paths}
        says = everywhere.format(width=width, verb="{verb}")
        yield Planted(replace(members[0].mistake, says=says), every, paths)


def _width(one: Planted) -> str:
    """Return the width of the number at fault in words, with a blank: `16-bit `."""
    ((target, _),) = one.patches
    number: Any = target.frame if isinstance(target, Layout) else target
    wire = getattr(number, "length", None) or number.wire
    return f"{8 * wire.length}-bit "


def _general() -> Iterator[Planted]:
    """Yield mistakes that are in no field: checks left out as a whole, and lax varints."""
    said = "what decodes is taken without the checks of `accept`"
    yield _general_one(said, ((_SWITCHES, {"accepting": False}),), dict.fromkeys(LAYOUTS, ""))
    yield from _limits()
    hexes = _everywhere_of(UPPER_HEX)
    said = UPPER_HEX.everywhere
    yield _general_one(said, ((_SWITCHES, {"upper": True}), *hexes), dict.fromkeys(LAYOUTS, ""))
    messages = {"negentropy_message": ""}
    said = "varints with a leading zero digit are taken"
    yield _general_one(said, ((reconciliation, {"parse_varint": lax_varint}),), messages)
    said = "varints are {verb} with the least significant group first"
    patch = {"parse_varint": low_group_first, "build_varint": build_low_group_first}
    yield _general_one(said, ((reconciliation, patch),), messages)


def lax_varint(cursor: Cursor, path: str) -> int:
    """Read a varint that may have a leading zero digit."""
    value = 0
    while True:
        if not cursor.left():
            raise Malformed("truncated", cursor.tell(), field_path(path))
        byte = cursor.take(1, path)[0]
        value = value << VARINT_BITS | byte & ~CONTINUES
        if byte < CONTINUES:
            return value


def low_group_first(cursor: Cursor, path: str) -> int:
    """Read a varint with its least significant group first."""
    value = shift = 0
    while True:
        byte = cursor.take(1, path)[0]
        value |= (byte & ~CONTINUES) << shift
        shift += VARINT_BITS
        if value > U64_MAX:
            raise Malformed("bad-varint", cursor.tell(), field_path(path))
        if byte < CONTINUES:
            return value


def build_low_group_first(value: int) -> bytes:
    """Return the bytes of a varint with its least significant group first."""
    groups = bytearray()
    while value >= CONTINUES:
        groups.append(value & ~CONTINUES & 0xFF | CONTINUES)
        value >>= VARINT_BITS
    return bytes([*groups, value])


def _limits() -> Iterator[Planted]:
    """Yield the mistakes in the limits of `accept`: characters for bytes, too low and too high.

    Each is tried off by one: no vector shows how far the limit of a codec is off.
    """
    kinds = dict.fromkeys(LAYOUTS, "")
    count: Patches = {"text_size": len}
    yield _general_one("limits count characters instead of bytes", ((acceptance, count),), kinds)
    written = [
        (block, {"_build": patches["_build"]}) for block, patches in _everywhere_of(CHARACTERS)
    ]
    said = "lengths that are written, and limits, count characters instead of bytes"
    yield _general_one(said, ((acceptance, count), *written), kinds)
    right = acceptance.accept_document_key
    unchecked: Patches = {
        "accept_document_key": lambda key: "length-limit" if right(key) == "length-limit" else None
    }
    yield _general_one("document keys are not checked", ((acceptance, unchecked),), kinds)
    for name in LIMITS:
        value = getattr(acceptance, name)
        for step, word in OFF_BY.items():
            said = f"the limit of {value} bytes ({name}) is {word} than it should be"
            yield _general_one(said, ((acceptance, {name: value + step}),), kinds)
    for step, word in OFF_BY.items():
        said = f"the limit of {COLLECTION_MAX} bytes (COLLECTION_MAX) is {word} than it should be"
        grammar: Patches = {"COLLECTION_GRAMMAR": collection_grammar(COLLECTION_MAX + step)}
        yield _general_one(said, ((acceptance, grammar),), kinds)
    limits = acceptance.TOMBSTONE_LIMITS
    tombstones = _kinds_with("tombstone", LAYOUTS["tombstone"])
    for name, (low, high) in limits.items():
        for step, word in OFF_BY.items():
            said = f"the limit of `{name}`, {high} bytes, is {word} than it should be"
            changed = {"TOMBSTONE_LIMITS": {**limits, name: (low, high + step)}}
            yield _general_one(said, ((acceptance, changed),), tombstones)


def _everywhere_of(mistake: Mistake) -> Iterator[tuple[object, Patches]]:
    """Yield the patches of a mistake in every block that it fits."""
    blocks = {id(block): block for one in LAYOUTS.values() for block, _ in _blocks(one, "")}
    for block in blocks.values():
        if (patches := mistake.plant(block)) is not None:
            yield block, patches


def _general_one(
    says: str, patches: tuple[tuple[object, Patches], ...], paths: Mapping[str, str]
) -> Planted:
    return Planted(Mistake(says, says, says, lambda _: None), patches, paths)


LIMITS = ("DOCUMENT_KEY_MAX", "DOCUMENT_ID_MAX", "FRAME_KEY_MAX", "FORMATION_ID_MAX")
"""Limits of `accept` that are tried one off."""
OFF_BY = {-1: "lower", 1: "higher"}
"""What a report says of a limit for each step by which it is tried."""


@dataclass(slots=True)
class _Switches:
    accepting: bool = True
    upper: bool = False


_SWITCHES = _Switches()


@contextmanager
def planted(one: Planted) -> Iterator[None]:
    """Run the block with the mistake in the layouts; afterwards they are as before."""
    with ExitStack() as undo:
        for target, patches in one.patches:
            for name, value in patches.items():
                undo.callback(_put_back, target, name, _own(target, name))
                object.__setattr__(target, name, value)
        yield


_ABSENT = object()


def _own(target: object, name: str) -> object:
    """Return the attribute of the object itself; a method of its class is absent."""
    members = getattr(target, "__dict__", None)
    return getattr(target, name) if members is None else members.get(name, _ABSENT)


def _put_back(target: object, name: str, value: object) -> None:
    if value is _ABSENT:
        object.__delattr__(target, name)
    else:
        object.__setattr__(target, name, value)


def decoded(kind: str, data: bytes) -> Answer:
    """Return what a codec made of the present layouts answers to `decode`."""
    layout = LAYOUTS[kind]
    try:
        value = layout.parse(Cursor(data), ROOT)
        refused = accept_value(kind, value) if _SWITCHES.accepting else None
        return Answer(value=layout.to_json(value), refused=refused)
    except Malformed as exc:
        return Answer(error=exc.reason)
    except Exception as exc:  # noqa: BLE001 - a codec with a mistake may fail in any way
        return Answer(error=type(exc).__name__)


def encoded(kind: str, value: Any) -> Answer:
    """Return what a codec made of the present layouts answers to `encode`."""
    layout = LAYOUTS[kind]
    cursor = Cursor()
    try:
        layout.build(layout.from_json(value, ROOT), cursor, ROOT)
    except Malformed as exc:
        return Answer(error=exc.reason)
    except Exception as exc:  # noqa: BLE001 - as above
        return Answer(error=type(exc).__name__)
    data = cursor.getvalue().hex()
    return Answer(data=data.upper() if _SWITCHES.upper else data)
