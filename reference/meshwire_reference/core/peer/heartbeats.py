"""Heartbeats to one peer, and the uni streams with heartbeats of the peer."""

from collections.abc import Callable

from meshwire_reference.core.context import Context
from meshwire_reference.core.peer.inbound import InboundStream
from meshwire_reference.core.streams import StreamHandler, Streams
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.liveness import Heartbeat, decode_heartbeat, encode_heartbeat
from meshwire_spec.numbers import HEARTBEAT_MARKER
from meshwire_spec.states import InboundEvent, InboundState

HEARTBEAT_SIZE = 9
"""Bytes of a heartbeat: the marker and the time; further bytes are ignored."""


class Heartbeats(StreamHandler):
    """Sends a heartbeat each interval on a uni stream of its own.

    If there is no stream credit the next heartbeat waits, so that at most one is in flight.
    """

    def __init__(self, context: Context, streams: Streams) -> None:
        super().__init__(streams)
        self._context = context
        self._is_under_way = False

    def start(self) -> None:
        """Schedule the first heartbeat after one interval."""
        interval_s = self._context.settings.heartbeat_s
        if interval_s > 0:
            at_s = self._context.now.monotonic_s + interval_s
            self._context.timers.set(self._timer, at_s, self._beat)

    def stop(self) -> None:
        """Send no further heartbeat."""
        self._context.timers.cancel(self._timer)

    def beat_now(self) -> None:
        """Send a heartbeat at once, unless the node sends none."""
        if self._context.settings.heartbeat_s > 0:
            self._beat()

    def take_stream(self, stream: int) -> None:
        """Send a heartbeat on the stream that was opened."""
        super().take_stream(stream)
        # LV-001, LV-005
        # TM-007
        heartbeat = Heartbeat(HEARTBEAT_MARKER, max(0, self._context.now.wall_ms))
        self._streams.send(stream, encode_heartbeat(heartbeat), fin=True)
        for counts in self._context.statistics.each(self._streams.peer):
            counts.sent_heartbeats += 1

    def note_sent(self, *, has_failed: bool) -> None:
        """Release the stream of a heartbeat."""
        self._is_under_way = False
        self._streams.release(self._stream)

    @property
    def _timer(self) -> tuple[str, int]:
        return ("heartbeat", self._streams.connection)

    def _beat(self) -> None:
        if not self._is_under_way:
            self._is_under_way = True
            self._streams.open(self, bidi=False)
        self.start()


class HeartbeatStream(InboundStream):
    """A uni stream of the peer, which must carry one heartbeat."""

    kind = "uni"

    def __init__(self, context: Context, streams: Streams, stream: int) -> None:
        super().__init__(context, streams, stream)
        self._head = b""
        self.on_beat: Callable[[int], None] = lambda _: None
        """Called once the heartbeat is taken, with its time in ms since 1970."""

    def resume(self) -> None:
        """Read the stream to its end and check its first bytes."""
        # TR-003
        while self._backlog and self._may_go_on:
            # LV-004
            self._head += self._take_chunk()[: HEARTBEAT_SIZE - len(self._head)]
            # LV-002
            if self._head[0] != HEARTBEAT_MARKER:
                self._refuse("bad-marker")
        if self._may_go_on and self.state is not InboundState.OPEN:
            self._close()
        self._set_stall_timer(awaits_peer=self._may_go_on)

    def _close(self) -> None:
        if self.state is InboundState.ENDED:
            try:
                # LV-006
                heartbeat = decode_heartbeat(self._head)
            except Malformed as malformed:
                # LV-003
                self._refuse(malformed.reason)
                return
            for counts in self._context.statistics.each(self._streams.peer):
                counts.heartbeats += 1
            self._end(InboundEvent.ALL_TAKEN)
            self.on_beat(heartbeat.sent_at)
            return
        self._end(InboundEvent.ALL_TAKEN)
