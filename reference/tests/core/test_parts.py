"""The small parts of the core: timers, cooldowns, queues, durability, policy."""

from collections.abc import Callable

from meshwire_reference.core.document_calls import Done, Forget, Result, Save
from meshwire_reference.core.effects import CallDocuments, Consumed, Send
from meshwire_reference.core.limits.rate_limit import Cooldowns
from meshwire_reference.core.state.document_queues import Job, KeyQueues
from meshwire_reference.core.state.durability import Durability
from meshwire_reference.core.state.policy import obeys_tombstones, push_type
from meshwire_reference.core.timers import Timers
from meshwire_spec.numbers import COLLECTION_ROWS, DeletionPolicy, FrameType, SyncMode


class TestTimers:
    """Named points in time."""

    def test_they_run_in_the_order_of_time(self) -> None:
        """Whatever the order of setting."""
        timers, ran = Timers(), list[str]()
        for name, at_s in (("b", 2.0), ("a", 1.0), ("c", 3.0)):
            timers.set(name, at_s, lambda name=name: ran.append(name))  # type: ignore[misc]

        timers.run(2.0)

        assert ran == ["a", "b"]
        assert timers.next_s() == 3.0

    def test_setting_again_moves(self) -> None:
        """The last time set counts."""
        timers, ran = Timers(), list[int]()
        timers.set("a", 1.0, lambda: ran.append(1))
        timers.set("a", 5.0, lambda: ran.append(5))

        timers.run(4.0)

        assert ran == []
        assert timers.next_s() == 5.0

    def test_what_is_cancelled_never_runs(self) -> None:
        """Nor does it count as the next."""
        timers = Timers()
        timers.set("a", 1.0, lambda: None)
        timers.cancel("a")

        assert timers.next_s() is None

    def test_moving_for_ever_takes_no_memory(self) -> None:
        """A timer that is set with every byte leaves nothing behind."""
        timers = Timers()
        for number in range(10_000):
            timers.set("a", float(number), lambda: None)

        assert len(timers._heap) < 100


def test_a_cooldown_lets_each_name_through_once_in_a_while() -> None:
    """Names do not disturb each other, and are forgotten when they may go again."""
    cooldowns = Cooldowns(60.0)

    assert [cooldowns.take(name, at_s) for name, at_s in (("a", 0), ("b", 1), ("a", 59))] == [
        True,
        True,
        False,
    ]
    assert cooldowns.take("a", 60.0)
    cooldowns.take("c", 1000.0)
    assert len(cooldowns._used) == 1


class TestDurability:
    """Durable before visible."""

    @staticmethod
    def effect(connection: int, data: bytes, after: int | None = None) -> Send:
        """Return an effect that a peer sees."""
        return Send(connection=connection, stream=1, data=data, after=after)

    def test_an_effect_waits_for_its_write_and_holds_later_ones(self) -> None:
        """In order on one connection, while another goes on."""
        durability = Durability()
        number = durability.begin_write("a:1")
        first, second = self.effect(1, b"1", number), self.effect(1, b"2")

        assert not durability.admit(first)
        assert not durability.admit(second)
        assert durability.admit(self.effect(2, b"3"))
        assert durability.note_durable(number) == [first, second]
        assert durability.admit(self.effect(1, b"4", number))

    def test_later_writes_do_not_free_earlier_holds_out_of_order(self) -> None:
        """What waits for the second write stays when only the first is durable."""
        durability = Durability()
        one, two = durability.begin_write("a:1"), durability.begin_write("a:2")
        durability.admit(self.effect(1, b"1", one))
        durability.admit(self.effect(1, b"2", two))

        assert [effect.after for effect in durability.note_durable(one)] == [one]
        assert durability.pending("a:1") is None
        assert durability.pending("a:2") == two

    def test_credit_never_waits(self) -> None:
        """Giving back credit shows nothing."""
        durability = Durability()
        durability.admit(self.effect(1, b"1", durability.begin_write("a:1")))

        assert durability.admit(Consumed(connection=1, stream=1, count=9))


class TestKeyQueues:
    """One call a key at a time."""

    def setup_method(self) -> None:
        """Collect the calls."""
        self.calls: list[CallDocuments] = []
        self.queues = KeyQueues(self.calls.append)
        self.finished: list[str] = []

    def job(self, key: str, name: str) -> Job:
        """Return a job that makes a call."""
        finish: Callable[[Result], None] = lambda _: self.finished.append(name)  # noqa: E731
        return Job(lambda: Save(key), finish)

    def test_jobs_of_one_key_wait_for_each_other(self) -> None:
        """And those of another do not."""
        for key, name in (("a:1", "first"), ("a:1", "second"), ("a:2", "other")):
            self.queues.add(key, self.job(key, name))

        assert [call.call for call in self.calls] == [Save("a:1"), Save("a:2")]
        self.queues.take_result(self.calls[0].number, Done())
        assert self.finished == ["first"]
        assert len(self.calls) == 3

    def test_a_job_without_a_call_is_over_at_once(self) -> None:
        """And what waits behind it begins."""
        self.queues.add("a:1", Job(lambda: None, lambda _: None))
        self.queues.add("a:1", self.job("a:1", "next"))

        assert len(self.calls) == 1

    def test_a_result_of_nobody_is_nothing(self) -> None:
        """As that of a call of no document."""
        self.queues.call(Forget(1))
        self.queues.take_result(self.calls[0].number, Done())

        assert self.finished == []


def test_every_row_of_the_table_decides_type_and_policy() -> None:
    """DC-033, DC-034, TS-031: the collection table is what decides."""
    for row in COLLECTION_ROWS:
        is_delta = push_type(f"{row.name}:x") is FrameType.DELTA
        obeys = obeys_tombstones(f"{row.name}:x")

        assert is_delta == (row.mode is SyncMode.FULL_HISTORY)
        assert obeys == (row.deletion is DeletionPolicy.TOMBSTONE)
    assert push_type("anything:x") is FrameType.DELTA
