"""Snapshots that are pushed again and again, and the deltas that take their place."""

from meshwire_reference.core.document_calls import Call, Generate, Generated, Result
from meshwire_reference.core.sending.snapshots import KEYS_MAX, PushedSnapshots
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import Author
from meshwire_reference.testing.bench import Bench
from meshwire_reference.wire.batches import StreamFrame
from meshwire_spec.numbers import FrameType

KEY = "beacons:b1"
EDITS = 300
SMALL = 250


def make_bench() -> Bench:
    """Return an open node with real document handling."""
    table = Table(b"\x09" * 16)
    return Bench(lambda call: table.answer(call, None))


class Reader:
    """A peer that takes a document from whatever carries it, and may answer deltas."""

    def __init__(self, bench: Bench, *, answers: bool) -> None:
        self.bench = bench
        self.connection = bench.connect()
        self.document = Author(KEY, 99)
        self.answers = answers

    def take(self) -> list[StreamFrame]:
        """Take what the node has sent, answer to the end, and return the first frames."""
        first = frames = self.bench.take_frames(self.connection)
        while frames:
            for frame in frames:
                self._take(frame)
            frames = self.bench.take_frames(self.connection)
            first += [frame for frame in frames if frame.type == FrameType.SNAPSHOT]
        return first

    def _take(self, frame: StreamFrame) -> None:
        if frame.type == FrameType.SNAPSHOT:
            self.document.merge(frame.payload)
        elif self.answers and (answer := self.document.receive(frame.payload)):
            self.bench.send(self.connection, StreamFrame(KEY, FrameType.DELTA, answer))


def write(bench: Bench, source: int, author: Author, number: int) -> None:
    """Write another change, and bring it to the node."""
    author.edit(**{f"field {number % 3}": number * 7919})
    bench.send(source, StreamFrame(KEY, FrameType.SNAPSHOT, author.snapshot()))


def test_a_peer_that_answers_gets_what_has_changed() -> None:
    """DC-058: an edit costs its bytes, however many went before."""
    bench = make_bench()
    source, author = bench.connect(), Author(KEY)
    reader = Reader(bench, answers=True)
    pushed = []
    for number in range(EDITS):
        write(bench, source, author, number)
        pushed.append(reader.take())

    assert reader.document.fields == author.fields
    assert [frame.type for frame in pushed[0]] == [FrameType.SNAPSHOT]
    assert [frame.type for frame in pushed[1]] == [FrameType.SNAPSHOT, FrameType.DELTA]
    later = [frame for frames in pushed[2:] for frame in frames]
    assert {frame.type for frame in later} == {FrameType.DELTA}
    assert max(len(frame.payload) for frame in later) < SMALL


def test_a_peer_that_answers_no_delta_gets_snapshots() -> None:
    """It is announced once, and never waited for."""
    bench = make_bench()
    source, author = bench.connect(), Author(KEY)
    reader = Reader(bench, answers=False)
    types = []
    for number in range(20):
        write(bench, source, author, number)
        types += [frame.type for frame in reader.take()]

    assert reader.document.fields == author.fields
    assert types.count(FrameType.SNAPSHOT) == 20
    assert types.count(FrameType.DELTA) == 1


def test_a_longer_delta_is_not_sent() -> None:
    """The snapshot goes instead, as before the peer had sent a delta."""
    table = Table(b"\x09" * 16)
    is_long = False

    def answer(call: Call) -> Result:
        if is_long and isinstance(call, Generate):
            return Generated(bytes(10**6), ())
        return table.answer(call, None)

    bench = Bench(answer)
    source, author = bench.connect(), Author(KEY)
    reader = Reader(bench, answers=True)
    for number in range(3):
        write(bench, source, author, number)
        reader.take()
    is_long = True
    write(bench, source, author, 3)

    assert [frame.type for frame in reader.take()] == [FrameType.SNAPSHOT]
    assert reader.document.fields == author.fields


def test_another_connection_begins_anew() -> None:
    """What one peer has answered says nothing about another."""
    bench = make_bench()
    source, author = bench.connect(), Author(KEY)
    reader = Reader(bench, answers=True)
    for number in range(4):
        write(bench, source, author, number)
        reader.take()
    other = Reader(bench, answers=True)
    bench.take_frames(other.connection)
    write(bench, source, author, 4)

    assert [frame.type for frame in other.take()] == [FrameType.SNAPSHOT]


def test_the_keys_of_a_peer_have_a_bound() -> None:
    """The oldest begins anew."""
    snapshots = PushedSnapshots()
    for number in range(KEYS_MAX + 1):
        snapshots.note_delta(str(number))

    assert not snapshots.has_delta("0")
    assert snapshots.has_delta("1")
