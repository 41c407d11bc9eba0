"""Every document call, carried out with the Automerge library in this process.

Peer bytes touch a fork only: a panic inside the library poisons the document it happened in.
The fork replaces the document once the whole call, with its answer, has succeeded.

The library fails in two ways, both caught per call in `Table.answer`: a bare `Exception`, and a
`PanicException`, which is a `BaseException`. It may also abort: that is the supervisor's part.
"""

from collections.abc import Callable
from typing import Any, Final

from automerge.core import ROOT, Document, ScalarType

from meshwire_reference.core.document_calls import (
    Call,
    Done,
    Drop,
    Edit,
    Edited,
    Fields,
    Forget,
    Generate,
    Listed,
    Merge,
    Merged,
    Receive,
    Refused,
    Result,
    Save,
    Saved,
    Scalar,
    Unsent,
)
from meshwire_reference.core.sync_messages import Unfit
from meshwire_reference.documents.chunks import DOCUMENT, ClaimBudget, check_chunks
from meshwire_reference.documents.entries import Entries, heads_of
from meshwire_reference.documents.exchanges import Exchanges
from meshwire_reference.documents.patches import fields_of
from meshwire_reference.documents.pipe import Memory

SIGNED_END: Final = 2**63
DETAIL_MAX: Final = 200

SCALAR_TYPES: Final = {
    type(None): ScalarType.Null,
    bool: ScalarType.Boolean,
    int: ScalarType.Int,
    float: ScalarType.F64,
    str: ScalarType.Str,
}
"""Automerge type of each local value; a whole number past the signed range is unsigned."""


class Table:
    """Documents and exchanges of one worker; `actor` signs every local edit (D-47)."""

    def __init__(self, actor: bytes) -> None:
        self._actor = actor
        self.entries = Entries()
        self._exchanges = Exchanges(self.entries)
        self._handlers: dict[type[Call], Callable[[Any], Result]] = {
            Receive: self._exchanges.receive,
            Generate: self._exchanges.generate,
            Unsent: self._exchanges.unsent,
            Forget: self._exchanges.forget,
            Merge: self._merge,
            Save: self._save,
            Edit: self._edit,
            Fields: self._fields,
            Drop: self._drop,
        }

    def holds(self, call: Call) -> bool:
        """Return True if the document of a call is in memory, so that its bytes are not needed."""
        return not isinstance(call, Forget) and call.key in self.entries

    def size_of(self, call: Call) -> int:
        """Return how many bytes of the document of a call are in memory, as the store has them."""
        return 0 if isinstance(call, Forget) else self.entries.size_of(call.key)

    def memory_after(self, call: Call) -> Memory:
        """Let documents go if too many are held; return what has changed since the last call."""
        released = self.entries.release()
        pending = 0 if isinstance(call, Forget) else self.entries.pending.count(call.key)
        dropped = self.entries.pending.take_losses()
        return Memory(self.holds(call), pending, released, dropped)

    def answer(self, call: Call, stored: bytes | None) -> Result:
        """Carry out one call; `stored` is the document as the store has it, None if it is held.

        Raises nothing that a call causes. Running out of memory ends the process instead.
        """
        fault = "internal"
        try:
            if stored and not isinstance(call, Forget):
                self.entries.load(call.key, stored)
            fault = "bad-document"
            return self._handlers[type(call)](call)
        except Unfit as exc:
            self._abandon(call)
            return Refused(exc.reason, exc.detail)
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as exc:  # noqa: BLE001  # a panic of the library is no Exception
            self._abandon(call)
            return Refused(fault, f"{type(exc).__name__}: {exc}"[:DETAIL_MAX])

    def _abandon(self, call: Call) -> None:
        if isinstance(call, Receive | Generate | Unsent):
            self._exchanges.open.remove(call.connection, call.key)

    def _merge(self, call: Merge) -> Merged:
        if call.connection is not None:
            self._exchanges.note_snapshot(call.connection, call.key)
        entry = self.entries.get(call.key)
        before = entry.heads
        # DC-021
        if not call.snapshot:
            return Merged(before, None, ahead=bool(before))
        chunks = check_chunks(call.snapshot, ClaimBudget.of(len(call.snapshot)))
        types = tuple(chunk.type for chunk in chunks)
        # DC-022, DC-023, DC-044
        other = Document.load(call.snapshot)
        theirs = heads_of(other)
        fork = other
        # DC-020; DC-045: a merge omits changes whose dependencies are missing.
        if before or types != (DOCUMENT,):
            fork = entry.document.fork()
            fork.merge(other)
        write = self.entries.replace(call.key, entry, self.entries.settle(call.key, fork))
        # DC-024: equal heads mean that the snapshot lacked nothing.
        return Merged(entry.heads, write, ahead=entry.heads != theirs)

    def _save(self, call: Save) -> Saved:
        entry = self.entries.get(call.key)
        return Saved(entry.document.save() if entry.heads else None, entry.heads)

    def _edit(self, call: Edit) -> Edited:
        entry = self.entries.get(call.key)
        fork = entry.document.fork()
        # D-47: one actor for every edit; D-48: a change on the document there is.
        fork.set_actor(self._actor)
        present = fork.keys(ROOT)
        with fork.transaction() as transaction:
            for name in call.removed:
                if name in present:
                    transaction.delete(ROOT, name)
            for name, value in call.fields.items():
                transaction.put(ROOT, name, scalar_type_of(value), value)
        write = self.entries.replace(call.key, entry, self.entries.settle(call.key, fork))
        return Edited(entry.heads, write)

    def _fields(self, call: Fields) -> Listed:
        entry = self.entries.get(call.key)
        if not entry.heads:
            return Listed(None, ())
        return Listed(fields_of(entry.document.fork().diff([], list(entry.heads))), entry.heads)

    def _drop(self, call: Drop) -> Done:
        self.entries.drop(call.key)
        self.entries.pending.drop(call.key)
        self._exchanges.open.drop(call.key)
        return Done()


def scalar_type_of(value: Scalar) -> ScalarType:
    """Return the Automerge type that a local value is written as."""
    if isinstance(value, int) and value >= SIGNED_END:
        return ScalarType.Uint
    return SCALAR_TYPES[type(value)]
