"""Ends documents whose lifetime has passed, each in the queue of its document."""

from collections.abc import Iterator

from meshwire_reference.core.context import Context
from meshwire_reference.core.document_calls import Call, Drop, Result
from meshwire_reference.core.state.document_queues import Job


def end_documents(context: Context, steps: Iterator[tuple[str, ...]] | None = None) -> None:
    """Remove the documents whose lifetime has passed, also from the store, a few in each turn."""
    left = context.lifetimes.over(context.now.monotonic_s) if steps is None else steps
    over = next(left, None)
    if over is None:
        return
    for key in over:
        context.queues.add(key, _Ending(context, key))
    context.turns.later(lambda: end_documents(context, left))


class _Ending(Job):
    """Removes a document, unless a change came before its turn."""

    def __init__(self, context: Context, key: str) -> None:
        self._context = context
        self._key = key

    def begin(self) -> Call | None:
        context = self._context
        # DC-077
        is_over = context.lifetimes.is_over(self._key, context.now.monotonic_s)
        if not is_over or context.is_read_only:
            return None
        return Drop(self._key)

    def finish(self, _result: Result) -> None:
        # Also if the worker has died instead of answering; after a lost write the next sweep does.
        if not self._context.is_read_only:
            self._context.end_document(self._key)
