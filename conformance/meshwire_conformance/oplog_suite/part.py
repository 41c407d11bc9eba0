"""The part for `oplog/1`: runs every transcript on a target over WebSockets.

The transcripts run beside each other, each with keys and sessions of its own; those that make the
log long run at the end. One that fails is repeated alone, since on a busy machine a deadline proves
nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.catalogue import Catalogue
from meshwire_conformance.contracts import Attachment, Progress, Settings
from meshwire_conformance.errors import Incomplete, fault_text
from meshwire_conformance.oplog_suite.conversation import Dialogue, Known, SessionFailed
from meshwire_conformance.oplog_suite.steps import SessionRun
from meshwire_conformance.targets.base import demand_permission
from meshwire_conformance.targets.bundle import strain
from meshwire_conformance.targets.oplog_node import start_oplog
from meshwire_conformance.targets.websocket import Over, dial
from meshwire_conformance.verdicts import (
    ENDED,
    SUITE_FAULT,
    TARGET_ENDED,
    CaseResult,
    Verdict,
)
from meshwire_spec.schemas.oplog_sessions import OplogSession

BESIDE = 6
"""Number of transcripts that run beside each other."""
DEADLINE_S = 4.0
"""Seconds for whatever must come, before scaling, on a machine without other work."""
PATIENCE = 3.0
"""Factor of the deadline when a case is repeated alone."""
SENT_MAX = 20


async def run(
    cases: Sequence[Case],
    catalogue: Catalogue,
    attachment: Attachment,
    settings: Settings,
    progress: Progress,
) -> list[CaseResult]:
    """Run the transcripts; raises Incomplete if the target cannot be reached."""
    async with _address(attachment, settings) as url:
        demand_permission(url.partition("/crdt-sync")[0], settings)
        try:
            socket = await dial(url, DEADLINE_S * max(1.0, settings.timeout_scale))
        except ConnectionError as exc:
            raise Incomplete(str(exc)) from exc
        socket.abort()
        return await _Work(url, settings, progress).judge(cases)


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

    def __init__(self, url: str, settings: Settings, progress: Progress) -> None:
        self._url = url
        self._settings = settings
        self._progress = progress
        self._known = Known()
        self._nonce = secrets.token_hex(8)
        self._slots = asyncio.Semaphore(BESIDE)

    async def judge(self, cases: Sequence[Case]) -> list[CaseResult]:
        """Return a result for each case, in their order."""
        results: dict[str, CaseResult] = {}
        beside = [case for case in cases if not _transcript(case).last]
        for result in await asyncio.gather(*(self._first(case) for case in beside)):
            results[result.case] = result
        for case in cases:
            if _transcript(case).last:
                results[case.id] = await self._timed(case, 1.0)
        for case in cases:
            if results[case.id].verdict is Verdict.FAIL and not self._settings.ended():
                results[case.id] = await self._again(case, results[case.id])
            self._progress(results[case.id])
        return [results[case.id] for case in cases]

    async def _first(self, case: Case) -> CaseResult:
        async with self._slots:
            return await self._timed(case, 1.0)

    async def _again(self, case: Case, first: CaseResult) -> CaseResult:
        """Repeat a case alone; it fails only if it does so again."""
        again = await self._timed(case, PATIENCE)
        return replace(again, slow=True) if again.verdict is Verdict.PASS else first

    async def _timed(self, case: Case, patience: float) -> CaseResult:
        if why := self._settings.ended():
            return CaseResult(case.id, Verdict.COULD_NOT_RUN, (why,), symptom=ENDED)
        began = time.perf_counter()
        with self._settings.waits_for(case.id):
            result = await self._one(case, patience)
        return replace(result, duration_s=time.perf_counter() - began)

    async def _one(self, case: Case, patience: float) -> CaseResult:
        if case.demanded(self._settings.level) == "any":
            return CaseResult(case.id, Verdict.INFORMATIONAL)
        # A busy machine makes the target late, and the suite itself.
        deadline_s = DEADLINE_S * self._settings.timeout_scale * patience * strain()
        talk = Dialogue(self._url, self._known, deadline_s)
        going = SessionRun(_transcript(case), talk, f"{self._nonce}/{case.id}/{patience}")
        try:
            await going.run()
        except SessionFailed as exc:
            sent = tuple(going.sent[-SENT_MAX:])
            return CaseResult(
                case.id,
                Verdict.FAIL,
                (str(exc),),
                symptom=exc.symptom,
                sent=sent,
                received=exc.received,
            )
        except Over as exc:
            return CaseResult(case.id, Verdict.FAIL, (str(exc),), symptom="session-ended")
        except ConnectionError as exc:
            return CaseResult(case.id, Verdict.COULD_NOT_RUN, (str(exc),), symptom=TARGET_ENDED)
        except Exception as exc:  # noqa: BLE001 - shown with its case, and the run ends with 2
            why = f"suite fault: {fault_text(exc)}"
            return CaseResult(case.id, Verdict.COULD_NOT_RUN, (why,), symptom=SUITE_FAULT)
        finally:
            await talk.end()
        return CaseResult(case.id, Verdict.PASS)


def _transcript(case: Case) -> OplogSession:
    assert isinstance(case.body, OplogSession)
    return case.body
