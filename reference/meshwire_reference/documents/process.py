"""Worker processes: start, calls sent, replies, end.

`Workers` keeps one spare worker ready; `run_alone` runs one call in a process of its own.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

from meshwire_reference.core.document_calls import Call, Merge, Receive, Refused, Result
from meshwire_reference.documents.pipe import (
    FAILED,
    READY,
    SKIP,
    BrokenPipe,
    Frame,
    PipeReader,
    decode_reply,
    encode_frame,
    encode_request,
)
from meshwire_reference.extras import install_line
from meshwire_spec.numbers import DOCUMENT_CALL_S, DOCUMENT_CALL_S_PER_KIB

START_S: Final = 30.0
"""Seconds until a worker must be ready; it takes about 65 ms."""
ERROR_TEXT_MAX: Final = 2000

STANDARD_ERROR = 2


class Unavailable(Exception):
    """No worker can be started: the library is missing, or the system refuses a process."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker is started; `last_resort_s` ends one, within a call, whose parent has ended."""

    actor: bytes
    memory_bytes: int = 2 * 2**30
    last_resort_s: float = 60.0

    def command(self) -> list[str]:
        """Return the command line."""
        module = "meshwire_reference.documents.worker"
        numbers = [self.actor.hex(), str(self.memory_bytes), str(self.last_resort_s)]
        # -P: what lies in the current directory must not pass for a module of Python's own.
        return [sys.executable, "-P", "-m", module, *numbers]


@dataclass(frozen=True, slots=True)
class DocumentSettings:
    """Settings of the supervisor; `worker.actor` is the node's one actor (D-47).

    A start that failed is tried again after `retry_first_s`, then after twice as long each time.
    """

    worker: WorkerSettings
    call_s: float = DOCUMENT_CALL_S
    call_s_per_kib: float = DOCUMENT_CALL_S_PER_KIB
    retry_first_s: float = 0.05
    retry_max_s: float = 2.0

    def deadline_s(self, size: int) -> float:
        """Return how long a call on `size` bytes may take, in seconds (D-160)."""
        return self.call_s + self.call_s_per_kib * size / 1024

    def retry_s(self, failures: int) -> float:
        """Return how long to wait after this number of failed starts in a row, in seconds."""
        return min(self.retry_max_s, self.retry_first_s * 2.0 ** min(failures - 1, 16))


def size_of(call: Call) -> int:
    """Return the number of bytes of a peer in a call."""
    if isinstance(call, Receive):
        return len(call.message)
    return len(call.snapshot) if isinstance(call, Merge) else 0


class WorkerProcess(asyncio.SubprocessProtocol):
    """A running worker. Make one with `start_worker`; end it with `kill` or `close`.

    `on_reply` is called with every reply frame in order, `on_end` once when the process is gone;
    both stay silent before they are set and after `kill`.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.on_reply: Callable[[Frame], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.is_alive = True
        self.error_text = ""
        self.ready: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._reader = PipeReader()
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport of the process."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take replies from standard output, and keep the last bytes of standard error."""
        if fd == STANDARD_ERROR:
            self.error_text = (self.error_text + data.decode(errors="replace"))[-ERROR_TEXT_MAX:]
            return
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except BrokenPipe as exc:
            self.error_text = f"senseless reply: {exc}"
            self._end()

    def _take(self, frame: Frame) -> None:
        if self.ready.done():
            if self.on_reply is not None:
                self.on_reply(frame)
        elif frame.kind == READY:
            self.ready.set_result(None)
        elif frame.kind == FAILED:
            reason = frame.body.decode(errors="replace")
            self.ready.set_exception(Unavailable(f"{reason}; {install_line('node')}"))

    def process_exited(self) -> None:
        """Record the end of the process, whatever its cause."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the process and its pipes are closed."""
        if not self._gone.done():
            self._gone.set_result(None)

    def _end(self) -> None:
        """Treat the process as dead, and kill it if necessary."""
        if not self.is_alive:
            return
        self.is_alive = False
        if not self.ready.done():
            self.ready.set_exception(Unavailable(f"the worker ended at once: {self.error_text}"))
        if self._transport is not None and self._transport.get_returncode() is None:
            # The transport's own kill may reap the process before asyncio does, which then warns
            # of an unknown child.
            with suppress(ProcessLookupError):
                os.kill(self._transport.get_pid(), signal.SIGKILL)
        if self.on_end is not None:
            self.on_end()

    def send(self, number: int, call: Call, stored: bytes | None) -> None:
        """Send one call; the caller bounds what is in flight."""
        self._write(encode_request(number, call, stored))

    def skip(self, number: int) -> None:
        """Ask to leave out a call that was sent; its reply says whether that came in time."""
        self._write(encode_frame(SKIP, number, b""))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and self.is_alive:
            pipe = self._transport.get_pipe_transport(0)
            cast("asyncio.WriteTransport", pipe).write(data)

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
    """Ready workers: `take` returns one and starts the next."""

    def __init__(self, settings: DocumentSettings) -> None:
        self._settings = settings
        self._spare: asyncio.Task[WorkerProcess] | None = None

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
        if worker is None or not worker.is_alive:
            if worker is not None:
                await worker.close()
            worker = await start_worker(self._settings.worker)
        self._spare = asyncio.get_running_loop().create_task(start_worker(self._settings.worker))
        return worker

    async def close(self) -> None:
        """End the ready worker."""
        if self._spare is None:
            return
        self._spare.cancel()
        (worker,) = await asyncio.gather(self._spare, return_exceptions=True)
        if isinstance(worker, WorkerProcess):
            await worker.close()


async def run_alone(call: Call, stored: bytes | None, settings: DocumentSettings) -> Result:
    """Carry out one call in a new process; refuse it if that process dies or is too slow.

    Raises Unavailable when no process can be started.
    """
    worker = await start_worker(settings.worker)
    answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def take_reply(frame: Frame) -> None:
        result, _, _ = decode_reply(frame)
        if not answer.done():
            answer.set_result(result)

    def note_end() -> None:
        if not answer.done():
            detail = f"the worker died twice of it: {worker.error_text.strip()}"
            answer.set_result(Refused("document-limit", detail))

    worker.on_reply, worker.on_end = take_reply, note_end
    try:
        worker.send(1, call, stored)
        size = size_of(call) + len(stored or b"")
        async with asyncio.timeout(settings.deadline_s(size)):
            return await answer
    except TimeoutError:
        return Refused("document-limit", "twice past its deadline")
    finally:
        await worker.close()
