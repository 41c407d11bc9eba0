"""Decides whether the suite itself was in time, where a target gave up waiting for it.

A target that ends a stream with `frame-stall` or a connection with `handshake-timeout` is right if
the suite was late, and a busy machine makes the suite late. So such an ending counts against a
target only if every write of the suite came within half of the deadline that the target declares.
A target that has rejected a peer ends the connection a second later: a suite that still had
something to do on it by then was late too.

Not every deadline of a target shows: it may end a run of its own, or have dialled long before the
suite sees that. So the suite also watches whether it was kept from running at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.transport import Closed, Connection, Stream
from meshwire_spec.numbers import FRAME_STALL_S, HANDSHAKE_S, REASONS, VERDICT_LINGER_S

FRAME_STALL = "frame-stall"
HANDSHAKE_TIMEOUT = "handshake-timeout"
NOT_AUTHENTICATED = "authentication-failed"
SHARE = 0.5
"""The part of a deadline within which a write of the suite was certainly in time."""
TICK_S = 0.1
"""Time between two looks at the clock, in seconds."""
LATE_S = 1.0
"""A suite that was kept from running for longer may be late for a deadline that no one declared."""


class Lateness:
    """Watches for how long the machine kept the suite from running.

    The time that the suite computes does not count: it takes the same time on every machine.
    """

    def __init__(
        self,
        facts: Facts,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        deadlines = (
            facts.deadlines.get("handshake_s", HANDSHAKE_S),
            facts.deadlines.get("frame_stall_s", FRAME_STALL_S),
        )
        self._limit_s = min(LATE_S, SHARE * min(deadlines))
        # What a target did before an attempt, such as to dial, may count in it.
        self._before_s = max(deadlines)
        self._clock, self._cpu = clock, cpu
        self._due_s = self._used_s = 0.0
        self._late_at_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Begin to watch, in the running loop."""
        self._due_s, self._used_s = self._clock() + TICK_S, self._cpu()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def end(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def since(self, began_s: float) -> bool:
        """Return True if the suite was late since a time on the clock, or shortly before it."""
        if self._timer is None:
            return False
        self._look()
        return self._late_at_s is not None and self._late_at_s >= began_s - self._before_s

    def _look(self) -> None:
        now_s = self._clock()
        if now_s - self._due_s - (self._cpu() - self._used_s) > self._limit_s:
            self._late_at_s = now_s

    def _tick(self) -> None:
        self._look()
        self.begin()


def has_stalled(stream: Stream) -> bool:
    """Return True if the target refused a stream because no byte came for too long."""
    return REASONS[FRAME_STALL].code in (stream.stop_code, stream.reset_code)


def has_timed_out(connection: Connection) -> bool:
    """Return True if the target closed a connection because the handshake took too long."""
    closed = connection.closed
    return closed is not None and closed.code == REASONS[HANDSHAKE_TIMEOUT].code


def may_have_timed_out(connection: Connection) -> bool:
    """Return True if a connection ended without a reason, over a transport with timers of its own.

    QUIC loses a connection that was not confirmed or heard of in time. Only a repetition shows
    whether the target ended it.
    """
    closed = connection.closed
    if closed is None or closed.by_suite or closed.fault is not None:
        return False
    return connection.has_timers and (closed.code is None or closed == Closed(0, ""))


def has_been_rejected(connection: Connection) -> bool:
    """Return True if the target ended a connection whose handshake it had rejected."""
    closed = connection.closed
    is_rejected = connection.rejected_at is not None
    return is_rejected and closed is not None and closed.code == REASONS[NOT_AUTHENTICATED].code


def was_late_after_result(connection: Connection) -> bool:
    """Return True unless a rejected connection ended long before the target had to end it."""
    assert connection.rejected_at is not None, "it was rejected"
    ended_at = time.monotonic() if connection.ended_at is None else connection.ended_at
    return ended_at - connection.rejected_at > VERDICT_LINGER_S * SHARE


def was_late_in_frame(stream: Stream, facts: Facts, pause_s: float | None = None) -> bool:
    """Return True unless the suite knows that it wrote on a stream in time.

    `pause_s` is the longest pause that counts, in seconds; without it all of them do.
    """
    declared_s = facts.deadlines.get("frame_stall_s", FRAME_STALL_S)
    longest_s = stream.longest_pause_s() if pause_s is None else pause_s
    return longest_s > declared_s * SHARE


def was_late_in_handshake(connection: Connection, facts: Facts) -> bool:
    """Return True unless the suite knows that it wrote on a new connection in time."""
    declared_s = facts.deadlines.get("handshake_s", HANDSHAKE_S)
    return connection.wrote_at - connection.began_at > declared_s * SHARE
