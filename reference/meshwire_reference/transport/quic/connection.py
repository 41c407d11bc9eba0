"""A connection over QUIC on an asyncio event loop.

The halves of a stream and its credit are those of the lab binding (`QuicHalves`): what the
application has not taken yet waits there, and what it sends waits there until the library has room
for it. So this side keeps at most a window of received bytes, and of bytes to send what `send` was
given and the bounds of `HeldConnection`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from meshwire_reference.core.inputs import ConnectionClosed, StreamId, TransportEvent
from meshwire_reference.transport.base import (
    Connection,
    ConnectionGone,
    Deadline,
    StreamGone,
    TransportOptions,
    Unreachable,
)
from meshwire_reference.transport.lab.connection import cut_reason
from meshwire_reference.transport.lab.streams import Credit
from meshwire_reference.transport.quic.library import Address, HeldConnection
from meshwire_reference.transport.quic.streams import QuicHalves
from meshwire_spec.numbers import REASONS, VERDICT_LINGER_S, Reason
from meshwire_spec.states import RECEIVE_ENDED, ReceiveHalf, SendHalf

CERTIFICATE: Final = REASONS["certificate-required"]
TOLD: Final = "certificate required"
"""The text of a close for want of a certificate, as deployed nodes say it."""
ANOTHER: Final = REASONS["authentication-failed"]
IDLE_SHARE: Final = 0.5
"""The part of the idle time after which a peer is asked for a packet at the latest."""


class QuicLink(Connection):
    """One side of a connection over QUIC.

    `transmit` sends a datagram; `routes` has the connections of a socket by the ids under which
    their peers call them.
    """

    another_id: bytes
    """The endpoint id of a peer that is not the one of the address."""
    on_end: Callable[[], None]
    """Called once nothing of the connection is left."""
    freed: asyncio.Task[None]
    """Closes the socket of a dialled connection, also where its event loop ends before it."""

    def __init__(
        self,
        quic: HeldConnection,
        options: TransportOptions,
        transmit: Callable[[bytes, Address], None],
        *,
        dialled: bool,
        pinned: bytes | None = None,
        routes: dict[bytes, QuicLink] | None = None,
    ) -> None:
        self.dialled = dialled
        self.peer_id = self.another_id = b""
        self._routes = {} if routes is None else routes
        self._names: set[bytes] = set()
        self._loop = asyncio.get_running_loop()
        self._quic = quic
        self._options = options
        self._transmit = transmit
        self._pinned = pinned
        self._own_bit = 0 if dialled else 1
        self._streams: dict[StreamId, QuicHalves] = {}
        self._untold: dict[QuicHalves, None] = {}
        self._seen = [0, 0]
        self._credit = Credit(options.windows.max_data)
        self._backlog: dict[QuicHalves, None] = {}
        self._sending: dict[StreamId, asyncio.Future[None]] = {}
        self._openers: tuple[deque[asyncio.Future[StreamId]], ...] = (deque(), deque())
        self._reader: asyncio.Future[None] | None = None
        self._closed: ConnectionClosed | None = None
        self._closed_is_told = False
        self._established: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._flush_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None
        self.on_end = lambda: None
        self._closes_with: tuple[int, str] | None = None
        self._received_at = 0.0
        self._keeping: asyncio.TimerHandle | None = None
        self._deadline = Deadline(self._loop.time() + options.handshake_s, self._give_up)

    # --- What the endpoint calls ---------------------------------------------------------------

    def take_datagram(self, datagram: bytes, address: Address) -> None:
        """Take a datagram of the peer; `after_input` follows after the last one of a wake-up."""
        self._received_at = now = self._loop.time()
        self._quic.take_datagram(datagram, address, now)

    def after_input(self) -> None:
        """Report what has come and send what is due."""
        self._quic.report(self)
        ending = self._quic.ending
        if ending is not None:
            self._end(ending)
            if self._quic.is_over:
                self._finish()
                return
        else:
            self._pump_all()
            if self._closed is None:
                self._wake_openers()
                self._wake_reader()
            elif self._is_settled:
                self._say_farewell()
        # What the application does about it leaves in the same datagrams.
        self._flush_soon()

    def break_off(self) -> None:
        """Take note that nothing reaches the peer: nobody is at its address any more."""
        self._end(ConnectionClosed(None, "connection lost", by_peer=True))
        self._finish()

    def refuse(self, reason: str) -> None:
        """Close the connection with a reason of the registry, without waiting for anything."""
        if self._closed is not None:
            return
        self._end(ConnectionClosed(REASONS[reason].code, reason, by_peer=False))
        self._closes_with = REASONS[reason].code, reason
        self._say_farewell()
        self._flush()

    def abandon(self, reason: str) -> None:
        """Refuse a handshake and keep nothing of it, not even to say so again."""
        if not self._ended.done():
            self.refuse(reason)
            self._flush()
            self._finish()

    async def established(self) -> None:
        """Wait for the end of the handshake of QUIC. Raises Unreachable if it fails."""
        await asyncio.shield(self._established)
        if not self.peer_id:
            closed = self._closed
            assert closed is not None, "established without a peer only by an end"
            raise Unreachable(closed.reason, closed.code)

    async def ended(self) -> None:
        """Wait until nothing of the connection is left."""
        await asyncio.shield(self._ended)

    def _give_up(self) -> None:
        self.refuse("handshake-timeout")

    # --- Connection ------------------------------------------------------------------------

    @property
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended; None while it is open."""
        return self._closed

    async def next_events(self) -> tuple[TransportEvent, ...]:
        """Wait for events; see `Connection`."""
        while not self._untold and (self._closed is None or self._closed_is_told):
            self._check_alive()
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        told: list[TransportEvent] = []
        for stream in self._untold:
            told.extend(stream.take_events())
        self._untold.clear()
        if self._closed is not None:
            self._closed_is_told = True
            told.append(self._closed)
        return tuple(told)

    async def open(self, *, bidi: bool) -> StreamId:
        """Open a stream; see `Connection`."""
        self._check_alive()
        waiting = self._openers[not bidi]
        if not waiting and self._quic.can_open(bidi=bidi):
            return self._open(bidi=bidi)
        turn: asyncio.Future[StreamId] = self._loop.create_future()
        waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(turn.result())
            raise

    async def send(self, stream: StreamId, data: bytes, *, fin: bool = False) -> None:
        """Send bytes; see `Connection`."""
        self._check_alive()
        found = self._streams.get(stream)
        if found is None or found.is_released:
            raise StreamGone(stream, None)
        if not found.queue.size and len(data) <= self._quic.room(stream):
            found.send_at_once(fin=fin)
            self._quic.write(stream, data, fin=fin)
            self._flush_soon()
            return
        found.hand_over(data, fin=fin)
        if self._pump(found):
            return
        self._backlog[found] = None
        drained: asyncio.Future[None] = self._loop.create_future()
        self._sending[stream] = drained
        try:
            await drained
        finally:
            self._sending.pop(stream, None)
        if found.send is SendHalf.RESET:
            raise StreamGone(stream, found.stopped_by)
        if found.queue.size:
            self._check_alive()

    def reset(self, stream: StreamId, code: int) -> None:
        """Reset this side's half; see `Connection`."""
        found = self._streams.get(stream)
        if found is not None and found.give_up():
            self._give_up_half(found, code)

    def stop(self, stream: StreamId, code: int) -> None:
        """Stop the peer's half; see `Connection`."""
        found = self._streams.get(stream)
        if found is not None and found.ask_stop():
            self._quic.stop_half(stream, code)
            self._settle(found.silence())
            self._flush_soon()

    def consumed(self, stream: StreamId, count: int) -> None:
        """Grant credit again; see `Connection`."""
        found = self._streams.get(stream)
        if found is not None:
            self._settle(found.settle(count))
            self._grant(found)

    def defer(self, stream: StreamId, count: int) -> None:
        """Grant the credit of the connection alone; see `Connection`."""
        found = self._streams.get(stream)
        if found is not None:
            self._settle(found.defer(count))

    def release(self, stream: StreamId) -> None:
        """Release a stream; see `Connection`."""
        found = self._streams.get(stream)
        if found is None or found.is_released:
            return
        if found.send is SendHalf.READY:
            self.reset(stream, 0)
        if found.receive not in RECEIVE_ENDED:
            self.stop(stream, 0)
        found.is_released = True
        self._untold.pop(found, None)
        if found.chunks or found.unsettled:
            self._settle(found.silence())
        found.is_silenced = True
        self._retire(found)

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection; see `Connection`.

        The library drops what is not confirmed when it closes, so that is given some time.
        """
        if self._closed is None:
            told = cut_reason(reason)
            self._end(ConnectionClosed(code, told, by_peer=False))
            self._closes_with = code, told
            if self._is_settled:
                self._say_farewell()
            else:
                self._linger = self._loop.call_later(VERDICT_LINGER_S, self._say_farewell)
            self._flush()
        await self.ended()

    # --- What the library reports (Receiver) ---------------------------------------------------

    def on_handshake(self) -> None:
        """Learn who the peer is; refuse one that has not proven it."""
        if self._closed is not None:
            return
        key = self._quic.peer_key
        if key is None:
            # TR-035
            self._refuse_identity(CERTIFICATE, TOLD)
            return
        if self._pinned is not None and key != self._pinned:
            # TR-036
            self.another_id = key
            self._refuse_identity(ANOTHER, ANOTHER.name)
            return
        self.peer_id = key
        self._deadline.cancel()
        self._keep_alive()
        if not self._established.done():
            self._established.set_result(None)

    def _refuse_identity(self, reason: Reason, told: str) -> None:
        self._end(ConnectionClosed(reason.code, reason.name, by_peer=False))
        # A peer that has not got the end of the handshake would not read the code.
        self._flush()
        self._closes_with = reason.code, told
        self._say_farewell()

    def on_data(self, stream: StreamId, data: bytes, *, fin: bool) -> None:
        """Take the next bytes of a stream."""
        if self._closed is not None:
            return
        found = self._streams.get(stream) or self._find(stream)
        if found is None:
            self._credit.received += len(data)
            self._settle(len(data))
            return
        self._credit.received += len(data)
        if found.take(data, fin=fin):
            self._untold[found] = None
        else:
            self._settle(len(data))
            self._retire(found)
        if not fin:
            self._grant(found)

    def on_reset(self, stream: StreamId, code: int, missing: int) -> None:
        """Take a reset of the peer's half."""
        self._credit.received += missing
        self._settle(missing)
        found = self._find(stream)
        if found is not None:
            self._settle(found.receive_reset(code))
            self._tell(found)
            self._retire(found)

    def on_stop(self, stream: StreamId, code: int) -> None:
        """Take a stop of this side's half, which the library has reset already."""
        found = self._find(stream)
        if found is not None:
            found.receive_stop(code)
            self._tell(found)
            self._drop_backlog(found)
            self._retire(found)

    def on_route(self, name: bytes, *, is_new: bool) -> None:
        """Take note of a connection id of this side."""
        if is_new:
            self._names.add(name)
            self._routes[name] = self
        else:
            self._names.discard(name)
            self._routes.pop(name, None)

    # --- Streams -------------------------------------------------------------------------------

    def _open(self, *, bidi: bool) -> StreamId:
        return self._add(self._quic.open_stream(bidi=bidi), is_own=True).id

    def _add(self, stream: StreamId, *, is_own: bool) -> QuicHalves:
        window = self._options.windows.max_stream_data
        # The credit of the peer is the library's to know.
        added = QuicHalves(stream, is_own=is_own, window=window, maximum=0)
        self._streams[stream] = added
        return added

    def _find(self, stream: StreamId) -> QuicHalves | None:
        """Return the stream of an event, None if it is over; those before it are opened too."""
        found = self._streams.get(stream)
        kind, number = stream >> 1 & 1, stream >> 2
        if found is not None or stream & 1 == self._own_bit or number < self._seen[kind]:
            return found
        for lower in range(self._seen[kind], number + 1):
            found = self._add(lower << 2 | stream & 3, is_own=False)
            if self._closed is None:
                self._untold[found] = None
        self._seen[kind] = number + 1
        return found

    def _tell(self, stream: QuicHalves) -> None:
        if self._closed is None and not stream.is_released and stream.has_news:
            self._untold[stream] = None

    def _retire(self, stream: QuicHalves) -> None:
        """Remove a stream that is over on both sides, which frees its place."""
        if stream.is_released and stream.is_ended and stream.id in self._streams:
            del self._streams[stream.id]
            if not stream.is_own:
                self._quic.release_stream(bidi=stream.is_bidi)
            self._flush_soon()

    def _give_up_half(self, stream: QuicHalves, code: int) -> None:
        self._quic.reset_half(stream.id, code)
        self._drop_backlog(stream)
        self._retire(stream)
        self._flush_soon()

    def _drop_backlog(self, stream: QuicHalves) -> None:
        self._backlog.pop(stream, None)
        self._wake_sender(stream)

    # --- Credit and buffers --------------------------------------------------------------------

    def _settle(self, count: int) -> None:
        # TR-037
        self._credit.taken += count
        if count and self._credit.is_due:
            self._quic.grant_data(self._credit.give())
            self._flush_soon()

    def _grant(self, stream: QuicHalves) -> None:
        if stream.receive is ReceiveHalf.RECEIVING and stream.credit.is_due:
            self._quic.grant_stream(stream.id, stream.credit.give())
            self._flush_soon()

    def _pump(self, stream: QuicHalves) -> bool:
        """Pass queued bytes on as there is room; return True once none are left."""
        while stream.queue.size and (room := self._quic.room(stream.id)) > 0:
            data, fin = stream.take_chunk(room)
            self._quic.write(stream.id, data, fin=fin)
            self._flush_soon()
        if not stream.queue.size and stream.send is SendHalf.FINISHING:
            data, fin = stream.take_chunk(0)
            self._quic.write(stream.id, data, fin=fin)
            self._flush_soon()
        if stream.queue.size:
            return False
        if stream.is_released:
            self._retire(stream)
        return True

    def _pump_all(self) -> None:
        for stream in tuple(self._backlog):
            if self._pump(stream):
                del self._backlog[stream]
                self._wake_sender(stream)

    @property
    def _is_settled(self) -> bool:
        """True if the peer has confirmed everything that its credit allows to be sent."""
        return self._quic.is_settled and not any(
            self._quic.room(stream.id) > 0 for stream in self._backlog
        )

    # --- Waiters -------------------------------------------------------------------------------

    @staticmethod
    def _wake(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _wake_sender(self, stream: QuicHalves) -> None:
        self._wake(self._sending.get(stream.id))

    def _wake_reader(self) -> None:
        if self._untold or self._closed is not None:
            self._wake(self._reader)

    def _wake_openers(self) -> None:
        for waiting, bidi in zip(self._openers, (True, False), strict=True):
            while waiting and (self._closed is not None or self._quic.can_open(bidi=bidi)):
                turn = waiting.popleft()
                if turn.done():
                    continue
                if self._closed is None:
                    turn.set_result(self._open(bidi=bidi))
                else:
                    turn.set_exception(ConnectionGone(self._closed))

    def _check_alive(self) -> None:
        if self._closed is not None:
            raise ConnectionGone(self._closed)

    # --- Time, and the end ---------------------------------------------------------------------

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._ended.done():
            return
        for datagram, address in self._quic.take_output(self._loop.time()):
            self._transmit(datagram, address)
        # The peer may use a connection id as soon as it is announced.
        self._quic.report(self)
        ending = self._quic.ending
        if ending is not None:
            self._end(ending)
            if self._quic.is_over:
                self._finish()
                return
        self._set_timer()

    def _set_timer(self) -> None:
        at = self._quic.next_time
        if self._timer is not None:
            # A timer that comes too early only looks again.
            if at is not None and self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = None if at is None else self._loop.call_at(at, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        at = self._quic.next_time
        now = self._loop.time()
        if at is not None and at <= now:
            self._quic.take_time(now)
            self.after_input()
        else:
            self._set_timer()

    def _keep_alive(self) -> None:
        # TR-039
        wait_s = min(self._options.keep_alive_s, self._quic.idle_s * IDLE_SHARE)
        now = self._loop.time()
        due = self._received_at + wait_s
        if due <= now:
            self._quic.send_ping(0)
            self._flush_soon()
            due = now + wait_s
        self._keeping = self._loop.call_at(due, self._keep_alive)

    def _end(self, closed: ConnectionClosed) -> None:
        """Take note that the connection has ended, once; everyone who waits learns of it."""
        if self._closed is not None:
            return
        self._closed = closed
        for timer in (self._deadline, self._keeping):
            if timer is not None:
                timer.cancel()
        self._wake(self._established)
        for drained in self._sending.values():
            self._wake(drained)
        self._wake_openers()
        self._wake_reader()

    def _say_farewell(self) -> None:
        """Send the end of the connection; nothing is sent after it."""
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._closes_with is not None:
            code, reason = self._closes_with
            self._closes_with = None
            self._quic.close(error_code=code, reason_phrase=reason)
            self._flush_soon()

    def _finish(self) -> None:
        """Free everything: nothing has to be sent any more."""
        for timer in (self._timer, self._linger):
            if timer is not None:
                timer.cancel()
        for name in self._names:
            self._routes.pop(name, None)
        self.on_end()
        self._wake(self._ended)
