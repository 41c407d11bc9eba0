"""The elements of one batch frame, taken in slices, so that no batch holds up another peer.

A payload of 16 MiB may have millions of elements. Each slice decodes and starts a few of them; the
next one follows in its turn, and only while few elements of the batch wait for their documents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from meshwire_reference.core.context import Context
from meshwire_reference.core.frames.delivery import Delivery
from meshwire_reference.wire.batches import Fault
from meshwire_spec.numbers import BATCH_JOBS_MAX

JOB_UNITS: Final = 7
"""Further units of work of an element whose effect waits for its document."""
STEP: Final = 16
"""Elements that are decoded at a time."""

Element = TypeVar("Element")


class ElementReader(Protocol[Element]):
    """Decodes the elements of a batch a few at a time."""

    @property
    def fault(self) -> Fault | None:
        """The fault after the last element, if there is one."""

    @property
    def is_over(self) -> bool:
        """True if nothing more can be taken."""

    def take(self, most: int) -> list[Element]:
        """Return the next elements; raises Malformed if the first of all is at fault."""


class BatchWork(Generic[Element]):
    """The work on one batch; `take` starts the effect of one element, which takes `units`."""

    def __init__(
        self,
        context: Context,
        delivery: Delivery,
        reader: ElementReader[Element],
        take: Callable[[Delivery, Element], None],
        units: int,
    ) -> None:
        self._context = context
        self._delivery = delivery
        self._reader = reader
        self._take = take
        self._units = units
        self._waits_for_room = False

    def begin(self, first: list[Element]) -> None:
        """Do the first slice, which begins with these elements.

        The effect of the batch is outstanding until the last slice is done.
        """
        self._delivery.begin(self._note_job_over)
        self._do_slice(first)

    def _do_slice(self, elements: list[Element]) -> None:
        turns = self._context.turns
        while True:
            before = self._delivery.outstanding
            for element in elements:
                self._take(self._delivery, element)
            turns.spend(
                self._units * len(elements)
                + JOB_UNITS * max(0, self._delivery.outstanding - before)
            )
            if self._reader.is_over:
                # BT-013, TS-023
                fault = self._reader.fault
                self._delivery.finish(None if fault is None else fault.reason)
                return
            if self._delivery.outstanding >= BATCH_JOBS_MAX:
                self._waits_for_room = True
                return
            if not turns.has_units:
                self._wait_for_turn()
                return
            elements = self._reader.take(STEP)

    def _wait_for_turn(self) -> None:
        self._context.turns.later(lambda: self._do_slice(self._reader.take(STEP)))

    def _note_job_over(self) -> None:
        """Continue once half of the elements that waited for their documents are over."""
        if self._waits_for_room and self._delivery.outstanding <= BATCH_JOBS_MAX // 2:
            self._waits_for_room = False
            self._wait_for_turn()
