"""Dialect H2 of the handshake, the detection of the dialect, and challenges of the node itself.

Every message of the peer is written by hand here, with no codec.
"""

import hmac
import struct
from hashlib import sha256
from itertools import count

import pytest

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import Call, Done, Result
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.testing.bench import Bench, Seen
from meshwire_reference.wire.batches import StreamFrame
from meshwire_spec.numbers import REASONS, FrameType

NAME = b"test-formation"
KEY = FormationKey.derive(NAME.decode(), b"\x42" * 32)
NONCE = bytes(range(1, 33))
VERSION, EARLY = b"\x01", b"\x20\x00\x00\x00"
H1_HELLO = b"\x0e\x00" + NAME
H1_CHALLENGE = H1_HELLO + NONCE
CHALLENGE = struct.pack("<IH", 48, 14) + NAME + NONCE
IGNORED = StreamFrame("x", FrameType.WINDOWED_HISTORY, b"")
FAILED = REASONS["authentication-failed"].code


def refuse_calls(call: Call) -> Result:
    """Play a worker that must not be asked."""
    assert type(call).__name__ == "Forget", f"{call} before the handshake is over"
    return Done()


def response(nonce: bytes, *, extra: bytes = b"") -> bytes:
    """The right response after its length."""
    code = hmac.digest(KEY.key, nonce + NAME, sha256)
    return struct.pack("<I", len(code) + len(extra)) + code + extra


def make_bench(dialect: Dialect = Dialect.H2, *, detects: bool = False) -> Bench:
    """A node that wants a handshake."""
    settings = Settings(dialect, detects=detects, handshake_s=10.0, heartbeat_s=0)
    return Bench(refuse_calls, settings, KEY)


class Dialler:
    """A peer that has dialled a node and opened the handshake stream."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.connection = bench.connect()
        self.stream = bench.open(self.connection)

    @property
    def seen(self) -> Seen:
        """What the node has done on the stream."""
        return self.bench.streams[self.connection, self.stream]

    def write(self, data: bytes, *, fin: bool = False) -> None:
        """Write on the handshake stream."""
        self.bench.write(self.connection, self.stream, data, fin=fin)

    def take_challenge(self) -> bytes:
        """Check a challenge of H2, and return its nonce."""
        assert self.seen.data[:20] == struct.pack("<IH", 48, 14) + NAME
        assert len(self.seen.data) == 52
        return bytes(self.seen.data[20:])


class TestAcceptor:
    """A node of H2 alone that was dialled."""

    def setup_method(self) -> None:
        """Dial it."""
        self.peer = Dialler(make_bench())

    def test_the_version_draws_a_challenge_and_a_right_response_the_result(self) -> None:
        """HS-060, HS-032, HS-042: the half is finished after it, and frames are read."""
        self.peer.write(VERSION)
        self.peer.write(response(self.peer.take_challenge()))

        assert self.peer.seen.data[52:] == b"\x01"
        assert self.peer.seen.finished
        assert self.peer.bench.send(self.peer.connection, IGNORED).finished

    def test_bytes_may_come_one_by_one(self) -> None:
        """However the transport cuts them."""
        self.peer.write(VERSION)
        for byte in response(self.peer.take_challenge()):
            self.peer.write(bytes((byte,)))

        assert self.peer.seen.data[52:] == b"\x01"

    def test_bytes_inside_the_length_are_ignored(self) -> None:
        """HS-016: up to 256 of them."""
        self.peer.write(VERSION)
        self.peer.write(response(self.peer.take_challenge(), extra=bytes(224)))

        assert self.peer.seen.data[52:] == b"\x01"
        assert self.peer.seen.stopped is None

    def test_a_wrong_response_is_rejected_and_closed_a_second_later(self) -> None:
        """HS-033, HS-036."""
        self.peer.write(VERSION)
        self.peer.write(struct.pack("<I", 32) + bytes(32))

        assert self.peer.seen.data[52:] == b"\x00"
        self.peer.bench.advance(0.9)
        assert self.peer.bench.closed == {}
        self.peer.bench.advance(0.2)
        assert self.peer.bench.closed == {self.peer.connection: FAILED}

    @pytest.mark.parametrize("data", [b"\x00", b"\x02", EARLY, H1_HELLO, b"\x00\x0atracks:one"])
    def test_any_other_first_byte_is_refused_with_code_1(self, data: bytes) -> None:
        """HS-061."""
        self.peer.write(data)

        assert self.peer.bench.closed == {self.peer.connection: FAILED}
        assert self.peer.seen.data == b""

    @pytest.mark.parametrize("length", [0, 31, 257, 2**32 - 1])
    def test_a_response_of_another_length_is_refused(self, length: int) -> None:
        """HS-015: by the length alone."""
        self.peer.write(VERSION + struct.pack("<I", length))

        assert self.peer.bench.closed == {self.peer.connection: REASONS["length-limit"].code}

    @pytest.mark.parametrize("data", [b"", VERSION, VERSION + b"\x20", VERSION + EARLY + bytes(31)])
    def test_an_early_end_refuses_the_connection(self, data: bytes) -> None:
        """HS-040."""
        self.peer.write(data, fin=True)

        assert self.peer.bench.closed == {self.peer.connection: REASONS["truncated"].code}

    @pytest.mark.parametrize("data", [b"", VERSION, VERSION + EARLY])
    def test_silence_ends_at_the_deadline(self, data: bytes) -> None:
        """HS-035."""
        self.peer.write(data)
        self.peer.bench.advance(10.1)

        assert self.peer.bench.closed == {self.peer.connection: REASONS["handshake-timeout"].code}


class TestDetection:
    """A node that serves both dialects."""

    @pytest.mark.parametrize("dialect", [Dialect.H1, Dialect.H2])
    def test_each_initiator_is_served_in_its_dialect(self, dialect: Dialect) -> None:
        """HS-062: whatever the node itself begins with."""
        bench = make_bench(dialect, detects=True)
        one, two = Dialler(bench), Dialler(bench)
        one.write(VERSION)
        one.write(response(one.take_challenge()))
        two.write(H1_HELLO)
        assert two.seen.data[:16] == H1_HELLO
        two.write(response(bytes(two.seen.data[16:]))[4:])

        assert one.seen.data[52:] == two.seen.data[48:] == b"\x01"

    def test_an_early_writer_is_served(self) -> None:
        """HS-063: once its four bytes are there, and not before."""
        peer = Dialler(make_bench(detects=True))
        for byte in EARLY[:3]:
            peer.write(bytes((byte,)))
        assert peer.seen.data == b""
        peer.write(EARLY[3:])
        peer.write(response(peer.take_challenge())[4:])

        assert peer.seen.data[52:] == b"\x01"

    def test_a_formation_id_of_32_bytes_is_one(self) -> None:
        """HS-062: it is rejected as that of another formation (HS-034)."""
        peer = Dialler(make_bench(detects=True))
        peer.write(b"\x20\x00" + b"f" * 32)
        peer.write(response(bytes(peer.seen.data[16:]))[4:])

        assert peer.seen.data[:16] == H1_HELLO
        assert peer.seen.data[48:] == b"\x00"

    @pytest.mark.parametrize("data", [b"", EARLY[:1], EARLY[:3]])
    def test_an_early_end_refuses_the_connection(self, data: bytes) -> None:
        """HS-040: also while both dialects are possible."""
        peer = Dialler(make_bench(detects=True))
        peer.write(data, fin=True)

        assert peer.bench.closed == {peer.connection: REASONS["truncated"].code}

    @pytest.mark.parametrize("data", [b"", b"\x02", EARLY[:3]])
    def test_silence_ends_at_the_deadline(self, data: bytes) -> None:
        """HS-035: counted since the connection was opened."""
        peer = Dialler(make_bench(detects=True))
        peer.bench.advance(6)
        peer.write(data)
        peer.bench.advance(3.9)
        assert peer.bench.closed == {}
        peer.bench.advance(0.2)

        assert peer.bench.closed == {peer.connection: REASONS["handshake-timeout"].code}


class Acceptor:
    """A peer that a node has dialled."""

    def __init__(self, bench: Bench, *, in_other_dialect: bool = False) -> None:
        self.bench = bench
        self.connection = bench.connect(dialled=True, in_other_dialect=in_other_dialect)

    @property
    def seen(self) -> Seen:
        """What the node has done on the stream that it opened."""
        return self.bench.streams[self.connection, 1]

    def write(self, data: bytes, *, fin: bool = False) -> None:
        """Write on the handshake stream."""
        self.bench.write(self.connection, 1, data, fin=fin)

    @property
    def was_misunderstood(self) -> bool:
        """True if the node has reported that the peer may speak the other dialect."""
        return [one.connection for one in self.bench.other_dialects] == [self.connection]


class TestConnector:
    """A node of H2 that dialled."""

    def test_it_writes_its_version_and_then_the_response(self) -> None:
        """HS-059, HS-003: nothing in between."""
        peer = Acceptor(make_bench())
        assert peer.seen.data == VERSION
        peer.write(CHALLENGE)
        assert peer.seen.data[1:] == response(NONCE)
        peer.write(b"\x01", fin=True)

        assert peer.seen.finished
        assert peer.bench.send(peer.connection, IGNORED).finished

    def test_a_challenge_may_come_in_pieces(self) -> None:
        """However the transport cuts it."""
        peer = Acceptor(make_bench())
        for byte in CHALLENGE:
            peer.write(bytes((byte,)))

        assert peer.seen.data[1:] == response(NONCE)

    @pytest.mark.parametrize(
        ("challenge", "reason"),
        [
            (struct.pack("<I", 1025), "length-limit"),
            (struct.pack("<IH", 290, 256) + bytes(288), "length-limit"),
            (struct.pack("<I", 49) + CHALLENGE[4:] + b"\x00", "trailing-bytes"),
            (struct.pack("<I", 47) + CHALLENGE[4:-1], "truncated"),
            (struct.pack("<IH", 35, 1) + b"\xff" + NONCE, "bad-utf8"),
            (struct.pack("<IH", 48, 14) + NAME[::-1] + NONCE, "authentication-failed"),
            (H1_CHALLENGE, "authentication-failed"),
        ],
    )
    def test_any_other_challenge_is_not_answered(self, challenge: bytes, reason: str) -> None:
        """HS-014, HS-017, HS-050, HS-065."""
        peer = Acceptor(make_bench())
        peer.write(challenge)

        assert peer.bench.closed == {peer.connection: REASONS[reason].code}
        assert peer.seen.data == VERSION


DETECTS = pytest.mark.parametrize("dialect", [Dialect.H1, Dialect.H2])


class TestRedial:
    """HS-065: what shows that a peer may speak the other dialect."""

    @DETECTS
    @pytest.mark.parametrize(("code", "is_sign"), [(1, True), (0, False), (None, False)])
    def test_a_close_with_code_1_is_a_sign(
        self, dialect: Dialect, code: int | None, *, is_sign: bool
    ) -> None:
        """Before the challenge; other codes are none."""
        peer = Acceptor(make_bench(dialect, detects=True))
        peer.bench.report(peer.connection, inputs.ConnectionClosed(code))

        assert peer.was_misunderstood is is_sign

    @DETECTS
    def test_a_close_after_a_byte_of_the_challenge_is_none(self, dialect: Dialect) -> None:
        """Such a peer has understood."""
        peer = Acceptor(make_bench(dialect, detects=True))
        peer.write((H1_CHALLENGE if dialect is Dialect.H1 else CHALLENGE)[:1])
        peer.bench.report(peer.connection, inputs.ConnectionClosed(1))

        assert not peer.was_misunderstood

    @DETECTS
    def test_silence_to_the_deadline_is_a_sign(self, dialect: Dialect) -> None:
        """An H1 acceptor waits for the rest of a length."""
        peer = Acceptor(make_bench(dialect, detects=True))
        peer.bench.advance(10.1)

        assert peer.was_misunderstood

    @DETECTS
    def test_a_challenge_of_the_other_dialect_is_a_sign(self, dialect: Dialect) -> None:
        """It is not answered."""
        peer = Acceptor(make_bench(dialect, detects=True))
        before = bytes(peer.seen.data)
        peer.write(CHALLENGE if dialect is Dialect.H1 else H1_CHALLENGE)

        assert peer.was_misunderstood
        assert peer.seen.data == before
        assert peer.bench.closed == {peer.connection: FAILED}

    @DETECTS
    def test_an_end_without_a_challenge_is_none(self, dialect: Dialect) -> None:
        """HS-053 alone holds for it."""
        peer = Acceptor(make_bench(dialect, detects=True))
        peer.write(b"", fin=True)

        assert not peer.was_misunderstood

    def test_a_node_of_one_dialect_takes_nothing_for_a_sign(self) -> None:
        """It would not dial again otherwise."""
        peer = Acceptor(make_bench())
        peer.bench.report(peer.connection, inputs.ConnectionClosed(1))

        assert not peer.was_misunderstood

    @DETECTS
    def test_the_next_dial_may_begin_in_the_other_dialect(self, dialect: Dialect) -> None:
        """As the driver says."""
        peer = Acceptor(make_bench(dialect, detects=True), in_other_dialect=True)

        assert peer.seen.data == (VERSION if dialect is Dialect.H1 else H1_HELLO)


class TestReflection:
    """HS-066: a challenge of the node itself."""

    def setup_method(self) -> None:
        """Make a node that draws another nonce each time."""
        drawn = count(1)
        settings = Settings(Dialect.H2, handshake_s=10.0, heartbeat_s=0)
        self.bench = Bench(refuse_calls, settings, KEY, lambda _: next(drawn).to_bytes(32, "big"))

    def test_it_is_not_answered_and_stays_good_for_a_member(self) -> None:
        """The response to it would let a peer in that does not know the secret."""
        dialler, acceptor = Dialler(self.bench), Acceptor(self.bench)
        dialler.write(VERSION)
        acceptor.write(bytes(dialler.seen.data))
        assert acceptor.seen.data == VERSION
        assert self.bench.closed == {acceptor.connection: FAILED}
        dialler.write(response(dialler.take_challenge()))

        assert dialler.seen.data[52:] == b"\x01"

    @pytest.mark.parametrize("how", ["accepted", "rejected", "closed", "faulty"])
    def test_only_while_it_is_outstanding(self, how: str) -> None:
        """A nonce is kept no longer than its handshake lasts."""
        dialler = Dialler(self.bench)
        dialler.write(VERSION)
        challenge = bytes(dialler.seen.data)
        nonce = dialler.take_challenge()
        if how == "closed":
            self.bench.disconnect(dialler.connection)
        else:
            wrong = struct.pack("<I", 32 if how == "rejected" else 31) + bytes(32)
            dialler.write(response(nonce) if how == "accepted" else wrong)
        acceptor = Acceptor(self.bench)
        acceptor.write(challenge)

        assert acceptor.seen.data[1:] == response(nonce)
