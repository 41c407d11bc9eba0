"""Runs one attempt at one case: in its circumstances, with its names, to its result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.circumstances import (
    ORDINARY,
    TARGET,
    Circumstances,
    circumstances_of,
    permitted,
    rows_of,
)
from meshwire_conformance.contracts import Settings
from meshwire_conformance.errors import SuiteError, SuiteFault
from meshwire_conformance.socket_suite.attempts import (
    Attempt,
    Body,
    body_of,
    failure,
    fault_of,
    mark_of,
    without_verdict,
)
from meshwire_conformance.socket_suite.calibration import Deadline
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.case_streams import Terms, no_connection
from meshwire_conformance.socket_suite.composing import Scope
from meshwire_conformance.socket_suite.content import Contents, Doorway
from meshwire_conformance.socket_suite.evidence import NO_ANSWER, CaseFailed, CouldNotRun
from meshwire_conformance.socket_suite.inbox import Inbox
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.socket_suite.punctuality import Lateness
from meshwire_conformance.socket_suite.transcript_steps import run_transcript
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.transport import Overdue
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_spec.schemas.transcripts import Transcript

LAB = "tcp"
"""Name of the lab binding."""
DIALS_MIN = 4
REDIAL_MAX_S = 1.0
"""Addresses that a target dials at least, and longest wait for a redial in seconds, if cases that
need no dial of the target are to run over connections that it dials."""
DIALS = "dials"
"""Need of the cases whose connections the target has to dial."""
FRAMES_OF_A_STREAM = "MW-5102"
"""The case that shows whether a target reads all frames of a stream."""


class CaseRunner:
    """Runs cases on sessions with one target, or with further processes of it."""

    def __init__(
        self,
        target: Target,
        settings: Settings,
        documents: Doorway | None,
        nonce: str,
        inbox: Inbox,
        lateness: Lateness,
    ) -> None:
        self._target = target
        self._settings = settings
        self._documents = documents
        self._nonce = nonce
        self._inbox = inbox
        self._lateness = lateness

    async def run(
        self, session: Session, case: Case, number: int, deadline: Deadline, *, shared: bool
    ) -> Attempt:
        """Run a case on a session; `number` is that of the attempt.

        With `shared` the faults of its time on connections that it shares count for it too. Raises
        SuiteError where the suite itself is wrong.
        """
        run = self._begun(session, case, number, deadline)
        known_faults = len(self._inbox.faults)
        try:
            await _carry_out(run, body_of(case))
        except CaseFailed as failed:
            return _failed(case, run, failed, known_faults)
        except CouldNotRun as exc:
            return without_verdict(case, exc, run.evidence)
        except Overdue as exc:
            late = no_connection(exc)
            return Attempt(case, failure(case, late), run.evidence, missed=True)
        except ConnectionError as exc:
            lost = CaseFailed("connection-lost", f"the connection is gone: {exc}")
            return _failed(case, run, lost, known_faults)
        except SuiteFault as exc:
            raise SuiteFault(f"{case.id}: {exc}") from exc
        except SuiteError:
            raise
        except Exception as exc:  # noqa: BLE001 - shown with its case, and the run ends with 2
            return Attempt(case, fault_of(case, exc), run.evidence)
        finally:
            run.evidence.seen = run.seen(known_faults)
            run.evidence.suite_late = self._lateness.since(run.evidence.begun_s)
            await run.end()
            run.evidence.claim = run.claim(known_faults, shared=shared)
            run.evidence.arrivals = run.arrivals()
        return Attempt(case, CaseResult(case.id, Verdict.PASS), run.evidence)

    def _begun(self, session: Session, case: Case, number: int, deadline: Deadline) -> CaseRun:
        """Return the run of an attempt that begins now."""
        circumstances = self.circumstances(case) or ORDINARY
        dials = DIALS in case.needs or circumstances.dialler == TARGET
        own_peers = dials or body_of(case).isolation != "key"
        terms = Terms(self._settings.level, deadline, own_peers, dials, circumstances)
        scope = Scope(self._names(case, number), time.time_ns() // 1_000_000)
        contents = Contents(self._documents, mark_of(case))
        return CaseRun(case.id, session, terms, scope, contents)

    def circumstances(self, case: Case) -> Circumstances | None:
        """Return those of a transcript; None for a Python case, whose function fixes its own."""
        body, settings = body_of(case), self._settings
        if not isinstance(body, Transcript):
            return None
        values = permitted(
            level=settings.level,
            over_lab=self._target.binding == LAB,
            dials=self._dials_often(),
            is_called=self._target.is_called,
            reads_on=not settings.predicts(FRAMES_OF_A_STREAM),
        )
        rows = rows_of(values, self._target.facts.dialect, settings.seed)
        found = circumstances_of(case.id, body, rows, settings.seed)
        is_called = self._target.is_called or DIALS in case.needs
        return replace(found, dialler=TARGET) if is_called else found

    def _dials_often(self) -> bool:
        """Return True if the target dials several addresses, and soon after a connection ended."""
        listener = self._target.listener
        if listener is None or self._target.is_called:
            return False
        return len(listener.addresses) >= DIALS_MIN and listener.redial_s <= REDIAL_MAX_S

    def _names(self, case: Case, number: int) -> Mapping[str, str]:
        facts = self._target.facts
        return {
            "case": f"{case.id.lower()}-{self._nonce}-{number}",
            "nonce": self._nonce,
            "formation_id": facts.formation_id,
            "beyond_payload_cap": str(facts.payload_cap + 1),
        }


async def _carry_out(run: CaseRun, body: Body) -> None:
    """Run a transcript, or a function and after a negative one a probe; raises CaseFailed."""
    if isinstance(body, Transcript):
        await run_transcript(run, body)
        return
    run.begin(body.let)
    await body.run(run)
    if body.negative:
        await run.probe()


def _failed(case: Case, run: CaseRun, failed: CaseFailed, known_faults: int) -> Attempt:
    """Return the failed attempt at a case, with what the target did wrong in it.

    `known_faults` is the number of malformed frames before the case.
    """
    gave_up = run.gave_up(missed=failed.missed, lost=failed.symptom == "connection-lost")
    result = failure(case, failed)
    if failed.missed or failed.symptom == NO_ANSWER:
        came = (*result.received, *run.meanwhile(known_faults))
        result = replace(result, received=came)
    return Attempt(
        case,
        result,
        run.evidence,
        failed.missed or gave_up is not None,
        failed.suite_late or bool(gave_up),
    )
