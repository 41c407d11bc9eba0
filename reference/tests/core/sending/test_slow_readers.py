"""A reader that takes nothing, among many: what it costs the others, and this node."""

from __future__ import annotations

from statistics import median
from typing import Final

from meshwire_reference.core.effects import Effect, OpenStream
from meshwire_reference.core.inputs import Input
from meshwire_reference.core.settings import Dialect, Moment, Settings
from meshwire_reference.documents.table import Table
from meshwire_reference.testing.author import snapshot
from meshwire_reference.testing.bench import Bench

PEERS: Final = 32
SLOW: Final = 7
"""The connection whose peer grants no stream."""
CHANGES: Final = 40
DELAY_MAX: Final = 1.2


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


def relay(slow: int | None) -> CountingBench:
    """Have one of many peers change documents; return the node."""
    bench = CountingBench(slow)
    author, *_ = (bench.connect() for _ in range(PEERS))
    for number in range(CHANGES):
        bench.send(author, snapshot(f"notes:{number}"))
    return bench


def test_a_reader_that_takes_nothing_delays_no_other() -> None:
    """D-137, TM-003: of 32 peers the others get everything, and as soon as without it."""
    alone, beside = relay(None), relay(SLOW)
    others = range(2, PEERS + 1)
    counts = {peer: len(beside.frames(peer)) for peer in others}

    assert counts == {peer: 0 if peer == SLOW else CHANGES for peer in others}
    waited = [median(one.last[peer] for peer in others if peer != SLOW) for one in (alone, beside)]
    assert waited[1] <= DELAY_MAX * waited[0]
