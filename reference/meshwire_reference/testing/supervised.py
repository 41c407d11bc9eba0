"""A supervisor over document workers with a store beside it, also over workers that a test ends."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from meshwire_reference.core.effects import WriteStore
from meshwire_reference.documents.limits import Budget, WorkerDied, WorkerEvent
from meshwire_reference.documents.process import DocumentSettings, WorkerProcess, WorkerSettings
from meshwire_reference.documents.supervisor import Documents
from meshwire_reference.store.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from meshwire_reference.core.document_calls import Call, Result

ACTOR = b"\x31" * 16


@dataclass
class Events:
    """Events of workers; the first death sets `death`."""

    all: list[WorkerEvent] = field(default_factory=list)
    death: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, event: WorkerEvent) -> None:
        """Keep an event."""
        self.all.append(event)
        if isinstance(event, WorkerDied):
            self.death.set()

    @property
    def deaths(self) -> list[WorkerDied]:
        """The events of workers that have died."""
        return [event for event in self.all if isinstance(event, WorkerDied)]


class SupervisorBench:
    """A supervisor with a store beside it that keeps what results say; open it by `async with`."""

    def __init__(self, worker: WorkerSettings) -> None:
        self.store = MemoryStore()
        self.events = Events()
        settings = DocumentSettings(worker, retry_first_s=0.001)
        self.documents = Documents(self.store.load, settings, self.events.note)

    async def __aenter__(self) -> Self:
        await self.documents.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.documents.close()

    async def ask(self, call: Call) -> Result:
        """Submit a call and keep its write."""
        result = await self.documents.submit(call)
        write = getattr(result, "write", None)
        if write is not None:
            await self.store.write((WriteStore(0, getattr(call, "key", ""), write),))
        return result


@dataclass(frozen=True)
class ScriptSettings(WorkerSettings):
    """Starts a script in place of a worker, or what is neither, as long as starts are to fail."""

    bench: DeadlyBench | None = None

    def command(self) -> list[str]:
        """Return the command line for this start."""
        assert self.bench is not None
        if self.bench.failures:
            self.bench.failures -= 1
            return [sys.executable, "-c", "import sys; sys.exit('not now')"]
        arguments = super().command()[4:]
        return [sys.executable, str(self.bench.script), str(self.bench.folder), *arguments]


class DeadlyBench(SupervisorBench):
    """A bench over a script that gets a folder, and then the arguments of a worker.

    The next `failures` starts fail.
    """

    def __init__(self, script: Path, folder: Path, budget: Budget) -> None:
        self.script = script
        self.folder = folder
        self.failures = 0
        super().__init__(ScriptSettings(ACTOR, budget=budget, bench=self))

    async def spare(self) -> WorkerProcess:
        """Return the worker that stands by, once it is ready."""
        spare = self.documents._workers._spare  # noqa: SLF001 - nothing else asks for it
        assert spare is not None
        return await spare

    async def kill_all(self, failures: int) -> None:
        """End the worker and the spare one; the next `failures` starts fail."""
        (await self.spare()).kill()
        self.failures = failures
        self.documents._lose_worker()  # noqa: SLF001 - as above
