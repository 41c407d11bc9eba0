"""Documents from outside against the published schemas: what is said of a fault, and where."""

from typing import Any

import pytest

from meshwire_spec.schemas.targets import TargetFile
from meshwire_spec.schemas.validation import checked, faults, load_schema

TARGET: dict[str, Any] = {
    "addresses": ["tcp://127.0.0.1:4711"],
    "profile": "sync/1",
    "dialect": "open",
}


def test_a_document_that_fits_becomes_its_struct() -> None:
    """Numbers without a fraction are seconds too, as TOML writes them."""
    found = checked("target", {**TARGET, "deadlines": {"handshake_s": 2}}, TargetFile)

    assert found.deadlines
    assert (found.addresses, found.deadlines.handshake_s) == (TARGET["addresses"], 2.0)


def test_an_integer_may_be_written_with_a_fraction_of_zero() -> None:
    """JSON Schema calls 7.0 an integer; seconds stay as they are."""
    document = {
        **TARGET,
        "payload_cap": 7.0,
        "collections": {"beacons": {"ttl_s": 2.0e3}, "alerts": {"ttl_s": 1e30}},
        "deadlines": {"handshake_s": 1e300, "frame_stall_s": 2.5},
    }

    found = checked("target", document, TargetFile)

    assert found.collections
    assert found.deadlines
    assert (type(found.payload_cap), found.payload_cap) == (int, 7)
    assert found.collections["beacons"].ttl_s == 2000
    assert found.collections["alerts"].ttl_s == int(1e30)
    assert (found.deadlines.handshake_s, found.deadlines.frame_stall_s) == (1e300, 2.5)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({**TARGET, "deadlines": {"handshake_s": "2"}}, r"^deadlines\.handshake_s: '2' is not"),
        ({**TARGET, "addresses": ["x"]}, r"^addresses\.0: 'x' does not match"),
        ({**TARGET, "colour": "red"}, r"^it: .*'colour' was unexpected"),
        ({**TARGET, "dialect": "H1"}, r"^it: 'formation_id' is a required property"),
        (7, "^it: 7 is not of type 'object'"),
    ],
)
def test_a_fault_is_said_with_its_place(document: object, said: str) -> None:
    """In the words of the published schema, which a third party reads too."""
    with pytest.raises(ValueError, match=said):
        checked("target", document, TargetFile)
    assert next(faults("target", document))


def test_a_schema_that_is_not_published_cannot_be_loaded() -> None:
    """A wrong name is an error of the caller."""
    with pytest.raises(KeyError):
        load_schema("nothing")
