"""The suite's own signed operations, compared with the recordings."""

import json
import re
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from meshwire_conformance.catalogue.data_files import vectors_folder
from meshwire_conformance.protocol.signed_operations import (
    Escapes,
    content_text,
    digest_of,
    id_of,
    normal_form,
    number_text,
    public_of,
    signature_of,
    signer_of,
)

FOLDER = vectors_folder() / "oplog" / "recorded"
NOT_FINITE = re.compile(r"Number\((NaN|-?inf)\)")
ESCAPES = Escapes(FOLDER / "escapes.json")


def plain(tree: Any) -> Any:
    """Return the value of content in a recording."""
    name, *rest = tree
    match name:
        case "null":
            return None
        case "num":
            return struct.unpack(">d", bytes.fromhex(rest[0]))[0]
        case "arr":
            return [plain(part) for part in rest[0]]
        case "obj":
            return {key: plain(part) for key, part in rest[0]}
    return rest[0]


def recorded() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each recorded operation as peers send it, with its line."""
    for text in (FOLDER / "ids.jsonl").read_text().split("\n"):
        line = json.loads(text) if text else {}
        if not line or line["source"] == "typed":
            continue
        inner = line["op"]["inner"]
        yield (
            {
                "author": list(bytes.fromhex(line["op"]["author"])),
                "signed_digest": list(bytes.fromhex(line["op"]["signed_digest"])),
                "depends_on": [list(bytes.fromhex(one)) for one in line["op"]["depends_on"]],
                "inner": {
                    **{
                        name: list(bytes.fromhex(inner[name]))
                        for name in ("origin", "author", "id")
                    },
                    "seq": int(inner["seq"]),
                    "is_deleted": inner["is_deleted"],
                    "content": None if inner["content"] is None else plain(inner["content"]),
                    "path": [
                        {"Field": one["field"]}
                        if "field" in one
                        else {"Index": list(bytes.fromhex(one["index"]))}
                        for one in inner["path"]
                    ],
                },
            },
            line,
        )


def test_ids_and_digests_are_those_of_the_recordings() -> None:
    """Every operation with finite content, byte for byte."""
    count = 0
    for operation, line in recorded():
        inner = operation["inner"]
        assert digest_of(inner, operation["depends_on"]).hex() == line["digest"]
        has_content = line["op"]["inner"]["content"] is not None and not inner["is_deleted"]
        # JSON has no number that is not finite.
        if has_content and not NOT_FINITE.search(line["content_debug"]):
            count += 1
            assert content_text(inner["content"], ESCAPES) == line["content_debug"]
            assert bytes(id_of(inner, ESCAPES)).hex() == line["id_computed"]

    assert count > 150


def test_signatures_are_those_of_the_authors() -> None:
    """A seed of the recordings gives its public key, and a signature of 64 bytes."""
    for text in (FOLDER / "authors.jsonl").read_text().splitlines():
        line = json.loads(text)
        signer = signer_of(bytes.fromhex(line["seed"]))

        assert bytes(public_of(signer)).hex() == line["public"]
        assert len(signature_of(signer, bytes(32))) == 64


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0.0"), (-0.0, "-0.0"), (3, "3.0"), (1e16, "1e16"), (9.9e-5, "9.9e-5"), (1e-4, "0.0001"),
     (1.5e21, "1.5e21"), (5e-324, "5e-324")],
)  # fmt: skip
def test_numbers_have_the_form_of_the_page(number: float, text: str) -> None:
    """Plain in the middle, with an exponent outside."""
    assert number_text(number) == text


def test_every_spelling_has_one_normal_form() -> None:
    """Numbers, hexadecimal and base64; tagged and short segments; typed content."""
    [(operation, _), *_] = recorded()
    other = json.loads(json.dumps(operation))
    other["author"] = bytes(operation["author"]).hex()
    other["inner"]["path"] = [next(iter(one.values())) for one in operation["inner"]["path"]]
    other["inner"]["content"] = {"Bool": True}
    del other["depends_on"]

    assert operation["inner"]["content"] is True
    assert normal_form(other) == normal_form(operation)
    for wrong in (None, [], {}, {"inner": {}}, {**operation, "author": 7}):
        assert normal_form(wrong) is None
