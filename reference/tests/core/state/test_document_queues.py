"""Queues of jobs, one a document."""

from collections.abc import Callable

from meshwire_reference.core.document_calls import (
    Call,
    Done,
    Drop,
    Each,
    Forget,
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
