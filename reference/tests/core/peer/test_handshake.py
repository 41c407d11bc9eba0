"""The H1 handshake as bytes, and the state of the session after it."""

import hmac
from hashlib import sha256

import pytest

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import Call, Done, Result
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.peer.handshake import Acceptor, Initiator
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.testing.bench import Bench, Seen, entropy
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_spec.numbers import NEGENTROPY_KEY, REASONS, FrameType
from meshwire_spec.states import HandshakeState

SECRET = b"\x42" * 32
NAME = "test-formation"
KEY = FormationKey.derive(NAME, SECRET)
HELLO = bytes((14, 0)) + NAME.encode()
IGNORED = StreamFrame("x", FrameType.WINDOWED_HISTORY, b"")


def refuse_calls(call: Call) -> Result:
    """Play a worker that must not be asked."""
    assert type(call).__name__ == "Forget", f"{call} before the handshake is over"
    return Done()


def make_bench() -> Bench:
    """Return a node that wants a handshake."""
    return Bench(refuse_calls, Settings(Dialect.H1, handshake_s=10.0, heartbeat_s=0), KEY)


def respond(seen: Seen) -> bytes:
    """Return the right response to the challenge on a stream."""
    challenge = bytes(seen.data)
    assert challenge == HELLO + entropy(32)
    return KEY.respond(challenge[-32:])


class TestAcceptor:
    """HS-030 and following."""

    def setup_method(self) -> None:
        """Connect and open the handshake stream."""
        self.bench = make_bench()
        self.connection = self.bench.connect()
        self.stream = self.bench.open(self.connection)
        self.seen = self.bench.streams[self.connection, self.stream]

    def write(self, data: bytes, *, fin: bool = False) -> None:
        """Write on the handshake stream."""
        self.bench.write(self.connection, self.stream, data, fin=fin)

    def test_a_right_response_is_accepted(self) -> None:
        """HS-032, HS-042: the result is 1, and the half is finished."""
        self.write(HELLO)
        self.write(respond(self.seen), fin=True)

        assert self.seen.data[-1:] == b"\x01"
        assert self.seen.finished
        assert self.seen.released
        assert self.bench.send(self.connection, IGNORED).finished

    def test_bytes_may_come_one_by_one(self) -> None:
        """However the transport cuts them."""
        for byte in HELLO:
            self.write(bytes((byte,)))
        for byte in respond(self.seen):
            self.write(bytes((byte,)))

        assert self.seen.data[-1:] == b"\x01"

    def test_a_wrong_response_is_rejected_and_closed_a_second_later(self) -> None:
        """HS-033, HS-036."""
        self.write(HELLO)
        self.write(bytes(32))

        assert self.seen.data[-1:] == b"\x00"
        assert self.seen.finished
        self.bench.advance(0.9)
        assert self.bench.closed == {}
        self.bench.advance(0.2)
        assert self.bench.closed == {self.connection: 1}

    def test_another_formation_is_rejected_after_its_response(self) -> None:
        """HS-034: even with what would be the right response."""
        self.write(b"\x05\x00other")
        self.write(respond(self.seen))

        assert self.seen.data[-1:] == b"\x00"

    def test_an_overlong_id_refuses_the_connection(self) -> None:
        """HS-017: by the length alone."""
        self.write(b"\x00\x01")

        assert self.bench.closed == {self.connection: REASONS["length-limit"].code}

    @pytest.mark.parametrize("data", [b"", b"\x0e", HELLO, HELLO + b"\x00" * 31])
    def test_a_stream_that_ends_early_refuses_the_connection(self, data: bytes) -> None:
        """HS-040."""
        self.write(data, fin=True)

        assert self.bench.closed == {self.connection: REASONS["truncated"].code}

    @pytest.mark.parametrize("data", [b"", b"\x0e", HELLO, HELLO + b"\x00" * 31])
    def test_a_reset_before_the_response_refuses_the_connection(self, data: bytes) -> None:
        """HS-045."""
        self.write(data)
        self.bench.report(self.connection, inputs.StreamReset(self.stream, 7))

        assert self.bench.closed == {self.connection: REASONS["truncated"].code}

    @pytest.mark.parametrize("is_right", [True, False])
    def test_a_reset_after_the_response_changes_nothing(self, *, is_right: bool) -> None:
        """HS-046."""
        self.write(HELLO)
        response = respond(self.seen)
        self.write(response if is_right else bytes(len(response)))
        self.bench.report(self.connection, inputs.StreamReset(self.stream, 7))
        assert self.seen.released
        assert self.bench.closed == {}
        self.bench.advance(2)

        rejected = {self.connection: REASONS["authentication-failed"].code}
        assert self.bench.closed == ({} if is_right else rejected)

    def test_an_id_that_is_no_text_refuses_the_connection(self) -> None:
        """HS-040."""
        self.write(b"\x01\x00\xff")

        assert self.bench.closed == {self.connection: REASONS["bad-utf8"].code}

    def test_a_handshake_that_takes_too_long_refuses_the_connection(self) -> None:
        """HS-035: the deadline is of the whole, not of each step."""
        self.bench.advance(6)
        self.write(HELLO)
        self.bench.advance(3.9)
        assert self.bench.closed == {}
        self.bench.advance(0.2)

        assert self.bench.closed == {self.connection: REASONS["handshake-timeout"].code}

    def test_the_deadline_begins_with_the_connection(self) -> None:
        """HS-035: not with the first stream, however late that is opened."""
        connection = self.bench.connect()
        self.bench.advance(6)
        stream = self.bench.open(connection)
        self.bench.write(connection, stream, HELLO)
        self.bench.advance(3.9)
        assert connection not in self.bench.closed
        self.bench.advance(0.2)

        assert self.bench.closed[connection] == REASONS["handshake-timeout"].code

    @pytest.mark.parametrize("is_right", [True, False])
    def test_a_response_after_the_deadline_is_ignored(self, *, is_right: bool) -> None:
        """The deadline has passed when the response arrives: the connection is closed once."""
        self.write(HELLO)
        response = respond(self.seen)
        self.bench.advance(10.001)
        self.write(response if is_right else bytes(len(response)), fin=True)

        assert self.bench.closed == {self.connection: REASONS["handshake-timeout"].code}
        assert self.bench.core.deadline() is None

    def test_a_response_that_is_given_before_the_timer_is_in_time(self) -> None:
        """A driver that is late itself gives what waited for it first."""
        self.write(HELLO)
        response = respond(self.seen)
        self.bench.now_s += 10.001
        self.write(response, fin=True)
        self.bench.advance(0)

        assert self.bench.closed == {}

    def test_what_was_opened_early_waits(self) -> None:
        """HS-037, HS-041: unread before the result, in effect after it."""
        early = self.bench.open(self.connection)
        data = encode_stream_frame(IGNORED)
        self.bench.write(self.connection, early, data, fin=True)
        seen = self.bench.streams[self.connection, early]
        assert not seen.finished
        assert not seen.consumed
        self.write(HELLO)
        self.write(respond(self.seen))

        assert seen.finished
        assert seen.consumed == len(data)

    def test_a_run_that_began_early_is_answered(self) -> None:
        """HS-041, NG-014: at the moment of the result the node may send already."""
        message = bytes.fromhex("6100000200")
        frame = StreamFrame(NEGENTROPY_KEY, FrameType.NEGENTROPY_INIT, message)
        seen = self.bench.send(self.connection, frame)
        self.write(HELLO)
        self.write(respond(self.seen))

        answer = StreamFrame(NEGENTROPY_KEY, FrameType.NEGENTROPY_RESPONSE, message)
        assert bytes(seen.data) == encode_stream_frame(answer)
        assert seen.finished

    def test_what_was_opened_early_has_no_effect_after_a_rejection(self) -> None:
        """HS-041."""
        seen = self.bench.send(self.connection, IGNORED)
        self.write(HELLO)
        self.write(bytes(32))
        self.bench.advance(2)

        assert not seen.finished
        assert self.bench.core.statistics.frames.total() == 0

    def test_an_unproven_peer_is_told_nothing(self) -> None:
        """HS-037: no frame goes out before the result."""
        self.write(HELLO)

        assert self.bench.frames(self.connection) == []

    def test_bytes_behind_the_response_are_refused_and_the_result_stands(self) -> None:
        """HS-047, HS-048: they came with it or after it."""
        self.write(HELLO)
        self.write(respond(self.seen) + encode_stream_frame(IGNORED))

        assert self.seen.data[-1:] == b"\x01"
        assert self.seen.stopped == REASONS["trailing-bytes"].code
        assert self.bench.core.statistics.frames.total() == 0
        assert self.bench.send(self.connection, IGNORED).finished

    def test_a_rejected_peer_may_come_again(self) -> None:
        """HS-044."""
        self.write(HELLO)
        self.write(bytes(32))
        self.bench.disconnect(self.connection)
        again = self.bench.connect()
        stream = self.bench.open(again)
        self.bench.write(again, stream, HELLO)
        seen = self.bench.streams[again, stream]
        self.bench.write(again, stream, respond(seen))

        assert seen.data[-1:] == b"\x01"


def test_both_roles_understand_each_other() -> None:
    """A dialling node and an accepting one end in accepted."""
    acceptor, initiator = Acceptor(KEY, entropy), Initiator(KEY)
    for _ in range(4):
        acceptor.receive(initiator.take_output())
        initiator.receive(acceptor.take_output())

    assert acceptor.state is initiator.state is HandshakeState.ACCEPTED


def test_an_initiator_leaves_another_formation() -> None:
    """HS-050: it writes no proof, neither before it compares the formation nor after."""
    other = FormationKey.derive("other", SECRET)
    acceptor, initiator = Acceptor(other, entropy), Initiator(KEY)
    acceptor.receive(initiator.take_output())
    initiator.receive(acceptor.take_output())

    assert initiator.take_output() == b""

    assert initiator.state is HandshakeState.FAULTY
    assert initiator.reason == "authentication-failed"


def test_an_initiator_takes_any_other_result_as_rejection() -> None:
    """HS-018."""
    initiator = Initiator(KEY)
    initiator.receive(HELLO + bytes(32) + b"\x02")

    assert initiator.state is HandshakeState.REJECTED


@pytest.mark.parametrize("ends_by_reset", [True, False])
@pytest.mark.parametrize("data", [b"", HELLO + b"\xab" * 31, HELLO + b"\xab" * 32])
def test_an_initiator_leaves_a_stream_that_ends_early(data: bytes, *, ends_by_reset: bool) -> None:
    """HS-053."""
    bench = make_bench()
    connection = bench.connect(dialled=True)
    bench.write(connection, 1, data)
    end = inputs.StreamReset(1, 0) if ends_by_reset else inputs.StreamData(1, b"", fin=True)
    bench.report(connection, end)

    assert bench.closed == {connection: REASONS["truncated"].code}


def test_a_node_that_dialled_proves_itself_first() -> None:
    """It opens the stream, names the formation and responds."""
    bench = make_bench()
    connection = bench.connect(dialled=True)
    seen = bench.streams[connection, 1]
    assert bytes(seen.data) == HELLO
    bench.write(connection, 1, HELLO + b"\xab" * 32)
    key = KEY.key
    assert seen.data[len(HELLO) :] == hmac.digest(key, b"\xab" * 32 + NAME.encode(), sha256)
    bench.write(connection, 1, b"\x01", fin=True)

    assert seen.finished
    assert bench.send(connection, IGNORED).finished
