"""Finds lost connections, and targets that have ended or fallen silent, by dialling anew.

Over QUIC a target that has ended is merely silent, until a timeout that is longer than most
deadlines. A further connection shows the difference: it fails if the target is gone, and is
answered if the target has started again or lost the earlier connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from meshwire_conformance.socket_suite.attempts import Attempt, left_open
from meshwire_conformance.socket_suite.calibration import FLOOR_S, NO_CONNECTION, Canary
from meshwire_conformance.socket_suite.evidence import LOST_SYMPTOMS, TARGET_GONE
from meshwire_conformance.socket_suite.peers import Peer, Session
from meshwire_conformance.targets.transport import BindingBroken, Dial, Overdue
from meshwire_conformance.verdicts import ADVICE, TARGET_ENDED, TARGET_SILENT, CaseResult, Verdict

LOST = "a further connection is answered, and the earlier ones are not"

READS = 2
"""Reads of a document that no node holds: deployed peers answer every other one (D-58)."""


async def why_lost(session: Session, canary: Canary, deadline_s: float) -> str:
    """Return why the open connections are lost, or an empty text if nothing shows that.

    If a further connection is answered, those that are not are closed, so that they are dialled
    again at their next use.
    """
    further = session.new_peer()
    earlier = session.live_peers()
    try:
        await further.connection()
        for _ in range(READS):
            if await canary.read(deadline_s, further, unknown=True):
                break
        else:
            return ""
    except (ConnectionError, TimeoutError) as exc:
        return f"{NO_CONNECTION}: {exc}"
    finally:
        await further.close()

    async def is_lost(peer: Peer) -> bool:
        try:
            return not await canary.read(deadline_s, peer)
        except (ConnectionError, TimeoutError):
            return True

    found = await asyncio.gather(*map(is_lost, earlier))
    lost = [peer for peer, gone in zip(earlier, found, strict=True) if gone]
    for peer in lost:
        await peer.close()
    return LOST if lost else ""


NAMES_MAX = 3
"""Greatest number of cases that are named as running when the target ended."""
END_S = 2.0
"""Seconds to wait for the exit status of a node that takes no connection any more."""
PATIENCE = 2
"""A target that answers nothing for this multiple of the deadline has fallen silent.

The deadline counts as `FLOOR_S` at least.
"""


class Departure:
    """Whether the target of a session has ended or fallen silent, and which cases ran then.

    `why` is empty while it answers; afterwards it says how it ended, and the cases that ran.
    `symptom` is that of the cases that are not judged for it.
    """

    def __init__(self, session: Session) -> None:
        self.why = ""
        self.symptom = TARGET_ENDED
        self._suspect = ""
        """Id of the case that ran when the target fell silent, if it was the only one."""
        self._session = session
        self._running: dict[str, None] = {}
        self._lock = asyncio.Lock()

    @contextmanager
    def during(self, case: str) -> Iterator[None]:
        """Note that a case runs on the target for as long as the context lasts."""
        self._running[case] = None
        try:
            yield
        finally:
            self._running.pop(case, None)

    async def holds(self) -> str:
        """Return why no case can begin, or an empty text.

        A target that something else has started again takes connections, and the run goes on.
        """
        if self.symptom == TARGET_ENDED and self.why and self._session.target.node is None:
            async with self._lock:
                if self.why and not await self._refusal():
                    self.why = ""
        return self.why

    async def judged(self, attempt: Attempt, canary: Canary | None, deadline_s: float) -> Attempt:
        """Return the attempt; if the end of the target made it fail, that is its reason.

        A case that had sent nothing did not run on the target, so it is not judged. The one that
        finds the end fails in any case.
        """
        if not self._can_tell(attempt):
            return attempt
        async with self._lock:
            is_first = not self.why and await self._notice(canary, deadline_s)
        if not self.why:
            return attempt
        result = attempt.result
        if is_first or attempt.evidence.sent:
            result = replace(result, reasons=(self.why, *result.reasons))
            return replace(attempt, result=result, missed=False, departed=True)
        left = CaseResult(result.case, Verdict.COULD_NOT_RUN, (self.why,), TARGET_ENDED)
        return replace(attempt, result=left, missed=False)

    async def heard(self, attempt: Attempt, canary: Canary | None, deadline_s: float) -> Attempt:
        """Return the attempt, without a verdict if the target answers nothing at all any more.

        Nothing shows whether a case has blocked it or something has stopped it. Only a case that
        ran alone fails, since nothing else was sent.
        """
        is_unanswered = attempt.missed or attempt.result.symptom == TARGET_GONE
        if not is_unanswered or canary is None or self._session.target.is_called:
            return attempt
        await self.listen(canary, deadline_s)
        if not self.why or self.symptom != TARGET_SILENT:
            return attempt
        result = attempt.result
        if result.case == self._suspect:
            result = replace(result, reasons=(self.why, *result.reasons))
            return replace(attempt, result=result, missed=False, departed=True)
        return replace(left_open(attempt.case, self.why, TARGET_SILENT), evidence=attempt.evidence)

    async def listen(self, canary: Canary, deadline_s: float) -> None:
        """Find out whether the target answers nothing at all; `why` says so then."""
        # A short deadline only hurries the cases: the end of the whole run needs more.
        patience_s = PATIENCE * max(FLOOR_S, deadline_s)
        async with self._lock:
            if not self.why and await self._is_silent(canary, patience_s):
                self._note_silence(patience_s)

    async def _is_silent(self, canary: Canary, patience_s: float) -> bool:
        """Return True if neither a read nor a further connection is answered."""
        # No further connection where a read is answered: the target would offer its store on it.
        return await canary.probe(patience_s) is not None and not await self._is_reached(patience_s)

    async def _is_reached(self, patience_s: float) -> bool:
        """Return False if a further connection is not answered in time."""
        dial = Dial(self._session.new_peer().identity)
        try:
            await (await self._session.target.dial(dial, patience_s)).close()
        except Overdue:
            return False
        except ConnectionError:
            # Refused: the target has ended, or takes no more connections.
            return True
        return True

    def _note_silence(self, patience_s: float) -> None:
        running = list(self._running)
        self._suspect = running[0] if len(running) == 1 else ""
        self.symptom = TARGET_SILENT
        self.why = (
            f"the target answers nothing any more, neither a read nor a further connection within "
            f"{patience_s:g} s, since {_names(running) or 'the calibration'} ran; {ADVICE}"
        )
        self._session.settings.said(self.why)

    def _can_tell(self, attempt: Attempt) -> bool:
        """Return True if the end of the target can be the reason of a failure."""
        ends = attempt.evidence.seen.closed
        is_lost = attempt.result.symptom in LOST_SYMPTOMS | {TARGET_GONE}
        is_lost = is_lost or any(end.code is None and end.fault is None for end in ends)
        is_silent = attempt.missed and self._has_exited
        return attempt.result.verdict is Verdict.FAIL and (is_lost or is_silent)

    @property
    def _has_exited(self) -> bool:
        """True if the process that the suite has started is over."""
        node = self._session.target.node
        return node is not None and node.process.returncode is not None

    async def _notice(self, canary: Canary | None, deadline_s: float) -> bool:
        """Return True if the target has ended: no connection opens, and no open one answers."""
        running = list(self._running)
        refusal = await self._refusal()
        if not refusal or await self._answers(canary, deadline_s):
            return False
        node = self._session.target.node
        how = "" if node is None else await node.how_ended(END_S)
        ended = f"the node ended with {how}" if how else refusal
        self.why = f"{ended} while {_names(running)} ran"
        last = "" if node is None or not how else await node.farewell()
        self._session.settings.said(f"{self.why}; its log ends with {last}" if last else self.why)
        return True

    async def _refusal(self) -> str:
        """Return why no connection opens; an empty text if one does or the target may be slow."""
        target = self._session.target
        if target.is_called:
            return "the target dials no connection any more" if self._has_exited else ""
        further = self._session.new_peer()
        try:
            await (await target.dial(Dial(further.identity))).close()
        except (BindingBroken, Overdue) as exc:
            # A node that has ended is merely silent over QUIC.
            return f"the target takes no connection any more ({exc})" if self._has_exited else ""
        except ConnectionError as exc:
            return f"the target takes no connection any more ({exc})"
        return ""

    async def _answers(self, canary: Canary | None, deadline_s: float) -> bool:
        """Return True if a connection that is still open answers a read."""
        if canary is None:
            return False

        async def is_answered(peer: Peer) -> bool:
            try:
                return await canary.read(deadline_s, peer)
            except (ConnectionError, TimeoutError):
                return False

        return any(await asyncio.gather(*map(is_answered, self._session.live_peers())))


def _names(running: Sequence[str]) -> str:
    """Return the first of these cases, and the number of the others."""
    left = len(running) - NAMES_MAX
    return f"{', '.join(running[:NAMES_MAX])}{f' and {left} more' if left > 0 else ''}"
