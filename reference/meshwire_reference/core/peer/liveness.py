"""Whether the peer of a connection that this node dialled is still there.

A transport may take half a minute to notice that a peer was killed (D-171). So a connection on
which nothing comes is probed: a bidi stream is opened and finished without a frame, and a peer that
is there finishes its half (TR-020). It is ended after two probes without an answer, and then the
address is dialled again. Whatever comes from the peer counts, on any stream.

Only the side that dialled probes: it can dial again, and the peer of the other side may not read
its streams yet (D-23).
"""

from collections.abc import Callable
from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.streams import StreamHandler, Streams

PROBES: Final = 2
"""Probes without an answer after which a connection is ended."""
LATE: Final = 0.5
"""Fraction of a step by which a timer may be late; beyond it this node itself was busy."""


class Probe(StreamHandler):
    """An empty stream; `on_sent` is called once its FIN is with the transport."""

    def __init__(self, streams: Streams, on_sent: Callable[[], None]) -> None:
        super().__init__(streams)
        self._on_sent = on_sent

    def take_stream(self, stream: int) -> None:
        """Finish the stream that was opened."""
        super().take_stream(stream)
        self._streams.send(stream, b"", fin=True)

    def note_sent(self, *, has_failed: bool) -> None:
        """Count the probe."""
        if not has_failed:
            self._on_sent()

    def receive(self, data: bytes, *, fin: bool) -> None:
        """Release the stream at the FIN of the peer."""
        super().receive(data, fin=fin)
        if fin:
            self._streams.release(self._stream)

    def take_reset(self, code: int) -> None:
        """Release the stream, since the peer has reset it."""
        self._streams.release(self._stream)


class Liveness:
    """Probes a silent peer, and calls `on_silent` once if it does not answer."""

    def __init__(self, context: Context, streams: Streams, on_silent: Callable[[], None]) -> None:
        self._context = context
        self._streams = streams
        self._on_silent = on_silent
        self._heard_s = 0.0
        self._due_s = 0.0
        self._sent = 0
        self._is_under_way = False

    def start(self) -> None:
        """Begin to watch the peer."""
        self._heard_s = self._context.now.monotonic_s
        if self._step_s > 0:
            self._set_timer(self._heard_s)

    def stop(self) -> None:
        """Watch no longer."""
        self._context.timers.cancel(self._timer)

    def hear(self) -> None:
        """Note that something has come from the peer."""
        self._heard_s = self._context.now.monotonic_s
        self._sent = 0
        self._is_under_way = False

    @property
    def _step_s(self) -> float:
        """The time before the first probe, and after each."""
        return self._context.settings.dead_peer_s / (PROBES + 1)

    @property
    def _timer(self) -> tuple[str, int]:
        return ("liveness", self._streams.connection)

    def _set_timer(self, since_s: float) -> None:
        self._due_s = since_s + self._step_s
        self._context.timers.set(self._timer, self._due_s, self._check)

    def _check(self) -> None:
        now_s = self._context.now.monotonic_s
        is_late = now_s - self._due_s > LATE * self._step_s
        if now_s < self._heard_s + self._step_s:
            self._set_timer(self._heard_s)
        elif is_late:
            # What the peer has sent meanwhile may not be read yet.
            self._set_timer(now_s)
        elif self._sent >= PROBES:
            # LV-010
            self._on_silent()
        else:
            self._probe()
            self._set_timer(now_s)

    def _probe(self) -> None:
        """Open a probe, unless one waits for its stream: without it nothing is known."""
        if not self._is_under_way:
            self._is_under_way = True
            self._streams.open(Probe(self._streams, self._note_sent), bidi=True)

    def _note_sent(self) -> None:
        self._is_under_way = False
        self._sent += 1
