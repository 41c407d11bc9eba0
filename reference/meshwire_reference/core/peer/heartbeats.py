"""Heartbeats to one peer, and when it was last heard."""

from meshwire_reference.core.context import Context
from meshwire_reference.core.effects import OpenStream, Release, Send
from meshwire_reference.wire.liveness import Heartbeat, encode_heartbeat
from meshwire_spec.numbers import HEARTBEAT_MARKER


class Heartbeats:
    """Sends a heartbeat each interval on a uni stream of its own.

    One that finds no stream credit is waited for, so that no more than one is ever under way.
    """

    def __init__(self, context: Context, connection: int) -> None:
        self._context = context
        self._connection = connection
        self._ticket: int | None = None
        self._stream: int | None = None
        self.heard_s = context.now.monotonic_s

    def start(self) -> None:
        """Send the first heartbeat after one interval, and so on."""
        interval_s = self._context.settings.heartbeat_s
        if interval_s > 0:
            at_s = self._context.now.monotonic_s + interval_s
            self._context.timers.set(self._timer, at_s, self._beat)

    def stop(self) -> None:
        """Send no more."""
        self._context.timers.cancel(self._timer)

    def note_heard(self) -> None:
        """Take note that the peer lives: any frame of it says so (D-98)."""
        self.heard_s = self._context.now.monotonic_s

    def take_stream(self, ticket: int, stream: int) -> bool:
        """Use a stream that was asked for; False where it was not asked for here."""
        if ticket != self._ticket:
            return False
        self._ticket, self._stream = None, stream
        # LV-001, LV-005
        heartbeat = Heartbeat(HEARTBEAT_MARKER, max(0, self._context.now.wall_ms))
        self._context.emit(
            Send(
                connection=self._connection,
                stream=stream,
                data=encode_heartbeat(heartbeat),
                fin=True,
            )
        )
        return True

    def note_over(self, stream: int, *, has_failed: bool) -> bool:
        """Let a stream go; False where it is not of a heartbeat."""
        if stream != self._stream:
            return False
        self._stream = None
        self._context.emit(Release(connection=self._connection, stream=stream))
        return True

    @property
    def _timer(self) -> tuple[str, int]:
        return ("heartbeat", self._connection)

    def _beat(self) -> None:
        if self._ticket is None and self._stream is None:
            self._ticket = next(self._context.tickets)
            self._context.emit(
                OpenStream(connection=self._connection, ticket=self._ticket, bidi=False)
            )
        self.start()
