"""Which changes are relayed, and which announced to a peer that has them from others already."""

from itertools import pairwise

from meshwire_reference.core.sending.copies import (
    ANNOUNCED_MAX,
    ANSWER_S,
    OPERATOR,
    PATHS_MAX,
    PAUSE_MAX,
    Copies,
)
from meshwire_reference.core.sync_messages import has_changes
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import Author
from meshwire_reference.testing.bench import Bench
from meshwire_reference.wire.batches import StreamFrame, SyncBatch, SyncEntry, encode_sync_batch
from meshwire_spec.numbers import BATCH_KEY, FrameType

KEY = "notes:n1"
SOURCE, OTHER_SOURCE = 0x0102, 0x0304
NOW_S = 1000.0
LONG = "x" * 5000


class Triangle:
    """A node between two peers: one writes, and the other has it from there too."""

    def __init__(self) -> None:
        table = Table(b"\x09" * 16)
        self.bench = Bench(lambda call: table.answer(call, None))
        self.writer, self.peer = self.bench.connect(), self.bench.connect()
        self.document = Author(KEY)
        self.held = Author(KEY, 99)
        self._count = 0

    def write(self) -> list[StreamFrame]:
        """Have the writer send a change; return what the peer is sent of it."""
        self._count += 1
        self.document.edit(count=self._count, text=f"{self._count}{LONG}")
        frame = StreamFrame(KEY, FrameType.SNAPSHOT, self.document.snapshot())
        self.bench.send(self.writer, frame)
        return self.bench.take_frames(self.peer)

    def copy(self) -> None:
        """Have the peer send the document, as it has it from the writer."""
        self.held.merge(self.document.snapshot())
        frame = StreamFrame(KEY, FrameType.SNAPSHOT, self.held.snapshot())
        self.bench.send(self.peer, frame)

    def answer(self, frames: list[StreamFrame]) -> list[StreamFrame]:
        """Have the peer receive deltas and answer; return what it is sent then."""
        for frame in frames:
            if (said := self.held.receive(frame.payload)) is not None:
                self.bench.send(self.peer, StreamFrame(KEY, FrameType.DELTA, said))
        return self.bench.take_frames(self.peer)


def carries_changes(frames: list[StreamFrame]) -> bool:
    """Return True if a frame has changes and does not only announce them."""
    return any(has_changes(frame.payload) for frame in frames)


def test_a_peer_that_sends_copies_is_announced_to() -> None:
    """DC-085: the next change of the same source goes by its heads."""
    triangle = Triangle()
    first = triangle.write()
    triangle.copy()
    second = triangle.write()

    assert carries_changes(first)
    assert second
    assert not carries_changes(second)


def test_a_peer_without_copies_is_relayed_to() -> None:
    """A peer that answers and has nothing of its own gets each change at once."""
    triangle = Triangle()
    relayed = []
    for _ in range(20):
        relayed.append(carries_changes(frames := triangle.write()))
        while frames:
            frames = triangle.answer(frames)

    assert relayed == [True] * 20


def test_an_entry_of_a_batch_is_no_copy() -> None:
    """It is an offer: a peer that connects again offers what this node has sent it."""
    triangle = Triangle()
    triangle.write()
    entry = SyncEntry(KEY, FrameType.SNAPSHOT, triangle.document.snapshot())
    batch = SyncBatch(0x0506, 0x0708, 5, 1, (entry,))
    frame = StreamFrame(BATCH_KEY, FrameType.BATCH, encode_sync_batch(batch))
    triangle.bench.send(triangle.peer, frame)

    assert carries_changes(triangle.write())


def test_a_peer_that_asks_gets_the_change_and_the_next_ones() -> None:
    """DC-085: its other link is lost; it catches up, and is relayed to again."""
    triangle = Triangle()
    triangle.write()
    triangle.copy()
    frames = triangle.write()
    while frames:
        frames = triangle.answer(frames)

    assert triangle.held.fields == triangle.document.fields
    assert carries_changes(triangle.write())


def test_an_announcement_without_an_answer_is_relayed_after_all() -> None:
    """DC-085, D-49: the breaker of a deployed peer ends what it sends."""
    triangle = Triangle()
    triangle.write()
    triangle.copy()
    triangle.write()
    triangle.bench.advance(ANSWER_S)

    assert carries_changes(triangle.bench.take_frames(triangle.peer))
    assert carries_changes(triangle.write())


def test_an_announcement_that_waits_is_replaced_by_the_change() -> None:
    """Without credit for a stream, both would leave later."""
    triangle = Triangle()
    triangle.write()
    triangle.copy()
    triangle.bench.hold_streams = True
    triangle.write()
    triangle.bench.advance(ANSWER_S)
    triangle.bench.hold_streams = False
    triangle.bench.let_go()

    assert carries_changes(triangle.bench.take_frames(triangle.peer))


def noted(*, source: int = SOURCE) -> Copies:
    """Return what is known of a peer that has sent one copy."""
    copies = Copies()
    assert not copies.announces(KEY, source, NOW_S)
    copies.note_copy(KEY)
    return copies


def test_routes_are_told_apart_by_source_and_collection() -> None:
    """What one source sends to both says nothing of another, nor of other collections."""
    copies = noted()

    assert copies.announces(KEY, SOURCE, NOW_S)
    assert not copies.announces(KEY, OTHER_SOURCE, NOW_S)
    assert not copies.announces("tracks:t1", SOURCE, NOW_S)
    assert not copies.announces(KEY, OPERATOR, NOW_S)


def test_a_copy_counts_only_after_a_relay() -> None:
    """A peer that sends what it was never sent, or after a change of the own user."""
    copies = Copies()
    copies.note_copy(KEY)
    relayed = copies.announces(KEY, SOURCE, NOW_S)
    copies.announces(KEY, OPERATOR, NOW_S)
    copies.note_copy(KEY)

    assert not relayed
    assert not copies.announces(KEY, SOURCE, NOW_S)


def test_vain_announcements_get_rarer() -> None:
    """D-55: a peer that returns all it is sent costs a round trip ever more rarely."""
    copies = noted()
    announced = []
    for number in range(4 * PAUSE_MAX):
        if copies.announces(KEY, SOURCE, NOW_S):
            announced.append(number)
            copies.note_delta(KEY, asks=True)
        else:
            copies.note_copy(KEY)
    gaps = [after - before - 1 for before, after in pairwise(announced)]

    assert gaps[:5] == [2, 4, 8, 16, 32]
    assert max(gaps) == PAUSE_MAX


def test_one_good_announcement_forgets_the_vain_ones() -> None:
    """The link is back: the next failure counts as the first."""
    copies = noted()
    for pause in (0, 2, 4):
        announced = [copies.announces(KEY, SOURCE, NOW_S) for _ in range(pause + 1)]
        copies.note_delta(KEY, asks=True)
    for _ in range(8):
        copies.announces(KEY, SOURCE, NOW_S)
    is_announced = copies.announces(KEY, SOURCE, NOW_S)
    copies.note_delta(KEY, asks=False)
    copies.announces(KEY, SOURCE, NOW_S)
    copies.note_delta(KEY, asks=True)
    later = [copies.announces(KEY, SOURCE, NOW_S) for _ in range(3)]

    assert announced == [False] * 4 + [True]
    assert is_announced
    assert later == [False, False, True]


def test_announcements_without_answers_are_bounded() -> None:
    """Beside as many as that, changes are relayed."""
    copies = noted()
    announced = sum(
        copies.announces(f"notes:{number}", SOURCE, NOW_S) for number in range(2 * ANNOUNCED_MAX)
    )

    assert announced == ANNOUNCED_MAX
    assert len(copies.take_unanswered(NOW_S + ANSWER_S)) == ANNOUNCED_MAX
    assert copies.due_s is None


def test_routes_are_bounded() -> None:
    """A peer that invents collections displaces the routes noted longest ago."""
    copies = noted()
    for number in range(PATHS_MAX):
        copies.announces(f"c{number}:d", SOURCE, NOW_S)
        copies.note_copy(f"c{number}:d")

    assert not copies.announces(KEY, SOURCE, NOW_S)
    assert copies.announces(f"c{PATHS_MAX - 1}:d", SOURCE, NOW_S)
