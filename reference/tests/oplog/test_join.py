"""The join token: what is said in which order, and what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from meshwire_reference.oplog.join import (
    NO_CERTIFICATE,
    Join,
    JoinFacts,
    JoinIdentity,
    JoinRefused,
    Role,
    certificate_hash,
    proof_of,
    read_token,
)

TOKEN = b"one token of the mesh"
LEFT, RIGHT = b"\x11" * 32, b"\x22" * 32
CERTIFICATE = certificate_hash(b"certificate")


def dialler(token: bytes = TOKEN, certificate: bytes = CERTIFICATE) -> Join:
    """Return the side that has dialled."""
    return Join(JoinIdentity(token, LEFT), Role.DIALLER, b"\x33" * 32, certificate)


def listener(token: bytes = TOKEN, node_id: bytes = RIGHT) -> Join:
    """Return the side that was dialled."""
    return Join(JoinIdentity(token, node_id), Role.LISTENER, b"\x44" * 32, CERTIFICATE)


def meet(left: Join, right: Join) -> list[str]:
    """Let two sides talk until neither has more to say; return what was said after the hellos."""
    said: list[str] = []
    messages = [(right, left.hello()), (left, right.hello())]
    while messages:
        taker, message = messages.pop(0)
        answers = taker.take(message)
        said += answers
        messages += [(left if taker is right else right, answer) for answer in answers]
    return said


def test_the_listener_proves_itself_first_and_says_when_it_is_over() -> None:
    """Both sides have proven themselves then, and know each other's id."""
    left, right = dialler(), listener()
    said = meet(left, right)

    assert [json.loads(text)["type"] for text in said] == ["join-proof", "join-proof", "join-done"]
    assert left.is_over
    assert right.is_over
    assert (left.peer_id, right.peer_id) == (RIGHT, LEFT)


@pytest.mark.parametrize(
    "left", [dialler(token=b"another token, as long"), dialler(certificate=NO_CERTIFICATE)]
)
def test_another_token_or_certificate_is_refused_by_the_dialler(left: Join) -> None:
    """It has said nothing that depends on its token."""
    right = listener()
    left.hello()
    [proof] = right.take(left.hello())
    left.take(right.hello())

    with pytest.raises(JoinRefused, match="wrong proof"):
        left.take(proof)
    assert not left.is_proven


def test_a_proof_covers_each_of_its_parts() -> None:
    """Another one for every change, and none can be sent back."""
    facts = JoinFacts(b"a" * 32, b"b" * 32, b"c" * 32, b"d" * 32, b"e" * 32)
    proofs = {proof_of(TOKEN, Role.DIALLER, facts), proof_of(TOKEN, Role.LISTENER, facts)}
    proofs.add(proof_of(TOKEN + b"x", Role.DIALLER, facts))
    for name in JoinFacts.__slots__:
        proofs.add(proof_of(TOKEN, Role.DIALLER, replace(facts, **{name: b"x" * 32})))

    assert len(proofs) == 8


HELLO: dict[str, Any] = {"type": "join-hello", "v": 1, "node": "55" * 32, "nonce": "66" * 32}
NO_HELLOS: list[Any] = [
    '{"type":"bulk","ops":[]}', "nonsense", "[]", b"binary", "", "x" * 1025,
    json.dumps({**HELLO, "v": 2}), json.dumps({**HELLO, "type": "join-proof"}),
    json.dumps({**HELLO, "node": "55" * 31}), json.dumps({**HELLO, "nonce": "zz" * 32}),
    json.dumps({**HELLO, "nonce": "AA" * 32}), json.dumps({**HELLO, "nonce": None}),
    json.dumps({**HELLO, "node": RIGHT.hex()}),
]  # fmt: skip


@pytest.mark.parametrize("message", NO_HELLOS)
def test_what_is_no_hello_is_refused(message: str | bytes) -> None:
    """A bulk of a peer without a token too, and a node that has dialled itself."""
    with pytest.raises(JoinRefused):
        listener().take(message)


@pytest.mark.parametrize(
    "message",
    ['{"type":"join-done"}', '{"type":"join-proof"}', '{"type":"join-proof","proof":"00"}',
     json.dumps({"type": "join-proof", "proof": "00" * 32}), json.dumps(HELLO)],
)  # fmt: skip
def test_what_is_no_proof_is_refused(message: str) -> None:
    """By either side."""
    for side, other in ((dialler(), listener()), (listener(), dialler())):
        side.take(other.hello())
        with pytest.raises(JoinRefused):
            side.take(message)
        assert not side.is_proven


def test_an_own_proof_that_comes_back_is_refused() -> None:
    """The role is part of it."""
    right = listener()
    [proof] = right.take(dialler().hello())

    with pytest.raises(JoinRefused, match="wrong proof"):
        right.take(proof)


def test_a_dialler_waits_for_the_end() -> None:
    """Anything but the last message is refused."""
    left, right = dialler(), listener()
    [proof] = right.take(left.hello())
    left.take(right.hello())
    left.take(proof)

    assert left.is_proven
    assert not left.is_over
    with pytest.raises(JoinRefused, match="join-done"):
        left.take('{"type":"bulk","ops":[]}')


def test_a_token_is_one_line_that_is_long_enough() -> None:
    """White space around it is no part of it."""
    assert read_token(b"  0123456789abcdef\n") == b"0123456789abcdef"
    for content in (b"0123456789abcde\n", b"", b"0123456789abcdef\nx", b"\xff" * 20):
        with pytest.raises(ValueError, match="join token"):
            read_token(content)
