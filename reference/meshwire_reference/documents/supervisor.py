"""The supervisor: hands calls to the worker, and survives what they do to it.

Theory of operation. One worker does the work, a second one stands by, warm. Calls go to the worker
in turn over the lanes, several at a time, and are answered in order, so that the first unanswered
one is the one at work. It has a deadline of its own (250 ms and 1 ms per KiB).

When the worker dies, or the deadline passes and it is killed, the first unanswered call is the
suspect. The spare takes over at once with all other calls; the suspect runs alone in a fresh
process, with its lane held back. If that one dies too the call is refused (document-limit),
else its result stands: the first death was another's fault, or bad luck.

Documents survive since the store is the authority: a worker is sent the stored bytes with the
first call for a key. Sync states do not: `on_states_lost` is called, and exchanges start afresh.

Where no worker can be started that is tried again, ever less often. Calls wait for the first
tries; each failure after those refuses what waits (internal). The first success ends that.

A call that is slow but within its deadline narrows its lane: what waits behind it in the worker
is taken back, so that other lanes wait for one slow call at most.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final, Protocol

from meshwire_reference.core.document_calls import Call, Drop, Refused, Result
from meshwire_reference.documents.lanes import Item, Lanes, lane_of, size_of
from meshwire_reference.documents.pipe import SKIP, BrokenPipe, Frame, decode_reply
from meshwire_reference.documents.process import Unavailable, WorkerProcess
from meshwire_reference.documents.workers import Settings, Workers, run_alone

SLOW_PART: Final = 0.1
"""A call that takes more than this part of its deadline is slow."""
PATIENT_TRIES: Final = 3
"""So many starts of a worker may fail before calls that wait for one are refused."""
UNDER_WAY_BYTES_MAX: Final = 4 * 2**20
"""What is sent ahead of the answers, unless a single call is larger."""


class DocumentSource(Protocol):
    """Where a fresh worker's documents come from; sees every write that was handed to it before."""

    async def load(self, key: str) -> bytes | None:
        """Return the stored bytes of a document, None when there is none. Raises OSError."""
        ...


@dataclass(slots=True)
class Counters:
    """What has happened."""

    deaths: int = 0
    quarantined: int = 0


class Documents:
    """The documents of a node: `start`, then `submit` calls, then `close`.

    `on_states_lost` is called whenever every sync state is gone; results that come after it belong
    to fresh exchanges.
    """

    def __init__(
        self, source: DocumentSource, settings: Settings, on_states_lost: Callable[[], None]
    ) -> None:
        self.counters = Counters()
        self._source = source
        self._settings = settings
        self._on_states_lost = on_states_lost
        self._lanes = Lanes()
        self._open: set[Item] = set()
        self._numbers = itertools.count()
        self._serials = itertools.count(1)
        self._workers = Workers(settings)
        self._worker: WorkerProcess | None = None
        self._under_way: deque[Item] = deque()
        self._under_way_bytes = 0
        self._held: set[str | None] = set()
        self._head_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._failed_starts = 0
        self._retry: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._suspects: asyncio.Queue[Item] = asyncio.Queue()
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
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if self._fault:
            future.set_result(Refused("internal", self._fault))
            return future
        item = Item(next(self._numbers), call, lane_of(call), future, size_of(call))
        self._open.add(item)
        self._lanes.add(item)
        self._wake.set()
        return future

    # --- sending ---------------------------------------------------------------------------

    async def _pump(self) -> None:
        """Keep the worker busy, for as long as there are calls."""
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

    async def _stored(self, item: Item) -> bytes:
        """Return the stored bytes of a call's document, empty when it has or needs none."""
        if item.key is None or isinstance(item.call, Drop):
            return b""
        return await self._source.load(item.key) or b""

    def _has_room(self) -> bool:
        return self._retry is None and self._under_way_bytes < UNDER_WAY_BYTES_MAX

    def _start_later(self, fault: str) -> None:
        """Have the start of a worker tried again, and refuse calls that have waited for long."""
        self._failed_starts += 1
        if self._failed_starts > PATIENT_TRIES:
            self._refuse(self._lanes.take_waiting(), fault)
        delay_s = self._settings.retry_s(self._failed_starts)
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

    async def _send(self, item: Item) -> None:
        worker = self._worker
        try:
            is_held = item.key in self._held and not isinstance(item.call, Drop)
            stored = None if is_held else await self._stored(item)
        except OSError as exc:
            # DC-042
            self._finish(item, Refused("internal", f"store: {exc}"))
            return
        if worker is None or worker is not self._worker:
            self._lanes.put_back((item,))
            self._wake.set()
            return
        item.size = size_of(item.call) + len(stored or b"")
        item.serial = next(self._serials)
        worker.send(item.serial, item.call, stored)
        self._under_way.append(item)
        self._under_way_bytes += item.size
        if len(self._under_way) == 1:
            self._watch_head()

    # --- answers ---------------------------------------------------------------------------

    def _take_reply(self, frame: Frame) -> None:
        if not self._under_way or self._under_way[0].serial != frame.number:
            raise BrokenPipe(f"a reply to call {frame.number}, which is not the next")
        skipped = frame.kind == SKIP
        result, is_held, released = (None, False, ()) if skipped else decode_reply(frame)
        item = self._under_way.popleft()
        self._under_way_bytes -= item.size
        self._held.difference_update(released, (item.key,))
        if result is None:
            self._lanes.put_back((item,))
        else:
            if item.key is not None and is_held:
                self._held.add(item.key)
            self._finish(item, result, was_slow=self._is_slow(item))
        self._watch_head()
        self._wake.set()

    def _finish(self, item: Item, result: Result, *, was_slow: bool = False) -> None:
        self._open.discard(item)
        self._lanes.release(item, was_slow=was_slow)
        if not item.future.done():
            item.future.set_result(result)

    # --- deadlines and deaths --------------------------------------------------------------

    def _is_slow(self, item: Item) -> bool:
        elapsed_s = asyncio.get_running_loop().time() - self._head_since
        return elapsed_s > SLOW_PART * self._settings.deadline_s(item.size)

    def _watch_head(self) -> None:
        """Start the clock of the call that is now at work."""
        self._stop_timer()
        if self._under_way:
            loop = asyncio.get_running_loop()
            self._head_since = loop.time()
            deadline_s = self._settings.deadline_s(self._under_way[0].size)
            self._timer = loop.call_later(SLOW_PART * deadline_s, self._on_slow, deadline_s)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_slow(self, deadline_s: float) -> None:
        """Let others pass the lane of the call at work."""
        name = self._under_way[0].lane
        self._lanes.narrow(name)
        for item in itertools.islice(self._under_way, 1, None):
            if item.lane == name and self._worker is not None:
                self._worker.skip(item.serial)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._head_since + deadline_s, self._lose_worker)

    def _lose_worker(self) -> None:
        """Put everything under way back except the call at work, which becomes a suspect."""
        # DC-040
        worker, self._worker = self._worker, None
        self._stop_timer()
        if worker is None:
            return
        self.counters.deaths += 1
        if self._under_way:
            suspect = self._under_way.popleft()
            self._lanes.pause(suspect, is_paused=True)
            self._suspects.put_nowait(suspect)
        self._lanes.put_back(self._under_way)
        self._under_way.clear()
        self._under_way_bytes = 0
        self._held.clear()
        worker.kill()
        start_in(self._burials, worker.close())
        self._on_states_lost()
        self._wake.set()

    async def _judge_suspects(self) -> None:
        """Run each suspect alone in a fresh process, one after another."""
        while True:
            item = await self._suspects.get()
            try:
                stored = await self._stored(item)
                result = await run_alone(item.call, stored, self._settings)
            except (OSError, Unavailable) as exc:
                result = Refused("internal", str(exc))
            # DC-041
            if isinstance(result, Refused) and result.reason == "document-limit":
                self.counters.quarantined += 1
            self._lanes.pause(item, is_paused=False)
            self._finish(item, result, was_slow=True)
            self._wake.set()

    # --- the end ---------------------------------------------------------------------------

    def _refuse(self, items: list[Item], fault: str) -> None:
        self._open.difference_update(items)
        for item in items:
            if not item.future.done():
                item.future.set_result(Refused("internal", fault))


def start_in(tasks: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
    """Start a task and keep it in a set until it is done."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
