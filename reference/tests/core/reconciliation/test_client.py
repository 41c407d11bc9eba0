"""Runs that the node begins: what they find, and how they end."""

from collections.abc import Callable, Iterator

import pytest

from meshwire_reference.core import inputs
from meshwire_reference.core.limits.fair_turns import REST_MAX_S
from meshwire_reference.core.reconciliation.client import ENDED, SILENT
from meshwire_reference.negentropy import Run
from meshwire_reference.testing import author
from meshwire_reference.testing.bench import OWN_BIDI, STREAM_STEP, Bench
from meshwire_reference.testing.reconciling import (
    EMPTY,
    INIT,
    RESPONSE,
    fill,
    items,
    keys,
    make_bench,
    message,
)
from meshwire_reference.wire.batches import StreamFrame, decode_sync_batch, encode_stream_frame
from meshwire_reference.wire.frames import FrameReader
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import (
    NEGENTROPY_KEY,
    REASONS,
    Direction,
    FrameType,
)

TURN_S = 0.01
COSTLY = 5000
"""Documents with which each answer waits for its turn."""


class Peer:
    """The other side of a run that the node begins, on its first stream."""

    def __init__(self, bench: Bench, names: list[str], peer: int | None = None) -> None:
        self.bench = bench
        self.connection = bench.connect(dialled=True, reconciles=True, peer=peer)
        self.run = Run(items(names))
        self.taken = 0

    @property
    def streams(self) -> Iterator[int]:
        """Streams that the node has opened."""
        return (
            stream
            for connection, stream in self.bench.streams
            if connection == self.connection and stream % STREAM_STEP == OWN_BIDI
        )

    @property
    def stream(self) -> int:
        """The stream of the run: the first one whose first frame is a 0x08."""
        return next(stream for stream in self.streams if self.read(stream)[0].type == INIT)

    def read(self, stream: int) -> list[StreamFrame]:
        """Return the frames on a stream."""
        return FrameReader().feed(bytes(self.bench.streams[self.connection, stream].data))

    def write(self, data: bytes, *, fin: bool = False) -> None:
        """Write on the stream of the run, and advance the clock by one turn of heavy work."""
        self.bench.write(self.connection, self.stream, data, fin=fin)
        self.bench.advance(TURN_S)

    def answer(self) -> int:
        """Answer to the end of the run and return how many answers that were."""
        stream, rounds = self.stream, 0
        while len(frames := self.read(stream)) > self.taken:
            reply = self.run.receive(frames[self.taken].payload).reply
            assert reply is not None
            self.taken += 1
            rounds += 1
            self.write(message(reply))
        return rounds

    def offered(self) -> list[str]:
        """Return the keys of the documents that the node has offered unasked."""
        return [
            entry.key
            for stream in self.streams
            for frame in self.read(stream)
            if frame.type == FrameType.BATCH
            for entry in decode_sync_batch(frame.payload).entries
        ]


class TestClient:
    """NG-013 and NG-025 to NG-028."""

    def test_nothing_is_begun_unasked(self) -> None:
        """NG-013."""
        bench = make_bench()
        fill(bench, keys(0, 3))
        connection = bench.connect(dialled=True)

        assert {frame.type for frame in bench.frames(connection)} == {FrameType.BATCH}

    def test_what_the_peer_lacks_is_sent_and_nothing_else_at_first(self) -> None:
        """NG-025, then NG-026: what both hold follows after a while."""
        bench = make_bench(held_by_both_s=5.0)
        fill(bench, keys(0, 200))
        peer = Peer(bench, keys(20, 230))
        assert peer.offered() == []
        rounds = peer.answer()
        peer.write(b"", fin=True)

        assert sorted(peer.offered()) == sorted(keys(0, 20))
        assert bench.streams[peer.connection, peer.stream].finished
        assert bench.streams[peer.connection, peer.stream].released
        (over,) = bench.runs
        assert (over.rounds, over.have, over.need, over.reason) == (rounds, 20, 30, None)
        bench.advance(4.9)
        assert len(peer.offered()) == 20
        bench.advance(0.2)
        assert sorted(peer.offered()) == sorted(keys(0, 200))

    def test_tombstones_go_before_the_run(self) -> None:
        """NG-025: a removed document must not look needed."""
        bench = make_bench()
        source = bench.connect()
        gone = Tombstone("tracks", "b", bench.now_ms, 1, "me", "", Direction.BIDIRECTIONAL)
        bench.send(source, StreamFrame("tombstones:x", 4, encode_tombstone(gone)))
        bench.disconnect(source)
        peer = Peer(bench, [])
        frames = [peer.read(stream)[0].type for stream in peer.streams]

        assert frames == [FrameType.TOMBSTONE_BATCH, INIT]

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (encode_stream_frame(StreamFrame(NEGENTROPY_KEY, INIT, EMPTY)), "unexpected-message"),
            (encode_stream_frame(StreamFrame("notes:1", RESPONSE, EMPTY)), "unexpected-message"),
            (encode_stream_frame(author.snapshot("notes:7")), "unexpected-message"),
            (message(b"\x62"), "bad-version"),
            (message(b""), "truncated"),
            (b"\x00\x01a\x33", "unknown-type"),
            (message(bytes(4))[:-8] + b"\x00\x02\x00\x01", "length-limit"),
        ],
    )
    def test_a_bad_answer_ends_the_run_and_loses_nothing(self, data: bytes, reason: str) -> None:
        """NG-027, NG-028: every document is offered, as without a run."""
        bench = make_bench()
        fill(bench, keys(0, 50))
        peer = Peer(bench, [])
        peer.write(data)
        seen = bench.streams[peer.connection, peer.stream]

        assert seen.stopped == seen.reset == REASONS[reason].code
        assert seen.released
        assert bench.runs[0].reason == reason
        assert sorted(peer.offered()) == sorted(keys(0, 50))
        assert "notes:7" in peer.offered()

    def test_a_peer_that_ends_the_stream_gets_everything(self) -> None:
        """NG-027: as a deployed peer does with a list of ids."""
        bench = make_bench()
        fill(bench, keys(0, 50))
        peer = Peer(bench, [])
        peer.write(b"", fin=True)

        assert bench.runs[0].reason == ENDED
        assert len(peer.offered()) == 50

    def test_a_peer_that_resets_the_stream_gets_everything(self) -> None:
        """NG-027."""
        bench = make_bench()
        fill(bench, keys(0, 50))
        peer = Peer(bench, [])
        bench.report(peer.connection, inputs.StreamReset(peer.stream, REASONS["unsupported"].code))

        assert len(peer.offered()) == 50
        assert bench.runs[0].reason == "refused by the peer: unsupported"

    def test_a_peer_that_stops_the_run_gets_everything(self) -> None:
        """NG-027: at once, and not when an answer is overdue."""
        bench = make_bench()
        fill(bench, keys(0, 50))
        peer = Peer(bench, [])
        bench.report(peer.connection, inputs.StreamStopped(peer.stream, 0))

        assert len(peer.offered()) == 50

    def test_a_slow_peer_does_not_hold_the_documents_back_for_ever(self) -> None:
        """NG-027: each answer comes in time, and the run takes too long all the same."""
        bench = make_bench(run_answer_s=3.0, run_s=10.0)
        fill(bench, keys(0, 50))
        peer = Peer(bench, [])
        for number in range(1, 6):
            bench.advance(2.0)
            bound = bytes((1, 1, number)) + b"\x00" + bytes((1, 1, number + 1))
            peer.write(message(b"\x61" + bound + b"\x02\x00" + b"\x00\x00\x01" + bytes(16)))

        assert bench.runs[0].reason == SILENT
        assert len(peer.offered()) == 50

    def test_what_a_peer_says_it_holds_takes_no_memory(self) -> None:
        """Ids that are needed are counted and not kept."""
        bench = make_bench()
        fill(bench, keys(0, 3))
        peer = Peer(bench, [f"notes:x{number}" for number in range(500)])
        peer.answer()

        assert (bench.runs[0].have, bench.runs[0].need) == (3, 500)

    def test_a_silent_peer_gets_everything_after_a_while(self) -> None:
        """NG-027."""
        bench = make_bench(run_answer_s=3.0)
        fill(bench, keys(0, 50))
        peer = Peer(bench, [])
        bench.advance(2.9)
        assert peer.offered() == []
        bench.advance(0.2)

        assert bench.runs[0].reason == SILENT
        assert len(peer.offered()) == 50

    def test_an_answer_that_waits_for_its_turn_is_no_silence(self) -> None:
        """NG-029: it came in time, and this node is late itself."""
        bench = make_bench(run_answer_s=3.0, run_s=100.0)
        fill(bench, keys(0, COSTLY))
        peer = Peer(bench, keys(1, COSTLY))
        bench.advance(2.9)
        turns = bench.core._context.turns
        waiting: list[Callable[[], None]] = []
        turns.later = waiting.append  # type: ignore[method-assign]
        assert peer.answer() == 1
        assert len(waiting) == 1
        bench.advance(0.2)
        assert bench.runs == []
        del turns.later
        turns.later(waiting.pop())
        for _ in range(10):
            bench.advance(REST_MAX_S)
            peer.answer()
        peer.write(b"", fin=True)

        assert [over.reason for over in bench.runs] == [None]
        assert peer.offered() == keys(0, 1)

    def test_a_peer_that_never_ends_a_complete_run_is_left(self) -> None:
        """Its half is stopped as soon as after any other message."""
        bench = make_bench(run_answer_s=3.0, run_s=100.0)
        fill(bench, keys(0, 3))
        peer = Peer(bench, [])
        peer.answer()
        assert not bench.streams[peer.connection, peer.stream].released
        bench.advance(3.1)

        assert bench.streams[peer.connection, peer.stream].released

    def test_a_peer_that_never_converges_gets_everything(self) -> None:
        """It says again and again that everything differs."""
        bench = make_bench()
        fill(bench, keys(0, 200))
        peer = Peer(bench, [])
        for _ in range(3):
            peer.write(message(bytes.fromhex("61000001") + bytes(16)))

        assert bench.runs[0].reason == "no-progress"
        assert len(peer.offered()) == 200

    def test_a_connection_that_goes_leaves_nothing_behind(self) -> None:
        """No timer, no late offer."""
        bench = make_bench()
        fill(bench, keys(0, 50))
        peer = Peer(bench, [])
        bench.disconnect(peer.connection)
        bench.advance(100.0)

        assert bench.runs == []
        assert peer.offered() == []

    def test_the_deadline_ends_with_the_run(self) -> None:
        """Nothing happens when the time of a run that is over has passed."""
        bench = make_bench(run_answer_s=3.0, held_by_both_s=1000.0)
        fill(bench, keys(0, 3))
        peer = Peer(bench, [])
        peer.answer()
        peer.write(b"", fin=True)
        bench.advance(10.0)

        assert [over.reason for over in bench.runs] == [None]
        assert bench.streams[peer.connection, peer.stream].released

    def test_a_complete_run_of_a_gone_connection_offers_nothing_later(self) -> None:
        """NG-026: what both hold is not waited for."""
        bench = make_bench()
        fill(bench, keys(0, 3))
        peer = Peer(bench, [])
        peer.answer()
        bench.disconnect(peer.connection)
        bench.advance(TURN_S)

        assert bench.core.deadline() is None

    def test_a_stream_that_is_granted_after_the_run_is_released(self) -> None:
        """TR-015: a run that gave up before it had a stream writes nothing on it."""
        bench = make_bench(run_answer_s=3.0)
        fill(bench, keys(0, 3))
        bench.hold_streams = True
        connection = bench.connect(dialled=True, reconciles=True)
        bench.advance(3.1)
        assert [over.reason for over in bench.runs] == [SILENT]
        bench.let_one_go()
        first = min(stream for of, stream in bench.streams if of == connection)
        seen = bench.streams[connection, first]

        assert seen.released
        assert seen.data == b""

    def test_a_document_that_comes_during_a_run_is_not_lost(self) -> None:
        """It goes to the peer as every change does."""
        bench = make_bench()
        fill(bench, keys(0, 50))
        peer = Peer(bench, keys(0, 50))
        source = bench.connect()
        bench.send(source, author.snapshot("beacons:new"))
        peer.answer()
        sent = [frame.key for stream in peer.streams for frame in peer.read(stream)]

        assert "beacons:new" in sent


class TestClosedAtTheRun:
    """NG-065: a peer that ends the connection at the 0x08, in place of an answer."""

    REFUSED = inputs.ConnectionClosed(258, "no 0x08 here")
    IN_ORDER = inputs.ConnectionClosed(0)
    BROKEN = inputs.ConnectionClosed()

    @staticmethod
    def again(bench: Bench, *ends: inputs.ConnectionClosed) -> tuple[list[FrameType], list[str]]:
        """End a connection with each of these, and return what the next one brings."""
        for closed in ends:
            connection = bench.connect(dialled=True, reconciles=True, peer=7)
            bench.report(connection, closed)
        connection = bench.connect(dialled=True, reconciles=True, peer=7)
        frames = bench.frames(connection)
        entries = [
            entry.key
            for frame in frames
            if frame.type == FrameType.BATCH
            for entry in decode_sync_batch(frame.payload).entries
        ]
        return [FrameType(frame.type) for frame in frames], entries

    @pytest.mark.parametrize(
        "ends", [(REFUSED,), (IN_ORDER, IN_ORDER), (BROKEN, IN_ORDER), (BROKEN, BROKEN)]
    )
    def test_the_next_connection_brings_everything(
        self, ends: tuple[inputs.ConnectionClosed, ...]
    ) -> None:
        """A close with a code counts at once, any other end of it the second time."""
        bench = make_bench()
        fill(bench, keys(0, 3))
        types, offered = self.again(bench, *ends)

        assert types == [FrameType.BATCH]
        assert sorted(offered) == sorted(keys(0, 3))

    def test_the_connection_after_that_begins_a_run(self) -> None:
        """The peer may have learned it meanwhile."""
        bench = make_bench()
        self.again(bench, self.REFUSED)
        types, _ = self.again(bench)

        assert types == [INIT]

    @pytest.mark.parametrize("closed", [IN_ORDER, BROKEN])
    def test_one_end_in_order_is_none(self, closed: inputs.ConnectionClosed) -> None:
        """The peer has ended, or a link broke: not because of the run."""
        types, _ = self.again(make_bench(), closed)

        assert types == [INIT]

    def test_an_end_by_this_node_is_none(self) -> None:
        """It says nothing about the peer."""
        types, _ = self.again(make_bench(), inputs.ConnectionClosed(258, by_peer=False))

        assert types == [INIT]

    def test_an_answer_shows_that_the_peer_reconciles(self) -> None:
        """What ends a connection later is no refusal of the run, and what was before is over."""
        bench = make_bench()
        fill(bench, keys(0, 200))
        first = bench.connect(dialled=True, reconciles=True, peer=7)
        bench.report(first, self.IN_ORDER)
        peer = Peer(bench, keys(20, 230), peer=7)
        reply = peer.run.receive(peer.read(peer.stream)[0].payload).reply
        assert reply is not None
        peer.write(message(reply))
        bench.report(peer.connection, self.REFUSED)
        types, _ = self.again(bench)

        assert types == [INIT]

    def test_another_peer_has_its_run(self) -> None:
        """Only the one that refused is spared."""
        bench = make_bench()
        connection = bench.connect(dialled=True, reconciles=True, peer=8)
        bench.report(connection, self.REFUSED)
        types, _ = self.again(bench)

        assert types == [INIT]
