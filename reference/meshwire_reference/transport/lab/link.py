"""A lab connection on an asyncio event loop, over any link that carries bytes in order.

The link calls `data_received`, `link_ended`, `pause_writing` and `resume_writing`, and provides a
`Carrier` to write to. There are two links: TCP and the memory pair.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Final, Protocol, TypeAlias

from meshwire_reference.core.inputs import (
    ConnectionClosed,
    StreamId,
    TransportEvent,
)
from meshwire_reference.transport.base import (
    Connection,
    ConnectionGone,
    Deadline,
    StreamGone,
    TransportOptions,
    Unreachable,
)
from meshwire_reference.transport.lab.connection import BATCH, LabConnection
from meshwire_spec.numbers import VERDICT_LINGER_S

CONTROL_MAX: Final = 2**15
"""Number of queued control records above which the link stops reading."""


Openers: TypeAlias = deque[asyncio.Future[StreamId]]
"""Waiters for stream credit, in order of arrival."""


class Carrier(Protocol):
    """The writing side of a link."""

    def write(self, data: bytes, /) -> None:
        """Take bytes; call `pause_writing` of the link when the buffer is full."""

    def finish(self) -> None:
        """Write no more; bytes already written still arrive."""

    def drop(self) -> None:
        """Close the link; bytes already written are sent if possible."""

    def hold_reading(self, *, hold: bool) -> None:
        """Stop or resume handing over what arrives."""


class LabLink(Connection):
    """One side of a lab connection: the sans-IO machine, a carrier, and the waiters."""

    freed: asyncio.Task[None]
    """Closes the socket of a dialled connection, also where its event loop ends before it."""

    def __init__(self, options: TransportOptions, *, dialled: bool) -> None:
        self.dialled = dialled
        self.peer_id = b""
        self.proves_ids = False
        self._loop = asyncio.get_running_loop()
        self._lab = LabConnection(
            dialled=dialled,
            # LB-058
            endpoint_id=options.endpoint_id,
            windows=options.windows,
            alpn=options.alpn,
        )
        self._carrier: Carrier | None = None
        self._is_writable = False
        self._is_held = False
        self._reads_on = False
        self._flush_is_due = False
        self._unflushed = 0
        self._reader: asyncio.Future[None] | None = None
        self._openers: tuple[Openers, Openers] = (deque(), deque())
        self._senders: dict[StreamId, asyncio.Future[None]] = {}
        self._established: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._handshake_s = options.handshake_s
        self._deadline: Deadline | None = None
        self._linger: asyncio.TimerHandle | None = None

    # --- What the link calls ---------------------------------------------------------------

    def start(self, carrier: Carrier) -> None:
        """Write the own preamble, and start the deadline for the peer's."""
        self._carrier = carrier
        self._is_writable = True
        # LB-008
        at_s = self._loop.time() + self._handshake_s
        self._deadline = Deadline(at_s, partial(self.refuse, "handshake-timeout"))
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take the bytes that arrived."""
        self._lab.receive(data)
        self._after_input()
        self._hold_reading()
        if self._lab.is_behind and not self._reads_on:
            self._reads_on = True
            self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """Read the records that were left, once other connections had their turn."""
        self._reads_on = False
        if self._lab.is_behind:
            self.data_received(b"")

    def link_ended(self) -> None:
        """Handle the end of the link, for any cause."""
        while self._lab.is_behind:
            self._lab.receive(b"")
        self._lab.receive_end()
        self._after_input()
        self._carrier = None
        self._is_writable = False
        for timer in (self._deadline, self._linger):
            if timer is not None:
                timer.cancel()
        if not self._ended.done():
            self._ended.set_result(None)

    def pause_writing(self) -> None:
        """Stop writing: the link is full."""
        self._is_writable = False

    def resume_writing(self) -> None:
        """Continue to write."""
        self._is_writable = True
        self._flush()

    def refuse(self, reason: str) -> None:
        """Close the connection with a reason of the registry, for a cause outside the records."""
        self._lab.refuse(reason)
        self._after_input()

    def drop(self) -> None:
        """End the link of a closed connection at once, whether or not the peer has read why."""
        if self._carrier is not None:
            self._carrier.drop()

    async def established(self) -> None:
        """Wait for the peer's preamble. Raises Unreachable if the connection ends before it."""
        await self._established
        closed = self._lab.closed
        if not self.peer_id:
            assert closed is not None, "established without preamble only by an end"
            raise Unreachable(closed.reason, closed.code)

    async def ended(self) -> None:
        """Wait until the link is closed."""
        await asyncio.shield(self._ended)

    # --- Connection ------------------------------------------------------------------------

    @property
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended; None while it is open."""
        return self._lab.closed

    async def next_events(self) -> tuple[TransportEvent, ...]:
        """Wait for events; see `Connection`."""
        while not self._lab.has_events:
            if self._lab.closed is not None:
                raise ConnectionGone(self._lab.closed)
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._lab.take_events()

    async def open(self, *, bidi: bool) -> StreamId:
        """Open a stream; see `Connection`."""
        self._check_alive()
        waiting = self._openers[not bidi]
        if not waiting and self._lab.can_open(bidi=bidi):
            return self._lab.open(bidi=bidi)
        turn: asyncio.Future[StreamId] = self._loop.create_future()
        waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(turn.result())
            raise

    async def send(self, stream: StreamId, data: bytes, *, fin: bool = False) -> None:
        """Send bytes; see `Connection`."""
        self._check_alive()
        self._lab.send(stream, data, fin=fin)
        self._unflushed += len(data)
        if self._unflushed > BATCH:
            self._flush()
        else:
            self._flush_soon()
        if self._is_writable and self._lab.is_within_credit(stream):
            return
        while self._lab.waiting(stream):
            drained: asyncio.Future[None] = self._loop.create_future()
            self._senders[stream] = drained
            try:
                await drained
            finally:
                self._senders.pop(stream, None)
            self._check_alive()
        if self._lab.has_given_up(stream):
            raise StreamGone(stream, self._lab.stopped_by(stream))

    def reset(self, stream: StreamId, code: int) -> None:
        """Reset this side's half; see `Connection`."""
        self._lab.reset(stream, code)
        self._flush_soon()

    def stop(self, stream: StreamId, code: int) -> None:
        """Stop the peer's half; see `Connection`."""
        self._lab.stop(stream, code)
        self._flush_soon()

    def consumed(self, stream: StreamId, count: int) -> None:
        """Grant credit again; see `Connection`."""
        self._lab.consumed(stream, count)
        if self._lab.wants_output:
            self._flush_soon()

    def defer(self, stream: StreamId, count: int) -> None:
        """Grant the credit of the connection alone; see `Connection`."""
        self._lab.defer(stream, count)
        if self._lab.wants_output:
            self._flush_soon()

    def release(self, stream: StreamId) -> None:
        """Release a stream; see `Connection`."""
        self._lab.release(stream)
        self._flush_soon()

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection; see `Connection`."""
        self._lab.close(code, reason)
        self._after_input()
        await self.ended()

    # --- Inside ----------------------------------------------------------------------------

    def _check_alive(self) -> None:
        if self._lab.closed is not None:
            raise ConnectionGone(self._lab.closed)

    def _after_input(self) -> None:
        if self._lab.peer is not None and not self.peer_id:
            self.peer_id = self._lab.peer.endpoint_id
            if self._deadline is not None:
                self._deadline.cancel()
        if not self._established.done() and (self.peer_id or self._lab.closed is not None):
            self._established.set_result(None)
        if self._reader is not None and not self._reader.done() and self._lab.has_events:
            self._reader.set_result(None)
        self._wake_openers()
        if self._lab.closed is not None:
            self._flush()
        elif self._lab.wants_output:
            self._flush_soon()

    def _wake_openers(self) -> None:
        closed = self._lab.closed
        for waiting, bidi in zip(self._openers, (True, False), strict=True):
            while waiting and (closed is not None or self._lab.can_open(bidi=bidi)):
                turn = waiting.popleft()
                if turn.done():
                    continue
                if closed is None:
                    turn.set_result(self._lab.open(bidi=bidi))
                else:
                    turn.set_exception(ConnectionGone(closed))

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        self._unflushed = 0
        carrier, closed = self._carrier, self._lab.closed
        if carrier is None:
            return
        while self._is_writable and self._lab.wants_output:
            carrier.write(self._lab.take_output())
        self._hold_reading()
        for stream, drained in self._senders.items():
            if not drained.done() and (closed is not None or not self._lab.waiting(stream)):
                drained.set_result(None)
        if closed is not None:
            self._finish(carrier, closed)

    def _hold_reading(self) -> None:
        """Stop or resume reading, by what waits to be read or written."""
        is_full = self._lab.control_waiting > CONTROL_MAX or self._lab.is_behind
        hold = is_full and self._lab.closed is None
        if hold is not self._is_held and self._carrier is not None:
            self._is_held = hold
            self._carrier.hold_reading(hold=hold)

    def _finish(self, carrier: Carrier, closed: ConnectionClosed) -> None:
        """End the link of a closed connection.

        Dropping it while bytes of the peer's are unread would destroy our CLOSE on its way: write
        no more, and read on until the peer has ended its side, or VERDICT_LINGER_S have passed.
        """
        if closed.by_peer:
            carrier.drop()
            return
        # LB-052
        if self._linger is None:
            self._linger = self._loop.call_later(VERDICT_LINGER_S, carrier.drop)
        if not self._lab.wants_output:
            carrier.finish()
