"""One run of one socket case: its names, streams and evidence, and the operations of cases.

Transcripts and Python cases use the same operations. Each operation either succeeds or raises
`CaseFailed`. What is sent is recorded for the report. A case's streams are released when it ends.
"""
# Longer than 500 lines: the operations of all socket cases are easier to find in one module.

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from meshwire_conformance.catalogue.circumstances import (
    AMID,
    FIRST,
    NARROW,
    ORDINARY,
    SECOND,
    Circumstances,
)
from meshwire_conformance.catalogue.transcripts import FIXED_S
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.explain.field_rows import rows_of
from meshwire_conformance.protocol.frame_content import after_records, is_one_frame, wrong_keys
from meshwire_conformance.socket_suite.calibration import Deadline
from meshwire_conformance.socket_suite.composing import (
    WITHOUT_EFFECT,
    Composer,
    Scope,
    payload_cut,
    type_number,
    writing_in,
)
from meshwire_conformance.socket_suite.content import Contents, Mismatch, Wanted
from meshwire_conformance.socket_suite.evidence import (
    CaseFailed,
    Claim,
    CouldNotRun,
    Evidence,
    NoDial,
    NotApplicable,
    Seen,
    Sending,
    Watch,
    arm,
    seen_of,
)
from meshwire_conformance.socket_suite.inbox import Arrival, Subscription
from meshwire_conformance.socket_suite.meanwhile import (
    CODE_NAMES,
    came_meanwhile,
    code_name,
    connection_end,
    ends_of,
    fault_lines,
)
from meshwire_conformance.socket_suite.peers import SHARED, Peer, Session
from meshwire_conformance.socket_suite.punctuality import (
    FRAME_STALL,
    HANDSHAKE_TIMEOUT,
    has_stalled,
    has_timed_out,
    may_have_timed_out,
    was_late_in_frame,
    was_late_in_handshake,
)
from meshwire_conformance.socket_suite.shortfall import headline, received_lines, wanted_lines
from meshwire_conformance.targets.lab_records import Windows, Writing
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import (
    Connection,
    NotDialled,
    Overdue,
    Stream,
    TooFewDials,
)
from meshwire_spec.numbers import REASONS
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

REJECTED = REASONS["authentication-failed"].code
"""Code with which a target closes a connection whose proof was wrong."""
NARROW_WINDOWS = Windows(1024, 96, 4, 4)
"""Credit that a frame of ordinary size needs more than once."""
_BESIDE = "frame without effect, on the same stream"
_AROUND = "frame without effect, around the next bytes"
_READ = b"read"
"""First bytes of a PING whose answer says that everything before it was read."""
_BEFORE = 20
"""Bytes of that frame that are sent before them: they end inside a field."""
CALLED = "A"
"""The peer whose connection the target dials, in a case that needs a target which dials."""
WATCHED_FRAMES = 64
"""Frames that a watched connection still receives after its case before it is closed.

A target sends every change to every connection: one kept to the end of the run costs most of all.
"""
OFFER_PATIENCE = 12
"""Deadlines that an expectation waits at most while the target offers other documents."""
_REPEATS = 2
"""Times that a read is sent before its answer counts as missing."""

Mismatches = list[tuple[Arrival, Mismatch]]
"""Arrivals that do not match, each with its first mismatch."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions under which a case runs; with `own_peers` it uses connections of its own.

    With `dials` the target dials the connection of its peer A.
    """

    level: str
    deadline: Deadline
    own_peers: bool = False
    dials: bool = False
    circumstances: Circumstances = ORDINARY

    @property
    def windows(self) -> Windows | None:
        """Credit that the peers of the case grant; None is the ordinary one."""
        return NARROW_WINDOWS if self.circumstances.windows == NARROW else None


class CaseRun:
    """One attempt at one case."""

    def __init__(
        self,
        case_id: str,
        session: Session,
        terms: Terms,
        scope: Scope,
        contents: Contents,
    ) -> None:
        self.case_id = case_id
        self.session = session
        self.terms = terms
        self.scope = scope
        self.contents = contents
        self.evidence = Evidence()
        self.streams: dict[tuple[str, str], Stream] = {}
        self.marks: dict[tuple[str, str], int] = {}
        """Number of arrivals that the last `expect` consumed, by key and connection."""
        self.nonces: list[bytes] = []
        """Nonces of the challenges received; they must differ."""
        self._all_streams: list[Stream] = []
        self._framed: dict[Stream, None] = {}
        """Streams on which the suite has sent a frame."""
        self._judged: list[Stream | Connection] = []
        self._pauses_s: dict[Stream, float] = {}
        """Streams and connections about whose ending by a deadline the case is."""
        self._known: dict[Connection, int] = {}
        """Number of streams that a connection already had when the case first used it."""
        self._own: dict[str, Peer] = {}
        self._shared: set[str] = set()
        self._subscriptions: dict[str, Subscription] = {}

    # --- names and bytes --------------------------------------------------------------------

    @property
    def strict(self) -> bool:
        """True if the rules of level strict are demanded."""
        return self.terms.level == "strict"

    @property
    def deadline_s(self) -> float:
        """Seconds that an answer may take."""
        return self.terms.deadline.seconds

    @property
    def composer(self) -> Composer:
        """The composer of this case."""
        return Composer(self.scope, self.contents.saved, self.contents.delta)

    def within(self, name: str) -> float:
        """Return the seconds to wait for the target's own deadline of this name."""
        if not name:
            return self.deadline_s
        declared = {**FIXED_S, **self.session.target.facts.deadlines}
        return self.terms.deadline.beyond(declared[name])

    def begin(self, let: Mapping[str, str]) -> None:
        """Define the names of the case and subscribe to its keys."""
        self.scope.define(let)
        for name in let:
            self.subscription(self.scope.names[name])

    def subscription(self, key: str) -> Subscription:
        """Return the subscription to a key, which began when the case first named the key."""
        found = self._subscriptions.get(key)
        if found is None:
            found = self._subscriptions[key] = self.session.inbox.subscribe(key)
        return found

    async def documents(self, specs: Mapping[str, DocumentSpec]) -> None:
        """Create the documents of the case."""
        await self.contents.make(specs)

    # --- peers and connections --------------------------------------------------------------

    def peer(self, name: str = "A") -> Peer:
        """Return the peer of this name: a shared one, or the case's own if it is isolated."""
        if name in self._own:
            return self._own[name]
        if name in SHARED and not self.terms.own_peers:
            windows = self.terms.windows
            full = name if windows is None else f"{name} ({NARROW})"
            self._shared.add(full)
            shared = self.session.peer(full, windows)
            shared.in_use = True
            return shared
        return self.own_peer(name)

    def own_peer(self, name: str) -> Peer:
        """Return a peer that belongs to this case alone."""
        peer = self._own.get(name)
        if peer is None:
            full = f"{self.case_id}/{self.scope.names['case']}/{name}"
            peer = self._own[name] = self.session.peer(full, self.terms.windows)
            peer.is_called = self.terms.dials and name == CALLED
            peer.in_use = True
        return peer

    async def connection(self, name: str = "A") -> Connection:
        """Return the live connection of a peer; the case fails if none can be opened.

        A connection of the case's own is not dialled again: its loss is part of the result.
        """
        peer = self.peer(name)
        is_own = peer in self._own.values()
        try:
            connection = await peer.connection(again=not is_own)
        except NotDialled as exc:
            raise not_dialled(exc) from exc
        except ConnectionError as exc:
            raise no_connection(exc) from exc
        if is_own:
            self.check_connection(connection)
        self._known.setdefault(connection, len(connection.streams))
        return connection

    async def open(self, on: str = "A", name: str = "", *, uni: bool = False) -> Stream:
        """Open a stream and bind it to this name."""
        connection = await self.connection(on)
        try:
            async with asyncio.timeout(self.deadline_s):
                stream = await connection.open(uni=uni)
        except TimeoutError as exc:
            raise CaseFailed(
                "no-credit", "the target gave no credit for another stream", missed=True
            ) from exc
        except ConnectionError as exc:
            raise CaseFailed("connection-lost", f"the connection is gone: {exc}") from exc
        self.streams[on, name] = stream
        self._all_streams.append(stream)
        return stream

    async def stream(self, on: str = "A", name: str = "") -> Stream:
        """Return the stream of this name, opened (bidi) if it is not open yet."""
        found = self.streams.get((on, name))
        return found or await self.open(on, name)

    def forget(self, on: str, name: str = "") -> None:
        """Make the next send under this name open another stream."""
        self.streams.pop((on, name), None)

    # --- sending ----------------------------------------------------------------------------

    async def send(self, spec: FrameSpec, on: str = "A", name: str = "") -> Stream:
        """Send a frame (on a uni stream: a heartbeat)."""
        stream = await self.stream(on, name)
        data = self.composer.heartbeat(spec) if stream.uni else self.composer.frame(spec)
        kind = "heartbeat" if stream.uni else "stream_frame"
        await self.write(stream, data, f"{spec.type}", on, kind=kind)
        return stream

    async def write(
        self,
        stream: Stream,
        data: bytes,
        what: str,
        on: str = "A",
        *,
        kind: str = "",
        asks: bool = False,
    ) -> None:
        """Write bytes in the circumstances of the case, as `write_alone` does."""
        circumstances = self.terms.circumstances
        begins = kind == "stream_frame" and not (stream.sent or asks)
        if begins and circumstances.frames == SECOND:
            await self.write_alone(stream, WITHOUT_EFFECT, _BESIDE, on, kind=kind)
        around = await self._begin_around(stream, on) if begins else None
        await self.write_alone(stream, data, what, on, kind=kind, asks=asks)
        if begins and circumstances.frames == FIRST and is_one_frame(data):
            await self.write_alone(stream, WITHOUT_EFFECT, _BESIDE, on, kind=kind)
        if around is not None:
            await around.write(WITHOUT_EFFECT[_BEFORE:])
            await around.finish()

    async def _begin_around(self, stream: Stream, on: str) -> Stream | None:
        """Return a stream whose first bytes are sent, and whose last ones are to follow.

        Return None if the circumstances of the case know none, or there is no credit for it.
        """
        connection = stream.connection
        is_amid = self.terms.circumstances.interleaving == AMID
        if not (is_amid and isinstance(connection, TcpConnection)):
            return None
        if connection.closed is not None or not connection.lab.can_open(uni=False):
            return None
        around = await connection.open()
        self._all_streams.append(around)
        self.evidence.sent.append(
            Sending(on, around.number, _AROUND, WITHOUT_EFFECT, "stream_frame")
        )
        around.record_form = Writing(chopped=False, in_turns=True)
        await around.write(WITHOUT_EFFECT[:_BEFORE])
        connection.flush()
        return around

    async def write_alone(
        self,
        stream: Stream,
        data: bytes,
        what: str,
        on: str = "A",
        *,
        kind: str = "",
        asks: bool = False,
    ) -> None:
        """Write bytes and record them for the report, as a message of `kind`."""
        self.evidence.sent.append(Sending(on, stream.number, what, data, kind, asks))
        if kind == "stream_frame":
            self._framed[stream] = None
            self.session.inbox.planted.update(wrong_keys(data))
        self.session.settings.trace(
            {
                "sent": what,
                "case": self.case_id,
                "peer": on,
                "stream": stream.number,
                "bytes": data.hex(),
            }
        )
        cut = 0
        if kind == "stream_frame" and not asks:
            cut = payload_cut(self.terms.circumstances, data)
        for part in (data[:cut], data[cut:]) if cut else (data,):
            stream.record_form = writing_in(self.terms.circumstances, part)
            await stream.write(part)
            if part is not data and len(part) == cut:
                await self._wait_read(stream)

    async def _wait_read(self, stream: Stream) -> None:
        """Wait until the target has read what was written: it then answers a PING (LB-047).

        One that has not done so once is not waited for again, since that is what other cases judge.
        """
        connection = stream.connection
        if isinstance(connection, TcpConnection) and connection.echoes:
            payload = _READ + stream.number.to_bytes(4, "big")
            connection.echoes = await connection.ping(payload, self.deadline_s)
            if connection.echoes:
                connection.pongs.remove(payload)

    def ended(self, stream: Stream, how: str, on: str = "A") -> None:
        """Record for the report how the suite ended its half of a stream."""
        self.evidence.sent.append(Sending(on, stream.number, how))

    async def send_read(self, key: str, on: str = "A", message: str | None = None) -> None:
        """Request a document, on a stream of its own; `message` is the sync message in hex."""
        stream = await self.open(on, f"read {key}")
        data = self.composer.frame(FrameSpec(type="delta", key=key, hex=message))
        await self.write(stream, data, f"read of {key}", on, kind="stream_frame", asks=True)
        await stream.finish()

    # --- what has to come of it -------------------------------------------------------------

    async def barrier(self, on: str = "A", name: str = "", *, patience: float = 1.0) -> None:
        """Finish a stream and wait until the target confirms that all frames on it took effect."""
        stream = await self.stream(on, name)
        self.forget(on, name)
        await stream.finish()
        self.ended(stream, "FIN", on)
        await self.wait_finished(stream, patience)

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

    def check_connection(self, connection: Connection) -> None:
        """Fail if the connection is closed."""
        closed = connection.closed
        if closed is not None:
            raise connection_end(closed)

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
        await stream.wait_for(lambda: _refusal_is_whole(stream, must_stop), self.within(within))
        await stream.reset(0)
        self.check_connection(stream.connection)
        wanted = {REASONS[reason].code for reason in reasons}
        # The code of a STOP after FIN says nothing (LB-057).
        stop_code = stream.stop_code if must_stop else None
        codes = {code for code in (stream.reset_code, stop_code) if code is not None}
        if (
            codes
            and codes <= wanted
            and (self.strict is False or _refusal_is_whole(stream, must_stop))
        ):
            return
        if not self.strict:
            self.evidence.unbound = True
            return
        raise _not_refused(stream, sorted(reasons), wanted, codes, must_stop=must_stop)

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
        expected = (f"CLOSE with {' or '.join(code_name(code) for code in sorted(wanted))}",)
        if closed is None:
            raise CaseFailed(
                "not-closed",
                "the target did not refuse the connection",
                expected=expected,
                received=("an open connection",),
                missed=True,
            )
        if closed.code is None:
            raise CaseFailed(
                "no-code",
                "the connection ended without a code",
                expected=expected,
                received=(closed.text, *(fault_lines(closed.fault) if closed.fault else ())),
            )
        raise CaseFailed(
            f"wrong-code {CODE_NAMES.get(closed.code, closed.code)}",
            f"the connection was refused for another reason: {code_name(closed.code)}",
            expected=expected,
            received=(f"CLOSE with {code_name(closed.code)}",),
        )

    async def expect(
        self, wanted: Wanted, on: str, *, after: int = 0, patience: float = 1.0
    ) -> Arrival:
        """Wait for content that matches `wanted`, on any stream of a connection.

        `patience` multiplies the deadline for answers that may take longer. A peer of the case's
        own is offered the whole store first, which the deadline does not count.
        """
        self._begin_wait()
        subscription = self.subscription(wanted.key)
        deadline_s = self.deadline_s * patience
        found = await self._offered(subscription, wanted, on, after, deadline_s)
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
        subscription = self.subscription(wanted.key)
        after = len(subscription.arrivals)
        seen: Mismatches = []
        # A read is not repeated for a target that answered no read of the calibration.
        hopeless = self.terms.deadline.median_s is None
        for attempt in range(1 if once or hopeless else _REPEATS):
            if attempt:
                self.note(f"no answer to the first read of {wanted.key}: asked once more")
            await self.send_read(wanted.key, on, message)
            found = await self._matching(
                subscription, wanted, on, after, self.deadline_s, whole=self.strict
            )
            if isinstance(found, Arrival):
                return found
            seen = found
            if seen:
                break
        raise self._nothing_fits(wanted, on, seen)

    async def _offered(
        self, subscription: Subscription, wanted: Wanted, on: str, after: int, deadline_s: float
    ) -> Arrival | Mismatches:
        """Return what `_matching` does; the deadline begins anew while further documents come.

        Only documents that have not come since this wait began count: they are as many as the
        target holds, however often it pushes them.
        """
        peer = self.peer(on)
        # Through narrow windows a target sends what other cases change for long too.
        waits = peer in self._own.values() or peer.windows is not None
        rounds = OFFER_PATIENCE if waits else 1
        with self.session.inbox.keys_to(peer.name) as keys:
            for _ in range(rounds):
                known = len(keys.found)
                found = await self._matching(subscription, wanted, on, after, deadline_s)
                if isinstance(found, Arrival) or len(keys.found) == known:
                    break
                self.evidence.was_slow |= waits
        return found

    async def _matching(
        self,
        subscription: Subscription,
        wanted: Wanted,
        on: str,
        after: int,
        deadline_s: float,
        *,
        whole: bool = False,
    ) -> Arrival | Mismatches:
        """Return the first arrival that matches, else all arrivals with their mismatches.

        With `whole` the changes must match too: the answer to a read contains them, while a delta
        that is pushed may begin an exchange with its heads alone.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        peer, place = self.peer(on), after
        seen: Mismatches = []
        arrivals = subscription.arrivals
        while True:
            while place < len(arrivals):
                arrival = arrivals[place]
                place += 1
                if arrival.peer != peer.name:
                    continue
                why_not = await self.contents.mismatch(wanted, arrival, strict=whole)
                if why_not is None:
                    return arrival
                seen.append((arrival, why_not))
            lost = peer.last is not None and peer.last.closed is not None
            if lost or not await subscription.signal.wait_for(
                partial(_longer, arrivals, place), end - loop.time()
            ):
                return seen

    def _nothing_fits(self, wanted: Wanted, on: str, seen: Mismatches) -> CaseFailed:
        last = self.peer(on).last
        if last is not None:
            self.check_connection(last)
        expected = wanted_lines(wanted)
        if not seen:
            return CaseFailed(
                "no-answer",
                f"nothing came for {wanted.key}",
                expected=expected,
                received=("nothing within the deadline",),
                missed=True,
            )
        why = seen[-1][1]
        # Whole-store pushes are legal, so matching content might have followed.
        return CaseFailed(
            f"wrong-content {why.field}",
            headline(wanted, why),
            expected=expected,
            received=received_lines(seen, wanted),
            missed=True,
        )

    def watch(
        self,
        key: str,
        on: str | None,
        types: Iterable[str | int] = (),
        *,
        pushes: bool = False,
    ) -> Watch:
        """Fail the case if a frame of these types comes for a key before the run ends.

        With `pushes` those that pushes of the whole store bring do not count.
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

    def gave_up(self, *, missed: bool = False) -> bool | None:
        """Return None unless the target gave up waiting for the suite, which the case is not about.

        A connection that the transport may have lost counts like one that the target gave up.
        Return True then if the suite may have been late itself. With `missed` the case ended in a
        wait for the target: the pauses of that wait are the target's.
        """
        facts = self.session.target.facts
        stalled = [one for one in self._all_streams if has_stalled(one)]
        ended = [peer.last for peer in self._used_peers() if peer.last is not None]
        timed_out = [one for one in ended if has_timed_out(one)]
        late = [
            *(
                was_late_in_frame(one, facts, self._pauses_s.get(one) if missed else None)
                for one in stalled
                if one not in self._judged
            ),
            *(was_late_in_handshake(one, facts) for one in timed_out if one not in self._judged),
            *(False for one in ended if may_have_timed_out(one)),
        ]
        return any(late) if late else None

    def note(self, text: str) -> None:
        """Add a line to the report."""
        self.evidence.notes.append(text)

    def _used_peers(self) -> list[Peer]:
        """Return the peers of the case, its own and those that it shares with others."""
        return [*self._own.values(), *map(self.session.peer, self._shared)]

    def _leave(self) -> None:
        """Use the connections no more, so that others can take their place."""
        for peer in self._used_peers():
            peer.in_use = False

    async def end(self) -> None:
        """Release the streams of the case, and its connections; those that a watch needs, later."""
        self._leave()
        for stream in self._all_streams:
            if stream.connection.closed is None:
                await stream.reset(0)
        watched = {watch.peer for watch in self.evidence.watches}
        for peer in self._own.values():
            if None in watched or peer.name in watched:
                self.session.inbox.close_after(peer.name, WATCHED_FRAMES, peer.close)
            else:
                await peer.close()


def not_dialled(error: NotDialled) -> CouldNotRun:
    """Return why a case is not judged whose connection the target did not dial."""
    kind = NotApplicable if isinstance(error, TooFewDials) else NoDial
    return kind(str(error))


def no_connection(error: ConnectionError) -> CaseFailed:
    """Return the failure of a case that got no connection."""
    failed = CaseFailed("no-connection", f"no connection: {error}")
    if isinstance(error, Overdue):
        failed.missed, failed.suite_late = True, error.suite_late
    return failed


def _longer(arrivals: list[Arrival], known: int) -> bool:
    return len(arrivals) > known


def _refusal_is_whole(stream: Stream, must_stop: bool) -> bool:  # noqa: FBT001
    """Return True if a refusal is complete: STOP, and RESET unless the stream is uni."""
    stopped = stream.stop_code is not None or not must_stop
    return stopped and (stream.uni or stream.reset_code is not None)


def _not_refused(
    stream: Stream, reasons: list[str], wanted: set[int], codes: set[int], *, must_stop: bool
) -> CaseFailed:
    names = " or ".join(code_name(REASONS[reason].code) for reason in reasons)
    signs = ("STOP and RESET" if must_stop else "RESET") if not stream.uni else "STOP"
    other = min(codes - wanted, default=0)
    missed = False
    if codes == {0}:
        symptom, told = "no-code", "the stream was refused without a code"
    elif codes - wanted:
        symptom = f"wrong-code {CODE_NAMES.get(other, 'unknown')}"
        told = f"the stream was refused for another reason: {code_name(other)}, expected {names}"
    elif stream.finished and codes:
        symptom, told = (
            "half-refused",
            "stopped as required, but finished with FIN instead of RESET",
        )
    elif stream.finished:
        symptom, told = "accepted", "the target accepted a stream that it must refuse"
    else:
        symptom = "half-refused" if codes else "no-refusal"
        told, missed = "the target did not refuse the stream", True
    expected = (f"{signs} with {names}",)
    received = ends_of(stream) or ("nothing within the deadline",)
    return CaseFailed(symptom, told, expected=expected, received=received, missed=missed)
