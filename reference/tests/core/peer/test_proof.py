"""The proof of an acceptor, H1 in reverse, in both roles."""

from dataclasses import replace

import pytest

from meshwire_reference.core import inputs
from meshwire_reference.core.document_calls import Call, Done, Result
from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.testing.bench import Bench, Seen, entropy
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_spec.numbers import ENDPOINT_ID, REASONS, FrameType

KEY = FormationKey.derive("test-formation", b"\x42" * 32)
HELLO = bytes((14, 0)) + b"test-formation"
CHALLENGE = HELLO + entropy(32)
"""The challenge of a node on a bench."""
NONCE = bytes(range(3, 35))
"""The nonce of a challenge of a peer."""
FAILED = REASONS["authentication-failed"].code
LATE = REASONS["handshake-timeout"].code
IGNORED = encode_stream_frame(StreamFrame("x", FrameType.WINDOWED_HISTORY, b""))
SETTINGS = Settings(Dialect.H1, handshake_s=10.0, heartbeat_s=0, dead_peer_s=0)
REFUSES = replace(SETTINGS, refuses_unproven=True, proves=True)
FIRST = 1
"""The first bidi stream of the node."""
PEER = 7
"""The byte of which the endpoint id of a peer consists."""


def answer(_call: Call) -> Result:
    """Play a worker without documents."""
    return Done()


class TestAcceptor:
    """A node that has accepted."""

    def accept(self, settings: Settings) -> None:
        """Accept a peer."""
        self.bench = Bench(answer, settings, KEY)
        self.connection = self.bench.connect(peer=PEER)
        stream = self.bench.open(self.connection)
        self.bench.write(self.connection, stream, HELLO)
        self.bench.write(self.connection, stream, KEY.respond(CHALLENGE[-32:]), fin=True)

    @property
    def proof(self) -> Seen:
        """The stream of the proof."""
        return self.bench.streams[self.connection, FIRST]

    def write(self, data: bytes, *, fin: bool = False) -> None:
        """Write on the stream of the proof."""
        self.bench.write(self.connection, FIRST, data, fin=fin)

    def is_served(self) -> bool:
        """Return True if a frame of the peer is taken."""
        return self.bench.send(
            self.connection, StreamFrame("x", FrameType.WINDOWED_HISTORY, b"")
        ).finished

    def test_a_peer_that_is_not_known_gets_no_proof(self) -> None:
        """HS-077."""
        self.accept(SETTINGS)

        assert (self.connection, FIRST) not in self.bench.streams

    @pytest.mark.parametrize(
        "settings",
        [REFUSES, replace(SETTINGS, own_peers=frozenset((bytes((PEER,) * ENDPOINT_ID).hex(),)))],
    )
    def test_the_proof_answers_the_challenge(self, settings: Settings) -> None:
        """HS-070: to all peers, or to those of one's own."""
        self.accept(settings)
        assert self.proof.data == HELLO
        self.write(HELLO + NONCE)

        assert self.proof.data == HELLO + KEY.respond(NONCE)
        self.write(b"\x01", fin=True)
        assert (self.proof.finished, self.proof.released) == (True, True)
        assert self.is_served()

    def test_a_proof_without_an_answer_is_reset_at_the_deadline(self) -> None:
        """HS-075: as toward a deployed peer, which takes it for a frame."""
        self.accept(REFUSES)
        self.bench.advance(9.9)
        assert self.proof.reset is None
        self.bench.advance(0.2)

        assert (self.proof.reset, self.proof.released) == (0, True)
        assert self.bench.closed == {}
        assert self.is_served()

    def test_a_proof_without_credit_is_given_up_at_the_deadline(self) -> None:
        """HS-075: a stream that is granted later is released unused."""
        self.bench = Bench(answer, REFUSES, KEY)
        self.connection = self.bench.connect(peer=PEER)
        stream = self.bench.open(self.connection)
        self.bench.write(self.connection, stream, HELLO)
        self.bench.hold_streams = True
        self.bench.write(self.connection, stream, KEY.respond(CHALLENGE[-32:]), fin=True)
        self.bench.advance(10.1)
        self.bench.let_go()

        assert (self.proof.data, self.proof.released) == (b"", True)

    @pytest.mark.parametrize(
        "challenge",
        [b"\x05\x00other" + NONCE, HELLO + b"", b"\x00\x01", b"\x01\x00\xff" + NONCE],
    )
    def test_a_challenge_at_fault_ends_the_proof_alone(self, challenge: bytes) -> None:
        """HS-050, HS-040: another formation, one cut off, one too long, one that is no text."""
        self.accept(REFUSES)
        self.write(challenge, fin=True)

        assert (self.proof.data, self.proof.reset) == (HELLO, 0)
        assert self.is_served()

    def test_the_nodes_own_challenge_is_not_answered(self) -> None:
        """HS-066: a peer that awaits a proof of another one cannot have it from this node."""
        self.bench = Bench(answer, REFUSES, KEY)
        other = self.bench.connect()
        self.bench.write(other, self.bench.open(other), HELLO)
        self.connection = self.bench.connect(peer=PEER)
        stream = self.bench.open(self.connection)
        self.bench.write(self.connection, stream, HELLO)
        self.bench.write(self.connection, stream, KEY.respond(CHALLENGE[-32:]), fin=True)
        self.bench.core._context.nonces.add(NONCE)
        self.write(HELLO + NONCE)

        assert (self.proof.data, self.proof.reset) == (HELLO, 0)

    @pytest.mark.parametrize("event", [inputs.StreamReset(FIRST, 3), inputs.StreamStopped(FIRST)])
    def test_a_peer_that_does_not_want_the_proof_ends_it(
        self, event: inputs.ConnectionEvent
    ) -> None:
        """HS-075: a deployed peer may drop the stream."""
        self.accept(REFUSES)
        self.bench.report(self.connection, event)

        assert self.proof.released
        assert self.is_served()

    def test_a_stop_after_the_response_does_not_end_the_proof(self) -> None:
        """Nothing more is to be sent."""
        self.accept(REFUSES)
        self.write(HELLO + NONCE)
        self.bench.report(self.connection, inputs.StreamStopped(FIRST))
        assert not self.proof.released
        self.write(b"\x01", fin=True)

        assert self.proof.released


class TestDialler:
    """A node that has dialled and was accepted."""

    def dial(self, settings: Settings, *, has_result: bool = True) -> None:
        """Dial, and prove the node."""
        self.bench = Bench(answer, settings, KEY)
        self.connection = self.bench.connect(dialled=True)
        self.write(FIRST, HELLO + NONCE)
        if has_result:
            self.write(FIRST, b"\x01", fin=True)

    def write(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Write as the peer."""
        self.bench.write(self.connection, stream, data, fin=fin)

    def begin(self) -> tuple[int, Seen]:
        """Begin the proof of the peer; return its stream."""
        stream = self.bench.open(self.connection)
        self.write(stream, HELLO)
        return stream, self.bench.streams[self.connection, stream]

    @property
    def is_ready(self) -> bool:
        """True if documents are exchanged."""
        return self.bench.core.is_ready(self.connection)

    def test_an_acceptor_without_a_proof_is_served_and_counted(self) -> None:
        """HS-076: once, at the deadline."""
        self.dial(SETTINGS)
        assert self.is_ready
        assert self.bench.unproven == []
        self.bench.advance(30)

        assert [one.reason for one in self.bench.unproven] == ["handshake-timeout"]
        assert self.bench.core.statistics.ignored["acceptor unproven"] == 1
        assert self.bench.closed == {}

    @pytest.mark.parametrize("settings", [SETTINGS, REFUSES])
    def test_a_right_proof_is_accepted(self, settings: Settings) -> None:
        """HS-071: byte by byte."""
        self.dial(settings)
        assert self.is_ready is (settings is SETTINGS)
        stream, seen = self.begin()
        assert seen.data == CHALLENGE
        for byte in KEY.respond(CHALLENGE[-32:]):
            self.write(stream, bytes((byte,)))
        self.write(stream, b"what follows is dropped")
        self.write(stream, b"", fin=True)

        assert (seen.data, seen.finished) == (CHALLENGE + b"\x01", True)
        assert (seen.released, seen.consumed) == (True, seen.written)
        assert self.is_ready
        assert len(self.bench.proven) == 1
        self.bench.advance(30)
        assert (self.bench.unproven, self.bench.closed) == ([], {})

    @pytest.mark.parametrize("settings", [SETTINGS, REFUSES])
    def test_a_wrong_proof_is_rejected_and_refused(self, settings: Settings) -> None:
        """HS-074: also where an acceptor without a proof is served."""
        self.dial(settings)
        stream, seen = self.begin()
        self.write(stream, bytes(32))

        assert seen.data == CHALLENGE + b"\x00"
        assert self.bench.closed == {self.connection: FAILED}

    def test_an_unproven_acceptor_is_refused_at_the_deadline(self) -> None:
        """HS-072, HS-073: nothing was opened for it."""
        self.dial(REFUSES)
        self.bench.advance(9.9)
        assert self.bench.closed == {}
        self.bench.advance(0.2)

        assert self.bench.closed == {self.connection: LATE}
        assert set(self.bench.streams) == {(self.connection, FIRST)}

    def test_a_frame_in_place_of_the_proof_is_refused(self) -> None:
        """HS-072, HS-078: it has no effect."""
        self.dial(REFUSES)
        stream = self.bench.open(self.connection)
        self.write(stream, IGNORED, fin=True)

        assert self.bench.closed == {self.connection: FAILED}
        assert self.bench.core.statistics.frames == {}

    def test_a_frame_is_read_where_no_proof_is_needed(self) -> None:
        """HS-071: what was read to tell is passed on, however it is cut."""
        self.dial(SETTINGS)
        stream = self.bench.open(self.connection)
        for byte in IGNORED:
            self.write(stream, bytes((byte,)))
        self.write(stream, b"", fin=True)

        seen = self.bench.streams[self.connection, stream]
        assert (seen.finished, seen.consumed) == (True, seen.written)
        assert [one.reason for one in self.bench.unproven] == ["authentication-failed"]

    def test_a_proof_that_comes_before_the_result_waits_for_it(self) -> None:
        """HS-037: streams arrive in any order."""
        self.dial(REFUSES, has_result=False)
        stream, seen = self.begin()
        assert seen.data == b""
        self.write(FIRST, b"\x01", fin=True)
        assert seen.data == CHALLENGE
        self.write(stream, KEY.respond(CHALLENGE[-32:]))

        assert self.is_ready

    def test_a_frame_that_came_before_the_result_is_no_proof_either(self) -> None:
        """HS-078."""
        self.dial(REFUSES, has_result=False)
        self.write(self.bench.open(self.connection), IGNORED, fin=True)
        assert self.bench.closed == {}
        self.write(FIRST, b"\x01", fin=True)

        assert self.bench.closed == {self.connection: FAILED}

    @pytest.mark.parametrize("is_reset", [True, False])
    def test_a_proof_that_ends_early_is_none(self, *, is_reset: bool) -> None:
        """HS-078."""
        self.dial(REFUSES)
        stream, seen = self.begin()
        if is_reset:
            self.bench.report(self.connection, inputs.StreamReset(stream, 0))
        else:
            self.write(stream, b"\x5a", fin=True)

        assert (seen.data, seen.reset) == (CHALLENGE, 0)
        assert self.bench.closed == {self.connection: FAILED}

    def test_the_nonce_of_a_proof_is_forgotten_at_the_end(self) -> None:
        """HS-066: also where the connection ends before the response."""
        self.dial(REFUSES)
        self.begin()
        assert self.bench.core._context.nonces == {CHALLENGE[-32:]}
        self.bench.disconnect(self.connection)

        assert self.bench.core._context.nonces == set()

    def test_another_stream_than_the_first_is_one_of_frames(self) -> None:
        """HS-071: what looks like a proof there is the beginning of a frame."""
        self.dial(SETTINGS)
        self.write(self.bench.open(self.connection), IGNORED, fin=True)
        _, seen = self.begin()

        assert seen.data == b""
