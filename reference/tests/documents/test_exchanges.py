"""The sync protocol as the worker speaks it: reads, answers, pushes, what is lost on the way."""

# Longer than 500 lines: every test speaks the sync protocol through the same two nodes.

import random
from collections.abc import Iterable
from hashlib import sha256
from typing import TypeVar

import pytest
from automerge.core import ROOT, Document, Message, ScalarType, SyncState

from meshwire_reference.core.document_calls import (
    Call,
    Done,
    Drop,
    Edit,
    Edited,
    Fields,
    Forget,
    Generate,
    Generated,
    Listed,
    Merge,
    Merged,
    Receive,
    Received,
    Refused,
    Result,
    Save,
    Saved,
    Unsent,
    Value,
)
from meshwire_reference.core.sync_messages import read_message
from meshwire_reference.documents import pending
from meshwire_reference.documents.limits import PendingDropped
from meshwire_reference.documents.pending import message_of
from meshwire_reference.documents.table import Table
from meshwire_spec.numbers import READ_MESSAGE

KEY = "notes:1"
PEER = "peer"
NO_DOCUMENT_ANSWER = bytes.fromhex("430000010000010e856f4a83b81a9544000400000000020102")
MESSAGES_MAX = 12
DRAINED_MAX = 200
"""Greatest number of messages until two nodes with many messages under way are silent."""
LACKED = bytes.fromhex("87aa46c740fb8631fcb1242464b2ce4bbbf0b1329fd9a64a61d3f63d05ef4363")
NOTHING = bytes.fromhex(
    "420184494758873066de69aa9f4345e4bdbf5d5eea81f4c4ed641ec6c9a158875e3d000100000000020102"
)
"""A message of a peer with one head, which brings no changes."""
LACKING = NOTHING[:38] + bytes.fromhex(
    "014e856f4a838449475801440187aa46c740fb8631fcb1242464b2ce4bbbf0b1329fd9a64a61d3f63d05ef4363"
    "042a2b2c2d0202000000061503340142025602570270027f0162017f017f2483067f00020102"
)
"""The same with the change of that head, which depends on LACKED."""

R = TypeVar("R", bound=Result)


class Node:
    """A worker's table that asks for results by their type."""

    def __init__(self, name: int) -> None:
        self.table = Table(bytes((name,)) * 16)

    def ask(self, call: Call, kind: type[R]) -> R:
        """Carry out a call whose result has to be of this type."""
        result = self.table.answer(call, None)
        assert isinstance(result, kind), result
        return result

    def edit(self, **fields: int) -> None:
        """Write fields locally."""
        self.ask(Edit(KEY, dict(fields)), Edited)

    def receive(self, message: bytes, peer: str = PEER) -> Received:
        """Receive a message of a peer."""
        return self.ask(Receive(peer, KEY, message), Received)

    def generate(self, peer: str = PEER) -> bytes | None:
        """Start or continue the exchange with a peer."""
        return self.ask(Generate(peer, KEY), Generated).message

    def fields(self) -> dict[str, object] | None:
        """Return the plain fields."""
        fields = self.ask(Fields(KEY), Listed).fields
        return None if fields is None else {name: value.value for name, value in fields.items()}

    @property
    def heads(self) -> tuple[bytes, ...]:
        """Heads of the document."""
        return self.ask(Save(KEY), Saved).heads


def node(name: int, edits: Iterable[dict[str, int]] = ()) -> Node:
    """Return a node with a document of these edits."""
    made = Node(name)
    for fields in edits:
        made.edit(**fields)
    return made


def delta(change: bytes, head: bytes) -> bytes:
    """Return the sync message of a peer with this head that brings one change."""
    return b"\x42\x01" + head + b"\x00\x01\x00\x00\x01" + bytes((len(change),)) + change


def converse(ours: Node, theirs: Node, message: bytes | None) -> int:
    """Pass messages to and fro, ours first, until one side falls silent; return how many."""
    count = 0
    while message is not None:
        count += 1
        assert count <= MESSAGES_MAX, "no end"
        message = theirs.receive(message).answer
        ours, theirs = theirs, ours
    return count


class TestRead:
    """A read and its answer (DC-001 to DC-004)."""

    @pytest.mark.parametrize("edits", [1, 2, 40])
    def test_one_round_trip_reads_any_document(self, edits: int) -> None:
        """The answer alone gives the whole document to a peer without it."""
        holder = node(1, [{"count": number} for number in range(edits)])
        answer = holder.receive(READ_MESSAGE)
        reader = Node(2)
        result = reader.receive(answer.answer or b"")

        assert answer.read
        assert (result.write is not None, result.heads) == (True, holder.heads)
        assert reader.fields() == {"count": edits - 1}

    def test_an_unknown_key_is_answered_without_heads(self) -> None:
        """Three reads of an unknown key: three answers, nothing stored."""
        empty = Node(1)
        answers = [empty.receive(READ_MESSAGE) for _ in range(3)]

        assert [one.answer for one in answers] == [NO_DOCUMENT_ANSWER] * 3
        assert not any(one.write for one in answers)
        assert not empty.table.holds(Save(KEY))

    def test_every_read_is_answered_in_full(self) -> None:
        """A read starts afresh, whatever was said before on this connection."""
        holder = node(1, [{"a": 1}])
        first, second = (holder.receive(READ_MESSAGE).answer for _ in range(2))
        holder.generate()

        assert first is not None
        assert first == second == holder.receive(READ_MESSAGE).answer

    def test_a_read_changes_nothing(self) -> None:
        """Heads stay, and there is nothing to write."""
        holder = node(1, [{"a": 1}])
        before = holder.heads
        answer = holder.receive(READ_MESSAGE)

        assert (answer.heads, answer.write) == (before, None)

    def test_two_readers_of_nothing_fall_silent(self) -> None:
        """Reads that cross are each other's answer; nothing follows."""
        ours, theirs = Node(1), Node(2)
        our_read, their_read = ours.generate(), theirs.generate()
        ours_taken, theirs_taken = ours.receive(their_read or b""), theirs.receive(our_read or b"")

        assert (our_read, their_read) == (READ_MESSAGE, READ_MESSAGE)
        assert (ours_taken.answer, ours_taken.awaited) == (None, True)
        assert (theirs_taken.answer, theirs_taken.awaited) == (None, True)

    def test_an_own_read_ends_with_its_answer(self) -> None:
        """An answer without heads is not answered, and the peer's next read is."""
        ours, theirs = Node(1), Node(2)

        assert converse(ours, theirs, ours.generate()) == 2
        assert ours.receive(READ_MESSAGE).answer == NO_DOCUMENT_ANSWER

    def test_a_snapshot_answers_an_own_read_too(self) -> None:
        """DC-006: the node awaits nothing afterwards, so the peer's next read is answered."""
        ours, theirs = Node(1), node(2, [{"a": 1}])
        ours.generate()
        snapshot = theirs.ask(Save(KEY), Saved).snapshot or b""
        ours.ask(Merge(KEY, snapshot, PEER), Merged)

        assert ours.receive(READ_MESSAGE).read

    def test_an_answer_without_document_is_not_answered_by_a_node_without(self) -> None:
        """DC-009: also not when nothing is known of a read, or two such nodes would never end."""
        taken = Node(1).receive(NO_DOCUMENT_ANSWER)

        assert (taken.answer, taken.awaited, taken.read) == (None, True, False)

    def test_an_answer_without_document_is_a_read_for_a_node_with_it(self) -> None:
        """DC-002: the peer says that it has nothing, each time; its own answer awaits none."""
        holder, asking = node(1, [{"a": 1}]), Node(2)
        asking.generate()
        answers = [holder.receive(NO_DOCUMENT_ANSWER).answer for _ in range(2)]

        assert answers == [holder.receive(READ_MESSAGE).answer] * 2
        assert asking.receive(NO_DOCUMENT_ANSWER).answer is None

    def test_a_read_ends_a_running_exchange(self) -> None:
        """DC-002: also of a key without a document, where the library has nothing new to say."""
        holder, empty = node(1, [{"a": 1}]), Node(2)
        whole = holder.receive(READ_MESSAGE).answer
        holder.generate()
        empty.receive(b"\x42\x01" + holder.heads[0] + READ_MESSAGE[2:])

        assert holder.receive(READ_MESSAGE).answer == whole
        assert [empty.receive(READ_MESSAGE).answer for _ in range(2)] == [NO_DOCUMENT_ANSWER] * 2

    def test_what_an_exchange_has_requested_ends_with_a_read(self) -> None:
        """DC-002: a request in vain before the read does not count after it (DC-047)."""
        holder = node(1, [{"a": 1}])
        holder.receive(NOTHING)
        holder.receive(NOTHING)
        holder.receive(READ_MESSAGE)
        answer = holder.receive(NOTHING).answer

        assert answer is not None
        assert answer != READ_MESSAGE

    def test_a_delta_for_an_unknown_key_is_no_hindrance_to_a_read(self) -> None:
        """Heads without changes store nothing, are answered, and a read after it is too."""
        holder, empty = node(1, [{"a": 1}]), Node(2)
        heads_only = b"\x42\x01" + holder.heads[0] + READ_MESSAGE[2:]
        asked = empty.receive(heads_only)

        assert asked.answer is not None
        assert asked.write is None
        assert empty.receive(READ_MESSAGE).answer == NO_DOCUMENT_ANSWER


class TestPush:
    """First messages, deltas and what a peer is known to hold."""

    def test_a_first_message_carries_everything(self) -> None:
        """A peer that never answers has the document after one message (D-143)."""
        holder, silent = node(1, [{"a": 1}, {"b": 2}]), Node(2)

        assert silent.receive(holder.generate() or b"").heads == holder.heads

    def test_nothing_is_said_twice(self) -> None:
        """Unchanged, a document is not sent to the same peer again."""
        holder = node(1, [{"a": 1}])
        holder.generate()

        assert holder.generate() is None

    def test_a_change_travels_alone(self) -> None:
        """Once both sides agree, a message holds the new change and not the document."""
        ours, theirs = node(1, [{"a": number} for number in range(200)]), Node(2)
        whole = ours.generate() or b""
        converse(ours, theirs, whole)
        ours.edit(b=1)
        delta = ours.generate() or b""

        assert len(delta) < len(whole) / 3
        assert theirs.receive(delta).heads == ours.heads

    def test_concurrent_edits_converge(self) -> None:
        """Both sides write, exchange, and end with equal heads and both fields."""
        ours, theirs = node(1, [{"a": 1}]), Node(2)
        converse(ours, theirs, ours.generate())
        ours.edit(b=2)
        theirs.edit(c=3)
        converse(ours, theirs, ours.generate())

        assert ours.heads == theirs.heads
        assert ours.fields() == theirs.fields() == {"a": 1, "b": 2, "c": 3}

    def test_an_unsent_message_is_said_again(self) -> None:
        """A message that was never sent is made anew, from the known state of the peer (D-152)."""
        ours, theirs = node(1, [{"a": number} for number in range(200)]), Node(2)
        converse(ours, theirs, ours.generate())
        whole = len(node(3, [{"a": number} for number in range(200)]).generate() or b"")
        ours.edit(b=1)
        lost = ours.generate()
        ours.ask(Unsent(PEER, KEY), Done)
        again = ours.generate() or b""

        assert lost is not None
        assert len(again) < whole / 3
        assert theirs.receive(again).heads == ours.heads

    def test_an_unsent_first_message_is_said_in_full(self) -> None:
        """If nothing was known before, nothing is known afterwards."""
        ours, theirs = node(1, [{"a": 1}]), Node(2)
        ours.generate()
        ours.ask(Unsent(PEER, KEY), Done)

        assert theirs.receive(ours.generate() or b"").heads == ours.heads

    def test_a_forgotten_connection_starts_afresh(self) -> None:
        """After Forget a message carries everything again; other connections go on."""
        ours = node(1, [{"a": 1}])
        first = ours.generate()
        ours.generate("other")
        ours.ask(Forget(PEER), Done)

        assert ours.generate() == first
        assert ours.generate("other") is None

    def test_a_peer_that_keeps_nothing_is_not_asked_for_ever(self) -> None:
        """A peer that repeats its request for heads receives them twice in all."""
        holder = node(1, [{"a": 1}])
        holder.generate()
        asks = b"\x42\x00\x01" + holder.heads[0] + READ_MESSAGE[3:]
        answers = [holder.receive(asks).answer is not None for _ in range(4)]

        assert answers == [True, False, False, False]

    def test_changes_out_of_order_wait(self) -> None:
        """A change whose ground is missing changes nothing until that has come."""
        source = Document(b"\x07" * 16)
        for name in ("first", "second"):
            with source.transaction() as transaction:
                transaction.put(ROOT, name, ScalarType.Int, 1)
        heads = tuple(source.get_heads())
        first, second = (delta(change.bytes, heads[0]) for change in source.get_changes([]))
        late = Node(2)
        waiting = late.receive(second)
        snapshot = late.ask(Save(KEY), Saved).snapshot
        complete = late.receive(first)

        assert (waiting.write, waiting.heads, snapshot) == (None, (), None)
        assert waiting.answer is not None
        assert (complete.write is not None, complete.heads) == (True, heads)
        assert complete.write is not None
        assert Document.load(complete.write.snapshot or b"").get_heads() == list(heads)

    def test_a_refused_message_leaves_the_exchange_usable(self) -> None:
        """Nonsense in the middle changes nothing, and the next message works."""
        ours, theirs = node(1, [{"a": 1}]), Node(2)
        message = ours.generate() or b""
        refused = theirs.ask(Receive(PEER, KEY, message[:-20]), Refused)

        assert refused.reason == "bad-document"
        assert theirs.receive(message).heads == ours.heads

    def test_a_dropped_document_is_gone_with_its_exchanges(self) -> None:
        """TS-046: after Drop the key reads as unknown."""
        ours = node(1, [{"a": 1}])
        ours.generate()
        ours.ask(Drop(KEY), Done)

        assert ours.fields() is None
        assert ours.generate() == READ_MESSAGE


def changes_of(actor: int, count: int, size: int = 1) -> list[bytes]:
    """Return a chain of changes, each with a text of this size."""
    document = Document(bytes((actor,)) * 16)
    for number in range(count):
        with document.transaction() as transaction:
            text = random.Random(number).randbytes(size).hex()
            transaction.put(ROOT, f"{actor}-{number}", ScalarType.Str, text)
    return [bytes(change.bytes) for change in document.get_changes([])]


class TestPending:
    """Changes whose dependencies are missing are kept apart (DC-046)."""

    @pytest.mark.parametrize("with_document", [False, True])
    def test_nothing_that_is_sent_has_them(self, *, with_document: bool) -> None:
        """Neither an answer nor a push, a snapshot or a write, whatever else the message had."""
        ours = node(1, [{"a": 1}])
        _, late = changes_of(2, 2, 2000)
        whole = node(3, [{"b": 1}]).ask(Save(KEY), Saved).snapshot or b""
        run = whole + late if with_document else late
        taken = ours.receive(b"\x43" + message_of((), (run,))[1:])
        ours.edit(c=1)
        sent = (
            ours.receive(READ_MESSAGE, "reader").answer,
            ours.generate("other"),
            ours.ask(Save(KEY), Saved).snapshot,
            taken.write and (taken.write.snapshot or taken.write.changes),
        )

        assert [late in (data or b"") or len(data or b"") > 2000 for data in sent] == [False] * 4
        assert ours.table.entries.pending.count(KEY) == 1

    def test_they_take_effect_in_any_order(self) -> None:
        """Also with a snapshot, and after the document was let go."""
        changes = changes_of(2, 12)
        whole = Document.load(b"".join(changes))
        for seed in range(6):
            ours, order = node(1, [{"a": 1}]), list(changes)
            random.Random(seed).shuffle(order)
            for change in order:
                ours.receive(message_of((), (change,)))
            assert (whole.get_heads()[0] in ours.heads, len(ours.heads)) == (True, 2)
            assert ours.table.entries.pending.count(KEY) == 0
        ours = Node(1)
        ours.receive(message_of((), changes[1:]))
        ours.ask(Merge(KEY, changes[0]), Merged)
        assert list(ours.heads) == whole.get_heads()

    def test_the_oldest_are_dropped_beyond_a_bound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of one document and of all; each loss is reported with its key."""
        late = [changes_of(actor, 2, 2000)[1] for actor in range(2, 8)]
        cost = pending.CHANGE_BYTES + 4100
        monkeypatch.setattr(pending, "PENDING_MAX", 2 * cost)
        monkeypatch.setattr(pending, "PENDING_TOTAL_MAX", 3 * cost)
        ours = Node(1)
        losses = []
        for number, key in enumerate(("a:1", "a:1", "a:1", "a:2", "a:3")):
            ours.ask(Receive(PEER, key, message_of((), (late[number],))), Received)
            losses.append(ours.table.memory_after(Save(key)).dropped)

        lost = (PendingDropped("a:1", "limit", 1),)
        assert losses == [(), (), lost, (), lost]
        assert [ours.table.entries.pending.count(f"a:{number}") for number in (1, 2, 3)] == [1] * 3

    def test_a_change_refused_later_costs_no_other(self) -> None:
        """Two histories of one actor: the dependency takes effect, and so does the other change."""
        first, second = changes_of(2, 2)
        base = Document.load(first)
        twin = base.fork()
        twin.set_actor(b"\x01" * 16)
        with twin.transaction() as transaction:
            transaction.put(ROOT, "twin", ScalarType.Int, 1)
        clash = bytes(twin.get_changes(base.get_heads())[0].bytes)
        ours = node(1, [{"a": 1}])
        ours.receive(message_of((), (clash,)))
        ours.receive(message_of((), (second,)))
        ours.receive(message_of((), (first,)))

        assert "2-1" in (ours.fields() or {})
        losses = ours.table.memory_after(Save(KEY)).dropped
        assert losses == (PendingDropped(KEY, "bad-document", 1),)


class Restarted(Node):
    """A node with a store, whose worker may die between two calls."""

    def __init__(self, name: int) -> None:
        super().__init__(name)
        self._name = name
        self._stored = b""
        self._edits = 0
        self.inbox: list[bytes] = []

    def ask(self, call: Call, kind: type[R]) -> R:
        """Carry out a call and keep its write."""
        result = self.table.answer(call, None if self.table.holds(call) else self._stored)
        assert isinstance(result, kind), result
        write = getattr(result, "write", None)
        if write is not None:
            before = self._stored if write.snapshot is None else write.snapshot
            self._stored = before + write.changes
        return result

    def die(self) -> None:
        """Lose everything that is not stored."""
        self.table = Table(bytes((self._name,)) * 16)

    def push(self, other: "Restarted") -> None:
        """Edit the document and send what the exchange yields."""
        self._edits += 1
        self.edit(**{f"{self._name}-{self._edits % 5}": self._edits})
        other.inbox += filter(None, (self.generate(),))

    def take(self, at: int, other: "Restarted") -> None:
        """Receive one of the messages under way, and send the answer."""
        other.inbox += filter(None, (self.receive(self.inbox.pop(at)).answer,))


class TestLostChanges:
    """Changes without their dependencies that a worker has lost (DC-046, DC-047)."""

    def test_changes_requested_in_vain_are_read(self) -> None:
        """After two messages of a peer that bring nothing, as a library does that has sent all."""
        ours = node(1, [{"a": 1}])
        answers = [ours.receive(message).answer for message in (LACKING, *[NOTHING] * 2)]

        assert [read_message(answer or b"").need for answer in answers] == [
            (LACKED,),
            (LACKED,),
            (),
        ]
        assert answers[2] == READ_MESSAGE

    def test_a_reply_with_changes_is_not_in_vain(self) -> None:
        """A peer that still sends changes is not read."""
        ours = node(1, [{"a": 1}])
        answers = [ours.receive(LACKING).answer for _ in range(4)]

        assert all(read_message(answer or b"").need == (LACKED,) for answer in answers)

    def test_a_change_that_the_library_ignores_is_refused(self) -> None:
        """Its checksum is right and its key no text; what precedes it has no effect."""
        ours = node(1, [{"a": 1}])
        good, bad = changes_of(2, 1)[0], changes_of(3, 1)[0]
        start = bad[8:].replace(b"3-0", b"\xff-0")
        broken = bad[:4] + sha256(start).digest()[:4] + start
        before = ours.heads
        refused = ours.ask(Receive(PEER, KEY, message_of((), (good, broken))), Refused)

        assert (refused.reason, ours.heads) == ("bad-document", before)

    @pytest.mark.parametrize("keeps_all", [True, False])
    def test_a_lost_change_is_sent_again_once(self, *, keeps_all: bool) -> None:
        """A peer that only has the library asks for it; one that refuses it asks without end."""
        ours = node(1, [{"a": 1}])
        peer = Document.load(ours.ask(Save(KEY), Saved).snapshot or b"")
        state = SyncState()
        peer.receive_sync_message(state, Message.decode(ours.generate() or b""))
        ours.receive(peer.generate_sync_message(state).encode())
        ours.edit(b=2)
        lost = ours.generate()
        ours.edit(c=3)
        message, sent = ours.generate(), 0
        while message is not None:
            sent += 1
            assert sent <= MESSAGES_MAX, "no end"
            outer = read_message(message)
            changes = outer.changes if keeps_all or sent == 1 else ()
            kept = Message.decode(outer.with_changes(message, changes))
            peer.receive_sync_message(state, kept)
            answer = peer.generate_sync_message(state)
            message = None if answer is None else ours.receive(answer.encode()).answer

        assert lost is not None
        assert (sorted(peer.get_heads()) == sorted(ours.heads)) is keeps_all

    def test_a_request_with_other_heads_is_answered_again(self) -> None:
        """DC-054 ends with a change of either side."""
        ours = node(1, [{"a": 1}, {"b": 2}])
        ours.generate()
        asks = NOTHING[:34] + b"\x01" + ours.heads[0] + NOTHING[35:]
        other = asks.replace(NOTHING[2:34], bytes.fromhex("5a" * 32))
        answers = [ours.receive(one).answer is not None for one in (asks, asks, other, asks)]

        assert answers == [True, False, True, True]

    @pytest.mark.parametrize("seed", range(45, 125))
    def test_two_nodes_converge_whatever_is_lost(self, seed: int) -> None:
        """Messages overtake each other and workers die at any moment; then both fall silent."""
        chance = random.Random(seed)
        one, two = Restarted(1), Restarted(2)
        for _ in range(30):
            ours, theirs = chance.choice(((one, two), (two, one)))
            deed = chance.random()
            if deed < 0.2:
                ours.push(theirs)
            elif deed > 0.9:
                ours.die()
            elif ours.inbox:
                ours.take(chance.randrange(len(ours.inbox)), theirs)
        messages = 0
        while one.inbox or two.inbox:
            ours, theirs = (one, two) if one.inbox else (two, one)
            ours.take(0, theirs)
            messages += 1
            assert messages < DRAINED_MAX, "no end"

        assert one.heads == two.heads


def test_values_tell_their_kind() -> None:
    """Fields come with their Automerge types."""
    ours = node(1, [{"a": 1}])

    assert ours.ask(Fields(KEY), Listed).fields == {"a": Value("int", 1)}
