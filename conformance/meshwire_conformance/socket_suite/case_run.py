"""One run of one socket case: what has to come of what it sends, and the evidence of both.

Transcripts and Python cases use the same operations. Each operation either succeeds or raises
`CaseFailed`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.explain.field_rows import rows_of
from meshwire_conformance.protocol.frame_content import after_records
from meshwire_conformance.socket_suite.case_streams import CaseStreams
from meshwire_conformance.socket_suite.composing import type_number
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.evidence import (
    CaseFailed,
    Claim,
    CouldNotRun,
    Seen,
    Watch,
    arm,
    seen_of,
)
from meshwire_conformance.socket_suite.expecting import (
    Expectation,
    Mismatches,
    nothing_fits,
)
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_conformance.socket_suite.meanwhile import came_meanwhile, code_name
from meshwire_conformance.socket_suite.punctuality import (
    FRAME_STALL,
    HANDSHAKE_TIMEOUT,
    has_been_rejected,
    has_stalled,
    has_timed_out,
    may_have_timed_out,
    was_late_after_result,
    was_late_in_frame,
    was_late_in_handshake,
)
from meshwire_conformance.socket_suite.refusing import not_closed, not_refused, refusal_is_whole
from meshwire_conformance.targets.transport import Connection, Stream
from meshwire_spec.numbers import REASONS

REJECTED = REASONS["authentication-failed"].code
"""Code with which a target closes a connection whose proof was wrong."""
_REPEATS = 2
"""Times that a read is sent before its answer counts as missing."""


@dataclass(eq=False, repr=False)
class CaseRun(CaseStreams):
    """One attempt at one case."""

    marks: dict[tuple[str, str], int] = field(default_factory=dict, init=False)
    """Number of arrivals that the last `expect` consumed, by key and connection."""
    nonces: list[bytes] = field(default_factory=list, init=False)
    """Nonces of the challenges received; they must differ."""
    _judged: list[Stream | Connection] = field(default_factory=list, init=False)
    """Streams and connections about whose ending by a deadline the case is."""
    _pauses_s: dict[Stream, float] = field(default_factory=dict, init=False)
    """How long the suite had paused on each stream before it waited for the target."""

    # --- endings ----------------------------------------------------------------------------

    async def barrier(self, on: str = "A", name: str = "", *, patience: float = 1.0) -> None:
        """Finish a stream and wait until the target confirms that all frames on it took effect."""
        await self.wait_finished(await self.finish(on, name), patience)

    async def finish(self, on: str = "A", name: str = "") -> Stream:
        """Finish the suite's half of a stream and return the stream."""
        stream = await self.stream(on, name)
        self.forget(on, name)
        await stream.finish()
        self.ended(stream, "FIN", on)
        return stream

    async def wait_finished(self, stream: Stream, patience: float = 1.0) -> None:
        """Wait for FIN on the target's half of a stream that the suite has finished."""
        self._begin_wait()
        await stream.wait_for(lambda: stream.read_over, self.deadline_s * patience)
        self.check_answering_half(stream)
        if stream.finished:
            if stream.stop_code and self.strict:
                raise CaseFailed(
                    "refused", f"the stream was stopped: {code_name(stream.stop_code)}"
                )
            return
        if stream.reset_code is not None:
            raise CaseFailed(
                "refused",
                f"the stream was refused: {code_name(stream.reset_code)}",
                expected=("FIN, when every frame has taken effect",),
                received=(f"RESET with {code_name(stream.reset_code)}",),
            )
        self.check_connection(stream.connection)
        if self.strict:
            raise CaseFailed(
                "no-fin",
                "the target did not finish its half of the stream",
                expected=("FIN, when every frame has taken effect",),
                received=("nothing within the deadline",),
                missed=True,
            )
        self.note("no FIN came: the barrier is unbound")

    def check_answering_half(self, stream: Stream) -> None:
        """Fail if the answering half holds anything but records (BT-035)."""
        rest = after_records(bytes(stream.received))
        if rest:
            raise CaseFailed(
                "answering-half",
                "bytes that are no record came on the answering half",
                expected=("records, and nothing else",),
                received=rows_of("channel_record", rest),
            )

    def was_rejected(self, on: str) -> bool:
        """Return True if the target has closed a connection since its proof was wrong."""
        last = self.peer(on).last
        closed = None if last is None else last.closed
        return closed is not None and not closed.by_suite and closed.code == REJECTED

    async def refused(
        self, reasons: Collection[str], on: str = "A", name: str = "", within: str = ""
    ) -> None:
        """Wait until the target refuses a stream for one of these reasons (ER-010, ER-011)."""
        stream = await self.stream(on, name)
        self.forget(on, name)
        if FRAME_STALL in reasons:
            self.judge_deadline(stream)
        stream.end_pauses()
        must_stop = not stream.ended_by_suite
        await stream.wait_for(lambda: refusal_is_whole(stream, must_stop), self.within(within))
        await stream.reset(0)
        self.check_connection(stream.connection)
        wanted = {REASONS[reason].code for reason in reasons}
        # The code of a STOP after FIN says nothing (LB-057).
        stop_code = stream.stop_code if must_stop else None
        codes = {code for code in (stream.reset_code, stop_code) if code is not None}
        if (
            codes
            and codes <= wanted
            and (self.strict is False or refusal_is_whole(stream, must_stop))
        ):
            return
        if not self.strict:
            self.evidence.unbound = True
            return
        raise not_refused(stream, sorted(reasons), wanted, codes, must_stop=must_stop)

    async def closed(self, reasons: Collection[str], on: str = "A", within: str = "") -> None:
        """Wait until the target closes a connection for one of these reasons (ER-012)."""
        connection = self.peer(on).last
        if connection is None:
            raise SuiteFault(f"{self.case_id}: {on} was never connected")
        if HANDSHAKE_TIMEOUT in reasons:
            self.judge_deadline(connection)
        closed = await connection.wait_closed(self.within(within))
        wanted = {REASONS[reason].code for reason in reasons}
        if closed is not None and closed.code in wanted:
            return
        if not self.strict:
            self.evidence.unbound = True
            return
        raise not_closed(closed, wanted)

    # --- content ----------------------------------------------------------------------------

    async def expect(
        self, wanted: Wanted, on: str, *, after: int = 0, patience: float = 1.0
    ) -> Arrival:
        """Wait for content that matches `wanted`, on any stream of a connection.

        `patience` multiplies the deadline for answers that may take longer. A peer of the case's
        own is offered the whole store first, which the deadline does not count.
        """
        self._begin_wait()
        expectation = self._expectation(wanted, on, after)
        peer, deadline_s = expectation.peer, self.deadline_s * patience
        # Through narrow windows a target sends what other cases change for long too.
        if peer in self._own.values() or peer.windows is not None:
            inbox = self.session.inbox
            found = await expectation.match_among_offers(inbox, self.evidence, deadline_s)
        else:
            found = await expectation.match(deadline_s)
        if isinstance(found, Arrival):
            return found
        raise self._nothing_fits(wanted, on, found)

    async def read(
        self, wanted: Wanted, on: str = "A", *, once: bool = False, message: str | None = None
    ) -> Arrival:
        """Read a document; if no answer comes, the read is repeated once (page Documents).

        `message` is the sync message in hex, if another than the library's has to be sent.
        """
        self._begin_wait()
        after = len(self.subscription(wanted.key).arrivals)
        seen: Mismatches = []
        # A read is not repeated for a target that answered no read of the calibration.
        hopeless = self.terms.deadline.median_s is None
        for attempt in range(1 if once or hopeless else _REPEATS):
            if attempt:
                self.note(f"no answer to the first read of {wanted.key}: asked once more")
            await self.send_read(wanted.key, on, message)
            expectation = self._expectation(wanted, on, after)
            found = await expectation.match(self.deadline_s, whole=self.strict)
            if isinstance(found, Arrival):
                return found
            seen = found
            if seen:
                break
        raise self._nothing_fits(wanted, on, seen)

    def _expectation(self, wanted: Wanted, on: str, after: int) -> Expectation:
        return Expectation(
            wanted, self.peer(on), self.subscription(wanted.key), self.contents, after
        )

    def _nothing_fits(self, wanted: Wanted, on: str, seen: Mismatches) -> CaseFailed:
        last = self.peer(on).last
        if last is not None:
            self.check_connection(last)
        return nothing_fits(wanted, seen)

    def watch(
        self,
        key: str,
        on: str | None,
        types: Iterable[str | int] = (),
        *,
        pushes: bool = False,
    ) -> Watch:
        """Fail the case if a frame of these types comes for a key before the run ends.

        With `pushes` those that pushes of the whole store bring do not count, nor does one delta
        that announces the document (DC-058).
        """
        numbers = frozenset(type_number(name) for name in types)
        peer = None if on is None else self.peer(on).name
        watch = arm(self.subscription(key), peer, numbers)
        if pushes and on is not None:
            watch.pushes = self.session.pushes_to(self.peer(on))
        self.evidence.watches.append(watch)
        return watch

    async def settle(self, on: str) -> None:
        """Wait until a peer has received what the target has queued for it, such as its offers."""
        if self.session.settle is not None:
            await self.session.settle(self.peer(on), self.deadline_s)

    async def probe(self) -> None:
        """Fail unless the target still answers another peer."""
        if self.session.target.is_called:
            # It may dial one connection alone.
            self._leave()
        probe = self.session.probe
        if probe is None:
            raise CouldNotRun("no document to probe the target with")
        why_not = await probe(self.deadline_s)
        if why_not is not None:
            raise CaseFailed(
                "target-gone", f"afterwards the target no longer answers: {why_not}", missed=True
            )

    # --- the report -------------------------------------------------------------------------

    def claim(self, since: int, *, shared: bool) -> Claim:
        """Return which faults of the target, from number `since` on, show up in this case.

        Those on connections that it shares with others count with `shared`, up to now.
        """
        faults = self.session.inbox.faults
        return Claim(
            faults,
            since,
            len(faults),
            keys=frozenset(self._subscriptions),
            own=frozenset(peer.name for peer in self._own.values()),
            shared=frozenset(self._shared) if shared else frozenset(),
        )

    def arrivals(self) -> list[Arrival]:
        """Return the arrivals for the documents of the case, in no order."""
        return [one for found in self._subscriptions.values() for one in found.arrivals]

    def meanwhile(self, since: int) -> tuple[str, ...]:
        """Return lines about what the target did wrong in this case, in place of an answer."""
        theirs = (
            stream
            for connection, known in self._known.items()
            for stream in list(connection.streams.values())[known:]
            if not stream.ours
        )
        return came_meanwhile(self.claim(since, shared=True).found(), [*self._all_streams, *theirs])

    def seen(self, since: int) -> Seen:
        """Return what the target did in this case; faults count from number `since` on."""
        last = (peer.last for peer in self._own.values())
        connections = dict.fromkeys([*self._known, *(one for one in last if one is not None)])
        found = seen_of(self.claim(since, shared=True).found(), self._framed, connections)
        frames = sum(len(one.arrivals) for one in self._subscriptions.values())
        asks = any(one.asks for one in self.evidence.sent)
        unended = self.session.inbox.unended()
        is_left = any(stream.connection in connections for _, stream in unended)
        return replace(found, frames=frames, asks=asks, has_unended=is_left)

    def judge_deadline(self, place: Stream | Connection) -> None:
        """Make the case about a deadline of the target: pauses of the suite excuse nothing."""
        self._judged.append(place)

    def _begin_wait(self) -> None:
        """Note how long the suite has paused on each stream before it waits for the target."""
        self._pauses_s = {one: one.longest_pause_s() for one in self._all_streams}

    def gave_up(self, *, missed: bool = False, lost: bool = False) -> bool | None:
        """Return None unless the target gave up waiting for the suite, which the case is not about.

        A connection that the transport may have lost counts like one that the target gave up.
        Return True then if the suite may have been late itself. With `missed` the case ended in a
        wait for the target: the pauses of that wait are the target's. With `lost` it ended since a
        connection was gone.
        """
        facts = self.session.target.facts
        stalled = [one for one in self._all_streams if has_stalled(one)]
        ended = [peer.last for peer in self._used_peers() if peer.last is not None]
        # A case about two connections of one peer uses the earlier one too.
        ended += [one for peer in self._own.values() for one in peer.beside]
        timed_out = [one for one in ended if has_timed_out(one)]
        late = [
            *(
                was_late_in_frame(one, facts, self._pauses_s.get(one) if missed else None)
                for one in stalled
                if one not in self._judged
            ),
            *(was_late_in_handshake(one, facts) for one in timed_out if one not in self._judged),
            *(was_late_after_result(one) for one in ended if lost and has_been_rejected(one)),
            *(False for one in ended if may_have_timed_out(one)),
        ]
        return any(late) if late else None

    def note(self, text: str) -> None:
        """Add a line to the report."""
        self.evidence.notes.append(text)
