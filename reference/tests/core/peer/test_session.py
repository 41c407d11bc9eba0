"""The end of a session: what a closed connection leaves behind."""

import pytest

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import Call, Done, Forget, Result
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.settings import Dialect, Moment, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing import author
from meshwire_reference.testing.bench import Bench
from meshwire_spec.numbers import REASONS

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


@pytest.mark.parametrize("dialect", [Dialect.OPEN, Dialect.H1])
@pytest.mark.parametrize("dialled", [True, False])
def test_a_peer_that_is_not_allowed_is_refused(dialect: Dialect, *, dialled: bool) -> None:
    """TR-049: at once, and nothing is opened for it; another one is served."""
    settings = Settings(dialect, heartbeat_s=0, allowed_peers=frozenset((bytes((7,) * 32).hex(),)))
    key = FormationKey.derive("test-formation", b"\x42" * 32)
    bench = Bench(lambda _call: Done(), settings, key)
    known = bench.connect(dialled=dialled, peer=7)
    other = bench.connect(dialled=dialled, peer=8)

    assert bench.closed == {other: REASONS["authentication-failed"].code}
    assert all(connection == known for connection, _ in bench.streams)
    assert [one.peer for one in bench.not_allowed] == [bytes((8,) * 32).hex()]
    assert bench.core.statistics.refused["authentication-failed"] == 1
