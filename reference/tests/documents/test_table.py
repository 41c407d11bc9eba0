"""Merges, local edits and what they leave for the store."""

import pytest
from automerge.core import ROOT, Document, ScalarType

from meshwire_reference.core.document_calls import (
    Call,
    Edit,
    Edited,
    Fields,
    Listed,
    Merge,
    Merged,
    Received,
    Refused,
    Save,
    Saved,
    Value,
    Write,
)
from meshwire_reference.documents import entries
from meshwire_reference.documents.entries import COMPACTION_BYTES
from meshwire_reference.documents.table import Table
from meshwire_reference.store.memory import StoredDocument

KEY = "notes:1"
COUNTER = bytes.fromhex(
    "856f4a83c16038a4012f0010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000061503340142025602570170027f01"
    "6b017f017f18057f00"
)
TWO_HISTORIES = bytes.fromhex(
    "856f4a831e94736c012c0010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5010100000005150334014202560270027f016b01"
    "7f017f027f00856f4a83b5dd944b01320010c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c50101000000051509340142025602"
    "70027f07616e6f74686572017f017f027f00"
)


class Kept:
    """A table with a store beside it that keeps what results say."""

    def __init__(self, actor: int = 1) -> None:
        self.table = Table(bytes((actor,)) * 16)
        self.stored = StoredDocument()
        self.writes: list[Write] = []

    def ask(self, call: Call) -> object:
        """Carry out a call and keep its write."""
        result = self.table.answer(call, None)
        if isinstance(result, Merged | Edited | Received) and result.write is not None:
            self.writes.append(result.write)
            if result.write.snapshot is not None:
                self.stored = StoredDocument(result.write.snapshot)
            if result.write.changes:
                self.stored.changes.append(result.write.changes)
        return result

    def saved(self) -> Saved:
        """Return what the table holds."""
        saved = self.ask(Save(KEY))
        assert isinstance(saved, Saved)
        return saved

    def reloaded(self) -> Saved:
        """Return the answer of a fresh table with the stored bytes."""
        stored = b"".join((self.stored.snapshot, *self.stored.changes))
        saved = Table(b"\x09").answer(Save(KEY), stored)
        assert isinstance(saved, Saved)
        return saved


def snapshot(actor: int = 7, edits: int = 1) -> bytes:
    """Return the saved bytes of a document with this many changes."""
    document = Document(bytes((actor,)) * 16)
    for number in range(edits):
        with document.transaction() as transaction:
            transaction.put(ROOT, f"by {actor}", ScalarType.Int, number)
    return document.save()


def changes(actor: int = 7, edits: int = 3) -> bytes:
    """Return the bare changes of such a document."""
    return b"".join(one.bytes for one in Document.load(snapshot(actor, edits)).get_changes([]))


class TestMerge:
    """0x01."""

    @pytest.mark.parametrize(
        "payload",
        [snapshot(), changes(), snapshot(7) + snapshot(8), changes() + snapshot(8), snapshot() * 2],
        ids=["document", "changes", "two documents", "changes and document", "twice"],
    )
    def test_every_legal_form_is_merged_and_kept(self, payload: bytes) -> None:
        """Documents and bare changes, one after another, come back from the store."""
        kept = Kept()
        merged = kept.ask(Merge(KEY, payload))

        assert isinstance(merged, Merged)
        assert merged.write is not None
        assert merged.heads == kept.saved().heads == kept.reloaded().heads
        assert set(merged.heads) == set(Document.load(payload).get_heads())

    def test_a_change_without_its_dependency_is_omitted_beside_a_document(self) -> None:
        """DC-045: for a new key too; what it depends on does not bring it back."""
        first, orphan = Document.load(snapshot(8, 2)).get_changes([])
        kept = Kept()
        merged = kept.ask(Merge(KEY, snapshot() + orphan.bytes))
        kept.ask(Merge(KEY, first.bytes))

        assert isinstance(merged, Merged)
        assert merged.heads == tuple(Document.load(snapshot()).get_heads())
        assert set(kept.saved().heads) == {*merged.heads, first.hash}
        assert kept.reloaded().heads == kept.saved().heads

    def test_nothing_stores_nothing(self) -> None:
        """No bytes, and a document without changes, make no document (D-139)."""
        kept = Kept()
        for payload in (b"", Document().save()):
            merged = kept.ask(Merge(KEY, payload))

            assert merged == Merged((), None, ahead=False)
        assert kept.saved() == Saved(None, ())

    def test_a_repetition_writes_nothing(self) -> None:
        """The same snapshot again changes nothing: no write, no echo (D-55)."""
        kept = Kept()
        kept.ask(Merge(KEY, snapshot()))
        again = kept.ask(Merge(KEY, snapshot()))

        assert isinstance(again, Merged)
        assert (again.write, again.ahead, len(kept.writes)) == (None, False, 1)

    def test_ahead_tells_that_the_snapshot_lacked_changes(self) -> None:
        """After a merge with local changes the sender lacks something (D-45)."""
        kept = Kept()
        kept.ask(Edit(KEY, {"mine": 1}))
        merged = kept.ask(Merge(KEY, snapshot()))
        again = kept.ask(Merge(KEY, kept.saved().snapshot or b""))
        older = kept.ask(Merge(KEY, snapshot()))

        assert [getattr(one, "ahead", None) for one in (merged, again, older)] == [
            True,
            False,
            True,
        ]
        assert getattr(kept.ask(Merge(KEY, b"")), "ahead", None)

    def test_trailing_bytes_are_refused(self) -> None:
        """A byte after the last chunk costs the whole payload."""
        kept = Kept()
        refused = kept.ask(Merge(KEY, snapshot() + b"\x00"))

        assert refused == Refused("bad-document")
        assert kept.saved().snapshot is None

    def test_two_histories_of_one_actor_are_refused(self) -> None:
        """Two changes with one sequence number cannot both be true."""
        kept = Kept()
        kept.ask(Merge(KEY, snapshot()))

        assert kept.ask(Merge(KEY, TWO_HISTORIES)) == Refused("bad-document")
        assert kept.saved().heads == tuple(Document.load(snapshot()).get_heads())


class TestEdit:
    """Local edits."""

    def test_one_actor_signs_everything(self) -> None:
        """A hundred edits leave one actor, and little more than their changes (D-47)."""
        kept = Kept(actor=5)
        for number in range(100):
            kept.ask(Edit(KEY, {"count": number}))
        document = Document.load(kept.saved().snapshot or b"")

        assert {change.actor_id for change in document.get_changes([])} == {b"\x05" * 16}

    def test_the_store_follows_by_appending(self) -> None:
        """An edit appends its change; a snapshot replaces many of them."""
        kept = Kept()
        for number in range(120):
            kept.ask(Edit(KEY, {"count": number}))
        snapshots = [write for write in kept.writes if write.snapshot is not None]

        assert kept.writes[0].snapshot is not None
        assert 2 <= len(snapshots) <= 5
        assert sum(map(len, kept.stored.changes)) <= COMPACTION_BYTES
        assert kept.reloaded().heads == kept.saved().heads

    def test_fields_are_removed(self) -> None:
        """A removed field is gone; removing what is not there changes nothing."""
        kept = Kept()
        kept.ask(Edit(KEY, {"a": 1, "b": None, "c": 2**64 - 1, "d": "x", "e": 0.5, "f": True}))
        kept.ask(Edit(KEY, {}, removed=("a", "zzz")))
        nothing = kept.ask(Edit(KEY, {}, removed=("zzz",)))
        listed = kept.ask(Fields(KEY))

        assert isinstance(listed, Listed)
        assert isinstance(nothing, Edited)
        assert nothing.write is None
        assert listed.fields == {
            "b": Value("null", None),
            "c": Value("uint", 2**64 - 1),
            "d": Value("str", "x"),
            "e": Value("f64", 0.5),
            "f": Value("boolean", value=True),
        }

    def test_a_counter_survives_edits_beside_it(self) -> None:
        """An edit of another field leaves what it cannot read as it is."""
        kept = Kept()
        kept.ask(Merge(KEY, COUNTER))
        kept.ask(Edit(KEY, {"a": 1}))
        document = Document.load(kept.reloaded().snapshot or b"")
        listed = kept.ask(Fields(KEY))

        assert document.get_changes([])[0].bytes == COUNTER
        assert getattr(listed, "fields", None) == {
            "a": Value("int", 1),
            "k": Value("counter", None),
        }

    def test_what_does_not_fit_is_refused(self) -> None:
        """A number beyond 64 bits changes nothing."""
        kept = Kept()

        assert isinstance(kept.ask(Edit(KEY, {"a": 2**64})), Refused)
        assert kept.saved().snapshot is None


def test_the_longest_unused_documents_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its bounds a worker keeps what was used last; the store has the rest."""
    table = Table(b"\x01")
    monkeypatch.setattr(entries, "HELD_MAX", 2)
    released = []
    for key in ("a:1", "a:2", "a:1", "a:3", "a:4"):
        table.answer(Edit(key, {"n": 1}), b"")
        released.extend(table.entries.release())

    assert released == ["a:2", "a:1"]
    assert [table.holds(Save(key)) for key in ("a:1", "a:2", "a:3", "a:4")] == [
        False,
        False,
        True,
        True,
    ]


def test_large_documents_are_let_go_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Size counts too; the one in use stays however large it is."""
    table = Table(b"\x01")
    monkeypatch.setattr(entries, "HELD_BYTES_MAX", 1000)
    released = []
    for key in ("a:1", "a:2", "a:3"):
        text = "".join(map(str, range(400)))
        table.answer(Edit(key, {"n": text}), b"")
        released.append(table.entries.release())

    assert released == [(), ("a:1",), ("a:2",)]
    assert table.holds(Save("a:3"))


def test_stored_bytes_that_do_not_load_are_no_absence() -> None:
    """A damaged store is this node's fault and never an empty document (D-60)."""
    result = Table(b"\x01").answer(Save(KEY), b"\x85nonsense")

    assert result == Refused("internal")
