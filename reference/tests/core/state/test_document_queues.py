"""Queues of jobs, one a document."""

from collections.abc import Callable

from meshwire_reference.core.document_calls import (
    Call,
    Done,
    Drop,
    Each,
    Forget,
    Generate,
    Merge,
    Receive,
    Refused,
    Result,
    Save,
    Saved,
    Together,
)
from meshwire_reference.core.effects import CallDocuments
from meshwire_reference.core.state.document_queues import (
    TOGETHER_BYTES_MAX,
    TOGETHER_MAX,
    Job,
    KeyQueues,
)


class PlannedJob(Job):
    """A job with a call that is given, or without one."""

    def __init__(self, call: Call | None, note_over: Callable[[], None]) -> None:
        self.call = call
        self.note_over = note_over

    def begin(self) -> Call | None:
        """Return the call."""
        return self.call

    def finish(self, result: Result) -> None:
        """Note that there is a result."""
        self.note_over()


class TestKeyQueues:
    """One call per key at a time."""

    def setup_method(self) -> None:
        """Collect the calls."""
        self.calls: list[CallDocuments] = []
        self.queues = KeyQueues(self.calls.append)
        self.finished: list[str] = []

    def job(self, key: str, name: str) -> Job:
        """Return a job that makes a call."""
        return PlannedJob(Save(key), lambda: self.finished.append(name))

    def test_jobs_of_one_key_wait_for_each_other(self) -> None:
        """And those of another do not."""
        for key, name in (("a:1", "first"), ("a:1", "second"), ("a:2", "other")):
            self.queues.add(key, self.job(key, name))
            self.queues.flush()

        assert [call.call for call in self.calls] == [Save("a:1"), Save("a:2")]
        self.queues.take_result(self.calls[0].number, Done())
        self.queues.flush()
        assert self.finished == ["first"]
        assert len(self.calls) == 3

    def test_a_job_without_a_call_is_over_at_once(self) -> None:
        """And the next job begins."""
        self.queues.add("a:1", PlannedJob(None, lambda: None))
        self.queues.add("a:1", self.job("a:1", "next"))
        self.queues.flush()

        assert len(self.calls) == 1

    def test_one_snapshot_serves_all_that_wait_for_it(self) -> None:
        """Until a job of the key makes another call, which may change the document."""
        for name in ("one", "two", "three"):
            self.queues.add("a:1", self.job("a:1", name))
        self.queues.add("a:1", PlannedJob(Drop("a:1"), lambda: self.finished.append("drop")))
        self.queues.add("a:1", self.job("a:1", "after"))
        self.queues.flush()
        self.queues.take_result(self.calls[0].number, Saved(b"one", ()))
        self.queues.flush()

        assert self.finished == ["one", "two", "three"]
        assert [call.call for call in self.calls] == [Save("a:1"), Drop("a:1")]

        self.queues.take_result(self.calls[1].number, Done())
        self.queues.flush()

        assert self.calls[2].call == Save("a:1")

    def test_a_refusal_is_no_snapshot(self) -> None:
        """The next job makes its call."""
        for name in ("one", "two"):
            self.queues.add("a:1", self.job("a:1", name))
        self.queues.flush()
        self.queues.take_result(self.calls[0].number, Refused("internal"))
        self.queues.flush()

        assert self.finished == ["one"]
        assert len(self.calls) == 2

    def test_a_result_of_nobody_is_nothing(self) -> None:
        """As that of a call of no document."""
        self.queues.call(Forget(1))
        self.queues.take_result(self.calls[0].number, Done())

        assert self.finished == []


class TestTogether:
    """Calls of one kind for one connection that one input leads to are made together."""

    def setup_method(self) -> None:
        """Collect the calls, and the results by key."""
        self.calls: list[CallDocuments] = []
        self.queues = KeyQueues(self.calls.append)
        self.results: list[tuple[str, Result]] = []

    def add(self, call: Merge | Receive | Save) -> None:
        """Queue a job that makes a call."""

        class Noting(Job):
            def begin(self) -> Call:
                return call

            def finish(noting, result: Result) -> None:  # noqa: N805 - beside the test itself
                self.results.append((call.key, result))

        self.queues.add(call.key, Noting())

    def flush(self) -> list[Call | Together]:
        """Return the calls made since the last time."""
        self.queues.flush()
        made = [call.call for call in self.calls]
        self.calls.clear()
        return made

    def test_kinds_and_connections_are_kept_apart(self) -> None:
        """A call that nothing goes with is made alone."""
        of_one = [Merge(f"a:{number}", b"", 1) for number in range(3)]
        deltas = [Receive(1, "b:1", b""), Receive(1, "b:2", b"")]
        other, own = Merge("c:1", b"", 2), Save("d:1")
        for call in (of_one[0], deltas[0], other, own, *of_one[1:], deltas[1]):
            self.add(call)

        assert self.flush() == [Together(tuple(of_one)), Together(tuple(deltas)), other, own]

    def test_each_job_gets_its_own_result(self) -> None:
        """And the next job of its key begins."""
        for key in ("a:1", "a:2", "a:2"):
            self.add(Save(key))
        self.queues.flush()
        (made,) = self.calls
        results = Saved(b"one", ()), Refused("internal")
        self.queues.take_result(made.number, Each(results))

        assert self.results == [("a:1", results[0]), ("a:2", results[1])]
        self.calls.clear()
        assert self.flush() == [Save("a:2")]

    def test_one_refusal_is_that_of_all(self) -> None:
        """The node is closing."""
        for key in ("a:1", "a:2"):
            self.add(Save(key))
        self.queues.flush()
        self.queues.take_result(self.calls[0].number, Refused("internal"))

        assert self.results == [("a:1", Refused("internal")), ("a:2", Refused("internal"))]

    def test_number_and_bytes_are_limited(self) -> None:
        """What exceeds a limit is made by another call, and what exceeds it alone, alone."""
        for number in range(TOGETHER_MAX + 1):
            self.add(Save(f"a:{number}"))
        first, second = self.flush()

        assert isinstance(first, Together)
        assert len(first.calls) == TOGETHER_MAX
        assert second == Save(f"a:{TOGETHER_MAX}")

        half = bytes(TOGETHER_BYTES_MAX // 2)
        calls = [Merge(f"b:{number}", half, 1) for number in range(3)]
        large = Merge("b:9", bytes(TOGETHER_BYTES_MAX + 1), 1)
        for call in (calls[0], large, *calls[1:]):
            self.add(call)

        assert self.flush() == [large, Together(tuple(calls[:2])), calls[2]]

    def test_a_connection_is_forgotten_after_its_calls(self) -> None:
        """DC-017: a call made later would begin an exchange that nothing ends."""
        self.add(Receive(1, "a:1", b""))
        self.queues.call(Forget(1))

        assert self.flush() == [Receive(1, "a:1", b""), Forget(1)]


class Reading(PlannedJob):
    """A job whose call changes no document."""

    @property
    def reads_by(self) -> type[Call] | None:
        """The type of its call, also where it turns out to need none."""
        return Generate


class TestReadingTogether:
    """Calls about one document that do not change it are made together."""

    def setup_method(self) -> None:
        """Collect the calls, and the names of the jobs in the order of their end."""
        self.calls: list[CallDocuments] = []
        self.queues = KeyQueues(self.calls.append)
        self.finished: list[str] = []

    def add(self, name: str, call: Call | None, kind: type[PlannedJob] = Reading) -> None:
        """Queue a job of the one document."""
        self.queues.add("a:1", kind(call, lambda: self.finished.append(name)))

    def flush(self) -> list[Call | Together]:
        """Return the calls made since the last time."""
        self.queues.flush()
        made = [call.call for call in self.calls]
        self.number = self.calls[-1].number if self.calls else 0
        self.calls.clear()
        return made

    def test_messages_for_several_peers_are_one_call(self) -> None:
        """Each job gets the result of its own, in their order."""
        for peer in (1, 2, 3):
            self.add(f"to {peer}", Generate(peer, "a:1"))
        calls = tuple(Generate(peer, "a:1") for peer in (1, 2, 3))

        assert self.flush() == [Together(calls)]

        self.queues.take_result(self.number, Each((Done(), Refused("internal"), Done())))

        assert self.finished == ["to 1", "to 2", "to 3"]
        assert self.flush() == []

    def test_a_change_waits_for_all_of_them(self) -> None:
        """And those after it wait for the change."""
        change = Merge("a:1", b"", 9)
        for peer in (1, 2):
            self.add(f"to {peer}", Generate(peer, "a:1"))
        self.add("change", change, PlannedJob)
        self.add("to 3", Generate(3, "a:1"))

        assert self.flush() == [Together((Generate(1, "a:1"), Generate(2, "a:1")))]

        self.queues.take_result(self.number, Each((Done(), Done())))
        assert self.flush() == [change]
        self.queues.take_result(self.number, Done())
        assert self.flush() == [Generate(3, "a:1")]

    def test_one_that_needs_no_call_is_over(self) -> None:
        """The others are made together without it."""
        for peer, call in ((1, Generate(1, "a:1")), (2, None), (3, Generate(3, "a:1"))):
            self.add(f"to {peer}", call)

        assert self.flush() == [Together((Generate(1, "a:1"), Generate(3, "a:1")))]
        self.queues.take_result(self.number, Each((Done(), Done())))
        assert self.finished == ["to 1", "to 3"]

    def test_a_copy_is_dropped_after_all_that_are_in_flight(self) -> None:
        """And before the next job of the key."""
        for peer in range(TOGETHER_MAX + 1):
            self.add(f"to {peer}", Generate(peer, "a:1"))
        (first,) = self.flush()
        self.queues.drop("a:1")

        assert isinstance(first, Together)
        assert len(first.calls) == TOGETHER_MAX
        self.queues.take_result(self.number, Each((Done(),) * TOGETHER_MAX))
        assert self.flush() == [Drop("a:1")]
        self.queues.take_result(self.number, Done())
        assert self.flush() == [Generate(TOGETHER_MAX, "a:1")]

    def test_a_connection_is_forgotten_after_a_call_that_begins_late(self) -> None:
        """DC-017: also where the end of a job that needs no call is what ends the connection."""

        class Last(Reading):
            def begin(job) -> Call | None:  # noqa: N805 - beside the test itself
                self.queues.call(Forget(2))
                return None

        self.add("to 1", Generate(1, "a:1"))
        self.add("last", None, Last)
        self.add("to 2", Generate(2, "a:1"))

        assert self.flush() == [Together((Generate(1, "a:1"), Generate(2, "a:1"))), Forget(2)]
