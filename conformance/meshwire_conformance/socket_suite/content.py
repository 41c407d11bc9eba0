"""Documents of socket cases: created and read by Automerge, and compared with what frames hold.

Automerge runs in a child process, which `Doorway` calls. Calls take well under a millisecond and
are made directly; what a target sent is read in a thread, because hostile bytes may keep the child
busy until its limit of CPU time ends it. `Contents` keeps the documents of one case and decides
whether an arrival matches what the case wants.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import msgspec

from meshwire_conformance.documents.client import Documents, PayloadContents, State, Unreadable
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_spec.codec import Malformed, decode
from meshwire_spec.numbers import AUTOMERGE_SYNC_MARKERS, FRAME_TYPES, FrameType
from meshwire_spec.schemas.steps import DocumentSpec

PEER = "target"
CALL_S = 3.0
"""CPU time in seconds that one call of the document library may take."""
_KEPT_MAX = 4096
"""Longest payload in bytes whose heads are kept, for the next case that is sent the same one."""
_HASH = 32
"""Bytes of a hash."""
_NAMES = {row.type: row.name for row in FRAME_TYPES}

BASE = {"base": DocumentSpec(actor="0a0b0c0d", fields={"name": "alpha"})}
"""The document that most cases written in Python send."""

Heads = frozenset[str]


@dataclass(frozen=True, slots=True)
class Made:
    """A document: its saved bytes and its heads."""

    saved: bytes
    heads: Heads


def _made(state: State) -> Made:
    return Made(state.saved, frozenset(state.heads))


class Doorway:
    """Automerge for socket cases; `close` ends the child process."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._names = (f"document {number}" for number in count())
        self._made: dict[tuple[bytes, tuple[bytes, ...]], Made] = {}
        """Documents by the text of their spec and their bases: many cases have equal ones."""
        self._heads: dict[tuple[int, bytes], Heads] = {}
        """Heads by type and payload, which alone decide them."""

    async def make(self, spec: DocumentSpec, bases: Collection[bytes], mark: str) -> Made:
        """Return a document with these edits on top of the merge of `bases`.

        `mark` is hex that ends its actor.
        """
        spec = msgspec.structs.replace(spec, actor=spec.actor + mark)
        wanted = msgspec.json.encode(spec), tuple(bases)
        made = self._made.get(wanted)
        if made is None:
            made = self._made[wanted] = self._make(spec, bases)
        return made

    def _make(self, spec: DocumentSpec, bases: Collection[bytes]) -> Made:
        name = next(self._names)
        edits = [*([spec.fields] if spec.fields is not None else []), *spec.edits]
        try:
            state = self._documents.create(name, {"actor": spec.actor})
            if bases:
                state = self._documents.merge(name, *bases)
            if edits:
                state = self._documents.edit(name, *edits)
        except Unreadable as exc:
            raise SuiteFault(f"a document of the suite is invalid: {exc}") from exc
        return _made(state)

    async def merge(self, saved: Collection[bytes]) -> Made:
        """Return the merge of the saved documents."""
        name = next(self._names)
        self._documents.create(name)
        return _made(self._documents.merge(name, *saved))

    async def delta(self, saved: bytes, known: bytes | None) -> bytes:
        """Return a sync message with every change that a peer with the document `known` lacks."""
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
            raise SuiteFault("a delta of the suite has no message")
        return message

    def _load(self, name: str, saved: bytes) -> None:
        if saved:
            self._documents.load(name, saved)
        else:
            self._documents.create(name)

    async def heads_of(self, frame_type: int, payload: bytes) -> Heads:
        """Return the heads of an empty document after this payload; raises ValueError."""
        known = self._heads.get((frame_type, payload))
        if known is not None:
            return known
        read = _READERS.get(frame_type)
        if read is None:
            raise ValueError(f"a frame of type 0x{frame_type:02x} has no document")
        try:
            contents = await asyncio.to_thread(read, self._documents, payload)
        except Unreadable as exc:
            raise ValueError(str(exc)) from exc
        heads = frozenset(contents.heads)
        if len(payload) <= _KEPT_MAX:
            self._heads[frame_type, payload] = heads
        return heads

    async def contents_of(self, frame_type: int, payload: bytes) -> PayloadContents:
        """Return what this payload adds to an empty document; raises ValueError."""
        try:
            return await asyncio.to_thread(_READERS[frame_type], self._documents, payload)
        except Unreadable as exc:
            raise ValueError(str(exc)) from exc

    async def open_exchange(self, saved: bytes) -> Exchange:
        """Return a new exchange about a document of the suite."""
        name = next(self._names)
        self._load(name, saved)
        self._documents.begin(name, PEER)
        return Exchange(self._documents, name)

    async def close(self) -> None:
        """End the child process."""
        self._documents.close()


class Exchange:
    """One side of Automerge's sync protocol about one document."""

    def __init__(self, documents: Documents, name: str) -> None:
        self._documents = documents
        self._name = name

    async def generate(self) -> bytes | None:
        """Return the next message, or None if there is nothing to send now."""
        return self._documents.generate(self._name, PEER)

    async def receive(self, frame_type: int, payload: bytes) -> None:
        """Apply a delta or a snapshot; raises ValueError."""
        try:
            if frame_type == FrameType.DELTA:
                await asyncio.to_thread(self._documents.receive, self._name, PEER, payload)
            else:
                await asyncio.to_thread(self._documents.merge, self._name, payload)
        except Unreadable as exc:
            raise ValueError(str(exc)) from exc

    async def heads(self) -> Heads:
        """Return the current heads of the document."""
        return frozenset(self._documents.state(self._name).heads)

    async def close(self) -> None:
        """Forget the document and its exchange."""
        self._documents.forget(self._name)


# By number, since a frame may carry a type that no registry knows.
_READERS: Final[Mapping[int, Callable[[Documents, bytes], PayloadContents]]] = {
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an arrival must contain: heads, or members of a tombstone; None matches anything."""

    key: str
    type: int | None = None
    heads: Heads | None = None
    tombstone: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The place where an arrival differs from what was wanted.

    `field` is a member of the content, `came` describes the value received, and `wanted` the value
    it should have; None if `came` says everything.
    """

    field: str
    came: str
    wanted: str | None = None

    def line(self) -> str:
        """Return the mismatch as one line."""
        return f"{self.field}: {self.came}"


@dataclass(slots=True)
class Contents:
    """The documents of one case by name.

    `mark` is hex that ends the actor of each: cases with different marks have no document with the
    same changes, so that the document of one is never the answer that another waits for.
    """

    doorway: Doorway | None
    mark: str = ""
    made: dict[str, Made] = field(default_factory=dict)
    deltas: dict[tuple[str, str | None], bytes] = field(default_factory=dict)

    @property
    def documents(self) -> Doorway:
        """The doorway; raises SuiteFault if the case did not declare that it needs documents."""
        if self.doorway is None:
            raise SuiteFault("the `needs` of this case does not list documents")
        return self.doorway

    @property
    def saved(self) -> Mapping[str, bytes]:
        """Saved bytes of every document of the case."""
        return {name: made.saved for name, made in self.made.items()}

    async def make(self, specs: Mapping[str, DocumentSpec]) -> None:
        """Create the documents of a case in order; each may merge earlier ones."""
        for name, spec in specs.items():
            bases = [self.made[base].saved for base in spec.merge]
            self.made[name] = await self.documents.make(spec, bases, self.mark)

    async def prepare_delta(self, name: str, known: str | None = None) -> None:
        """Create the sync message that `delta` returns.

        If `known` is `name`, it is the message that opens an exchange.
        """
        saved = self.made[name].saved
        if known == name:
            exchange = await self.documents.open_exchange(saved)
            message = await exchange.generate() or b""
            await exchange.close()
        else:
            base = None if known is None else self.made[known].saved
            message = await self.documents.delta(saved, base)
        self.deltas[name, known] = message

    def delta(self, name: str, known: str | None) -> bytes:
        """Return a sync message that `prepare_delta` created."""
        return self.deltas[name, known]

    async def heads(self, names: Collection[str]) -> Heads:
        """Return the heads of the merge of the named documents."""
        if len(names) == 1:
            return self.made[next(iter(names))].heads
        return (await self.documents.merge([self.made[name].saved for name in names])).heads

    async def mismatch(self, wanted: Wanted, arrival: Arrival, *, strict: bool) -> Mismatch | None:
        """Return where an arrival differs from what is wanted, or None if it matches."""
        if wanted.type is not None and arrival.type != wanted.type:
            came = _NAMES.get(FrameType(arrival.type), arrival.type)
            return Mismatch("type", f"a {came}", _NAMES[FrameType(wanted.type)])
        if arrival.type == FrameType.TOMBSTONE:
            return _tombstone_mismatch(wanted, arrival)
        if wanted.heads is None:
            return None
        return await self._heads_mismatch(wanted.heads, arrival, strict=strict)

    async def _heads_mismatch(
        self, wanted: Heads, arrival: Arrival, *, strict: bool
    ) -> Mismatch | None:
        if arrival.type == FrameType.DELTA:
            declared = declared_heads(arrival.payload)
            if declared is None:
                return Mismatch("sync-message", "it is none")
            if declared != wanted:
                return Mismatch("heads", heads_text(declared), heads_text(wanted))
            # The answer to a read has the changes; a pushed delta may have only heads.
            if not strict or not wanted:
                return None
        return await self._applied_mismatch(wanted, arrival)

    async def _applied_mismatch(self, wanted: Heads, arrival: Arrival) -> Mismatch | None:
        """Return None if an empty document has the wanted heads after this content."""
        if self.doorway is None:
            return None
        try:
            heads = await self.doorway.heads_of(arrival.type, arrival.payload)
        except ValueError as exc:
            return Mismatch("document", str(exc))
        if heads == wanted:
            return None
        return Mismatch("heads", f"its changes give {heads_text(heads)}", heads_text(wanted))


def declared_heads(message: bytes) -> Heads | None:
    """Return the heads that a sync message declares, or None if it is not a sync message."""
    if len(message) < 2 or message[0] not in AUTOMERGE_SYNC_MARKERS:  # noqa: PLR2004
        return None
    count = message[1]
    if len(message) < 2 + count * _HASH:
        return None
    starts = range(2, 2 + count * _HASH, _HASH)
    return frozenset(message[start : start + _HASH].hex() for start in starts)


def member_text(value: object) -> str:
    """Return a member of a tombstone as a report shows it."""
    return (value.hex() or "none") if isinstance(value, bytes) else str(value)


def heads_text(heads: Heads) -> str:
    """Return heads as a report shows them."""
    return ", ".join(sorted(heads)) or "none"


def _tombstone_mismatch(wanted: Wanted, arrival: Arrival) -> Mismatch | None:
    if wanted.heads is not None:
        return Mismatch("tombstone", "it is deleted")
    try:
        fields = decode("tombstone", arrival.payload).fields
    except Malformed as exc:
        return Mismatch("tombstone", str(exc))
    for name, value in (wanted.tombstone or {}).items():
        if fields[name] != value:
            return Mismatch(name, member_text(fields[name]), member_text(value))
    return None
