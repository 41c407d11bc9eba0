"""JSON of signed operations: every spelling that is unambiguous, and nothing that hurts."""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwire_reference.oplog.operations import (
    ROOT,
    Operation,
    SignedOperation,
    hash_text,
    id_text_of,
)
from meshwire_reference.oplog.spelling import operation_json, read_operation_json, write_operation
from meshwire_reference.oplog.tagged import read_tagged
from meshwire_reference.oplog.values import ABSENT, Content, Unreadable
from meshwire_reference.testing.oplog_recordings import lines
from meshwire_spec.numbers import OPLOG_DEPTH_MAX


def operation(content: Content) -> SignedOperation:
    """Return an operation with a valid id and no valid signature."""
    is_deleted = content is ABSENT
    found = hash_text(id_text_of(ROOT, ROOT, 0x0102, content, is_deleted=is_deleted))
    inner = Operation(ROOT, ROOT, 0x0102, is_deleted, content, ("rv", found), found)
    return SignedOperation(b"\1" * 32, bytes(range(64)), (b"\3" * 64,), inner)


def change(**members: object) -> str:
    """Return the JSON of an operation with other members inside or outside."""
    value = write_operation(operation("x"))
    for name, member in members.items():
        part = value["inner"] if name in value["inner"] and name != "author" else value
        part[name] = member
    return json.dumps(value)


def test_what_is_written_is_read_back() -> None:
    """Each recorded operation whose numbers JSON has, byte for byte in the end."""
    count = 0
    for line in lines("ids"):
        if line["valid_hash"] and "NaN" not in line["id_text"] and "inf" not in line["id_text"]:
            signed = read_tagged(line["op"])

            assert read_operation_json(operation_json(signed)) == signed, line["n"]
            count += 1
    assert count > 200


def tag(value: Any) -> Any:
    """Return content spelled with its types."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return {"Bool": value}
    if isinstance(value, float):
        return {"Number": value}
    if isinstance(value, str):
        return {"String": value}
    if isinstance(value, list):
        return {"Array": [tag(part) for part in value]}
    return {"Object": {name: tag(part) for name, part in value.items()}}


contents = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(content=contents)
def test_content_is_read_with_and_without_types(content: Any) -> None:
    """The id says which of the two spellings it is."""
    signed = operation(content)
    value = write_operation(signed)
    value["inner"]["content"] = tag(content)

    assert read_operation_json(operation_json(signed)) == signed
    assert read_operation_json(json.dumps(value)) == signed


def test_no_content_is_told_from_null() -> None:
    """Null, and a member that is left out, are what the id was hashed over."""
    for content in (None, ABSENT):
        signed = operation(content)
        value = write_operation(signed)
        del value["inner"]["content"]

        assert read_operation_json(operation_json(signed)) == signed
        assert read_operation_json(json.dumps(value)) == signed


def base64(value: bytes) -> str:
    """Return `value` in base64."""
    return b64encode(value).decode()


@pytest.mark.parametrize("spell", [list, bytes.hex, base64])
def test_bytes_are_read_in_three_spellings(spell: Callable[[bytes], object]) -> None:
    """Numbers, hexadecimal, base64."""
    signed = operation("x")
    value = write_operation(signed)
    value["author"] = spell(signed.author)
    value["signed_digest"] = spell(signed.signed_digest)
    value["inner"]["path"][1] = {"Index": spell(signed.inner.id)}

    assert read_operation_json(json.dumps(value)) == signed


def test_segments_are_read_tagged_and_short() -> None:
    """A text is a field, numbers are an index."""
    signed = operation("x")
    for path in (
        [{"Field": "rv"}, {"Index": list(signed.inner.id)}],
        [{"field": "rv"}, {"index": signed.inner.id.hex()}],
        ["rv", list(signed.inner.id)],
    ):
        assert read_operation_json(change(path=path)) == signed


NUMBERS = list(range(32))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "bad-json"),
        ("[1]", "wrong-type"),
        ("[" * 100_000, "too-deep"),
        ('{"author":[],"author":[]}', "duplicate-member"),
        (change(seq=5.0), "bad-sequence"),
        (change(seq=True), "bad-sequence"),
        (change(seq=-1), "bad-sequence"),
        (change(seq=2**64), "bad-sequence"),
        (change(content=1).replace('"content": 1', '"content": NaN'), "not-finite"),
        (change(content=1).replace('"content": 1', '"content": 1e999'), "not-finite"),
        (change(content=10**400), "not-finite"),
        (change(content="\ud800"), "lone-surrogate"),
        (change(content={"\udfff": 1}), "lone-surrogate"),
        (change(id=NUMBERS[:31]), "bad-length"),
        (change(id=[*NUMBERS[:31], 256]), "bad-bytes"),
        (change(id=[*NUMBERS[:31], True]), "bad-bytes"),
        (change(id="zz" * 32), "bad-bytes"),
        (change(id="====" * 11), "bad-bytes"),
        (change(id=7), "wrong-type"),
        (change(path="rv"), "wrong-type"),
        (change(path=[7]), "wrong-type"),
        (change(path=[{"Field": 7}]), "wrong-type"),
        (change(is_deleted=1), "wrong-type"),
        (change(depends_on=7), "wrong-type"),
        (change(depends_on=[[1]]), "bad-length"),
        (change(inner=None), "wrong-type"),
        ('{"inner":{"path":[],"seq":1},"author":[],"signed_digest":[]}', "bad-length"),
    ],
)
def test_what_is_no_operation_has_a_reason(text: str, reason: str) -> None:
    """Whatever a peer sends is an operation or refused."""
    with pytest.raises(Unreadable) as caught:
        read_operation_json(text)

    assert caught.value.reason == reason


def test_depth_is_bounded_at_the_limit() -> None:
    """The deepest content is read, one level more is refused."""
    deepest: Any = 0.5
    for _ in range(OPLOG_DEPTH_MAX):
        deepest = [deepest]
    signed = operation(deepest)

    assert read_operation_json(operation_json(signed)) == signed
    with pytest.raises(Unreadable):
        read_operation_json(operation_json(operation([deepest])))


@given(text=st.text() | st.recursive(st.none() | st.integers(), st.lists).map(json.dumps))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No other exception leaves the reader."""
    with pytest.raises(Unreadable):
        read_operation_json(text)
