"""A peer that polls as deployed nodes do: each document every five seconds, failures counted."""

from random import Random

import pytest
from automerge.core import ROOT, Document, Message, ScalarType, SyncState

from meshwire_reference.core.document_calls import Save, Saved
from meshwire_reference.core.peer.polls import KEYS_MAX, PAUSE_S, Polls, Said
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import Author, snapshot
from meshwire_reference.testing.bench import Bench
from meshwire_reference.testing.joined import JoinedBenches
from meshwire_reference.wire.batches import StreamFrame, SyncBatch, SyncEntry, encode_sync_batch
from meshwire_spec.numbers import POLL_ANSWER_INTERVAL_S, POLL_TRIAL_S, FrameType

POLL_S = 5.0
FAILURES_MAX = 5
DOCUMENTS = 6
MESSAGES_MAX = 400


class DeployedPeer:
    """One deployed node and its breaker, which never closes again (D-49)."""

    def __init__(self, bench: Bench, messages_max: int = MESSAGES_MAX) -> None:
        self._bench = bench
        self._messages_max = messages_max
        self.connection = bench.connect()
        self._documents: dict[str, Document] = {}
        self._states: dict[str, SyncState] = {}
        self._failures = 0
        self.is_broken = False
        self.messages = 0

    def write(self, key: str, value: int) -> None:
        """Write locally, which clears the state of the document."""
        document = self._documents.setdefault(key, Document(b"\x07" * 16))
        with document.transaction() as transaction:
            transaction.put(ROOT, "n", ScalarType.Int, value)
        self._states.pop(key, None)

    def poll(self) -> None:
        """Send every document; a message that the library does not make is a failure (D-50)."""
        for key in self._documents:
            if self.is_broken:
                return
            state = self._states.setdefault(key, SyncState())
            message = self._documents[key].generate_sync_message(state)
            self._failures = self._failures + 1 if message is None else 0
            self.is_broken = self._failures >= FAILURES_MAX
            if message is not None:
                self._send(key, message.encode())
                self.take_answers()

    def put_on_channel(self) -> None:
        """Put every document on one stream, in batches of one entry with heads alone (D-143)."""
        batches = []
        for key, document in self._documents.items():
            message = document.generate_sync_message(SyncState())
            assert message is not None
            entry = SyncEntry(key, FrameType.DELTA, message.encode())
            payload = encode_sync_batch(SyncBatch(0, self._bench.now_ms, 5, 1, (entry,)))
            batches.append(StreamFrame("batch", FrameType.BATCH, payload))
            self._states.pop(key, None)
        seen = self._bench.send(self.connection, *batches)
        assert seen.finished
        self.take_answers()

    def heads(self, key: str) -> tuple[bytes, ...]:
        """Return the heads of a document as this peer has it."""
        return tuple(sorted(self._documents[key].get_heads()))

    def read(self, key: str) -> dict[str, object]:
        """Return the fields of a document as this peer has it."""
        document = self._documents[key]
        return {name: document.get(ROOT, name) for name in document.keys(ROOT)}

    def take_answers(self) -> None:
        """Receive what the node has sent, and answer."""
        while frames := self._bench.take_frames(self.connection):
            for frame in frames:
                self.messages += 1
                assert self.messages < self._messages_max, "no end"
                document = self._documents.setdefault(frame.key, Document(b"\x07" * 16))
                state = self._states.setdefault(frame.key, SyncState())
                document.receive_sync_message(state, Message.decode(frame.payload))
                answer = document.generate_sync_message(state)
                if answer is None:
                    # A fresh one takes its place, with the shared heads alone.
                    self._states[frame.key] = SyncState()
                else:
                    self._send(frame.key, answer.encode())

    def _send(self, key: str, message: bytes) -> None:
        self._bench.send(self.connection, StreamFrame(key, FrameType.DELTA, message))


def make_bench(own_peers: frozenset[str] = frozenset()) -> Bench:
    """Return an open node."""
    table = Table(b"\x09" * 16)
    settings = Settings(Dialect.OPEN, heartbeat_s=0, own_peers=own_peers)
    return Bench(lambda call: table.answer(call, None), settings)


def heads_of(bench: Bench, key: str) -> tuple[bytes, ...]:
    """Return the heads of a document as a node has it."""
    saved = bench._answer(Save(key))
    assert isinstance(saved, Saved)
    return saved.heads


def polled(bench: Bench, polls: int = 10) -> DeployedPeer:
    """Return a peer with some documents after this number of polls."""
    peer = DeployedPeer(bench)
    for number in range(DOCUMENTS):
        peer.write(f"notes:{number}", number)
    for _ in range(polls):
        peer.poll()
        bench.advance(POLL_S)
    return peer


def test_a_peer_that_polls_stays_healthy() -> None:
    """DC-057: its breaker stays closed for ten polls, and a later document of it arrives."""
    bench = make_bench()
    peer = polled(bench)
    peer.write("notes:later", 259)
    peer.poll()

    assert not peer.is_broken
    assert "notes:later" in bench.core._context.documents


def test_a_peer_that_polls_gets_later_documents() -> None:
    """Also those that another peer brings, after ten polls, and their changes after ten more."""
    bench = make_bench()
    peer = polled(bench)
    visitor = bench.connect()
    later = Author("notes:later", 11)
    for number in range(2):
        later.edit(number=number)
        bench.send(visitor, StreamFrame(later.key, FrameType.SNAPSHOT, later.snapshot()))
        peer.take_answers()
        for _ in range(10):
            peer.poll()
            bench.advance(POLL_S)
        assert set(peer.read(later.key)) == {"number"}
        assert peer.heads(later.key) == later.heads
    peer.write(later.key, 7)
    peer.poll()

    assert not peer.is_broken
    assert peer.heads(later.key) == heads_of(bench, later.key)


def test_a_peer_that_is_brought_documents_stays_healthy() -> None:
    """DC-060: it only confirms what it gets, and its next polls find something to send."""
    bench = make_bench()
    peer = DeployedPeer(bench, 2 * MESSAGES_MAX)
    visitor = bench.connect()
    authors = [Author(f"notes:{number}", 11 + number) for number in range(DOCUMENTS)]
    for number in range(10):
        for author in authors:
            author.edit(number=number)
            bench.send(visitor, StreamFrame(author.key, FrameType.SNAPSHOT, author.snapshot()))
        peer.take_answers()
        bench.advance(POLL_S)
        peer.poll()
    peer.write("notes:later", 259)
    peer.poll()

    assert not peer.is_broken
    assert [peer.heads(author.key) for author in authors] == [author.heads for author in authors]
    assert "notes:later" in bench.core._context.documents


def test_a_peer_in_channel_mode_is_answered() -> None:
    """D-140: 50 batches of one entry on one stream, and polls: everything is readable."""
    bench = make_bench()
    peer = DeployedPeer(bench, 2 * MESSAGES_MAX)
    keys = [f"notes:{number}" for number in range(50)]
    for number, key in enumerate(keys):
        peer.write(key, number)
    peer.put_on_channel()
    taken = [heads_of(bench, key) == peer.heads(key) for key in keys]
    for _ in range(10):
        bench.advance(POLL_S)
        peer.poll()
    peer.write("notes:later", 259)
    peer.poll()

    assert all(taken)
    assert not peer.is_broken
    assert heads_of(bench, "notes:later") == peer.heads("notes:later")


@pytest.mark.parametrize("knows_own", [False, True])
def test_two_own_nodes_stay_silent(*, knows_own: bool) -> None:
    """They never poll, so nothing is answered: whether they know each other as own or not."""
    ids = [(bytes((number,)) * 32).hex() for number in (1, 2)]
    benches = [make_bench(frozenset(ids) if knows_own else frozenset()) for _ in range(2)]
    network = JoinedBenches(Random(1))
    network.link(*benches, (1, 2))
    for number, bench in enumerate(benches):
        visitor = bench.connect()
        for key in ("notes:n1", "beacons:b1", f"notes:of-{number}"):
            bench.send(visitor, snapshot(key, 10 + number))
        bench.disconnect(visitor)
    network.run(benches, POLL_S)
    flights = network.flights
    network.run(benches, 10 * POLL_S)
    silent = network.flights
    visitor = benches[0].connect()
    benches[0].send(visitor, snapshot("notes:n1", 12))
    benches[0].disconnect(visitor)
    network.run(benches, 10 * POLL_S)

    assert flights > 0
    assert silent == flights
    # DC-060: a change and its confirmation, since the trial is over.
    assert network.flights == silent + 2
    for key in ("notes:n1", "beacons:b1", "notes:of-0", "notes:of-1"):
        assert heads_of(benches[0], key) == heads_of(benches[1], key) != ()


def test_a_peer_of_our_own_is_not_answered() -> None:
    """Its polls need no answer: it counts no failures."""
    connection_id = "01" * 32
    bench = make_bench(frozenset((connection_id,)))
    peer = polled(bench)

    assert peer.is_broken


def quiet(at_s: float, heads: bytes = b"1", *, confirms: bool = False) -> Said:
    """Return a delta that leaves nothing to say."""
    return Said((heads,), at_s, confirms=confirms)


@pytest.mark.parametrize(
    ("pause_s", "is_answered"),
    [(PAUSE_S - 0.1, False), (PAUSE_S, True)],
)
def test_a_poll_is_a_repetition_some_time_later(pause_s: float, *, is_answered: bool) -> None:
    """What confirms twice at once is no poll."""
    polls = Polls()

    assert not polls.take("a", quiet(100.0))
    assert polls.take("a", quiet(100.0 + pause_s)) is is_answered


def test_a_poll_is_answered_once_an_interval() -> None:
    """More often a peer would be answered at its own pace."""
    polls = Polls()
    polls.take("a", quiet(100.0))
    times_s = [102.0, 102.0 + POLL_ANSWER_INTERVAL_S - 0.1, 104.5 + POLL_ANSWER_INTERVAL_S]

    assert [polls.take("a", quiet(at_s)) for at_s in times_s] == [True, False, True]


def test_other_heads_are_no_repetition() -> None:
    """The document has changed meanwhile: the exchange that brought it is over."""
    polls = Polls()
    polls.take("a", quiet(100.0))

    assert not polls.take("a", quiet(110.0, b"2"))


def test_a_confirmation_is_answered_once_for_the_same_heads() -> None:
    """DC-060: what follows at once may be an answer to that, and is answered as a poll."""
    polls = Polls()
    times_s = [100.0, 100.1, 100.2, 100.3]
    seen = [polls.take("a", quiet(at_s, confirms=True)) for at_s in times_s]

    assert seen == [True, True, False, False]
    assert polls.take("a", quiet(100.4, b"2", confirms=True))


def test_confirmations_are_answered_on_trial() -> None:
    """DC-060: a peer that does not poll meanwhile is not taken for one that does."""
    polls = Polls()
    ends_s = 100.0 + POLL_TRIAL_S
    seen = [
        polls.take(key, quiet(at_s, confirms=True))
        for key, at_s in (("a", 100.0), ("b", ends_s - 0.1), ("c", ends_s))
    ]

    assert seen == [True, True, False]
    # Its poll about any document, and from then on every confirmation.
    assert polls.take("c", quiet(ends_s + PAUSE_S))
    assert polls.take("d", quiet(ends_s + PAUSE_S, confirms=True))


def test_the_keys_of_a_peer_have_a_bound() -> None:
    """The oldest is forgotten."""
    polls = Polls()
    for number in range(KEYS_MAX + 1):
        polls.take(str(number), quiet(100.0))

    assert not polls.take("0", quiet(110.0))
    assert polls.take(str(KEYS_MAX), quiet(110.0))
