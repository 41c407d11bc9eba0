"""Documents of socket cases, made and read by Automerge in its child process.

Calls take well under a millisecond and are made directly; what a target sent is read in a thread,
because hostile bytes may keep the child busy until its own deadline ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import Final

from meshwire_conformance.documents.client import Contents, Documents, State, Unreadable
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.content import Heads, Made
from meshwire_spec.numbers import FrameType
from meshwire_spec.schemas.steps import DocumentSpec

PEER = "target"
CALL_S = 3.0


def _made(state: State) -> Made:
    return Made(state.saved, frozenset(state.heads))


class Doorway:
    """Fulfils `content.Documents`; `close` ends the child."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._names = (f"document {number}" for number in count())

    async def make(self, spec: DocumentSpec, bases: Collection[bytes]) -> Made:
        """A document with these edits on top of the merge of others."""
        name = next(self._names)
        edits = [*([spec.fields] if spec.fields is not None else []), *spec.edits]
        try:
            state = self._documents.create(name, {"actor": spec.actor})
            if bases:
                state = self._documents.merge(name, *bases)
            if edits:
                state = self._documents.edit(name, *edits)
        except Unreadable as exc:
            raise SuiteFault(f"a document of the suite is wrong: {exc}") from exc
        return _made(state)

    async def merge(self, saved: Collection[bytes]) -> Made:
        """The merge of documents."""
        name = next(self._names)
        self._documents.create(name)
        return _made(self._documents.merge(name, *saved))

    async def delta(self, saved: bytes, known: bytes | None) -> bytes:
        """A sync message with every change that a peer with `known` lacks."""
        ours, theirs = next(self._names), next(self._names)
        self._load(ours, saved)
        self._load(theirs, known or b"")
        for name in (ours, theirs):
            self._documents.begin(name, PEER)
        asked = self._documents.generate(theirs, PEER)
        if asked is not None:
            self._documents.receive(ours, PEER, asked)
        message = self._documents.generate(ours, PEER)
        if message is None:
            raise SuiteFault("a delta of the suite has nothing to say")
        return message

    def _load(self, name: str, saved: bytes) -> None:
        if saved:
            self._documents.load(name, saved)
        else:
            self._documents.create(name)

    async def heads_of(self, frame_type: int, payload: bytes) -> Heads:
        """Heads of an empty document once this payload was taken in; raises ValueError."""
        read = _READERS.get(frame_type)
        if read is None:
            raise ValueError(f"a frame of type 0x{frame_type:02x} has no document")
        try:
            contents = await asyncio.to_thread(read, self._documents, payload)
        except Unreadable as exc:
            raise ValueError(str(exc)) from exc
        return frozenset(contents.heads)

    async def open_exchange(self, saved: bytes) -> DoorwayExchange:
        """An exchange from a fresh state about a document of ours."""
        name = next(self._names)
        self._load(name, saved)
        self._documents.begin(name, PEER)
        return DoorwayExchange(self._documents, name)

    async def close(self) -> None:
        """End the child process."""
        self._documents.close()


class DoorwayExchange:
    """Fulfils `content.Exchange`."""

    def __init__(self, documents: Documents, name: str) -> None:
        self._documents = documents
        self._name = name

    async def generate(self) -> bytes | None:
        """The next message, or None where there is nothing to say now."""
        return self._documents.generate(self._name, PEER)

    async def receive(self, frame_type: int, payload: bytes) -> None:
        """Take in a delta or a snapshot; raises ValueError."""
        try:
            if frame_type == FrameType.DELTA:
                await asyncio.to_thread(self._documents.receive, self._name, PEER, payload)
            else:
                await asyncio.to_thread(self._documents.merge, self._name, payload)
        except Unreadable as exc:
            raise ValueError(str(exc)) from exc

    async def heads(self) -> Heads:
        """Heads of our document now."""
        return frozenset(self._documents.state(self._name).heads)

    async def close(self) -> None:
        """Forget the document and its exchange."""
        self._documents.forget(self._name)


# By number, since a frame may carry a type that no registry knows.
_READERS: Final[Mapping[int, Callable[[Documents, bytes], Contents]]] = {
    FrameType.DELTA: Documents.read_message,
    FrameType.SNAPSHOT: Documents.read_snapshot,
}


async def open_doorway() -> Doorway:
    """Start Automerge; raises `documents.client.Unavailable`."""
    documents = Documents(call_s=CALL_S)
    try:
        await asyncio.to_thread(documents.start)
    except asyncio.CancelledError:
        # The thread goes on starting it; this waits for that.
        await asyncio.to_thread(documents.close)
        raise
    return Doorway(documents)
