"""One stream over QUIC as the application sees it: `LabStream`, but the library checks the peer."""

from __future__ import annotations

from typing import Final

from meshwire_reference.transport.base import StreamGone
from meshwire_reference.transport.lab.streams import LabStream
from meshwire_spec.states import (
    RECEIVE_HALF,
    SEND_HALF,
    ReceiveEvent,
    ReceiveHalf,
    SendEvent,
    SendHalf,
)

# The common steps, so that a stream of one frame looks up nothing by the names of its states.
_RECEIVED: Final = (
    RECEIVE_HALF[ReceiveHalf.RECEIVING, ReceiveEvent.DATA],
    RECEIVE_HALF[ReceiveHalf.RECEIVING, ReceiveEvent.FIN],
)
_SENT: Final = (
    SEND_HALF[SendHalf.READY, SendEvent.DATA],
    SEND_HALF[SEND_HALF[SendHalf.READY, SendEvent.FIN], SendEvent.FIN_SENT],
)


class QuicHalves(LabStream):
    """A stream as one side of a connection over QUIC sees it."""

    __slots__ = ()

    def take(self, data: bytes, *, fin: bool) -> bool:
        """Take the peer's bytes, which its credit covers; return False if nobody reads them."""
        if self.receive is ReceiveHalf.RECEIVING:
            self.receive = _RECEIVED[fin]
        else:
            self.receive = RECEIVE_HALF[
                self.receive, ReceiveEvent.FIN if fin else ReceiveEvent.DATA
            ]
        size = len(data)
        self.credit.received += size
        if self.is_silenced:
            return False
        if size:
            self.chunks.append(data)
            self.unsettled += size
        self.fin_received = fin
        return True

    def send_at_once(self, *, fin: bool) -> None:
        """Take note of bytes that are sent past the queue, which is empty. Raises StreamGone."""
        if self.send is not SendHalf.READY:
            raise StreamGone(self.id, self.stopped_by)
        self.send = _SENT[fin]
