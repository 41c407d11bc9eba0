"""Runs that peers begin, which the node serves."""

import pytest

from meshwire_reference.core import inputs
from meshwire_reference.core.effects import Send
from meshwire_reference.core.state.document_index import CannotList, DocumentIndex, identify_key
from meshwire_reference.negentropy import Reconciliation, Storage
from meshwire_reference.testing import author
from meshwire_reference.testing.bench import Bench, Seen
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
from meshwire_reference.wire.batches import StreamFrame, encode_stream_frame
from meshwire_reference.wire.frames import FrameReader
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import (
    NEGENTROPY_KEY,
    NEGENTROPY_MESSAGE_MAX,
    REASONS,
    Direction,
    FrameType,
)

TURN_S = 0.01


def replies(seen: Seen) -> list[StreamFrame]:
    """Return what the node has written on a stream so far."""
    return FrameReader().feed(bytes(seen.data))


class TestServer:
    """NG-014 to NG-024."""

    def test_a_client_learns_what_differs(self) -> None:
        """In as many rounds as it takes, on one stream, finished after the client's FIN."""
        bench = make_bench()
        fill(bench, keys(0, 800))
        connection = bench.connect()
        stream = bench.open(connection)
        client = Reconciliation(items(keys(20, 810)))
        have: set[bytes] = set()
        need: set[bytes] = set()
        sent: bytes | None = client.initiate()
        kind, seen = INIT, bench.streams[connection, stream]
        rounds = 0
        while sent is not None:
            bench.write(connection, stream, message(sent, kind))
            rounds, kind = rounds + 1, RESPONSE
            reply = replies(seen)[-1]
            assert (reply.key, reply.type) == (NEGENTROPY_KEY, RESPONSE)
            step = client.reconcile(reply.payload)
            have.update(step.have)
            need.update(step.need)
            sent = step.reply
        assert not seen.finished
        bench.write(connection, stream, b"", fin=True)

        assert rounds > 1
        assert len(replies(seen)) == rounds
        assert have == set(map(identify_key, keys(800, 810)))
        assert need == set(map(identify_key, keys(0, 20)))
        assert seen.finished
        assert seen.released

    def test_a_removed_document_is_no_item(self) -> None:
        """NG-015: not before the first run, and not in the middle of a later one."""
        bench = make_bench()
        fill(bench, ["tracks:a", "tracks:b", "tracks:c"])
        connection = bench.connect()
        assert self.list_ids(bench, connection) == {"a", "b", "c"}
        gone = Tombstone("tracks", "b", bench.now_ms, 1, "me", "", Direction.BIDIRECTIONAL)
        bench.send(connection, StreamFrame("tombstones:x", 4, encode_tombstone(gone)))

        assert self.list_ids(bench, connection) == {"a", "c"}

    def test_a_new_document_is_an_item_at_once(self) -> None:
        """Also where a read of an unknown key is none."""
        bench = make_bench()
        connection = bench.connect()
        assert self.list_ids(bench, connection) == set()
        bench.send(connection, author.snapshot("tracks:a"))
        bench.send(connection, author.read("tracks:b"))

        assert self.list_ids(bench, connection) == {"a"}

    @staticmethod
    def list_ids(bench: Bench, connection: int) -> set[str]:
        """Return which of the documents a, b and c a client that holds nothing finds."""
        seen = bench.send(connection, StreamFrame(NEGENTROPY_KEY, INIT, EMPTY))
        client = Reconciliation(items([]))
        client.initiate()
        found = client.reconcile(replies(seen)[0].payload).need
        names = {identify_key(f"tracks:{name}"): name for name in "abc"}
        return {names[identity] for identity in found}

    def test_runs_of_two_streams_do_not_meet(self) -> None:
        """NG-016: the end of one is nothing to the other."""
        bench = make_bench()
        fill(bench, keys(0, 800))
        connection = bench.connect()
        streams = [bench.open(connection) for _ in range(2)]
        clients = [Reconciliation(items(keys(0, 90))), Reconciliation(items(keys(50, 900)))]
        for stream, client in zip(streams, clients, strict=True):
            bench.write(connection, stream, message(client.initiate(), INIT))
        bench.report(connection, inputs.StreamReset(streams[0]))
        seen = bench.streams[connection, streams[1]]
        step = clients[1].reconcile(replies(seen)[0].payload)
        assert step.reply is not None
        bench.write(connection, streams[1], message(step.reply), fin=True)
        bench.advance(TURN_S)

        assert len(replies(seen)) == 2
        assert seen.finished
        assert bench.refusals == []

    @pytest.mark.parametrize("types", [(RESPONSE,), (INIT, INIT)])
    def test_a_message_out_of_order_is_refused(self, types: tuple[FrameType, ...]) -> None:
        """NG-017."""
        bench = make_bench()
        frames = [StreamFrame(NEGENTROPY_KEY, kind, EMPTY) for kind in types]
        seen = bench.send(bench.connect(), *frames)

        assert seen.reset == seen.stopped == REASONS["unexpected-message"].code
        assert len(replies(seen)) == len(types) - 1

    def test_a_long_message_is_refused_by_its_header(self) -> None:
        """NG-018: nothing of it has come yet."""
        bench = make_bench()
        connection = bench.connect()
        stream = bench.open(connection)
        header = message(b"", INIT)[:-4] + (NEGENTROPY_MESSAGE_MAX + 1).to_bytes(4, "big")
        bench.write(connection, stream, header)

        assert bench.streams[connection, stream].reset == REASONS["length-limit"].code

    def test_a_client_that_repeats_itself_is_refused(self) -> None:
        """NG-020."""
        bench = make_bench()
        fill(bench, keys(0, 100))
        connection = bench.connect()
        stream = bench.open(connection)
        same = Reconciliation(items(keys(50, 200))).initiate()
        bench.write(connection, stream, message(same, INIT))
        for _ in range(2):
            bench.write(connection, stream, message(same))
        seen = bench.streams[connection, stream]

        assert len(replies(seen)) == 2
        assert seen.reset == REASONS["no-progress"].code

    def test_a_client_without_an_end_is_refused(self) -> None:
        """NG-021: each message settles something else, and there is always one more."""
        bench = make_bench()
        fill(bench, keys(0, 10))
        connection = bench.connect()
        stream = bench.open(connection)
        bench.write(connection, stream, message(EMPTY, INIT))
        for number in range(1, 65):
            # A skip up to a bound that moves, then ids.
            bound = bytes((1, 1, number)) + b"\x00"
            bench.write(connection, stream, message(b"\x61" + bound + b"\x00\x00\x02\x00"))
        seen = bench.streams[connection, stream]
        assert bench.refusals == []
        bench.write(connection, stream, message(EMPTY))
        bench.write(connection, stream, message(EMPTY))

        assert seen.reset == REASONS["too-many-rounds"].code

    def test_a_message_that_does_not_decode_costs_its_stream(self) -> None:
        """NG-022: and no other."""
        bench = make_bench()
        connection = bench.connect()
        bad = bytes.fromhex("61 00 00 02 81 ff ff ff 7f".replace(" ", ""))
        seen = bench.send(connection, StreamFrame(NEGENTROPY_KEY, INIT, bad))

        assert seen.reset == REASONS["count-limit"].code
        assert bench.send(connection, StreamFrame(NEGENTROPY_KEY, INIT, EMPTY)).finished

    def test_documents_that_cannot_be_listed_are_not_taken_for_none(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """NG-024: refused, no reply, no push."""

        def fail(_holdings: DocumentIndex) -> Storage:
            raise CannotList

        bench = make_bench()
        fill(bench, keys(0, 3))
        connection = bench.connect()
        bench.take_frames(connection)
        monkeypatch.setattr(DocumentIndex, "as_storage", fail)
        seen = bench.send(connection, StreamFrame(NEGENTROPY_KEY, INIT, EMPTY))

        assert seen.reset == REASONS["internal"].code
        assert seen.data == b""
        assert bench.frames(connection) == []

    def test_an_answer_that_does_not_leave_holds_up_its_stream_alone(self) -> None:
        """Bytes after it stay unread, and other streams go on."""
        bench = make_bench()
        fill(bench, keys(0, 3))
        connection = bench.connect()
        stream, other = bench.open(connection), bench.open(connection)
        bench.hold_sends = True
        first = message(EMPTY, INIT)
        bench.write(connection, stream, first)
        bench.write(connection, stream, message(EMPTY))
        assert bench.streams[connection, stream].consumed == len(first)
        bench.hold_sends = False
        bench.write(connection, other, encode_stream_frame(author.snapshot("notes:9")), fin=True)
        assert bench.streams[connection, other].finished
        bench.let_go()

        assert len(replies(bench.streams[connection, stream])) == 2

    def test_heavy_messages_take_turns_with_everything_else(self) -> None:
        """However many a peer has sent: another peer is answered after one of them."""
        bench = make_bench()
        fill(bench, keys(0, 3))
        flooder, other = bench.connect(), bench.connect()
        heavy = b"\x61" + b"\x02\x00\x00" * 3000
        flood = [
            bench.send(flooder, StreamFrame(NEGENTROPY_KEY, INIT, heavy), fin=False)
            for _ in range(5)
        ]
        assert [len(replies(seen)) for seen in flood] == [0] * 5
        bench.take_frames(other)
        bench.send(other, author.read("notes:1"))
        assert len(bench.frames(other)) == 1
        bench.advance(0.0011)
        assert sum(len(replies(seen)) for seen in flood) == 1
        bench.advance(1.0)

        assert [len(replies(seen)) for seen in flood] == [1] * 5

    def test_the_first_listing_takes_turns_with_everything_else(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another peer is answered between its slices; a run meanwhile waits for it too."""
        monkeypatch.setattr("meshwire_reference.negentropy.index.BLOCK", 10)
        bench = make_bench()
        fill(bench, keys(0, 95))
        first, second, other = bench.connect(), bench.connect(), bench.connect()
        bench.take_frames(other)
        client = Reconciliation(items(keys(0, 94)))
        begin = StreamFrame(NEGENTROPY_KEY, INIT, client.initiate())
        seen = [bench.send(one, begin, fin=False) for one in (first, second)]
        assert [len(replies(one)) for one in seen] == [0, 0]
        bench.send(other, author.read("notes:1"))
        assert len(bench.frames(other)) == 1
        bench.disconnect(first)
        bench.advance(1.0)

        assert [len(replies(one)) for one in seen] == [0, 1]

    def test_work_for_a_peer_that_has_gone_is_not_done(self) -> None:
        """A message that waits for its turn is dropped with its connection."""
        bench = make_bench()
        connection = bench.connect()
        heavy = StreamFrame(NEGENTROPY_KEY, INIT, b"\x61" + b"\x02\x00\x00" * 3000)
        seen = bench.send(connection, heavy, fin=False)
        bench.disconnect(connection)
        bench.advance(1.0)

        assert seen.data == b""

    def test_an_answer_is_given_however_much_else_waits_to_be_sent(self) -> None:
        """Pushes that a slow peer does not take hold up no run of it."""
        bench = make_bench(answer_bytes_max=1000, sends_max=1)
        connection = bench.connect()
        bench.hold_streams = True
        source = bench.connect()
        for key in keys(0, 9):
            bench.send(source, author.snapshot(key))
        seen = bench.send(connection, StreamFrame(NEGENTROPY_KEY, INIT, EMPTY))

        assert len(replies(seen)) == 1
        assert seen.finished

    def test_a_peer_that_wants_no_answer_gets_none_and_goes_on(self) -> None:
        """Transcript 08: the half of the answer is stopped before it is written."""
        bench = make_bench()
        fill(bench, keys(0, 3))
        connection = bench.connect()
        stream = bench.open(connection)
        bench.hold_sends = True
        bench.write(connection, stream, message(EMPTY, INIT), fin=True)
        bench.hold_sends = False
        bench.held.clear()
        bench.report(connection, inputs.SendFailed(stream, 0))

        assert bench.streams[connection, stream].released
        assert bench.refusals == []

    def test_an_answer_that_waits_is_given_up_with_its_stream(self) -> None:
        """TR-024: whether it waits for credit, for its turn or for room."""
        bench = make_bench()
        fill(bench, keys(0, 3))
        connection = bench.connect()
        bench.hold_sends = True
        heavy = b"\x61" + b"\x02\x00\x00" * 3000
        streams = [bench.open(connection) for _ in range(4)]
        for stream, content in zip(streams, (EMPTY, heavy, heavy, EMPTY), strict=True):
            bench.write(connection, stream, message(content, INIT) + message(content))
        bench.write(connection, streams[0], encode_stream_frame(author.snapshot("notes:9")))
        for stream in reversed(streams):
            bench.report(connection, inputs.StreamReset(stream, 0))
        bench.hold_sends = False
        bench.held.clear()
        bench.advance(1.0)

        seen = [bench.streams[connection, stream] for stream in streams]
        assert [one.reset for one in seen] == [0] * 4
        assert all(one.released and not one.data for one in seen)
        assert bench.writes[-1].key == "notes:9"
        assert bench.refusals == []
        again = bench.send(connection, StreamFrame(NEGENTROPY_KEY, INIT, EMPTY))
        assert len(replies(again)) == 1

    def test_a_message_that_waits_for_room_ends_with_its_stream(self) -> None:
        """TR-024: it has had no turn, and its stream is released all the same."""
        bench = make_bench(answer_bytes_max=1000)
        fill(bench, keys(0, 3))
        connection = bench.connect()
        bench.hold_sends = True
        streams = [bench.open(connection) for _ in range(4)]
        for stream in streams:
            bench.write(connection, stream, message(EMPTY, INIT))
        bench.report(connection, inputs.StreamReset(streams[-1], 0))

        assert bench.streams[connection, streams[-1]].released

    @pytest.mark.parametrize("held", ["hold_sends", "hold_writes"])
    def test_a_message_of_a_lost_connection_holds_no_bytes(self, held: str) -> None:
        """TR-029: its answer was under way, or waited for a write."""
        bench = make_bench()
        fill(bench, keys(0, 3))
        connection = bench.connect()
        stream = bench.open(connection)
        setattr(bench, held, True)
        bench.send(bench.connect(), author.snapshot("notes:more"))
        bench.write(connection, stream, message(EMPTY, INIT))
        assert bench.core.outstanding.inbound_bytes
        bench.disconnect(connection)
        bench.let_go()

        assert bench.core.outstanding.inbound_bytes == 0

    def test_an_answer_that_was_sent_gives_its_room_back(self) -> None:
        """After twenty runs the room for other answers is as great as before."""
        bench = make_bench(answer_bytes_max=300_000)
        connection = bench.connect()
        for _ in range(20):
            stream = bench.open(connection)
            bench.write(connection, stream, message(EMPTY, INIT), fin=True)
            bench.advance(TURN_S)

            assert len(replies(bench.streams[connection, stream])) == 1
        bench.hold_sends = True
        bench.send(connection, *map(author.read, keys(0, 2)))

        assert len([held for held in bench.held if isinstance(held, Send) and held.data]) == 2
