"""How long a node waits before it dials again, and in which dialect it does."""

import asyncio
from collections.abc import Callable

import pytest

from meshwire_reference.node.clocks import Clock
from meshwire_reference.node.dialler import Backoff, Dialler, DialState, DialWatch
from meshwire_reference.node.log import NodeLog
from meshwire_reference.node.online import Dial, Signal
from meshwire_reference.testing.memory_transport import offer_memory
from meshwire_reference.transport.base import Connection, TransportOptions
from meshwire_reference.transport.registry import listen
from turns import all_wait

offer_memory()

PEER = b"\x51" * 32


def steady(value: float) -> Callable[[], float]:
    """Return a source of randomness that always gives the same."""
    return lambda: value


def test_the_wait_doubles_up_to_a_minute() -> None:
    """With nothing random in it."""
    backoff = Backoff(steady(0.5))

    assert [backoff.after(0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_an_operator_may_ask_for_shorter_waits() -> None:
    """The first one is no longer than the longest."""
    assert [Backoff(steady(0.5), 3.0).after(0.0) for _ in range(2)] == [1, 1]
    backoff = Backoff(steady(0.5), 3.0)
    assert [backoff.after(0.0) for _ in range(4)] == [1, 2, 3, 3]
    short = Backoff(steady(0.5), 0.25)
    assert [short.after(stood_s) for stood_s in (0.0, 60.0, 0.0)] == [0.25, 0.25, 0.25]


@pytest.mark.parametrize(("random", "first_s"), [(0.0, 0.8), (0.5, 1.0), (0.99, 1.196)])
def test_nodes_do_not_dial_in_step(random: float, first_s: float) -> None:
    """Up to a fifth less or more."""
    assert Backoff(steady(random)).after(0.0) == pytest.approx(first_s)


def test_only_a_connection_that_stood_counts_as_one() -> None:
    """A peer that accepts and closes at once is not dialled every second for ever (D-132)."""
    backoff = Backoff(steady(0.5))
    waits = [backoff.after(stood_s) for stood_s in (0.0, 0.1, 59.9, 60.0, 0.0)]

    assert waits == [1, 2, 4, 1, 2]


def test_a_peer_that_recycles_is_dialled_again_soon() -> None:
    """TR-046: one that closes in order after half a minute or more has not failed (D-101)."""
    backoff = Backoff(steady(0.5))
    waits = [
        backoff.after(stood_s, was_orderly=orderly)
        for stood_s, orderly in (
            (0.0, False),
            (29.9, True),
            (30.0, True),
            (0.0, False),
            (30.0, False),
        )
    ]

    assert waits == [1, 2, 1, 2, 4]


def test_a_peer_that_is_connected_otherwise_is_not_dialled() -> None:
    """TR-045: until that connection ends, of which the signal tells."""

    async def whole() -> None:
        kept = {PEER}
        gate, changed = asyncio.Event(), Signal()
        gate.set()
        dial = Dial("memory://kept", gate, changed, lambda peer_id: peer_id in kept)
        await dial.wait_for_turn()
        dial.note(DialState.CONNECTED, peer_id=PEER)
        turn = asyncio.ensure_future(dial.wait_for_turn())
        changed.give()
        await all_wait()
        assert not turn.done()
        kept.clear()
        changed.give()
        await turn

    asyncio.run(whole())


class Enough(Exception):
    """Ends a dialler that would dial for ever."""


@pytest.mark.parametrize(
    ("signs", "in_other_dialect"),
    [
        ([False] * 3, [False] * 4),
        ([True, False, False], [False, True, False, False]),
        # Where neither dialect is understood, the next attempt is in the configured one.
        ([True, True, True], [False, True, False, True]),
        ([False, True, True], [False, False, True, False]),
    ],
)
def test_a_misunderstood_node_dials_once_in_the_other_dialect(
    signs: list[bool], in_other_dialect: list[bool]
) -> None:
    """HS-065: at once, since only the other attempts draw on the backoff."""
    served: list[bool] = []
    waits: list[float] = []

    class Counted(Backoff):
        def after(self, stood_s: float, *, was_orderly: bool = False) -> float:
            waits.append(stood_s)
            return 0.0

    async def serve(_connection: Connection, *, in_other_dialect: bool) -> bool:
        served.append(in_other_dialect)
        if len(served) > len(signs):
            raise Enough
        return signs[len(served) - 1]

    async def whole() -> None:
        options = TransportOptions(b"\x77" * 32)
        listener = await listen("memory://redial", options)
        try:
            dialler = Dialler(options, serve, NodeLog(), Clock())
            await dialler.keep_connected("memory://redial", Counted(steady(0.5)))
        finally:
            await listener.close()

    with pytest.raises(Enough):
        asyncio.run(whole())

    assert served == in_other_dialect
    assert len(waits) == len(signs) - in_other_dialect.count(True)


def test_a_watch_hears_of_each_dial_and_may_hold_up_the_next() -> None:
    """A connection, its end, an address where nobody listens."""
    heard: list[tuple[str, str, bytes | None]] = []
    asked: list[int] = []

    class Watching(DialWatch):
        async def wait_for_turn(self) -> None:
            asked.append(len(heard))
            if len(asked) > 2:
                raise Enough

        def note(self, state: DialState, why: str = "", peer_id: bytes | None = None) -> None:
            heard.append((state, why, peer_id))

    async def serve(connection: Connection, *, in_other_dialect: bool) -> bool:
        assert not in_other_dialect
        await connection.close(0, "served")
        await listeners.pop().close()
        return False

    listeners = []

    async def whole() -> None:
        options = TransportOptions(b"\x77" * 32)
        listeners.append(await listen("memory://watched", options))
        backoff = Backoff(steady(0.5), 1e-9)
        dialler = Dialler(options, serve, NodeLog(), Clock())
        await dialler.keep_connected("memory://watched", backoff, Watching())

    with pytest.raises(Enough):
        asyncio.run(whole())

    assert [state for state, _, _ in heard] == ["dialling", "connected", "lost", "dialling", "lost"]
    assert heard[1][2] == b"\x77" * 32
    assert heard[4][1]
    assert asked == [0, 3, 5]


def test_the_last_failure_is_known_while_the_next_dial_is_under_way() -> None:
    """A peer that refuses this node again and again is never without a reason."""
    dial = Dial("tcp://127.0.0.1:1", asyncio.Event(), Signal())
    dial.note(DialState.LOST, "handshake-timeout")
    dial.note(DialState.DIALLING)
    dial.note(DialState.CONNECTED, peer_id=bytes(32))

    assert (dial.why, dial.peer_id) == ("handshake-timeout", bytes(32))
