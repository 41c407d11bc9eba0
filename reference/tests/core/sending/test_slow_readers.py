"""A reader that takes nothing, among many: what it costs the others, and this node."""

from __future__ import annotations

from statistics import median
from typing import Final

import pytest

from meshwire_reference.core.effects import Effect, OpenStream
from meshwire_reference.core.inputs import Input, SendFailed, StreamReset, StreamStopped
from meshwire_reference.core.settings import Dialect, Moment, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import snapshot
from meshwire_reference.testing.bench import Bench
from meshwire_spec.numbers import REASONS

PEERS: Final = 32
SLOW: Final = 7
"""The connection whose peer grants no stream."""
CHANGES: Final = 40
DELAY_MAX: Final = 1.2
AUTHOR, OTHER = 1, 2
REFUSED: Final = 12


class CountingBench(Bench):
    """A bench with a peer that may grant no stream, which counts what the core handles."""

    def __init__(self, slow: int | None) -> None:
        table = Table(b"\x09" * 16)
        settings = Settings(Dialect.OPEN, heartbeat_s=0, answer_bytes_max=4000)
        super().__init__(lambda call: table.answer(call, None), settings)
        self.handled = 0
        self.last: dict[int, int] = {}
        """Of each peer: how much was handled until it was sent its last frame."""
        handle = self.core.handle

        def counting(happened: Input, now: Moment) -> list[Effect]:
            self.handled += 1
            effects = []
            for effect in handle(happened, now):
                if isinstance(effect, OpenStream):
                    if effect.connection == slow:
                        continue
                    self.last[effect.connection] = self.handled
                effects.append(effect)
            return effects

        self.core.handle = counting  # type: ignore[method-assign]  # it counts what goes through


def relay(slow: int | None, peers: int = PEERS, changes: int = CHANGES) -> CountingBench:
    """Have the first of some peers change documents; return the node."""
    bench = CountingBench(slow)
    for _ in range(peers):
        bench.connect()
    for number in range(changes):
        bench.send(AUTHOR, snapshot(f"notes:{number}"))
    return bench


def test_a_reader_that_takes_nothing_delays_no_other() -> None:
    """D-137, TM-003: of 32 peers the others get everything, and as soon as without it."""
    alone, beside = relay(None), relay(SLOW)
    others = range(2, PEERS + 1)
    counts = {peer: len(beside.frames(peer)) for peer in others}

    assert counts == {peer: 0 if peer == SLOW else CHANGES for peer in others}
    waited = [median(one.last[peer] for peer in others if peer != SLOW) for one in (alone, beside)]
    assert waited[1] <= DELAY_MAX * waited[0]


@pytest.mark.parametrize("outcome", ["refused", "reset", "lost", "not answered"])
def test_a_peer_that_refuses_everything_is_sent_the_next_change(outcome: str) -> None:
    """DC-084, D-49, D-50: more failures in a row than open a deployed breaker, and of each sort."""
    bench = relay(None, peers=2, changes=0)
    for number in range(REFUSED):
        bench.hold_sends = outcome == "lost"
        bench.send(AUTHOR, snapshot(f"notes:{number}"))
        (stream,) = [at for peer, at in bench.order if peer == OTHER][number:]
        code = REASONS["bad-document"].code
        if outcome == "refused":
            bench.report(OTHER, StreamStopped(stream, code))
            bench.report(OTHER, StreamReset(stream, code))
        elif outcome == "reset":
            bench.report(OTHER, StreamReset(stream, code))
        elif outcome == "lost":
            bench.held.clear()
            bench.report(OTHER, SendFailed(stream))
    bench.hold_sends = False
    bench.send(AUTHOR, snapshot("alerts:last"))

    assert bench.frames(OTHER)[-1].key == "alerts:last"
