"""Queues of jobs, one a document."""

from collections.abc import Callable

from meshwire_reference.core.document_calls import Call, Done, Forget, Result, Save
from meshwire_reference.core.effects import CallDocuments
from meshwire_reference.core.state.document_queues import Job, KeyQueues


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

        assert [call.call for call in self.calls] == [Save("a:1"), Save("a:2")]
        self.queues.take_result(self.calls[0].number, Done())
        assert self.finished == ["first"]
        assert len(self.calls) == 3

    def test_a_job_without_a_call_is_over_at_once(self) -> None:
        """And the next job begins."""
        self.queues.add("a:1", PlannedJob(None, lambda: None))
        self.queues.add("a:1", self.job("a:1", "next"))

        assert len(self.calls) == 1

    def test_a_result_of_nobody_is_nothing(self) -> None:
        """As that of a call of no document."""
        self.queues.call(Forget(1))
        self.queues.take_result(self.calls[0].number, Done())

        assert self.finished == []
