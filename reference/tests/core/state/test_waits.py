"""What a document waits for on its way to a peer, read off the queues of a node."""

from __future__ import annotations

from meshwire_reference.core.formation import FormationKey
from meshwire_reference.core.inputs import PeerRole, RoleAssigned
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.waits import Cause, Wait
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import Author, snapshot
from meshwire_reference.testing.bench import START_MS, Bench
from meshwire_reference.wire.batches import StreamFrame
from meshwire_reference.wire.tombstones import Tombstone, encode_tombstone
from meshwire_spec.numbers import ENDPOINT_ID, Direction, FrameType

OPEN = Settings(Dialect.OPEN, heartbeat_s=0)


def make_bench(settings: Settings = OPEN, key: FormationKey | None = None) -> Bench:
    """Return a node with real document handling."""
    table = Table(b"\x09" * 16)
    return Bench(lambda call: table.answer(call, None), settings, key)


def test_a_document_that_was_sent_waits_for_nothing() -> None:
    """Nor does one that there is not, nor one on a connection that is gone."""
    bench = make_bench()
    one, other = bench.connect(), bench.connect()
    bench.send(one, snapshot("notes:n1"))

    assert bench.core.waits(other, "notes:n1") == ()
    assert bench.core.waits(other, "notes:n2") == ()
    assert bench.core.waits(99, "notes:n1") == ()


def test_a_document_waits_for_its_own_work_and_write() -> None:
    """While a call of it is under way, then until it is durable."""
    bench = make_bench()
    one, other = bench.connect(), bench.connect()
    bench.hold_documents = bench.hold_writes = True
    bench.send(one, snapshot("nodes:n1"))
    assert bench.core.waits(other, "nodes:n1") == (Wait(Cause.WORK),)
    bench.hold_documents = False
    bench.let_one_go()
    assert bench.core.waits(other, "nodes:n1") == (Wait(Cause.WRITE),)
    bench.let_go()
    assert bench.core.waits(other, "nodes:n1") == ()


def test_a_document_waits_for_another_role_of_a_peer_that_it_is_routed_away_from() -> None:
    """By the direction of the document, and once it is deleted by that of its tombstone."""
    bench = make_bench()
    one, child = bench.connect(), bench.connect()
    for name in ("nodes:n1", "commands:c1", "cells:l1"):
        bench.send(one, snapshot(name))
    waiting = {name: bench.core.waits(child, name) for name in ("nodes:n1", "commands:c1")}
    assert waiting == {"nodes:n1": (), "commands:c1": ()}
    bench.feed(RoleAssigned(bytes((child,)) * ENDPOINT_ID, PeerRole.CHILD))

    assert bench.core.waits(child, "nodes:n1") == (Wait(Cause.ROLE),)
    assert bench.core.waits(child, "nodes:n2") == ()
    assert bench.core.waits(child, "commands:c1") == ()
    assert bench.core.waits(child, "cells:l1") == (Wait(Cause.ROLE),)
    for id_, way in (("l1", Direction.DOWN_ONLY), ("l2", Direction.UP_ONLY)):
        deletion = Tombstone("cells", id_, START_MS, 2, "ed", "", way)
        frame = StreamFrame("x", FrameType.TOMBSTONE, encode_tombstone(deletion))
        bench.send(one, frame)
    assert bench.core.waits(child, "cells:l1") == ()
    assert bench.core.waits(child, "cells:l2") == (Wait(Cause.ROLE),)


def test_a_document_waits_for_its_turn_and_for_credit() -> None:
    """Behind those that were queued before it."""
    bench = make_bench(Settings(Dialect.OPEN, heartbeat_s=0, sends_max=1))
    one, other = bench.connect(), bench.connect()
    bench.hold_streams = True
    for name in ("n1", "n2", "n3"):
        bench.send(one, snapshot(f"nodes:{name}"))

    assert bench.core.waits(other, "nodes:n1") == ()
    assert bench.core.waits(other, "nodes:n2") == (Wait(Cause.TURN), Wait(Cause.CREDIT))
    assert bench.core.waits(other, "nodes:n3") == (Wait(Cause.TURN, 1), Wait(Cause.CREDIT))


def test_a_document_waits_for_room() -> None:
    """Of what may be made for a peer."""
    bench = make_bench(Settings(Dialect.OPEN, heartbeat_s=0, answer_bytes_max=1))
    one, other = bench.connect(), bench.connect()
    bench.hold_streams = True
    for name in ("n1", "n2"):
        bench.send(one, snapshot(f"nodes:{name}"))

    assert bench.core.waits(other, "nodes:n2") == (Wait(Cause.TURN), Wait(Cause.ROOM))


def test_the_initial_exchange_sends_tombstones_first() -> None:
    """And documents in their order."""
    bench = make_bench()
    one = bench.connect()
    buried = Tombstone("tracks", "t1", START_MS, 5, "a", "", Direction.BIDIRECTIONAL)
    bench.send(one, StreamFrame("x", FrameType.TOMBSTONE, encode_tombstone(buried)))
    for name in ("n1", "n2"):
        bench.send(one, snapshot(f"nodes:{name}"))
    bench.hold_streams = True
    other = bench.connect()

    assert bench.core.waits(other, "nodes:n2") == (Wait(Cause.TOMBSTONES), Wait(Cause.TURN, 1))
    bench.let_go()
    assert bench.core.waits(other, "nodes:n2") == ()


def test_a_reconciliation_decides_first() -> None:
    """Until it is over a document may be one that the peer has."""
    bench = make_bench()
    bench.send(bench.connect(), snapshot("nodes:n1"))
    other = bench.connect(dialled=True, reconciles=True)

    assert bench.core.waits(other, "nodes:n1") == (Wait(Cause.RECONCILIATION),)


def test_nothing_is_sent_before_the_handshake_is_over() -> None:
    """To a peer that has not proven the key of the formation."""
    key = FormationKey.derive("f", b"a secret of thirty-two bytes ...")
    bench = make_bench(Settings(Dialect.H1, heartbeat_s=0), key)

    assert bench.core.waits(bench.connect(), "nodes:n1") == (Wait(Cause.HANDSHAKE),)


def test_a_snapshot_answers_once_in_a_while() -> None:
    """The next answer waits for the end of the interval."""
    bench = make_bench()
    one = bench.connect()
    author = Author("nodes:n1")
    author.edit(a=1)
    old = StreamFrame("nodes:n1", FrameType.SNAPSHOT, author.snapshot())
    author.edit(b=2)
    bench.send(one, StreamFrame("nodes:n1", FrameType.SNAPSHOT, author.snapshot()))
    for _ in range(2):
        bench.send(one, old)

    assert bench.core.waits(one, "nodes:n1") == (Wait(Cause.INTERVAL),)
