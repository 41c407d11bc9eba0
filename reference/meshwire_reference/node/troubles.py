"""What goes wrong in the node itself, as lines of its log.

Its mistakes, what its event loop catches, and the deaths of workers.
"""

import asyncio
import errno
import os
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from meshwire_reference.core import inputs
from meshwire_reference.core.effects import Effect
from meshwire_reference.core.inputs import Input
from meshwire_reference.core.limits.rate_limit import Cooldowns
from meshwire_reference.documents.limits import (
    LimitNotSet,
    NoWorker,
    PendingDropped,
    WorkerDied,
    WorkerEvent,
)
from meshwire_reference.node.log import NodeLog

SHORTAGES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""Errors after which the event loop pauses before it accepts another connection."""
LOOP_EVENT_S: Final = 60.0
"""Seconds before the log names the same trouble of the event loop again."""
LOOP_EVENTS_MAX: Final = 64
WORKER_EVENTS: Final[dict[type[WorkerEvent], str]] = {
    WorkerDied: "worker-died",
    LimitNotSet: "limit-not-set",
    NoWorker: "no-worker",
    PendingDropped: "pending-dropped",
}
"""The name of an event of the worker in the log."""


class Troubles:
    """Logs them; those of the event loop once a minute each."""

    def __init__(self, log: NodeLog) -> None:
        self._log = log
        self._loop_events = Cooldowns(LOOP_EVENT_S, LOOP_EVENTS_MAX)

    def note_mistake(self, at: Input | Effect, exc: Exception) -> int | None:
        """Log an exception of this node; return the connection whose input or effect it was."""
        connection: int | None = getattr(at, "connection", None)
        what = at.event if isinstance(at, inputs.ConnectionInput) else at
        place = traceback.extract_tb(exc.__traceback__)[-1]
        self._log.write(
            "failed",
            at=type(what).__name__,
            connection=connection,
            why=f"{type(exc).__name__}: {exc}",
            where=f"{Path(place.filename).name}:{place.lineno}",
        )
        return connection

    def note_of_loop(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Log what the event loop has caught, in one line, once a minute for the same."""
        exc = context.get("exception")
        if isinstance(exc, OSError) and exc.errno in SHORTAGES:
            event, facts = "accept-paused", {"why": os.strerror(exc.errno)}
        else:
            why = f"{type(exc).__name__}: {exc}" if exc is not None else context.get("message")
            event, facts = "failed", {"at": "event loop", "why": str(why)}
        if self._loop_events.take((event, facts["why"]), loop.time()):
            self._log.write(event, **facts)

    def note_worker_event(self, event: WorkerEvent) -> None:
        """Log an event of the worker."""
        self._log.write(WORKER_EVENTS[type(event)], **asdict(event))
