"""A peer that polls as deployed nodes do: each document every five seconds, failures counted."""

import pytest
from automerge.core import ROOT, Document, Message, ScalarType, SyncState

from meshwire_reference.core.peer.polls import KEYS_MAX, PAUSE_S, Polls
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.bench import Bench
from meshwire_reference.wire.batches import StreamFrame
from meshwire_spec.numbers import POLL_ANSWER_INTERVAL_S, FrameType

POLL_S = 5.0
FAILURES_MAX = 5
DOCUMENTS = 6
MESSAGES_MAX = 400


class DeployedPeer:
    """One deployed node and its breaker, which never closes again (D-49)."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
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

    def take_answers(self) -> None:
        """Receive what the node has sent, and answer."""
        while frames := self._bench.take_frames(self.connection):
            for frame in frames:
                self.messages += 1
                assert self.messages < MESSAGES_MAX, "no end"
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


def test_a_peer_of_our_own_is_not_answered() -> None:
    """Its polls need no answer: it counts no failures."""
    connection_id = "01" * 32
    bench = make_bench(frozenset((connection_id,)))
    peer = polled(bench)

    assert peer.is_broken


@pytest.mark.parametrize(
    ("pause_s", "is_answered"),
    [(PAUSE_S - 0.1, False), (PAUSE_S, True)],
)
def test_a_poll_is_a_repetition_some_time_later(pause_s: float, *, is_answered: bool) -> None:
    """What confirms twice at once is no poll."""
    polls = Polls()

    assert not polls.take("a", (b"1",), 100.0)
    assert polls.take("a", (b"1",), 100.0 + pause_s) is is_answered


def test_a_poll_is_answered_once_an_interval() -> None:
    """More often a peer would be answered at its own pace."""
    polls = Polls()
    polls.take("a", (b"1",), 100.0)
    times_s = [102.0, 102.0 + POLL_ANSWER_INTERVAL_S - 0.1, 104.5 + POLL_ANSWER_INTERVAL_S]

    assert [polls.take("a", (b"1",), at_s) for at_s in times_s] == [True, False, True]


def test_other_heads_are_no_repetition() -> None:
    """The document has changed meanwhile: the exchange that brought it is over."""
    polls = Polls()
    polls.take("a", (b"1",), 100.0)

    assert not polls.take("a", (b"2",), 110.0)


def test_the_keys_of_a_peer_have_a_bound() -> None:
    """The oldest is forgotten."""
    polls = Polls()
    for number in range(KEYS_MAX + 1):
        polls.take(str(number), (b"1",), 100.0)

    assert not polls.take("0", (b"1",), 110.0)
    assert polls.take(str(KEYS_MAX), (b"1",), 110.0)
