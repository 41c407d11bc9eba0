"""Causes of failed socket cases: named only where the evidence of a run shows them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshwire_conformance.contracts import Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.attempts import Attempt, with_control
from meshwire_conformance.socket_suite.calibration import CANARY_DOCUMENT, PROBE, Canary
from meshwire_conformance.socket_suite.causes import seen_before, with_causes
from meshwire_conformance.socket_suite.evidence import Evidence, Half, Seen
from meshwire_conformance.socket_suite.inbox import Inbox, TargetFault
from meshwire_conformance.socket_suite.peers import Session
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.targets.facts import Facts
from meshwire_conformance.targets.lab_records import PeerFault
from meshwire_conformance.targets.transport import Address, Closed
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_spec.codec import Message
from meshwire_spec.numbers import REASONS, FrameType

CASES = [case.id for case in load_catalogue().cases if case.kind == "socket"]
REFUSED, OTHER = Half(code=REASONS["length-limit"].code), Half(code=REASONS["internal"].code)
RELEASED = Half(code=0)
"""What follows a RESET or STOP of the suite."""
FINISHED, OPEN = Half(finished=True), Half(is_open=True)
ANSWERED = Seen(frames=20, answers=20, halves=(FINISHED,))
"""What is seen before the cases of a target that works."""
UNANSWERED = Seen(halves=(OPEN,))
"""What is seen before the cases of a silent target."""


def fault(data: str, reason: str = "length-limit") -> TargetFault:
    """A wrong frame of the target."""
    return TargetFault("A", 1, reason, "wrong", bytes.fromhex(data))


PAYLOAD = fault("0003 613a62 00 0b000000 4200000100000000000000")
KEY = fault("0300 613a62 00 0000000b 4200000100000000000000", "truncated")
CUT = fault("0003 613a62 00 0000000b 42", "truncated")
NO_ANSWER, NO_FIN, LOST = "no-answer", "no-fin", "connection-lost"
MISSES = (NO_ANSWER, NO_FIN, "no-refusal", "target-gone", "not-closed")


def causes(
    *cases: tuple[str, Seen], before: Seen = ANSWERED, reason: str = "why"
) -> list[tuple[str, str]]:
    """The symptom and cause of each case; one without a symptom has passed."""
    attempts = {}
    for name, (symptom, seen) in zip(CASES, cases, strict=False):
        case = load_catalogue().by_id[name]
        verdict = Verdict.FAIL if symptom else Verdict.PASS
        result = CaseResult(name, verdict, (reason,), symptom)
        evidence = Evidence(seen=replace(seen, asks=symptom == NO_ANSWER))
        attempts[name] = Attempt(case, result, evidence, missed=symptom in MISSES)
    results = {name: attempt.result for name, attempt in attempts.items()}
    found = with_causes(results, attempts, before)
    assert list(found) == list(results)
    return [(one.symptom, one.cause) for one in found.values()]


def first_words(found: list[tuple[str, str]]) -> list[str]:
    """The causes, each cut after a few words."""
    return [" ".join(cause.split()[:6]) for _, cause in found]


SWAPPED = "`payload.length` in frames of the target"
SILENT = "no read is answered, and no"
UNREAD = "no read is answered (DC-001)"
UNFINISHED = "no stream of the suite is"
IN_PLACE = "answers come on the stream of"
REFUSES = "each stream of the suite is"
ENDLESS = "no stream of the target is"
CLOSES = "the target closed the connection with"
BINDING = "the target breaks LB-025 of the"
CLOSED = Seen(closed=(Closed(REASONS["internal"].code, ""),))
BAD_FLAG = Seen(closed=(Closed(None, "", fault=PeerFault("bad-flag", "flag 2", "LB-025")),))


def closes(*cases: tuple[str, Seen]) -> list[tuple[str, Seen]]:
    """These cases, and one that passes since its connection is closed."""
    return [*cases, ("", CLOSED)]


@pytest.mark.parametrize(
    ("cases", "before", "named"),
    [
        # The frames of the target are wrong.
        ([(NO_ANSWER, Seen(faults=(PAYLOAD,))), ("bad-frame x", Seen(faults=(PAYLOAD,)))],
         ANSWERED, [SWAPPED, SWAPPED]),
        ([(NO_FIN, Seen(faults=(CUT, PAYLOAD)))] * 2, ANSWERED, [SWAPPED] * 2),
        ([("accepted", Seen(faults=(PAYLOAD,)))] * 2, ANSWERED, ["", ""]),
        ([(NO_ANSWER, Seen(faults=(KEY,)))] * 2, ANSWERED,
         ["`key.length` in frames of the target"] * 2),
        ([(NO_ANSWER, Seen(faults=(CUT,)))] * 2, ANSWERED,
         ["messages of the target are malformed:"] * 2),
        # Bytes in place of the answers to the calibration stand in place of all answers.
        ([(NO_ANSWER, Seen()), (NO_FIN, Seen())],
         Seen(faults=(PAYLOAD,), halves=(FINISHED,)), [SWAPPED, ""]),
        ([("target-gone", Seen()), ("target-gone", Seen(halves=(FINISHED,)))],
         Seen(faults=(PAYLOAD,)), [SWAPPED, SWAPPED]),
        ([("target-gone", Seen())] * 2, ANSWERED, ["", ""]),
        # Nothing comes, or a part of it.
        ([(symptom, Seen(halves=(OPEN,))) for symptom in MISSES], UNANSWERED, [SILENT] * 5),
        ([("not-closed", Seen())] * 2, UNANSWERED, ["", ""]),
        (closes((NO_ANSWER, Seen(halves=(OPEN,))), (NO_FIN, Seen(halves=(OPEN,)))), UNANSWERED,
         [SILENT, SILENT, ""]),
        ([(NO_ANSWER, Seen(halves=(FINISHED,)))] * 2, Seen(halves=(FINISHED,)), [UNREAD] * 2),
        ([(NO_FIN, Seen(halves=(OPEN,)))] * 2, Seen(frames=9, answers=9, halves=(OPEN,)),
         [UNFINISHED] * 2),
        ([(NO_ANSWER, Seen())] * 2, ANSWERED, ["", ""]),
        ([(NO_FIN, Seen(halves=(OPEN,)))] * 2, ANSWERED, ["", ""]),
        # The target has used up its credit with streams that it does not finish.
        ([(NO_ANSWER, Seen(has_unended=True))] * 2, ANSWERED, [ENDLESS] * 2),
        ([(NO_ANSWER, Seen(has_unended=True))] * 2, replace(ANSWERED, ends_its_own=True),
         ["", ""]),
        ([("accepted", Seen(has_unended=True))] * 2, ANSWERED, ["", ""]),
        # It comes at the wrong place.
        ([(NO_ANSWER, Seen(halves=(Half(finished=True, has_frame=True),)))] * 2,
         Seen(halves=(FINISHED,)), [IN_PLACE] * 2),
        # Streams and connections end.
        ([(NO_ANSWER, Seen(halves=(REFUSED,)))] * 2, Seen(halves=(REFUSED,)), [REFUSES] * 2),
        ([(NO_ANSWER, Seen(halves=(REFUSED,)))] * 2, ANSWERED, ["", ""]),
        ([(NO_ANSWER, Seen(halves=(REFUSED, RELEASED)))] * 2, Seen(halves=(REFUSED,)),
         [REFUSES] * 2),
        ([(NO_ANSWER, Seen(halves=(RELEASED,))), (NO_FIN, Seen(halves=(OPEN,)))], UNANSWERED,
         [SILENT] * 2),
        ([(NO_FIN, Seen(halves=(REFUSED,))), (NO_FIN, Seen(halves=(OTHER,)))],
         Seen(frames=1, answers=1, halves=(REFUSED,)), ["", ""]),
        ([(LOST, CLOSED)] * 2, ANSWERED, [CLOSES] * 2),
        ([(LOST, BAD_FLAG)] * 2, ANSWERED, [BINDING] * 2),
        ([("no-connection", Seen())] * 2, ANSWERED, ["why"] * 2),
        # Evidence of a single case names nothing; a first connection that shows the same does.
        ([(LOST, CLOSED), ("accepted", Seen())], ANSWERED, ["", ""]),
        ([(NO_ANSWER, Seen(faults=(PAYLOAD,)))], ANSWERED, [""]),
        ([(NO_ANSWER, Seen(faults=(PAYLOAD,)))], Seen(faults=(PAYLOAD,)), [SWAPPED]),
    ],
)  # fmt: skip
def test_a_cause_is_named_where_the_run_shows_it(
    cases: list[tuple[str, Seen]], before: Seen, named: list[str]
) -> None:
    """The evidence of the case itself, and nothing in the run against it."""
    assert first_words(causes(*cases, before=before)) == named


def test_an_offer_to_another_peer_answers_no_read() -> None:
    """Only frames on the connection that reads the canary are counted."""
    target = Target(Address("tcp", "", 0), Facts(), dialler=None, formation=None)  # type: ignore[arg-type]
    session = Session(target, Settings(), "n", Inbox())
    canary = Canary(session, CANARY_DOCUMENT)
    fields = {"key": canary.key, "type": int(FrameType.SNAPSHOT), "payload": CANARY_DOCUMENT}
    found = []
    for peer in ("A", PROBE):
        session.inbox.take(peer, 1, Message("stream_frame", fields))
        found.append(seen_before(session, canary).answers)

    assert found == [0, 1]


def test_a_case_that_passed_speaks_against_a_cause() -> None:
    """One stream that was finished, in whatever case."""
    silent = (NO_FIN, Seen(halves=(OPEN,)))
    before = Seen(frames=9, answers=9, halves=(OPEN,))

    still_open, finished = ("", Seen(halves=(OPEN,))), ("", Seen(halves=(FINISHED,)))
    without = causes(silent, silent, still_open, before=before)
    against = causes(silent, silent, finished, before=before)

    assert first_words(without) == [UNFINISHED, UNFINISHED, ""]
    assert first_words(against) == ["", "", ""]


def test_a_negative_waits_for_the_cause_of_its_control() -> None:
    """The report counts it with the cause."""
    case = next(case for case in load_catalogue().cases if case.kind == "socket" and case.control)
    control = CaseResult(case.control or "", Verdict.FAIL, symptom=NO_FIN, cause="a cause")
    results = {case.id: CaseResult(case.id, Verdict.PASS), control.case: control}

    assert with_control(case, results).cause == "a cause"


def test_the_end_of_the_target_is_one_cause() -> None:
    """It goes before what each of the cases saw of it, as the end of a connection."""
    case = load_catalogue().by_id[CASES[0]]
    names = CASES[:2]
    attempts = {
        name: Attempt(
            case,
            CaseResult(name, Verdict.FAIL, ("the node ended with SIGKILL", "lost"), LOST),
            Evidence(seen=CLOSED),
            departed=True,
        )
        for name in names
    }
    results = {name: attempt.result for name, attempt in attempts.items()}
    found = with_causes(results, attempts, ANSWERED)

    assert [found[name].cause for name in names] == ["the node ended with SIGKILL"] * 2
