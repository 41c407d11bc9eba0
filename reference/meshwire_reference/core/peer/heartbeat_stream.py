"""Uni streams that the peer opened, and the heartbeat that each carries."""

from meshwire_reference.core.context import Context
from meshwire_reference.core.peer.inbound import InboundStream, Owner
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.liveness import decode_heartbeat
from meshwire_spec.numbers import HEARTBEAT_MARKER

HEARTBEAT_SIZE = 9


class HeartbeatStream(InboundStream):
    """A uni stream, which carries one heartbeat and nothing else."""

    kind = "uni"

    def __init__(self, context: Context, owner: Owner, stream: int) -> None:
        super().__init__(context, owner, stream)
        self._head = b""

    def pump(self) -> None:
        """Drain the stream and look at its first bytes."""
        # TR-003
        while self._backlog and not self.is_over and self._owner.may_read:
            # LV-004
            self._head += self.take_chunk()[: HEARTBEAT_SIZE - len(self._head)]
            marked = self._head[0] == HEARTBEAT_MARKER
            # LV-002
            if not marked:
                self.refuse("bad-marker")
        if not self.is_over and self._owner.may_read and (self._fin or self._is_cut):
            self._close()

    def _close(self) -> None:
        if self._is_cut:
            self.end()
            return
        try:
            # LV-006
            decode_heartbeat(self._head)
        except Malformed as malformed:
            # LV-003
            self.refuse(malformed.reason)
            return
        self._context.statistics.heartbeats += 1
        self._owner.note_alive()
        self.end()
