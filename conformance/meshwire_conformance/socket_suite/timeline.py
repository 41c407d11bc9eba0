"""The timeline of a case: the messages sent and the frames received, in order, with their bytes."""

from collections.abc import Iterable, Iterator

from meshwire_conformance.explain.field_rows import rows_of
from meshwire_conformance.socket_suite.evidence import Evidence, Sending
from meshwire_conformance.socket_suite.inbox import Arrival, TargetFault
from meshwire_conformance.socket_suite.shortfall import arrival_lines, line_of
from meshwire_conformance.verdicts import Moment

FIRST_MAX, LAST_MAX = 24, 16
"""Moments that are kept of a long case, from its beginning and from its end."""
ROWS_MAX = 40
"""Rows of one message."""
BYTES_MAX = 4096
"""Bytes of a message that is shown field by field; of a longer one its line says the size."""
SENT, RECEIVED, FAULT = "sent", "received", "malformed"


def timeline_of(evidence: Evidence) -> tuple[Moment, ...]:
    """Return the moments of a case; times are those since its begin and judge nothing.

    The frames received are those for its documents; malformed messages are those that count for it.
    """
    faults = evidence.claim.found() if evidence.claim is not None else ()
    every = sorted(
        (*_sent(evidence.sent), *_received(evidence.arrivals), *_malformed(faults)),
        key=lambda moment: moment.at_s,
    )
    shown = [_since(moment, evidence.begun_s) for moment in every]
    if len(shown) <= FIRST_MAX + LAST_MAX:
        return tuple(shown)
    left = len(shown) - FIRST_MAX - LAST_MAX
    between = Moment(shown[FIRST_MAX].at_s, "left out", f"{left} more messages")
    return (*shown[:FIRST_MAX], between, *shown[-LAST_MAX:])


def _since(moment: Moment, begun_s: float) -> Moment:
    return Moment(max(0.0, moment.at_s - begun_s), moment.way, moment.line, moment.rows)


def _sent(sent: Iterable[Sending]) -> Iterator[Moment]:
    for one in sent:
        rows = rows_of(one.kind, one.data) if 0 < len(one.data) <= BYTES_MAX else ()
        yield Moment(one.at_s, SENT, one.line(), _capped(rows))


def _received(arrivals: Iterable[Arrival]) -> Iterator[Moment]:
    for one in arrivals:
        line, *rows = arrival_lines(one) if len(one.payload) <= BYTES_MAX else (line_of(one),)
        yield Moment(one.at_s, RECEIVED, line, _capped(tuple(rows)))


def _malformed(faults: Iterable[TargetFault]) -> Iterator[Moment]:
    for one in faults:
        rows = rows_of(one.kind, one.data) if 0 < len(one.data) <= BYTES_MAX else ()
        yield Moment(one.at_s, FAULT, one.line(), _capped(rows))


def _capped(rows: tuple[str, ...]) -> tuple[str, ...]:
    left = len(rows) - ROWS_MAX
    return rows if left <= 0 else (*rows[:ROWS_MAX], f"... {left} more rows")
