"""Conversations recorded with a deployed peer, given to the bundled node again."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from meshwire_conformance.documents.client import Documents
from meshwire_conformance.protocol.frame_content import take_frames
from meshwire_conformance.targets.attach import start_node
from meshwire_conformance.targets.transport import Connection, Dial, Stream
from meshwire_spec.codec import Message, encode, from_value
from meshwire_spec.numbers import READ_MESSAGE, FrameType

pytestmark = [pytest.mark.process, pytest.mark.socket]

RECORDED = Path(__file__).parent / "transcripts"
NODE = f"{sys.executable} -m meshwire_reference.cli run --listen tcp://127.0.0.1:0 --open"
DEADLINE_S = 600.0
"""Seconds after which a test hangs; nothing takes as long."""
PYTHON_EDIT_STREAM = 12


def load(name: str) -> dict[str, Any]:
    """A recorded conversation."""
    recorded: dict[str, Any] = json.loads((RECORDED / name).read_text(encoding="utf-8"))
    return recorded


def written(stream: dict[str, Any], direction: str) -> bytes:
    """Everything that one side wrote on a recorded stream."""
    lines = (line for line in stream["log"] if line["dir"] == direction)
    return b"".join(bytes.fromhex(line.get("hex", "")) for line in lines)


class Peer:
    """One connection to the node that writes recorded streams and reads documents back."""

    def __init__(self, identity: bytes) -> None:
        self.answers: asyncio.Queue[Message] = asyncio.Queue()
        self.dial = Dial(identity, on_stream=self._follow)
        self.connection: Connection | None = None

    def _follow(self, stream: Stream) -> None:
        stream.on_change = self._take

    def _take(self, stream: Stream) -> None:
        if stream.finished:
            for frame in take_frames(stream.received):
                self.answers.put_nowait(frame)

    async def write(self, data: bytes) -> Stream:
        """One stream with these bytes; returns once the node is through with it."""
        assert self.connection is not None
        stream = await self.connection.open()
        await stream.write(data)
        await stream.finish()
        assert await stream.wait_for(lambda: stream.read_over, DEADLINE_S)
        return stream

    async def read(self, key: str, documents: Documents) -> list[str]:
        """Heads of the node's document, from the first frame that carries it.

        Asked on a fresh connection: offer and answer alike then hold the whole document.
        """
        value = {"key": key, "type": int(FrameType.DELTA), "payload": READ_MESSAGE.hex()}
        await self.write(encode(from_value("stream_frame", value)))
        async with asyncio.timeout(DEADLINE_S):
            while (answer := await self.answers.get()).fields["key"] != key:
                pass
        look = {
            FrameType.DELTA: documents.read_message,
            FrameType.SNAPSHOT: documents.read_snapshot,
        }
        return list(look[FrameType(answer.fields["type"])](answer.fields["payload"]).heads)


async def replay(name: str, direction: str, opened_by: str, keys: list[str]) -> dict[str, Any]:
    """Writes every stream that one recorded side opened; the heads per key that the node ends with.

    A local edit of the other recorded side is given to the node by a second peer.
    """
    recorded = load(name)
    node = await start_node(NODE)
    try:
        peer, other = Peer(bytes.fromhex(recorded["setup"]["peer_id"])), Peer(b"\x5a" * 32)
        for each in (peer, other):
            each.connection = await node.dial(each.dial)
        for stream in sorted(recorded["streams"], key=lambda stream: float(stream["t_open"])):
            if stream["opened_by"] == opened_by:
                await peer.write(written(stream, direction))
            elif direction == "rx" and stream["stream"] == PYTHON_EDIT_STREAM:
                await other.write(written(stream, "tx"))
        reader = Peer(b"\x5b" * 32)
        reader.connection = await node.dial(reader.dial)
        with Documents() as documents:
            return {key: await reader.read(key, documents) for key in keys}
    finally:
        await node.close()


def test_the_deployed_peers_side_of_a_delta_exchange_ends_with_the_recorded_heads() -> None:
    """Transcript 02: three documents pushed by delta, one edited on each side afterwards."""
    events = load("02_delta_complete_from_peer.json")["events"]
    expected = {event["applied"]: event["heads"] for event in events if "applied" in event}

    heads = asyncio.run(replay("02_delta_complete_from_peer.json", "rx", "peer", sorted(expected)))

    assert expected == heads
    assert heads["notes:a"] == ["2742ea904e122da78e03dff47909e5526f7fa142dad0cb53abd2e0c33353a509"]


EXPLAINED = {
    # BT-006: an entry of type 0x0A is stepped over; the deployed peer loses the batch (D-05).
    "beacons:b16": "BT-006",
    "beacons:b17": "BT-006",
    # DC-014: a delta without changes creates nothing; the deployed peer stores it empty (D-58).
    "beacons:b25": "DC-014",
    "notes:n11": "DC-014",
}


def test_what_was_sent_to_a_deployed_peer_gives_its_documents_or_a_rule_says_why_not() -> None:
    """Transcript 05: snapshots and batches, odd ones among them."""
    events = load("05_snapshots_and_batches_to_peer.json")["events"]
    listed = next(event["list"] for event in events if "list" in event)
    deployed = dict(listed["r"]["keys"])
    batches = [f"beacons:b{number}" for number in range(9, 26)]
    keys = sorted({*deployed, *batches})

    heads = asyncio.run(replay("05_snapshots_and_batches_to_peer.json", "tx", "python", keys))

    differing = {
        key
        for key in keys
        if (key in deployed, deployed.get(key, [])) != (bool(heads[key]), heads[key])
    }
    assert set(EXPLAINED) == differing
    assert heads["beacons:b16"] == heads["beacons:b17"] == deployed["beacons:b18"]
    assert heads["beacons:b25"] == heads["notes:n11"] == []


HELD = ("d:0", "q:9")
"""The items of the recorded answering side, by the ids of its answer."""


async def replay_initiative() -> tuple[bytes, list[Message]]:
    """The three streams of transcript 08 written to a node; its answer, and what it sent since."""
    recorded = load("08_negentropy_peer_initiates.json")
    given = load("05_snapshots_and_batches_to_peer.json")["streams"]
    snapshot = next(
        frame.fields["payload"].hex()
        for stream in given
        for frame in take_frames(bytearray(written(stream, "tx")))
        if frame.fields["type"] == FrameType.SNAPSHOT
    )
    silenced, answered, pushed = (written(stream, "rx") for stream in recorded["streams"])
    node = await start_node(NODE)
    try:
        peer = Peer(bytes.fromhex(recorded["setup"]["peer_id"]))
        peer.connection = await node.dial(peer.dial)
        for key in HELD:
            value = {"key": key, "type": 1, "payload": snapshot}
            await peer.write(encode(from_value("stream_frame", value)))
        first = await peer.connection.open()
        await first.stop(0)
        await first.write(silenced)
        await first.finish()
        second = await peer.connection.open()
        await second.write(answered)
        assert await second.wait_for(lambda: len(second.received) >= ANSWER, DEADLINE_S)
        answer = bytes(second.received)
        await second.stop(0)
        await second.finish()
        assert await first.wait_for(lambda: first.read_over, DEADLINE_S)
        await peer.write(pushed)
        async with asyncio.timeout(DEADLINE_S):
            frames = [await peer.answers.get() for _ in range(2)]
        return answer, frames
    finally:
        await node.close()


ANSWER = 87
"""Bytes of the recorded answer, frame and all."""


def test_a_deployed_peer_that_reconciles_is_answered_as_it_was() -> None:
    """Transcript 08: the half of the first answer is stopped, the second is read, a batch follows.

    The batch names two documents without their changes (D-143); the node requests them.
    """
    events = load("08_negentropy_peer_initiates.json")["events"]
    recorded = next(event["tx_reply"] for event in events if "tx_reply" in event)

    answer, frames = asyncio.run(replay_initiative())

    assert answer.hex() == recorded
    assert sorted(frame.fields["key"] for frame in frames) == ["d:1", "d:2"]
    assert {frame.fields["type"] for frame in frames} == {int(FrameType.DELTA)}
