"""How the node begins a run, and what it does wrong in one where a switch demands it.

The wrong ways stand here so that the right one can be read without them.
"""

from collections.abc import Callable
from typing import Final

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import Drop
from meshwire_reference.core.switches import Switch
from meshwire_reference.negentropy import Run, Storage
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.reconciliation import IdList, decode_negentropy_message
from meshwire_spec.numbers import U32_MAX


class _Patient(Run):
    """A run that may go on without settling anything."""

    def _watch(self) -> None:
        """Look at nothing."""


class _Endless(Run):
    """A run that may take any number of rounds."""

    def _count(self) -> None:
        """Count without an end."""
        self.rounds += 1


def _without_frame_limit(items: Storage) -> Run:
    return Run(items, U32_MAX)


FAULTY: Final[dict[Switch, Callable[[Storage], Run]]] = {
    Switch.NEGENTROPY_NO_PROGRESS_CHECK: _Patient,
    Switch.NEGENTROPY_ENDLESS: _Endless,
    Switch.NEGENTROPY_NO_FRAME_LIMIT: _without_frame_limit,
}
"""What stands in for a run where a switch is turned."""


def begin_run(context: Context) -> Run:
    """Return a run over the documents of the node; raises CannotList."""
    items = context.documents.as_storage(context.now.wall_ms)
    for switch, make in FAULTY.items():
        if context.has(switch):
            return make(items)
    # NG-019
    return Run(items)


def delete_unclaimed(context: Context, content: bytes) -> None:
    """Delete what a message that lists ids does not list, which only a switch demands."""
    try:
        message = decode_negentropy_message(content)
    except Malformed:
        return
    lists = [part.payload.ids for part in message.ranges if isinstance(part.payload, IdList)]
    if not lists:
        return
    claimed = {identity for ids in lists for identity in ids}
    kept = {context.documents.key_of(identity) for identity in claimed}
    for key in [key for key in context.documents if key not in kept]:
        context.write(key, None)
        context.queues.call(Drop(key))
