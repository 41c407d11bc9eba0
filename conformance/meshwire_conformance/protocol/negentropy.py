"""Negentropy V1: the suite's own client and server, without an index.

Theory of operation. Both sides hold items, sorted by timestamp and then by id. A message is a list
of ranges that follow one another from the lowest item on, each with its exclusive upper bound, and
says of each range nothing (skip), a fingerprint or all its ids. A side that meets a fingerprint
which is not its own answers with sixteen smaller ranges, or with its ids where it has fewer than 32
of them. The server answers a list with its own list; the client, which gets both, knows what each
side lacks and is silent about the range. Adjacent settled ranges are merged into one skip before
the next unsettled one. A message that is about to exceed the frame limit ends with the fingerprint
of everything after the last bound that it has, so that the run goes on there.

Sums are recomputed for each message, without regard to speed. A message is read whole before
anything of it is answered, and refused with the reason of the first fault in it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meshwire_conformance.protocol.negentropy_messages import (
    INFINITE,
    Bound,
    Range,
    Refused,
    Writer,
    fingerprint_of,
    read_message,
)
from meshwire_spec.numbers import NEGENTROPY_ID, NEGENTROPY_VERSION

Item = tuple[int, bytes]
"""Timestamp and id: the order of tuples is the order of items."""

BUCKETS = 16
"""Parts into which a range that differs is split."""
LIST_MAX = 2 * BUCKETS - 1
"""A range of at most this many items is sent as a list of ids."""
FRAME_RESERVE = 200
"""Bytes of the frame limit that are kept free for the last range."""
VERSIONS = range(0x60, 0x70)
"""Version bytes that belong to the negentropy protocol."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a message: the next message, and ids that only one side has.

    `reply` is None if the client has nothing left to ask; a server always replies and finds
    nothing. `have` are ids that the peer lacks, `need` those that this side lacks, each sorted.
    """

    reply: bytes | None
    have: tuple[bytes, ...] = ()
    need: tuple[bytes, ...] = ()


# --- The algorithm -------------------------------------------------------------------------


class Reconciliation:
    """One side of one run. Items given twice count once.

    The client calls `initiate` once and then `reconcile` with every reply until the result has
    none; a server only calls `reconcile`. `forgets_unwritten` closes a message as version 0.5.0 of
    the library does, which leaves out the items of the range at which it stops (D-168).
    """

    def __init__(
        self,
        items: Iterable[Item],
        frame_limit: int = 0,
        *,
        client: bool,
        forgets_unwritten: bool = False,
    ) -> None:
        self.items = sorted(set(items))
        self.client = client
        self.forgets_unwritten = forgets_unwritten
        self._frame_limit = frame_limit

    def initiate(self) -> bytes:
        """Return the first message; the frame limit does not apply to it."""
        writer = Writer()
        writer.add(self.split(0, len(self.items), INFINITE))
        return bytes(writer.data)

    def reconcile(self, message: bytes) -> Answer:
        """Return the answer to a message of the other side; raises Refused."""
        if not self.client and message[:1] != bytes((NEGENTROPY_VERSION,)) and message:
            if message[0] in VERSIONS:
                return Answer(bytes((NEGENTROPY_VERSION,)))
            raise Refused("bad-version", 0)
        return _Round(self).answer(read_message(message))

    def over_limit(self, size: int) -> bool:
        """Return True if a message of this size in bytes has no room for another range."""
        return self._frame_limit != 0 and size > self._frame_limit - FRAME_RESERVE

    def ids(self, lower: int, upper: int) -> list[bytes]:
        """Return the ids of the items in the given range of indices."""
        return [name for _, name in self.items[lower:upper]]

    def split(self, lower: int, upper: int, bound: Bound) -> list[Range]:
        """Return the ranges for a part that is not settled: a list if it is small, else buckets."""
        count = upper - lower
        if count <= LIST_MAX:
            return [Range(bound, tuple(self.ids(lower, upper)))]
        size, longer = divmod(count, BUCKETS)
        ranges, at = [], lower
        for number in range(BUCKETS):
            end = at + size + (number < longer)
            edge = bound if end == upper else _bound_between(self.items[end - 1], self.items[end])
            ranges.append(Range(edge, fingerprint_of(self.ids(at, end))))
            at = end
        return ranges


def _bound_between(before: Item, after: Item) -> Bound:
    """Return the shortest bound above one item and not above the next."""
    if before[0] != after[0]:
        return after[0], b""
    shared = next(at for at in range(NEGENTROPY_ID) if before[1][at] != after[1][at])
    return after[0], after[1][: shared + 1]


class _Round:
    """The answer to one message under construction: its ranges, and the next item to describe."""

    def __init__(self, side: Reconciliation) -> None:
        self._side = side
        self._writer = Writer()
        self._written = 0
        """Items below this index lie below the last bound that was written."""
        self._skip_to: Bound | None = None
        """Upper bound of the settled part that is not written yet."""
        self._have: list[bytes] = []
        self._need: list[bytes] = []

    def answer(self, ranges: Iterable[Range]) -> Answer:
        """Return the answer to these ranges, as far as the frame limit allows."""
        lower = 0
        for part in ranges:
            upper = bisect_left(self._side.items, part.upper, lo=lower)
            if self._take(part, lower, upper):
                break
            lower = upper
        data = bytes(self._writer.data)
        reply = None if self._side.client and len(data) == 1 else data
        return Answer(reply, tuple(sorted(self._have)), tuple(sorted(self._need)))

    def _take(self, part: Range, lower: int, upper: int) -> bool:
        """Answer one range; return True if the message is complete with it."""
        side = self._side
        told: list[Range] = []
        if isinstance(part.said, bytes):
            if part.said != fingerprint_of(side.ids(lower, upper)):
                told = self._after_skip(side.split(lower, upper, part.upper))
        elif part.said is not None and side.client:
            self._compare(set(part.said), side.ids(lower, upper))
        elif part.said is not None:
            return self._list(part.upper, lower, upper)
        if side.over_limit(self._writer.size_with(told)):
            if side.forgets_unwritten:
                self._written = upper
            return self._close()
        if told:
            self._write(told, upper)
        else:
            self._skip_to = part.upper
        return False

    def _compare(self, theirs: set[bytes], ours: Iterable[bytes]) -> None:
        # An own id with several timestamps is matched only once.
        for name in ours:
            if name in theirs:
                theirs.remove(name)
            else:
                self._have.append(name)
        self._need += theirs

    def _list(self, bound: Bound, lower: int, upper: int) -> bool:
        """List ids of a range up to the frame limit; return True if the message is complete."""
        side, size, at = self._side, len(self._writer.data), lower
        while at < upper and not side.over_limit(size + NEGENTROPY_ID * (at - lower)):
            at += 1
        edge = bound if at == upper else side.items[at]
        self._write(self._after_skip([Range(edge, tuple(side.ids(lower, at)))]), at)
        return side.over_limit(len(self._writer.data)) and self._close()

    def _after_skip(self, ranges: list[Range]) -> list[Range]:
        return ranges if self._skip_to is None else [Range(self._skip_to, None), *ranges]

    def _write(self, ranges: Sequence[Range], upper: int) -> None:
        self._writer.add(ranges)
        self._written = upper
        self._skip_to = None

    def _close(self) -> bool:
        """End the message with a fingerprint of everything above the last bound."""
        side = self._side
        rest = fingerprint_of(side.ids(self._written, len(side.items)))
        self._writer.add([Range(INFINITE, rest)])
        return True
