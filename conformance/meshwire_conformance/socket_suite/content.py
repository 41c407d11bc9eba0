"""What frames say about documents: made for a case, looked into when they come, compared.

Documents are Automerge's business and live in a child process; this module keeps their bytes and
heads, and decides whether an arrival says what a case wants.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_spec.codec import Malformed, decode
from meshwire_spec.numbers import AUTOMERGE_SYNC_MARKERS, FRAME_TYPES, FrameType
from meshwire_spec.schemas.steps import DocumentSpec

_HASH = 32
_NAMES = {row.type: row.name for row in FRAME_TYPES}

Heads = frozenset[str]


@dataclass(frozen=True, slots=True)
class Made:
    """A document: its saved bytes and its heads."""

    saved: bytes
    heads: Heads


class Exchange(Protocol):
    """Automerge's sync protocol about one document, from our side."""

    async def generate(self) -> bytes | None:
        """The next message, or None where there is nothing to say now."""

    async def receive(self, frame_type: int, payload: bytes) -> None:
        """Take in a delta or a snapshot; raises ValueError."""

    async def heads(self) -> Heads:
        """Heads of our document now."""

    async def close(self) -> None:
        """Forget the exchange."""


class Documents(Protocol):
    """The doorway to Automerge that socket cases need."""

    async def make(self, spec: DocumentSpec, bases: Collection[bytes]) -> Made:
        """A document with these edits on top of the merge of others."""

    async def merge(self, saved: Collection[bytes]) -> Made:
        """The merge of documents."""

    async def delta(self, saved: bytes, known: bytes | None) -> bytes:
        """A sync message with every change that a peer with `known` lacks."""

    async def close(self) -> None:
        """End the child process."""

    async def heads_of(self, frame_type: int, payload: bytes) -> Heads:
        """Heads of an empty document once this payload was taken in; raises ValueError."""

    async def open_exchange(self, saved: bytes) -> Exchange:
        """An exchange from a fresh state about a document of ours."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an arrival has to say: heads, or members of a tombstone; None means anything."""

    key: str
    type: int | None = None
    heads: Heads | None = None
    tombstone: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Contents:
    """The documents of one case by name."""

    doorway: Documents | None
    made: dict[str, Made] = field(default_factory=dict)
    deltas: dict[tuple[str, str | None], bytes] = field(default_factory=dict)

    @property
    def documents(self) -> Documents:
        """The doorway; raises SuiteFault where a case without documents asks for it."""
        if self.doorway is None:
            raise SuiteFault("this case does not say that it needs documents")
        return self.doorway

    @property
    def saved(self) -> Mapping[str, bytes]:
        """Saved bytes of every document of the case."""
        return {name: made.saved for name, made in self.made.items()}

    async def make(self, specs: Mapping[str, DocumentSpec]) -> None:
        """Make the documents of a case, in their order, each of which may merge earlier ones."""
        for name, spec in specs.items():
            bases = [self.made[base].saved for base in spec.merge]
            self.made[name] = await self.documents.make(spec, bases)

    async def prepare_delta(self, name: str, known: str | None = None) -> None:
        """Make the sync message that `delta` gives; where both are one, that which opens."""
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
        """A sync message that was prepared."""
        return self.deltas[name, known]

    async def heads(self, names: Collection[str]) -> Heads:
        """Heads of the merge of documents."""
        if len(names) == 1:
            return self.made[next(iter(names))].heads
        return (await self.documents.merge([self.made[name].saved for name in names])).heads

    async def mismatch(self, wanted: Wanted, arrival: Arrival, *, strict: bool) -> str | None:
        """Why an arrival does not say what is wanted, or None where it does."""
        if wanted.type is not None and arrival.type != wanted.type:
            return f"type: a {_NAMES.get(FrameType(arrival.type), arrival.type)}"
        if arrival.type == FrameType.TOMBSTONE:
            return _tombstone_mismatch(wanted, arrival)
        if wanted.heads is None:
            return None
        return await self._heads_mismatch(wanted.heads, arrival, strict=strict)

    async def _heads_mismatch(self, wanted: Heads, arrival: Arrival, *, strict: bool) -> str | None:
        if arrival.type == FrameType.DELTA:
            declared = declared_heads(arrival.payload)
            if declared is None:
                return "sync-message: it is none"
            if declared != wanted:
                return f"heads: {', '.join(sorted(declared)) or 'none'}"
            # A read is answered with the changes themselves; what is pushed may be heads alone.
            if not strict or not wanted:
                return None
        return await self._applied_mismatch(wanted, arrival)

    async def _applied_mismatch(self, wanted: Heads, arrival: Arrival) -> str | None:
        """Why the content itself, taken into an empty document, does not give these heads."""
        if self.doorway is None:
            return None
        try:
            heads = await self.doorway.heads_of(arrival.type, arrival.payload)
        except ValueError as exc:
            return f"document: {exc}"
        if heads == wanted:
            return None
        return f"heads: its changes give {', '.join(sorted(heads)) or 'none'}"


def declared_heads(message: bytes) -> Heads | None:
    """Heads that a sync message declares, or None where it is no sync message."""
    if len(message) < 2 or message[0] not in AUTOMERGE_SYNC_MARKERS:  # noqa: PLR2004
        return None
    count = message[1]
    if len(message) < 2 + count * _HASH:
        return None
    starts = range(2, 2 + count * _HASH, _HASH)
    return frozenset(message[start : start + _HASH].hex() for start in starts)


def member_text(value: object) -> str:
    """A member of a tombstone as a report shows it."""
    return (value.hex() or "none") if isinstance(value, bytes) else str(value)


def _tombstone_mismatch(wanted: Wanted, arrival: Arrival) -> str | None:
    if wanted.heads is not None:
        return "tombstone: it is deleted"
    try:
        fields = decode("tombstone", arrival.payload).fields
    except Malformed as exc:
        return f"tombstone: {exc}"
    for name, value in (wanted.tombstone or {}).items():
        if fields[name] != value:
            return f"{name}: {member_text(fields[name])}"
    return None
