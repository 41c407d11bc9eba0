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

from msgspec import UNSET

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.catalogue import Catalogue
from meshwire_conformance.contracts import Attachment, Progress, Settings
from meshwire_conformance.errors import Incomplete, fault_text
from meshwire_conformance.oplog_suite.conversation import (
    Dialogue,
    Known,
    NotJudged,
    Pings,
    SessionFailed,
)
from meshwire_conformance.oplog_suite.steps import SessionRun
from meshwire_conformance.targets.base import demand_permission
from meshwire_conformance.targets.bundle import strain
from meshwire_conformance.targets.oplog_node import OplogControl, start_oplog
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
NO_CONTROL = (
    "the target's ready line names no control socket with test-control: start it with "
    "--control {control} --test-control --mesh-loopback"
)


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
    meshed = [case for case in cases if is_meshed(case)]
    plain = [case for case in cases if not is_meshed(case)]
    results: list[CaseResult] = []
    # Those of a mesh have a target of their own, since a document is for good.
    for share in filter(None, (plain, meshed)):
        async with _target(attachment, settings) as (url, control):
            demand_permission(url.partition("/crdt-sync")[0], settings)
            try:
                socket = await dial(url, DEADLINE_S * max(1.0, settings.timeout_scale))
            except ConnectionError as exc:
                raise Incomplete(str(exc)) from exc
            socket.abort()
            work = _Work(url, settings, progress, clock, control)
            results += await work.judge(share)
    by_id = {result.case: result for result in results}
    return [by_id[case.id] for case in cases]


def is_meshed(case: Case) -> bool:
    """Return True if a case needs a target whose mesh the suite controls."""
    return _transcript(case).listeners is not UNSET


@asynccontextmanager
async def _target(
    attachment: Attachment, settings: Settings
) -> AsyncIterator[tuple[str, OplogControl | None]]:
    """Yield the address of the target, which is started if it is a command, and its control."""
    if attachment.scheme != "oplog-node":
        yield f"{attachment.scheme}://{attachment.location}", None
        return
    node = await start_oplog(attachment.location, settings.timeout_scale)
    try:
        yield node.address, node.control
    finally:
        await node.stop()


class _Work:
    """The cases of one run."""

    def __init__(
        self,
        url: str,
        settings: Settings,
        progress: Progress,
        clock: Callable[[], float],
        control: OplogControl | None = None,
    ) -> None:
        self._url = url
        self._control = control
        self._settings = settings
        self._progress = progress
        self._clock = clock
        self._known = Known()
        self._nonce = secrets.token_hex(8)
        self._slots = asyncio.Semaphore(BESIDE)

    async def judge(self, cases: Sequence[Case]) -> list[CaseResult]:
        """Return a result for each case, in their order."""
        tried: dict[str, Tried] = {}
        beside = [case for case in cases if not (_transcript(case).last or is_meshed(case))]
        for one in await asyncio.gather(*(self._first(case) for case in beside)):
            tried[one.result.case] = one
        for case in cases:
            if _transcript(case).last or is_meshed(case):
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
        if (without := self._without_run(case)) is not None:
            return Tried(without)
        began = time.perf_counter()
        with self._settings.waits_for(case.id):
            tried = await self._one(case, number, deadline_s)
        duration_s = time.perf_counter() - began
        return replace(tried, result=replace(tried.result, duration_s=duration_s))

    def _without_run(self, case: Case) -> CaseResult | None:
        """Return the result of a case that is not run, None for any other."""
        if case.demanded(self._settings.level) == "any":
            return CaseResult(case.id, Verdict.INFORMATIONAL)
        if is_meshed(case) and self._control is None:
            return CaseResult(case.id, Verdict.NOT_APPLICABLE, (NO_CONTROL,))
        return None

    async def _one(self, case: Case, number: int, deadline_s: float) -> Tried:
        talk = Dialogue(self._url, self._known, deadline_s)
        going = SessionRun(
            _transcript(case), talk, f"{self._nonce}/{case.id}/{number}", self._control
        )
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
        except NotJudged as exc:
            return Tried(CaseResult(case.id, Verdict.COULD_NOT_RUN, (str(exc),)))
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
