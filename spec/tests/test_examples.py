"""The examples on the pages are true: bytes, values and exchanges as the schema codec has them."""

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import pytest

from meshwire_spec import codec
from meshwire_spec.errors import Malformed

SPEC = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"```json\n(.*?)```", re.DOTALL)
BYTES = re.compile(
    r"```json\n((?:(?!```).)*)```\n\n[^\n]*bytes of this value[^\n`]*`([0-9a-f ]+)`", re.DOTALL
)

EXAMPLES = {
    "03-frames.md": ["stream_frame"],
    "04-batches.md": ["sync_batch"],
    "05-tombstones.md": ["tombstone"],
    "06-reconciliation.md": ["negentropy_message"],
    "07-liveness.md": ["heartbeat"],
    "11-lab-binding.md": ["lab_record"],
}
"""Kinds of the examples that give value and bytes, in the order of the page."""


def page(name: str) -> str:
    """Text of a page."""
    return (SPEC / name).read_text()


@pytest.mark.parametrize("name", EXAMPLES)
def test_values_and_bytes_of_examples_agree(name: str) -> None:
    """Each value on a page encodes to the bytes beside it, and they decode to the value."""
    found = BYTES.findall(page(name))
    named = EXAMPLES[name]
    assert len(found) == len(named), f"{name} has {len(found)} with bytes, EXAMPLES {len(named)}"

    for kind, (value, data) in zip(EXAMPLES[name], found, strict=True):
        message = codec.from_value(kind, json.loads(value))

        assert codec.encode(message).hex() == data.replace(" ", "")
        assert codec.to_value(codec.decode(kind, codec.encode(message))) == json.loads(value)


def test_the_fault_of_the_batch_example_is_as_told() -> None:
    """With a count of two and two bytes after it, the batch example has the fault shown."""
    data = bytearray.fromhex(BYTES.findall(page("04-batches.md"))[0][1])
    data[20] = 2
    told = re.search(r'`"fault": (\{.*?\})`', page("04-batches.md"))
    assert told is not None

    value = codec.to_value(codec.decode("sync_batch", bytes(data) + b"\x00\x05"))

    assert value["fault"] == json.loads(told[1])
    data[20] = 4
    with pytest.raises(Malformed, match="count-limit"):
        codec.decode("sync_batch", bytes(data) + b"\x00\x05")


def exchanges() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Requests and answers shown on the harness page, with nothing left out in them."""
    found = []
    for block in BLOCK.findall(page("12-harness.md")):
        if "..." in block:
            continue
        decoder, rest, objects = json.JSONDecoder(), block.strip(), []
        while rest:
            item, end = decoder.raw_decode(rest)
            objects.append(item)
            rest = rest[end:].strip()
        found += list(zip(objects[::2], objects[1::2], strict=True))
    return found


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The answer of the schema codec."""
    if request["op"] == "encode":
        message = codec.from_value(request["kind"], request["value"])
        return {"result": {"data": codec.encode(message).hex()}}
    try:
        message = codec.decode(request["kind"], bytes.fromhex(request["data"]))
    except Malformed as exc:
        return {"error": {"reason": exc.reason, "offset": exc.offset, "field": exc.field}}
    refused = codec.accept(request["kind"], message)
    return {"result": {"value": codec.to_value(message), "refused": refused}}


def test_exchanges_of_the_harness_page_are_what_a_codec_answers() -> None:
    """Each decode and encode shown is answered so by the schema codec."""
    shown = [(ask, told) for ask, told in exchanges() if ask["op"] in {"decode", "encode"}]
    assert len(shown) == 4

    assert [told for _, told in shown] == [{"id": ask["id"], **answer(ask)} for ask, _ in shown]


TOLD_FAULTS = [
    ("stream_frame", "00", "truncated", 0, "key.length"),
    ("stream_frame", "000561", "truncated", 2, "key"),
    ("formation_version", "02", "bad-version", 0, "version"),
    ("formation_challenge_h2", "01040000", "length-limit", 0, "length"),
    ("formation_challenge_h2", "24000000", "truncated", 4, "length"),
    ("formation_response_h2", "1f000000", "length-limit", 0, "length"),
    ("channel_record", "0700000002000000", "truncated", 5, "batch.batch_id"),
    ("channel_record", "070000001500", "truncated", 5, "batch"),
    ("lab_record", "070000000900", "truncated", 5, "body"),
    ("lab_record", "0700000009000102030405060708", "trailing-bytes", 13, "body"),
    ("heartbeat", "", "truncated", 0, "marker"),
    ("negentropy_message", "61bd84", "truncated", 1, "ranges[0].upper.timestamp"),
]


@pytest.mark.parametrize(("kind", "data", "reason", "offset", "field"), TOLD_FAULTS)
def test_faults_are_placed_as_the_pages_tell(
    kind: str, data: str, reason: str, offset: int, field: str
) -> None:
    """Offsets and field paths that the pages spell out are those of the schema codec."""
    with pytest.raises(Malformed) as caught:
        codec.decode(kind, bytes.fromhex(data))

    assert (caught.value.reason, caught.value.offset, caught.value.field) == (reason, offset, field)


def response(secret: bytes) -> str:
    """The response of the worked example, derived by hand."""
    used = secret if len(secret) == 32 else hashlib.sha256(secret).digest()
    salt = b"test-formation"
    extracted = hmac.new(salt, used, hashlib.sha256).digest()
    key = hmac.new(extracted, b"peat-protocol-v1-formation\x01", hashlib.sha256).digest()
    return hmac.new(key, b"\xab" * 32 + salt, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("secret", [b"\x42" * 32, b"a secret of 21 bytes!"])
def test_the_worked_examples_of_the_key_are_right(secret: bytes) -> None:
    """Both responses on the handshake page follow from their secrets, also through base64."""
    carried = base64.b64decode(base64.b64encode(secret))

    assert f"`{response(carried)}`" in page("08-handshake.md")
