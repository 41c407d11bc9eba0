"""The causal queue: operations that wait for others, within a bound.

Each waits for one key at a time. An entry that is over the bound makes room by evicting the oldest
ones, which is counted: the node must then ask a peer for its operations again.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from meshwire_reference.oplog.operations import Path, SignedOperation
from meshwire_reference.oplog.values import ABSENT, Content
from meshwire_spec.numbers import OPLOG_QUEUE_BYTES_MAX, OPLOG_QUEUE_COUNT_MAX

# The memory that an operation takes besides what varies: two keys, two ids, a signature, objects.
_BASE_SIZE = 1024


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait at once."""

    count: int = OPLOG_QUEUE_COUNT_MAX
    size: int = OPLOG_QUEUE_BYTES_MAX


def content_size(content: Content) -> int:
    """Return about how many bytes `content` takes in memory."""
    if isinstance(content, str):
        return 64 + 4 * len(content)
    if isinstance(content, list):
        return 64 + sum(8 + content_size(part) for part in content)
    if isinstance(content, dict):
        return 64 + sum(136 + 4 * len(name) + content_size(part) for name, part in content.items())
    return 0 if content is ABSENT else 32


def operation_size(signed: SignedOperation) -> int:
    """Return about how many bytes `signed` takes in memory, rather too many than too few."""
    path: Path = signed.inner.path
    path_size = sum(96 + (4 * len(part) if isinstance(part, str) else 0) for part in path)
    return (
        _BASE_SIZE + path_size + 112 * len(signed.depends_on) + content_size(signed.inner.content)
    )


@dataclass(slots=True)
class _Entry:
    signed: SignedOperation
    key: Hashable
    size: int


class CausalQueue:
    """What waits, by the key that it waits for, and in the order of arrival."""

    def __init__(self, limits: QueueLimits, *, deduplicates: bool) -> None:
        self._limits = limits
        self._deduplicates = deduplicates
        # By a number in the order of arrival; the oldest entry is the first.
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._by_key: dict[Hashable, dict[int, None]] = {}
        # What waits, as the only parts of it that no signature or id fixes tell it apart.
        self._known: set[tuple[bytes, Path]] = set()
        self._next = 0
        self.size = 0
        self.evicted = 0

    def __len__(self) -> int:
        """Return how many operations wait."""
        return len(self._entries)

    def holds(self, signed: SignedOperation) -> bool:
        """Return True if this very operation waits already."""
        return (signed.signed_digest, signed.inner.path) in self._known

    def put(self, signed: SignedOperation, key: Hashable) -> None:
        """Let `signed` wait for `key`; evict the oldest entries that no longer fit."""
        if self._deduplicates and self.holds(signed):
            return
        size = operation_size(signed)
        number = self._next
        self._next += 1
        self._entries[number] = _Entry(signed, key, size)
        self._by_key.setdefault(key, {})[number] = None
        self._known.add((signed.signed_digest, signed.inner.path))
        self.size += size
        while len(self._entries) > self._limits.count or self.size > self._limits.size:
            self._evict()

    def take(self, key: Hashable) -> list[SignedOperation]:
        """Remove and return what waits for `key`, in the order of arrival."""
        numbers = self._by_key.pop(key, {})
        return [self._remove(number).signed for number in numbers]

    def _evict(self) -> None:
        number = next(iter(self._entries))
        entry = self._remove(number)
        waiting = self._by_key[entry.key]
        del waiting[number]
        if not waiting:
            del self._by_key[entry.key]
        self.evicted += 1

    def _remove(self, number: int) -> _Entry:
        entry = self._entries.pop(number)
        self.size -= entry.size
        self._known.discard((entry.signed.signed_digest, entry.signed.inner.path))
        return entry
