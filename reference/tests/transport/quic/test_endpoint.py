"""Identity, callers and silence over QUIC; what every transport does is in `test_transport.py`."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meshwire_reference.core.inputs import (
    ConnectionClosed,
    StreamData,
    StreamId,
    StreamReset,
)
from meshwire_reference.testing.progress import Progress
from meshwire_reference.transport.base import (
    AddressRefused,
    Connection,
    StreamGone,
    TransportOptions,
    Unreachable,
    Windows,
)
from meshwire_reference.transport.registry import check_dialled, dial, listen
from meshwire_spec.numbers import REASONS

if TYPE_CHECKING:
    from aioquic._buffer import Buffer
    from aioquic.quic.packet import QuicTransportParameters, push_quic_transport_parameters

    from meshwire_reference.transport.quic import endpoint, library
else:
    pytest.importorskip("aioquic")
    from aioquic._buffer import Buffer
    from aioquic.quic.packet import QuicTransportParameters, push_quic_transport_parameters

    from meshwire_reference.transport.quic import endpoint, library

pytestmark = [
    pytest.mark.socket,
    pytest.mark.skipif(find_spec("aioquic") is None, reason="the extra quic is not installed"),
]

LIMIT_S = 60
"""Seconds after which a test hangs; nothing takes as long."""
DIALLER_SEED, ACCEPTOR_SEED = bytes(range(1, 33)), bytes(range(33, 65))
DIALLER = TransportOptions(bytes(32), secret_key=DIALLER_SEED)
REQUIRED = REASONS["certificate-required"].code
FIRST = 1200
"""Bytes of the first datagram of a caller."""


def id_of(seed: bytes) -> bytes:
    """Return the endpoint id of a seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


class Listening:
    """A listener, and whom it has refused."""

    def __init__(self, listener: endpoint.QuicListener) -> None:
        self.listener = listener
        self.refused: list[tuple[str, str]] = []
        self.progress = Progress()

    def note(self, reason: str, host: str) -> None:
        """Take note of a refusal."""
        self.refused.append((reason, host))
        self.progress.note()

    async def join(self, **options: Any) -> tuple[Connection, Connection]:
        """Return both sides of a new connection."""
        ours = await dial(self.listener.address, replace(DIALLER, **options))
        return ours, await self.listener.accept()

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self.listener.address.rpartition(":")[2])


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[Listening]:
    """Listen on loopback."""
    async with asyncio.timeout(LIMIT_S):
        refusals: list[Listening] = []

        def note(reason: str, host: str) -> None:
            refusals[0].note(reason, host)

        given = TransportOptions(
            bytes(32),
            secret_key=ACCEPTOR_SEED,
            on_refusal=note,
            **options,
        )
        listener = await listen("quic://127.0.0.1:0", given)
        assert isinstance(listener, endpoint.QuicListener)
        refusals.append(Listening(listener))
        try:
            yield refusals[0]
        finally:
            await listener.close()


async def last_event(connection: Connection) -> ConnectionClosed:
    """Wait for the end of a connection."""
    async for event in connection.events():
        if isinstance(event, ConnectionClosed):
            return event
    raise AssertionError("a connection ends with an event")


async def release_finished(connection: Connection) -> StreamId:
    """Release and return the next stream that is finished, without consuming any of its bytes."""
    async for event in connection.events():
        if isinstance(event, StreamData) and event.fin:
            connection.release(event.stream)
            return event.stream
    raise AssertionError("the connection has ended before")


async def release_reset(connection: Connection) -> StreamId:
    """Release and return the next stream that is reset."""
    async for event in connection.events():
        if isinstance(event, StreamReset):
            connection.release(event.stream)
            return event.stream
    raise AssertionError("the connection has ended before")


def first_packets(count: int, options: TransportOptions) -> list[bytes]:
    """Return the first datagrams of callers that never send another one."""
    configuration = library.configure(options, Ed25519PrivateKey.generate(), dials=True)
    found = []
    for _ in range(count):
        quic = library.HeldConnection(options, configuration)
        quic.connect(("127.0.0.1", 1), 0.0)
        ((datagram, _address),) = quic.take_output(0.0)
        found.append(datagram)
    return found


class TestIdentity:
    """Who each side is, and who is not let in."""

    def test_both_endpoint_ids_are_the_keys_of_the_seeds(self) -> None:
        """Each side learns the key that the other one has proven (TR-034)."""

        async def run() -> None:
            async with listening() as there:
                ours, theirs = await there.join()

                assert there.listener.endpoint_id == id_of(ACCEPTOR_SEED)
                assert (ours.peer_id, theirs.peer_id) == (id_of(ACCEPTOR_SEED), id_of(DIALLER_SEED))
                assert (ours.remote, theirs.remote) == ("", "127.0.0.1")
                await asyncio.gather(ours.close(0), theirs.close(0))

        asyncio.run(run())

    @pytest.mark.parametrize("sort", ["none", "another sort"])
    def test_a_caller_without_a_certificate_is_closed(
        self, sort: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It receives code 2, and never becomes a connection (TR-035)."""

        async def run() -> None:
            async with listening() as there:
                monkeypatch.setattr(endpoint, "configure", configure_other)
                ours = await dial(there.listener.address, DIALLER)
                closed = await last_event(ours)
                await there.progress.until(lambda: there.refused)

                assert closed == ConnectionClosed(REQUIRED, "certificate required", by_peer=True)
                assert there.refused == [("certificate-required", "127.0.0.1")]
                assert there.listener.refused == 1

        def configure_other(*arguments: Any, **options: Any) -> Any:
            key = None if sort == "none" else ec.generate_private_key(ec.SECP256R1())
            return replace(library.configure(*arguments, **options), private_key=key)

        asyncio.run(run())

    def test_a_server_with_another_sort_of_key_is_not_reached(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its key is no endpoint id."""

        async def run() -> None:
            with monkeypatch.context() as patched:
                patched.setattr(endpoint, "configure", configure_other)
                there = await listen("quic://127.0.0.1:0", TransportOptions(bytes(32)))
            with pytest.raises(Unreachable):
                await dial(there.address, DIALLER)
            await there.close()

        def configure_other(*arguments: Any, **options: Any) -> Any:
            key = ec.generate_private_key(ec.SECP256R1())
            return replace(library.configure(*arguments, **options), private_key=key)

        asyncio.run(run())

    @pytest.mark.parametrize(
        "address",
        [
            "quic://127.0.0.1",
            "quic://127.0.0.1:0",
            "quic://@127.0.0.1:4711",
            "quic://0102@127.0.0.1:4711",
            f"quic://{'0' * 64}@127.0.0.1:4711/path",
        ],
    )
    def test_a_malformed_address_is_refused(self, address: str) -> None:
        """Before anything is sent."""
        with pytest.raises(AddressRefused):
            check_dialled(address)

    def test_an_endpoint_id_is_not_listened_to(self) -> None:
        """The id of a listener is that of its key."""
        with pytest.raises(AddressRefused):
            asyncio.run(listen(f"quic://{'0' * 64}@127.0.0.1:0", DIALLER))


class TestCallers:
    """Callers whose handshake does not end."""

    def test_blind_callers_take_few_places(self) -> None:
        """From some on each has to show that answers reach it, which keeps no state; others can."""

        async def run() -> None:
            async with listening() as there:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as blind:
                    for datagram in first_packets(100, DIALLER):
                        blind.sendto(datagram, ("127.0.0.1", there.port))
                    # Its first packet comes after theirs.
                    ours, theirs = await there.join()

                    assert len(there.listener._unfinished) == endpoint.RETRY_FROM
                    await asyncio.gather(ours.close(0), theirs.close(0))

        asyncio.run(run())

    def test_one_address_has_some_unfinished_handshakes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Further callers of it are refused, and each of those that are left has its deadline."""
        monkeypatch.setattr(endpoint, "RETRY_FROM", 10**6)
        monkeypatch.setattr(endpoint, "HALF_OPEN_MAX", 5)

        async def run() -> None:
            async with listening(handshake_s=0.2) as there:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as blind:
                    for datagram in first_packets(8, DIALLER):
                        blind.sendto(datagram, ("127.0.0.1", there.port))
                    await there.progress.until(lambda: len(there.refused) == 8)

                assert there.refused == [
                    *[("internal", "127.0.0.1")] * 3,
                    *[("handshake-timeout", "127.0.0.1")] * 5,
                ]
                assert not there.listener._unfinished
                assert not there.listener._half_open

        asyncio.run(run())

    def test_senseless_datagrams_change_nothing(self) -> None:
        """Whatever arrives at either socket, the connection goes on, and others are accepted."""
        seeded = random.Random(0x0102)

        async def run() -> None:
            async with listening() as there:
                ours, theirs = await there.join()
                firsts = first_packets(3, DIALLER)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                    for number in range(300):
                        base = firsts[number % 3] if number % 2 else seeded.randbytes(FIRST)
                        mangled = bytearray(base[: seeded.randrange(FIRST)])
                        for _ in range(seeded.randrange(4)):
                            if mangled:
                                mangled[seeded.randrange(len(mangled))] ^= seeded.randrange(256)
                        other.sendto(mangled, ("127.0.0.1", there.port))
                stream = await ours.open(bidi=False)
                await ours.send(stream, b"still here", fin=True)
                await theirs.next_events()
                further = await there.join()

                assert ours.closed is theirs.closed is None
                await asyncio.gather(*(one.close(0) for one in (ours, theirs, *further)))

        asyncio.run(run())


class TestGivenUp:
    """Dials that the caller gives up."""

    def test_one_that_has_just_succeeded_leaves_no_connection(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is cancelled in the turn in which the handshake ends: nobody gets the connection."""

        async def run() -> None:
            async with listening() as there:
                dialling = asyncio.create_task(dial(there.listener.address, DIALLER))
                establish = endpoint.QuicLink.on_handshake
                made: list[endpoint.QuicLink] = []

                def cancel(link: endpoint.QuicLink) -> None:
                    establish(link)
                    if link.dialled:
                        made.append(link)
                        dialling.cancel()

                monkeypatch.setattr(endpoint.QuicLink, "on_handshake", cancel)
                with pytest.raises(asyncio.CancelledError):
                    await dialling
                (ours,) = made
                assert ours.peer_id == there.listener.endpoint_id
                await ours.ended()

                assert ours.closed is not None
                assert ours.closed.code == REASONS["shutdown"].code

        asyncio.run(run())


class TestSilence:
    """Connections on which nothing comes."""

    def test_a_silent_peer_is_given_up(self) -> None:
        """After its idle time the connection is lost (TR-038)."""

        async def run() -> None:
            async with listening() as there:
                ours, theirs = await there.join(idle_s=0.3)
                # Its datagrams get lost from now on.
                assert isinstance(theirs, endpoint.QuicLink)
                theirs._transmit = lambda _datagram, _address: None

                assert await last_event(ours) == ConnectionClosed(
                    None, "connection lost", by_peer=True
                )
                await theirs.close(0)

        asyncio.run(run())

    def test_an_idle_connection_is_kept_alive(self) -> None:
        """Packets come again and again although nobody sends anything (TR-039)."""

        async def run() -> None:
            async with listening() as there:
                ours, theirs = await there.join(keep_alive_s=0.05)
                assert isinstance(theirs, endpoint.QuicLink)
                take, progress = theirs.take_datagram, Progress()
                count = 0

                def note(datagram: bytes, address: library.Address) -> None:
                    nonlocal count
                    count += 1
                    progress.note()
                    take(datagram, address)

                theirs.take_datagram = note  # type: ignore[method-assign]  # the test listens in
                await progress.until(lambda: count >= 5)

                assert ours.closed is theirs.closed is None
                await asyncio.gather(ours.close(0), theirs.close(0))

        asyncio.run(run())

    def test_a_connection_that_has_ended_is_kept_alive_no_longer(self) -> None:
        """No timer is left on either side that would hold it."""

        async def run() -> None:
            async with listening() as there:
                ours, theirs = await there.join()
                await asyncio.gather(ours.close(0), theirs.close(0))

                for link in (ours, theirs):
                    assert isinstance(link, endpoint.QuicLink)
                    assert link._keeping is not None
                    assert link._keeping.cancelled()

        asyncio.run(run())

    def test_the_shorter_idle_time_of_a_peer_is_kept(self) -> None:
        """It is asked in time, although the keep-alive time is longer (TR-039)."""

        async def run() -> None:
            async with listening() as there:
                ours, theirs = await there.join(idle_s=0.4)
                assert isinstance(ours, endpoint.QuicLink)
                assert isinstance(theirs, endpoint.QuicLink)
                assert theirs._quic.idle_s == pytest.approx(0.4)
                take, progress = ours.take_datagram, Progress()
                count = 0

                def note(datagram: bytes, address: library.Address) -> None:
                    nonlocal count
                    count += 1
                    progress.note()
                    take(datagram, address)

                # This side asks for nothing itself.
                assert ours._keeping is not None
                ours._keeping.cancel()
                ours.take_datagram = note  # type: ignore[method-assign]  # the test listens in
                await progress.until(lambda: count >= 3)

                assert ours.closed is theirs.closed is None
                await asyncio.gather(ours.close(0), theirs.close(0))

        asyncio.run(run())

    @pytest.mark.parametrize("said", [0, None])
    def test_a_peer_may_have_no_idle_time(self, said: int | None) -> None:
        """Which 0 says too: then that of this side counts (TR-038)."""

        async def run() -> None:
            async with listening() as there:
                ours, theirs = await there.join()
                assert isinstance(theirs, endpoint.QuicLink)
                buffer = Buffer(capacity=64)
                push_quic_transport_parameters(
                    buffer, QuicTransportParameters(max_idle_timeout=said)
                )
                # As in a ticket, where nothing is said about the ids of the connection.
                theirs._quic._parse_transport_parameters(buffer.data, from_session_ticket=True)

                assert theirs._quic.idle_s == there.listener._options.idle_s
                await asyncio.gather(ours.close(0), theirs.close(0))

        asyncio.run(run())


class TestCredit:
    """Bytes that nobody reads: the peer may send as many again (TR-037, TR-050)."""

    STREAMS: ClassVar = 12
    PART: ClassVar = bytes(3000)
    """A window of the connection has room for two of them."""
    WINDOWS: ClassVar = Windows(max_data=8000, max_stream_data=4000)

    def _released(
        self,
        give_up: Callable[[endpoint.QuicLink, StreamId], Awaitable[None]],
        release_next: Callable[[Connection], Awaitable[StreamId]],
    ) -> bool:
        """Give up stream after stream, of more bytes together than the credit of the connection.

        Return True once the peer has released each of them, in their order.
        """

        async def run() -> bool:
            given_up, released = [], []
            async with listening(windows=self.WINDOWS) as there:
                ours, theirs = await there.join()
                assert isinstance(ours, endpoint.QuicLink)
                for _ in range(self.STREAMS):
                    given_up.append(await ours.open(bidi=False))
                    await give_up(ours, given_up[-1])
                    ours.release(given_up[-1])
                    released.append(await release_next(theirs))
                await asyncio.gather(ours.close(0), theirs.close(0))
            return given_up == released

        return asyncio.run(run())

    def test_a_finished_stream_that_is_released_unread_gives_its_credit_back(self) -> None:
        """Also bytes that the application has seen and not consumed, with their FIN."""

        async def finish(ours: endpoint.QuicLink, stream: StreamId) -> None:
            await ours.send(stream, self.PART, fin=True)

        assert self._released(finish, release_finished)

    def test_what_a_reset_keeps_from_coming_gives_its_credit_back(self) -> None:
        """Bytes that were lost on the way and are not sent again."""

        async def lose(ours: endpoint.QuicLink, stream: StreamId) -> None:
            transmit = ours._transmit
            ours._transmit = lambda _datagram, _address: None
            await ours.send(stream, self.PART)
            ours._flush()
            ours._transmit = transmit
            ours.reset(stream, 0)

        assert self._released(lose, release_reset)

    def test_bytes_on_their_way_to_a_stopped_stream_give_their_credit_back(self) -> None:
        """The peer has sent them before it learned of the STOP."""

        async def run() -> bool:
            async with listening(windows=self.WINDOWS) as there:
                ours, theirs = await there.join()
                events = theirs.events()
                for _ in range(self.STREAMS):
                    stream = await ours.open(bidi=False)
                    await ours.send(stream, self.PART[:1])
                    while not isinstance(event := await anext(events), StreamData):
                        pass
                    theirs.stop(event.stream, 0)
                    with suppress(StreamGone):
                        await ours.send(stream, self.PART[1:], fin=True)
                    theirs.release(event.stream)
                read = await ours.open(bidi=False)
                await ours.send(read, self.PART, fin=True)
                found = await release_finished(theirs) == read
                await asyncio.gather(ours.close(0), theirs.close(0))
            return found

        assert asyncio.run(run())

    def test_an_open_that_is_cancelled_as_it_succeeds_gives_its_stream_back(self) -> None:
        """The peer learns of the stream by its reset and lets this side open one more."""

        async def run() -> None:
            async with listening(windows=Windows(max_streams_uni=1)) as there:
                ours, theirs = await there.join()
                assert isinstance(ours, endpoint.QuicLink)
                first = await ours.open(bidi=False)
                waiting = asyncio.create_task(ours.open(bidi=False))
                take = ours._open

                def take_and_cancel(*, bidi: bool) -> int:
                    ours._open = take  # type: ignore[method-assign]
                    # It runs once the open has its stream, and before the task goes on.
                    asyncio.get_running_loop().call_soon(waiting.cancel)
                    return take(bidi=bidi)

                ours._open = take_and_cancel  # type: ignore[method-assign]
                ours.release(first)
                assert await release_reset(theirs) == first
                with pytest.raises(asyncio.CancelledError):
                    await waiting

                assert await release_reset(theirs) == first + 4
                assert await ours.open(bidi=False) not in {first, first + 4}
                await asyncio.gather(ours.close(0), theirs.close(0))

        asyncio.run(run())
