"""The end of a session: what a closed connection leaves behind."""

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import Call, Forget, Result
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.core.settings import Dialect, Moment, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing import author
from meshwire_reference.testing.bench import Bench

KEY = "beacons:b1"


class TestEnd:
    """A connection that is closed leaves nothing."""

    def setup_method(self) -> None:
        """Make an open node with heartbeats, and note the calls of its documents."""
        table = Table(b"\x09" * 16)
        self.calls: list[Call] = []

        def answer(call: Call) -> Result:
            self.calls.append(call)
            return table.answer(call, None)

        self.bench = Bench(answer, Settings(Dialect.OPEN, heartbeat_s=30.0))
        self.connection = self.bench.connect(dialled=True)

    def test_no_timer_is_left(self) -> None:
        """No heartbeat is due."""
        assert self.bench.core.deadline() is not None
        self.bench.disconnect(self.connection)

        assert self.bench.core.deadline() is None

    def test_no_effect_is_left_that_waits_for_a_write(self) -> None:
        """The FIN of a stream whose write is late is not sent."""
        self.bench.hold_writes = True
        self.bench.send(self.connection, author.snapshot(KEY))
        self.bench.disconnect(self.connection)
        write = self.bench.held.popleft()
        assert isinstance(write, WriteStore)
        now = Moment(self.bench.now_s, self.bench.now_ms)

        assert self.bench.core.handle(inputs.Durable(write.number), now) == []

    def test_the_worker_forgets_the_exchanges_after_the_last_frame(self) -> None:
        """Once, and not before the frames that came before the end have taken effect."""
        self.bench.hold_documents = True
        self.bench.send(self.connection, author.snapshot(KEY))
        self.bench.disconnect(self.connection)
        assert self.calls == []
        self.bench.let_go()

        assert self.calls[-1] == Forget(self.connection)
        assert sum(isinstance(call, Forget) for call in self.calls) == 1

    def test_nothing_is_sent_to_it_any_more(self) -> None:
        """Changes are passed on to the connections that are left."""
        assert list(self.bench.core._routing.outbounds) == [self.connection]
        self.bench.disconnect(self.connection)

        assert self.bench.core._routing.outbounds == {}
