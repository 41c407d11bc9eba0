"""The supervisor: passes calls to the worker, and replaces it when it dies.

Theory of operation. One worker carries out calls, and a second one is started as a spare. Calls go
to the worker in turn over the lanes (`documents.lanes`), several at a time, and are answered in
order, so that the first unanswered one is being carried out. The worker ends itself at a call that
exceeds its budget (`documents.limits`); the supervisor ends no worker for being slow.

Several calls may be one request, whose answers come together. If the worker dies in it, or one of
them takes long, those that have no answer go on one by one, each in the lane of its own connection.

When the worker dies the first unanswered call is the suspect. The spare takes over at once with all
other calls; the suspect runs alone in a fresh process, with twice the budget and its lane paused.
If that one dies too the call is refused (document-limit), else its result is used: the first death
had another cause. Every death is an event.

Documents survive since the store is the authority: a worker is sent the stored bytes with the
first call for a key. Sync states do not: the next message of each exchange starts it afresh, which
costs bytes and loses no change. Nor do pending changes (DC-046): an event reports each loss.

If no worker can be started, the start is repeated at growing intervals. Calls wait during the
first attempts; each later failure refuses the waiting calls (internal).
"""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Container, Coroutine, Sequence
from dataclasses import replace
from typing import Final, TypeAlias, cast

from meshwire_reference.core.document_calls import (
    Call,
    Drop,
    Each,
    Forget,
    Refused,
    Result,
    Together,
    size_of,
)
from meshwire_reference.documents.lanes import Lanes, QueuedCall, key_of, lane_of_all
from meshwire_reference.documents.limits import (
    WORKER_ENDED,
    NoWorker,
    PendingDropped,
    WorkerEvent,
)
from meshwire_reference.documents.pipe import SKIP, BrokenPipe, Frame, Memory, decode_reply
from meshwire_reference.documents.process import (
    DocumentSettings,
    Unavailable,
    WorkerProcess,
    Workers,
)

PATIENT_TRIES: Final = 3
"""Failed starts of a worker before calls that wait for one are refused."""
UNDER_WAY_BYTES_MAX: Final = 4 * 2**20
"""Greatest number of bytes in flight to the worker, unless a single call is larger."""

Load: TypeAlias = Callable[[Sequence[str]], Awaitable[list[bytes | None]]]
"""Returns the stored bytes of documents, after every write that was handed over before.

An element is None when there is no such document. Raises OSError.
"""


class Documents:
    """The documents of a node: `start`, then `submit` calls, then `close`.

    `on_event` is called with every death of a worker, each start that fails once the node runs, and
    each limit that the system refuses.
    """

    def __init__(
        self, load: Load, settings: DocumentSettings, on_event: Callable[[WorkerEvent], None]
    ) -> None:
        self._load = load
        self._settings = settings
        self._on_event = on_event
        self._lanes = Lanes()
        self._open: set[QueuedCall] = set()
        self._numbers = itertools.count()
        self._serials = itertools.count(1)
        self._workers = Workers(settings.worker, on_event)
        self._worker: WorkerProcess | None = None
        self._under_way: deque[QueuedCall] = deque()
        self._under_way_bytes = 0
        self._held: set[str] = set()
        self._pending: Counter[str] = Counter()
        self._head_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._failed_starts = 0
        self._retry: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._suspects: asyncio.Queue[QueuedCall] = asyncio.Queue()
        self._loops: set[asyncio.Task[None]] = set()
        self._burials: set[asyncio.Task[None]] = set()
        self._fault = "not started"

    async def start(self) -> None:
        """Start the workers. Raises Unavailable, with the line that installs what is missing."""
        await self._replace_worker()
        self._fault = ""
        start_in(self._loops, self._pump())
        start_in(self._loops, self._judge_suspects())

    async def close(self) -> None:
        """End the workers and refuse what is unanswered; nothing is left running."""
        self._fault = "closed"
        self._stop_timer()
        if self._retry is not None:
            self._retry.cancel()
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, *self._burials, return_exceptions=True)
        if self._worker is not None:
            await self._worker.close()
        await self._workers.close()
        self._lanes = Lanes()
        self._under_way.clear()
        self._refuse(list(self._open), self._fault)

    def submit(self, call: Call) -> asyncio.Future[Result]:
        """Queue a call; the future gets its result and never an exception of the call's making."""
        # One call has one result.
        return cast("asyncio.Future[Result]", self._queue([call], is_together=False))

    def submit_together(self, together: Together) -> asyncio.Future[Result | Each]:
        """Queue several calls; the future gets a result for each, or one refusal of them all."""
        return self._queue(list(together.calls), is_together=True)

    def _queue(self, calls: list[Call], *, is_together: bool) -> asyncio.Future[Result | Each]:
        future: asyncio.Future[Result | Each] = asyncio.get_running_loop().create_future()
        if self._fault:
            future.set_result(Refused("internal", self._fault))
            return future
        keys = {key for key in map(key_of, calls) if key is not None}
        number, lane = next(self._numbers), lane_of_all(calls)
        item = QueuedCall(number, calls, lane, future, keys, is_together, weight=len(calls))
        self._open.add(item)
        self._lanes.add(item)
        self._wake.set()
        return future

    # --- sending ---------------------------------------------------------------------------

    async def _pump(self) -> None:
        """Send calls to the worker while there are any."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._has_room() and (item := self._lanes.next()):
                try:
                    if self._worker is None:
                        await self._replace_worker()
                except Unavailable as exc:
                    self._lanes.put_back((item,))
                    self._start_later(str(exc))
                else:
                    await self._send(item)

    async def _stored(self, calls: Sequence[Call], held: Container[str]) -> list[bytes | None]:
        """Return the stored bytes of the document of each call, None for one that is held.

        They are empty where a call has or needs none, and sent once: the next call of the same key
        finds the document held. Raises OSError.
        """
        needed = dict.fromkeys(
            call.key
            for call in calls
            if not isinstance(call, Forget | Drop) and call.key not in held
        )
        loaded: dict[str, bytes | None] = {}
        if needed:
            keys = list(needed)
            loaded = dict(zip(keys, await self._load(keys), strict=True))
        stored: list[bytes | None] = []
        for call in calls:
            if isinstance(call, Forget | Drop):
                stored.append(b"")
            elif call.key not in loaded:
                stored.append(None)
            else:
                content = loaded[call.key]
                stored.append(content or b"")
                if content:
                    del loaded[call.key]
        return stored

    def _has_room(self) -> bool:
        return self._retry is None and self._under_way_bytes < UNDER_WAY_BYTES_MAX

    def _start_later(self, fault: str) -> None:
        """Start a worker again later; after PATIENT_TRIES failures refuse the calls that wait."""
        self._failed_starts += 1
        if self._failed_starts > PATIENT_TRIES:
            self._refuse(self._lanes.take_waiting(), fault)
        delay_s = self._settings.retry_s(self._failed_starts)
        self._on_event(NoWorker(fault, delay_s))
        self._retry = asyncio.get_running_loop().call_later(delay_s, self._start_again)

    def _start_again(self) -> None:
        self._retry = None
        self._wake.set()

    async def _replace_worker(self) -> None:
        worker = await self._workers.take()
        self._failed_starts = 0
        self._worker = worker
        worker.on_reply, worker.on_end = self._take_reply, self._lose_worker
        if not worker.is_alive:
            self._lose_worker()

    async def _send(self, item: QueuedCall) -> None:
        worker, sent = self._worker, item.sent
        try:
            stored = await self._stored(sent, self._held)
        except OSError as exc:
            # DC-042
            if len(sent) > 1:
                self._divide(item)
            else:
                self._advance(item, Refused("internal", f"store: {exc}"))
            return
        if worker is None or worker is not self._worker:
            self._lanes.put_back((item,))
            self._wake.set()
            return
        item.size = sum(map(size_of, sent)) + sum(len(one or b"") for one in stored)
        item.serial = next(self._serials)
        worker.send(item.serial, list(zip(sent, stored, strict=True)))
        self._under_way.append(item)
        self._under_way_bytes += item.size
        if len(self._under_way) == 1:
            self._watch_head()

    # --- answers ---------------------------------------------------------------------------

    def _take_reply(self, frame: Frame) -> None:
        if not self._under_way or self._under_way[0].serial != frame.number:
            raise BrokenPipe(f"a reply to call {frame.number}, which is not the next")
        item = self._under_way[0]
        if frame.kind == SKIP:
            self._take_off(item)
            # The document is not held as it was thought to be.
            self._held.discard(key_of(item.calls[0]) or "")
            self._divide(item)
            return
        answered = decode_reply(frame)
        if len(answered) > len(item.sent):
            raise BrokenPipe(f"{len(answered)} results for {len(item.sent)} calls")
        for result, memory in answered:
            self._note_memory(key_of(item.calls.pop(0)), memory)
            item.results.append(result)
        if not item.calls or item.is_divided:
            was_slow = self._is_slow(item)
            self._take_off(item)
            self._go_on(item, was_slow=was_slow)

    def _take_off(self, item: QueuedCall) -> None:
        """Take the current item off the worker, which is at the next one now."""
        self._under_way.popleft()
        self._under_way_bytes -= item.size
        self._watch_head()
        self._wake.set()

    def _divide(self, item: QueuedCall) -> None:
        """Queue what is left of an item again, one call at a time."""
        item.is_divided = True
        self._lanes.put_back((item,))
        self._wake.set()

    def _note_memory(self, key: str | None, memory: Memory) -> None:
        """Note what the worker holds after a call, and report the pending changes it dropped."""
        if memory.released:
            self._held.difference_update(memory.released)
        for loss in memory.dropped:
            self._pending[loss.key] -= loss.changes
            self._on_event(loss)
        if key is None:
            return
        if memory.held:
            self._held.add(key)
        else:
            self._held.discard(key)
        if memory.pending:
            self._pending[key] = memory.pending
        else:
            self._pending.pop(key, None)

    def _advance(self, item: QueuedCall, result: Result, *, was_slow: bool = False) -> None:
        """Take the result of the first call of an item."""
        item.calls.pop(0)
        item.results.append(result)
        self._go_on(item, was_slow=was_slow)

    def _go_on(self, item: QueuedCall, *, was_slow: bool) -> None:
        """Queue the rest of an item, or resolve its future."""
        if item.calls:
            self._lanes.put_back((item,))
            return
        self._open.discard(item)
        self._lanes.release(item, was_slow=was_slow)
        if not item.future.done():
            results = item.results
            item.future.set_result(Each(tuple(results)) if item.is_together else results[0])

    # --- slow calls and deaths -------------------------------------------------------------

    def _is_slow(self, item: QueuedCall) -> bool:
        return asyncio.get_running_loop().time() - self._head_since > item.slow_s

    def _watch_head(self) -> None:
        """Start the timer of the call that is now being worked on."""
        self._stop_timer()
        if self._under_way:
            loop = asyncio.get_running_loop()
            self._head_since = loop.time()
            self._timer = loop.call_later(self._under_way[0].slow_s, self._on_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_slow(self) -> None:
        """Let calls of other lanes overtake the lane of the current call."""
        self._timer = None
        name = self._under_way[0].lane
        self._lanes.narrow(name)
        for item in itertools.islice(self._under_way, 1, None):
            if item.lane == name and self._worker is not None:
                self._worker.skip(item.serial)

    def _lose_worker(self) -> None:
        """Queue all calls of the worker again, except the current one, which becomes a suspect."""
        # DC-040
        worker, self._worker = self._worker, None
        self._stop_timer()
        if worker is None:
            return
        if self._under_way:
            self._suspect(worker)
        else:
            self._on_event(worker.death())
        self._lanes.put_back(self._under_way)
        self._under_way.clear()
        self._under_way_bytes = 0
        self._held.clear()
        for key, changes in self._pending.items():
            self._on_event(PendingDropped(key, WORKER_ENDED, changes))
        self._pending.clear()
        worker.kill()
        start_in(self._burials, worker.close())
        self._wake.set()

    def _suspect(self, worker: WorkerProcess) -> None:
        """Single out the call that the worker was at, if it is known, and report the death."""
        item = self._under_way[0]
        if len(item.sent) > 1:
            # One of several: they go on one by one, so that the next death shows which it is.
            item.is_divided = True
            self._on_event(replace(worker.death(item.calls[0], item.lane), key=None))
            return
        self._under_way.popleft()
        self._lanes.pause(item, is_paused=True)
        self._suspects.put_nowait(item)
        self._on_event(worker.death(item.calls[0], item.lane))

    async def _judge_suspects(self) -> None:
        """Run each suspect alone in a fresh process, one after another."""
        while True:
            item = await self._suspects.get()
            call = item.calls[0]
            try:
                (stored,) = await self._stored((call,), frozenset())
                result = await self._workers.run_alone(call, item.lane, stored)
            except (OSError, Unavailable) as exc:
                result = Refused("internal", str(exc))
            self._lanes.pause(item, is_paused=False)
            self._advance(item, result, was_slow=True)
            self._wake.set()

    # --- the end ---------------------------------------------------------------------------

    def _refuse(self, items: list[QueuedCall], fault: str) -> None:
        self._open.difference_update(items)
        for item in items:
            if not item.future.done():
                item.future.set_result(Refused("internal", fault))


def start_in(tasks: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
    """Start a task and keep it in a set until it is done."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
