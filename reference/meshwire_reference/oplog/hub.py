"""The operations of one node and its sessions, without input or output.

Every operation that was newly applied is appended to one log, and a session is a place in it: what
is behind that place goes out, first in bulks, then one by one. So what is applied while a bulk is
sent is never left out (D-125), and what one peer sent reaches every other one, but not its source
(D-127).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from meshwire_reference.oplog.frames import (
    ENVELOPE_VERSION,
    SILENT,
    VERSIONS,
    Announcement,
    announcement,
    bulk_chunks,
    decode_binary,
    decode_text,
    empty_bulk,
    encode_live,
    read_announcement,
)
from meshwire_reference.oplog.operations import SignedOperation
from meshwire_reference.oplog.outcomes import TOO_LONG, State
from meshwire_reference.oplog.replica import Replica
from meshwire_reference.oplog.spelling import operation_json, read_operation_json
from meshwire_reference.oplog.values import Unreadable
from meshwire_reference.oplog.waiting import operation_size
from meshwire_spec.numbers import OPLOG_OPERATION_BYTES_MAX

# How many operations a session may be behind after its bulk before it is closed.
LAG_MAX = 10_000

# The source of what this node wrote or stored.
OWN = 0
# The count of operations that the queue had no room for.
EVICTED = "evicted"


# The text of an operation has at most as many code points for each byte that it takes in memory.
TEXT_OF_SIZE = 3


def is_too_long(signed: SignedOperation) -> bool:
    """Return True if the text of an operation, as this node spells it, exceeds the bound.

    A peer may have spelled it shorter. The node could not read it from its store, nor could peers.
    """
    # OP-052
    if TEXT_OF_SIZE * operation_size(signed) <= OPLOG_OPERATION_BYTES_MAX:
        return False
    return len(operation_json(signed)) > OPLOG_OPERATION_BYTES_MAX


@dataclass(slots=True)
class OplogSession:
    """The place of one peer in the log."""

    number: int
    # The next entry of the log to send, and the first that is sent alone.
    position: int
    bulk_end: int
    has_begun: bool = False
    for_mesh: bool = False
    # What the first message of the peer has said of it.
    greeting: Announcement | None = None
    # What the peer has said that it reads.
    versions: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One applied operation as JSON, and the session that it came from."""

    text: str
    source: int


class Hub:
    """A replica, the log of what it consists of, and its sessions."""

    def __init__(
        self, replica: Replica, *, lag_max: int = LAG_MAX, version: int = ENVELOPE_VERSION
    ) -> None:
        self.replica = replica
        # The id of this node in hexadecimal, which is the key of its author, if it says so.
        self.node_id = ""
        # What this node reads, and what it writes where every peer reads it.
        self._versions = VERSIONS if replica.is_strict else VERSIONS[:1]
        self._version = version
        self.log: list[LogEntry] = []
        # How many entries are durable: sessions send no others.
        self.durable = 0
        self.sessions: dict[int, OplogSession] = {}
        self.counts: Counter[str] = Counter()
        self._lag_max = lag_max
        self._next = 1
        # Where operations that wait came from, by signed digest.
        self._sources: dict[bytes, int] = {}
        # At level `wire`: the signed digests of the log.
        self._logged: set[bytes] = set()

    def load(self, texts: Iterable[str]) -> None:
        """Take the operations of the store; raise Unreadable if one is none."""
        for text in texts:
            self.take(read_operation_json(text), OWN)
        self.durable = len(self.log)

    def open_session(self, *, for_mesh: bool = False) -> OplogSession:
        """Return a new session, to which everything is sent; it may be dialled `for_mesh`."""
        # OP-041: the log after the bulk follows one by one.
        session = OplogSession(self._next, 0, self.durable, for_mesh=for_mesh)
        self._next += 1
        self.sessions[session.number] = session
        return session

    def close_session(self, session: OplogSession) -> None:
        """Forget a session."""
        self.sessions.pop(session.number, None)

    def writes(self) -> int:
        """Return the version of the next operation of this node."""
        # OP-067
        is_read = all(self._version in each.versions for each in self.sessions.values())
        return self._version if is_read else ENVELOPE_VERSION

    def take(self, signed: SignedOperation, source: int) -> list[str]:
        """Apply an operation; return what was newly applied as JSON, which is to be stored."""
        if signed.inner.version not in self._versions:
            self.counts["unknown-version"] += 1
            return []
        if is_too_long(signed):
            self.counts[TOO_LONG.reason] += 1
            return []
        evicted = self.replica.queue.evicted
        outcome = self.replica.apply(signed)
        self.counts[outcome.reason or outcome.state.value] += 1
        self.counts[EVICTED] += self.replica.queue.evicted - evicted
        if outcome.state is State.MISSING:
            self._sources[signed.signed_digest] = source
            if len(self._sources) > 2 * self.replica.settings.queue.count:
                # Only what was evicted is left over: an echo to its source does no harm.
                self._sources.clear()
        return self._append(signed, source)

    def _append(self, signed: SignedOperation, source: int) -> list[str]:
        """Append what the last operation led to; return it as JSON."""
        added = []
        for each in self.replica.applied:
            if not self.replica.is_strict and not self._is_new(each):
                continue
            origin = source if each is signed else self._sources.pop(each.signed_digest, OWN)
            added.append(LogEntry(operation_json(each), origin))
        self.log += added
        return [entry.text for entry in added]

    def _is_new(self, signed: SignedOperation) -> bool:
        """Return True for an operation that the log lacks.

        The ancestor applies one again as often as it comes: sent on each time, it would go round a
        ring of such nodes without end.
        """
        before = len(self._logged)
        self._logged.add(signed.signed_digest)
        return len(self._logged) > before

    def add_own(self, signed: SignedOperation) -> list[str]:
        """Append an operation that an author has just applied to the replica."""
        return self._append(signed, OWN)

    def take_text(self, text: str, session: OplogSession) -> Iterator[list[str]]:
        """Take a text message; yield what each of its operations led to.

        A bad part is counted, and the others are applied (D-158).
        """
        said = read_announcement(text)
        session.versions |= said.versions
        session.greeting = session.greeting or said
        try:
            texts = decode_text(text)
        except Unreadable as fault:
            self.counts[fault.reason] += 1
            return
        # OP-044
        for part in texts:
            try:
                signed = read_operation_json(part)
            except Unreadable as fault:
                self.counts[fault.reason] += 1
                yield []
            else:
                yield self.take(signed, session.number)

    def take_binary(self, data: bytes, session: OplogSession) -> list[str]:
        """Take a binary message, which has one operation."""
        session.greeting = session.greeting or SILENT
        try:
            signed = decode_binary(data)
        except Unreadable as fault:
            self.counts[fault.reason] += 1
            return []
        return self.take(signed, session.number)

    def is_behind(self, session: OplogSession) -> bool:
        """Return True if a session has fallen too far behind and must be closed."""
        return self.durable - max(session.position, session.bulk_end) > self._lag_max

    def next_message(self, session: OplogSession) -> str | bytes | None:
        """Return the next message for a session, or None while it has everything."""
        # OP-040
        if not session.has_begun and (self.replica.is_strict or not session.bulk_end):
            session.has_begun = True
            if not self.replica.is_strict:
                return empty_bulk()
            return announcement(self.node_id, for_mesh=session.for_mesh)
        if session.position < session.bulk_end:
            session.has_begun = True
            # Read by place: to walk over the log to each chunk takes the square of its length.
            places = range(session.position, session.bulk_end)
            message, count = next(bulk_chunks(self.log[at].text for at in places))
            session.position += count
            return message
        while session.position < self.durable:
            entry = self.log[session.position]
            session.position += 1
            # OP-042
            if entry.source != session.number:
                return encode_live(entry.text)
        return None
