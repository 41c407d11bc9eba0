"""The formation's key, against the worked examples of the page."""

import pytest

from meshwire_reference.core.formation import BadSecret, FormationKey, ProofRefused, read_secret

NONCE = b"\xab" * 32
RESPONSE = "beb732d4b9ddc90ce7012f3ece524489d1181e69ee748d6221871508c2b120f1"


def test_a_secret_of_32_bytes_is_used_as_it_is() -> None:
    """Key and response of the worked example."""
    formation = FormationKey.derive("test-formation", b"\x42" * 32)

    expected_key = "e3a0256bfe3f5bdbce186b421ab196e4eddfa18f2c519f9e7ffd78320bf3432e"
    assert expected_key == formation.key.hex()
    assert formation.respond(NONCE).hex() == RESPONSE


def test_a_secret_of_another_length_is_hashed_first() -> None:
    """Key and response of the second worked example."""
    formation = FormationKey.derive("test-formation", b"a secret of 21 bytes!")

    expected_key = "716f1235c3eaeefc2b4630af33c94a8872e5d5579c76c49883ffc2ae59772397"
    expected = "e32cf64db17dcf00ee3140654cde6d68ef3e2de9de1067e3764ce708c6693b37"
    assert expected_key == formation.key.hex()
    assert expected == formation.respond(NONCE).hex()


def test_verifies_its_own_response() -> None:
    """The right proof passes."""
    formation = FormationKey.derive("test-formation", b"\x42" * 32)

    assert is_proof(formation, NONCE, RESPONSE)


def is_proof(formation: FormationKey, nonce: bytes, response: str) -> bool:
    """Whether a response to a nonce is let through."""
    try:
        formation.verify(nonce, bytes.fromhex(response))
    except ProofRefused:
        return False
    return True


@pytest.mark.parametrize(
    ("formation_id", "secret", "nonce", "response"),
    [
        ("other", b"\x42" * 32, NONCE, RESPONSE),
        ("test-formation", b"\x43" * 32, NONCE, RESPONSE),
        ("test-formation", b"\x42" * 32, b"\xac" * 32, RESPONSE),
        ("test-formation", b"\x42" * 32, NONCE, RESPONSE[:-2] + "f0"),
        ("test-formation", b"\x42" * 32, NONCE, RESPONSE[:-2]),
        ("test-formation", b"\x42" * 32, NONCE, ""),
    ],
)
def test_refuses_any_other_proof(
    formation_id: str, secret: bytes, nonce: bytes, response: str
) -> None:
    """Another formation, secret, nonce or response proves nothing."""
    with pytest.raises(ProofRefused) as raised:
        FormationKey.derive(formation_id, secret).verify(nonce, bytes.fromhex(response))

    assert raised.value.reason == "authentication-failed"


@pytest.mark.parametrize(
    ("text", "secret"), [("", ""), (" QUJD\n", "414243"), ("AP8=", "00ff"), ("+/8=", "fbff")]
)
def test_reads_base64(text: str, secret: str) -> None:
    """Blanks around the text are no part of it."""
    assert bytes.fromhex(secret) == read_secret(text)


@pytest.mark.parametrize(
    "text", ["not base64!", "QUJD=", "QUJ", "QUJDRA", "_-8=", "QU JD", "QUJDRB==", "\u00e9"]
)
def test_refuses_text_that_is_not_canonical_base64(text: str) -> None:
    """The error does not repeat what may be a secret with a typing error."""
    with pytest.raises(BadSecret) as raised:
        read_secret(text)

    assert text not in str(raised.value)


def test_a_key_does_not_show() -> None:
    """A key in a log line would be a leak."""
    formation = FormationKey.derive("f", b"\x42" * 32)

    assert formation.key.hex() not in repr(formation)
    assert repr(formation.key) not in repr(formation)
