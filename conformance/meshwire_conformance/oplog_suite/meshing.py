"""Nodes of the suite that a target with a mesh may dial: their keys, addresses and sessions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Any

from msgspec import UNSET

from meshwire_conformance.oplog_suite.composing import TARGET, Place
from meshwire_conformance.oplog_suite.conversation import (
    Dialogue,
    NotJudged,
    PeerSession,
    SessionFailed,
)
from meshwire_conformance.protocol.signed_operations import public_of, signer_of
from meshwire_conformance.targets.oplog_node import BadAnswer, NotCarriedOut, OplogControl
from meshwire_conformance.targets.websocket import Listening, Over, WebSocket
from meshwire_spec.schemas.oplog_sessions import MeshListener, OplogStep

SET_DEPTH = 4
"""Segments of the path of a write into a field of an element."""
RING = 2**256
STALE_S = 700.0
"""Time that passes before a case, after which no record of an earlier one is fresh."""


def greeting(node: str, *, for_mesh: bool = False) -> str:
    """Return the first bulk of a strict node, which names it unless `node` is empty."""
    said: dict[str, object] = {"type": "bulk", "ops": [], "versions": [1, 2]}
    if node:
        said["node"] = node
    if for_mesh:
        said["mesh"] = True
    return json.dumps(said)


@dataclass(eq=False, slots=True)
class MeshNode:
    """One node of the suite; `is_barred` says that nobody may dial it now."""

    name: str
    place: Place
    listening: Listening
    says: str = ""
    sessions: list[PeerSession] = field(default_factory=list)
    is_barred: bool = False
    came_early: bool = False


class Neighbourhood:
    """The listeners of one case."""

    def __init__(self, talk: Dialogue, target: str) -> None:
        self.listeners: dict[str, MeshNode] = {}
        self.news = asyncio.Event()
        self._talk = talk
        self._target = target

    @property
    def places(self) -> Mapping[str, Place]:
        """Where each of them is, and the id of the target."""
        found = {name: one.place for name, one in self.listeners.items()}
        return {**found, TARGET: Place(self._target, 0)}

    async def open(self, described: Mapping[str, MeshListener], seed: str) -> None:
        """Open every listener that is not dead."""
        for name, one in described.items():
            node = self.listeners[one.node].place.node if one.node else self._id(name, one, seed)
            listening = Listening()
            listener = MeshNode(name, Place(node, listening.port), listening)
            self.listeners[name] = listener
            if not one.dead:
                await listening.open(self._taking(listener))
        for name, one in described.items():
            whom = self.listeners.get(one.says or name)
            self.listeners[name].says = "" if whom is None else whom.place.node

    def _id(self, name: str, described: MeshListener, seed: str) -> str:
        """Return the id of a new key, on its side of that of the target."""
        if described.side == "next":
            return f"{(int(self._target or '0', 16) + 1) % RING:064x}"
        for number in count():
            key = sha256(f"{seed}/node {name} {number}".encode()).digest()
            found = bytes(public_of(signer_of(key))).hex()
            is_higher = found > self._target
            if described.side is UNSET or is_higher is (described.side == "higher"):
                return found
        raise AssertionError("there is always a next number")

    def _taking(self, listener: MeshNode) -> Callable[[WebSocket], Awaitable[None]]:
        async def take(socket: WebSocket) -> None:
            session = self._talk.adopt(listener.name, socket)
            listener.came_early |= listener.is_barred
            listener.sessions.append(session)
            self.news.set()
            try:
                await socket.send(greeting(listener.says))
                await socket.gone()
            except Over:
                pass

        return take

    def bar(self, *names: str) -> None:
        """Let nobody dial these until `free`."""
        for name in names:
            self.listeners[name].is_barred = True

    def free(self) -> None:
        """Let every listener be dialled again."""
        for listener in self.listeners.values():
            listener.is_barred = False

    def early(self) -> list[str]:
        """Return which listeners were dialled while they might not be."""
        return [name for name, one in self.listeners.items() if one.came_early]

    async def dialled(
        self, names: list[str], least: int, times: int, deadline_s: float
    ) -> list[str]:
        """Return which of these have this number of sessions, once at least `least` have."""
        try:
            async with asyncio.timeout(deadline_s):
                while len(found := self._with(names, times)) < least:
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            return self._with(names, times)
        return found

    def _with(self, names: list[str], times: int) -> list[str]:
        return [name for name in names if len(self.listeners[name].sessions) >= times]

    async def close(self) -> None:
        """Close every listener."""
        for listener in self.listeners.values():
            await listener.listening.close()


class MeshRun:
    """What one case does with the mesh of a target, whose clock it moves."""

    def __init__(self, talk: Dialogue, control: OplogControl) -> None:
        self._talk = talk
        self._control = control
        self._listeners = Neighbourhood(talk, "")

    @property
    def places(self) -> Mapping[str, Place]:
        """Where each listener is, and the id of the target."""
        return self._listeners.places

    @property
    def now_ms(self) -> float:
        """The time of the target, in ms since 1970."""
        return self._control.now_ms

    async def open(self, described: Mapping[str, MeshListener], seed: str) -> None:
        """Stop the mesh, let what is in the document become stale, and open the listeners."""
        await self.begin(0)
        await self.advance(STALE_S)
        session = await self._talk.open("name")
        await self._talk.begin(session)
        target = session.node if isinstance(session.node, str) else ""
        await session.end()
        self._listeners = Neighbourhood(self._talk, target)
        await self._listeners.open(described, seed)

    async def close(self) -> None:
        """Stop the mesh and close the listeners."""
        try:
            await self.begin(0)
        finally:
            await self._listeners.close()

    async def begin(self, cap: int) -> None:
        """Let the target begin with its mesh anew; raise SessionFailed or NotJudged."""
        self._listeners.free()
        await self._do(self._control.begin(cap, self._talk.deadline_s))

    async def advance(self, seconds: float) -> None:
        """Let time pass for its mesh; raise SessionFailed or NotJudged."""
        self._listeners.free()
        await self._do(self._control.advance(seconds, self._talk.deadline_s))

    async def _do(self, asked: Awaitable[None]) -> None:
        try:
            await asked
        except TimeoutError as exc:
            raise SessionFailed(
                "no-answer", "no answer of the control socket", missed=True
            ) from exc
        except NotCarriedOut as exc:
            # It depends on how the target was started, and breaks no rule.
            raise NotJudged(str(exc)) from exc
        except BadAnswer as exc:
            raise SessionFailed("no-answer", str(exc)) from exc

    async def dialled(self, step: OplogStep) -> None:
        """Wait until listeners were dialled as often as the step says; raise SessionFailed."""
        names = step.dialled or []
        least = step.count or len(names)
        found = await self._listeners.dialled(names, least, step.times, self._talk.deadline_s)
        if len(found) < least:
            missing = [name for name in names if name not in found]
            why = f"dialled: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not"
            raise SessionFailed("not-dialled", why, missed=True)
        if step.count and len(found) > step.count:
            raise SessionFailed("dialled", f"dialled: {len(found)} are, and not {step.count}")
        for name in found:
            session = self._listeners.listeners[name].sessions[-1]
            if session.over is None:
                await self._talk.begin(session)
                self._talk.sessions[name] = session

    def hold_undialled(self, *names: str) -> None:
        """Fail if a listener was dialled while that was forbidden; forbid it for some now."""
        self._listeners.bar(*names)
        early = self._listeners.early()
        was = [name for name in names if self._listeners.listeners[name].sessions]
        if early or was:
            why = f"undialled: {', '.join(early or was)} was dialled"
            raise SessionFailed("dialled", why)

    def hold_record(self, texts: list[str], url: str, age_s: float) -> None:
        """Fail unless the operations of a document have a record of the target, and not too old."""
        node = self.places[TARGET].node
        records: dict[str, dict[str, Any]] = {}
        for inner in (json.loads(text).get("inner", {}) for text in texts):
            content, path = inner.get("content"), inner.get("path", [])
            name = str(path[1:2])
            if isinstance(content, dict) and content.get("node_id") == node:
                records[name] = dict(content)
            elif inner.get("is_deleted"):
                records.pop(name, None)
            elif len(path) == SET_DEPTH and name in records:
                records[name][path[2]["Field"]] = content
        if not records:
            raise SessionFailed("not-recorded", "recorded: the document does not name the target")
        for record in records.values():
            if record.get("address") != url:
                raise SessionFailed("other-address", f"recorded: at {record.get('address')!r}")
        old_s = min(
            abs(self.now_ms - float(record["last_seen_ms"])) / 1000 for record in records.values()
        )
        if old_s > age_s:
            raise SessionFailed("old-record", f"recorded: its record is {old_s:.0f} seconds old")
