"""Recorded handshakes of a deployed peer, played to a node over every transport of streams.

Recordings 13 and 14 are of the older form of H2, of 0.6, in which the first four bytes of a
connector are the length of its response. A node writes the version byte of 0.8.1 in their place, so
a recorded acceptor is played as if it had been of that release: it challenges at these first bytes
too, and its nonce, and with that the response, are the recorded ones. As acceptor the node makes a
nonce of its own; the response to it is made anew, in the recorded form. 15 and 16 are an H1
initiator at a peer without a key, and at an acceptor of H2.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from typing import Final

import pytest

from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node import driver
from meshwire_reference.node.config import Config
from meshwire_reference.testing.recordings import RecordedPeer, Recording, load
from meshwire_reference.testing.serving import LIMIT_S
from meshwire_reference.testing.watched import DocumentsHere, WatchedNode
from meshwire_reference.transport.base import Listener, TransportOptions
from meshwire_reference.transport.registry import dial, listen
from meshwire_spec.numbers import FRAME_STALL_S, REASONS

pytestmark = pytest.mark.socket

OPTIONS: Final = TransportOptions(b"\x77" * 32, secret_key=b"\x78" * 32)
SCHEMES = pytest.mark.parametrize(
    "scheme",
    [
        pytest.param(
            scheme,
            marks=pytest.mark.skipif(
                library is not None and find_spec(library) is None, reason=f"no extra {scheme}"
            ),
        )
        for scheme, library in {"tcp": None, "quic": "aioquic", "iroh": "iroh"}.items()
    ],
)
VERSION: Final = b"\x01"
REJECTED: Final = "formation auth failed"
SUCCEEDS: Final = "13_h2_acceptor_write_length_prefix_first"
EXTRA: Final = "13_h2_acceptor_extra_bytes_in_response"
SHORT: Final = "13_h2_acceptor_short_response"
OVERSIZE: Final = "13_h2_acceptor_oversize_response"
WRONG_KEY: Final = "13_h2_acceptor_wrong_key"
CHALLENGE_SIZE: Final = 43
"""Bytes of a recorded challenge, whose formation id has five."""
PAST_S: Final = 11.0
"""More than the deadline of a handshake."""


def proof(recording: Recording, nonce: bytes) -> bytes:
    """Return the response that the recorded secret gives to a nonce."""
    setup = recording.content["setup"]
    name = setup["formation_id"].encode()
    extracted = hmac.digest(name, bytes.fromhex(setup["secret_hex"]), sha256)
    key = hmac.digest(extracted, b"peat-protocol-v1-formation\x01", sha256)
    return hmac.digest(key, nonce + name, sha256)


def key_of(recording: Recording) -> FormationKey:
    """Return the key of the formation of a recording."""
    setup = recording.content["setup"]
    return FormationKey.derive(setup["formation_id"], bytes.fromhex(setup["secret_hex"]))


TEST_FORMATION: Final = FormationKey.derive("test-formation", b"\x42" * 32)


@pytest.fixture(autouse=True)
def _documents_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes of this module have their documents in this process."""
    monkeypatch.setattr(driver, "Documents", DocumentsHere)


@asynccontextmanager
async def accepting(
    scheme: str, key: FormationKey | None, dialect: Dialect, *, detects: bool = False
) -> AsyncIterator[tuple[WatchedNode, RecordedPeer]]:
    """A node and a recorded peer that has dialled it."""
    settings = Settings(dialect, detects=detects, heartbeat_s=0)
    node = WatchedNode(Config((f"{scheme}://127.0.0.1:0",), settings, key))
    try:
        async with asyncio.timeout(LIMIT_S):
            await node.start()
            peer = RecordedPeer(await dial(node.addresses[0], OPTIONS))
            yield node, peer
            await peer.leave()
    finally:
        await node.close()


@asynccontextmanager
async def dialling(
    scheme: str, key: FormationKey, dialect: Dialect
) -> AsyncIterator[tuple[WatchedNode, Callable[[], Coroutine[None, None, RecordedPeer]]]]:
    """A node that dials, and a function that accepts its next connection."""
    listener: Listener = await listen(f"{scheme}://127.0.0.1:0", OPTIONS)
    settings = Settings(dialect, detects=True, heartbeat_s=0)
    config = Config(
        (f"{scheme}://127.0.0.1:0",), settings, key, connect=(listener.address,), redial_s=0.01
    )
    node = WatchedNode(config)

    async def next_peer() -> RecordedPeer:
        peer = RecordedPeer(await listener.accept())
        peer.kept.add(0)
        return peer

    try:
        async with asyncio.timeout(LIMIT_S):
            await node.start()
            yield node, next_peer
    finally:
        await listener.close()
        await node.close()


async def take(peer: RecordedPeer, size: int, stream: int = 0) -> bytes:
    """Wait until the node has written this number of bytes on a stream; return all of them."""
    await peer.until(lambda: stream in peer.heard and len(peer.heard[stream].data) >= size)
    return peer.heard[stream].data


def run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a test on a loop of its own."""
    asyncio.run(test())


# --- the node dials -------------------------------------------------------------------------------


async def challenge(peer: RecordedPeer, recording: Recording) -> bytes:
    """Play a recorded acceptor up to the response; return what the node has written."""
    assert await take(peer, 1) == VERSION
    await peer.connection.send(0, recording.written(0)[:CHALLENGE_SIZE])
    return await take(peer, 1 + 36)


@SCHEMES
@pytest.mark.parametrize("name", [SUCCEEDS, EXTRA])
def test_13_a_recorded_acceptor_gets_the_recorded_response(name: str, scheme: str) -> None:
    """Its result and its first frame follow, and the half that it does not read is stopped."""
    recording = load(name)
    response = recording.written(0, "tx")[4:36]

    async def test() -> None:
        async with dialling(scheme, key_of(recording), Dialect.H2) as (node, next_peer):
            peer = await next_peer()
            written = await challenge(peer, recording)
            assert written == VERSION + b"\x20\x00\x00\x00" + response
            peer.connection.stop(0, 0)
            await peer.connection.send(0, recording.written(0)[CHALLENGE_SIZE:], fin=True)
            stream = await peer.connection.open(bidi=True)
            peer.connection.stop(stream, 0)
            await peer.connection.send(stream, recording.written(1), fin=True)
            await peer.until(lambda: peer.sent() == {(0, "notes:a"): 1})

            assert not node.statistics.refused
            assert peer.closed is None

    run(test)


@SCHEMES
@pytest.mark.parametrize("name", [WRONG_KEY, SHORT])
def test_13_a_node_that_a_recorded_acceptor_rejects_dials_again_in_h2(
    name: str, scheme: str
) -> None:
    """The close with code 1 overtakes the result (D-33, HS-051)."""
    recording = load(name)

    async def test() -> None:
        async with dialling(scheme, key_of(recording), Dialect.H2) as (node, next_peer):
            for _ in range(2):
                peer = await next_peer()
                await challenge(peer, recording)
                await peer.connection.close(1, REJECTED)
                assert list(peer.heard) == [0]
            await next_peer()
            assert not node.statistics.sessions

    run(test)


@SCHEMES
@pytest.mark.parametrize(
    ("name", "dialect", "first", "second"),
    [
        pytest.param("16", Dialect.H1, None, VERSION, id="16 at an H1 initiator"),
        pytest.param(OVERSIZE, Dialect.H2, VERSION, None, id="13 at a connector"),
    ],
)
def test_16_a_close_before_any_challenge_leads_to_the_other_dialect(
    name: str, dialect: Dialect, first: bytes | None, second: bytes | None, scheme: str
) -> None:
    """What an acceptor of H2 does with an id, or with four bytes that are no length (HS-065)."""
    hello = load("16").written(0, "tx")

    async def test() -> None:
        async with dialling(scheme, TEST_FORMATION, dialect) as (_, next_peer):
            peer = await next_peer()
            assert await take(peer, len(first or hello)) == (first or hello)
            await peer.connection.close(1, REJECTED)
            peer = await next_peer()
            assert await take(peer, len(second or hello)) == (second or hello)

    run(test)


@SCHEMES
def test_15_a_peer_without_a_key_is_silent_and_gets_no_frame(scheme: str) -> None:
    """The node gives up at its deadline and dials again in H2, never as an open node (HS-038)."""
    hello = load("15").written(0, "tx")

    async def test() -> None:
        async with dialling(scheme, TEST_FORMATION, Dialect.H1) as (node, next_peer):
            peer = await next_peer()
            assert await take(peer, len(hello)) == hello
            await node.move_clock(PAST_S, None)
            assert (await peer.end()).code == REASONS["handshake-timeout"].code
            peer = await next_peer()
            assert await take(peer, 1) == VERSION
            assert list(peer.heard) == [0]

    run(test)


# --- the node accepts -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """How a connector fares: the result that it gets, if any, and the reason of a close, if any."""

    result: bytes = b""
    reason: str | None = None


ACCEPTED: Final = Outcome(b"\x01")
REJECTED_FOR_GOOD: Final = Outcome(b"\x00", "authentication-failed")
LATE: Final = Outcome(reason="handshake-timeout")

AS_RECORDED: Final = {
    SUCCEEDS: ACCEPTED,
    # Other lengths than that of a response begin an id of H1 (HS-063), or are the version.
    EXTRA: LATE,
    SHORT: LATE,
    OVERSIZE: LATE,
    WRONG_KEY: REJECTED_FOR_GOOD,
    "13_h2_acceptor_no_write": LATE,
    "13_h2_acceptor_empty_write_first": LATE,
    "14": LATE,
}
"""The older form, at a node that detects dialects; the deployed acceptor was silent at the last
three, closed at `SHORT` and `OVERSIZE`, and accepted `EXTRA`.
"""
SINCE_0_8_1: Final = {
    SUCCEEDS: ACCEPTED,
    EXTRA: ACCEPTED,
    SHORT: Outcome(reason="length-limit"),
    OVERSIZE: Outcome(reason="length-limit"),
    WRONG_KEY: REJECTED_FOR_GOOD,
}
"""The same with the version byte of 0.8.1 in front, and the length once the challenge has come."""


def response_in_form(recording: Recording, nonce: bytes) -> bytes:
    """Return the response to a nonce, wrong, cut or lengthened as the recorded one."""
    written = recording.written(0, "tx")[4:]
    made, right = proof(recording, nonce), proof(recording, recording.written(0)[11:CHALLENGE_SIZE])
    if written and written[:31] != right[:31]:
        return bytes(byte ^ 0xFF for byte in made)
    return made[: len(written)] + written[32:]


async def outcome_of(peer: RecordedPeer, stream: int, *, is_refused: bool) -> Outcome:
    """Return how the handshake ended: once the stream is over, or the connection."""
    if is_refused:
        code = (await peer.end()).code
        reason = next(name for name, row in REASONS.items() if row.code == code)
    else:
        await peer.until(lambda: peer.heard[stream].is_over)
        reason = None
    written = peer.heard[stream].data if stream in peer.heard else b""
    return Outcome(written[CHALLENGE_SIZE:], reason)


async def respond(peer: RecordedPeer, recording: Recording, stream: int, before: bytes) -> None:
    """Respond to the challenge of the node as recorded."""
    challenged = await take(peer, CHALLENGE_SIZE, stream)
    assert challenged[:11] == load(SUCCEEDS).written(0)[:11]
    response = before + response_in_form(recording, challenged[11:])
    await peer.connection.send(stream, response)


@SCHEMES
@pytest.mark.parametrize("name", AS_RECORDED)
def test_13_a_recorded_connector_of_the_older_form_is_served_or_waited_for(
    name: str, scheme: str
) -> None:
    """14, a deployed connector, wrote nothing: nobody can serve it (D-27)."""
    recording, outcome = load(name), AS_RECORDED[name]
    streams = recording.content["streams"]
    first = recording.written(0, "tx")[:4] if streams else b""
    key = key_of(load(SUCCEEDS))

    async def test() -> None:
        async with accepting(scheme, key, Dialect.H2, detects=True) as (node, peer):
            stream = await peer.connection.open(bidi=True)
            if first:
                await peer.connection.send(stream, first)
            if outcome is LATE:
                size = len(first)
                await node.progress.until(lambda: node.peers and node.taken_bytes == size)
                await node.move_clock(PAST_S, None)
            else:
                await respond(peer, recording, stream, b"")

            is_refused = outcome.reason is not None
            assert await outcome_of(peer, stream, is_refused=is_refused) == outcome
            assert node.statistics.sessions == ({} if is_refused else {"accepted": 1})

    run(test)


@SCHEMES
@pytest.mark.parametrize("name", SINCE_0_8_1)
def test_13_a_recorded_connector_behind_a_version_byte_ends_as_deployed(
    name: str, scheme: str
) -> None:
    """But for the result of a rejection, which is not overtaken here, and the codes (HS-036)."""
    recording, outcome = load(name), SINCE_0_8_1[name]
    length = recording.written(0, "tx")[:4]

    async def test() -> None:
        async with accepting(scheme, key_of(recording), Dialect.H2) as (node, peer):
            stream = await peer.connection.open(bidi=True)
            await peer.connection.send(stream, VERSION)
            await respond(peer, recording, stream, length)

            is_refused = outcome.reason is not None
            assert await outcome_of(peer, stream, is_refused=is_refused) == outcome
            assert node.statistics.sessions == ({} if is_refused else {"accepted": 1})

    run(test)


@pytest.mark.parametrize("name", [SUCCEEDS, EXTRA, SHORT])
def test_13_a_recorded_response_is_that_of_the_recorded_secret(name: str) -> None:
    """So the form of the other responses is known too."""
    recording = load(name)
    nonce, written = recording.written(0)[11:CHALLENGE_SIZE], recording.written(0, "tx")[4:36]

    assert proof(recording, nonce)[: len(written)] == written


@SCHEMES
def test_16_a_recorded_h1_initiator_is_closed_with_code_1(scheme: str) -> None:
    """By a node of H2 alone, before any byte of it, as by the deployed acceptor."""

    async def test() -> None:
        async with accepting(scheme, TEST_FORMATION, Dialect.H2) as (_, peer):
            stream = await peer.connection.open(bidi=True)
            await peer.connection.send(stream, load("16").written(0, "tx"))
            assert (await peer.end()).code == 1
            assert stream not in peer.heard or not peer.heard[stream].data

    run(test)


@SCHEMES
def test_15_a_recorded_h1_initiator_is_the_beginning_of_a_frame_to_an_open_node(
    scheme: str,
) -> None:
    """Its stream is refused when the rest does not come; a deployed peer was silent."""
    hello = load("15").written(0, "tx")

    async def test() -> None:
        async with accepting(scheme, None, Dialect.OPEN) as (node, peer):
            stream = await peer.connection.open(bidi=True)
            await peer.connection.send(stream, hello)
            await node.progress.until(lambda: node.taken_bytes == len(hello))
            await node.move_clock(FRAME_STALL_S + 1, None)
            code = REASONS["frame-stall"].code
            await peer.until(lambda: _ended(peer, stream) == (code, code))
            assert peer.closed is None

    run(test)


def _ended(peer: RecordedPeer, stream: int) -> tuple[int | None, int | None]:
    """Return the codes of the RESET and the STOP of the node on a stream."""
    heard = peer.heard.get(stream)
    return (None, None) if heard is None else (heard.code, heard.stopped)
