"""Every document call, carried out with the Automerge library in this process.

Peer bytes touch a fork only: a panic inside the library poisons the document it happened in.
The fork replaces the document once the whole call, with its answer, has succeeded.

The library fails in two ways, both caught per call in `Table.answer`: a bare `Exception`, and a
`PanicException`, which is a `BaseException`. It may also abort: that is the supervisor's part.
"""

from collections.abc import Callable
from typing import Any, Final

from automerge.core import Document

from meshwire_reference.core.document_calls import (
    Call,
    Done,
    Drop,
    Edit,
    Edited,
    Fields,
    FindHeads,
    Forget,
    FoundHeads,
    Generate,
    Listed,
    Merge,
    Merged,
    Piece,
    Receive,
    Refused,
    Result,
    Save,
    Saved,
    SoftDelete,
    Unsent,
)
from meshwire_reference.core.sync_messages import Unfit
from meshwire_reference.documents.chunks import DOCUMENT, ClaimBudget, check_chunks
from meshwire_reference.documents.edits import DELETED, Editor, is_deleted, soft_deletion, value_of
from meshwire_reference.documents.entries import Entries, heads_of
from meshwire_reference.documents.exchanges import Exchanges
from meshwire_reference.documents.patches import fields_of
from meshwire_reference.documents.pipe import Memory

DETAIL_MAX: Final = 200


class Table:
    """Documents and exchanges of one worker; `actor` signs every local edit (D-47)."""

    def __init__(self, actor: bytes) -> None:
        self._actor = actor
        self.entries = Entries()
        self._exchanges = Exchanges(self.entries)
        self._handlers: dict[type[Call], Callable[[Any], Result]] = {
            Receive: self._exchanges.receive,
            Generate: self._exchanges.generate,
            Piece: self._exchanges.piece,
            Unsent: self._exchanges.unsent,
            Forget: self._exchanges.forget,
            Merge: self._merge,
            Save: self._save,
            Edit: self._edit,
            SoftDelete: self._soft_delete,
            Fields: self._fields,
            FindHeads: self._find_heads,
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
        saved = None
        # DC-020; DC-045: a merge omits changes whose dependencies are missing.
        if before or types != (DOCUMENT,):
            fork = entry.document.fork()
            fork.merge(other)
            settled = self.entries.settle(call.key, fork)
        else:
            settled = self.entries.settle(call.key, other)
            # What was received is the whole document, unless pending changes have joined it.
            saved = call.snapshot if settled.document is other else None
        write = self.entries.replace(call.key, entry, settled, saved)
        # DC-024: equal heads mean that the snapshot lacked nothing.
        return Merged(entry.heads, write, ahead=entry.heads != theirs)

    def _save(self, call: Save) -> Saved:
        entry = self.entries.get(call.key)
        return Saved(entry.document.save() if entry.heads else None, entry.heads)

    def _edit(self, call: Edit) -> Edited:
        return self._write(call)

    def _soft_delete(self, call: SoftDelete) -> Edited:
        if not self.entries.get(call.key).heads:
            return Edited((), None)
        return self._write(Edit(call.key, soft_deletion(call.by, call.at_ms)))

    def _write(self, edit: Edit) -> Edited:
        """Write root fields as one change on the document there is, by the one actor (D-47)."""
        key, entry = edit.key, self.entries.get(edit.key)
        fork = entry.document.fork()
        # DC-082
        fork.set_actor(self._actor + edit.author)
        held = fields_of(fork.diff([], list(entry.heads))) if entry.heads else {}
        wanted = {name: value_of(value) for name, value in edit.fields.items()}
        # A document that comes back begins anew.
        is_exact = edit.exact or (DELETED in edit.removed and is_deleted(held))
        removed = held.keys() - wanted.keys() if is_exact else held.keys() & edit.removed
        with fork.transaction() as transaction:
            editor = Editor(transaction, as_json=edit.as_json)
            editor.remove_fields(sorted(removed))
            editor.write_fields(held, wanted)
        write = self.entries.replace(key, entry, self.entries.settle(key, fork))
        return Edited(entry.heads, write)

    def _fields(self, call: Fields) -> Listed:
        entry = self.entries.get(call.key)
        if not entry.heads:
            return Listed(None, ())
        fields = fields_of(entry.document.fork().diff([], list(entry.heads)))
        return Listed(fields, entry.heads, is_deleted(fields))

    def _find_heads(self, call: FindHeads) -> FoundHeads:
        return FoundHeads(self.entries.get(call.key).heads)

    def _drop(self, call: Drop) -> Done:
        self.entries.drop(call.key)
        self.entries.pending.drop(call.key)
        # TS-046
        self._exchanges.open.drop(call.key)
        return Done()
