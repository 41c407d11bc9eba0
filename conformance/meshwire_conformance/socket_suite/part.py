"""The socket part: runs every socket case on a target and returns a verdict for each.

Theory of operation. After a calibration the cases run concurrently over shared connections.
Cases that wait for a deadline of the target start first, so that their waits overlap. Beside them
run those with a process of their own, which no other case uses. Cases that must be alone on their
target run one after another on a further process if the suite can start one; one that does not
pass there is judged on the target itself, once the others are done.
A case that missed its deadline is repeated (`repetition`). Watches stay armed until everything is
over: a late frame turns a pass into a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.catalogue import Catalogue
from meshwire_conformance.contracts import Attachment, Progress, Settings
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.socket_suite.attempts import (
    Attempt,
    body_of,
    connection_lost,
    ended_by,
    is_final,
    is_hostile,
    is_serial,
    left_open,
    noted,
    shown_elsewhere,
    start_order,
    watched,
    when_late,
    with_control,
)
from meshwire_conformance.socket_suite.calibration import CANARY_DOCUMENT, FLOOR_S, Canary, Deadline
from meshwire_conformance.socket_suite.case_runner import CaseRunner
from meshwire_conformance.socket_suite.causes import seen_before, with_causes
from meshwire_conformance.socket_suite.content import Doorway
from meshwire_conformance.socket_suite.evidence import sent_lines
from meshwire_conformance.socket_suite.first_contact import first_contact, wrong_preamble
from meshwire_conformance.socket_suite.inbox import Inbox
from meshwire_conformance.socket_suite.meanwhile import came_meanwhile
from meshwire_conformance.socket_suite.needs import find_capabilities, open_documents, unmet
from meshwire_conformance.socket_suite.peers import Peer, Session
from meshwire_conformance.socket_suite.punctuality import Lateness
from meshwire_conformance.socket_suite.redial import END_S, LOST, Departure, why_lost
from meshwire_conformance.socket_suite.repetition import (
    LAST_PATIENCE,
    UNANSWERED_REASON,
    decided,
    until_in_time,
)
from meshwire_conformance.socket_suite.timeline import timeline_of
from meshwire_conformance.targets.attach import Target, attach
from meshwire_conformance.targets.probes import Probes
from meshwire_conformance.verdicts import ENDED, CaseResult, Verdict, unjudged

BESIDE_EACH_OTHER = 12
BESIDE_IN_SILENCE = 96
"""Number of concurrent cases: normally, and if the target did not answer the calibration."""
MISSES_CONFIRMED_MAX = 8
"""After this number of misses confirmed alone, further ones are repeated beside each other."""
PROCESSES = 4
"""Number of concurrent cases with a process of their own; each costs the start of a node."""
APART = 0
"""Number of the attempt on a further process, so that its keys differ from those of any other."""
PROBES = 2
"""Reads without an answer after which a target counts as gone between hostile cases."""
READ_RULE = "DC-001"
JUDGE_OF_ALL = "MW-5924"
"""The case that judges every message of the target in the whole run."""


async def run(
    cases: Sequence[Case],
    catalogue: Catalogue,
    attachment: Attachment,
    settings: Settings,
    progress: Progress,
) -> list[CaseResult]:
    """Run the socket cases against the target that `attachment` names.

    Raises Incomplete if the target cannot be reached at all, UsageError if it is not on this
    machine and writes were not allowed.
    """
    target = await _attached(attachment, settings)
    documents: Doorway | None = None
    try:
        documents = await open_documents()
        variant = attachment.variant or target.facts.dialect
        part = SocketPart(target, catalogue, settings, documents, variant, progress)
        elsewhere = shown_elsewhere(cases, attachment, settings)
        for result in elsewhere.values():
            progress(result)
        asked = [case for case in cases if case.id not in elsewhere]
        results = {result.case: result for result in await part.run(asked)} | elsewhere
        return [results[case.id] for case in cases]
    finally:
        if documents is not None:
            await documents.close()
        await target.close()


async def _attached(attachment: Attachment, settings: Settings) -> Target:
    """Return the target; one with a wrong preamble is shown before it is given up."""
    try:
        return await attach(attachment, settings)
    except Incomplete as exc:
        for line in wrong_preamble(exc.__cause__):
            settings.met(line)
        raise


class SocketPart:
    """One run of the socket cases against one attached target."""

    def __init__(
        self,
        target: Target,
        catalogue: Catalogue,
        settings: Settings,
        documents: Doorway | None,
        variant: str,
        progress: Progress,
    ) -> None:
        self._target = target
        self._catalogue = catalogue
        self._settings = settings
        self._documents = documents
        self._variant = variant
        self._progress = progress
        self._nonce = secrets.token_hex(4)
        self._inbox = Inbox(settings.trace)
        self._session = Session(target, settings, self._nonce, self._inbox)
        self._departure = Departure(self._session)
        self._lateness = Lateness(target.facts)
        self._runner = CaseRunner(
            target, settings, documents, self._nonce, self._inbox, self._lateness
        )
        self._deadline = Deadline(None, settings.timeout_scale)
        self._canary: Canary | None = None
        self._confirmed_misses = 0
        self._lost = ""
        """Why the connections were lost when the target last answered nothing, if they were."""
        self._unanswered: set[str] = set()
        """Ids of the cases beside which the target answered no read at all."""
        self._asked: frozenset[str] = frozenset()
        self._slots = asyncio.Semaphore(self._beside_each_other())

    def _beside_each_other(self) -> int:
        """Return how many cases run at a time: one where the target dials all connections."""
        return 1 if self._target.is_called else BESIDE_EACH_OTHER

    async def run(self, cases: Sequence[Case]) -> list[CaseResult]:
        """Return a verdict for every case, in the order given."""
        await find_capabilities(self._session, cases)
        results = {case.id: found for case in cases if (found := self._beforehand(case))}
        asked = {case.id: case for case in cases if case.id not in results}
        work = {**self._controls(asked.values()), **asked}
        self._asked = frozenset(asked)
        for result in results.values():
            self._progress(result)
        self._lateness.begin()
        try:
            if work:
                floor_s = FLOOR_S * self._settings.timeout_scale
                for line in await first_contact(self._session, floor_s):
                    self._settings.met(line)
                await self._calibrate()
                if self._canary is not None and self._answering():
                    await self._canary.plant_witness(self._deadline.seconds)
                elif self._canary is not None and not self._target.is_called:
                    await self._departure.listen(self._canary, self._deadline.seconds)
                if not self._answering() and not self._target.is_called:
                    self._slots = asyncio.Semaphore(BESIDE_IN_SILENCE)
                results |= await self._judge(list(work.values()))
                self._inbox.check()
        finally:
            self._lateness.end()
            await self._session.close()
        return [replace(results[case.id], variant=self._variant) for case in cases]

    def _beforehand(self, case: Case) -> CaseResult | None:
        """Return a verdict that needs no run, or None."""
        if case.demanded(self._settings.level) == "any":
            return CaseResult(
                case.id, Verdict.INFORMATIONAL, ("level strict alone demands this: not run",)
            )
        return unmet(case, self._target, self._documents)

    def _controls(self, asked: Iterable[Case]) -> dict[str, Case]:
        """Return the controls that were not selected themselves, by id."""
        names = {case.control for case in asked if case.control is not None}
        wanted = {name: self._catalogue.by_id[name] for name in sorted(names)}
        return {
            name: control for name, control in wanted.items() if self._beforehand(control) is None
        }

    def _answering(self) -> bool:
        """Return True if the target answered the last calibration."""
        return self._deadline.median_s is not None

    async def _calibrate(self) -> None:
        """Measure the deadline of everything that follows."""
        if self._canary is None:
            self._canary = Canary(self._session, CANARY_DOCUMENT)
            self._session.probe = self._canary.probe
            self._session.settle = self._read_once
        known_faults = len(self._inbox.faults)
        was_answering = self._answering()
        self._deadline = await self._canary.calibrate(self._settings.timeout_scale)
        if not self._answering():
            self._tell_failed_calibration(known_faults)
            if was_answering and await self._dialled_anew():
                self._deadline = await self._canary.calibrate(self._settings.timeout_scale)
        self._session.wait_at_least(self._deadline.seconds)
        self._settings.trace({"note": self._deadline.describe()})

    async def _dialled_anew(self) -> bool:
        """Return True if the connection for reads was lost, and a further one is answered."""
        assert self._canary is not None
        self._lost = await why_lost(self._session, self._canary, self._deadline.seconds)
        return self._canary.peer.live is None and self._lost == LOST

    def _tell_failed_calibration(self, known_faults: int) -> None:
        """Say which faults and refusals came in place of the answers to the calibration."""
        assert self._canary is not None
        peer = self._canary.peer
        faults = [one for one in self._inbox.faults[known_faults:] if one.peer == peer.name]
        streams = [] if peer.last is None else peer.last.streams.values()
        self._settings.said("the reads of the calibration got no answer")
        for line in came_meanwhile(faults, streams):
            self._settings.said(line)

    # --- running ----------------------------------------------------------------------------

    async def _judge(self, cases: list[Case]) -> dict[str, CaseResult]:
        final = [case for case in cases if is_final(body_of(case))]
        # Concurrent cases cannot disturb a target that answers nothing.
        alone = [case for case in cases if is_serial(case) and self._answering()]
        fresh = [case for case in alone if body_of(case).isolation == "process"]
        hostile = [case for case in alone if is_hostile(body_of(case)) and case not in fresh]
        serial = [case for case in alone if case not in hostile and case not in fresh]
        beside = [case for case in cases if case not in final and case not in alone]
        if not self._settings.keeps_order:
            beside.sort(key=start_order)
        lists = await asyncio.gather(
            self._concurrently(beside),
            self._in_processes(fresh),
            self._apart(serial if beside else ()),
        )
        attempts = {attempt.case.id: attempt for attempt in chain(*lists)}
        for case in serial:
            if case.id not in attempts:
                attempts[case.id] = await self._attempt(case, 1)
        await self._repeat(attempts)
        attempts |= await self._attack(hostile)
        await self._flush()
        for case in final:
            attempts[case.id] = await self._attempt(case, 1)
            evidence = attempts[case.id].evidence
            # It judges the whole run, and each fault has its cause.
            evidence.seen = replace(evidence.seen, faults=tuple(self._inbox.faults))
        results = {name: watched(attempt) for name, attempt in attempts.items()}
        results = with_causes(results, attempts, seen_before(self._session, self._canary))
        return {name: with_control(attempts[name].case, results) for name in results}

    async def _concurrently(self, cases: Sequence[Case]) -> list[Attempt]:
        return await asyncio.gather(*(self._beside(case) for case in cases))

    async def _in_processes(self, cases: Sequence[Case]) -> list[Attempt]:
        """Run cases that each have a process of their own."""
        slots = asyncio.Semaphore(PROCESSES)

        async def one(case: Case) -> Attempt:
            async with slots:
                return await self._attempt(case, 1)

        return await asyncio.gather(*map(one, cases))

    async def _apart(self, cases: Sequence[Case]) -> list[Attempt]:
        """Run cases one after another on a further process; return the attempts that passed.

        The first that does not pass ends this: only the target itself shows what its failure means.
        """
        passed: list[Attempt] = []
        if not cases or self._target.node is None or self._settings.keeps_order:
            return passed
        with contextlib.suppress(Incomplete):
            async with self._further_session("s") as session:
                for case in cases:
                    attempt = await self._attempt(case, APART, session)
                    if attempt.result.verdict is not Verdict.PASS:
                        break
                    self._ended(attempt.result)
                    passed.append(attempt)
        return passed

    async def _attack(self, hostile: Sequence[Case]) -> dict[str, Attempt]:
        """Run the hostile cases one by one; those after the end of the target are not judged."""
        attempts: dict[str, Attempt] = {}
        gone = ""
        for case in hostile:
            gone = gone or self._departure.why or self._settings.ended()
            if gone:
                symptom = self._departure.symptom if gone == self._departure.why else ""
                attempts[case.id] = left_open(case, gone, symptom)
                self._ended(attempts[case.id].result)
                continue
            attempts[case.id] = await self._attempt(case, 1)
            why_not = "" if self._departure.why else await self._why_gone()
            if why_not:
                gone = f"the target has not answered since {case.id}: {why_not}"
                attempts[case.id] = ended_by(attempts[case.id], why_not)
        await self._repeat(attempts)
        return attempts

    async def _why_gone(self) -> str:
        """Return why the target answers no read of the canary, asked twice; empty if it does."""
        assert self._canary is not None
        for _ in range(PROBES):
            why_not = await self._canary.probe(self._deadline.seconds)
            if why_not is None:
                return ""
        await self._dialled_anew()
        node = self._target.node
        how = "" if node is None else await node.how_ended(END_S)
        ended = f"; the node ended with {how}" if how else ""
        return "" if self._lost == LOST else f"{self._lost or why_not or ''}{ended}"

    async def _beside(self, case: Case) -> Attempt:
        """Run one case beside others; one that waits for a deadline of the target takes no slot."""
        if start_order(case)[0] == 0 and not self._target.is_called:
            return await self._attempt(case, 1)
        async with self._slots:
            return await self._attempt(case, 1)

    # --- repeating ---------------------------------------------------------------------------

    async def _repeat(self, attempts: dict[str, Attempt]) -> None:
        """Repeat every case that missed a deadline, and replace its attempt."""
        missed = self._to_be_repeated(attempts)
        if missed or self._unanswered:
            async with self._settings.alone():
                await self._repeat_alone(missed, attempts)

    async def _repeat_alone(self, missed: Sequence[Attempt], attempts: dict[str, Attempt]) -> None:
        left: list[Attempt] = []
        if self._target.listener is not None:
            # A target that has not dialled in time gets the whole time once more.
            self._target.listener.silent = False
        for first in missed:
            if not (self._answering() and self._is_repeated_alone(first)):
                left.append(first)
                continue
            await self._calibrate()
            if self._answering():
                again = partial(self._repeat_one, first)
                attempts[first.case.id] = await until_in_time(again)
            else:
                left.append(first)
        if self._answering():
            attempts |= await self._repeat_beside_probes(left)
        else:
            self._unanswered |= {first.case.id for first in left}
        if self._unanswered:
            attempts |= await self._ask_again(attempts)
            self._unanswered.clear()
        for first in missed:
            self._ended(attempts[first.case.id].result)

    def _to_be_repeated(self, attempts: dict[str, Attempt]) -> list[Attempt]:
        """Return the attempts that missed a deadline and are to be repeated.

        Those that the ledger expects are over, and all of them are if the run has ended.
        """
        missed = []
        for attempt in attempts.values():
            if attempt.missed and self._is_expected(attempt):
                note = "not repeated: the ledger expects this symptom"
                attempts[attempt.case.id] = replace(attempt, result=noted(attempt.result, note))
                self._ended(attempt.result)
            elif attempt.missed and (why := self._settings.ended()):
                attempts[attempt.case.id] = left_open(attempt.case, why, ENDED)
            elif attempt.missed and (why := self._departure.why):
                attempts[attempt.case.id] = left_open(attempt.case, why, self._departure.symptom)
                self._ended(attempts[attempt.case.id].result)
            elif attempt.missed:
                missed.append(attempt)
        return missed

    def _is_repeated_alone(self, first: Attempt) -> bool:
        """Return True unless the maximum of misses confirmed alone is reached."""
        return is_serial(first.case) or self._confirmed_misses < MISSES_CONFIRMED_MAX

    def _is_expected(self, attempt: Attempt) -> bool:
        return self._settings.expects(attempt.case.id, attempt.result.symptom)

    async def _repeat_one(self, first: Attempt, number: int) -> Attempt:
        return (await self._repeat_beside_probes([first], number))[first.case.id]

    async def _repeat_beside_probes(
        self, missed: Sequence[Attempt], number: int = 2
    ) -> dict[str, Attempt]:
        """Repeat cases, beside each other if they are several; return the attempts that count."""
        if not missed:
            return {}
        assert self._canary is not None
        slots = asyncio.Semaphore(self._beside_each_other())

        async def once_more(case: Case) -> Attempt:
            async with slots:
                return await self._attempt(case, number)

        async with Probes(self._canary.read, self._deadline.seconds) as probes:
            second = await asyncio.gather(*(once_more(first.case) for first in missed))
            beside = await probes.found()
        found = {}
        for first, again in zip(missed, second, strict=True):
            attempt = found[first.case.id] = decided(first, again, beside)
            if attempt.missed and attempt.result.verdict is Verdict.FAIL:
                self._confirmed_misses += 1
                if beside.gone:
                    self._unanswered.add(first.case.id)
        return found

    async def _ask_again(self, attempts: Mapping[str, Attempt]) -> dict[str, Attempt]:
        """Read once more from a target that answered no read, and judge the cases beside which.

        One that answers now was slow, and its cases are not judged.
        """
        answers = False
        if self._canary is not None:
            patience_s = LAST_PATIENCE * self._deadline.seconds
            self._session.wait_at_least(patience_s)
            with contextlib.suppress(ConnectionError, TimeoutError):
                answers = await self._canary.read(patience_s)
            if not answers:
                await self._dialled_anew()
        found = {}
        for name in self._unanswered:
            attempt = attempts[name]
            result = noted(attempt.result, "meanwhile the target answered no read at all")
            if answers:
                result = unjudged(result, UNANSWERED_REASON)
            elif self._lost and result.verdict is Verdict.FAIL:
                result = connection_lost(result, self._lost)
            found[name] = replace(attempt, result=result)
        return found

    def _ended(self, result: CaseResult) -> None:
        """Report the end of a case; controls that were not selected are not reported."""
        if result.case in self._asked:
            self._progress(result)

    async def _attempt(self, case: Case, number: int, further: Session | None = None) -> Attempt:
        """Run a case on the target, or on a further process of it."""
        if why := self._settings.ended():
            return left_open(case, why, ENDED)
        body = body_of(case)
        started = time.perf_counter()
        with self._settings.waits_for(case.id):
            if body.isolation == "process":
                attempt = await self._in_fresh_process(case, number)
            elif further is not None:
                attempt = await self._run_on(further, case, number)
            elif not is_final(body) and (why := await self._departure.holds()):
                attempt = left_open(case, why, self._departure.symptom)
            else:
                with self._departure.during(case.id):
                    attempt = await self._run_on(self._session, case, number)
                    deadline_s = self._deadline.seconds
                    attempt = await self._departure.judged(attempt, self._canary, deadline_s)
                    if self._answering():
                        attempt = await self._departure.heard(attempt, self._canary, deadline_s)
        self._inbox.check()
        attempt = attempt if is_final(body) else when_late(attempt)
        result = self._reported(attempt, time.perf_counter() - started)
        if not attempt.evidence.watches:
            # Only a watch can still turn the verdict, and bytes sent may be many.
            attempt.evidence.sent.clear()
        if number == 1 and not attempt.missed:
            self._ended(result)
        return replace(attempt, result=result)

    def _reported(self, attempt: Attempt, duration_s: float) -> CaseResult:
        """Return the result of an attempt as the report shows it."""
        case, evidence = attempt.case, attempt.evidence
        failed = attempt.result.verdict is Verdict.FAIL
        notes = (*attempt.result.notes, *evidence.notes)
        if READ_RULE in case.rules:
            notes = (*notes, self._deadline.describe())
        found = self._runner.circumstances(case)
        return replace(
            attempt.result,
            duration_s=duration_s,
            sent=sent_lines(evidence.sent, attempt.result.symptom) if failed else (),
            timeline=timeline_of(evidence) if failed else (),
            notes=notes,
            unbound=evidence.unbound,
            circumstances="" if found is None else found.text(),
        )

    async def _in_fresh_process(self, case: Case, number: int) -> Attempt:
        try:
            async with self._further_session("p") as session:
                return await self._run_on(session, case, number)
        except Incomplete as exc:
            return Attempt(case, CaseResult(case.id, Verdict.COULD_NOT_RUN, (str(exc),)))

    async def _run_on(self, session: Session, case: Case, number: int) -> Attempt:
        # Without the case that judges the whole run, each case judges the frames of its own time.
        shared = JUDGE_OF_ALL not in self._asked
        return await self._runner.run(session, case, number, self._deadline, shared=shared)

    @contextlib.asynccontextmanager
    async def _further_session(self, mark: str) -> AsyncIterator[Session]:
        """Start a further process of the target; its peers are marked, so that none has two.

        Raises Incomplete if it does not start.
        """
        target = await self._target.fresh()
        session = Session(target, self._settings, f"{self._nonce}{mark}", self._inbox)
        try:
            session.probe = Canary(session, CANARY_DOCUMENT).probe
            yield session
        finally:
            try:
                await session.close()
            finally:
                await target.close()

    async def _flush(self) -> None:
        """Wait until the target has sent what it queued: one more read is answered after it."""
        if self._canary is not None and self._answering() and not self._departure.why:
            deadline_s = self._deadline.seconds
            reads = (self._read_once(peer, deadline_s) for peer in self._session.live_peers())
            await asyncio.gather(*reads)

    async def _read_once(self, peer: Peer, deadline_s: float) -> None:
        assert self._canary is not None
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self._canary.read(deadline_s, peer)
