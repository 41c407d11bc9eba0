"""One replica: a document, what has been applied to it, and what waits.

The order of checks is that of the protocol: signature, seen, dependencies, then the document.
Whatever an applied operation releases is worked off from a list, never by recursion (D-161).

At `strict` only operations whose outcome is Ok are remembered (D-118), so a forged copy of an
operation, or one that came too early, never keeps the genuine one out.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

from meshwire_reference.oplog.corrected import apply_corrected, author_fault
from meshwire_reference.oplog.nodes import StructNode, new_node
from meshwire_reference.oplog.operations import (
    Path,
    SignedOperation,
    has_valid_id,
    hash_text,
    signed_text,
)
from meshwire_reference.oplog.outcomes import (
    ALREADY_SEEN,
    BAD_DIGEST,
    BAD_HASH,
    MISSING,
    NOT_A_MEMBER,
    OK,
    SEQUENCE_LIMIT,
    TOO_LONG,
    TOO_MANY_COPIES,
    TOO_MANY_OF_AUTHOR,
    Level,
    OperationOutcome,
    Waits,
)
from meshwire_reference.oplog.recorded import apply_recorded
from meshwire_reference.oplog.schema import PIPELINE, StructSchema
from meshwire_reference.oplog.signatures import is_signed
from meshwire_reference.oplog.values import JsonValue
from meshwire_reference.oplog.waiting import CausalQueue, QueueLimits
from meshwire_spec.numbers import (
    OPLOG_AUTHOR_COUNT_MAX,
    OPLOG_COPIES_MAX,
    OPLOG_DEPENDENCIES_MAX,
    OPLOG_PATH_MAX,
    OPLOG_SEQUENCE_AHEAD_MAX,
    OPLOG_SEQUENCE_MAX,
)


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """How a replica is configured."""

    level: Level = Level.STRICT
    schema: StructSchema = PIPELINE
    queue: QueueLimits = field(default_factory=QueueLimits)
    # The keys that may sign, or None for any.
    members: frozenset[bytes] | None = None
    # At `strict`: how many operations of one signer are applied.
    author_max: int = OPLOG_AUTHOR_COUNT_MAX


class Replica:
    """A document and the operations that it consists of."""

    def __init__(self, settings: ReplicaSettings) -> None:
        self.settings = settings
        document = new_node(settings.schema)
        assert isinstance(document, StructNode)
        self.document = document
        self.is_strict = settings.level is Level.STRICT
        self.queue = CausalQueue(settings.queue, deduplicates=self.is_strict)
        # The signed digests that count as delivered.
        self.received: set[bytes] = set()
        self.sequence = 0
        # The operations that were newly applied by the last call, in order, for log and relay.
        self.applied: list[SignedOperation] = []
        # At `strict`: how many signatures of each operation, known by id and path, are kept.
        self._copies: dict[tuple[bytes, Path], int] = {}
        self._of_author: Counter[bytes] = Counter()

    def view(self) -> JsonValue:
        """Return the document as JSON."""
        return self.document.view()

    def apply(self, signed: SignedOperation) -> OperationOutcome:
        """Apply `signed` and whatever it releases; return the outcome of `signed` itself."""
        self.applied = []
        fault = self._fault(signed)
        if fault is not None:
            return fault
        outcome, pending = self._take(signed)
        while pending:
            _, released = self._take(pending.pop())
            pending.extend(released)
        return outcome

    def _fault(self, signed: SignedOperation) -> OperationOutcome | None:
        """Return why `signed` is refused, whatever has been applied so far."""
        # OP-033
        inner = signed.inner
        if self.is_strict and (
            len(inner.path) > OPLOG_PATH_MAX or len(signed.depends_on) > OPLOG_DEPENDENCIES_MAX
        ):
            return TOO_LONG
        digest = hash_text(signed_text(signed))
        # D-165 at both levels: see `signatures`.
        if not is_signed(signed.author, digest, signed.signed_digest):
            return BAD_DIGEST
        return self._strict_fault(signed) if self.is_strict else None

    def _strict_fault(self, signed: SignedOperation) -> OperationOutcome | None:
        """Return why a correct node refuses `signed`, though the signature is valid."""
        members = self.settings.members
        if members is not None and signed.author not in members:
            return NOT_A_MEMBER
        # D-118: what a forger changed is noticed before anything of it is kept.
        if not has_valid_id(signed.inner):
            return BAD_HASH
        # D-122
        if signed.inner.sequence > OPLOG_SEQUENCE_MAX:
            return SEQUENCE_LIMIT
        return author_fault(signed)

    def _take(self, signed: SignedOperation) -> tuple[OperationOutcome, list[SignedOperation]]:
        """Return the outcome of a checked operation, and what it releases, the first one last."""
        take = self._take_corrected if self.is_strict else self._take_recorded
        outcome, keys = take(signed)
        released = [waiting for key in keys for waiting in self.queue.take(key)]
        released.reverse()
        return outcome, released

    def _wait_for_declared(self, signed: SignedOperation) -> bool:
        """Return True if `signed` waits for an operation that it declares as a dependency."""
        for digest in signed.depends_on:
            if digest not in self.received:
                self.queue.put(signed, digest)
                return True
        return False

    def _take_recorded(self, signed: SignedOperation) -> tuple[OperationOutcome, list[Hashable]]:
        if self._wait_for_declared(signed):
            return MISSING, []
        outcome = apply_recorded(self.document, signed.inner)
        if outcome is OK:
            self.applied.append(signed)
        self.sequence = max(self.sequence, signed.inner.sequence)
        self.received.add(signed.signed_digest)
        return outcome, [signed.signed_digest]

    def _take_corrected(self, signed: SignedOperation) -> tuple[OperationOutcome, list[Hashable]]:
        inner = signed.inner
        name = inner.id, inner.path
        copies = self._copies.get(name, 0)
        if copies and signed.signed_digest in self.received:
            return ALREADY_SEEN, []
        # OP-051
        is_many = self._of_author[signed.author] >= self.settings.author_max
        if copies >= OPLOG_COPIES_MAX or (copies and is_many):
            return TOO_MANY_COPIES, []
        if is_many:
            return TOO_MANY_OF_AUTHOR, []
        if self._wait_for_declared(signed):
            return MISSING, []
        outcome = self._change(signed)
        if outcome is not OK:
            return outcome, []
        self.sequence = max(self.sequence, inner.sequence)
        self.received.add(signed.signed_digest)
        self._copies[name] = copies + 1
        self._of_author[signed.author] += 1
        self.applied.append(signed)
        keys: list[Hashable] = [signed.signed_digest, (inner.path[:-1], inner.id)]
        # D-117: a copy under another signature changes nothing but the order of ties.
        return (ALREADY_SEEN if copies else OK), keys

    def _change(self, signed: SignedOperation) -> OperationOutcome:
        """Apply `signed` to the document, or let it wait for its target or origin."""
        # D-122: only now, since what it waited for may have raised the bound.
        outcome = apply_corrected(self.document, signed, self.sequence + OPLOG_SEQUENCE_AHEAD_MAX)
        if isinstance(outcome, Waits):
            self.queue.put(signed, outcome.key)
            return MISSING
        return outcome
