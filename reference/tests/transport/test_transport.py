"""The contract of a transport, tested on each: memory, TCP and, where installed, QUIC and iroh."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import turns
from meshwire_reference.core.identity import public_key_of
from meshwire_reference.core.inputs import (
    ConnectionClosed,
    StreamData,
    StreamId,
    StreamOpened,
    StreamReset,
    StreamStopped,
    TransportEvent,
)
from meshwire_reference.testing.memory_transport import offer_memory
from meshwire_reference.transport.base import (
    Connection,
    ConnectionGone,
    Listener,
    StreamGone,
    TransportOptions,
    Unreachable,
    Windows,
)
from meshwire_reference.transport.registry import dial, listen

offer_memory()

DIALLER_ID, ACCEPTOR_ID = bytes(range(32)), bytes(range(32, 64))
# Lopsided, so that no code can be mistaken for another; the first does not fit 32 bits.
CODE, OTHER_CODE = 0x3D57_0000_0000_0102, 0x4D570009

LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""

needs_iroh = pytest.mark.skipif(find_spec("iroh") is None, reason="the extra iroh is not installed")

needs_quic = pytest.mark.skipif(
    find_spec("aioquic") is None, reason="the extra quic is not installed"
)

ADDRESSES = (
    pytest.param("memory://test", id="memory"),
    pytest.param("tcp://127.0.0.1:0", id="tcp", marks=pytest.mark.socket),
    pytest.param("quic://127.0.0.1:0", id="quic", marks=[pytest.mark.socket, needs_quic]),
    pytest.param("iroh://127.0.0.1:0", id="iroh", marks=[pytest.mark.socket, needs_iroh]),
)
EVERY = pytest.mark.parametrize("address", ADDRESSES)
OURS = pytest.mark.parametrize("address", ADDRESSES[:-1])
"""Those whose idle time is configured; the library of iroh waits 30 s for a lost peer."""

STREAMS = 1000
MUCH = bytes(2**25)
"""More bytes than any side keeps for a stream whose reader takes none."""
SOME = bytes(2**22)
"""Fewer, which a reader takes soon, but more than a library keeps by itself."""
FEW = 8


class Side:
    """One side of a connection, with helpers that wait for what its peer does."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.told: list[TransportEvent] = []

    async def until(self, wanted: Callable[[list[TransportEvent]], bool]) -> list[TransportEvent]:
        """Take events until all of them together are what is wanted; give and forget them."""
        async with asyncio.timeout(LIMIT_S):
            while not wanted(self.told):
                self.told += await self.connection.next_events()
        told, self.told = self.told, []
        return told

    async def opened(self, count: int = 1) -> list[StreamId]:
        """Wait until the peer has opened `count` streams; return their ids."""
        told = await self.until(lambda told: len(of_kind(told, StreamOpened)) >= count)
        self.told = [event for event in told if not isinstance(event, StreamOpened)]
        return [event.stream for event in told if isinstance(event, StreamOpened)]

    async def read(self, stream: StreamId) -> bytes:
        """Read a stream to its FIN, consuming as it comes."""
        data = b""
        async with asyncio.timeout(LIMIT_S):
            while True:
                for event in self.told:
                    if isinstance(event, StreamData) and event.stream == stream:
                        data += event.data
                        self.connection.consumed(stream, len(event.data))
                        if event.fin:
                            self.told.remove(event)
                            return data
                    assert not isinstance(event, ConnectionClosed), event
                self.told = [
                    event
                    for event in self.told
                    if not (isinstance(event, StreamData) and event.stream == stream)
                ]
                self.told += await self.connection.next_events()


def streams_of(connection: Any) -> int:
    """Return the number of streams that a connection keeps, those of its library included."""
    while not hasattr(connection, "_streams"):
        connection = connection._lab
    library = getattr(connection, "_quic", None)
    return len(connection._streams) + (len(library._streams) if library else 0)


async def take_streams(connection: Connection, *, answers: bool) -> None:
    """Read all streams to their ends, release them, and before that finish them as an answer."""
    left = STREAMS
    while left:
        for event in await connection.next_events():
            if isinstance(event, StreamData):
                connection.consumed(event.stream, len(event.data))
                if event.fin:
                    left -= 1
                    if answers:
                        await connection.send(event.stream, b"\x02", fin=True)
                    connection.release(event.stream)


def held() -> tuple[int, int]:
    """Return the number of tasks and of descriptors of this process."""
    # Objects of the library of iroh refer to each other, and have descriptors.
    gc.collect()
    return len(asyncio.all_tasks()), len(list(Path("/dev/fd").iterdir()))


async def keep_few(ours: Side, theirs: Side, tasks: int) -> None:
    """Wait until both sides keep few streams, which these calls open, and few more `tasks`.

    A library may have a few tasks for the last streams.
    """
    async with asyncio.timeout(LIMIT_S):
        while (
            max(streams_of(side.connection) for side in (ours, theirs)) > FEW
            or len(asyncio.all_tasks()) > tasks + FEW
        ):
            # What ends a stream for good comes with the packets of others.
            for one, other in ((ours, theirs), (theirs, ours)):
                stream = await one.connection.open(bidi=False)
                await one.connection.send(stream, b"\x01", fin=True)
                one.connection.release(stream)
                (opened,) = await other.opened()
                await other.read(opened)
                other.connection.release(opened)


async def take_reset(side: Side) -> None:
    """Take all bytes until a stream is reset: the library of iroh reports it where one reads."""
    async with asyncio.timeout(LIMIT_S):
        while not any(isinstance(event, StreamReset) for event in side.told):
            for event in side.told:
                if isinstance(event, StreamData):
                    side.connection.consumed(event.stream, len(event.data))
            side.told = list(await side.connection.next_events())
    side.told = [event for event in side.told if not isinstance(event, StreamReset)]


def of_kind(told: list[TransportEvent], kind: type[TransportEvent]) -> list[TransportEvent]:
    """Give the events of one kind."""
    return [event for event in told if isinstance(event, kind)]


def connected(
    address: str,
    talk: Callable[[Side, Side], Awaitable[None]],
    windows: Windows | None = None,
) -> None:
    """Run a conversation between a dialler and an acceptor with these windows."""

    async def run() -> None:
        acceptor = TransportOptions(ACCEPTOR_ID, windows=windows or Windows())
        listener = await listen(address, acceptor)
        ours = Side(await dial(listener.address, TransportOptions(DIALLER_ID)))
        theirs = Side(await listener.accept())
        try:
            await talk(ours, theirs)
        finally:
            await asyncio.gather(ours.connection.close(0), theirs.connection.close(0))
            await listener.close()

    asyncio.run(run())


@EVERY
def test_both_sides_know_each_other(address: str) -> None:
    """A connection says who dialled and who the peer is, as the listener does of itself."""

    async def run() -> None:
        listener = await listen(address, TransportOptions(ACCEPTOR_ID))
        ours = await dial(listener.address, TransportOptions(DIALLER_ID))
        theirs = await listener.accept()

        assert (ours.dialled, theirs.dialled) == (True, False)
        assert ours.peer_id == listener.endpoint_id
        assert len(theirs.peer_id) == 32
        assert theirs.peer_id != ours.peer_id
        await ours.close(0)
        await theirs.close(0)
        await listener.close()

    asyncio.run(run())


@pytest.mark.socket
@pytest.mark.parametrize(
    "scheme",
    ["tcp", pytest.param("quic", marks=needs_quic), pytest.param("iroh", marks=needs_iroh)],
)
def test_another_endpoint_than_the_named_one_is_left(scheme: str) -> None:
    """The one that answers receives code 1, but over iroh, where TLS itself fails (TR-036)."""

    async def run() -> None:
        listener = await listen(f"{scheme}://127.0.0.1:0", TransportOptions(ACCEPTOR_ID))
        place = listener.address.rpartition("/")[2].rpartition("@")[2]
        right = f"{scheme}://{listener.endpoint_id.hex()}@{place}"
        ours = await dial(right, TransportOptions(DIALLER_ID))
        theirs = await listener.accept()
        wrong = f"{scheme}://{public_key_of(ACCEPTOR_ID).hex()}@{place}"
        with pytest.raises(Unreachable) as refused:
            await dial(wrong, TransportOptions(DIALLER_ID))
        if scheme != "iroh":
            left = await listener.accept()

            assert await Side(left).until(bool) == [
                ConnectionClosed(1, "authentication-failed", by_peer=True)
            ]
            assert refused.value.code == 1
            assert listener.endpoint_id.hex() in refused.value.reason
        assert "is another endpoint" in refused.value.reason
        await asyncio.gather(ours.close(0), theirs.close(0))
        await listener.close()

    asyncio.run(run())


@EVERY
def test_a_question_and_its_answer(address: str) -> None:
    """Bytes and FIN go both ways on a bidirectional stream; ids agree on both sides."""

    async def talk(ours: Side, theirs: Side) -> None:
        stream = await ours.connection.open(bidi=True)
        await ours.connection.send(stream, b"quest")
        await ours.connection.send(stream, b"ion", fin=True)
        assert await theirs.opened() == [stream]
        assert await theirs.read(stream) == b"question"
        await theirs.connection.send(stream, b"answer", fin=True)
        assert await ours.read(stream) == b"answer"

    connected(address, talk)


@EVERY
def test_a_unidirectional_stream_cannot_be_answered(address: str) -> None:
    """The acceptor's first uni stream has QUIC's id 3; only its opener writes it."""

    async def talk(ours: Side, theirs: Side) -> None:
        stream = await theirs.connection.open(bidi=False)
        await theirs.connection.send(stream, b"\x01" + bytes(8), fin=True)
        told = await ours.until(bool)

        assert stream == 3
        assert told[0] == StreamOpened(3, bidi=False)
        with pytest.raises(StreamGone):
            await ours.connection.send(stream, b"no")

    connected(address, talk)


@EVERY
def test_reset_and_stop_carry_their_codes(address: str) -> None:
    """A refusal shows its code on both halves, up to 62 bits wide."""

    async def talk(ours: Side, theirs: Side) -> None:
        stream = await ours.connection.open(bidi=True)
        await ours.connection.send(stream, b"bad frame")
        await theirs.opened()
        theirs.connection.stop(stream, CODE)
        theirs.connection.reset(stream, OTHER_CODE)
        told = await ours.until(lambda told: len(told) == 2)

        assert set(told) == {StreamStopped(stream, CODE), StreamReset(stream, OTHER_CODE)}
        with pytest.raises(StreamGone) as gone:
            await ours.connection.send(stream, b"more")
        assert gone.value.code == CODE

    connected(address, talk)


@EVERY
def test_a_reader_that_stops_reading_stops_the_writer(address: str) -> None:
    """A send waits until the other application has consumed; a stop ends that wait."""

    async def talk(ours: Side, theirs: Side) -> None:
        stream = await ours.connection.open(bidi=True)
        size = 64 * 2**20
        sending = asyncio.create_task(ours.connection.send(stream, bytes(size), fin=True))
        await theirs.opened()
        held = await theirs.until(
            lambda told: (
                sum(len(event.data) for event in told if isinstance(event, StreamData)) >= 50_000
            )
        )

        assert not sending.done()
        assert sum(len(event.data) for event in held if isinstance(event, StreamData)) == 50_000
        theirs.connection.stop(stream, OTHER_CODE)
        with pytest.raises(StreamGone) as gone:
            await sending
        assert gone.value.code == OTHER_CODE

    connected(address, talk, Windows(max_data=80_000, max_stream_data=50_000))


@EVERY
def test_much_data_passes_a_small_window(address: str) -> None:
    """Credit that is given back lets everything through, unharmed."""

    async def talk(ours: Side, theirs: Side) -> None:
        stream = await ours.connection.open(bidi=False)
        data = bytes(range(251)) * 4000
        sending = asyncio.create_task(ours.connection.send(stream, data, fin=True))
        await theirs.opened()

        assert await theirs.read(stream) == data
        await sending

    connected(address, talk, Windows(max_data=8_000, max_stream_data=5_000))


@EVERY
def test_streams_beyond_the_credit_wait_for_a_release(address: str) -> None:
    """Of 300 streams the application receives at most its limit at once."""

    async def talk(ours: Side, theirs: Side) -> None:
        async def push() -> None:
            for number in range(300):
                stream = await ours.connection.open(bidi=True)
                await ours.connection.send(stream, number.to_bytes(2, "big"), fin=True)
                ours.connection.release(stream)

        pushing = asyncio.create_task(push())
        read = 0
        held: list[StreamId] = await theirs.opened(3)
        while read < 300:
            assert len(held) <= 3
            stream = held.pop(0)
            assert int.from_bytes(await theirs.read(stream), "big") == read
            read += 1
            theirs.connection.release(stream)
            if not held and read < 300:
                held = await theirs.opened()
        await pushing

    connected(address, talk, Windows(max_streams_bidi=3))


@EVERY
def test_a_finished_half_leaves_the_other_open(address: str) -> None:
    """After FIN of one side the other one goes on writing, for as long as it likes."""

    async def talk(ours: Side, theirs: Side) -> None:
        stream = await ours.connection.open(bidi=True)
        await ours.connection.send(stream, b"all of it", fin=True)
        await theirs.opened()
        assert await theirs.read(stream) == b"all of it"
        with pytest.raises(StreamGone) as gone:
            await ours.connection.send(stream, b"more")
        for part in (b"one", b"two", b"three"):
            await theirs.connection.send(stream, part)
            (event,) = await ours.until(bool)
            assert event == StreamData(stream, part)
        await theirs.connection.send(stream, b"", fin=True)

        assert gone.value.code is None
        assert await ours.read(stream) == b""

    connected(address, talk)


@EVERY
def test_a_thousand_streams_leave_nothing(address: str) -> None:
    """Each is answered; in the end neither side keeps any of them, nor a task for one."""

    async def push(connection: Connection) -> None:
        for number in range(STREAMS):
            stream = await connection.open(bidi=True)
            await connection.send(stream, number.to_bytes(2, "big"), fin=True)

    async def talk(ours: Side, theirs: Side) -> None:
        before = len(asyncio.all_tasks())
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(
                push(ours.connection),
                take_streams(ours.connection, answers=False),
                take_streams(theirs.connection, answers=True),
            )
        await keep_few(ours, theirs, before)

        assert len(asyncio.all_tasks()) <= before + FEW

    connected(address, talk)


@EVERY
def test_what_is_cancelled_leaves_nothing(address: str) -> None:
    """Calls that wait for credit or for events: their tasks end, and what they took is free."""

    async def talk(ours: Side, theirs: Side) -> None:
        before = len(asyncio.all_tasks())
        for _ in range(3):
            held = [await ours.connection.open(bidi=True) for _ in range(2)]
            sending = [asyncio.create_task(ours.connection.send(stream, MUCH)) for stream in held]
            await theirs.opened(2)
            waiting: list[asyncio.Task[object]] = [
                asyncio.create_task(ours.connection.next_events())
            ]
            # The library of iroh has more streams than its acceptor is given.
            if not address.startswith("iroh"):
                waiting.append(asyncio.create_task(ours.connection.open(bidi=True)))
            await turns.all_wait()
            assert not any(task.done() for task in (*sending, *waiting))
            for task in (*sending, *waiting):
                task.cancel()
            await asyncio.wait((*sending, *waiting))
            for stream in held:
                ours.connection.release(stream)
                await take_reset(theirs)
                theirs.connection.release(stream)
        await keep_few(ours, theirs, before)

        assert len(asyncio.all_tasks()) <= before + FEW

    connected(address, talk, Windows(max_stream_data=1000, max_streams_bidi=2))


@EVERY
def test_a_cancelled_send_of_the_end_leaves_no_stream(address: str) -> None:
    """A stream that is released after it ends for the peer too: by FIN or by RESET."""

    def is_end(event: TransportEvent) -> bool:
        return isinstance(event, StreamReset) or (isinstance(event, StreamData) and event.fin)

    async def talk(ours: Side, theirs: Side) -> None:
        before = len(asyncio.all_tasks())
        stream = await ours.connection.open(bidi=False)
        sending = asyncio.create_task(ours.connection.send(stream, SOME, fin=True))
        await theirs.opened()
        await turns.all_wait()
        assert not sending.done()
        sending.cancel()
        await asyncio.wait({sending})
        ours.connection.release(stream)
        async with asyncio.timeout(LIMIT_S):
            while not any(map(is_end, theirs.told)):
                for event in theirs.told:
                    if isinstance(event, StreamData):
                        theirs.connection.consumed(stream, len(event.data))
                theirs.told = list(await theirs.connection.next_events())
        theirs.told = []
        theirs.connection.release(stream)
        await keep_few(ours, theirs, before)
        kept: Any = ours.connection
        while not hasattr(kept, "_streams"):
            kept = kept._lab

        assert stream not in kept._streams

    connected(address, talk, Windows(max_stream_data=2**16))


@EVERY
def test_a_cancelled_close_closes_all_the_same(address: str) -> None:
    """Also while the end of a stream is not confirmed; its peer and a second call learn of it."""

    async def talk(ours: Side, theirs: Side) -> None:
        stream = await ours.connection.open(bidi=False)
        await ours.connection.send(stream, b"\x01", fin=True)
        closing = asyncio.create_task(ours.connection.close(OTHER_CODE, "over"))
        # It has begun and waits.
        asyncio.get_running_loop().call_soon(closing.cancel)
        await asyncio.wait({closing})
        told = await theirs.until(lambda told: bool(of_kind(told, ConnectionClosed)))

        assert closing.cancelled()
        assert told[-1] == ConnectionClosed(OTHER_CODE, "over", by_peer=True)
        async with asyncio.timeout(LIMIT_S):
            await ours.connection.close(0)

    connected(address, talk)


@EVERY
def test_ended_connections_leave_nothing(address: str) -> None:
    """After the end of each side and of the listener, tasks and descriptors are as before."""

    async def run() -> None:
        async def once() -> None:
            listener = await listen(address, TransportOptions(ACCEPTOR_ID))
            for _ in range(2):
                ours = await dial(listener.address, TransportOptions(DIALLER_ID))
                theirs = await listener.accept()
                stream = await ours.open(bidi=True)
                await ours.send(stream, b"begun")
                await theirs.next_events()
                await asyncio.gather(ours.close(0), theirs.close(0))
            await listener.close()

        # What is made once and kept, such as the threads of a library, is there after the first.
        await once()
        before = held()
        await once()

        assert held() == before

    asyncio.run(run())


async def tasks_end() -> None:
    """Wait until all other tasks have ended."""
    async with asyncio.timeout(LIMIT_S):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)


@pytest.mark.socket
@pytest.mark.parametrize(
    "scheme",
    ["tcp", pytest.param("quic", marks=needs_quic), pytest.param("iroh", marks=needs_iroh)],
)
def test_a_cancelled_dial_leaves_nothing(scheme: str) -> None:
    """A peer that does not answer costs nothing once the caller gives up.

    Over memory, a dial never waits. The library of iroh closes an endpoint in seconds.
    """
    sort = socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM
    name = f"{public_key_of(ACCEPTOR_ID).hex()}@" if scheme == "iroh" else ""

    async def run() -> None:
        # Makes what is made once and kept, such as the threads of a library.
        await (await listen(f"{scheme}://127.0.0.1:0", TransportOptions(ACCEPTOR_ID))).close()
        await tasks_end()
        with socket.socket(socket.AF_INET, sort) as silent:
            silent.bind(("127.0.0.1", 0))
            if scheme == "tcp":
                silent.listen()
            before = held()
            address = f"{scheme}://{name}127.0.0.1:{silent.getsockname()[1]}"
            dialling = asyncio.create_task(dial(address, TransportOptions(DIALLER_ID)))
            if scheme != "tcp":
                loop = asyncio.get_running_loop()
                silent.setblocking(False)  # noqa: FBT003 - it has no name for it
                await loop.sock_recv(silent, 2**16)
            await turns.all_wait()
            dialling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialling
            if scheme == "iroh":
                await tasks_end()
            await turns.all_wait()

            assert held() == before

    asyncio.run(run())


@pytest.mark.socket
@pytest.mark.parametrize("scheme", ["tcp", pytest.param("quic", marks=needs_quic)])
def test_an_event_loop_that_ends_closes_the_sockets_of_its_connections(scheme: str) -> None:
    """Also of one whose close is still on its way, for which nobody waits."""

    def descriptors() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    async def run() -> list[Connection]:
        listener = await listen(f"{scheme}://127.0.0.1:0", TransportOptions(ACCEPTOR_ID))
        made = []
        for _ in range(2):
            made += [await dial(listener.address, TransportOptions(DIALLER_ID))]
            made += [await listener.accept()]
        farewell = asyncio.create_task(made[0].close(CODE))
        async with asyncio.timeout(LIMIT_S):
            while made[1].closed is None:
                await made[1].next_events()
        farewell.cancel()
        await listener.close()
        return made

    asyncio.run(run())
    before = descriptors()
    # What keeps the connections keeps their sockets from being collected.
    made = asyncio.run(run())

    assert (len(made), descriptors()) == (4, before)


@OURS
def test_a_peer_that_vanishes_is_noticed(address: str) -> None:
    """Each call that waits ends, and the connection is reported as lost, without a code."""

    async def run() -> None:
        quick = TransportOptions(DIALLER_ID, idle_s=0.2)
        listener = await listen(address, TransportOptions(ACCEPTOR_ID))
        ours = await dial(listener.address, quick)
        theirs: Any = await listener.accept()
        stream = await ours.open(bidi=True)
        sending = asyncio.create_task(ours.send(stream, MUCH))
        await theirs.next_events()
        if address.startswith("quic"):
            # Its packets get lost from now on.
            theirs._transmit = lambda _datagram, _address: None
        else:
            theirs.drop()
        with pytest.raises(ConnectionGone):
            await sending
        told = [event async for event in ours.events()]

        assert told == [ConnectionClosed(None, "connection lost", by_peer=True)]
        await asyncio.gather(ours.close(0), theirs.close(0))
        await listener.close()

    asyncio.run(run())


@EVERY
def test_close_tells_the_peer_code_and_reason(address: str) -> None:
    """The last event on both sides is how it ended; afterwards every call says so."""

    async def talk(ours: Side, theirs: Side) -> None:
        waiting = asyncio.create_task(theirs.connection.next_events())
        await ours.connection.close(OTHER_CODE, "bad key: (code 7)")

        assert await waiting == (ConnectionClosed(OTHER_CODE, "bad key: (code 7)", by_peer=True),)
        assert await ours.connection.next_events() == (
            ConnectionClosed(OTHER_CODE, "bad key: (code 7)", by_peer=False),
        )
        for side in (ours, theirs):
            with pytest.raises(ConnectionGone):
                await side.connection.next_events()
            with pytest.raises(ConnectionGone):
                await side.connection.open(bidi=True)

    connected(address, talk)


@EVERY
def test_what_was_finished_before_close_arrives(address: str) -> None:
    """A verdict that is sent just before the connection is closed is not lost."""

    async def talk(ours: Side, theirs: Side) -> None:
        stream = await ours.connection.open(bidi=False)
        await ours.connection.send(stream, b"\x00", fin=True)
        closing = asyncio.create_task(ours.connection.close(1, ""))
        told = await theirs.until(lambda told: bool(of_kind(told, ConnectionClosed)))
        await closing

        assert b"".join(event.data for event in told if isinstance(event, StreamData)) == b"\x00"
        assert told[-1] == ConnectionClosed(1, "", by_peer=True)

    connected(address, talk)


@EVERY
def test_close_ends_those_who_wait(address: str) -> None:
    """An open and a send that wait for credit end with the connection."""

    async def talk(ours: Side, theirs: Side) -> None:
        stream = await ours.connection.open(bidi=True)
        sending = asyncio.create_task(ours.connection.send(stream, bytes(64 * 2**20)))
        await theirs.opened()
        await theirs.connection.close(2, "certificate required")
        with pytest.raises(ConnectionGone) as gone:
            await sending

        assert gone.value.closed == ConnectionClosed(2, "certificate required", by_peer=True)

    connected(address, talk, Windows(max_stream_data=1000, max_streams_bidi=1))


@EVERY
def test_a_connection_that_nobody_has_taken_ends_with_its_listener(address: str) -> None:
    """It would stay open without a server; one that was taken stays open."""

    async def run() -> None:
        listener = await listen(address, TransportOptions(ACCEPTOR_ID))
        ours = Side(await dial(listener.address, TransportOptions(DIALLER_ID)))
        theirs = await listener.accept()
        left = Side(await dial(listener.address, TransportOptions(DIALLER_ID)))
        await listener.close()
        with pytest.raises(ConnectionGone):
            await listener.accept()
        (closed,) = await left.until(bool)
        assert isinstance(closed, ConnectionClosed)
        assert (closed.code, closed.by_peer) == (0, True)
        assert ours.connection.closed is theirs.closed is None
        await asyncio.gather(ours.connection.close(0), theirs.close(0))

    asyncio.run(run())


@EVERY
def test_nobody_listens(address: str) -> None:
    """Dialling where nobody listens is Unreachable, within the deadline."""

    async def run() -> None:
        listener: Listener = await listen(address, TransportOptions(ACCEPTOR_ID))
        await listener.close()
        with pytest.raises(Unreachable):
            await dial(listener.address, TransportOptions(DIALLER_ID, handshake_s=0.2))
        with pytest.raises(ConnectionGone):
            await listener.accept()

    asyncio.run(run())


@EVERY
def test_another_protocol_is_refused(address: str) -> None:
    """A dialler of another ALPN never becomes a connection; the listener counts it."""

    async def run() -> None:
        listener = await listen(address, TransportOptions(ACCEPTOR_ID))
        with pytest.raises(Unreachable):
            await dial(listener.address, TransportOptions(DIALLER_ID, alpn="peat/enroll/1"))
        good = await dial(listener.address, TransportOptions(DIALLER_ID))
        theirs = await listener.accept()

        assert listener.refused == 1
        await good.close(0)
        await theirs.close(0)
        await listener.close()

    asyncio.run(run())
