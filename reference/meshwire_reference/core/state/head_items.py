"""The documents as items of a reconciliation by heads, and how their heads become known.

Theory of operation. The id of an item is made of the key of a document and its heads, so a document
that has changed is another item, and a run finds it (D-89). Each write tells the heads that the
document has with it. Of documents that the store has held since before the start they are not
known: the survey asks the worker for them, some at a time, before the first run that needs them.
The set follows the documents from then on. A node without peers that compare by heads keeps none.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from meshwire_reference.core.document_calls import Call, FindHeads, FoundHeads, Heads, Result
from meshwire_reference.core.state.document_queues import Job, KeyQueues
from meshwire_reference.negentropy import Index, Storage

PLACE: Final = 4
"""Bytes of the digest of a key that are the timestamp of its item.

They bring the two items of a document that differs next to each other, into one range.
"""
AT_ONCE: Final = 128
"""Documents whose heads are asked for at a time."""


def place_of(key: str) -> int:
    """Return the timestamp of the item of a document, the same whatever its heads."""
    # NG-069
    return int.from_bytes(sha256(key.encode()).digest()[:PLACE], "big")


def identify_version(key: str, heads: Heads) -> bytes:
    """Return the id of a document with these heads, which are in order."""
    # NG-066
    return sha256(b"\x00".join((key.encode(), b"".join(heads)))).digest()


class HeadItems:
    """The set that a run by heads compares; `note` each change of a document."""

    def __init__(self, *, is_kept: bool) -> None:
        self._is_kept = is_kept
        self._ids: dict[str, bytes] = {}
        self._keys: dict[bytes, str] = {}
        self._unknown: dict[str, None] = {}
        self._asked: set[str] = set()
        self._items: Index | None = None

    @property
    def is_known(self) -> bool:
        """True if the heads of every document are known."""
        return not (self._unknown or self._asked)

    def note(self, key: str, heads: Heads) -> None:
        """Note the heads that a document has now; none of them means that they are not known."""
        if not self._is_kept:
            return
        self.remove(key)
        if not heads:
            self._unknown[key] = None
            return
        identity = identify_version(key, heads)
        self._ids[key] = identity
        self._keys[identity] = key
        if self._items is not None:
            self._items.insert(place_of(key), identity)

    def remove(self, key: str) -> None:
        """Note that a document is gone."""
        self._unknown.pop(key, None)
        self._asked.discard(key)
        identity = self._ids.pop(key, None)
        if identity is None:
            return
        del self._keys[identity]
        if self._items is not None:
            self._items.delete(place_of(key), identity)

    def take_unknown(self) -> str | None:
        """Return a document whose heads are to be asked for, or None if there is none left."""
        key = next(iter(self._unknown), None)
        if key is not None:
            del self._unknown[key]
            self._asked.add(key)
        return key

    def answer(self, key: str, heads: Heads) -> None:
        """Note the heads that were asked for, unless the document has changed meanwhile.

        A document that cannot be read has none, and is left out of the set.
        """
        if key in self._asked:
            self._asked.discard(key)
            if heads:
                self.note(key, heads)

    def as_storage(self) -> Storage:
        """Return the set for runs; it follows changes of the documents."""
        if self._items is None:
            self._items = Index((place_of(key), identity) for key, identity in self._ids.items())
        return self._items

    def key_of(self, identity: bytes) -> str | None:
        """Return the key of an item of the set, or None if its document is gone or has changed."""
        return self._keys.get(identity)


class HeadsSurvey:
    """Asks the worker for the heads that are not known."""

    def __init__(self, queues: KeyQueues, items: HeadItems) -> None:
        self._queues = queues
        self._items = items
        self._under_way = 0
        self._waiting: list[Callable[[], None]] = []

    def when_known(self, then: Callable[[], None]) -> None:
        """Call `then` once the heads of all documents are known, now if they are."""
        if self._items.is_known:
            then()
            return
        self._waiting.append(then)
        self._advance()

    def take(self, key: str, result: Result) -> None:
        """Take the answer about one document."""
        self._under_way -= 1
        self._items.answer(key, result.heads if isinstance(result, FoundHeads) else ())
        self._advance()

    def _advance(self) -> None:
        while self._under_way < AT_ONCE and (key := self._items.take_unknown()) is not None:
            self._under_way += 1
            self._queues.add(key, _FindingHeads(self, key))
        if self._items.is_known:
            waiting, self._waiting = self._waiting, []
            for then in waiting:
                then()


class _FindingHeads(Job):
    """Asks for the heads of one document, in its queue."""

    def __init__(self, survey: HeadsSurvey, key: str) -> None:
        self._survey = survey
        self._key = key

    @property
    def reads_by(self) -> type[Call]:
        """The type of the call, which changes nothing."""
        return FindHeads

    def begin(self) -> Call:
        return FindHeads(self._key)

    def finish(self, result: Result) -> None:
        self._survey.take(self._key, result)
