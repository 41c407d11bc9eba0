"""Causes of failed socket cases: what a target did throughout a run, as far as it was recorded.

Nothing is guessed: a cause is named for a case only if the evidence of that case shows it, and one
that says "each" or "no" only if nothing in the whole run contradicts it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from meshwire_conformance.socket_suite.attempts import Attempt
from meshwire_conformance.socket_suite.calibration import PROBE, Canary
from meshwire_conformance.socket_suite.evidence import (
    LOST_SYMPTOMS,
    NO_ANSWER,
    TARGET_GONE,
    Seen,
    seen_of,
    together,
)
from meshwire_conformance.socket_suite.first_contact import PEER as CONTACT
from meshwire_conformance.socket_suite.first_contact import swapped_lengths
from meshwire_conformance.socket_suite.meanwhile import code_name, connection_end
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.verdicts import CaseResult, Verdict

SUPPORT = 2
"""Failures that must show a cause; the first connection and the calibration count as one."""
BAD_FRAME = "bad-frame"
"""How the symptom of a case begins that fails for a wrong message of the target."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """A failed case: its result, what the target did in it, and whether something was late.

    `departed` is True if the target ended for good while the case ran.
    """

    result: CaseResult
    seen: Seen
    missed: bool
    departed: bool = False

    @property
    def is_unanswered(self) -> bool:
        """True if the case fails for a read without an answer, its own or that of a probe."""
        symptom = self.result.symptom
        return symptom == TARGET_GONE or (self.seen.asks and symptom == NO_ANSWER)

    @property
    def is_for_frames(self) -> bool:
        """True if wrong messages of the target can explain the failure."""
        return self.missed or self.result.symptom.startswith(BAD_FRAME)


def _departed(failed: _Failed) -> Iterator[str]:
    yield from failed.result.reasons[: failed.departed]


def _endless(failed: _Failed) -> Iterator[str]:
    if failed.missed and failed.seen.has_unended:
        yield "no stream of the target is finished, until it may open no further one (TR-004)"


def _swapped(failed: _Failed) -> Iterator[str]:
    for fault in failed.seen.faults if failed.is_for_frames else ():
        found = swapped_lengths(fault.data) if fault.kind == "stream_frame" else ()
        if found:
            names = " and ".join(f"`{name}`" for name, _ in found)
            yield f"{names} in frames of the target is in the wrong byte order (FR-001)"


def _malformed(failed: _Failed) -> Iterator[str]:
    for fault in failed.seen.faults if failed.is_for_frames else ():
        yield f"messages of the target are malformed: {fault.kind}, {fault.reason}"


def _closed(failed: _Failed) -> Iterator[str]:
    for closed in failed.seen.closed if failed.result.symptom in LOST_SYMPTOMS else ():
        fault = closed.fault
        if fault is None:
            yield connection_end(closed).reason
        else:
            rule = f"{fault.rule} of the lab binding" if fault.rule else "the lab binding"
            yield f"the target breaks {rule}: {fault.reason}"


def _lost(failed: _Failed) -> Iterator[str]:
    if failed.result.symptom in LOST_SYMPTOMS and not failed.seen.closed:
        yield from failed.result.reasons[:1]


def _answered_in_place(failed: _Failed) -> Iterator[str]:
    if any(half.has_frame for half in failed.seen.halves):
        yield "answers come on the stream of the question, not on a stream of their own (TR-008)"


def _refused(failed: _Failed) -> Iterator[str]:
    for code in sorted(failed.seen.codes):
        yield f"each stream of the suite is refused with {code_name(code)}"


def _silent(failed: _Failed) -> Iterator[str]:
    is_left = failed.missed and failed.seen.halves and failed.seen.is_silent
    if failed.is_unanswered or is_left:
        yield "no read is answered, and no stream of the suite is finished (DC-001, TR-020)"


def _unfinished(failed: _Failed) -> Iterator[str]:
    if failed.missed and any(half.is_open for half in failed.seen.halves):
        yield "no stream of the suite is finished by the target (TR-020)"


def _unanswered(failed: _Failed) -> Iterator[str]:
    if failed.is_unanswered:
        yield "no read is answered (DC-001)"


@dataclass(frozen=True, slots=True)
class _Cause:
    """A row of the table.

    `shown_by` yields the sentences for which a failed case is evidence, and `is_contradicted`
    returns True if what was seen in the whole run speaks against them.
    """

    shown_by: Callable[[_Failed], Iterator[str]]
    is_contradicted: Callable[[Seen], bool] = lambda _seen: False


CAUSES: Sequence[_Cause] = (
    _Cause(_departed),
    _Cause(_swapped),
    _Cause(_malformed),
    _Cause(_endless, lambda seen: seen.ends_its_own),
    _Cause(_closed),
    _Cause(_lost),
    _Cause(_answered_in_place),
    _Cause(_refused, lambda seen: seen.finishes or len(seen.codes) > 1),
    _Cause(_silent, lambda seen: seen.answers > 0 or seen.finishes),
    _Cause(_unanswered, lambda seen: seen.answers > 0),
    _Cause(_unfinished, lambda seen: seen.finishes),
)
"""The causes that are looked for, a specific one before the general ones that follow from it."""


def seen_before(session: Session, canary: Canary | None) -> Seen:
    """Return what was seen on the first connection and on the one that reads the canary."""
    names = (CONTACT, PROBE)
    connections = [one for name in names if (one := session.peer(name).last) is not None]
    # The first stream of a connection to a formation is that of the handshake.
    first = 0 if session.target.formation is None else 1
    streams = [
        stream
        for connection in connections
        for stream in list(connection.streams.values())
        if stream.number >= first
    ]
    faults = [one for one in session.inbox.faults if one.peer in names]
    answers = 0 if canary is None else canary.answers
    found = seen_of(faults, streams, connections)
    counts = session.inbox.counts
    ends = counts.finished > 0
    return replace(found, frames=counts.frames, answers=answers, ends_its_own=ends)


def with_causes(
    results: Mapping[str, CaseResult], attempts: Mapping[str, Attempt], before: Seen
) -> dict[str, CaseResult]:
    """Return the results with the causes of those that failed.

    `before` is what was seen on the first connection and in the calibration. If no read was
    answered there, it is evidence for every read without an answer.
    """
    failed = {
        name: _Failed(
            result,
            attempts[name].evidence.seen,
            attempts[name].missed,
            attempts[name].departed,
        )
        for name, result in results.items()
        if result.verdict is Verdict.FAIL
    }
    if not failed:
        return dict(results)
    whole = together([before, *(one.evidence.seen for one in attempts.values())])
    causes = [cause for cause in CAUSES if not cause.is_contradicted(whole)]
    hopeless = before if before.answers == 0 else Seen()
    shown = {name: _shown(one, causes, hopeless) for name, one in failed.items()}
    support = Counter(sentence for sentences in shown.values() for sentence in sentences)
    support.update(_shown(_in_place_of_answers(before), causes, Seen()))
    return {
        name: replace(
            result,
            cause=next((one for one in shown.get(name, ()) if support[one] >= SUPPORT), ""),
        )
        for name, result in results.items()
    }


def _in_place_of_answers(before: Seen) -> _Failed:
    """Return a read without an answer, as the calibration is if it fails."""
    result = CaseResult("", Verdict.FAIL, symptom=NO_ANSWER)
    return _Failed(result, replace(before, asks=before.answers == 0), missed=before.answers == 0)


def _shown(failed: _Failed, causes: Iterable[_Cause], hopeless: Seen) -> list[str]:
    """Return what a failed case is evidence for, each sentence once, in the order of the table."""
    seen = failed.seen
    if failed.is_unanswered:
        seen = replace(together([seen, hopeless]), asks=True)
    evidence = replace(failed, seen=seen)
    return list(dict.fromkeys(one for cause in causes for one in cause.shown_by(evidence)))
