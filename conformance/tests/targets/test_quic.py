"""The QUIC target: the library between two ends in memory, then over sockets on loopback."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from meshwire_conformance.contracts import Settings
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.targets.attach import attach, parse_address
from meshwire_conformance.targets.base import parse_target
from meshwire_conformance.targets.listening import Listener
from meshwire_conformance.targets.tcp import TcpConnection, TcpDialler
from meshwire_conformance.targets.transport import Closed, Connection, Dial, Stream

pytest.importorskip("aioquic", reason="the extra quic is not installed")

from meshwire_conformance.targets.quic import QuicArrival, QuicDialler, QuicDoor
from meshwire_conformance.targets.quic_connection import UNREAD_MAX, QuicConnection
from meshwire_conformance.targets.quic_library import (
    IDLE_S,
    QuicLink,
    accepting,
    connection_id_of,
    dialling,
    identity_of,
)
from meshwire_spec.numbers import REASONS

OURS, THEIRS = bytes(range(32)), bytes(range(32, 64))
DEADLINE_S = 600.0
"""Seconds after which a test hangs; nothing takes as long."""
ENTRY = 1024
"""Bytes that a path takes at once, in these tests."""


@dataclass
class Pair:
    """Both ends of a connection without sockets, and the time at both."""

    near: QuicLink
    now: float = 1.0
    far: QuicLink | None = None
    seen: list[tuple[str, object]] = field(default_factory=list)

    def settle(self) -> None:
        """Carry datagrams to and fro until neither end has one to send."""
        while True:
            up = self.near.packets(self.now)
            for datagram in up:
                if self.far is None:
                    first = connection_id_of(datagram)
                    assert first is not None
                    self.far = accepting(identity_of(THEIRS), first)
                self.far.receive(datagram, self.now)
            down = [] if self.far is None else self.far.packets(self.now)
            for datagram in down:
                self.near.receive(datagram, self.now)
            for name, link in (("near", self.near), ("far", self.far)):
                self.seen += [(name, event) for event in link.happened()] if link else []
            if not up and not down:
                return
            # What was received is confirmed a moment later, and what is paced leaves then.
            self.now += 0.1


def paired(near: QuicLink | None = None) -> Pair:
    """Return two ends whose handshake is complete, as far as they wanted it."""
    pair = Pair(near or dialling(identity_of(OURS)))
    pair.near.begin(pair.now)
    pair.settle()
    return pair


def said(pair: Pair, name: str, kind: str) -> list[dict[str, object]]:
    """Return the events of a kind at one end."""
    return [vars(event) for end, event in pair.seen if end == name and type(event).__name__ == kind]


class TestTwoEnds:
    """What one end does the other one sees."""

    def test_each_end_shows_the_endpoint_id_of_its_key(self) -> None:
        """The acceptor asks the dialler for a certificate too, and its key is the id."""
        pair = paired()

        assert pair.far is not None
        assert pair.near.is_open
        assert pair.far.is_open
        assert pair.near.peer_id() == identity_of(THEIRS).endpoint_id
        assert pair.far.peer_id() == identity_of(OURS).endpoint_id

    def test_a_dialler_without_a_certificate_shows_no_id(self) -> None:
        """The library alone lets it in: who accepts has to look."""
        pair = paired(dialling(None))

        assert pair.far is not None
        assert pair.far.is_open
        assert pair.far.peer_id() is None

    def test_another_protocol_is_no_connection(self) -> None:
        """An acceptor that does not speak it says so in QUIC's own words, without a code."""
        pair = paired(dialling(identity_of(OURS), "cap/automerge/2"))

        closed = pair.near.ended()
        assert not pair.near.is_open
        assert closed is not None
        assert closed.code is None
        assert "0x178" in closed.text

    def test_bytes_and_codes_of_streams_arrive(self) -> None:
        """FIN, RESET and STOP; the numbers are those that the wire has."""
        pair = paired()
        bidi, uni = pair.near.open(uni=False), pair.near.open(uni=True)
        pair.near.write(bidi, b"\x01\x02", fin=True)
        pair.near.write(uni, b"\x03")
        pair.settle()
        pair.near.reset(uni, 258)
        assert pair.far is not None
        pair.far.write(bidi, b"\x04")
        pair.settle()
        pair.near.stop(bidi, 772)
        pair.settle()

        assert (bidi, uni) == (0, 2)
        assert said(pair, "far", "StreamDataReceived") == [
            {"data": b"\x01\x02", "end_stream": True, "stream_id": 0},
            {"data": b"\x03", "end_stream": False, "stream_id": 2},
        ]
        assert said(pair, "far", "StreamReset") == [{"error_code": 258, "stream_id": 2}]
        assert said(pair, "far", "StopSendingReceived") == [{"error_code": 772, "stream_id": 0}]

    def test_what_was_written_is_unconfirmed_until_it_has_arrived(self) -> None:
        """A close that came before would drop it."""
        pair = paired()
        number = pair.near.open(uni=False)
        empty = pair.near.unconfirmed()
        pair.near.write(number, bytes(range(256)) * 40)
        written = pair.near.unconfirmed()
        pair.settle()

        assert (empty, written, pair.near.unconfirmed()) == (False, True, False)

    def test_a_fin_alone_is_unconfirmed_too(self) -> None:
        """It ends the stream, and is no byte."""
        pair = paired()
        number = pair.near.open(uni=False)
        pair.near.write(number, b"", fin=True)
        written = pair.near.unconfirmed()
        pair.settle()

        assert (written, pair.near.unconfirmed()) == (True, False)

    def test_streams_wait_for_credit(self) -> None:
        """The library would queue their bytes for ever, and a case would not notice."""
        pair = paired()
        opened = 0
        while pair.near.can_open(uni=True):
            pair.near.write(pair.near.open(uni=True), b"\x01")
            opened += 1
        pair.settle()
        still = pair.near.can_open(uni=True)
        pair.near.reset(2, 0)
        pair.settle()

        assert (opened, still) == (128, False)

    def test_the_code_and_reason_of_a_close_arrive_at_once(self) -> None:
        """The library itself reports it only when it forgets the connection."""
        pair = paired()
        assert pair.far is not None
        pair.far.close(258, "bad-marker")
        pair.settle()

        assert pair.near.ended() == Closed(258, "bad-marker")
        assert said(pair, "near", "ConnectionTerminated") == []

    def test_a_silent_end_is_over_after_its_timeout(self) -> None:
        """Nothing comes any more, and no code says why."""
        pair = paired()
        pair.now += IDLE_S + 1
        pair.near.fire(pair.now)

        assert pair.near.ended() == Closed(None, "Idle timeout")

    def test_a_probe_keeps_both_ends_alive(self) -> None:
        """Several fit into the timeout, so that one may be lost."""
        pair = paired()
        for _ in range(10):
            pair.now += pair.near.keep_alive_s()
            pair.near.probe()
            pair.settle()

        assert (pair.near.ended(), pair.near.keep_alive_s() * 3 < IDLE_S) == (None, True)


class TestIds:
    """Datagrams of several connections come to one socket."""

    @pytest.mark.parametrize(
        ("datagram", "expected"),
        [
            ("40" + "0102030405060708" + "ff", "0102030405060708"),
            ("c000000001" + "03" + "0a0b0c" + "00" * 8, "0a0b0c"),
            ("40" + "01020304050607", None),
            ("c000000001" + "00" + "00" * 8, None),
        ],
    )
    def test_a_datagram_names_its_connection(self, datagram: str, expected: str | None) -> None:
        """By an id of 8 bytes, or of the length that the packet of a handshake says."""
        named = connection_id_of(bytes.fromhex(datagram))

        assert (named.hex() if named else None) == expected


class Port(asyncio.DatagramTransport):
    """A socket that only has a port."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1)})


class TestLeft:
    """Connections that nobody takes."""

    def test_what_is_sent_again_is_no_new_connection(self) -> None:
        """A target that waits sends its first datagram again, and soon gives the connection up."""
        arrived: list[QuicArrival] = []
        door = QuicDoor(arrived.append)
        door.connection_made(Port())
        callers = [dialling(identity_of(OURS)) for _ in range(2)]
        for caller in callers:
            caller.begin(1.0)
        firsts = [caller.packets(1.0)[0] for caller in callers]
        for first in firsts:
            door.datagram_received(first, ("127.0.0.1", 2))
        arrived[0].drop()
        for first in firsts:
            door.datagram_received(first, ("127.0.0.1", 2))

        assert len(arrived) == len(firsts)
        assert [len(one.held) for one in arrived] == [1, 2]


class TestAddresses:
    """What may be written as a target."""

    def test_an_address_may_name_the_endpoint(self) -> None:
        """With an id of 64 digits or none."""
        pinned = parse_address(f"quic://{'0a' * 32}@127.0.0.1:7")

        assert (pinned.endpoint_id, parse_address("quic://127.0.0.1:7").endpoint_id) == (
            "0a" * 32,
            "",
        )
        with pytest.raises(UsageError, match=r"quic://\[ENDPOINT@\]HOST:PORT"):
            parse_address("quic://0a0a@127.0.0.1:7")


def test_without_the_extra_the_line_that_installs_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A case that cannot run names what is missing."""
    for name in [name for name in sys.modules if name.startswith("aioquic.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aioquic", None)
    for name in ("quic", "quic_connection", "quic_library"):
        monkeypatch.delitem(sys.modules, f"meshwire_conformance.targets.{name}")

    with pytest.raises(Incomplete, match=r"pip install -e '\.\[quic\]'"):
        asyncio.run(attach(parse_target("quic://127.0.0.1:9"), Settings()))


Talk = Callable[[Listener, QuicConnection, QuicConnection], Awaitable[None]]


async def opened() -> Listener:
    """Return a listener of the suite, which is the other peer here."""
    listener = Listener("quic")
    await listener.bind("127.0.0.1", 0)
    return listener


async def taken(listener: Listener) -> QuicConnection:
    """Return the next connection of the listener, once its handshake is complete."""
    connection = await listener.dial(Dial(THEIRS), DEADLINE_S)
    assert isinstance(connection, QuicConnection)
    return connection


def over(talk: Talk) -> None:
    """Run a conversation: the listener, the side of the suite, and that of the target."""

    async def run() -> None:
        listener = await opened()
        try:
            dialler = QuicDialler(parse_address(listener.addresses[0]))
            suite, target = await asyncio.gather(
                dialler.dial(Dial(OURS), DEADLINE_S), taken(listener)
            )
            assert isinstance(suite, QuicConnection)
            await talk(listener, suite, target)
            for one in (suite, target):
                await one.close()
            await dialler.close()
        finally:
            await listener.close()

    asyncio.run(run())


async def came(connection: Connection, number: int) -> Stream:
    """Return the stream of the other side with a number, once it is there."""
    assert await connection.signal.wait_for(lambda: number in connection.streams, DEADLINE_S)
    return connection.streams[number]


@pytest.mark.socket
@pytest.mark.parametrize("scheme", ["tcp", "quic"])
def test_a_dial_that_is_cancelled_closes_its_socket(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target is silent, and the case is given up meanwhile."""
    began: list[QuicConnection | TcpConnection] = []
    kind = {"tcp": TcpConnection, "quic": QuicConnection}[scheme]
    ready = kind.ready

    async def wait(connection: Any, deadline_s: float) -> bool:
        began.append(connection)
        dialling.cancel()
        return await ready(connection, deadline_s)

    monkeypatch.setattr(kind, "ready", wait)
    sort = {"tcp": socket.SOCK_STREAM, "quic": socket.SOCK_DGRAM}[scheme]

    async def run() -> None:
        nonlocal dialling
        with socket.socket(socket.AF_INET, sort) as silent:
            silent.bind(("127.0.0.1", 0))
            if scheme == "tcp":
                silent.listen()
            address = parse_address(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}")
            dialler = {"tcp": TcpDialler, "quic": QuicDialler}[scheme](address)
            dialling = asyncio.create_task(dialler.dial(Dial(OURS), DEADLINE_S))
            with pytest.raises(asyncio.CancelledError):
                await dialling

    dialling: asyncio.Task[Connection]
    asyncio.run(run())

    assert [one.closed for one in began] == [Closed(0, "", by_suite=True)]


@pytest.mark.socket
class TestConnection:
    """The suite and a scripted peer on loopback."""

    def test_streams_of_both_sides_carry_bytes_to_their_fin(self) -> None:
        """More bytes than a datagram and a window hold."""
        much = bytes(range(256)) * (9 * ENTRY)

        async def talk(listener: Listener, suite: QuicConnection, target: QuicConnection) -> None:
            up, down = await suite.open(), await target.open(uni=True)
            await up.write(much)
            await up.finish()
            await down.write(b"down")
            await down.finish()
            taken, given = await came(target, 0), await came(suite, 3)
            assert await taken.wait_for(lambda: taken.finished, DEADLINE_S)
            assert await given.wait_for(lambda: given.finished, DEADLINE_S)
            assert (bytes(taken.received) == much, bytes(given.received)) == (True, b"down")
            assert (given.uni, given.ours, taken.uni) == (True, False, False)

        over(talk)

    def test_a_refusal_shows_its_codes(self) -> None:
        """A stop ends the half of the suite, which takes nothing more."""

        async def talk(listener: Listener, suite: QuicConnection, target: QuicConnection) -> None:
            mine = await suite.open()
            await mine.write(b"\x01")
            theirs = await came(target, 0)
            await theirs.reset(772)
            await theirs.stop(258)
            assert await mine.wait_for(lambda: mine.stop_code is not None, DEADLINE_S)
            assert await mine.wait_for(lambda: mine.reset_code is not None, DEADLINE_S)
            assert (mine.reset_code, mine.stop_code, mine.write_over) == (772, 258, True)
            await mine.write(b"\x02")
            await mine.finish()

        over(talk)

    def test_a_close_comes_after_what_was_written_before_it(self) -> None:
        """The verdict of a handshake is such a byte."""

        async def talk(listener: Listener, suite: QuicConnection, target: QuicConnection) -> None:
            stream = await target.open()
            await stream.write(b"\x00" * ENTRY)
            await target.close(1, "authentication failed")

            assert await suite.wait_closed(DEADLINE_S) == Closed(1, "authentication failed")
            assert len(suite.streams[1].received) == ENTRY
            with pytest.raises(ConnectionError, match="authentication failed"):
                await suite.open()

        over(talk)

    def test_a_target_whose_port_is_closed_is_gone_at_once(self) -> None:
        """Its process has ended: nothing has to run out."""

        async def talk(listener: Listener, suite: QuicConnection, target: QuicConnection) -> None:
            await listener.close()
            stream = await suite.open()
            await stream.write(b"\x01")
            closed = await suite.wait_closed(DEADLINE_S)
            assert closed is not None
            assert (closed.code, closed.by_suite) == (None, False)

        over(talk)

    def test_a_stream_without_an_end_is_a_fault(self) -> None:
        """The suite keeps what it has not read, up to a bound."""

        async def talk(listener: Listener, suite: QuicConnection, target: QuicConnection) -> None:
            stream = await target.open()
            await stream.write(b"\x01")
            mine = await came(suite, 1)
            mine.received += bytes(UNREAD_MAX)
            await stream.write(b"\x02")
            closed = await target.wait_closed(DEADLINE_S)
            assert closed == Closed(REASONS["flow-control"].code, "stream 1 never ends")
            assert suite.closed is not None
            assert suite.closed.fault is not None

        over(talk)

    def test_the_named_endpoint_alone_is_the_target(self) -> None:
        """Another one at the same place is refused with its id."""

        async def look(listener: Listener, named: bytes) -> str:
            dialler = QuicDialler(
                parse_address(f"quic://{named.hex()}@{listener.addresses[0][7:]}")
            )
            taking = asyncio.create_task(taken(listener))
            try:
                connection = await dialler.dial(Dial(OURS), DEADLINE_S)
            except ConnectionError as exc:
                return str(exc)
            finally:
                await (await taking).close()
            return connection.endpoint_id.hex()

        async def run() -> tuple[str, str]:
            listener = await opened()
            try:
                right = identity_of(THEIRS).endpoint_id
                return await look(listener, right), await look(listener, b"\x0a" * 32)
            finally:
                await listener.close()

        right, wrong = asyncio.run(run())

        assert right == identity_of(THEIRS).endpoint_id.hex()
        assert f"the endpoint there is {right}" in wrong

    def test_a_port_where_nothing_listens_is_said(self) -> None:
        """At once, and not as a deadline."""

        async def run() -> None:
            listener = await opened()
            await listener.close()
            await QuicDialler(parse_address(listener.addresses[0])).dial(Dial(OURS), DEADLINE_S)

        with pytest.raises(ConnectionError, match="refused"):
            asyncio.run(run())
