"""The order in which frames wait for one peer."""

from __future__ import annotations

from meshwire_reference.core.sending.waiting import Purpose, QueueItem, WaitingFrames
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.policy import PUBLISHED
from meshwire_reference.core.state.tombstones import frame_key
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import snapshot
from meshwire_reference.testing.bench import START_MS, Bench
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import Direction, FrameType

KEYS = ("logs:l1", "notes:n1", "alerts:a1", "logs:l2", "beacons:b1", "imagery:i1", "alerts:a2")
"""In the order in which they come."""
BY_CLASS = ("alerts:a1", "alerts:a2", "imagery:i1", "notes:n1", "beacons:b1", "logs:l1", "logs:l2")


def _bench() -> tuple[Bench, int, int]:
    """Return a node that sends one frame after the other, and two of its peers."""
    table = Table(b"\x09" * 16)
    bench = Bench(
        lambda call: table.answer(call, None), Settings(Dialect.OPEN, heartbeat_s=0, sends_max=1)
    )
    return bench, bench.connect(), bench.connect()


def test_the_most_urgent_class_goes_first_and_in_it_the_oldest() -> None:
    """DC-076: an item that waits already keeps its place."""
    waiting = WaitingFrames(PUBLISHED.urgency)
    for key in (*KEYS, "logs:l1"):
        waiting.add(QueueItem(Purpose.PUSH, key))
    went = []
    while (item := waiting.first()) is not None:
        assert item in waiting
        waiting.pop(item)
        went.append(item.key)

    assert went == list(BY_CLASS)
    assert not waiting


def test_an_item_that_is_put_again_keeps_its_place_and_gets_another_message() -> None:
    """With a message it has a size, without one none."""
    waiting = WaitingFrames(PUBLISHED.urgency)
    first, second = (QueueItem(Purpose.ANSWER, key) for key in ("notes:n1", "notes:n2"))
    waiting.put(first, b"\x01\x02\x03")
    waiting.add(second)
    assert [waiting.size_of(one) for one in (first, second)] == [3, 0]
    waiting.put(first, None)
    waiting.add(first)

    assert list(waiting) == [first, second]
    assert waiting.size_of(first) == 0
    assert waiting.pop(second) is waiting.pop(second) is None
    waiting.clear()
    assert waiting.first() is None


def test_an_urgent_change_goes_before_those_that_wait() -> None:
    """DC-076: behind those alone that are on their way, sixteen in a row at most."""
    bench, one, other = _bench()
    bench.hold_streams = True
    for key in KEYS:
        bench.send(one, snapshot(key))
    bench.hold_streams = False
    bench.let_go()

    first, *rest = KEYS
    assert [frame.key for frame in bench.frames(other)] == [
        first,
        *(key for key in BY_CLASS if key in rest),
    ]


def _tombstone(key: str) -> StreamFrame:
    collection, _, name = key.partition(":")
    one = Tombstone(collection, name, START_MS, 5, "a", "", Direction.BIDIRECTIONAL)
    return StreamFrame(frame_key(key), FrameType.TOMBSTONE, encode_tombstone(one))


def test_relayed_tombstones_wait_by_the_class_of_their_collections() -> None:
    """DC-088: neither before a more urgent document nor behind a less urgent one."""
    bench, one, other = _bench()
    bench.hold_streams = True
    buried = [f"tracks:t{number}" for number in range(20)]
    for key in buried:
        bench.send(one, _tombstone(key))
    for key in ("logs:l1", "alerts:a1"):
        bench.send(one, snapshot(key))
    bench.send(one, _tombstone("alerts:a2"))
    bench.let_go()

    first, *rest = map(frame_key, buried)
    keys = [frame.key for frame in bench.frames(other)]
    assert keys == [first, "alerts:a1", frame_key("alerts:a2"), *rest, "logs:l1"]


def test_a_tombstone_that_is_owed_goes_before_those_that_are_relayed() -> None:
    """TS-041, TM-004: and it goes once, also if its relay waits already (TS-037)."""
    bench, one, other = _bench()
    bench.hold_streams = True
    for number in range(20):
        bench.send(one, _tombstone(f"alerts:a{number}"))
    bench.send(one, _tombstone("tracks:t1"))
    bench.send(other, snapshot("tracks:t1"))
    bench.let_go()

    keys = [frame.key for frame in bench.frames(other)]
    assert keys[:2] == [frame_key("alerts:a0"), frame_key("tracks:t1")]
    assert len(keys) == len(set(keys)) == 21


def test_a_change_that_waits_is_not_sent_once_its_document_is_deleted() -> None:
    """TS-040: whichever of the two waits first, the tombstone alone is sent."""
    bench, one, other = _bench()
    bench.hold_streams = True
    bench.send(one, snapshot("logs:first"))
    bench.send(one, snapshot("tracks:t1"))
    bench.send(one, _tombstone("tracks:t1"))
    bench.let_go()

    keys = [frame.key for frame in bench.frames(other)]
    assert keys == ["logs:first", frame_key("tracks:t1")]
