"""Connections that a target dials: taken in their order, and never when they are too old."""

from __future__ import annotations

import asyncio
import json
import shlex
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from meshwire_conformance.contracts import Settings
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.socket_suite.inbox import Inbox
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.targets.attach import DIAL_HERE, Target, attach, start_node
from meshwire_conformance.targets.base import parse_target
from meshwire_conformance.targets.facts import Facts, read_target_file
from meshwire_conformance.targets.handshake import (
    Formation,
    Gate,
    HandshakeFailed,
    Rejected,
    WrongFormation,
    admit,
    prove,
)
from meshwire_conformance.targets.listening import NAMED_HERE, Listener, Untaken, with_names
from meshwire_conformance.targets.tcp import TcpConnection, after_preamble, connect_raw
from meshwire_conformance.targets.transport import (
    Address,
    Dial,
    NotDialled,
    Overdue,
    Stream,
    TooFewDials,
)
from meshwire_spec.numbers import CAPABILITIES, PAYLOAD_MAX

DEADLINE_S = 600.0
OURS, THEIRS = bytes(range(32)), bytes(range(32, 64))
FORMATION = Formation("alpha", bytes(range(1, 33)))

pytestmark = pytest.mark.socket


class Recording(Listener):
    """A listener that closes at its end what was taken from it."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[TcpConnection] = []

    async def dial_raw(self, dial: Dial, deadline_s: float) -> TcpConnection:
        """Take a connection and remember it."""
        self.taken.append(await super().dial_raw(dial, deadline_s))
        self._signal.notify()
        return self.taken[-1]

    def forget(self, arrival: Untaken) -> None:
        """Forget a connection, and wake who waits for that."""
        super().forget(arrival)
        self._signal.notify()

    async def none_waits(self) -> bool:
        """Wait until every connection that was not taken has ended."""
        return await self._signal.wait_for(lambda: not self.waiting, DEADLINE_S)

    async def one_is_taken(self) -> bool:
        """Wait until a caller has taken a connection."""
        return await self._signal.wait_for(lambda: bool(self.taken), DEADLINE_S)

    async def close(self) -> None:
        """Close everything, and wait until that is done."""
        await super().close()
        for connection in self.taken:
            await connection.close()
            await connection.signal.wait_for(lambda: connection.ended, DEADLINE_S)  # noqa: B023


def over(talk: Callable[[Recording, int], Awaitable[None]]) -> None:
    """Run a conversation with a listener that is bound to a port."""

    async def run() -> None:
        listener = Recording()
        address = await listener.bind("127.0.0.1", 0)
        try:
            await talk(listener, int(address.rpartition(":")[2]))
        finally:
            await listener.close()

    asyncio.run(run())


async def dialled(listener: Recording, port: int) -> TcpConnection:
    """The side of a target that dials."""
    connection = await connect_raw("127.0.0.1", port, Dial(THEIRS), DEADLINE_S)
    listener.taken.append(await after_preamble(connection, "127.0.0.1", port, DEADLINE_S))
    return listener.taken[-1]


async def dialled_only(listener: Recording, port: int) -> TcpConnection:
    """The same, without a preamble of the suite."""
    listener.taken.append(await connect_raw("127.0.0.1", port, Dial(THEIRS), DEADLINE_S))
    return listener.taken[-1]


def test_the_side_that_listens_numbers_its_streams_with_bit_0() -> None:
    """And each side sees the endpoint id and the bytes of the other."""

    async def talk(listener: Recording, port: int) -> None:
        came: list[Stream] = []
        theirs, ours = await asyncio.gather(
            dialled(listener, port), listener.dial(Dial(OURS, came.append), DEADLINE_S)
        )
        assert (theirs.endpoint_id, ours.endpoint_id) == (OURS, THEIRS)
        up, down = await theirs.open(), await ours.open()
        assert (up.number, down.number) == (0, 1)
        await up.write(b"up")
        await up.finish()
        assert await ours.signal.wait_for(lambda: bool(came), DEADLINE_S)
        assert await came[0].wait_for(lambda: came[0].finished, DEADLINE_S)
        assert bytes(came[0].received) == b"up"

    over(talk)


def test_a_connection_that_came_before_anybody_waited_is_taken() -> None:
    """With the bytes that came on it."""

    async def talk(listener: Recording, port: int) -> None:
        theirs = await dialled_only(listener, port)
        await listener.wait_for_dial(DEADLINE_S)
        ours = await listener.dial(Dial(OURS), DEADLINE_S)
        assert ours.endpoint_id == THEIRS
        assert await theirs.ready(DEADLINE_S)

    over(talk)


def test_a_connection_that_has_waited_for_long_is_dropped() -> None:
    """The target may give up on it at any moment, and be right."""

    async def talk(listener: Recording, port: int) -> None:
        listener.handshake_s = -1.0
        old = await dialled_only(listener, port)
        await listener.wait_for_dial(DEADLINE_S)
        taking = asyncio.create_task(listener.dial(Dial(OURS), DEADLINE_S))
        assert await old.signal.wait_for(lambda: old.ended, DEADLINE_S)
        listener.handshake_s = DEADLINE_S
        new = await dialled(listener, port)
        assert (await taking).endpoint_id == new.lab.preamble.endpoint_id

    over(talk)


def test_a_connection_that_its_target_has_ended_is_not_taken() -> None:
    """Nobody waits for it."""

    async def talk(listener: Recording, port: int) -> None:
        gone = await dialled_only(listener, port)
        await listener.wait_for_dial(DEADLINE_S)
        await gone.close()
        await gone.signal.wait_for(lambda: gone.ended, DEADLINE_S)
        assert await listener.none_waits()
        first, second = await asyncio.gather(
            dialled(listener, port), listener.dial(Dial(OURS), DEADLINE_S)
        )
        assert second.endpoint_id == first.lab.preamble.endpoint_id

    over(talk)


def test_without_a_dial_the_address_is_named() -> None:
    """Further waits end at once, until the target dials."""

    async def talk(listener: Recording, port: int) -> None:
        listener.redial_s = 0.0
        with pytest.raises(NotDialled, match=f"127.0.0.1:{port}"):
            await listener.dial(Dial(OURS), 0.01)
        listener.redial_s = 1e6
        with pytest.raises(NotDialled):
            await listener.dial(Dial(OURS), DEADLINE_S)
        assert listener.silent
        first, second = await asyncio.gather(dialled(listener, port), _patiently(listener))
        assert second.endpoint_id == first.lab.preamble.endpoint_id

    over(talk)


async def _patiently(listener: Recording) -> TcpConnection:
    await listener.wait_for_dial(DEADLINE_S)
    return await listener.dial(Dial(OURS), DEADLINE_S)


def test_a_port_in_use_is_incomplete() -> None:
    """One line, exit 3."""

    async def talk(listener: Recording, port: int) -> None:
        with pytest.raises(Incomplete, match=r"cannot listen on 127\.0\.0\.1"):
            await listener.bind("127.0.0.1", port)

    over(talk)


@pytest.mark.parametrize(
    ("theirs", "fault"),
    [
        (FORMATION, None),
        (Formation("alpha", bytes(32)), Rejected),
        (Formation("beta", FORMATION.secret), WrongFormation),
    ],
)
def test_a_target_is_admitted_for_its_formation_and_its_secret(
    theirs: Formation, fault: type[HandshakeFailed] | None
) -> None:
    """Streams beside the handshake are counted until then, and passed on."""

    async def talk(listener: Recording, port: int) -> None:
        came: list[Stream] = []
        dial = Dial(OURS, came.append)
        gate = Gate(dial)
        caller, ours = await asyncio.gather(
            dialled(listener, port), listener.dial(Dial(OURS, gate), DEADLINE_S)
        )
        proving = asyncio.create_task(prove(caller, theirs, DEADLINE_S))
        if fault is None:
            await admit(ours, gate, FORMATION, DEADLINE_S)
            await proving
            await (await caller.open()).write(b"later")
            assert await ours.signal.wait_for(lambda: bool(came), DEADLINE_S)
            assert (gate.early, gate.admitted, came[0].number) == (0, True, 4)
            return
        with pytest.raises(fault):
            await admit(ours, gate, FORMATION, DEADLINE_S)
        await ours.close()
        with pytest.raises(HandshakeFailed):
            await proving

    over(talk)


def test_nobody_who_dials_is_incomplete() -> None:
    """With the line that says how to start it; the address was said before."""
    told: list[str] = []
    settings = Settings(timeout_scale=1e-4, tells=told.append)

    with pytest.raises(Incomplete, match=r"--connect tcp://127\.0\.0\.1:"):
        asyncio.run(attach(parse_target("tcp-listen://127.0.0.1:0"), settings))

    assert told[0].startswith("listening on tcp://127.0.0.1:")


def test_listening_off_loopback_needs_permission() -> None:
    """A program that dials there is on another machine, and perhaps part of a mesh."""
    with pytest.raises(UsageError, match="--writes-are-ok"):
        asyncio.run(attach(parse_target("tcp-listen://192.0.2.1:0"), Settings()))


READY = {
    "addresses": ["tcp://127.0.0.1:1"],
    "endpoint_id": THEIRS.hex(),
    "instance_id": "one",
    "profile": "sync/1",
    "dialect": "open",
    "capabilities": list(CAPABILITIES),
    "payload_cap": PAYLOAD_MAX,
    # Later than that its connections would be dropped before a busy machine takes them.
    "deadlines": {"handshake_s": 3000.0},
    "redial_s": 0.5,
}


@pytest.mark.process
def test_each_place_in_a_command_is_another_address() -> None:
    """And the node that was started with them is the one that dials."""
    program = (
        "import json, signal, socket, sys\n"
        "ports = [int(one.rpartition(':')[2]) for one in sys.argv[1:]]\n"
        "links = [socket.create_connection(('127.0.0.1', port)) for port in ports]\n"
        f"print(json.dumps({json.dumps(READY)} | {{'instance_id': ' '.join(sys.argv[1:])}}))\n"
        "sys.stdout.flush()\nsignal.pause()\n"
    )
    words = shlex.join((sys.executable, "-c", program))

    async def start() -> None:
        target = await start_node(f"{words} {DIAL_HERE} {DIAL_HERE}")
        try:
            assert target.node is not None
            listener = target.listener
            assert listener is not None
            assert target.node.ready.instance_id == " ".join(listener.addresses)
            assert len(set(listener.addresses)) == 2
            assert (listener.handshake_s, listener.redial_s) == (3000.0, 0.5)
            assert not target.is_called
            for _ in range(2):
                taken = await listener.dial_raw(Dial(OURS), DEADLINE_S)
                await taken.close()
                await taken.signal.wait_for(lambda: taken.ended, DEADLINE_S)  # noqa: B023
        finally:
            await target.close()

    asyncio.run(start())


def test_the_documented_word_is_the_one_that_is_replaced() -> None:
    """On the page for users."""
    page = Path(__file__).parents[3] / "spec" / "15-running.md"

    assert DIAL_HERE in page.read_text("utf-8")


def test_further_ports_and_hosts_follow_after_commas() -> None:
    """A port alone is one of the host before it; each address is held to the same permission."""
    told: list[str] = []
    settings = Settings(timeout_scale=1e-4, tells=told.append)

    with pytest.raises(Incomplete):
        asyncio.run(attach(parse_target("tcp-listen://127.0.0.1:0,0,[::1]:0"), settings))

    assert told[0].count("tcp://127.0.0.1:") == 2
    assert told[0].count("tcp://[::1]:") == 1
    with pytest.raises(UsageError, match="--writes-are-ok"):
        asyncio.run(attach(parse_target("tcp-listen://127.0.0.1:0,192.0.2.1:0"), Settings()))
    with pytest.raises(UsageError, match="is no address"):
        asyncio.run(attach(parse_target("tcp-listen://127.0.0.1:0,x"), settings))


def test_a_target_file_names_every_address(tmp_path: Path) -> None:
    """Those of other schemes are left out."""
    path = tmp_path / "target.toml"
    path.write_text(
        'addresses = ["tcp-listen://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp-listen://[::1]:3"]\n'
        'profile = "sync/1"\ndialect = "open"\n'
    )
    (attachment,) = read_target_file(path)

    assert (attachment.scheme, attachment.location) == ("tcp-listen", "127.0.0.1:1,[::1]:3")


@pytest.mark.parametrize(("count", "in_use", "closed"), [(2, 0, 0), (1, 0, 1), (1, 1, None)])
def test_a_connection_that_no_case_uses_makes_room(
    count: int, in_use: int, closed: int | None
) -> None:
    """Where the target dials no more addresses; if cases use all, this is said."""
    listener = Listener()
    listener.addresses = [str(number) for number in range(count)]
    target = Target(Address("tcp", "", 0), Facts(), listener, None)
    target.listener = listener
    session = Session(target, Settings(), "nonce", Inbox())
    first = session.peer("first")
    first.adopt(TcpConnection(Dial(THEIRS), dialled=False))
    first.in_use = bool(in_use)
    listener.redial_s = session.deadline_s = 0.001

    # None dials here.
    with pytest.raises(TooFewDials if closed is None else NotDialled) as caught:
        asyncio.run(session.connect(Dial(OURS)))

    assert (caught.type is TooFewDials) == (closed is None)
    assert (first.live is None) == bool(closed)


@pytest.mark.parametrize(("ended", "taken"), [(1, 1), (2, 2), (3, 2)])
def test_a_connection_that_ended_before_a_late_suite_saw_it_is_not_taken(
    ended: int, taken: int
) -> None:
    """Its end comes after its bytes, which the suite reads first.

    Of a target that ends one after the other a few are passed over.
    """

    async def take() -> int:
        listener = Listener()
        host, _, port = (await listener.bind("127.0.0.1", 0))[len("tcp://") :].rpartition(":")
        ports = []
        # The kernel accepts them all before the suite sees one.
        calls = [socket.create_connection((host, int(port))) for _ in range(ended + 1)]
        for call in calls:
            ports.append(call.getsockname()[1])
            call.sendall(b"begins")
        for call in calls[:-1]:
            call.close()
        connection = await listener.dial_raw(Dial(OURS), DEADLINE_S)
        assert connection._transport is not None
        place = ports.index(connection._transport.get_extra_info("peername")[1])
        await connection.close()
        await listener.close()
        calls[-1].close()
        return place

    assert asyncio.run(take()) == taken


def test_a_target_that_ends_its_only_connection_has_dialled() -> None:
    """It is not said to dial nothing, which would leave its cases open."""

    async def take() -> None:
        listener = Listener()
        listener.redial_s = 0.0
        host, _, port = (await listener.bind("127.0.0.1", 0))[len("tcp://") :].rpartition(":")
        socket.create_connection((host, int(port))).close()
        await listener.wait_for_dial(DEADLINE_S)
        try:
            await listener.dial_raw(Dial(OURS), 0.0)
        finally:
            await listener.close()

    with pytest.raises(Overdue, match="ends each connection"):
        asyncio.run(take())


@pytest.mark.parametrize("handshake_s", [0.0, 3000.0])
def test_a_connection_that_is_given_up_is_overdue_from_a_part_of_the_deadline_on(
    handshake_s: float,
) -> None:
    """The suite may have been late; a target that ends a new connection gives up nothing."""

    async def talk(listener: Recording, port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await listener.wait_for_dial(DEADLINE_S)
        taking = asyncio.create_task(listener.dial(Dial(OURS), DEADLINE_S))
        assert await listener.one_is_taken()
        listener.handshake_s = handshake_s
        writer.close()
        with pytest.raises(ConnectionError) as caught:
            await taking
        assert isinstance(caught.value, Overdue) == (handshake_s == 0.0)

    over(talk)


@pytest.mark.process
def test_a_node_started_by_hand_is_judged() -> None:
    """The suite says the address on standard error, and takes the connection of the node."""
    command = (sys.executable, "-m", "meshwire_conformance.commands.main", "check")
    node = (sys.executable, "-m", "meshwire_reference.cli", "run", "--open")
    listen = ("--listen", "tcp://127.0.0.1:0", "--redial-s", "0.1")
    with subprocess.Popen(
        (*command, "tcp-listen://127.0.0.1:0", "--only", "MW-6010", "--only", "MW-6050"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as suite:
        assert suite.stderr is not None
        address = suite.stderr.readline().partition("listening on ")[2].partition(": ")[0]
        with subprocess.Popen(
            (*node, *listen, "--connect", address),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            said, _ = suite.communicate(timeout=DEADLINE_S)
            process.terminate()

    assert suite.returncode == 0, said
    assert "2/2" in said


@pytest.mark.parametrize("binding", ["tcp", "quic"])
def test_a_command_gets_an_address_that_names_an_endpoint(binding: str) -> None:
    """The suite listens there, and has the identity of that endpoint alone."""
    if binding == "quic":
        pytest.importorskip("aioquic", reason="the extra quic is not installed")
        from meshwire_conformance.targets.quic_library import identity_of  # noqa: PLC0415 - an extra
    place = next(name for name, named in NAMED_HERE.items() if named == binding)

    async def run() -> None:
        door, command = await with_names(f"node --connect {place}")
        assert door is not None
        try:
            own = door.identity
            named = identity_of(own).endpoint_id if binding == "quic" else own
            (bound,) = door.listener.addresses

            assert command == f"node --connect {bound.replace('//', f'//{named.hex()}@')}"
        finally:
            await door.listener.close()

    asyncio.run(run())
    assert asyncio.run(with_names("node --connect {dial}")) == (None, "node --connect {dial}")
