"""One connection of the node: carries out its effects and reports its events to the core.

The bytes of each stream are sent one call after the other by a task of its own, which runs only
while there is something to send; so a stream that waits for credit delays no other.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from meshwire_reference.core.effects import (
    CloseConnection,
    ConnectionEffect,
    Consumed,
    Deferred,
    OpenStream,
    Release,
    Reset,
    Send,
    Stop,
)
from meshwire_reference.core.inputs import (
    ConnectionEvent,
    ConnectionInput,
    ConnectionOpened,
    Input,
    SendFailed,
    StreamGranted,
    StreamSent,
)
from meshwire_reference.transport.base import Connection, ConnectionGone, StreamGone

TURN_S: Final = 0.002
"""Processor time in seconds after which a connection waits for its next turn."""

Feed = Callable[[Input], None]


class Link:
    """Carries out the effects of one connection and reports its events to the core."""

    def __init__(
        self,
        number: int,
        connection: Connection,
        feed: Feed,
        *,
        reconciles: bool = False,
        in_other_dialect: bool = False,
        own_id: bytes = b"",
    ) -> None:
        self.number = number
        self._own_id = own_id
        self._reconciles = reconciles
        self._in_other_dialect = in_other_dialect
        self.wants_other_dialect = False
        """True once the core has reported that the peer may speak the other dialect."""
        self.connection = connection
        self._feed = feed
        self._writers: dict[int, deque[Send]] = {}
        self._writing: dict[int, asyncio.Task[None]] = {}
        self._to_release: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Report every event to the core; returns when the connection is closed."""
        connection = self.connection
        self._feed(
            ConnectionOpened(
                self.number,
                connection.peer_id,
                connection.dialled,
                self._reconciles,
                self._in_other_dialect,
                self._own_id,
            )
        )
        began_s = time.thread_time()
        try:
            async for event in connection.events():
                self._report(event)
                if time.thread_time() - began_s > TURN_S:
                    # Others have their turn between the events of one wake-up.
                    await asyncio.sleep(0)
                    began_s = time.thread_time()
        finally:
            # A close waits only for the transport's own bounded shutdown.
            for task in (*self._writing.values(), *self._tasks):
                task.cancel()
            await asyncio.gather(*self._writing.values(), *self._tasks, return_exceptions=True)

    def perform(self, effect: ConnectionEffect) -> None:
        """Carry out an effect, or start to; never waits."""
        if self.connection.closed is None:
            PERFORM[type(effect)](self, effect)

    def _report(self, event: ConnectionEvent) -> None:
        self._feed(ConnectionInput(self.number, event))

    # --- effects -----------------------------------------------------------------------------

    def open(self, effect: OpenStream) -> None:
        """Ask for a stream and report it."""
        self._spawn(self._wait_for_stream(effect))

    async def _wait_for_stream(self, effect: OpenStream) -> None:
        try:
            stream = await self.connection.open(bidi=effect.bidi)
        except ConnectionGone:
            return
        self._report(StreamGranted(effect.ticket, stream))

    def send(self, effect: Send) -> None:
        """Send in the order of the calls."""
        waiting = self._writers.get(effect.stream)
        if waiting is not None:
            waiting.append(effect)
            return
        self._writers[effect.stream] = deque((effect,))
        task = asyncio.get_running_loop().create_task(self._write(effect.stream))
        self._writing[effect.stream] = task

    async def _write(self, stream: int) -> None:
        waiting = self._writers[stream]
        outcome: ConnectionEvent | None = None
        try:
            while waiting:
                effect = waiting[0]
                await self.connection.send(stream, effect.data, fin=effect.fin)
                waiting.popleft()
                if effect.fin or effect.reports:
                    outcome = StreamSent(stream)
        except StreamGone as gone:
            outcome = SendFailed(stream, gone.code)
        except ConnectionGone:
            return
        finally:
            if self._writing.get(stream) is asyncio.current_task():
                del self._writers[stream], self._writing[stream]
        if stream in self._to_release:
            self._to_release.discard(stream)
            self.connection.release(stream)
        elif outcome is not None:
            self._report(outcome)

    def reset(self, effect: Reset) -> None:
        """Reset this side's half; queued bytes are dropped."""
        task = self._writing.pop(effect.stream, None)
        if task is not None:
            # A task that is cancelled before it starts never removes its own entries.
            del self._writers[effect.stream]
            task.cancel()
        self.connection.reset(effect.stream, effect.code)

    def stop(self, effect: Stop) -> None:
        """Stop the peer's half."""
        self.connection.stop(effect.stream, effect.code)

    def consume(self, effect: Consumed) -> None:
        """Grant credit again."""
        self.connection.consumed(effect.stream, effect.count)

    def defer(self, effect: Deferred) -> None:
        """Grant the credit of the connection alone."""
        self.connection.defer(effect.stream, effect.count)

    def release(self, effect: Release) -> None:
        """Release a stream once none of its bytes are being sent."""
        if effect.stream not in self._writing:
            self.connection.release(effect.stream)
        else:
            # Releasing now would reset a half that is still being sent.
            self._to_release.add(effect.stream)

    def end(self, effect: CloseConnection) -> None:
        """Close the connection with the code and reason of the effect."""
        self._spawn(self.connection.close(effect.code, effect.reason))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


PERFORM: Final[dict[type, Callable[[Link, Any], None]]] = {
    OpenStream: Link.open,
    Send: Link.send,
    Reset: Link.reset,
    Stop: Link.stop,
    Consumed: Link.consume,
    Deferred: Link.defer,
    Release: Link.release,
    CloseConnection: Link.end,
}
