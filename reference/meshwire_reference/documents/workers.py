"""Where workers come from: one stands by, warm; a suspect gets a fresh one for itself."""

import asyncio
from dataclasses import dataclass

from meshwire_reference.core.document_calls import Call, Refused, Result
from meshwire_reference.documents.lanes import size_of
from meshwire_reference.documents.pipe import Frame, decode_reply
from meshwire_reference.documents.process import (
    Unavailable,
    WorkerProcess,
    WorkerSettings,
    start_worker,
)
from meshwire_spec.numbers import DOCUMENT_CALL_S, DOCUMENT_CALL_S_PER_KIB


@dataclass(frozen=True, slots=True)
class Settings:
    """What a supervisor may be told; `worker.actor` is the node's one actor (D-47).

    A start that failed is tried again after `retry_first_s`, then after twice as long each time.
    """

    worker: WorkerSettings
    call_s: float = DOCUMENT_CALL_S
    call_s_per_kib: float = DOCUMENT_CALL_S_PER_KIB
    retry_first_s: float = 0.05
    retry_max_s: float = 2.0

    def deadline_s(self, size: int) -> float:
        """Return how long a call on so many bytes may take (D-160)."""
        return self.call_s + self.call_s_per_kib * size / 1024

    def retry_s(self, failures: int) -> float:
        """Return how long to wait after so many failed starts in a row."""
        return min(self.retry_max_s, self.retry_first_s * 2.0 ** min(failures - 1, 16))


class Workers:
    """Ready workers: `take` one, and the next is started behind it."""

    def __init__(self, settings: Settings) -> None:
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
                # It may have been the moment; what a fresh try says is what counts.
                worker = None
        if worker is None or not worker.is_alive:
            if worker is not None:
                await worker.close()
            worker = await start_worker(self._settings.worker)
        self._spare = asyncio.get_running_loop().create_task(start_worker(self._settings.worker))
        return worker

    async def close(self) -> None:
        """End the worker that stands by."""
        if self._spare is None:
            return
        self._spare.cancel()
        (worker,) = await asyncio.gather(self._spare, return_exceptions=True)
        if isinstance(worker, WorkerProcess):
            await worker.close()


async def run_alone(call: Call, stored: bytes | None, settings: Settings) -> Result:
    """Carry out one call in a process of its own; refuse it when that one dies or is too slow.

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
