"""Evidence of a socket case: what was sent, noted and watched, and how the case ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from meshwire_conformance.explain.field_rows import rows_of, summary
from meshwire_conformance.protocol.automerge_bytes import announces
from meshwire_conformance.protocol.frame_content import after_records
from meshwire_conformance.socket_suite.inbox import Arrival, Subscription, TargetFault
from meshwire_conformance.targets.transport import Closed, Connection, Stream
from meshwire_spec.numbers import NEGENTROPY_KEY, FrameType, SyncMode, collection_of


class CaseFailed(Exception):
    """The target broke the rule of a case.

    `symptom` is the short stable name that ledgers refer to. `missed` is True if something did not
    come in time; such a case is repeated alone before it counts. `suite_late` is True if the target
    gave up waiting for the suite and the suite cannot say that it was in time itself.
    """

    def __init__(
        self,
        symptom: str,
        reason: str,
        *,
        expected: Iterable[str] = (),
        received: Iterable[str] = (),
        missed: bool = False,
    ) -> None:
        super().__init__(symptom, reason)
        self.symptom = symptom
        self.reason = reason
        self.expected = tuple(expected)
        self.received = tuple(received)
        self.missed = missed
        self.suite_late = False


class CouldNotRun(Exception):
    """A prerequisite of a case is missing; nothing is known about the target."""


class NoDial(CouldNotRun):
    """The target did not dial the suite in time; it may be slow, so the case is repeated."""


class NotApplicable(CouldNotRun):
    """The case turned out to need more than the target offers."""


@dataclass(slots=True)
class Watch:
    """Reports every arrival of these types (of any type if none is named) for a key and peer."""

    subscription: Subscription
    peer: str | None
    types: frozenset[int]
    since: int = 0
    excepted: list[Arrival] = field(default_factory=list)
    pushes: Callable[[], int] | None = None
    """Returns how often the whole store has come; as many arrivals do not count."""

    def tripped(self) -> Iterator[Arrival]:
        """Yield every arrival that must not have come."""
        left = 0 if self.pushes is None else self.pushes()
        may_announce = self.pushes is not None
        for arrival in self.subscription.arrivals[self.since :]:
            if self.peer is not None and arrival.peer != self.peer:
                continue
            if (self.types and arrival.type not in self.types) or arrival in self.excepted:
                continue
            if may_announce and is_announcement(arrival):
                # DC-058 permits it at any time after a snapshot; a second one is no announcement.
                may_announce = False
                continue
            left -= 1
            if left < 0:
                yield arrival


def is_announcement(arrival: Arrival) -> bool:
    """Return True if a document that is pushed as snapshots is announced by its heads (DC-058)."""
    if arrival.type != FrameType.DELTA or ":" not in arrival.key:
        return False
    is_full = collection_of(arrival.key).mode is SyncMode.FULL_HISTORY
    return not is_full and announces(arrival.payload)


def arm(subscription: Subscription, peer: str | None, types: frozenset[int]) -> Watch:
    """Return a watch that begins now."""
    return Watch(subscription, peer, types, since=len(subscription.arrivals))


@dataclass(frozen=True, slots=True)
class Claim:
    """Which faults of the target show up in a case (FR-013).

    These are the ones on a connection of its own, or about a key that it has named, to the end of
    the run; and those on a shared connection from fault number `since` up to `until`.
    """

    faults: Sequence[TargetFault]
    since: int
    until: int
    keys: frozenset[str]
    own: frozenset[str]
    shared: frozenset[str]

    def found(self) -> list[TargetFault]:
        """Return these faults in their order."""
        return [
            fault
            for number, fault in enumerate(self.faults)
            if number >= self.since
            and (
                fault.peer in self.own
                or fault.key in self.keys
                or (number < self.until and fault.peer in self.shared)
            )
        ]


FAULTS_TOLD = 8


def bad_frames(faults: Sequence[TargetFault]) -> CaseFailed:
    """Return the failure of a case with these faults of the target; the first is shown in full."""
    told = [fault.line() for fault in faults[:FAULTS_TOLD]]
    return CaseFailed(
        f"bad-frame {faults[0].reason}",
        f"{len(faults)} messages of the target are malformed or have a wrong key",
        expected=("valid frames with the keys of their types",),
        received=(told[0], *rows_of(faults[0].kind, faults[0].data), *told[1:]),
    )


_RUN_KEY = NEGENTROPY_KEY.encode()
_LENGTH = 2


@dataclass(frozen=True, slots=True)
class Half:
    """How the target treated one bidi stream of the suite.

    `code` is that of a refusal, None where it did not refuse; `is_open` is True if the suite has
    finished the stream and the target has not ended it; `has_frame` if bytes came on it that are
    neither records nor messages of a run.
    """

    code: int | None = None
    finished: bool = False
    is_open: bool = False
    has_frame: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What the target did in some part of a run: wrong messages, ends of streams and connections.

    `frames` is the number of its frames that decode, `answers` that of its answers to the canary.
    `asks` is True if the suite has read a document. `has_unended` is True if a stream of the target
    with a whole frame was left without an end, and `ends_its_own` if it has finished any stream.
    """

    faults: tuple[TargetFault, ...] = ()
    halves: tuple[Half, ...] = ()
    closed: tuple[Closed, ...] = ()
    frames: int = 0
    answers: int = 0
    asks: bool = False
    has_unended: bool = False
    ends_its_own: bool = False

    @property
    def codes(self) -> frozenset[int]:
        """Codes of all refusals; a RESET with 0 also follows a RESET or STOP of the suite."""
        return frozenset(half.code for half in self.halves if half.code)

    @property
    def finishes(self) -> bool:
        """True if the target has finished a stream of the suite."""
        return any(half.finished for half in self.halves)

    @property
    def is_silent(self) -> bool:
        """True if nothing came at all."""
        quiet = not (self.faults or self.closed or self.frames or self.answers)
        return quiet and not (self.codes or self.finishes or any(h.has_frame for h in self.halves))


def seen_of(
    faults: Iterable[TargetFault],
    streams: Iterable[Stream],
    connections: Iterable[Connection],
) -> Seen:
    """Return what these faults, bidi streams of the suite, and connections show."""
    ended = (connection.closed for connection in connections)
    return Seen(
        tuple(faults),
        tuple(_half(stream) for stream in streams if stream.ours and not stream.uni),
        tuple(closed for closed in ended if closed is not None and not closed.by_suite),
    )


def _half(stream: Stream) -> Half:
    refusal = stream.stop_code if stream.reset_code is None else stream.reset_code
    rest = after_records(bytes(stream.received))
    return Half(
        None if stream.finished else refusal,
        stream.finished,
        stream.ended_by_suite and not stream.read_over,
        bool(rest) and _RUN_KEY not in rest[: len(_RUN_KEY) + _LENGTH],
    )


def together(parts: Iterable[Seen]) -> Seen:
    """Return everything that was seen in several parts of a run."""
    every = list(parts)
    return Seen(
        tuple(fault for one in every for fault in one.faults),
        tuple(half for one in every for half in one.halves),
        tuple(closed for one in every for closed in one.closed),
        sum(one.frames for one in every),
        sum(one.answers for one in every),
        any(one.asks for one in every),
        any(one.has_unended for one in every),
        any(one.ends_its_own for one in every),
    )


LINES_MAX = 12
"""Greatest number of sendings shown on one line each; of more, the first and last are shown."""
LINES_FIRST = 3
NO_ANSWER = "no-answer"
LOST_SYMPTOMS = frozenset(("connection-lost", "no-connection"))
"""Symptoms of a case without a connection."""
TARGET_GONE = "target-gone"
"""Symptom of a case after which the canary could not be read."""


@dataclass(frozen=True, slots=True)
class Sending:
    """One thing sent: by which peer, on which stream, a short description, and its bytes.

    `kind` is the kind of message that the bytes are, empty if no schema fits. One that only `asks`
    (a read) is not shown field by field if something else was sent. Without bytes it is the end of
    a stream, a stop, or too large to keep.
    """

    peer: str
    stream: int | None
    what: str
    data: bytes = b""
    kind: str = ""
    asks: bool = False
    at_s: float = field(default_factory=time.monotonic, compare=False)
    """When it was sent, for the timeline."""

    @property
    def place(self) -> str:
        """Peer and stream of the sending."""
        peer = f"peer {self.peer}"
        return peer if self.stream is None else f"{peer}, stream {self.stream}"

    def line(self) -> str:
        """Return the sending as one line."""
        text = f"{self.place}: {self.what}"
        if not self.data:
            return text
        said = "" if self.asks else summary(self.kind, self.data)
        return f"{text}, {len(self.data)} bytes" + (f": {said}" if said else "")


@dataclass(slots=True)
class Evidence:
    """What is reported of a case beside its verdict."""

    sent: list[Sending] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unbound: bool = False
    watches: list[Watch] = field(default_factory=list)
    claim: Claim | None = None
    seen: Seen = Seen()
    arrivals: list[Arrival] = field(default_factory=list)
    """The arrivals for its documents."""
    begun_s: float = field(default_factory=time.monotonic)
    suite_late: bool = False
    """True if the machine kept the suite from running meanwhile."""
    was_slow: bool = False
    """True if what the case waited for was still on its way at a deadline, so that it went on."""


def sent_lines(sent: Sequence[Sending], symptom: str = "") -> tuple[str, ...]:
    """Return the lines that show what the case sent.

    The last stimulus is shown field by field, every earlier sending on one line. If the symptom is
    a missing answer, a request is a stimulus too.
    """
    full = _stimulus(sent, asked=symptom == NO_ANSWER)
    before = list(_lines(sent[:full]))
    if len(before) > LINES_MAX:
        left_out = len(before) - LINES_MAX
        last = before[left_out + LINES_FIRST :]
        before = [*before[:LINES_FIRST], f"... {left_out} more lines", *last]
    if full == len(sent):
        return tuple(before)
    shown = sent[full]
    head = f"{shown.place}: {shown.what}, {len(shown.data)} bytes"
    after = list(_lines(sent[full + 1 :]))[-LINES_MAX:]
    return (*before, head, *rows_of(shown.kind, shown.data), *after)


def _stimulus(sent: Sequence[Sending], *, asked: bool) -> int:
    """Return the index of the last sending that is not a request, else of the last request."""
    places = [number for number, one in enumerate(sent) if one.data]
    stimuli = [number for number in places if asked or not sent[number].asks]
    return (stimuli or places or [len(sent)])[-1]


def _lines(sent: Sequence[Sending]) -> Iterator[str]:
    """Yield one line per sending; one without bytes joins the previous line of its stream."""
    line = place = ""
    for one in sent:
        if line and not one.data and one.place == place:
            line += f", {one.what}"
            continue
        if line:
            yield line
        line, place = one.line(), one.place
    if line:
        yield line
