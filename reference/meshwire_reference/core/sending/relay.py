"""Passes changes on to every ready peer but the one that sent it, by direction (D-55, D-153)."""

from collections.abc import Iterator

from meshwire_reference.core.context import Context
from meshwire_reference.core.sending.outbound import Outbound
from meshwire_reference.core.sending.waiting import Purpose


class Routing:
    """The sending sides of all sessions, by connection."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.outbounds: dict[int, Outbound] = {}

    def pass_on_document(self, key: str, source: int) -> None:
        """Queue a changed document for every peer but `source`."""
        # DC-030, DC-031
        for outbound in self._others(source):
            if self._context.hierarchy.sends_document(outbound.streams.peer, key):
                outbound.pass_on(key, source)

    def pass_on_tombstone(self, key: str, source: int) -> None:
        """Queue a new or greater tombstone for every peer but `source`."""
        # TS-037, TS-038
        held = self._context.guard(key)
        if held is None:
            return
        for outbound in self._others(source):
            if self._context.hierarchy.sends_tombstone(outbound.streams.peer, held.direction):
                # DC-088
                outbound.add(Purpose.DELETION, key)

    def _others(self, source: int) -> Iterator[Outbound]:
        # TR-025: another connection of the same endpoint id is another peer.
        for connection, outbound in list(self.outbounds.items()):
            if outbound.is_open and connection != source:
                yield outbound
