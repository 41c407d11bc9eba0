"""A connection over QUIC as the cases know connections.

Theory of operation. `quic_library.QuicLink` turns datagrams into events; this class moves both
between the link and a socket, keeps the timer of the link, and probes an idle target, so that a
dead one is noticed after `IDLE_S` seconds, and at once where its port is closed.

What QUIC cannot show is what iroh cannot: a stop after our FIN, what becomes of a half that we have
stopped (QUIC resets it by itself), the order in which records leave, and everything that only the
lab binding has.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import ClassVar

from aioquic.quic import events

from meshwire_conformance.targets.lab_records import PeerFault, is_uni
from meshwire_conformance.targets.quic_library import QuicLink
from meshwire_conformance.targets.transport import Closed, Dial, ProbedConnection, Stream
from meshwire_spec.numbers import PAYLOAD_MAX, REASONS

SETTLE_S = 0.25
"""Seconds that a close waits for the confirmation of bytes in flight; far above a round trip."""
PROBES_KEPT = 64
UNREAD_MAX = 2 * PAYLOAD_MAX
"""Greatest number of unread bytes on a stream; no correct target sends more."""


class QuicConnection(ProbedConnection):
    """One connection, whichever of the two has dialled.

    Its caller passes in the datagrams of the socket. `send` writes a datagram to the target, and
    `release` is called once, when nothing more is sent.
    """

    binding = "quic"
    has_timers: ClassVar[bool] = True

    def __init__(
        self,
        link: QuicLink,
        dial: Dial,
        send: Callable[[bytes], None],
        release: Callable[[], None],
    ) -> None:
        super().__init__()
        self.on_stream = dial.on_stream
        self._link = link
        self._send = send
        self._release = release
        self._timer: asyncio.TimerHandle | None = None
        self._probe: asyncio.TimerHandle | None = None
        self._flush_planned = False
        self._confirmed: deque[int] = deque(maxlen=PROBES_KEPT)
        self._is_hushed = False
        self._is_deaf = False

    @property
    def ids(self) -> set[bytes]:
        """The ids by which packets of the target name this connection."""
        return self._link.ids

    # --- the socket -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin the handshake as the side that dials."""
        self._link.begin(_now())
        self.flush()

    def take(self, datagram: bytes) -> None:
        """Report what a datagram says to streams and waiters."""
        if self.closed is None and not self._is_deaf:
            self._link.receive(datagram, _now())
            self._go_on()

    def unreachable(self, text: str) -> None:
        """End the connection, since the port of the target is closed."""
        if self.closed is None:
            self._end(Closed(None, text))

    # --- operations -----------------------------------------------------------------------------

    async def ready(self, deadline_s: float) -> bool:
        """Return True if the TLS handshake was completed within the deadline."""
        await self.signal.wait_for(
            lambda: self._link.is_open or self.closed is not None, deadline_s
        )
        return self._link.is_open and self.closed is None

    async def open(self, *, uni: bool = False) -> Stream:
        """Return a new stream when the target grants one; raises ConnectionError if closed."""
        await self.signal.wait_for(
            lambda: self.closed is not None or self._link.can_open(uni=uni), None
        )
        if self.closed is not None:
            raise ConnectionError(self.closed.text or f"closed with code {self.closed.code}")
        stream = Stream(self, self._link.open(uni=uni), uni=uni, ours=True)
        self.streams[stream.number] = stream
        return stream

    async def write(self, stream: Stream, data: bytes) -> None:
        """Queue bytes on a stream."""
        self._link.write(stream.number, data)
        self._plan_flush()

    async def finish(self, stream: Stream) -> None:
        """Finish the suite's half of a stream."""
        self._link.write(stream.number, b"", fin=True)
        self._plan_flush()

    async def reset(self, stream: Stream, code: int) -> None:
        """Reset the suite's half of a stream, after what may be sent of it now."""
        self.flush()
        self._link.reset(stream.number, code)
        self._plan_flush()

    async def stop(self, stream: Stream, code: int) -> None:
        """Stop the target's half of a stream."""
        self.flush()
        self._link.stop(stream.number, code)
        self._plan_flush()

    async def ping(self, payload: bytes, deadline_s: float) -> bool:
        """Return True if the target confirms a probe within the deadline, so all it sent before."""
        number = int.from_bytes(payload, "big")
        self._link.probe(number)
        self.flush()
        await self.signal.wait_for(
            lambda: number in self._confirmed or self.closed is not None, deadline_s
        )
        return number in self._confirmed

    async def close(self, code: int = 0, text: str = "") -> None:
        """Close the connection; bytes already written get some time to arrive."""
        if self.closed is not None:
            return
        self.flush()
        try:
            # The library drops bytes in flight when it closes.
            await self.signal.wait_for(
                lambda: self.closed is not None or not self._link.unconfirmed(), SETTLE_S
            )
        finally:
            # Also where the wait is cancelled: nobody else releases the socket.
            if self.closed is None:
                self._link.close(code, text)
                self._end(Closed(code, text, by_suite=True))

    # --- what ordinary peers do not do --------------------------------------------------------

    def hush(self, *, is_deaf: bool) -> None:
        """Ask the target for nothing any more, and where `is_deaf` do not hear or confirm it.

        The suite's side then outlasts the idle time that it has declared.
        """
        self._is_hushed, self._is_deaf = True, is_deaf
        self._link.stay_open()

    def wake(self) -> None:
        """Hear the target again."""
        self._is_deaf = False

    def granted(self, *, uni: bool) -> int:
        """Return how many streams of a kind the target has granted from the beginning on."""
        return self._link.granted(uni=uni)

    def overdraw(self, number: int, data: bytes, *, skipped: int = 0) -> None:
        """Write bytes of a stream that the target has not granted, `skipped` bytes later."""
        self._link.overdraw(number, data, skipped)
        self._plan_flush()

    @property
    def error(self) -> int | None:
        """The error of QUIC with which the target has ended the connection, if it has."""
        return self._link.error()

    # --- between link and socket ------------------------------------------------------------------

    def _go_on(self) -> None:
        """Take in what happened, end with the link, and send what is due."""
        for event in self._link.happened():
            handler = _HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)
        closed = self._link.ended()
        if closed is not None:
            self._end(closed)
        self.flush()
        self.signal.notify()

    def _plan_flush(self) -> None:
        """Flush at the end of this turn of the loop, so that streams share datagrams."""
        if not self._flush_planned:
            self._flush_planned = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write everything that may be sent now."""
        self._flush_planned = False
        if self.closed is None:
            for datagram in self._link.packets(_now()):
                if not self._is_deaf:
                    self._send(datagram)
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = self._link.timer()
        if at is not None:
            self._timer = asyncio.get_running_loop().call_at(at, self._fire)

    def _fire(self) -> None:
        # A loop may call a moment early, by the resolution of its clock.
        due = self._link.timer()
        self._link.fire(_now() if due is None else max(due, _now()))
        self._go_on()

    def _keep_alive(self) -> None:
        if self._is_hushed:
            return
        self._link.probe()
        self.flush()
        self._plan_probe()

    def _plan_probe(self) -> None:
        wait_s = self._link.keep_alive_s()
        self._probe = asyncio.get_running_loop().call_later(wait_s, self._keep_alive)

    def _end(self, closed: Closed) -> None:
        """Send the last packet, record the end, and give the socket back."""
        if self.closed is not None:
            return
        self.flush()
        self.gone(closed)
        for handle in (self._timer, self._probe):
            if handle is not None:
                handle.cancel()
        self._release()

    # --- events -----------------------------------------------------------------------------------

    def _on_completed(self, event: events.HandshakeCompleted) -> None:
        self.endpoint_id = self._link.peer_id() or b""
        self._plan_probe()

    def _stream(self, number: int) -> Stream:
        """Return the stream of this number; one that the target has just opened is registered."""
        found = self.streams.get(number)
        if found is None:
            found = Stream(self, number, uni=is_uni(number), ours=False)
            self.accept(found)
        return found

    def _on_data(self, event: events.StreamDataReceived) -> None:
        stream = self._stream(event.stream_id)
        stream.received += event.data
        if len(stream.received) > UNREAD_MAX:
            fault = PeerFault("flow-control", f"stream {stream.number} never ends")
            self._link.close(REASONS[fault.reason].code, fault.detail)
            self._end(Closed(None, fault.detail, fault=fault))
            return
        stream.finished = stream.finished or event.end_stream
        stream.changed()

    def _on_reset(self, event: events.StreamReset) -> None:
        stream = self._stream(event.stream_id)
        stream.reset_code = event.error_code
        stream.changed()

    def _on_confirmed(self, event: events.PingAcknowledged) -> None:
        self._confirmed.append(event.uid)

    def _on_stop(self, event: events.StopSendingReceived) -> None:
        stream = self._stream(event.stream_id)
        if stream.stop_code is None:
            stream.stop_code = event.error_code
        stream.write_over = True
        stream.changed()


_HANDLERS: dict[type[events.QuicEvent], Callable[[QuicConnection, events.QuicEvent], None]] = {
    events.HandshakeCompleted: QuicConnection._on_completed,  # type: ignore[dict-item]  # noqa: SLF001
    events.StreamDataReceived: QuicConnection._on_data,  # type: ignore[dict-item]  # noqa: SLF001
    events.StreamReset: QuicConnection._on_reset,  # type: ignore[dict-item]  # noqa: SLF001
    events.PingAcknowledged: QuicConnection._on_confirmed,  # type: ignore[dict-item]  # noqa: SLF001
    events.StopSendingReceived: QuicConnection._on_stop,  # type: ignore[dict-item]  # noqa: SLF001
}


def _now() -> float:
    return asyncio.get_running_loop().time()
