"""The order in which frames wait for one peer."""

from __future__ import annotations

from meshwire_reference.core.sending.waiting import Purpose, QueueItem, WaitingFrames
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.policy import PUBLISHED
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import snapshot
from meshwire_reference.testing.bench import Bench

KEYS = ("logs:l1", "notes:n1", "alerts:a1", "logs:l2", "beacons:b1", "imagery:i1", "alerts:a2")
"""In the order in which they come."""
BY_CLASS = ("alerts:a1", "alerts:a2", "imagery:i1", "notes:n1", "beacons:b1", "logs:l1", "logs:l2")


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
    table = Table(b"\x09" * 16)
    bench = Bench(
        lambda call: table.answer(call, None), Settings(Dialect.OPEN, heartbeat_s=0, sends_max=1)
    )
    one, other = bench.connect(), bench.connect()
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
