"""What the log says about peers: who was accepted, refused by the binding, or configured otherwise.

Every message of a peer is written by hand here, with no codec.
"""

import struct
from hashlib import sha256
from hmac import digest

import pytest

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import Call, Result
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.peer.dialects import dialect_of
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing import author
from meshwire_reference.testing.bench import Bench
from meshwire_reference.wire.batches import encode_stream_frame
from meshwire_spec.numbers import REASONS

NAME = "test-formation"
KEY = FormationKey.derive(NAME, b"\x42" * 32)
NONCE = bytes(range(1, 33))
H1_HELLO = b"\x0e\x00" + NAME.encode()
H2_HELLO = b"\x01"
EARLY_HELLO = b"\x20\x00\x00\x00" + bytes(range(2, 34))
FRAME = encode_stream_frame(author.snapshot("beacons:b1"))
CHALLENGES = {
    Dialect.H1: H1_HELLO + NONCE,
    Dialect.H2: struct.pack("<I", 48) + H1_HELLO + NONCE,
}
FAILED, TIMEOUT = REASONS["authentication-failed"].code, REASONS["handshake-timeout"].code
UNREADABLE = (REASONS["truncated"].code, REASONS["length-limit"].code)


def make_bench(dialect: Dialect, *, detects: bool = False) -> Bench:
    """A node with real documents."""
    table = Table(b"\x09" * 16)

    def answer(call: Call) -> Result:
        return table.answer(call, None)

    settings = Settings(dialect, detects=detects, handshake_s=10.0, heartbeat_s=0)
    return Bench(answer, settings, None if dialect is Dialect.OPEN else KEY)


def mismatches(bench: Bench) -> list[tuple[str, str, str]]:
    """What the node has said: what, its own, and that of the peer."""
    return [(one.what, one.own, one.theirs) for one in bench.mismatches]


class TestAccepted:
    """A peer with which a session begins is said, with the dialect in use."""

    @pytest.mark.parametrize("dialled", [True, False])
    def test_in_an_open_node(self, *, dialled: bool) -> None:
        """At once."""
        bench = make_bench(Dialect.OPEN)
        connection = bench.connect(dialled=dialled)

        assert [(one.connection, one.dialled, one.dialect) for one in bench.accepted] == [
            (connection, dialled, "open")
        ]

    @pytest.mark.parametrize("detects", [True, False])
    def test_by_an_acceptor_once_it_is_proven(self, *, detects: bool) -> None:
        """In the dialect of the initiator, not before its response."""
        bench = make_bench(Dialect.H2 if detects else Dialect.H1, detects=detects)
        connection = bench.connect()
        stream = bench.open(connection)
        bench.write(connection, stream, H1_HELLO)
        assert bench.accepted == []
        nonce = bytes(bench.streams[connection, stream].data[-32:])
        bench.write(connection, stream, digest(KEY.key, nonce + NAME.encode(), sha256))

        assert [(one.dialled, one.dialect) for one in bench.accepted] == [(False, "H1")]
        assert bench.mismatches == []

    def test_by_an_initiator_at_the_result(self) -> None:
        """Which its peer has sent."""
        bench = make_bench(Dialect.H2)
        connection = bench.connect(dialled=True)
        bench.write(connection, 1, CHALLENGES[Dialect.H2])
        assert bench.accepted == []
        bench.write(connection, 1, b"\x01", fin=True)

        assert [(one.dialled, one.dialect) for one in bench.accepted] == [(True, "H2")]


class TestFormation:
    """A peer of another formation is said, with both names."""

    def test_an_acceptor_hears_it_in_h1(self) -> None:
        """Whatever the peer proves."""
        bench = make_bench(Dialect.H1)
        connection = bench.connect()
        stream = bench.open(connection)
        bench.write(connection, stream, b"\x05\x00bravo")
        bench.write(connection, stream, bytes(32))

        assert mismatches(bench) == [("formation", NAME, "bravo")]
        assert [one.reason for one in bench.refusals] == ["authentication-failed"]

    @pytest.mark.parametrize("dialect", [Dialect.H1, Dialect.H2])
    def test_an_initiator_hears_it_in_both(self, dialect: Dialect) -> None:
        """From the challenge."""
        bench = make_bench(dialect)
        connection = bench.connect(dialled=True)
        other = NAME[::-1].encode()
        bench.write(connection, 1, CHALLENGES[dialect].replace(NAME.encode(), other))

        assert mismatches(bench) == [("formation", NAME, NAME[::-1])]
        assert [one.reason for one in bench.refusals] == ["authentication-failed"]

    def test_a_wrong_secret_is_no_other_formation(self) -> None:
        """Nothing is said but the refusal."""
        bench = make_bench(Dialect.H1)
        connection = bench.connect()
        stream = bench.open(connection)
        bench.write(connection, stream, H1_HELLO + bytes(32))

        assert bench.mismatches == []
        assert [one.reason for one in bench.refusals] == ["authentication-failed"]


class TestOpenNode:
    """A node that is open, and a peer that is not."""

    @pytest.mark.parametrize(
        ("hello", "theirs"), [(H1_HELLO, "H1"), (H2_HELLO, "H2"), (EARLY_HELLO, "H2")]
    )
    def test_an_initiator_waits_for_a_challenge(self, hello: bytes, theirs: str) -> None:
        """Its first message is no whole frame, and nothing else comes."""
        bench = make_bench(Dialect.OPEN)
        connection = bench.connect()
        bench.write(connection, bench.open(connection), hello)
        bench.disconnect(connection)

        assert mismatches(bench) == [("dialect", "open", theirs)]

    def test_an_initiator_waits_longer_than_the_node(self) -> None:
        """The stream was refused meanwhile."""
        bench = make_bench(Dialect.OPEN)
        connection = bench.connect()
        bench.write(connection, bench.open(connection), H1_HELLO)
        bench.advance(31.0)
        assert [one.reason for one in bench.refusals] == ["frame-stall"]
        bench.disconnect(connection)

        assert mismatches(bench) == [("dialect", "open", "H1")]

    @pytest.mark.parametrize("code", [FAILED, TIMEOUT, *UNREADABLE])
    def test_an_acceptor_refuses_it(self, code: int) -> None:
        """Which of both is not known."""
        bench = make_bench(Dialect.OPEN)
        connection = bench.connect(dialled=True)
        bench.report(connection, inputs.ConnectionClosed(code))

        assert mismatches(bench) == [("dialect", "open", "H1 or H2")]

    @pytest.mark.parametrize(
        "closed", [inputs.ConnectionClosed(), inputs.ConnectionClosed(0, "shutdown")]
    )
    def test_an_open_peer_is_none(self, closed: inputs.ConnectionClosed) -> None:
        """Also if it ends inside a frame."""
        bench = make_bench(Dialect.OPEN)
        connection = bench.connect()
        bench.write(connection, bench.open(connection), FRAME[:-1])
        bench.report(connection, closed)

        assert bench.mismatches == []


class TestOpenPeer:
    """A node in a formation, and a peer that is open or speaks the other dialect only."""

    @pytest.mark.parametrize("dialect", [Dialect.H1, Dialect.H2])
    @pytest.mark.parametrize("detects", [True, False])
    def test_it_dials(self, dialect: Dialect, *, detects: bool) -> None:
        """And sends a frame first."""
        bench = make_bench(dialect, detects=detects)
        connection = bench.connect()
        bench.write(connection, bench.open(connection), FRAME)

        assert mismatches(bench) == [("dialect", dialect, "open")]
        assert len(bench.refusals) == 1

    @pytest.mark.parametrize("detects", [True, False])
    def test_it_dials_and_probes(self, *, detects: bool) -> None:
        """A node without documents, whose first stream ends without a byte."""
        bench = make_bench(Dialect.H1, detects=detects)
        connection = bench.connect()
        bench.write(connection, bench.open(connection), b"", fin=True)

        assert mismatches(bench) == [("dialect", "H1", "open")]
        assert [one.reason for one in bench.refusals] == ["truncated"]

    def test_a_stream_that_is_reset_says_nothing(self) -> None:
        """An initiator may have given up."""
        bench = make_bench(Dialect.H1)
        connection = bench.connect()
        stream = bench.open(connection)
        bench.report(connection, inputs.StreamReset(stream, 0))

        assert bench.mismatches == []
        assert [one.reason for one in bench.refusals] == ["truncated"]

    @pytest.mark.parametrize("dialect", [Dialect.H1, Dialect.H2])
    def test_it_is_dialled(self, dialect: Dialect) -> None:
        """And sends without a handshake, to the deadline."""
        bench = make_bench(dialect)
        connection = bench.connect(dialled=True)
        bench.write(connection, bench.open(connection), FRAME)
        bench.advance(10.1)

        assert mismatches(bench) == [("dialect", dialect, "open")]
        assert [one.reason for one in bench.refusals] == ["handshake-timeout"]

    def test_an_initiator_of_h2_at_an_acceptor_of_h1(self) -> None:
        """Its one byte is the half of a length."""
        bench = make_bench(Dialect.H1)
        connection = bench.connect()
        bench.write(connection, bench.open(connection), H2_HELLO)
        bench.advance(10.1)

        assert mismatches(bench) == [("dialect", "H1", "H2")]

    def test_an_initiator_of_h1_at_an_acceptor_of_h2(self) -> None:
        """Its first byte is no version."""
        bench = make_bench(Dialect.H2)
        connection = bench.connect()
        bench.write(connection, bench.open(connection), H1_HELLO)

        assert mismatches(bench) == [("dialect", "H2", "H1")]

    @pytest.mark.parametrize("dialect", [Dialect.H1, Dialect.H2])
    def test_an_acceptor_of_the_other_dialect(self, dialect: Dialect) -> None:
        """It has challenged."""
        bench = make_bench(dialect)
        connection = bench.connect(dialled=True)
        theirs = Dialect.H2 if dialect is Dialect.H1 else Dialect.H1
        bench.write(connection, 1, CHALLENGES[theirs])

        assert mismatches(bench) == [("dialect", dialect, theirs)]

    def test_silence_says_nothing(self) -> None:
        """A peer may be late."""
        bench = make_bench(Dialect.H1)
        bench.connect()
        bench.connect(dialled=True)
        bench.advance(10.1)

        assert bench.mismatches == []


class TestBinding:
    """ER-018: a connection that the transport refuses by itself."""

    def test_it_is_logged_and_counted_once(self) -> None:
        """As any other refusal."""
        bench = make_bench(Dialect.OPEN)
        connection = bench.connect()
        code = REASONS["bad-stream"].code
        bench.report(connection, inputs.ConnectionClosed(code, "bad-stream", by_peer=False))

        assert [(one.reason, one.scope) for one in bench.refusals] == [("bad-stream", "connection")]
        assert bench.core.statistics.refused == {"bad-stream": 1}

    def test_a_refusal_of_the_core_is_not_logged_again(self) -> None:
        """Its close comes back from the transport."""
        bench = make_bench(Dialect.H1)
        connection = bench.connect()
        bench.write(connection, bench.open(connection), b"\x00\x01")
        bench.report(
            connection,
            inputs.ConnectionClosed(bench.closed[connection], "length-limit", by_peer=False),
        )

        assert [one.reason for one in bench.refusals] == ["length-limit"]

    @pytest.mark.parametrize(
        "closed",
        [
            inputs.ConnectionClosed(REASONS["bad-stream"].code, "bad-stream"),
            inputs.ConnectionClosed(0, "shutdown", by_peer=False),
            inputs.ConnectionClosed(None, "connection lost", by_peer=False),
        ],
    )
    def test_other_ends_are_no_refusals(self, closed: inputs.ConnectionClosed) -> None:
        """Those of the peer, of the operator and of the link."""
        bench = make_bench(Dialect.OPEN)
        bench.report(bench.connect(), closed)

        assert bench.refusals == []


@pytest.mark.parametrize(
    "first",
    [b"", b"\x00", b"\x02", b"\x00\x00\x01", b"\x00\x01\xff\x01", b"\x00\x01a\x03", b"\xff"],
)
def test_other_bytes_tell_nothing(first: bytes) -> None:
    """No dialect is guessed."""
    assert dialect_of(first) is None
