"""The sessions of one case, and the operations received on each of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from meshwire_conformance.protocol.signed_operations import (
    normal_form_in_bulk,
    normal_form_of_envelope,
)
from meshwire_conformance.targets.websocket import Over, WebSocket, dial

QUIET_S = 0.25
"""Silence in seconds, once a bulk has begun, after which a new session asks for another one.

Each further session gets twice as much, so that a slow target comes to the end of its bulk.
"""
DEADLINES_MAX = 10
"""A target that goes on sending gets this multiple of the deadline at most."""
BYTES_A_DEADLINE = 2**21
"""A target gets a further deadline each time that a case has sent this number of bytes.

A target that applies a long message in slices answers pings promptly meanwhile, so they say nothing
about how long the message takes.
"""
CLOSED_WITHOUT = 1006


class NotJudged(Exception):
    """A case cannot be judged, since something is lacking: the text says what."""


class SessionFailed(Exception):
    """The target does not do what a step demands; `symptom` is short and stable.

    `missed` is True if something did not come in time, so that the target may be slow.
    """

    def __init__(
        self, symptom: str, reason: str, received: Sequence[str] = (), *, missed: bool = False
    ) -> None:
        super().__init__(reason)
        self.symptom = symptom
        self.received = tuple(received)
        self.missed = missed


class Known:
    """Normal forms by the texts that were seen: a bulk has the same ones again and again."""

    def __init__(self) -> None:
        self._forms: dict[str, str | None] = {}

    def of(self, text: str) -> str | None:
        """Return the normal form of the JSON text of an operation, or None if it is none."""
        if text not in self._forms:
            try:
                self._forms[text] = normal_form_in_bulk(json.loads(text))
            except (ValueError, RecursionError):
                self._forms[text] = None
        return self._forms[text]


@dataclass(eq=False, slots=True)
class PeerSession:
    """One session: the operations received on it in order, as normal forms, until it is over."""

    name: str
    socket: WebSocket
    known: Known
    bulk: list[str] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    # Bytes and operations of each text message.
    sizes: list[tuple[int, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    over: int | None = None
    has_begun: bool = False
    # What the first bulk says that the target reads.
    versions: object = None
    # Whom the target names there, and whether for the mesh.
    node: object = None
    for_mesh: object = None
    # The operations of its bulks, as they came.
    texts: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Read from now on."""
        self._task = asyncio.create_task(self._read())

    async def end(self) -> None:
        """Drop the connection."""
        with suppress(Exception):
            self.socket.abort()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def news(self, within_s: float) -> bool:
        """Return True once something has come, False if nothing does in time."""
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    @property
    def everything(self) -> list[str]:
        """The operations of bulks and live messages."""
        return [*self.bulk, *self.live]

    async def _read(self) -> None:
        try:
            while True:
                message = await self.socket.receive()
                self._take(message)
                self._news.set()
        except Over as exc:
            self.over = exc.code
        except (OSError, ValueError):
            self.over = CLOSED_WITHOUT
        self._news.set()

    def _take(self, message: str | bytes) -> None:
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            self.faults.append(f"no JSON: {message[:80]!r}")
            return
        kind = value.get("type") if isinstance(value, dict) else None
        if isinstance(message, bytes):
            self._take_live(value)
        elif kind == "bulk" and isinstance(value.get("ops"), list):
            if not self.has_begun:
                self.versions = value.get("versions")
                self.node, self.for_mesh = value.get("node"), value.get("mesh")
            self.has_begun = True
            texts = [text for text in value["ops"] if isinstance(text, str)]
            self.texts += texts
            forms = [self.known.of(text) for text in texts]
            self.bulk += [form for form in forms if form is not None]
            self.sizes.append((len(message.encode()), len(texts)))
            if None in forms or len(texts) < len(value["ops"]):
                self.faults.append("a bulk has something that is no operation")
        elif kind == "op" and isinstance(value.get("op"), str):
            self.live += filter(None, [self.known.of(value["op"])])
        else:
            self.faults.append(f"unknown message: {message[:80]!r}")

    def _take_live(self, value: object) -> None:
        form = normal_form_of_envelope(value)
        if form is not None:
            self.live.append(form)
            return
        self.faults.append(f"no envelope of a known version: {str(value)[:80]}")


class Wait:
    """A wait for operations, which lasts a deadline longer each time that further ones come."""

    def __init__(self, deadline_s: float, clock: Callable[[], float]) -> None:
        self._deadline_s = deadline_s
        self._clock = clock
        self._until_s = clock() + deadline_s
        self._end_s = clock() + DEADLINES_MAX * deadline_s
        self._most = 0

    def left_s(self, session: PeerSession) -> float:
        """Return the seconds left, after a look at what has come on a session."""
        if (count := len(set(session.everything))) > self._most:
            self._most = count
            self._until_s = min(self._clock() + self._deadline_s, self._end_s)
        return self._until_s - self._clock()


class Dialogue:
    """The target of one case, the sessions with it, and how long the target may take."""

    def __init__(
        self,
        url: str,
        known: Known,
        deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self.sessions: dict[str, PeerSession] = {}
        self._deadline_s = deadline_s
        self._sent_bytes = 0
        self._clock = clock
        self._known = known
        self._all: list[PeerSession] = []

    @property
    def deadline_s(self) -> float:
        """Seconds for whatever must come next, which the bytes sent until now make longer."""
        return self._deadline_s * (1 + self._sent_bytes / BYTES_A_DEADLINE)

    def count(self, message: str | bytes) -> None:
        """Count what is sent to the target."""
        self._sent_bytes += len(message.encode() if isinstance(message, str) else message)

    async def open(self, name: str, *, listens: bool = True) -> PeerSession:
        """Return a new session, of which nothing was read yet; raise ConnectionError.

        Where it does not listen, nothing ever is.
        """
        socket = await dial(self.url, self.deadline_s, None if listens else 1)
        session = PeerSession(name, socket, self._known)
        if listens:
            session.listen()
        self._all.append(session)
        return session

    def adopt(self, name: str, socket: WebSocket) -> PeerSession:
        """Return the session of a connection that the target has dialled."""
        session = PeerSession(name, socket, self._known)
        session.listen()
        self._all.append(session)
        return session

    async def ended(self, session: PeerSession) -> bool:
        """Return True once a session is over, False if it is not in time."""
        while session.over is None:
            if not await session.news(self.deadline_s):
                return session.over is not None
        return True

    async def snapshot(self, wanted: Collection[str]) -> PeerSession:
        """Return a new session that has got everything that is `wanted`, or the most of it.

        A target that relays nothing shows what it has at the next session only.
        """
        wait, quiet_s = Wait(self.deadline_s, self._clock), QUIET_S
        opened: list[PeerSession] = []
        while True:
            session = await self.open("new")
            opened.append(session)
            while not set(wanted) <= set(session.everything):
                left_s = wait.left_s(session)
                if session.over is not None:
                    return session
                if left_s <= 0:
                    return max(opened, key=lambda one: len(set(wanted) & set(one.everything)))
                within_s = min(left_s, quiet_s) if session.has_begun else left_s
                if not await session.news(within_s) and within_s < left_s:
                    break
            else:
                return session
            await session.end()
            quiet_s *= 2

    async def wait(self, session: PeerSession, wanted: Collection[str]) -> set[str]:
        """Return what of `wanted` has not come on a session within the deadline."""
        wait = Wait(self.deadline_s, self._clock)
        while missing := set(wanted) - set(session.everything):
            left_s = wait.left_s(session)
            if left_s <= 0 or session.over is not None or not await session.news(left_s):
                return missing
        return set()

    async def begin(self, session: PeerSession) -> None:
        """Wait for the first bulk; raise SessionFailed if another message or none comes."""
        while not session.has_begun:
            if session.live or session.faults or session.over is not None:
                break
            if not await session.news(self.deadline_s):
                break
        if not session.has_begun:
            silent = not (session.live or session.faults) and session.over is None
            reason = "connect: no bulk comes first"
            raise SessionFailed("no-bulk", reason, session.faults, missed=silent)

    async def end(self) -> None:
        """Drop every session."""
        await asyncio.gather(*(session.end() for session in self._all))


class Pings:
    """Pings a target on a session of its own, which is opened by the first ping."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._socket: WebSocket | None = None
        self._task: asyncio.Task[None] | None = None

    async def ask(self, within_s: float) -> bool:
        """Return True if a ping is answered in time; raise ConnectionError."""
        if self._socket is None:
            self._socket = await dial(self._url, within_s)
            self._task = asyncio.create_task(self._drop_messages(self._socket))
        try:
            return await self._socket.ping(within_s)
        except Over as exc:
            raise ConnectionError(str(exc)) from exc

    async def end(self) -> None:
        """Drop the session."""
        if self._socket is not None and self._task is not None:
            self._socket.abort()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @staticmethod
    async def _drop_messages(socket: WebSocket) -> None:
        """Read on, since a pong comes after the messages that were sent before it."""
        with suppress(Over):
            while True:
                await socket.receive()
