"""A deployed peer that lives: a node of peat-mesh as it was measured, on a transport of streams.

It pushes its whole store at every poll, counts what its library has nothing to say about as a
failure and stops sending for good after five of them (D-49, D-50). Each accepted stream has a
handler, which reads one frame and holds both halves until the answer has got a stream (D-137). It
sends no heartbeats and accepts none (D-19).
"""

from __future__ import annotations

import asyncio
import hmac
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from automerge.core import ROOT, Document, Message, ScalarType, SyncState

from meshwire_reference.core.inputs import StreamData, StreamId, StreamOpened
from meshwire_reference.core.state.policy import PUBLISHED
from meshwire_reference.testing.progress import Progress
from meshwire_reference.transport.base import Connection, ConnectionGone, StreamGone
from meshwire_reference.wire.batches import (
    StreamFrame,
    SyncBatch,
    SyncEntry,
    decode_sync_batch,
    encode_stream_frame,
    encode_sync_batch,
)
from meshwire_reference.wire.frames import FrameReader
from meshwire_reference.wire.tombstones import decode_tombstone
from meshwire_spec.numbers import FrameType

FAILURES_MAX: Final = 5
BATCH_ENTRIES: Final = 20
NAME: Final = b"stock-mesh"
SECRET: Final = b"\x21" * 32
NONCE: Final = bytes(range(101, 133))
CHALLENGE: Final = struct.pack("<IH", 34 + len(NAME), len(NAME)) + NAME
VERSION: Final = b"\x01"
ACCEPTED: Final = b"\x01"


def response(nonce: bytes) -> bytes:
    """Return the length and HMAC-SHA256 over nonce and formation id, as a connector of H2 does."""
    extracted = hmac.digest(NAME, SECRET, sha256)
    key = hmac.digest(extracted, b"peat-protocol-v1-formation\x01", sha256)
    return struct.pack("<I", 32) + hmac.digest(key, nonce + NAME, sha256)


@dataclass(slots=True)
class StreamHeard:
    """What has come on a stream."""

    reader: FrameReader = field(default_factory=lambda: FrameReader(known_types=None))
    data: bytes = b""
    is_taken: bool = False


class StockPeer:
    """A store with its sync states and breaker, and one connection after the other.

    With `echoes` it sends each document that it has applied back in a batch (D-55).
    """

    def __init__(self, *, echoes: bool = False, keeps_tombstones: bool = True) -> None:
        self.documents: dict[str, Document] = {}
        self.tombstones: dict[str, bytes] = {}
        self.progress = Progress()
        self.is_broken = False
        self.frames: list[StreamFrame] = []
        """Frames of the node, in the order in which they came."""
        self.sent_bytes = self.taken_bytes = 0
        self.uni: set[StreamId] = set()
        """Uni streams of the node, none of which is accepted."""
        self.probes = 0
        """Streams of the node without a frame."""
        self._echoes = echoes
        self._keeps_tombstones = keeps_tombstones
        self._states: dict[str, SyncState] = {}
        self._failures = 0
        self._connection: Connection | None = None
        self._handshake: StreamId | None = None
        self._heard: dict[StreamId, StreamHeard] = {}
        self._handlers: set[asyncio.Task[None]] = set()
        self._reading: asyncio.Task[None] | None = None

    # --- its user and its polls ------------------------------------------------------------------

    def write(self, key: str, value: int) -> None:
        """Write locally, which clears the state of the document."""
        document = self.documents.setdefault(key, Document(b"\x07" * 16))
        with document.transaction() as transaction:
            transaction.put(ROOT, "n", ScalarType.Int, value)
        self._states.pop(key, None)

    def heads(self, key: str) -> list[str]:
        """Return the heads of a document in hex, none where there is no such document."""
        document = self.documents.get(key)
        return [] if document is None else [head.hex() for head in document.get_heads()]

    async def poll(self) -> None:
        """Push every document, snapshots first, then the table of tombstones."""
        for key in sorted(self.documents, key=_is_delta):
            await self.push(key)
        if self.tombstones:
            held = [len(one).to_bytes(4) + one for one in self.tombstones.values()]
            payload = len(held).to_bytes(4) + b"".join(held)
            await self.send(StreamFrame("tombstones:batch", FrameType.TOMBSTONE_BATCH, payload))

    async def push(self, key: str) -> None:
        """Push a document; a message that the library does not make is a failure (D-50)."""
        if self.is_broken:
            return
        if not _is_delta(key):
            await self.send(StreamFrame(key, FrameType.SNAPSHOT, self.documents[key].save()))
            return
        state = self._states.setdefault(key, SyncState())
        message = _next_message(self.documents[key], state)
        self._failures = self._failures + 1 if message is None else 0
        self.is_broken = self._failures >= FAILURES_MAX
        if message is not None:
            await self.send(StreamFrame(key, FrameType.DELTA, message.encode()))

    def batches(self, keys: Iterable[str]) -> list[StreamFrame]:
        """Return batches of documents, whose deltas have heads alone (D-143)."""
        entries = [self._entry(key) for key in keys]
        parts = [
            tuple(entries[at : at + BATCH_ENTRIES]) for at in range(0, len(entries), BATCH_ENTRIES)
        ]
        batches = [
            SyncBatch(number, 1_700_000_000_000, 5, len(part), part)
            for number, part in enumerate(parts, 1)
        ]
        return [StreamFrame("batch", FrameType.BATCH, encode_sync_batch(one)) for one in batches]

    def _entry(self, key: str) -> SyncEntry:
        if not _is_delta(key):
            return SyncEntry(key, FrameType.SNAPSHOT, self.documents[key].save())
        self._states.pop(key, None)
        message = _next_message(self.documents[key], SyncState())
        assert message is not None, "a fresh state always has something to say"
        return SyncEntry(key, FrameType.DELTA, message.encode())

    async def hear_elsewhere(self, frame: StreamFrame) -> None:
        """Take a frame of a third node; the answer goes to the node at hand."""
        await self._apply(frame)

    # --- its connection --------------------------------------------------------------------------

    def serve(self, connection: Connection) -> None:
        """Serve a connection; the states of one before it are gone, the breaker is not."""
        self._connection = connection
        self._states.clear()
        self._heard.clear()
        self.uni.clear()
        self._reading = asyncio.create_task(self._read(connection))

    async def leave(self) -> None:
        """Close the connection with code 0, as a peer that recycles it."""
        assert self._connection is not None, "it has a connection"
        assert self._reading is not None, "it has a connection"
        await self._connection.close(0)
        await self._reading

    @property
    def is_idle(self) -> bool:
        """True if no handler is at work."""
        return not self._handlers

    async def send(self, frame: StreamFrame) -> None:
        """Send a frame on a stream of its own, whose other half is stopped."""
        connection = self._connection
        assert connection is not None, "it has a connection"
        with suppress(ConnectionGone):
            stream = await connection.open(bidi=True)
            await self._write(stream, encode_stream_frame(frame), fin=True)
            connection.stop(stream, 0)
            connection.release(stream)

    async def send_on_channel(
        self, frames: Iterable[StreamFrame], stream: StreamId | None = None
    ) -> StreamId:
        """Send frames on a new stream and leave it open, or the last ones on it, and recycle it."""
        connection = self._connection
        assert connection is not None, "it has a connection"
        is_last = stream is not None
        channel = await connection.open(bidi=True) if stream is None else stream
        if is_last:
            connection.stop(channel, 0)
        for frame in frames:
            await self._write(channel, encode_stream_frame(frame))
        if is_last:
            await self._write(channel, b"", fin=True)
            connection.release(channel)
        return channel

    async def connect_by_h2(self) -> None:
        """Prove itself as connector; both halves are dropped after the result."""
        assert self._connection is not None, "it has a connection"
        stream = self._handshake = await self._connection.open(bidi=True)
        heard = self._heard.setdefault(stream, StreamHeard())
        await self._write(stream, VERSION)
        size = len(CHALLENGE) + len(NONCE)
        await self.progress.until(lambda: len(heard.data) >= size)
        await self._write(stream, response(heard.data[-len(NONCE) :]))
        await self.progress.until(lambda: len(heard.data) > size)
        assert heard.data[size:] == ACCEPTED
        await self._drop(self._connection, stream)

    async def accept_by_h2(self) -> None:
        """Let the node prove itself; what it writes later on the stream is not read."""
        assert self._connection is not None, "it has a connection"
        stream = self._handshake = 0
        heard = self._heard.setdefault(stream, StreamHeard())
        await self.progress.until(lambda: heard.data == VERSION)
        await self._write(stream, CHALLENGE + NONCE)
        expected = VERSION + response(NONCE)
        await self.progress.until(lambda: len(heard.data) >= len(expected))
        assert heard.data == expected
        await self._write(stream, ACCEPTED)
        await self._drop(self._connection, stream)

    async def _write(self, stream: StreamId, data: bytes, *, fin: bool = False) -> None:
        assert self._connection is not None, "it has a connection"
        self.sent_bytes += len(data)
        await self._connection.send(stream, data, fin=fin)

    # --- its readers -----------------------------------------------------------------------------

    async def _read(self, connection: Connection) -> None:
        async for event in connection.events():
            match event:
                case StreamOpened(stream, False):
                    self.uni.add(stream)
                case StreamData(stream, data, fin):
                    self._take(connection, stream, data, fin=fin)
            self.progress.note()

    def _take(self, connection: Connection, stream: StreamId, data: bytes, *, fin: bool) -> None:
        self.taken_bytes += len(data)
        if stream in self.uni:
            return
        connection.consumed(stream, len(data))
        heard = self._heard.setdefault(stream, StreamHeard())
        heard.data += data
        if stream == self._handshake or heard.is_taken:
            return
        frames = heard.reader.feed(data)
        heard.is_taken = bool(frames) or fin
        if heard.is_taken:
            self.probes += not heard.data
            handler = asyncio.create_task(self._handle(connection, stream, frames[:1]))
            self._handlers.add(handler)
            handler.add_done_callback(self._end_handler)

    def _end_handler(self, handler: asyncio.Task[None]) -> None:
        self._handlers.discard(handler)
        handler.result()
        self.progress.note()

    async def _handle(
        self, connection: Connection, stream: StreamId, frames: list[StreamFrame]
    ) -> None:
        self.frames += frames
        for frame in frames:
            await self._apply(frame)
        await self._drop(connection, stream)

    async def _drop(self, connection: Connection, stream: StreamId) -> None:
        """Let go of both halves, which finishes the one and stops the other."""
        connection.stop(stream, 0)
        # The node may have stopped this half already.
        with suppress(StreamGone, ConnectionGone):
            await connection.send(stream, b"", fin=True)
        connection.release(stream)

    async def _apply(self, frame: StreamFrame | SyncEntry) -> None:
        match frame.type:
            case FrameType.BATCH:
                for entry in decode_sync_batch(frame.payload).entries:
                    await self._apply(entry)
            case FrameType.TOMBSTONE:
                self._bury(frame.payload)
            case FrameType.DELTA | FrameType.SNAPSHOT if frame.key not in self.tombstones:
                apply = self._receive if frame.type == FrameType.DELTA else self._merge
                await apply(frame.key, frame.payload)
                if self._echoes:
                    for batch in self.batches([frame.key]):
                        await self.send(batch)

    async def _receive(self, key: str, payload: bytes) -> None:
        """Apply a delta, which creates the document (D-58), and answer if there is anything."""
        document = self.documents.setdefault(key, Document(b"\x07" * 16))
        state = self._states.setdefault(key, SyncState())
        document.receive_sync_message(state, Message.decode(payload))
        answer = _next_message(document, state)
        if answer is None:
            self._states[key] = SyncState()
        else:
            # Both halves of the stream that brought the delta are held meanwhile.
            await self.send(StreamFrame(key, FrameType.DELTA, answer.encode()))

    async def _merge(self, key: str, payload: bytes) -> None:
        """Merge a snapshot, which is never answered (D-45)."""
        document = self.documents.setdefault(key, Document(b"\x07" * 16))
        document.merge(Document.load(payload))

    def _bury(self, payload: bytes) -> None:
        """Keep the first tombstone (D-71), in a store that keeps any, and delete the document."""
        found = decode_tombstone(payload)
        key = f"{found.collection}:{found.document_id}"
        if self._keeps_tombstones:
            self.tombstones.setdefault(key, payload)
        self.documents.pop(key, None)


def _is_delta(key: str) -> bool:
    return PUBLISHED.push_type(key) is FrameType.DELTA


def _next_message(document: Document, state: SyncState) -> Message | None:
    """Return what the library has to say, None if that is nothing, other than its type says."""
    message: Message | None = document.generate_sync_message(state)
    return message
