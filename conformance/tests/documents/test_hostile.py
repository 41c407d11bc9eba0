"""The suite's hostile payloads: sizes as announced, checksums right, mutations repeatable."""

import hashlib

import pytest

from meshwire_conformance.documents.hostile import (
    MAGIC,
    Payload,
    bomb,
    change,
    change_hash,
    hostile_payloads,
    mend_checksums,
    mutate,
    odd_scalars,
    signed,
    unsigned,
)

PAYLOADS = list(hostile_payloads())


def is_mended(payload: bytes) -> bool:
    """Say whether mending changes nothing: every checksum is right."""
    return mend_checksums(payload) == payload


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
def test_checksums_are_right(payload: Payload) -> None:
    """A wrong checksum would hide the parser behind it."""
    assert is_mended(payload.data)
    assert payload.harm


def test_names_are_unique() -> None:
    """Each payload can be named in a report."""
    names = [payload.name for payload in PAYLOADS]

    assert len(names) == len(set(names))


def test_small_inputs_claim_much() -> None:
    """All but the bomb are shorter than 120 bytes, the bomb than 300 KB."""
    assert max(len(p.data) for p in PAYLOADS if "300 MB" not in p.name) < 120
    assert 250_000 < len(bomb()) < 300_000


def test_a_change_has_its_hash() -> None:
    """The first four bytes of the hash are the checksum."""
    for _, single in odd_scalars():
        assert single.startswith(MAGIC + change_hash(single)[:4])
        assert change_hash(single) == hashlib.sha256(single[8:]).digest()


def test_mutations_are_repeatable_and_mended() -> None:
    """A seed names a mutation; most are something else than what they came from."""
    source = change(0x26, b"hi")
    mutations = [mutate(source, seed) for seed in range(50)]

    assert mutations == [mutate(source, seed) for seed in range(50)]
    assert all(map(is_mended, mutations))
    assert len(set(mutations) - {source}) > 30


@pytest.mark.parametrize(
    ("number", "encoded"), [(0, "00"), (127, "7f"), (128, "8001"), (2**32 - 1, "ffffffff0f")]
)
def test_unsigned_numbers(number: int, encoded: str) -> None:
    """Seven bits a byte, least significant first."""
    assert unsigned(number).hex() == encoded


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "00"), (63, "3f"), (64, "c000"), (-1, "7f"), (-64, "40"), (-65, "bf7f")],
)
def test_signed_numbers(number: int, encoded: str) -> None:
    """The same, with the sign in the last byte."""
    assert signed(number).hex() == encoded
