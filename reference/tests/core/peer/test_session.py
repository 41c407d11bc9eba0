"""The end of a session: what a closed connection leaves behind."""

from dataclasses import replace

import pytest

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import Call, Done, Forget, Result
from meshwire_reference.core.effects import WriteStore
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.identity import public_key_of
from meshwire_reference.core.settings import Dialect, Moment, Settings
from meshwire_reference.core.trust.signing import Grant, issue_certificate, issue_revocation
from meshwire_reference.core.trust.store import TrustSettings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing import author
from meshwire_reference.testing.bench import Bench
from meshwire_reference.wire.certificates import encode_mesh_certificate, encode_mesh_revocation
from meshwire_spec.numbers import REASONS, Tier

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


MESH = "3F1A90C2"
AUTHORITY = b"\x21" * 32
PEER = bytes((7,) * 32)


def certified(bench: Bench, **changes: object) -> bytes:
    """Return a certificate of the peer with this number, as the root of the bench issues it."""
    begins = bench.now_ms - 1000
    grant = Grant(PEER, MESH, "node-7", Tier.EDGE, 0x03, begins)
    return encode_mesh_certificate(issue_certificate(AUTHORITY, replace(grant, **changes)))  # type: ignore[arg-type]  # fields by name


def demanding(dialect: Dialect = Dialect.OPEN, *, requires: bool = True) -> Bench:
    """Return a bench around a node that demands certificates of one root."""
    trust = TrustSettings(MESH, frozenset((public_key_of(AUTHORITY),)), requires)
    key = FormationKey.derive("test-formation", b"\x42" * 32)
    return Bench(lambda _call: Done(), Settings(dialect, heartbeat_s=0, trust=trust), key)


@pytest.mark.parametrize("dialect", [Dialect.OPEN, Dialect.H1])
@pytest.mark.parametrize("dialled", [True, False])
def test_a_peer_without_a_certificate_is_refused(dialect: Dialect, *, dialled: bool) -> None:
    """CT-032: at once, and nothing is opened for it; one with a certificate is served."""
    bench = demanding(dialect)
    bench.feed(inputs.CredentialRead(f"certificates:{PEER.hex()}", certified(bench)))
    known = bench.connect(dialled=dialled, peer=7)
    other = bench.connect(dialled=dialled, peer=8)

    assert bench.closed == {other: REASONS["certificate-required"].code}
    assert all(connection == known for connection, _ in bench.streams)
    assert [(one.peer, one.fault) for one in bench.not_certified] == [
        (bytes((8,) * 32).hex(), "no-certificate")
    ]
    assert bench.core.statistics.refused["certificate-required"] == 1


def test_a_node_may_warn_of_a_peer_without_a_certificate() -> None:
    """Once for each connection, whatever else it gets; and the peer is served."""
    bench = demanding(requires=False)
    connection = bench.connect(peer=8)
    bench.feed(inputs.CredentialRead(f"certificates:{PEER.hex()}", certified(bench)))

    assert bench.closed == {}
    assert bench.core.is_ready(connection)
    assert [(one.connection, one.is_refused) for one in bench.not_certified] == [
        (connection, False)
    ]


@pytest.mark.parametrize("dialect", [Dialect.OPEN, Dialect.H1])
def test_the_connection_of_a_revoked_peer_is_closed(dialect: Dialect) -> None:
    """CT-033: by the revocation, and by no other change; before its handshake too."""
    bench = demanding(dialect)
    bench.feed(inputs.CredentialRead(f"certificates:{PEER.hex()}", certified(bench)))
    connection = bench.connect(peer=7)
    revocation = issue_revocation(AUTHORITY, PEER, MESH, bench.now_ms)
    key = f"revocations:{PEER.hex()}"
    bench.feed(inputs.CredentialRead(key, b"nothing"))
    assert bench.closed == {}
    assert [(one.key, one.reason) for one in bench.ignored_credentials] == [(key, "truncated")]
    bench.feed(inputs.CredentialRead(key, encode_mesh_revocation(revocation)))

    assert bench.closed == {connection: REASONS["certificate-required"].code}


def test_a_connection_is_closed_when_a_certificate_ends() -> None:
    """CT-033: not before, and not if another certificate has come in time."""
    bench = demanding()
    key = f"certificates:{PEER.hex()}"
    end_ms = bench.now_ms + 60_000
    bench.feed(inputs.CredentialRead(key, certified(bench, expires_at=end_ms)))
    connection = bench.connect(peer=7)
    bench.feed(inputs.CredentialRead(key, certified(bench, expires_at=end_ms + 60_000)))
    bench.advance(119.0)
    assert bench.closed == {}
    bench.advance(1.0)

    assert bench.closed == {connection: REASONS["certificate-required"].code}


def test_a_closed_connection_is_verified_no_more() -> None:
    """No timer is left of its certificate."""
    bench = demanding()
    end_ms = bench.now_ms + 60_000
    key = f"certificates:{PEER.hex()}"
    bench.feed(inputs.CredentialRead(key, certified(bench, expires_at=end_ms)))
    bench.disconnect(bench.connect(peer=7))

    assert bench.core.deadline() is None


def test_a_node_without_roots_takes_no_certificate() -> None:
    """What lies in its documents is of no account."""
    bench = Bench(lambda _call: Done(), Settings(Dialect.OPEN, heartbeat_s=0))
    bench.feed(inputs.CredentialRead("certificates:x", b"nothing"))
    bench.connect(peer=7)

    assert bench.ignored_credentials == []
    assert bench.closed == {}
