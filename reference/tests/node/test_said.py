"""What a node says of callers: in its log, in one line each, over the sockets of TCP."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from asyncio import constants
from collections.abc import Awaitable, Callable

import pytest

from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.testing.author import snapshot
from meshwire_reference.testing.peer import Peer
from meshwire_reference.testing.serving import serving
from meshwire_reference.transport.base import TransportOptions
from meshwire_reference.transport.registry import dial
from meshwire_reference.wire.lab import encode_control
from meshwire_spec.numbers import LabRecordType
from turns import all_wait

pytestmark = [pytest.mark.process, pytest.mark.socket]

ENDPOINT = bytes(range(2, 34))


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """Return the lines of the log since the last call, without their times."""
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    for line in lines:
        del line["at_ms"]
    return lines


def run(test: Callable[[Node, int], Awaitable[None]], settings: Settings | None = None) -> None:
    """Run a test against a node that listens on TCP; it is given the port."""

    async def whole() -> None:
        settings_ = settings or Settings(Dialect.OPEN, heartbeat_s=0)
        node = Node(Config(("tcp://127.0.0.1:0",), settings_))
        async with serving(node):
            await test(node, int(node.addresses[0].rpartition(":")[2]))

    asyncio.run(whole())


async def join(port: int) -> Peer:
    """Dial the node."""
    return Peer(await dial(f"tcp://127.0.0.1:{port}", TransportOptions(ENDPOINT)))


def test_an_accepted_peer_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """With its address, since an endpoint id is only claimed."""

    async def test(_node: Node, port: int) -> None:
        peer = await join(port)
        await peer.send(snapshot("notes:1"))
        await peer.leave()

    run(test)

    assert said(capsys) == [
        {
            "event": "accepted",
            "peer": ENDPOINT.hex(),
            "connection": 1,
            "dialled": False,
            "dialect": "open",
            "address": "127.0.0.1",
        }
    ]


@pytest.mark.parametrize(
    ("sent", "reason", "handshake_s"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "bad-magic", 600.0),
        (b"", "handshake-timeout", 0.05),
    ],
)
def test_a_caller_without_a_preamble_is_one_refusal(
    sent: bytes, reason: str, handshake_s: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """ER-018: counted too, although it was no connection yet."""

    async def test(node: Node, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        await reader.read()
        writer.close()
        assert node.statistics.refused == {reason: 1}

    run(test, Settings(Dialect.OPEN, heartbeat_s=0, handshake_s=handshake_s))

    assert said(capsys) == [{"event": "refused", "reason": reason, "address": "127.0.0.1"}]


def test_a_caller_that_leaves_by_itself_is_no_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    """As one that looks for open ports."""

    async def test(node: Node, port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
        peer = await join(port)
        await peer.send(snapshot("notes:1"))
        assert node.network._listeners[0].refused == 1
        assert not node.statistics.refused
        await peer.leave()

    run(test)

    assert [line["event"] for line in said(capsys)] == ["accepted"]


def test_a_fault_of_the_binding_is_one_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    """ER-018: after the preamble the connection has a number."""

    async def test(node: Node, port: int) -> None:
        peer = await join(port)
        credit = encode_control(LabRecordType.MAX_STREAM_DATA, 3 << 2 | 1, 7)
        peer.connection._carrier.write(credit)  # type: ignore[attr-defined]  # below the binding
        await peer.until(lambda: peer.closed is not None)
        assert node.statistics.refused == {"bad-stream": 1}

    run(test)

    assert said(capsys)[1:] == [
        {
            "event": "refused",
            "reason": "bad-stream",
            "peer": ENDPOINT.hex(),
            "connection": 1,
            "stream": "connection",
            "key": "",
            "times": 1,
        }
    ]


def test_a_lack_of_files_is_one_line_and_a_pause(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node lives, serves the peers that it has, and accepts again once there are files."""
    monkeypatch.setattr(constants, "ACCEPT_RETRY_DELAY", 0.01)
    accept, lacks = socket.socket.accept, asyncio.Event()
    refused = 0

    def accept_or_lack(listening: socket.socket) -> tuple[socket.socket, object]:
        nonlocal refused
        if lacks.is_set():
            refused += 1
            raise OSError(errno.EMFILE, "lopsided text of the system")
        return accept(listening)

    async def test(_node: Node, port: int) -> None:
        first = await join(port)
        lacks.set()
        waiting = asyncio.ensure_future(join(port))
        while not refused:
            await first.send(snapshot("notes:1"))
        assert not waiting.done()
        lacks.clear()
        second = await waiting
        assert await second.ask("notes:1") == {"by": 7}
        await first.leave()
        await second.leave()

    monkeypatch.setattr(socket.socket, "accept", accept_or_lack)
    run(test)

    assert [line["event"] for line in said(capsys)] == ["accepted", "accept-paused", "accepted"]


def test_what_the_loop_catches_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Not a traceback, which would wait for standard error; and once for the same."""

    async def test(_node: Node, _port: int) -> None:
        def fail() -> None:
            raise ValueError("a\nb\x7f\x1b")

        for _ in range(3):
            asyncio.get_running_loop().call_soon(fail)
        await all_wait()

    run(test)
    raw = capsys.readouterr().err

    assert raw.count("\n") == 1
    assert "\x7f" not in raw
    assert json.loads(raw)["why"] == "ValueError: a\nb\x7f\x1b"
