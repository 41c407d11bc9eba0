"""Sendings are shown in order: the last stimulus in full, the others on one line each."""

import pytest

from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.attempts import Attempt, watched
from meshwire_conformance.socket_suite.evidence import (
    LINES_MAX,
    NO_ANSWER,
    Claim,
    Evidence,
    Sending,
    arm,
    sent_lines,
)
from meshwire_conformance.socket_suite.inbox import Arrival, Subscription, TargetFault
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_spec.numbers import FrameType

READ = bytes.fromhex("0003613a62 00 0000000a 42000001000000020102")
SNAPSHOT = bytes.fromhex("0003613a62 01 00000001 2a")


def snapshot(stream: int = 4) -> Sending:
    """A frame that changes something."""
    return Sending("A", stream, "snapshot", SNAPSHOT, "stream_frame")


def read(stream: int = 8) -> Sending:
    """A frame that asks."""
    return Sending("A", stream, "read of a:b", READ, "stream_frame", asks=True)


def test_the_last_stimulus_is_shown_field_by_field() -> None:
    """Not the question that it repeats, which is a line."""
    lines = sent_lines([snapshot(0), Sending("A", 0, "FIN"), snapshot(4), read()])

    assert lines == (
        'peer A, stream 0: snapshot, 11 bytes: key = "a:b", FIN',
        "peer A, stream 4: snapshot, 11 bytes",
        "0000  00 03                      key.length = 3",
        '0002  61 3a 62                   key = "a:b"',
        "0005  01                         type = 1 (snapshot)",
        "0006  00 00 00 01                payload.length = 1",
        "000a  2a                         payload, 1 bytes",
        "peer A, stream 8: read of a:b, 20 bytes",
    )


def test_a_question_that_was_not_answered_is_the_stimulus() -> None:
    """Its bytes are what matters then."""
    lines = sent_lines([snapshot(), read()], NO_ANSWER)

    assert lines[1] == "peer A, stream 8: read of a:b, 20 bytes"
    assert lines[4].endswith("type = 0 (delta)")


def test_a_question_alone_is_shown_in_full() -> None:
    """Nothing else was sent."""
    assert sent_lines([read()])[3].endswith("type = 0 (delta)")


def test_many_things_sent_are_told_shortly() -> None:
    """The first, the last, and how many were between them."""
    lines = sent_lines([snapshot(number * 4) for number in range(100)])

    assert len(lines) == LINES_MAX + 1 + 6
    assert lines[3] == "... 87 more lines"


def test_nothing_sent_and_things_without_bytes_have_no_dump() -> None:
    """An attack of many bytes is shown by its size."""
    assert sent_lines([]) == ()
    assert sent_lines([Sending("A", 4, "a tombstone batch of 20000, 1 bytes")]) == (
        "peer A, stream 4: a tombstone batch of 20000, 1 bytes",
    )


def test_bytes_of_no_kind_are_dumped() -> None:
    """The middle of a stream is no message."""
    lines = sent_lines([Sending("A", 4, "the other half", b"\x2a\x2b")])

    assert lines[1].startswith("0000  2a 2b")


def fault(peer: str, key: str | None = None) -> TargetFault:
    """A frame of the target that must not come, on a connection and perhaps about a key."""
    return TargetFault(peer, 5, "unknown-type", "a frame of type 0x06", SNAPSHOT, key=key)


BAD = "bad-frame unknown-type"


@pytest.mark.parametrize(
    ("faults", "shared", "shows"),
    [
        ([fault("own/1")], "", BAD),
        ([fault("C", "a:b")], "", BAD),
        ([fault("A")], "A", BAD),
        ([fault("A"), fault("A")], "A", BAD),
        ([fault("A")], "", ""),
        ([fault("B")], "A", ""),
        ([fault("C", "a:c"), fault("other/1")], "A", ""),
    ],
)
def test_a_bad_frame_fails_the_case_in_which_it_shows_up(
    faults: list[TargetFault], shared: str, shows: str
) -> None:
    """FR-013: by its connection, by its key, or by the time on a shared connection."""
    before = [fault("own/1"), fault("A"), fault("C", "a:b")]
    every = [*before, *faults]
    claim = Claim(
        every, len(before), len(every), frozenset(["a:b"]), frozenset(["own/1"]), frozenset(shared)
    )
    case = load_catalogue().by_id["MW-5001"]
    evidence = Evidence(claim=claim)
    result = watched(Attempt(case, CaseResult(case.id, Verdict.PASS), evidence))

    assert (result.verdict is Verdict.FAIL) == bool(shows)
    assert result.symptom == shows


def test_a_fault_that_comes_after_the_case_counts_for_what_it_owns() -> None:
    """A late frame on a shared connection belongs to nobody, one about its key to the case."""
    every: list[TargetFault] = []
    claim = Claim(every, 0, 0, frozenset(["a:b"]), frozenset(), frozenset("A"))
    every += [fault("A"), fault("A", "a:b")]

    assert claim.found() == every[1:]


ANNOUNCEMENT = bytes.fromhex("4201" + "bd" * 32 + "00010006020a072e4fd000020102")
"""A sync message of the node with heads and no changes."""
WITH_CHANGE = bytes.fromhex("4201" + "bd" * 32 + "00010001aa")


@pytest.mark.parametrize(
    ("payloads", "key", "pushes", "count"),
    [
        ([ANNOUNCEMENT], "tracks:a", True, 0),
        ([ANNOUNCEMENT, ANNOUNCEMENT], "tracks:a", True, 1),
        ([WITH_CHANGE], "tracks:a", True, 1),
        ([ANNOUNCEMENT[:-6]], "tracks:a", True, 1),
        ([b"\x42\x00\x00\x00\x00"], "tracks:a", True, 1),
        ([ANNOUNCEMENT], "notes:a", True, 1),
        ([ANNOUNCEMENT], "tracks:a", False, 1),
    ],
)
def test_one_announcement_of_a_pushed_document_trips_no_watch(
    payloads: list[bytes], key: str, count: int, *, pushes: bool
) -> None:
    """DC-058 permits it; a second one, changes, or another collection do count."""
    subscription = Subscription(key)
    watch = arm(subscription, None, frozenset())
    watch.pushes = (lambda: 0) if pushes else None
    for number, payload in enumerate(payloads):
        delta = int(FrameType.DELTA)
        subscription.arrivals.append(Arrival("B", 4, number, delta, key, payload, delta))

    assert len(list(watch.tripped())) == count
