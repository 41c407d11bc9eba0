"""Recordings of a deployed peer, played to a node over every transport of streams, in both roles.

The deployed side of a recording is played as it was written: its bytes, in its order, each stream
with its FIN and STOP. Where a script spoke to a deployed peer its side is played too: then the node
stands in the place of the deployed peer. The messages of a fresh exchange depend on nothing that
was said before it, so they can be played to a live node; the node's answers are its own.

| Recording | Deployed side | Side of the script |
| --- | --- | --- |
| 01, 02, 04, 08, 09 | here | the node; the edit in stream 12 of 02 comes from a second peer |
| 05, 06, 12 | here | here |
| 07 | here, up to the second run, since a node begins one on a connection | here |
| 11 | wrote nothing | here, but the second stream, whose bytes were not written down |
| 13 to 16 | `test_recorded_handshakes.py` | there |
| 20 | here | no: marker records on the answering half of a channel, and a node has none |

Not played: 17, which has no streams, only what a process reserved (its messages are vectors and
cases of their own); 18 and 19, since enrollment and certificates are no part of `sync/1`. The
numbers 03 and 10 do not exist. One key of 65535 bytes in 12 was cut, and is made whole here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet

from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node import driver
from meshwire_reference.node.config import Config
from meshwire_reference.testing.author import author, file_name
from meshwire_reference.testing.memory_transport import offer_memory
from meshwire_reference.testing.recordings import Player, RecordedPeer, Recording, Staging, load
from meshwire_reference.testing.serving import LIMIT_S
from meshwire_reference.testing.watched import DocumentsHere, WatchedNode
from meshwire_reference.transport.base import TransportOptions
from meshwire_reference.transport.registry import dial, listen
from meshwire_reference.wire.batches import (
    StreamFrame,
    SyncBatch,
    decode_sync_batch,
    encode_stream_frame,
)
from meshwire_reference.wire.frames import FrameReader
from meshwire_spec.numbers import REASONS, FrameType

pytestmark = pytest.mark.socket

OPTIONS: Final = TransportOptions(b"\x77" * 32, secret_key=b"\x78" * 32)
BESIDE: Final = TransportOptions(b"\x5a" * 32)
LIBRARIES: Final = {"tcp": None, "quic": "aioquic", "iroh": "iroh"}
"""Transports that other processes can use, with the library of each."""
OPEN: Final = Settings(Dialect.OPEN, heartbeat_s=0)
MEMORY: Final = "memory://beside"
REASON_OF: Final[Mapping[int | None, str]] = {row.code: name for name, row in REASONS.items()}
FIN: Final = "FIN"


@dataclass(frozen=True)
class Way:
    """A transport, and the role of the node on it."""

    scheme: str
    dials: bool

    @property
    def address(self) -> str:
        """Where one side listens."""
        return f"{self.scheme}://127.0.0.1:0"


def ways() -> list[ParameterSet]:
    """Return every transport and role; those without their library are skipped."""
    found = []
    for (scheme, library), dials in product(LIBRARIES.items(), (False, True)):
        missing = library is not None and find_spec(library) is None
        marks = [pytest.mark.skipif(missing, reason=f"no extra {scheme}")]
        name = f"{scheme}-{'dials' if dials else 'accepts'}"
        found.append(pytest.param(Way(scheme, dials), id=name, marks=marks))
    return found


WAYS = pytest.mark.parametrize("way", ways())


@pytest.fixture(autouse=True)
def _documents_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes of this module have their documents in this process."""
    offer_memory()
    monkeypatch.setattr(driver, "Documents", DocumentsHere)


@asynccontextmanager
async def joined(
    way: Way, config: Config | None = None, wall_ms: int | None = None
) -> AsyncIterator[tuple[WatchedNode, RecordedPeer]]:
    """Connect a node and a recorded peer; in the end the node must serve another peer."""
    listener = await listen(way.address, OPTIONS) if way.dials else None
    connect = (listener.address,) if listener is not None else ()
    given = config or Config((), OPEN)
    node = WatchedNode(replace(given, listen=(way.address, MEMORY), connect=connect))
    try:
        async with asyncio.timeout(LIMIT_S):
            if wall_ms is not None:
                node.clock.set_wall(wall_ms)
            await node.start()
            if listener is not None:
                peer = RecordedPeer(await listener.accept())
                await listener.close()
            else:
                peer = RecordedPeer(await dial(node.addresses[0], OPTIONS))
            yield node, peer
            await serves_another(node)
            assert peer.closed is None
            await peer.leave()
    finally:
        await node.close()


async def beside() -> RecordedPeer:
    """Another peer of the node, within this process."""
    return RecordedPeer(await dial(MEMORY, BESIDE))


async def write(peer: RecordedPeer, data: bytes) -> None:
    """Write a stream and wait until the node has finished its half."""
    stream = await peer.connection.open(bidi=True)
    await peer.connection.send(stream, data, fin=True)
    await peer.until(lambda: stream in peer.heard and peer.heard[stream].is_over)
    assert peer.heard[stream].code is None


async def serves_another(node: WatchedNode) -> None:
    """A second peer writes a document, and the node has it."""
    peer, key = await beside(), "probes:last"
    frame = StreamFrame(key, FrameType.SNAPSHOT, author(key).snapshot())
    await write(peer, encode_stream_frame(frame))
    assert await node.fields(key) == {"by": 7}
    await peer.leave()


def frames_of(recording: Recording, side: str) -> list[StreamFrame]:
    """Return the frames that a side wrote, in the order of its streams."""
    written = (recording.written(stream, side) for stream in recording.streams(side))
    return [frame for data in written for frame in FrameReader(known_types=None).feed(data)]


def snapshots_of(recording: Recording, side: str) -> dict[str, bytes]:
    """Return the documents that a side wrote as snapshots, entries of batches included."""
    found: dict[str, bytes] = {}
    for frame in frames_of(recording, side):
        is_batch = frame.type == FrameType.BATCH
        entries = decode_sync_batch(frame.payload).entries if is_batch else (frame,)
        found |= {one.key: one.payload for one in entries if one.type == FrameType.SNAPSHOT}
    return found


def holding(folder: Path, documents: Mapping[str, bytes]) -> Config:
    """Return the configuration of a node that has these documents from the start."""
    for key, saved in documents.items():
        (folder / file_name(key)).write_bytes(saved)
    return Config((), OPEN, folder=folder)


def run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a test on a loop of its own."""
    asyncio.run(test())


# --- deltas, snapshots, batches -------------------------------------------------------------------


@WAYS
def test_01_first_messages_are_answered_and_store_nothing(way: Way) -> None:
    """Recorded without an answer: each asks for the change that was announced (DC-011, DC-014)."""
    heads = [frame.payload[2:34] for frame in frames_of(load("01"), "rx")]

    async def test() -> None:
        async with joined(way) as (node, peer):
            player = Player(peer, load("01"))
            await player.play()
            await peer.until(lambda: len(peer.frames) >= 3)
            await node.settled(player.played_bytes)

            assert sorted(frame.key for frame in peer.frames) == ["notes:a", "notes:b", "notes:c"]
            # No heads, and one change that is asked for.
            asked = {frame.payload[1:35] for frame in peer.frames}
            assert asked == {b"\x00\x01" + head for head in heads}
            assert not node.keys
            assert not node.statistics.refused

    run(test)


@WAYS
def test_02_a_whole_exchange_has_the_recorded_messages_and_heads(way: Way) -> None:
    """Three documents, an edit of one by this side, of another by the deployed peer.

    The script answered with the library alone. The node sends the same bytes, and one message more:
    after a confirmation, since such a peer counts silence as a failure (DC-060, D-169).
    """
    recording = load("02")
    recorded = dict(zip(recording.events("applied"), recording.events("heads"), strict=True))
    answers = [(frame.key, frame.payload) for frame in frames_of(recording, "tx")]

    async def test() -> None:
        async with joined(way) as (node, peer):
            other = await beside()

            async def edit() -> None:
                await write(other, recording.written(12, "tx"))

            player = Player(peer, recording, staging=Staging(acts={12: edit}))
            await player.play()
            await node.settled(player.played_bytes)
            await peer.until(lambda: len(peer.frames) > len(answers))

            sent = Counter((frame.key, frame.payload) for frame in peer.frames)
            assert {key: await node.heads(key) for key in recorded} == recorded
            assert await node.fields("notes:a") == {"f": "value-a", "g": "from python"}
            assert await node.fields("notes:b") == {"f": "value-b", "h": "from rust"}
            assert not Counter(answers) - sent
            assert [key for key, _ in sent - Counter(answers)] == ["notes:a"]
            assert not node.statistics.refused
            await other.leave()

    run(test)


@WAYS
def test_04_snapshots_and_batches_take_effect_and_a_key_without_colon_does_not(way: Way) -> None:
    """The same two documents come as frames, in a batch, and again with the full sync."""
    recording = load("04")

    async def test() -> None:
        async with joined(way) as (node, peer):
            player = Player(peer, recording)
            await player.play()
            await node.settled(player.played_bytes)
            await peer.until(lambda: peer.sent()[0, "notes:n1"] >= 1)

            assert set(node.keys) == {"beacons:b1", "track_history:t1"}
            assert await node.fields("beacons:b1") == {"p": "1"}
            # Sent back to nobody (DC-031), and again without a change (DC-021).
            assert {key for _, key in peer.sent()} == {"notes:n1"}
            assert node.statistics.refused == {"bad-key": 1}

    run(test)


@WAYS
def test_05_a_peer_that_asks_for_what_the_node_lacks_gets_nothing_without_end(
    way: Way, tmp_path: Path
) -> None:
    """The deployed peer answers two first messages, whose changes only the script had."""
    recording = load("05")
    held = snapshots_of(recording, "tx")
    documents = {key: saved for key, saved in held.items() if key != "beacons:bad"}

    async def test() -> None:
        async with joined(way, holding(tmp_path, documents)) as (node, peer):
            player = Player(peer, recording, staging=Staging(awaits=False))
            await player.play()
            await node.settled(player.played_bytes)
            await peer.until(lambda: peer.sent()[7, "batch"] and peer.sent()[0, "beacons:b25"])

            assert set(node.keys) == set(documents)
            assert set(snapshots_of_frames(peer.frames)) == {*documents} - {"notes:n12"}
            assert node.statistics.sent_frames[FrameType.DELTA] <= 3
            assert not node.statistics.refused

    run(test)


def snapshots_of_frames(frames: list[StreamFrame]) -> list[str]:
    """Return the keys of all snapshots in batches."""
    batches = [decode_sync_batch(one.payload) for one in frames if one.type == FrameType.BATCH]
    return [
        entry.key for one in batches for entry in one.entries if entry.type == FrameType.SNAPSHOT
    ]


@WAYS
def test_05_what_a_deployed_peer_got_ends_every_stream_in_fin(way: Way) -> None:
    """Odd batches among it: entries that have no place in one are skipped, the rest takes effect.

    `captured/test_replay.py` compares the heads with those of the deployed peer.
    """
    recording = load("05")
    documents = {*snapshots_of(recording, "tx")} - {"beacons:bad"}

    async def test() -> None:
        async with joined(way) as (node, peer):
            player = Player(peer, recording, "tx", Staging(awaits=False, reads=True))
            await player.play()

            assert len(player.ends) == 15
            assert set(player.ends.values()) == {None}
            assert set(node.keys) == documents
            skipped = {"entry skipped: unknown-type": 3, "entry skipped: bad-document": 1}
            assert node.statistics.ignored == skipped

    run(test)


# --- tombstones -----------------------------------------------------------------------------------

AT_MS: Final = 1_700_000_001_000
"""A moment at which the recorded tombstones have not expired."""
BURIED: Final = ("alerts:doc-3", "cells:doc-1", "tracks:doc-0")
BURIED_BY_SCRIPT: Final = ("tracks:future", "tracks:maxt", "tracks:x1")


@WAYS
def test_06_tombstones_of_a_deployed_peer_are_kept_and_guard_what_it_sends(way: Way) -> None:
    """It sends four, all again as a batch, and in the end a document that it had to delete.

    Between them the script writes to a second connection what it wrote to the deployed peer.
    """
    recording = load("06")

    async def test() -> None:
        async with joined(way, wall_ms=AT_MS) as (node, peer):
            other = await beside()

            async def tell() -> None:
                await node.settled(peer_bytes(recording, 4))
                await Player(other, recording, "tx", Staging(awaits=False, reads=True)).play()

            player = Player(peer, recording, staging=Staging(acts={5: tell}, awaits=False))
            await player.play()
            # The document that returns is guarded, and the tombstone goes back (TS-041).
            await peer.until(lambda: peer.sent()[4, "tombstones:tracks:x1"] == 3)

            assert all(node.tombstone_expires_ms(key) for key in (*BURIED, *BURIED_BY_SCRIPT))
            assert node.tombstones == len(BURIED) + len(BURIED_BY_SCRIPT)
            assert set(node.keys) == {"audit_logs:x2", "notes:x3"}
            ignored = node.statistics.ignored
            # Each came alone and again in the batch, that of `alerts` with another direction there
            # (D-146); `commands` is deleted otherwise (TS-031).
            assert ignored["tombstone: duplicate"] == len(BURIED) - 1
            assert ignored["tombstone: lesser"] == 1
            assert ignored["tombstone: policy"] == 4
            assert {key for kind, key in peer.sent() if kind == FrameType.TOMBSTONE} == {
                f"tombstones:{key}" for key in BURIED_BY_SCRIPT
            }
            await other.leave()

    run(test)


def peer_bytes(recording: Recording, last: int) -> int:
    """Return how many bytes the deployed side wrote on streams up to a number."""
    return sum(
        len(recording.written(stream))
        for stream, (is_own, _) in recording.streams().items()
        if is_own and stream <= last
    )


@WAYS
def test_06_what_a_deployed_peer_got_deletes_by_the_policy_of_the_collection(
    way: Way,
) -> None:
    """A deployed peer deleted all but `nocolon` (D-73), and kept the lesser of two (D-71)."""
    recording = load("06")

    async def test() -> None:
        async with joined(way, wall_ms=AT_MS) as (node, peer):
            player = Player(peer, recording, "tx", Staging(awaits=False, reads=True))
            await player.play()
            await peer.until(lambda: peer.sent()[4, "tombstones:tracks:x1"] == 1)

            ends = {stream: REASON_OF.get(code, FIN) for stream, code in player.ends.items()}
            assert {stream for stream, end in ends.items() if end != FIN} == {8}
            assert ends[8] == "bad-key"
            assert set(node.keys) == {"audit_logs:x2", "notes:x3"}
            assert node.tombstones == len(BURIED_BY_SCRIPT)
            # The greater one, which a reader of the document gets (TS-004, DC-005).
            assert b"newer" in peer.frames[-1].payload
            assert node.statistics.ignored["tombstoned"] == 3
            assert node.statistics.ignored["type 0x06"] == 1

    run(test)


@WAYS
def test_06_tombstones_long_past_their_lifetime_delete_nothing(way: Way) -> None:
    """A deployed peer offers its whole table at every poll, whatever its age (TS-032, D-75)."""
    recording = load("06")
    streams = tuple(range(5))

    async def test() -> None:
        async with joined(way, wall_ms=AT_MS + 10 * 86_400_000) as (node, peer):
            other = await beside()
            key = "tracks:doc-0"
            frame = StreamFrame(key, FrameType.SNAPSHOT, author(key).snapshot())
            await write(other, encode_stream_frame(frame))
            player = Player(peer, recording, staging=Staging(only=streams))
            await player.play()
            await node.settled(player.played_bytes)

            assert await node.fields(key) == {"by": 7}
            assert not node.tombstones
            assert node.statistics.ignored == {"tombstone: expired": 6, "tombstone: policy": 2}
            await other.leave()

    run(test)


# --- reconciliation -------------------------------------------------------------------------------

HELD_BY_SCRIPT: Final[Mapping[str, tuple[str, ...]]] = {
    "07_negentropy_empty_vs_3": (),
    "07_negentropy_have_2_others": ("d:0", "q:1", "q:2"),
    "07_negentropy_same_3": ("d:0", "d:1", "d:2"),
    "07_negentropy_100_at_0_vs_40_docs": tuple(f"d:{number}" for number in range(100)),
    "07_negentropy_40_id_list_vs_40": tuple(f"d:{number}" for number in range(40)),
}
"""The keys of the items of the script, by recording."""
ID_LIST: Final = "07_negentropy_40_id_list_vs_40"
"""The script sent a list of ids, where a node sends fingerprints."""
HELD_BY_PEER: Final[Mapping[str, int]] = {
    "07_negentropy_100_at_0_vs_40_docs": 40,
    "07_negentropy_40_id_list_vs_40": 40,
}
"""How many documents the deployed peer had, where they were not three."""


def documents(keys: tuple[str, ...]) -> dict[str, bytes]:
    """Return a document for each key."""
    return {key: author(key).snapshot() for key in keys}


@WAYS
@pytest.mark.parametrize("name", HELD_BY_SCRIPT)
def test_07_a_run_that_a_deployed_peer_ends_gives_way_to_the_offer(
    name: str, way: Way, tmp_path: Path
) -> None:
    """The first message is the recorded one; the answer is none, or of times that differ (D-88).

    Everything is offered then (NG-027), and what the peer offers by heads alone is asked for.
    """
    recording, keys = load(name), HELD_BY_SCRIPT[name]
    is_run = [number for number, (is_own, _) in recording.streams().items() if not is_own]
    streams = [number for number in recording.streams() if number < is_run[1]]
    config = replace(holding(tmp_path, documents(keys)), reconcile=True)
    pushed = [entry.key for batch in batches_of(recording, streams) for entry in batch.entries]

    async def test() -> None:
        async with joined(way, config) as (node, peer):
            player = Player(peer, recording, staging=Staging(only=streams))
            await player.play()
            await node.settled(player.played_bytes)
            wanted = {*keys, *pushed}
            await peer.until(lambda: wanted <= keys_of(peer.frames))

            assert (frames_of(recording, "tx")[0] in peer.frames) is (name != ID_LIST)
            assert peer.sent()[8, "_negentropy"] == 1
            assert node.statistics.runs["incomplete"] == 1
            assert set(node.keys) == set(keys)
            assert not node.statistics.refused

    run(test)


def batches_of(recording: Recording, streams: list[int]) -> list[SyncBatch]:
    """Return the batches that the deployed peer wrote on these streams."""
    written = (recording.written(stream) for stream in streams)
    frames = [frame for data in written for frame in FrameReader().feed(data)]
    return [decode_sync_batch(one.payload) for one in frames if one.type == FrameType.BATCH]


def keys_of(frames: list[StreamFrame]) -> set[str]:
    """Return the keys of documents in frames, those in batches included."""
    return {one.key for one in frames} | {
        entry.key
        for one in frames
        if one.type == FrameType.BATCH
        for entry in decode_sync_batch(one.payload).entries
    }


@WAYS
@pytest.mark.parametrize("name", HELD_BY_SCRIPT)
def test_07_what_a_deployed_peer_was_asked_is_answered_on_its_stream(
    name: str, way: Way, tmp_path: Path
) -> None:
    """Both first messages are, where the deployed peer was silent or answered by its own times."""
    recording = load(name)
    keys = tuple(f"d:{number}" for number in range(HELD_BY_PEER.get(name, 3)))

    async def test() -> None:
        async with joined(way, holding(tmp_path, documents(keys))) as (node, peer):
            player = Player(peer, recording, "tx", Staging(awaits=False, reads=True))
            await player.play()
            first, second = player.live
            await peer.until(lambda: player.heard_on(first).data == player.heard_on(second).data)

            (answer,) = FrameReader().feed(player.heard_on(second).data)
            assert answer.type == FrameType.NEGENTROPY_RESPONSE
            assert player.ends == {second: None}
            if name in HELD_BY_PEER:
                assert answer.payload.count(b"\x02") >= 1
            else:
                ids = sorted(sha256(key.encode()).digest() for key in keys)
                assert answer.payload == b"\x61\x00\x00\x02\x03" + b"".join(ids)
            assert node.statistics.runs["served"] == 2

    run(test)


@WAYS
def test_08_a_deployed_peer_that_reconciles_is_answered_as_it_was(way: Way, tmp_path: Path) -> None:
    """It stops the half of the first answer, reads the second, and pushes what the node lacks."""
    recording = load("08")
    recorded = bytes.fromhex(recording.events("tx_reply")[0])
    config = holding(tmp_path, documents(("d:0", "q:9")))
    staging = Staging(answers={1: len(recorded)})

    async def test() -> None:
        async with joined(way, config) as (node, peer):
            player = Player(peer, recording, staging=staging)
            await player.play()
            await node.settled(player.played_bytes)
            await peer.until(lambda: {"d:1", "d:2"} <= {frame.key for frame in peer.frames})

            assert player.heard_on(1).data == recorded
            assert set(node.keys) == {"d:0", "q:9"}
            assert not node.statistics.refused

    run(test)


# --- heartbeats, channels, hostile frames ---------------------------------------------------------


@WAYS
def test_09_heartbeats_are_taken_and_a_delta_beside_them_is_answered(way: Way) -> None:
    """Two uni streams, then a bidi one."""

    async def test() -> None:
        async with joined(way) as (node, peer):
            player = Player(peer, load("09"))
            await player.play()
            await node.settled(player.played_bytes)
            await peer.until(lambda: peer.sent() == {(0, "n:0"): 1})

            assert node.statistics.heartbeats == 2
            assert not node.statistics.refused

    run(test)


@WAYS
def test_11_two_frames_on_one_stream_both_take_effect(way: Way) -> None:
    """A deployed peer kept the first (D-15)."""

    async def test() -> None:
        async with joined(way) as (node, peer):
            staging = Staging(awaits=False, reads=True, only=(0,))
            player = Player(peer, load("11"), "tx", staging)
            await player.play()

            assert player.ends == {0: None}
            assert set(node.keys) == {"beacons:m0", "beacons:m1"}

    run(test)


HOSTILE: Final[Mapping[str, str]] = {
    "unknown type 0x02": FIN,
    "bad utf-8 key": "bad-utf8",
    "empty key snapshot": "length-limit",
    "empty key delta": "length-limit",
    "key with NUL": "bad-key",
    "key batch with type 1": "bad-key",
    "type 7 with key x:y": FIN,
    "type 4 with junk": "truncated",
    "type 5 with junk": "truncated",
    "type 7 with junk": "truncated",
    "type 8 with junk": "bad-version",
    "type 8 version 0x60": FIN,
    "type 9 without session": "unexpected-message",
    "type 0 with junk": "bad-document",
    "type 0 empty payload": "bad-document",
    "type 1 with junk": "bad-document",
    "type 1 empty payload": FIN,
    "truncated: only 1 byte then FIN": "truncated",
    "truncated header then FIN": "truncated",
    "truncated payload then FIN": "truncated",
    "empty stream FIN": FIN,
    "trailing byte after the frame": "truncated",
    "key length 65535": "length-limit",
    "snapshot of two concatenated docs": FIN,
    "snapshot = bare change chunk": FIN,
}
"""How the node ends the stream of a case; other unknown types are refused as such."""


def whole_hostile() -> Recording:
    """Return recording 12 with the frame that was cut: a long key before a document of its own."""
    recording = load("12")
    streams = [
        stream | {"log": [line | {"hex": whole_frame(line)} for line in stream["log"]]}
        if stream.get("case") == "key length 65535"
        else stream
        for stream in recording.content["streams"]
    ]
    return Recording(recording.name, {**recording.content, "streams": streams})


def whole_frame(line: Mapping[str, str]) -> str:
    """Return a line's bytes, made whole where they were cut."""
    text = line.get("hex", "")
    if "..." not in text:
        return text
    document = author("a:b").snapshot()
    return (b"\xff\xff" + b"k" * 65535 + b"\x01" + len(document).to_bytes(4) + document).hex()


@WAYS
def test_12_hostile_frames_end_in_the_code_of_their_reason(way: Way) -> None:
    """A deployed peer finished each of these streams, and stored what has no valid key."""
    recording = whole_hostile()
    cases = {stream["stream"]: stream.get("case") for stream in recording.content["streams"]}

    async def test() -> None:
        async with joined(way) as (node, peer):
            player = Player(peer, recording, "tx", Staging(awaits=False, reads=True))
            await player.play()

            ends = {cases[stream]: REASON_OF.get(code, FIN) for stream, code in player.ends.items()}
            unknown = {case for case in ends if case not in HOSTILE}
            assert {case: ends[case] for case in HOSTILE} == HOSTILE
            assert {ends[case] for case in unknown} == {"unknown-type"}
            assert len(unknown) == 11
            assert set(node.keys) == {"beacons:viax", "a:trail", "a:two", "a:chg"}

    run(test)


@WAYS
def test_12_keys_that_a_deployed_peer_stored_are_refused_and_skipped(way: Way) -> None:
    """It answers for the empty key, and later pushes a batch of all that it has."""

    async def test() -> None:
        async with joined(way) as (node, peer):
            player = Player(peer, load("12"), staging=Staging(awaits=False))
            await player.play()
            await node.settled(player.played_bytes)

            assert node.keys == ("beacons:viax",)
            assert node.statistics.refused == {"length-limit": 1}
            skipped = {"entry skipped: bad-key": 2, "entry skipped: length-limit": 1}
            assert node.statistics.ignored == skipped

    run(test)


@WAYS
def test_20_a_channel_stays_open_and_all_of_its_batches_take_effect(way: Way) -> None:
    """Its second batch came on the same stream after 45 seconds; the node writes nothing there."""

    async def test() -> None:
        async with joined(way) as (node, peer):
            player = Player(peer, load("20"), staging=Staging(awaits=False))
            await player.play()
            await node.settled(player.played_bytes, open_streams=1)

            assert set(node.keys) == {"beacons:b", "beacons:c"}
            assert player.live[0] not in peer.heard
            assert not peer.frames

    run(test)
