"""Mistakes planted into the layouts: where each fits, and what a codec with it would answer.

A failure report names a cause only if it was tried: the layouts with the mistake, asked the same
vectors, give the answers that the target gave. Nothing outside of a `with planted(...)` block is
changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from meshwire_spec.acceptance import accept_value
from meshwire_spec.cursor import Cursor
from meshwire_spec.errors import Malformed
from meshwire_spec.fields import Block, End, Number, Tolerated, struct_of
from meshwire_spec.layouts import LAYOUTS, Layout, reconciliation
from meshwire_spec.layouts.compound import Body, Elements, When
from meshwire_spec.mistakes import (
    LENGTH_ORDER,
    MISTAKES,
    OTHER_ORDER,
    Mistake,
    Patches,
    build_low_group_first,
    lax_varint,
    low_group_first,
)

if TYPE_CHECKING:
    from construct import Renamed

ROOT = "message"


@dataclass(frozen=True, slots=True)
class Planted:
    """A mistake in one place or in all alike: what to patch, and the path of the field, by kind."""

    mistake: Mistake
    patches: tuple[tuple[object, Patches], ...]
    paths: Mapping[str, str]

    def says(self, kind: str) -> str:
        """Return the mistake in a sentence without an end, as a cause of failures of a kind."""
        return self.mistake.says.format(f"`{self.paths[kind]}`" if self.paths[kind] else kind)


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
            mistake = Mistake("exchanged", says, says, lambda _: None)
            yield Planted(mistake, ((layout, patches),), _kinds_with(kind, layout))


def _kinds_with(kind: str, layout: Layout) -> Mapping[str, str]:
    """Return the kinds that contain a layout, each with an empty path."""
    holders = [
        name
        for name, outer in LAYOUTS.items()
        if any(getattr(block, "layout", None) is layout for block, _ in _blocks(outer, ""))
    ]
    return dict.fromkeys([kind, *holders], "")


def _everywhere(alone: Sequence[Planted]) -> Iterator[Planted]:
    """Yield each mistake made in all fields that it fits, those of one width for byte orders."""
    groups: dict[tuple[str, str], list[Planted]] = {}
    for one in alone:
        ((_, patches),) = one.patches
        width = f"{8 * _wire(patches).length}-bit numbers" if one.mistake.is_order else ""
        groups.setdefault((width or one.mistake.name, one.mistake.everywhere), []).append(one)
    for (width, everywhere), members in groups.items():
        every = tuple(patch for one in members for patch in one.patches)
        paths = {kind: "" for one in members for kind in one.paths}
        says = everywhere.format(width)
        yield Planted(replace(members[0].mistake, says=says), every, paths)


def _wire(patches: Patches) -> Any:
    """Return the number type that a mistake in a byte order gives to a block or to a frame."""
    (value,) = patches.values()
    return getattr(value, "wire", value)


def _general() -> Iterator[Planted]:
    """Yield mistakes that are in no field: checks left out as a whole, and lax varints."""
    said = "what decodes is taken without the checks of `accept`"
    unaccepted = Mistake("not-accepted", said, said, lambda _: None)
    yield Planted(unaccepted, ((_SWITCHES, {"accepting": False}),), dict.fromkeys(LAYOUTS, ""))
    said = "varints with a leading zero digit are taken"
    lax = Mistake("lax-varint", said, said, lambda _: None)
    messages = {"negentropy_message": ""}
    yield Planted(lax, ((reconciliation, {"parse_varint": lax_varint}),), messages)
    said = "varints are read and written with the least significant group first"
    order = Mistake("varint-order", said, said, lambda _: None)
    patch = {"parse_varint": low_group_first, "build_varint": build_low_group_first}
    yield Planted(order, ((reconciliation, patch),), messages)


@dataclass(slots=True)
class _Switches:
    accepting: bool = True


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
    return Answer(data=cursor.getvalue().hex())
