"""The part for `oplog/1`: runs every transcript on a target over WebSockets.

The transcripts run beside each other, each with keys and sessions of its own; those that make the
log long run at the end.

Theory. On a busy machine a deadline proves nothing, so a case that fails is repeated alone, with a
longer one. If something does not come in time there either, pings on a further session decide:
beside prompt ones the case fails, beside slow ones it could not be judged. Pings that get no answer
at all count as prompt ones: the case ran alone, so it is what the target does not survive.

A prompt pong does not show that a target has nothing left to do: one that applies a long message in
slices answers between them, and so does one whose sockets have a thread of their own. Therefore
work in progress is given time otherwise: each operation that comes begins the deadline anew, and
the bytes that a case has sent make it longer. An operation in place of each ping would show no
more, since such a target serves other sessions fairly meanwhile, and it would make the log longer,
which every further session has to read.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.catalogue import Catalogue
from meshwire_conformance.contracts import Attachment, Progress, Settings
from meshwire_conformance.errors import Incomplete, fault_text
from meshwire_conformance.oplog_suite.conversation import (
    Dialogue,
    Known,
    Pings,
    SessionFailed,
)
from meshwire_conformance.oplog_suite.steps import SessionRun
from meshwire_conformance.targets.base import demand_permission
from meshwire_conformance.targets.bundle import strain
from meshwire_conformance.targets.oplog_node import start_oplog
from meshwire_conformance.targets.probes import Beside, Probes
from meshwire_conformance.targets.websocket import Over, dial
from meshwire_conformance.verdicts import (
    ENDED,
    SUITE_FAULT,
    TARGET_ENDED,
    TOO_SLOW_REASON,
    CaseResult,
    Verdict,
    unjudged,
)
from meshwire_spec.schemas.oplog_sessions import OplogSession

BESIDE = 6
"""Number of transcripts that run beside each other."""
DEADLINE_S = 4.0
"""Seconds for whatever must come, before scaling, on a machine without other work."""
PATIENCE = 3.0
"""Factor of the deadline when a case is repeated alone."""
SENT_MAX = 20


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt at a case; `missed` is True if something did not come in time.

    That may be a connection: then the case did not run.
    """

    result: CaseResult
    missed: bool = False


async def run(
    cases: Sequence[Case],
    catalogue: Catalogue,
    attachment: Attachment,
    settings: Settings,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
) -> list[CaseResult]:
    """Run the transcripts; raises Incomplete if the target cannot be reached.

    `clock` measures the pings beside a repetition.
    """
    async with _address(attachment, settings) as url:
        demand_permission(url.partition("/crdt-sync")[0], settings)
        try:
            socket = await dial(url, DEADLINE_S * max(1.0, settings.timeout_scale))
        except ConnectionError as exc:
            raise Incomplete(str(exc)) from exc
        socket.abort()
        return await _Work(url, settings, progress, clock).judge(cases)


@asynccontextmanager
async def _address(attachment: Attachment, settings: Settings) -> AsyncIterator[str]:
    """Yield the address of the target, which is started if it is a command."""
    if attachment.scheme != "oplog-node":
        yield f"{attachment.scheme}://{attachment.location}"
        return
    node = await start_oplog(attachment.location, settings.timeout_scale)
    try:
        yield node.address
    finally:
        await node.stop()


class _Work:
    """The cases of one run."""

    def __init__(
        self, url: str, settings: Settings, progress: Progress, clock: Callable[[], float]
    ) -> None:
        self._url = url
        self._settings = settings
        self._progress = progress
        self._clock = clock
        self._known = Known()
        self._nonce = secrets.token_hex(8)
        self._slots = asyncio.Semaphore(BESIDE)

    async def judge(self, cases: Sequence[Case]) -> list[CaseResult]:
        """Return a result for each case, in their order."""
        tried: dict[str, Tried] = {}
        beside = [case for case in cases if not _transcript(case).last]
        for one in await asyncio.gather(*(self._first(case) for case in beside)):
            tried[one.result.case] = one
        for case in cases:
            if _transcript(case).last:
                tried[case.id] = await self._first(case)
        results = []
        for case in cases:
            first = tried[case.id]
            result = first.result
            if result.verdict is Verdict.FAIL:
                if not self._settings.ended():
                    result = await self._again(case, first)
                self._progress(result)
            results.append(result)
        return results

    def _deadline_s(self) -> float:
        """Return the deadline: a busy machine makes the target late, and the suite itself."""
        return DEADLINE_S * self._settings.timeout_scale * strain()

    async def _first(self, case: Case) -> Tried:
        """Run a case, which is over then unless it fails."""
        async with self._slots:
            tried = await self._timed(case, 1, self._deadline_s())
        if tried.result.verdict is not Verdict.FAIL:
            self._progress(tried.result)
        return tried

    async def _again(self, case: Case, first: Tried) -> CaseResult:
        """Repeat a case alone, beside pings that show whether the target is slow."""
        async with self._settings.alone():
            deadline_s, pings = PATIENCE * self._deadline_s(), Pings(self._url)
            try:
                async with Probes(pings.ask, deadline_s, "ping", self._clock) as probes:
                    again = await self._timed(case, 2, deadline_s)
                    beside = await probes.found() if again.missed else Beside(deadline_s)
            finally:
                await pings.end()
        return decided(first, again, beside)

    async def _timed(self, case: Case, number: int, deadline_s: float) -> Tried:
        if why := self._settings.ended():
            return Tried(CaseResult(case.id, Verdict.COULD_NOT_RUN, (why,), symptom=ENDED))
        began = time.perf_counter()
        with self._settings.waits_for(case.id):
            tried = await self._one(case, number, deadline_s)
        duration_s = time.perf_counter() - began
        return replace(tried, result=replace(tried.result, duration_s=duration_s))

    async def _one(self, case: Case, number: int, deadline_s: float) -> Tried:
        if case.demanded(self._settings.level) == "any":
            return Tried(CaseResult(case.id, Verdict.INFORMATIONAL))
        talk = Dialogue(self._url, self._known, deadline_s)
        going = SessionRun(_transcript(case), talk, f"{self._nonce}/{case.id}/{number}")
        try:
            await going.run()
        except SessionFailed as exc:
            failed = CaseResult(
                case.id,
                Verdict.FAIL,
                (str(exc),),
                symptom=exc.symptom,
                sent=tuple(going.sent[-SENT_MAX:]),
                received=exc.received,
            )
            return Tried(failed, missed=exc.missed)
        except Over as exc:
            return Tried(CaseResult(case.id, Verdict.FAIL, (str(exc),), symptom="session-ended"))
        except ConnectionError as exc:
            gone = CaseResult(case.id, Verdict.COULD_NOT_RUN, (str(exc),), symptom=TARGET_ENDED)
            return Tried(gone, missed=True)
        except Exception as exc:  # noqa: BLE001 - shown with its case, and the run ends with 2
            why = f"suite fault: {fault_text(exc)}"
            return Tried(CaseResult(case.id, Verdict.COULD_NOT_RUN, (why,), symptom=SUITE_FAULT))
        finally:
            await talk.end()
        return Tried(CaseResult(case.id, Verdict.PASS))


def decided(first: Tried, again: Tried, beside: Beside) -> CaseResult:
    """Return what counts of a case that failed and was repeated alone, beside pings.

    Other content than was due counts, although in the repetition it is what does not come. So does
    the first miss of a target that takes no connections after it.
    """
    if again.result.verdict is Verdict.PASS:
        return replace(again.result, slow=True)
    if not first.missed:
        return first.result
    if not again.missed:
        return again.result
    result = again.result if again.result.verdict is Verdict.FAIL else first.result
    notes = (*result.notes, *(() if result is again.result else again.result.reasons))
    result = replace(result, notes=(*notes, beside.describe()))
    return result if beside.prompt or beside.gone else unjudged(result, TOO_SLOW_REASON)


def _transcript(case: Case) -> OplogSession:
    assert isinstance(case.body, OplogSession)
    return case.body
