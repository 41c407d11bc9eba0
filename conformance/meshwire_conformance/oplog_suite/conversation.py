"""The sessions of one case, and the operations received on each of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from meshwire_conformance.protocol.signed_operations import (
    normal_form_in_bulk,
    normal_form_of_envelope,
)
from meshwire_conformance.targets.websocket import Over, WebSocket, dial

QUIET_S = 0.25
"""Silence in seconds after which a new session is opened, to ask for a bulk again."""
CLOSED_WITHOUT = 1006


class SessionFailed(Exception):
    """The target does not do what a step demands; `symptom` is short and stable."""

    def __init__(self, symptom: str, reason: str, received: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.symptom = symptom
        self.received = tuple(received)


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
            self.has_begun = True
            texts = [text for text in value["ops"] if isinstance(text, str)]
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


class Dialogue:
    """The target of one case, and the sessions with it."""

    def __init__(self, url: str, known: Known, deadline_s: float) -> None:
        self.url = url
        self.deadline_s = deadline_s
        self.sessions: dict[str, PeerSession] = {}
        self._known = known
        self._all: list[PeerSession] = []

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

    async def snapshot(self, wanted: Collection[str]) -> PeerSession:
        """Return a new session that has got everything that is `wanted`, or the last one without.

        A target that relays nothing shows what it has at the next session only.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self.deadline_s
        while True:
            session = await self.open("new")
            while not set(wanted) <= set(session.everything):
                left_s = until - loop.time()
                if left_s <= 0 or session.over is not None:
                    return session
                if not await session.news(min(left_s, QUIET_S)):
                    break
            else:
                return session
            await session.end()

    async def wait(self, session: PeerSession, wanted: Collection[str]) -> set[str]:
        """Return what of `wanted` has not come on a session within the deadline."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.deadline_s
        while missing := set(wanted) - set(session.everything):
            left_s = until - loop.time()
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
            raise SessionFailed("no-bulk", "connect: no bulk comes first", session.faults)

    async def end(self) -> None:
        """Drop every session."""
        await asyncio.gather(*(session.end() for session in self._all))
