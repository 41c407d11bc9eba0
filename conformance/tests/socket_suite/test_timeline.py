"""The timeline of a case: both ways in one order, with the bytes of each message."""

from dataclasses import replace

from meshwire_conformance.socket_suite.evidence import Evidence, Sending
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_conformance.socket_suite.timeline import (
    BYTES_MAX,
    FIRST_MAX,
    LAST_MAX,
    ROWS_MAX,
    timeline_of,
)
from meshwire_spec.numbers import FrameType

HEARTBEAT = bytes.fromhex("010000018bcfe56801")
BEGUN_S = 100.0


def sending(at_s: float, data: bytes = HEARTBEAT) -> Sending:
    """Something that the suite has sent."""
    return replace(Sending("A", 2, "heartbeat", data, "heartbeat"), at_s=at_s)


def arrival(at_s: float, payload: bytes = b"\x2a\x2b") -> Arrival:
    """Something that the target has sent."""
    kind = FrameType.SNAPSHOT
    return replace(Arrival("A", 5, 1, kind, "notes:n1", payload, kind), at_s=at_s)


def test_what_was_sent_and_what_came_are_in_one_order() -> None:
    """Each says which way, since when the case runs, what it is, and its fields."""
    evidence = Evidence(
        sent=[sending(101.5), sending(100.25)], arrivals=[arrival(100.75)], begun_s=BEGUN_S
    )
    found = timeline_of(evidence)

    assert [(one.at_s, one.way) for one in found] == [
        (0.25, "sent"),
        (0.75, "received"),
        (1.5, "sent"),
    ]
    assert "peer A, stream 2: heartbeat" in found[0].line
    assert any("sent_at = 1700000000001" in row for row in found[0].rows)
    assert "snapshot for notes:n1" in found[1].line
    assert any('key = "notes:n1"' in row for row in found[1].rows)


def test_a_long_case_keeps_its_begin_and_its_end() -> None:
    """What is left out is counted; a message of many bytes has its line alone."""
    many = [sending(BEGUN_S + number) for number in range(FIRST_MAX + LAST_MAX + 3)]
    found = timeline_of(Evidence(sent=many, begun_s=BEGUN_S))
    large = timeline_of(
        Evidence(
            sent=[sending(BEGUN_S, bytes(BYTES_MAX + 1))],
            arrivals=[arrival(BEGUN_S, bytes(BYTES_MAX + 1)), arrival(BEGUN_S, bytes(BYTES_MAX))],
            begun_s=BEGUN_S,
        )
    )

    assert len(found) == FIRST_MAX + 1 + LAST_MAX
    assert (found[FIRST_MAX].way, found[FIRST_MAX].line) == ("left out", "3 more messages")
    assert found[-1].at_s == len(many) - 1
    assert [bool(one.rows) for one in large] == [False, False, True]
    assert "snapshot for notes:n1" in large[1].line
    assert all(len(one.rows) <= ROWS_MAX + 1 for one in large)
