"""Changes that wait for their dependencies (DC-046), kept as they came and outside Automerge.

What Automerge keeps pending within a document is part of what it saves and sends, so the library
never sees a change before its dependencies. The changes of all documents are in one order of
arrival, with a bound over all and one for each document; beyond a bound the oldest are dropped, and
every loss is reported.

The library has no call that asks for a change by its hash, so `lacked_by` asks the sync protocol,
whose answer names what the document lacks.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, cast

from automerge.core import Document, Message, SyncState

from meshwire_reference.core.sync_messages import encode_leb, read_message
from meshwire_reference.documents.chunks import CheckedChunk
from meshwire_reference.documents.limits import PendingDropped
from meshwire_spec.numbers import PAYLOAD_MAX

PENDING_MAX: Final = PAYLOAD_MAX
"""Greatest size of the pending changes of one document, in bytes."""
PENDING_TOTAL_MAX: Final = 2 * PAYLOAD_MAX
"""Greatest size of all pending changes, in bytes."""
CHANGE_BYTES: Final = 1024
"""Bytes that a pending change is assumed to take besides its own."""
NEED_MAX: Final = 1024
"""Greatest number of missing dependencies that one message names."""


def cost_of(change: CheckedChunk) -> int:
    """Return what a pending change counts for: its size inflated, or as it came if larger."""
    return CHANGE_BYTES + max(change.size, len(change.data))


def message_of(heads: Collection[bytes], chunks: Collection[bytes]) -> bytes:
    """Return a sync message with these heads and changes, which asks for nothing."""
    hashes = encode_leb(len(heads)) + b"".join(heads)
    runs = b"".join(encode_leb(len(chunk)) + chunk for chunk in chunks)
    return b"\x42" + hashes + b"\x00\x00" + encode_leb(len(chunks)) + runs


def apply_changes(document: Document, chunks: Collection[bytes]) -> None:
    """Apply chunks to a document. Raises what the library raises, which may break the document."""
    document.receive_sync_message(SyncState(), Message.decode(message_of((), chunks)))


def lacked_by(document: Document, hashes: Iterable[bytes]) -> set[bytes]:
    """Return which of these changes a document has not applied."""
    # Most often these are the newest changes of the document.
    asked = set(hashes).difference(document.get_heads())
    if not asked:
        return asked
    state = SyncState()
    # With its own heads in the message the library does not describe its history in the answer.
    message = message_of(sorted(asked.union(document.get_heads())), ())
    document.receive_sync_message(state, Message.decode(message))
    # The library may return None, which its type stub does not say.
    answer = cast("Message | None", document.generate_sync_message(state))
    return set() if answer is None else asked.intersection(read_message(answer.encode()).need)


def split_ready(
    changes: Iterable[CheckedChunk], lacked: set[bytes]
) -> tuple[list[CheckedChunk], list[CheckedChunk]]:
    """Split changes into those that can be applied, in that order, and those that have to wait.

    `lacked` are the dependencies that neither the document nor these changes have.
    """
    by_hash = {change.hash: change for change in changes}
    unmet = {
        hashed: {link for link in change.links if link in lacked or link in by_hash}
        for hashed, change in by_hash.items()
    }
    children: dict[bytes, list[bytes]] = {}
    for hashed, links in unmet.items():
        for link in links:
            children.setdefault(link, []).append(hashed)
    order = [hashed for hashed, links in unmet.items() if not links]
    for hashed in order:
        for child in children.get(hashed, ()):
            unmet[child].discard(hashed)
            if not unmet[child]:
                order.append(child)
    ready = [by_hash[hashed] for hashed in order]
    return ready, [by_hash[hashed] for hashed, links in unmet.items() if links]


def deps_of(changes: Iterable[CheckedChunk]) -> set[bytes]:
    """Return every dependency of these changes."""
    return {link for change in changes for link in change.links}


@dataclass(frozen=True, slots=True)
class Settled:
    """A document with every change that can be applied, and what becomes of the others."""

    document: Document
    waiting: list[CheckedChunk]
    refused: list[CheckedChunk]


def settle(document: Document, changes: list[CheckedChunk]) -> Settled:
    """Apply to a document, or to a fork of it, those changes whose dependencies are there."""
    links = deps_of(changes).difference(change.hash for change in changes)
    ready, waiting = split_ready(changes, lacked_by(document, links))
    if not ready:
        return Settled(document, waiting, [])
    fork = try_changes(document, ready)
    if fork is not None:
        return Settled(fork, waiting, [])
    # One of them is at fault, and the others must not be lost with it.
    refused: list[CheckedChunk] = []
    for change in ready:
        lost = {one.hash for one in refused}
        fork = None if lost.intersection(change.links) else try_changes(document, [change])
        if fork is None:
            refused.append(change)
        else:
            document = fork
    return Settled(document, waiting, refused)


def try_changes(document: Document, changes: list[CheckedChunk]) -> Document | None:
    """Return a fork of a document that has these changes; None if the library refuses one."""
    fork = document.fork()
    try:
        apply_changes(fork, [change.data for change in changes])
        return None if lacked_by(fork, (change.hash for change in changes)) else fork
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException:  # noqa: BLE001  # a panic of the library is no Exception
        return None


class PendingChanges:
    """The pending changes of every document, oldest first."""

    def __init__(self) -> None:
        self._changes: OrderedDict[tuple[str, bytes], CheckedChunk] = OrderedDict()
        self._hashes: dict[str, OrderedDict[bytes, None]] = {}
        self._sizes: dict[str, int] = {}
        self._total = 0
        self._losses: dict[tuple[str, str], int] = {}

    def of(self, key: str) -> list[CheckedChunk]:
        """Return the pending changes of a document, oldest first."""
        return [self._changes[key, hashed] for hashed in self._hashes.get(key, ())]

    def count(self, key: str) -> int:
        """Return how many changes of a document are pending."""
        return len(self._hashes.get(key, ()))

    def size_of(self, key: str) -> int:
        """Return the size of the pending changes of a document, in bytes."""
        return self._sizes.get(key, 0)

    def keep(self, key: str, changes: Collection[CheckedChunk]) -> None:
        """Make these the pending changes of a document, the oldest dropped beyond the bounds."""
        kept = {change.hash for change in changes}
        for hashed in [one for one in self._hashes.get(key, ()) if one not in kept]:
            self._remove(key, hashed)
        for change in changes:
            if (key, change.hash) not in self._changes:
                self._changes[key, change.hash] = change
                self._hashes.setdefault(key, OrderedDict())[change.hash] = None
                self._count(key, cost_of(change))
        while self.size_of(key) > PENDING_MAX:
            self._lose(key, next(iter(self._hashes[key])), "limit")
        while self._total > PENDING_TOTAL_MAX:
            self._lose(*next(iter(self._changes)), "limit")

    def drop(self, key: str) -> None:
        """Drop the pending changes of a document that was removed."""
        for hashed in list(self._hashes.get(key, ())):
            self._lose(key, hashed, "removed")

    def refuse(self, key: str, changes: Iterable[CheckedChunk]) -> None:
        """Drop changes that Automerge has refused once their dependencies were there."""
        for change in changes:
            self._note(key, "bad-document")
            if (key, change.hash) in self._changes:
                self._remove(key, change.hash)

    def take_losses(self) -> tuple[PendingDropped, ...]:
        """Return what was dropped since the last time."""
        losses = tuple(PendingDropped(key, why, lost) for (key, why), lost in self._losses.items())
        self._losses.clear()
        return losses

    def _lose(self, key: str, hashed: bytes, reason: str) -> None:
        self._note(key, reason)
        self._remove(key, hashed)

    def _note(self, key: str, reason: str) -> None:
        self._losses[key, reason] = self._losses.get((key, reason), 0) + 1

    def _remove(self, key: str, hashed: bytes) -> None:
        change = self._changes.pop((key, hashed))
        del self._hashes[key][hashed]
        self._count(key, -cost_of(change))
        if not self._hashes[key]:
            del self._hashes[key], self._sizes[key]

    def _count(self, key: str, cost: int) -> None:
        self._sizes[key] = self._sizes.get(key, 0) + cost
        self._total += cost
