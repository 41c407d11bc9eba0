"""Callers of an iroh listener: their places, refusals, and handshakes of QUIC that are given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from meshwire_reference.core.inputs import ConnectionClosed
from meshwire_reference.node.config import endpoint_id_of
from meshwire_reference.transport.base import (
    Connection,
    Listener,
    TransportOptions,
    Unreachable,
)
from meshwire_reference.transport.registry import dial, listen
from meshwire_spec.numbers import REASONS

if TYPE_CHECKING:
    import iroh
else:
    iroh = pytest.importorskip("iroh")

from iroh import iroh_ffi

from meshwire_reference.transport.iroh import endpoint
from meshwire_reference.transport.iroh.endpoint import relay_mode

pytestmark = [
    pytest.mark.socket,
    pytest.mark.skipif(find_spec("iroh") is None, reason="the extra iroh is not installed"),
]

LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""
INTERNAL = REASONS["internal"].code
OPTIONS = TransportOptions(bytes(32))


class Listening:
    """A listener, and whom it has refused."""

    def __init__(self, listener: Listener, refused: asyncio.Queue[tuple[str, str]]) -> None:
        self.listener = listener
        self.refused = refused

    async def join(self) -> tuple[Connection, Connection]:
        """Return both sides of a new connection."""
        ours = await dial(self.listener.address, OPTIONS)
        return ours, await self.listener.accept()


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[Listening]:
    """Listen, and end all that has been joined."""
    refused: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    given = TransportOptions(
        bytes(32), on_refusal=lambda *facts: refused.put_nowait(facts), **options
    )
    async with asyncio.timeout(LIMIT_S):
        listener = await listen("iroh://127.0.0.1:0", given)
        yield Listening(listener, refused)
        await listener.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on a loop of its own."""

    async def whole() -> None:
        await test()

    asyncio.run(whole())


async def end_of(connection: Connection) -> ConnectionClosed:
    """Wait for the end of a connection."""
    async for event in connection.events():
        if isinstance(event, ConnectionClosed):
            return event
    raise AssertionError("the last event is the end")


def test_an_unproven_connection_gives_way() -> None:
    """TR-032, and a caller of the same address is turned away once all are proven."""

    async def test() -> None:
        async with listening(connections_max=2) as node:
            first, theirs = await node.join()
            theirs.is_proven = True
            second, _ = await node.join()
            third, theirs = await node.join()
            assert await end_of(second) == ConnectionClosed(INTERNAL, "internal")
            theirs.is_proven = True
            with pytest.raises(Unreachable):
                await dial(node.listener.address, OPTIONS)
            assert await node.refused.get() == ("internal", "127.0.0.1")
            assert theirs.remote == "127.0.0.1"
            assert first.closed is third.closed is None
            await asyncio.gather(first.close(0), third.close(0))

    run(test)


def test_another_protocol_is_one_refusal() -> None:
    """ER-018."""

    async def test() -> None:
        async with listening() as node:
            with pytest.raises(Unreachable):
                await dial(node.listener.address, TransportOptions(bytes(32), alpn="other/1"))
            assert await node.refused.get() == ("wrong-alpn", "127.0.0.1")

    run(test)


def test_a_caller_that_was_refused_leaves_its_place() -> None:
    """TR-032: nobody gives way while fewer callers are there than the node takes."""

    async def test() -> None:
        async with listening() as node:
            with pytest.raises(Unreachable):
                await dial(node.listener.address, TransportOptions(bytes(32), alpn="other/1"))
            await node.refused.get()
            assert isinstance(node.listener, endpoint.IrohListener)
            assert len(node.listener._places) == 0

    run(test)


@pytest.mark.skipif(find_spec("aioquic") is None, reason="the extra quic is not installed")
def test_a_caller_that_the_library_refuses_is_noted() -> None:
    """ER-018: one of plain QUIC has another sort of certificate, alert 40 of TLS."""

    async def test() -> None:
        async with listening() as node:
            place = node.listener.address.rpartition("@")[2]
            with pytest.raises(Unreachable):
                await dial(f"quic://{place}", OPTIONS)
            assert await node.refused.get() == ("error 0x128 of QUIC", "127.0.0.1")

    run(test)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("TransportError(Error { code: PROTOCOL_VIOLATION, frame: None })", "PROTOCOL_VIOLATION"),
        ("TransportError(Error { code: Code::crypto(a), frame: None })", "0x10a"),
    ],
)
def test_an_error_of_this_side_is_named(text: str, reason: str) -> None:
    """By the code that its peer receives."""
    assert endpoint._own_reason(text) == f"error {reason} of QUIC"


def test_a_caller_that_leaves_is_not_refused() -> None:
    """The library's text begins with its own source."""
    assert endpoint._own_reason("ConnectingError (x.rs:1)\nCaused by:\n    aborted") is None


async def delay_connections(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Hold back the library's connections of acceptors; the event is set once there is one."""
    connect, connected = iroh.Accepting.connect, asyncio.Event()

    async def connect_late(accepting: iroh.Accepting) -> iroh.Connection:
        # Cancelling this does not end it: the library may have the connection already.
        connection = await connect(accepting)
        connected.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return connection

    monkeypatch.setattr(iroh.Accepting, "connect", connect_late)
    return connected


def test_a_handshake_that_is_given_up_leaves_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library may have it although nobody serves it."""
    monkeypatch.setattr(
        "meshwire_reference.transport.iroh.endpoint._connects_within_s",
        lambda options: options.handshake_s,
    )
    kept: list[iroh.Connection] = []
    close = iroh.Connection.close

    async def test() -> None:
        await delay_connections(monkeypatch)
        async with listening(handshake_s=0.2) as node:
            ours = await dial(node.listener.address, OPTIONS)
            closed = ConnectionClosed(REASONS["handshake-timeout"].code, "handshake-timeout")
            assert await end_of(ours) == closed
            assert await node.refused.get() == ("handshake-timeout", "127.0.0.1")
            assert len(kept) == 1

    def note_close(connection: iroh.Connection, code: int, reason: bytes) -> None:
        kept.append(connection)
        close(connection, code, reason)

    monkeypatch.setattr(iroh.Connection, "close", note_close)
    run(test)


def test_a_handshake_that_ends_after_its_listener_leaves_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody would accept it, so it is closed, with the reason."""

    async def test() -> None:
        connected = await delay_connections(monkeypatch)
        async with listening() as node:
            ours = await dial(node.listener.address, OPTIONS)
            await connected.wait()
        closed = ConnectionClosed(REASONS["shutdown"].code, "shutdown")
        assert await end_of(ours) == closed

    run(test)


def test_a_dial_that_is_cancelled_leaves_no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sockets would stay open."""
    begun, ended = asyncio.Event(), asyncio.Event()
    dialled: list[iroh.Endpoint] = []
    closed: list[iroh.Endpoint] = []
    close, connect = iroh.Endpoint.close, iroh.Endpoint.connect

    async def note_close(endpoint: iroh.Endpoint) -> None:
        await close(endpoint)
        closed.append(endpoint)
        ended.set()

    async def note_connect(endpoint: iroh.Endpoint, *facts: Any) -> iroh.Connection:
        dialled.append(endpoint)
        begun.set()
        return await connect(endpoint, *facts)

    async def test() -> None:
        listener = await listen("iroh://127.0.0.1:0", OPTIONS)
        address = listener.address
        await listener.close()
        closed.clear()
        ended.clear()
        async with asyncio.timeout(LIMIT_S):
            dialling = asyncio.ensure_future(dial(address, OPTIONS))
            await begun.wait()
            dialling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialling
            await ended.wait()
        assert closed == dialled
        assert len(dialled) == 1

    monkeypatch.setattr(iroh.Endpoint, "close", note_close)
    monkeypatch.setattr(iroh.Endpoint, "connect", note_connect)
    run(test)


def test_a_dialler_of_loopback_is_bound_to_loopback_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In both families, where the library alone would be bound to every interface."""
    bound: list[str] = []
    bind = endpoint._bind

    async def note_bind(addresses: tuple[str, ...], options: TransportOptions) -> Any:
        bound.extend(addresses)
        return await bind(addresses, options)

    async def test() -> None:
        async with listening() as node:
            monkeypatch.setattr(endpoint, "_bind", note_bind)
            ours, _ = await node.join()
            await ours.close(0)

    run(test)
    assert bound == ["127.0.0.1:0", "[::1]:0"]


def test_a_key_gives_one_endpoint_id_at_each_start() -> None:
    """TR-028: an endpoint without a key has another one each time."""

    async def ids(secret_key: bytes | None) -> set[bytes]:
        found = set()
        for _ in range(2):
            async with listening(secret_key=secret_key) as node:
                found.add(node.listener.endpoint_id)
        return found

    async def whole() -> None:
        assert await ids(bytes(range(32))) == {endpoint_id_of(bytes(range(32)))}
        assert len(await ids(None)) == 2

    run(whole)


def test_no_relay_is_used_unless_one_is_named() -> None:
    """The library has some of its own, which it would contact."""
    url = "https://relay.example./"

    assert relay_mode(()).relay_map().is_empty()
    assert relay_mode((url,)).relay_map().urls() == [url]


def test_a_node_with_a_relay_that_is_away_is_reached_directly() -> None:
    """Nothing waits for the relay."""

    async def whole() -> None:
        relays = ("http://127.0.0.1:9/",)
        async with listening(relays=relays) as node:
            options = TransportOptions(bytes(32), relays=relays)
            connection = await dial(node.listener.address, options)
            other = await node.listener.accept()
            assert connection.peer_id == node.listener.endpoint_id
            await connection.close(0)
            await end_of(other)

    run(whole)


def test_a_call_that_is_cancelled_when_its_result_is_there_leaves_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody has the connection, so that the caller must learn of its end."""
    given_up: list[asyncio.Task[iroh.Connection]] = []
    tell = iroh_ffi._uniffi_continuation_callback

    @iroh_ffi._UNIFFI_RUST_FUTURE_CONTINUATION_CALLBACK  # type: ignore[untyped-decorator]
    def cancel_and_tell(handle: int, state: int) -> None:
        # A result comes while its task asks for it.
        is_result = state == iroh_ffi._UNIFFI_RUST_FUTURE_POLL_READY
        if is_result and asyncio.current_task() in given_up:
            asyncio.get_running_loop().call_soon(given_up.pop().cancel)
        tell(handle, state)

    async def run() -> None:
        shared = await endpoint._bind(tuple(endpoint.LOOPBACK.values()), OPTIONS)
        bound = next(one for one in shared.endpoint.bound_sockets() if not one.startswith("["))
        dialling = asyncio.create_task(dial(f"iroh://{shared.endpoint.id()}@{bound}", OPTIONS))
        incoming = await shared.endpoint.accept_next()
        assert incoming is not None
        accepting = await incoming.accept()
        with monkeypatch.context() as changed:
            changed.setattr(iroh_ffi, "_uniffi_continuation_callback", cancel_and_tell)
            given_up.append(asyncio.create_task(accepting.connect()))
            (connecting,) = given_up
            with pytest.raises(asyncio.CancelledError):
                await connecting
        ours = await dialling
        async with asyncio.timeout(LIMIT_S):
            assert (await end_of(ours)).by_peer
        await shared.endpoint.close()

    asyncio.run(run())


def test_a_close_ends_the_connection_if_the_last_stream_is_confirmed_meanwhile() -> None:
    """Between the call and the task that waits for its finished streams."""

    async def test() -> None:
        async with listening() as node:
            ours, theirs = await node.join()
            confirmed = asyncio.get_running_loop().create_future()
            ours._unconfirmed.add(confirmed)
            confirmed.add_done_callback(ours._unconfirmed.discard)
            closing = asyncio.create_task(ours.close(INTERNAL))
            confirmed.set_result(None)
            assert (await end_of(theirs)).code == INTERNAL
            await closing

    run(test)
