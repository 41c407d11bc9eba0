"""Worker processes: start, calls sent, replies, end.

`Workers` keeps one spare worker ready and runs single calls in a process of their own.
"""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, cast

from meshwire_reference.core.document_calls import Call, ConnectionName, Forget, Refused, Result
from meshwire_reference.documents.limits import (
    DETAIL_MAX,
    MEMORY_BYTES,
    WORKER_ENDED,
    Budget,
    LimitNotSet,
    PendingDropped,
    WorkerDied,
    WorkerEvent,
    reason_of_exit,
)
from meshwire_reference.documents.pipe import (
    FAILED,
    READY,
    SKIP,
    BrokenPipe,
    Frame,
    PipeReader,
    decode_ready,
    decode_reply,
    encode_frame,
    encode_request,
)
from meshwire_reference.extras import install_line

START_S: Final = 30.0
"""Seconds until a worker must be ready; it takes about 65 ms."""
WRITE_BYTES: Final = 256 * 2**10
"""Bytes that are written to a worker in one turn of the loop."""
ERROR_TEXT_MAX: Final = 2000
"""How much of what a worker writes to its standard error is kept, in characters."""
SENSELESS: Final = "senseless-reply"
"""Reason of the death of a worker that was killed for what it replied."""

STANDARD_ERROR = 2


class Unavailable(Exception):
    """No worker can be started: the library is missing, or the system refuses a process."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker is started, and what each call may cost in it."""

    actor: bytes
    memory_bytes: int = MEMORY_BYTES
    budget: Budget = field(default_factory=Budget)

    def command(self) -> list[str]:
        """Return the command line."""
        module = "meshwire_reference.documents.worker"
        budget = (self.budget.call_s, self.budget.call_s_per_kib, self.budget.ceiling_s)
        numbers = [self.actor.hex(), str(self.memory_bytes), *map(str, budget)]
        # -P: a file in the current directory must not replace a module of the standard library.
        return [sys.executable, "-P", "-m", module, *numbers]


@dataclass(frozen=True, slots=True)
class DocumentSettings:
    """Settings of the supervisor; `worker.actor` is the node's one actor (D-47).

    A start that failed is tried again after `retry_first_s`, then after twice as long each time.
    """

    worker: WorkerSettings
    retry_first_s: float = 0.05
    retry_max_s: float = 2.0

    def retry_s(self, failures: int) -> float:
        """Return how long to wait after this number of failed starts in a row, in seconds."""
        return min(self.retry_max_s, self.retry_first_s * 2.0 ** min(failures - 1, 16))


class WorkerProcess(asyncio.SubprocessProtocol):
    """A running worker. Make one with `start_worker`; end it with `kill` or `close`.

    `on_reply` is called with every reply frame in order, `on_end` once when the process is gone and
    its last reply was taken; both stay silent before they are set and after `kill`.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.on_reply: Callable[[Frame], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.is_alive = True
        self.not_set: tuple[tuple[str, str], ...] = ()
        self._error_text = ""
        self._fault = ""
        self.ready: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._reader = PipeReader()
        self._unsent: deque[memoryview] = deque()
        self._is_full = False
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport of the process."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take replies from standard output, and keep the last bytes of standard error."""
        if fd == STANDARD_ERROR:
            text = self._error_text + data.decode(errors="replace")
            self._error_text = text[-ERROR_TEXT_MAX:]
            return
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except BrokenPipe as exc:
            self._fault = str(exc)
            self._end()

    def _take(self, frame: Frame) -> None:
        if self.ready.done():
            if self.on_reply is not None:
                self.on_reply(frame)
        elif frame.kind == READY:
            self.not_set = decode_ready(frame)
            self.ready.set_result(None)
        elif frame.kind == FAILED:
            reason = frame.body.decode(errors="replace")
            self.ready.set_exception(Unavailable(f"{reason}; {install_line('node')}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the process has ended and everything that it wrote was read."""
        # Not earlier: a reply that is still in the pipe would make the wrong call the suspect.
        self._end()
        if not self._gone.done():
            self._gone.set_result(None)

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._transport is not None, "a worker is started before it is used"
        return self._transport.get_pid()

    def death(
        self,
        call: Call | None = None,
        connection: ConnectionName | None = None,
        *,
        alone: bool = False,
    ) -> WorkerDied:
        """Return the event of the end of this process, which was at a call of a connection."""
        code = self._transport.get_returncode() if self._transport is not None else None
        return WorkerDied(
            reason=SENSELESS if self._fault or code is None else reason_of_exit(code),
            call=None if call is None else type(call).__name__.lower(),
            key=None if call is None or isinstance(call, Forget) else call.key,
            connection=connection,
            alone=alone,
            detail=(self._fault or self._error_text.strip())[-DETAIL_MAX:],
        )

    def _end(self) -> None:
        """Treat the process as dead, and kill it if necessary."""
        if not self.is_alive:
            return
        self.is_alive = False
        self._unsent.clear()
        if not self.ready.done():
            self.ready.set_exception(Unavailable(f"the worker ended at once: {self._error_text}"))
            # Nobody waits for it where the node ends meanwhile.
            self.ready.exception()
        if self._transport is not None and self._transport.get_returncode() is None:
            # The transport's own kill may reap the process before asyncio does, which then warns
            # of an unknown child.
            with suppress(ProcessLookupError):
                os.kill(self._transport.get_pid(), signal.SIGKILL)
        if self.on_end is not None:
            self.on_end()

    def send(self, number: int, calls: Sequence[tuple[Call, bytes | None]]) -> None:
        """Send calls of one kind; the caller bounds what is in flight."""
        self._write(*encode_request(number, calls))

    def skip(self, number: int) -> None:
        """Ask to leave out a call that was sent; its reply says whether that came in time."""
        self._write(encode_frame(SKIP, number, b""))

    def _write(self, *pieces: bytes) -> None:
        """Write pieces as the pipe takes them: it keeps a copy of what it cannot send at once."""
        self._unsent.extend(map(memoryview, pieces))
        self._flush()

    def _flush(self) -> None:
        if self._transport is None or not self.is_alive:
            self._unsent.clear()
            return
        pipe = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))
        while self._unsent and not self._is_full:
            piece = self._unsent.popleft()
            if len(piece) > WRITE_BYTES:
                self._unsent.appendleft(piece[WRITE_BYTES:])
            pipe.write(piece[:WRITE_BYTES])

    def pause_writing(self) -> None:
        """Wait with further pieces: the pipe has some that it could not send."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Write the next pieces."""
        self._is_full = False
        self._flush()

    def kill(self) -> None:
        """End the process at once; no callback is called any more."""
        self.on_reply = self.on_end = None
        self._end()

    async def close(self) -> None:
        """Kill the process if it still runs, and wait for its end."""
        self.kill()
        await self._gone
        if self._transport is not None:
            self._transport.close()


async def start_worker(settings: WorkerSettings) -> WorkerProcess:
    """Start a worker and wait until it is ready.

    Raises Unavailable if it fails, or is not ready within START_S seconds.
    """
    loop = asyncio.get_running_loop()
    # One line on standard error says what the panic is; a backtrace would cost more than the panic.
    environment = {**os.environ, "RUST_BACKTRACE": "0"}
    try:
        _, worker = await loop.subprocess_exec(WorkerProcess, *settings.command(), env=environment)
    except OSError as exc:
        raise Unavailable(f"no worker process: {exc}") from exc
    try:
        async with asyncio.timeout(START_S):
            await asyncio.shield(worker.ready)
    except (Unavailable, TimeoutError, asyncio.CancelledError) as exc:
        # The task is not awaited any more; asyncio would report its exception as unretrieved.
        if not worker.ready.cancel() and not worker.ready.cancelled():
            worker.ready.exception()
        await worker.close()
        if isinstance(exc, TimeoutError):
            raise Unavailable(f"no worker was ready within {START_S:g} s") from exc
        raise
    return worker


class Workers:
    """Ready workers: `take` returns one and starts the next; `run_alone` uses one for one call.

    `on_event` is called with what happens to workers that nobody has taken.
    """

    def __init__(self, settings: WorkerSettings, on_event: Callable[[WorkerEvent], None]) -> None:
        self._settings = settings
        self._on_event = on_event
        self._spare: asyncio.Task[WorkerProcess] | None = None
        self._known: set[str] = set()

    async def take(self) -> WorkerProcess:
        """Return a ready worker. Raises Unavailable when none can be started."""
        spare, self._spare = self._spare, None
        worker = None
        if spare is not None:
            try:
                worker = await spare
            except Unavailable:
                # The failure may have been temporary; only the result of a new start counts.
                worker = None
        if worker is not None and not worker.is_alive:
            self._on_event(worker.death())
            await worker.close()
            worker = None
        if worker is None:
            worker = await self._start(self._settings)
        self._spare = asyncio.get_running_loop().create_task(self._start(self._settings))
        return worker

    async def _start(self, settings: WorkerSettings) -> WorkerProcess:
        """Start a worker; report each limit that the system refuses, the first time."""
        worker = await start_worker(settings)
        for limit, reason in worker.not_set:
            if limit not in self._known:
                self._known.add(limit)
                self._on_event(LimitNotSet(limit, reason))
        return worker

    async def run_alone(
        self, call: Call, connection: ConnectionName | None, stored: bytes | None
    ) -> Result:
        """Carry out a call in a process of its own with a larger budget; refuse it if that dies.

        Raises Unavailable when no process can be started.
        """
        budget = self._settings.budget.alone()
        worker = await self._start(replace(self._settings, budget=budget))
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def take_reply(frame: Frame) -> None:
            ((result, memory),) = decode_reply(frame)
            for loss in memory.dropped:
                self._on_event(loss)
            if memory.pending and not isinstance(call, Forget):
                self._on_event(PendingDropped(call.key, WORKER_ENDED, memory.pending))
            if not answer.done():
                answer.set_result(result)

        def note_end() -> None:
            if not answer.done():
                death = worker.death(call, connection, alone=True)
                self._on_event(death)
                answer.set_result(Refused("document-limit", f"died twice of it: {death.reason}"))

        worker.on_reply, worker.on_end = take_reply, note_end
        try:
            worker.send(1, ((call, stored),))
            if not worker.is_alive:
                note_end()
            return await answer
        finally:
            await worker.close()

    async def close(self) -> None:
        """End the ready worker."""
        if self._spare is None:
            return
        self._spare.cancel()
        (worker,) = await asyncio.gather(self._spare, return_exceptions=True)
        if isinstance(worker, WorkerProcess):
            await worker.close()
