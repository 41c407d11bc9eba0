"""A session with a peer that may lie, repeat itself or never end: its limits, a reason for each."""

from typing import Final

from meshwire_reference.negentropy.errors import Misused, Refused
from meshwire_reference.negentropy.session import Session, Step
from meshwire_reference.negentropy.storage import Storage
from meshwire_spec.numbers import (
    NEGENTROPY_FRAME_LIMIT,
    NEGENTROPY_MESSAGE_MAX,
    NEGENTROPY_ROUND_BYTES,
    NEGENTROPY_ROUNDS_MIN,
)

IDLE_MAX: Final = 2
"""So many messages in a row may not leave the same range in front."""


def rounds_allowed(items: int, frame_limit: int) -> int:
    """Return how many messages a run over so many items of ours may take in."""
    return NEGENTROPY_ROUNDS_MIN - (-NEGENTROPY_ROUND_BYTES * items // frame_limit)


class Run:
    """One run with one peer, on one stream; dropped with it.

    The active side sends what `initiate` returns; both sides feed every message received to
    `receive` and send its reply. A reply of None means that the run is complete. After Refused the
    run is over: the caller refuses the stream with the reason, and keeps what earlier steps told.
    """

    __slots__ = ("_front", "_idle", "_is_over", "_limit", "_session", "_storage", "rounds")

    def __init__(self, storage: Storage, frame_limit: int = NEGENTROPY_FRAME_LIMIT) -> None:
        """Raise Misused for a frame limit under 4096 bytes."""
        if not frame_limit:
            raise Misused("a run has a frame limit; a session may have none")
        self._session = Session(storage, frame_limit)
        self._storage = storage
        self._limit = frame_limit
        self._front: tuple[bytes, bytes] | None = None
        self._idle = 0
        self._is_over = False
        self.rounds = 0

    def initiate(self) -> bytes:
        """Return the first message, to be sent; raises Misused when called again."""
        message = self._session.initiate()
        self._front = self._session.front
        return message

    def receive(self, message: bytes) -> Step:
        """Answer a message; raises Refused with the reason that ends the run.

        Beyond the reasons of a session these are `length-limit`, `too-many-rounds` and
        `no-progress`. Raises Misused when the run was over before.
        """
        if self._is_over:
            raise Misused("this run is over")
        # Set for good where anything below raises.
        self._is_over = True
        if len(message) > NEGENTROPY_MESSAGE_MAX:
            raise Refused("length-limit")
        self._count()
        step = self._session.reconcile(message)
        self._watch()
        self._is_over = step.reply is None
        return step

    def _count(self) -> None:
        """Count a message against the allowance, which follows the set as it grows."""
        self.rounds += 1
        # NG-021
        if self.rounds > rounds_allowed(self._storage.size, self._limit):
            raise Refused("too-many-rounds")

    def _watch(self) -> None:
        """Hold the range that the last reply left in front against the one before it."""
        front = self._session.front
        self._idle = self._idle + 1 if front is not None and front == self._front else 0
        self._front = front
        # NG-020
        if self._idle >= IDLE_MAX:
            raise Refused("no-progress")
