"""An application that writes at one node over the protocol, and keeps what was acknowledged.

It grants the node no streams, so the node's queue for it grows with documents and not with time.
A write is acknowledged once the node has finished its half of the stream (TR-020).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from meshwire_reference.core.document_calls import Scalar
from meshwire_reference.core.effects import CloseConnection, OpenStream, Send
from meshwire_reference.core.inputs import (
    ConnectionClosed,
    ConnectionEvent,
    StreamData,
    StreamGranted,
    StreamReset,
)
from meshwire_reference.simulation.bad_streams import HOSTILE
from meshwire_reference.simulation.links import Side
from meshwire_reference.testing.author import Author
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import Direction, FrameType

TEXT_MAX: Final = 60
"""Greatest length of the text that an edit writes."""
DELTA_SHARE: Final = 0.4
"""Share of the edits that are sent as deltas."""
ACKNOWLEDGED, REFUSED, UNKNOWN = "acknowledged", "refused", "unknown"


class Visitor:
    """The application at one node; `on_over` learns how each of its writes ended."""

    def __init__(self, number: int, chance: Random, on_over: Callable[[int, str], None]) -> None:
        self.peer_id = chance.randbytes(32)
        self.side: Side | None = None
        self._number = number
        self._chance = chance
        self._on_over = on_over
        self._authors: dict[str, Author] = {}
        self._waiting: dict[int, tuple[int, StreamFrame]] = {}
        self._open: dict[int, int] = {}
        self._lamport = 0

    def edit(self, step: int, key: str, amount: float, stored: bytes | None, cap: int) -> bool:
        """Write a field of a document; return False if that cannot be sent at once.

        `stored` is the document as the node has it, which the application has read before, or None.
        """
        author = self._authors.get(key)
        if author is None:
            actor = 16 + self._number
            author = self._authors[key] = Author(key, actor)
        if stored:
            author.merge(stored)
        text = "x" * int(amount * TEXT_MAX)
        fields: dict[str, Scalar] = {f"e{step}": text, "by": self._number}
        author.edit(**fields)
        frame = StreamFrame(key, FrameType.SNAPSHOT, author.snapshot())
        if amount < DELTA_SHARE:
            frame = StreamFrame(key, FrameType.DELTA, author.whole_delta())
        if len(frame.payload) > cap:
            return False
        self._send(step, frame)
        return True

    def attack(self, amount: float) -> str:
        """Send bytes that break a rule; return the reason for which they are to be refused."""
        assert self.side is not None, "a visitor is connected before it writes"
        reason = sorted(HOSTILE)[int(amount * len(HOSTILE))]
        hostile = HOSTILE[reason]
        stream = self.side.new_stream(bidi=hostile.bidi)
        number = self.side.number
        send = Send(connection=number, stream=stream, data=hostile.data, fin=hostile.fin)
        self.side.perform(send)
        return reason

    def delete(self, step: int, key: str, now_ms: int) -> None:
        """Delete a document by a tombstone."""
        collection, _, document_id = key.partition(":")
        self._lamport += self._chance.randint(1, 3)
        tombstone = Tombstone(
            collection,
            document_id,
            now_ms,
            self._lamport,
            f"v{self._number}",
            "",
            Direction.BIDIRECTIONAL,
        )
        self._send(step, StreamFrame("x", FrameType.TOMBSTONE, encode_tombstone(tombstone)))

    def leave(self) -> None:
        """Close the connection."""
        if self.side is not None:
            side, self.side = self.side, None
            side.perform(CloseConnection(connection=side.number, code=0, reason=""))

    def _send(self, step: int, frame: StreamFrame) -> None:
        assert self.side is not None, "a visitor is connected before it writes"
        self._waiting[step] = (step, frame)
        self.side.perform(OpenStream(connection=self.side.number, ticket=step, bidi=True))

    def report(self, connection: int, event: ConnectionEvent) -> None:
        """Take an event of the connection."""
        if self.side is None or self.side.number != connection:
            return
        match event:
            case StreamGranted(ticket, stream):
                step, frame = self._waiting.pop(ticket)
                self._open[stream] = step
                data = encode_stream_frame(frame)
                side = self.side
                side.perform(Send(connection=connection, stream=stream, data=data, fin=True))
            case StreamData(stream, _, True):
                self._end(stream, ACKNOWLEDGED)
            case StreamReset(stream):
                self._end(stream, REFUSED)
            case ConnectionClosed():
                self.side = None
                for stream in list(self._open):
                    self._end(stream, UNKNOWN)
                for step in self._waiting:
                    self._on_over(step, UNKNOWN)
                self._waiting.clear()

    def _end(self, stream: int, how: str) -> None:
        step = self._open.pop(stream, None)
        if step is not None:
            self._on_over(step, how)
