"""The streams of one socket case: its peers and their connections, and what is written on them.

A case begins with its names, its documents, and subscriptions to its keys. What is sent is recorded
for the report. A case's streams are released when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from meshwire_conformance.catalogue.circumstances import (
    AMID,
    FIRST,
    NARROW,
    ORDINARY,
    SECOND,
    Circumstances,
)
from meshwire_conformance.catalogue.transcripts import FIXED_S
from meshwire_conformance.protocol.frame_content import is_one_frame, wrong_keys
from meshwire_conformance.socket_suite.calibration import Deadline
from meshwire_conformance.socket_suite.composing import (
    WITHOUT_EFFECT,
    Composer,
    Scope,
    payload_cut,
    writing_in,
)
from meshwire_conformance.socket_suite.content import Contents
from meshwire_conformance.socket_suite.evidence import (
    CaseFailed,
    CouldNotRun,
    Evidence,
    NoDial,
    NotApplicable,
    Sending,
)
from meshwire_conformance.socket_suite.inbox import Subscription
from meshwire_conformance.socket_suite.meanwhile import connection_end
from meshwire_conformance.socket_suite.peers import SHARED, Peer, Session
from meshwire_conformance.targets.lab_records import Windows, Writing
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import (
    Connection,
    NotDialled,
    Overdue,
    Stream,
    TooFewDials,
)
from meshwire_spec.schemas.steps import DocumentSpec, FrameSpec

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


@dataclass(eq=False, repr=False)
class CaseStreams:
    """The names, peers and streams of one attempt at one case."""

    case_id: str
    session: Session
    terms: Terms
    scope: Scope
    contents: Contents
    evidence: Evidence = field(default_factory=Evidence, init=False)
    streams: dict[tuple[str, str], Stream] = field(default_factory=dict, init=False)
    _all_streams: list[Stream] = field(default_factory=list, init=False)
    _framed: dict[Stream, None] = field(default_factory=dict, init=False)
    """Streams on which the suite has sent a frame."""
    _known: dict[Connection, int] = field(default_factory=dict, init=False)
    """Number of streams that a connection already had when the case first used it."""
    _own: dict[str, Peer] = field(default_factory=dict, init=False)
    _shared: set[str] = field(default_factory=set, init=False)
    _subscriptions: dict[str, Subscription] = field(default_factory=dict, init=False)

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

    def check_connection(self, connection: Connection) -> None:
        """Fail if the connection is closed."""
        closed = connection.closed
        if closed is not None:
            raise connection_end(closed)

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

    # --- the end ----------------------------------------------------------------------------

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
