"""Properties of every kind: round trips of values and bytes; nothing is raised but Malformed."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwire_reference.harness import kinds
from meshwire_reference.harness.shapes import (
    Chosen,
    Decimal,
    Hex,
    ListOf,
    Null,
    Number,
    OrNull,
    Record,
    RegistryNumber,
    Shape,
    Text,
)
from meshwire_reference.wire.errors import Malformed
from meshwire_spec.numbers import REASONS, U64_MAX

ALL_KINDS = sorted(kinds.KINDS)
SIZES = {
    "nonce": 32,
    "hmac": 32,
    "endpoint_id": 32,
    "fingerprint": 16,
    "ids": 32,
    "public_key": 32,
    "subject": 32,
    "member": 32,
    "issuer": 32,
    "signature": 64,
    "root_secret": 32,
    "authority_secret": 32,
    "formation_secret": 32,
    "authority_public": 32,
}
"""Sizes of fixed fields, restated from the pages."""

FIXED = {"magic": "4d574c42", "fault": None}
VERSIONS = {"lab_preamble": 1, "negentropy_message": 0x61, "formation_version": 1}
MARKERS = {"heartbeat": 1, "channel_record": 7}
# A few characters of every width, and of the sorts that trip string handling.
TEXTS = st.text("ab:/\x00\n\x7f\u00e9\u96ea\U0001f680", max_size=12)


def hex_of(name: str) -> st.SearchStrategy[str]:
    """Return a strategy for bytes: of the size of a fixed field, else short."""
    exact = SIZES.get(name)
    return st.binary(min_size=exact or 0, max_size=exact or 24).map(bytes.hex)


@st.composite
def objects_of(draw: st.DrawFn, shape: Record) -> dict[str, Any]:
    """Draw an object of a record; a member chosen by another follows it."""
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        plain = member.shapes[found[member.by]] if isinstance(member, Chosen) else member
        found[name] = draw(values_of(plain, name))
    return settle(shape, found)


STRATEGIES: dict[type, Callable[[Any, str], st.SearchStrategy[Any]]] = {
    Record: lambda shape, _: objects_of(shape),
    ListOf: lambda shape, name: st.lists(values_of(shape.shape, name), max_size=3),
    OrNull: lambda shape, name: st.none() | values_of(shape.shape, name),
    RegistryNumber: lambda shape, _: st.sampled_from([int(member) for member in shape.registry]),
    Number: lambda shape, _: st.integers(0, shape.maximum),
    Decimal: lambda _, __: st.integers(0, U64_MAX).map(str),
    Hex: lambda _, name: hex_of(name),
    Null: lambda _, __: st.none(),
    Text: lambda _, __: TEXTS,
}


def values_of(shape: Shape, name: str) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of one member, that fit their field."""
    return st.just(FIXED[name]) if name in FIXED else STRATEGIES[type(shape)](shape, name)


def settle(shape: Record, found: dict[str, Any]) -> dict[str, Any]:
    """Make members agree that say something of each other."""
    for count, elements in (("entry_count", "entries"), ("tombstone_count", "tombstones")):
        if count in found:
            found[count] = len(found[elements])
    for flag, part in (("has_certificate", "certificate"), ("has_secret", "secret")):
        if flag in found:
            found[flag] = 0 if found[part] is None else 1
    if shape is kinds.LAB_RECORD_SHAPE:
        settle_record(found["body"])
    if shape is kinds.FRAME_SHAPE:
        found["type"] = (0, 1, 2, 4, 5, 6, 7, 8, 9)[found["type"] % 9]
    if shape is kinds.NEGENTROPY_SHAPE:
        settle_bounds(found["ranges"])
    if shape in (kinds.MEMBERSHIP_CERTIFICATE_SHAPE, kinds.CREDENTIALS_SHAPE):
        found["mesh_id"] = (found["mesh_id"].encode().hex() + "01234567")[:8]
    if shape is kinds.MEMBERSHIP_CERTIFICATE_SHAPE:
        found["callsign"] = found["callsign"][:4]
    return found


def settle_record(body: dict[str, Any]) -> None:
    """Give the flag of DATA and the echo of PING and PONG what their fields can hold."""
    if "fin" in body:
        body["fin"] %= 2
    if "payload" in body:
        body["payload"] = (body["payload"] + "0123456789abcdef")[:16]


def settle_bounds(ranges: list[dict[str, Any]]) -> None:
    """Put bounds in an order that can be written, the infinite one last."""
    times = sorted(int(one["upper"]["timestamp"] or 7) for one in ranges)
    for one, time in zip(ranges, times, strict=True):
        one["upper"]["timestamp"] = str(min(time, U64_MAX - 1))
    if ranges:
        ranges[-1]["upper"]["timestamp"] = None


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw a kind and a value of it."""
    kind = draw(st.sampled_from(ALL_KINDS))
    return kind, draw(values_of_kind(kind))


@st.composite
def values_of_kind(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """Draw a value of a kind."""
    value = draw(objects_of(kinds.KINDS[kind].shape))
    for name, numbers in (("version", VERSIONS), ("marker", MARKERS)):
        if kind in numbers:
            value[name] = numbers[kind]
    return value


@given(messages())
def test_values_come_back(drawn: tuple[str, dict[str, Any]]) -> None:
    """A value survives the way to bytes and back."""
    kind, value = drawn

    data = kinds.encode(kind, kinds.from_value(kind, value))

    assert value == kinds.to_value(kind, kinds.decode(kind, data))


@pytest.mark.parametrize("kind", ALL_KINDS)
@settings(max_examples=8)
@given(data=st.data())
def test_values_of_each_kind_come_back(kind: str, data: st.DataObject) -> None:
    """Each kind is tried, beginning with its simplest value."""
    value = data.draw(values_of_kind(kind))

    content = kinds.encode(kind, kinds.from_value(kind, value))

    assert value == kinds.to_value(kind, kinds.decode(kind, content))


@given(messages(), st.data())
def test_whatever_decodes_encodes_to_the_same_bytes(
    drawn: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    """Broken bytes raise Malformed inside the message, or are kept byte for byte."""
    kind, value = drawn
    content = bytearray(kinds.encode(kind, kinds.from_value(kind, value)))
    at = data.draw(st.integers(0, len(content)))
    removed = data.draw(st.integers(0, 4))
    content[at : at + removed] = data.draw(st.binary(max_size=6))

    assert keeps_its_bytes(kind, bytes(content)) or is_malformed(kind, bytes(content))


@given(st.sampled_from(ALL_KINDS), st.binary(max_size=300))
def test_any_bytes_decode_or_are_malformed(kind: str, content: bytes) -> None:
    """Bytes that nobody meant as a message raise nothing else either."""
    assert keeps_its_bytes(kind, content) or is_malformed(kind, content)


def keeps_its_bytes(kind: str, content: bytes) -> bool:
    """Whether the bytes are a message that gives them back, by its value too; bad ones are none."""
    try:
        message = kinds.decode(kind, content)
    except Malformed:
        return False
    value = kinds.to_value(kind, message)
    return kinds.from_value(kind, value) == message and kinds.encode(kind, message) == content


def is_malformed(kind: str, content: bytes) -> bool:
    """Whether the bytes are refused for a fault that lies in them, with a reason there is."""
    try:
        kinds.decode(kind, content)
    except Malformed as fault:
        lies_inside = fault.offset is not None and 0 <= fault.offset <= len(content)
        return lies_inside and fault.reason in REASONS
    return False


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_value_has_the_members_of_the_class(kind: str) -> None:
    """Shape and message class name the same fields in the same order."""
    shape = kinds.KINDS[kind].shape

    assert is_dataclass(shape.message)
    assert [field.name for field in fields(shape.message)] == list(shape.members)
