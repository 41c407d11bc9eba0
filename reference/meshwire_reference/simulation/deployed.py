"""A peer that behaves as deployed ones do, as far as a node notices.

It reads one frame of a stream and drops both halves (D-15, D-140). It offers every document every
five seconds: the newest state of some collections, and of the others the next message of their
exchange. If there is nothing to say it counts a failure (D-50), and five in a row end what it sends
for good (D-49): a peer that is silent because all is said loses everything that it writes later
(D-169). What has a tombstone it drops without a word (D-61).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random
from typing import Final

from meshwire_reference.core.document_calls import (
    Call,
    Drop,
    Edit,
    Forget,
    Generate,
    Generated,
    Merge,
    Receive,
    Received,
    Result,
    Save,
    Saved,
)
from meshwire_reference.core.effects import CloseConnection, OpenStream, Release, Send
from meshwire_reference.core.inputs import (
    ConnectionClosed,
    ConnectionEvent,
    StreamData,
    StreamGranted,
    StreamSent,
)
from meshwire_reference.core.state.policy import PUBLISHED
from meshwire_reference.core.state.tombstones import document_key
from meshwire_reference.documents.table import Table
from meshwire_reference.simulation.links import Side
from meshwire_reference.wire.batches import StreamFrame, decode_sync_batch, encode_stream_frame
from meshwire_reference.wire.frames import FrameReader
from meshwire_reference.wire.tombstones import Tombstone, decode_tombstone, decode_tombstone_batch
from meshwire_spec.numbers import FrameType

PEER: Final = 1
"""Name of its one connection in its exchanges."""
POLL_S: Final = 5.0
FAILURES_MAX: Final = 5


class DeployedPeer:
    """A deployed peer with one connection, to a node of the run."""

    def __init__(self, chance: Random) -> None:
        self.peer_id = chance.randbytes(32)
        self.side: Side | None = None
        self.failures = 0
        self.keys: dict[str, None] = {}
        self._table = Table(chance.randbytes(16))
        self._buried: set[str] = set()
        self._opened: set[str] = set()
        self._readers: dict[int, FrameReader] = {}
        self._tickets = count(1)
        self._waiting: dict[int, StreamFrame] = {}

    @property
    def is_broken(self) -> bool:
        """True once it sends nothing more for good."""
        return self.failures >= FAILURES_MAX

    def attach(self, side: Side) -> None:
        """Use a new connection; what was said on the one before counts no more."""
        self.side = side
        self._readers.clear()
        self._waiting.clear()
        self._opened.clear()
        self._table.answer(Forget(PEER), None)

    def leave(self) -> None:
        """Close the connection."""
        side, self.side = self.side, None
        if side is not None:
            side.perform(CloseConnection(connection=side.number, code=0, reason=""))

    def edit(self, step: int, key: str) -> None:
        """Write a field of a document."""
        if key not in self._buried:
            self._answer(Edit(key, {f"e{step}": step}))
            self.keys[key] = None
            self._opened.discard(key)

    def poll(self) -> None:
        """Offer every document, unless it sends nothing more."""
        for key in list(self.keys):
            if self.side is None or self.is_broken:
                return
            frame = self._offer(key)
            if frame is None:
                self.failures += 1
            else:
                self.failures = 0
                self._send(frame)

    def heads(self, key: str) -> tuple[bytes, ...]:
        """Return the heads of a document."""
        saved = self._answer(Save(key))
        assert isinstance(saved, Saved), saved
        return saved.heads

    # --- frames of the node ----------------------------------------------------------------------

    def report(self, connection: int, event: ConnectionEvent) -> None:
        """Take an event of the connection."""
        if self.side is None or self.side.number != connection:
            return
        match event:
            case StreamGranted(ticket, stream):
                data = encode_stream_frame(self._waiting.pop(ticket))
                self.side.perform(Send(connection=connection, stream=stream, data=data, fin=True))
            case StreamSent(stream):
                self.side.perform(Release(connection=connection, stream=stream))
            case StreamData(stream, data):
                self._take_data(self.side, stream, data)
            case ConnectionClosed():
                self.side = None

    def _take_data(self, side: Side, stream: int, data: bytes) -> None:
        """Read up to the end of the first frame, and drop the stream with what follows."""
        frames = self._readers.setdefault(stream, FrameReader()).feed(data)
        if frames:
            del self._readers[stream]
            side.perform(Release(connection=side.number, stream=stream))
            self._take(frames[0])

    def _take(self, frame: StreamFrame) -> None:
        take = FRAMES.get(frame.type)
        if take is not None:
            take(self, frame)

    def take_delta(self, frame: StreamFrame) -> None:
        """Apply a delta and answer it."""
        if frame.key in self._buried:
            return
        self._opened.add(frame.key)
        received = self._answer(Receive(PEER, frame.key, frame.payload))
        if isinstance(received, Received):
            if received.heads:
                self.keys[frame.key] = None
            if received.answer is not None:
                self._send(StreamFrame(frame.key, FrameType.DELTA, received.answer))
            else:
                # Its exchange begins afresh, with what both hold.
                self._opened.discard(frame.key)

    def take_snapshot(self, frame: StreamFrame) -> None:
        """Merge a snapshot, which nothing answers."""
        if frame.key not in self._buried:
            self._answer(Merge(frame.key, frame.payload))
            self.keys[frame.key] = None

    def take_batch(self, frame: StreamFrame) -> None:
        """Take every entry as a frame."""
        for entry in decode_sync_batch(frame.payload).entries:
            self._take(StreamFrame(entry.key, FrameType(entry.type), bytes(entry.payload)))

    def take_tombstones(self, frame: StreamFrame) -> None:
        """Remove the documents of one tombstone, or of several."""
        if frame.type == FrameType.TOMBSTONE:
            tombstones: tuple[Tombstone, ...] = (decode_tombstone(frame.payload),)
        else:
            tombstones = decode_tombstone_batch(frame.payload).tombstones
        for tombstone in tombstones:
            key = document_key(tombstone)
            self._buried.add(key)
            self.keys.pop(key, None)
            self._answer(Drop(key))

    # --- frames of the peer ----------------------------------------------------------------------

    def _offer(self, key: str) -> StreamFrame | None:
        if PUBLISHED.push_type(key) is FrameType.SNAPSHOT:
            saved = self._answer(Save(key))
            if isinstance(saved, Saved) and saved.snapshot is not None:
                return StreamFrame(key, FrameType.SNAPSHOT, saved.snapshot)
            return None
        # The first message of an exchange has heads alone.
        made = self._answer(Generate(PEER, key, opens=key not in self._opened))
        self._opened.add(key)
        if isinstance(made, Generated) and made.message is not None:
            return StreamFrame(key, FrameType.DELTA, made.message)
        return None

    def _send(self, frame: StreamFrame) -> None:
        if self.side is not None:
            ticket = next(self._tickets)
            self._waiting[ticket] = frame
            self.side.perform(OpenStream(connection=self.side.number, ticket=ticket, bidi=True))

    def _answer(self, call: Call) -> Result:
        return self._table.answer(call, None)


FRAMES: Final[dict[int, Callable[[DeployedPeer, StreamFrame], None]]] = {
    FrameType.DELTA: DeployedPeer.take_delta,
    FrameType.SNAPSHOT: DeployedPeer.take_snapshot,
    FrameType.TOMBSTONE: DeployedPeer.take_tombstones,
    FrameType.TOMBSTONE_BATCH: DeployedPeer.take_tombstones,
    FrameType.BATCH: DeployedPeer.take_batch,
}
"""What it does with a frame of each type."""
