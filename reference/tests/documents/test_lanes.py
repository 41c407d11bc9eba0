"""The lanes of calls: the order in which they go to the worker."""

import asyncio
import itertools

from meshwire_reference.core.document_calls import Call, Each, Generate, Merge, Result, Save
from meshwire_reference.documents.lanes import Lanes, QueuedCall, key_of, lane_of_all


class TestLanes:
    """The waiting calls of each connection."""

    def setup_method(self) -> None:
        """Begin without calls."""
        self.lanes = Lanes()
        self.numbers = itertools.count()
        self.loop = asyncio.new_event_loop()

    def teardown_method(self) -> None:
        """Close the loop of the futures."""
        self.loop.close()

    def add(self, *calls: Call) -> QueuedCall:
        """Queue calls that are made together."""
        keys = {key for call in calls if (key := key_of(call))}
        lane = lane_of_all(calls)
        future: asyncio.Future[Result | Each] = self.loop.create_future()
        item = QueuedCall(next(self.numbers), list(calls), lane, future, keys, len(calls) > 1)
        self.lanes.add(item)
        return item

    def test_what_is_put_back_has_its_old_place(self) -> None:
        """In whatever order it comes back."""
        items = [self.add(Merge(f"a:{number}", b"", 1)) for number in range(9)]
        taken = [self.lanes.next() for _ in range(5)]
        assert taken == items[:5]
        self.lanes.put_back(item for item in (items[3], items[1], items[4]))

        assert [self.lanes.next() for _ in range(8)] == [items[1], *items[3:], None]

    def test_calls_for_several_peers_are_in_no_lane_of_theirs(self) -> None:
        """One by one they are in that of the next, so none waits for another's costly call."""
        item = self.add(Generate(1, "a:1"), Generate(2, "a:1"))
        assert item.lane is None
        assert self.lanes.next() is item
        item.is_divided = True
        self.lanes.put_back((item,))
        assert item.lane == 1
        assert self.lanes.next() is item
        self.lanes.pause(item, is_paused=True)
        own, other = self.add(Save("b:1")), self.add(Generate(2, "b:2"))
        assert [self.lanes.next() for _ in range(3)] == [own, other, None]

        self.lanes.pause(item, is_paused=False)
        item.calls.pop(0)
        self.lanes.put_back((item,))
        assert item.lane == 2
        assert self.lanes.next() is item
