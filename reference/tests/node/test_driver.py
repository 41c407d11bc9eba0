"""The asyncio driver over the memory transport, with the real document worker."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import NoReturn

import pytest

from meshwire_reference.core.effects import Effect
from meshwire_reference.core.inputs import (
    ConnectionClosed,
    ConnectionInput,
    ConnectionOpened,
    Durable,
    Input,
    StreamData,
)
from meshwire_reference.core.settings import Dialect, Moment, Settings
from meshwire_reference.node.config import Config, endpoint_id_of
from meshwire_reference.node.driver import Node
from meshwire_reference.testing.author import author, read, snapshot
from meshwire_reference.testing.memory_transport import offer_memory
from meshwire_reference.testing.peer import Peer
from meshwire_reference.testing.serving import ADDRESS, LIMIT_S, join, memory_node, run, serving
from meshwire_reference.transport.base import (
    ConnectionGone,
    TransportOptions,
    Windows,
)
from meshwire_reference.transport.lab.link import LabLink
from meshwire_reference.transport.registry import dial
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_spec.numbers import LAB_MAX_STREAMS, REASONS, FrameType

pytestmark = pytest.mark.process

KEY = "beacons:b1"


def test_a_snapshot_is_merged_read_and_passed_on() -> None:
    """From one peer through the worker to another."""

    async def test(_node: Node) -> None:
        one, other = await join(2), await join(3)
        assert await one.ask(KEY) == {}
        await one.send(snapshot(KEY))
        assert await one.ask(KEY) == {"by": 7}
        await other.until(lambda: any(frame.key == KEY for frame in other.frames))
        await one.leave()
        await other.leave()

    run(test)


def test_a_late_peer_is_offered_everything() -> None:
    """However many documents, in batches."""

    async def test(_node: Node) -> None:
        one = await join(2)
        frames = [snapshot(f"notes:{number}") for number in range(60)]
        await one.send(*frames)
        late = await join(3)
        await late.until(lambda: len(late.frames) == 3)
        assert {frame.type for frame in late.frames} == {FrameType.BATCH}
        await one.leave()
        await late.leave()

    run(test)


def test_hostile_bytes_cost_one_stream() -> None:
    """A second peer is answered meanwhile, and the document is as it was."""

    async def test(node: Node) -> None:
        one, other = await join(2), await join(3)
        await one.send(snapshot(KEY))
        probes = b"\x42\x00\x00\x01\x00\x08\x01\x0a\xff\xff\xff\xff\x0f\x00\x00\x00\x02\x01\x02"
        stream = await one.send(StreamFrame(KEY, FrameType.DELTA, probes))
        assert one.ended[stream] in (
            REASONS["document-limit"].code,
            REASONS["bad-document"].code,
        )
        assert await other.ask(KEY) == {"by": 7}
        assert node.statistics.refused.total() == 1
        await one.leave()
        await other.leave()

    run(test)


def test_what_came_before_a_deadline_is_in_time_for_a_node_that_is_late() -> None:
    """The clock has gone on while the node did not run: it first takes what waits for it."""
    settings = Settings(Dialect.OPEN, heartbeat_s=0, frame_stall_s=1.0)

    async def test(_node: Node) -> None:
        peer = await join()
        data = encode_stream_frame(snapshot(KEY))
        stream = await peer.connection.open(bidi=True)
        await peer.connection.send(stream, data[:-1])
        # An answer shows that the node has taken the bytes before, and waits for the last one.
        await peer.ask("beacons:b2")
        await peer.connection.send(stream, data[-1:], fin=True)
        # It leaves before the clock goes on.
        assert isinstance(peer.connection, LabLink)
        peer.connection.resume_writing()
        loop = asyncio.get_running_loop()
        clock = loop.time
        vars(loop)["time"] = lambda: clock() + 2 * settings.frame_stall_s
        await peer.until(lambda: stream in peer.ended)
        assert peer.ended[stream] is None
        assert await peer.ask(KEY) == {"by": 7}
        await peer.leave()

    run(test, memory_node(settings))


def test_a_peer_without_credit_for_answers_holds_up_nothing() -> None:
    """TR-010: its own streams finish, and another peer is served."""

    async def test(_node: Node) -> None:
        deaf = await join(2, Windows(max_streams_bidi=0))
        for number in range(3 * LAB_MAX_STREAMS):
            await deaf.send(read(f"notes:{number}"))
        other = await join(3)
        assert await other.ask(KEY) == {}
        assert deaf.frames == []
        await deaf.leave()
        await other.leave()

    run(test)


def test_a_thousand_documents_in_one_burst_are_all_readable() -> None:
    """D-137: more answers than there is stream credit, both sides sending."""

    async def test(_node: Node) -> None:
        peer = await join(2)
        authors = [author(f"notes:{number}") for number in range(300)]
        streams = [
            await peer.push(StreamFrame(one.key, FrameType.DELTA, one.delta() or b""))
            for one in authors
        ]
        await peer.until(lambda: all(stream in peer.ended for stream in streams))
        assert await peer.ask("notes:299") == {"by": 7}
        await peer.leave()

    run(test)


def test_two_nodes_bring_each_other_together() -> None:
    """A node that dialled is a peer like any other."""

    async def test(node: Node) -> None:
        second = Node(Config(("memory://second",), Settings(Dialect.OPEN, heartbeat_s=0)))
        async with serving(second):
            peer = await join(2)
            await peer.send(snapshot("notes:n1", 3), snapshot("beacons:b1", 3))
            second.attach(await dial(ADDRESS, TransportOptions(b"\x05" * 32)))
            there = Peer(await dial("memory://second", TransportOptions(b"\x06" * 32)))
            keys = {"notes:n1": 3, "beacons:b1": 3}
            for key, actor in keys.items():
                await there.until(lambda key=key: mentions(there, key))  # type: ignore[misc]
                assert await there.ask(key) == {"by": actor}
            await there.leave()
            await peer.leave()
        assert len(node._links) <= 1

    run(test)


def mentions(peer: Peer, key: str) -> bool:
    """Say whether a peer has been sent a document in any way."""
    return any(key.encode() in encode_stream_frame(frame) for frame in peer.frames)


@pytest.mark.parametrize("kind", [ConnectionOpened, StreamData])
def test_a_mistake_of_the_core_closes_one_connection(
    kind: type, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `internal` and a line in the log; the node serves its other peers."""

    async def test(node: Node) -> None:
        other = await join(3)
        await other.send(snapshot(KEY))
        fail_once(node, kind, connection=2)
        one = await join(2)
        await one.push(read(KEY))
        await one._reading

        assert one.closed == ConnectionClosed(REASONS["internal"].code, "internal", by_peer=True)
        assert await other.ask(KEY) == {"by": 7}
        assert list(node._links) == [1]
        await other.leave()

    run(test)
    (line,) = failures(capsys)

    assert (line["at"], line["connection"]) == (kind.__name__, 2)
    assert line["why"] == "AssertionError: a mistake"
    assert "test_driver.py:" in str(line["where"])


def test_a_mistake_of_the_core_without_a_connection_ends_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Writing goes on, and the next report of the store includes the one that was lost."""

    async def test(node: Node) -> None:
        one = await join(2)
        failed = fail_once(node, Durable)
        await one.push(snapshot(KEY))
        await failed.wait()
        await one.send(snapshot("notes:n1"))

        assert await one.ask(KEY) == {"by": 7}
        await one.leave()

    run(test)
    (line,) = failures(capsys)

    assert (line["at"], line["connection"]) == ("Durable", None)


def test_an_effect_that_fails_closes_its_connection(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The effects after it are carried out."""

    async def test(node: Node) -> None:
        one, other = await join(2), await join(3)
        await other.send(snapshot(KEY))
        monkeypatch.setattr(node._links[1], "perform", mistake)
        await one.push(read(KEY))
        await one._reading

        assert one.closed is not None
        assert await other.ask(KEY) == {"by": 7}
        await other.leave()

    run(test)

    assert {line["connection"] for line in failures(capsys)} == {1}


def mistake(*_arguments: object) -> NoReturn:
    """Fail as code with a mistake does."""
    raise AssertionError("a mistake")


def fail_once(node: Node, kind: type, connection: int | None = None) -> asyncio.Event:
    """Make the core of a node fail at the first input or event of this kind; return when it did."""
    handle = node._core.handle
    failed = asyncio.Event()
    left = [kind]

    def failing(happened: Input, now: Moment) -> list[Effect]:
        what = happened.event if isinstance(happened, ConnectionInput) else happened
        is_wanted = connection in (None, getattr(happened, "connection", None))
        if type(what) in left and is_wanted:
            left.clear()
            failed.set()
            mistake()
        return handle(happened, now)

    node._core.handle = failing  # type: ignore[method-assign]  # a core with a mistake
    return failed


def failures(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """Return the lines of the log about mistakes of the node."""
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in lines if line["event"] == "failed"]


def test_the_end_of_the_node_is_orderly() -> None:
    """Every peer receives a close with code 0, and nothing is left running."""

    async def whole() -> None:
        node = memory_node(Settings(Dialect.OPEN, heartbeat_s=0.01))
        async with asyncio.timeout(LIMIT_S):
            await node.start()
            peer = await join(2)
            await peer.send(snapshot(KEY))
            await node.close()
            with suppress(ConnectionGone):
                await peer._reading
        assert peer.closed is not None
        assert peer.closed.code == 0
        assert peer.closed.by_peer
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(whole())


def test_the_endpoint_key_of_the_configuration_is_the_id_that_peers_see() -> None:
    """TR-028: also over a transport that does not prove it."""
    offer_memory()
    config = Config((ADDRESS,), Settings(Dialect.OPEN), endpoint_key=b"\x05" * 32)

    async def test(_node: Node) -> None:
        peer = await join(2)
        assert peer.connection.peer_id == endpoint_id_of(b"\x05" * 32)
        await peer.leave()

    run(test, Node(config))


def test_an_address_that_cannot_be_bound_leaves_nothing_behind() -> None:
    """The worker that was started before is ended too."""

    async def whole() -> None:
        node = Node(Config(("tcp://no-such-host:1",), Settings(Dialect.OPEN)))
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(Exception, match="no-such-host"):
                await node.start()
            await node.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(whole())
