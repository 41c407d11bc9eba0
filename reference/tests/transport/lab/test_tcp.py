"""The link and its sockets: deadlines, floods, small pieces, broken peers, limits."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from meshwire_reference.core.inputs import ConnectionClosed, StreamData
from meshwire_reference.testing.memory_transport import pair
from meshwire_reference.transport.base import (
    AddressRefused,
    Listener,
    StreamGone,
    TransportOptions,
    Unreachable,
    Windows,
)
from meshwire_reference.transport.lab.connection import encode_preamble
from meshwire_reference.transport.lab.link import LabLink
from meshwire_reference.transport.lab.tcp import TcpListener, share_of
from meshwire_reference.transport.registry import check_dialled, dial, listen
from meshwire_reference.wire.lab import encode_close, encode_control, encode_data_head
from meshwire_spec.numbers import ALPN, REASONS, LabRecordType
from turns import all_wait, one_turn

DIALLER = TransportOptions(bytes(range(32)))
ACCEPTOR = TransportOptions(bytes(range(32, 64)))
WRITES = 100
"""Writes by which the socket of a peer that has gone has failed."""
PREAMBLE = encode_preamble(ALPN, DIALLER.endpoint_id, Windows())
LIMIT_S = 600
"""Seconds after which a test hangs."""


@asynccontextmanager
async def bound(options: TransportOptions = ACCEPTOR) -> AsyncIterator[tuple[Listener, int]]:
    """Listen on a free port of loopback."""
    listener = await listen("tcp://127.0.0.1:0", options)
    try:
        yield listener, int(listener.address.rpartition(":")[2])
    finally:
        await listener.close()


class _Deaf:
    """A carrier whose other side never says anything."""

    def __init__(self) -> None:
        self.written = b""
        self.is_finished = False
        self.is_held = False

    def write(self, data: bytes) -> None:
        self.written += data

    def finish(self) -> None:
        self.is_finished = True

    def drop(self) -> None:
        self.is_finished = True

    def hold_reading(self, *, hold: bool) -> None:
        self.is_held = hold


def test_bytes_of_a_preamble_do_not_move_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """LB-008: the deadline is of the whole preamble, however slowly its bytes come."""
    timers: list[asyncio.TimerHandle] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        call_at = loop.call_at

        def note(at_s: float, callback: Callable[..., None], *args: int) -> asyncio.TimerHandle:
            timers.append(call_at(at_s, callback, *args))
            return timers[-1]

        monkeypatch.setattr(loop, "call_at", note)
        link = LabLink(TransportOptions(bytes(32), handshake_s=600), dialled=False)
        link.start(_Deaf())
        for byte in PREAMBLE[:-1]:
            link.data_received(bytes((byte,)))

        assert [timer.cancelled() for timer in timers] == [False]
        link.data_received(PREAMBLE[-1:])
        assert [timer.cancelled() for timer in timers] == [True]
        link.link_ended()

    asyncio.run(run())


def test_a_silent_peer_is_closed_at_the_deadline() -> None:
    """Without its preamble in time a peer gets ours and a CLOSE with handshake-timeout."""

    async def run() -> None:
        link, carrier = LabLink(TransportOptions(bytes(32), handshake_s=0), dialled=False), _Deaf()
        link.start(carrier)
        with pytest.raises(Unreachable) as fault:
            await link.established()
        link.link_ended()

        reason = REASONS["handshake-timeout"]
        assert fault.value.code == reason.code
        assert carrier.written.endswith(encode_close(reason.code, reason.name))
        assert carrier.is_finished

    asyncio.run(run())


@pytest.mark.socket
def test_a_preamble_that_waits_in_the_socket_is_in_time() -> None:
    """A node that is late itself reads first: the deadline is over before the socket is watched."""

    async def run() -> None:
        options = TransportOptions(ACCEPTOR.endpoint_id, handshake_s=0)
        async with bound(options) as (listener, port):
            with socket.create_connection(("127.0.0.1", port)) as peer:
                peer.sendall(PREAMBLE)
                link = await listener.accept()
                assert link.closed is None
                assert link.peer_id == DIALLER.endpoint_id
                await link.close(0)

    asyncio.run(run())


def test_a_peer_that_only_pings_is_not_read_for_ever() -> None:
    """A flood of PINGs whose PONGs nobody reads stops being read, and goes on when they are."""

    async def run() -> None:
        link, carrier = LabLink(ACCEPTOR, dialled=False), _Deaf()
        link.start(carrier)
        link.data_received(PREAMBLE)
        link.pause_writing()
        flood = encode_control(LabRecordType.PING, b"lopsided") * 1000
        sent = 0
        while not carrier.is_held:
            link.data_received(flood)
            # What is due runs, for 100 turns at most.
            await one_turn()
            sent += 1
            assert sent < 100
        link.resume_writing()
        await all_wait()

        assert not carrier.is_held
        assert carrier.written.count(b"lopsided") == 1000 * sent
        link.link_ended()

    asyncio.run(run())


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_small_pieces_make_no_difference(chunk: int) -> None:
    """A link that carries a few bytes at a time carries the same conversation."""

    async def run() -> None:
        ours, theirs = await pair(DIALLER, ACCEPTOR, chunk=chunk)
        stream = await ours.open(bidi=True)
        await ours.send(stream, bytes(range(200)), fin=True)
        data = b""
        while len(data) < 200:
            for event in await theirs.next_events():
                data += event.data if isinstance(event, StreamData) else b""

        assert data == bytes(range(200))
        await ours.close(0)

    asyncio.run(run())


def test_a_cancelled_open_gives_its_turn_away() -> None:
    """The next waiting request gets the stream as soon as there is credit."""

    async def run() -> None:
        options = TransportOptions(ACCEPTOR.endpoint_id, windows=Windows(max_streams_bidi=1))
        ours, theirs = await pair(DIALLER, options)
        await ours.send(await ours.open(bidi=True), b"x", fin=True)
        first, second = (asyncio.create_task(ours.open(bidi=True)) for _ in range(2))
        # Both wait for credit.
        await all_wait()
        first.cancel()
        for event in await theirs.next_events():
            theirs.release(event.stream)  # type: ignore[union-attr]  # it is alive

        assert await second == 4
        assert first.cancelled()
        await ours.close(0)

    asyncio.run(asyncio.wait_for(run(), LIMIT_S))


def test_a_reset_ends_a_send_that_waits() -> None:
    """A side that resets a stream does not leave its own writer waiting for credit."""

    async def run() -> None:
        options = TransportOptions(ACCEPTOR.endpoint_id, windows=Windows(max_stream_data=3))
        ours, _ = await pair(DIALLER, options)
        stream = await ours.open(bidi=True)
        sending = asyncio.create_task(ours.send(stream, b"too much"))
        # It waits for credit.
        await all_wait()
        ours.reset(stream, 7)
        with pytest.raises(StreamGone):
            await sending
        await ours.close(0)

    asyncio.run(asyncio.wait_for(run(), LIMIT_S))


@pytest.mark.socket
@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
        pytest.param(b"", id="nothing"),
        pytest.param(PREAMBLE[:-1], id="preamble without its last byte"),
    ],
)
def test_a_caller_that_is_no_peer_costs_nothing(garbage: bytes) -> None:
    """Callers that end or fail before their preamble is whole are counted; others go on."""

    async def run() -> None:
        async with bound() as (listener, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(garbage)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            ours = await dial(listener.address, DIALLER)
            theirs = await listener.accept()

            assert answer.startswith(b"MWLB")
            assert listener.refused == 1
            await ours.close(0)
            assert (await theirs.next_events())[-1] == ConnectionClosed(0, "", by_peer=True)

    asyncio.run(run())


@pytest.mark.socket
def test_a_socket_that_breaks_ends_the_connection_without_a_code() -> None:
    """A peer that vanishes after its preamble is reported as a lost connection."""

    async def run() -> None:
        async with bound() as (listener, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(PREAMBLE)
            theirs = await listener.accept()
            writer.transport.abort()

            lost = ConnectionClosed(None, "connection lost", by_peer=True)
            assert await theirs.next_events() == (lost,)

    asyncio.run(run())


@pytest.mark.socket
def test_what_came_before_a_socket_failed_is_read() -> None:
    """A node that is late writes first: frames that came with a CLOSE take effect all the same."""

    async def run() -> None:
        async with bound() as (listener, port):
            gone = socket.create_connection(("127.0.0.1", port))
            gone.sendall(PREAMBLE)
            theirs = await listener.accept()
            # With unread bytes it would reset the connection, and not end it.
            gone.recv(2 * len(PREAMBLE))
            gone.sendall(
                encode_data_head(0, fin=True, size=3) + b"abc" + encode_close(0x0102, "bye")
            )
            gone.close()
            # Without a wait, so that the loop reads nothing before a write fails.
            assert isinstance(theirs, LabLink)
            stream = await theirs.open(bidi=True)
            for _ in range(WRITES):
                await theirs.send(stream, b"x")
                theirs.resume_writing()

            came = await theirs.next_events()
            assert StreamData(0, b"abc", fin=True) in came
            assert came[-1] == ConnectionClosed(0x0102, "bye", by_peer=True)

    asyncio.run(run())


@pytest.mark.socket
@pytest.mark.parametrize("is_reset", [False, True])
def test_a_close_to_a_peer_that_is_gone_is_no_error(*, is_reset: bool) -> None:
    """The connection ends as it would otherwise, and asyncio has no exception to log."""
    faults: list[dict[str, object]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, fault: faults.append(fault))
        async with bound() as (listener, port):
            gone = socket.socket()
            gone.connect(("127.0.0.1", port))
            gone.sendall(PREAMBLE)
            theirs = await listener.accept()
            # With unread bytes it would reset the connection, and not end it.
            gone.recv(2 * len(PREAMBLE))
            if is_reset:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.close()
            # The loop has not read yet that the peer has gone.
            await theirs.close(0)

            assert isinstance((await theirs.next_events())[-1], ConnectionClosed)

    asyncio.run(run())

    assert faults == []


@pytest.mark.socket
def test_callers_beyond_the_limit_are_turned_away() -> None:
    """A full listener closes with `internal` and takes others once there is room."""

    async def run() -> None:
        options = TransportOptions(ACCEPTOR.endpoint_id, connections_max=1)
        async with bound(options) as (listener, _):
            ours = await dial(listener.address, DIALLER)
            theirs = await listener.accept()
            theirs.is_proven = True
            turned_away = await dial(listener.address, DIALLER)
            told = await turned_away.next_events()
            await ours.close(0)
            await theirs.close(0)
            again = await dial(listener.address, DIALLER)
            await listener.accept()

            assert told == (ConnectionClosed(REASONS["internal"].code, "internal", by_peer=True),)
            await again.close(0)

    asyncio.run(run())


def test_many_small_records_leave_turns_to_others() -> None:
    """Some are read at once, the rest later and without further bytes; then reading goes on."""

    async def run() -> tuple[int, int, bool]:
        link, carrier = LabLink(ACCEPTOR, dialled=False), _Deaf()
        link.start(carrier)
        link.data_received(PREAMBLE)
        opened = [encode_data_head(number << 2, fin=True, size=0) for number in range(64)]
        link.data_received(b"".join(opened) + encode_control(LabRecordType.PING, b"lopsided") * 300)
        was_held, turns = carrier.is_held, 0
        while carrier.is_held:
            await one_turn()
            turns += 1
            assert turns < 100
        return turns, len(await link.next_events()), was_held

    assert asyncio.run(run()) == (2, 128, True)


@pytest.mark.socket
def test_no_caller_and_no_address_shuts_out_another() -> None:
    """TR-032, TR-033: the first to go are callers that have proven nothing."""

    async def run() -> None:
        refused: list[tuple[str, str]] = []
        options = TransportOptions(
            ACCEPTOR.endpoint_id,
            connections_max=3,
            on_refusal=lambda reason, address: refused.append((reason, address)),
        )
        async with bound(options) as (listener, port):
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            proven = []
            for _ in range(3):
                ours = await dial(listener.address, DIALLER)
                (await listener.accept()).is_proven = True
                proven.append(ours)
            assert refused == [("internal", "127.0.0.1")] * 3
            again = await dial(listener.address, DIALLER)
            assert (await again.next_events())[-1] == LIMIT
            # All of 127.0.0.0/8 is this machine.
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=("127.0.0.2", 0)
            )
            writer.write(PREAMBLE)
            await listener.accept()
            assert (await proven[-1].next_events())[-1] == LIMIT

            assert [one.closed for one in proven[:-1]] == [None, None]
            for one in proven:
                await one.close(0)
            for _, waiting in (*silent, (reader, writer)):
                waiting.close()

    asyncio.run(run())


@pytest.mark.socket
def test_callers_that_gave_way_do_not_pile_up() -> None:
    """Their sockets linger for a second, but only as many as there are places."""

    async def run() -> None:
        options = TransportOptions(ACCEPTOR.endpoint_id, connections_max=2)
        async with bound(options) as (listener, port):
            callers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(9)]
            while listener.refused < 7:
                await asyncio.gather(*(reader.read(1) for reader, _ in callers[:3]))
            assert isinstance(listener, TcpListener)
            assert len(listener._leaving) <= 2
            for _, waiting in callers:
                waiting.close()

    asyncio.run(run())


LIMIT = ConnectionClosed(REASONS["internal"].code, "internal", by_peer=True)


@pytest.mark.parametrize(
    ("address", "share"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1, 0, 0), "::ffff:192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1, 0, 3), "fe80::/64"),
        (None, ""),
    ],
)
def test_an_address_of_many_is_one(address: object, share: str) -> None:
    """The owner of an IPv6 network has as many addresses as it wants."""
    assert share_of(address) == share


@pytest.mark.socket
def test_an_address_may_name_the_endpoint_that_has_to_answer() -> None:
    """The id that the peer claims; another one is left, and a wrong id is no address."""

    async def whole() -> None:
        async with bound() as (_, port):
            own, other = ACCEPTOR.endpoint_id.hex(), bytes(32).hex()
            connection = await dial(f"tcp://{own}@127.0.0.1:{port}", DIALLER)
            await connection.close(0)
            with pytest.raises(Unreachable, match=own):
                await dial(f"tcp://{other}@127.0.0.1:{port}", DIALLER)
            for wrong in ("name", own[:-2], f"{own}00"):
                with pytest.raises(AddressRefused):
                    check_dialled(f"tcp://{wrong}@127.0.0.1:{port}")
            with pytest.raises(AddressRefused):
                await listen(f"tcp://{own}@127.0.0.1:0", ACCEPTOR)

    asyncio.run(whole())
