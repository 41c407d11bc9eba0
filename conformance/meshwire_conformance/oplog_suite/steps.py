"""What each step of a transcript of `oplog/1` does.

Nothing is shown by waiting alone. That an operation was refused shows a marker, which is sent after
it on the same session and is applied: the target has then read both.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from msgspec import UNSET

from meshwire_conformance.oplog_suite.composing import TARGET, OperationComposer
from meshwire_conformance.oplog_suite.conversation import Dialogue, PeerSession, SessionFailed
from meshwire_conformance.oplog_suite.meshing import MeshRun, greeting
from meshwire_conformance.protocol.signed_operations import normal_form
from meshwire_conformance.targets.oplog_node import OplogControl
from meshwire_conformance.targets.websocket import is_refused
from meshwire_spec.numbers import OPLOG_CHUNK_BYTES_MAX
from meshwire_spec.schemas.oplog_sessions import OplogSession, OplogStep, verb_of

EMPTY_BULK = '{"type":"bulk","ops":[]}'


class SessionRun:
    """One run of a transcript."""

    def __init__(
        self,
        transcript: OplogSession,
        conversation: Dialogue,
        seed: str,
        control: OplogControl | None = None,
    ) -> None:
        self._transcript = transcript
        self._talk = conversation
        self._seed = seed
        self._mesh = None if control is None else MeshRun(conversation, control)
        if transcript.listeners is UNSET:
            self._composer = OperationComposer(transcript.operations, seed)
        self._probes: PeerSession | None = None
        self.sent: list[str] = []

    async def run(self) -> None:
        """Do every step, then see that each session is alive; raise SessionFailed."""
        if self._mesh is None or self._transcript.listeners is UNSET:
            await self._run()
            return
        try:
            await self._mesh.open(self._transcript.listeners, self._seed)
            self._composer = OperationComposer(
                self._transcript.operations, self._seed, self._mesh.places, self._mesh.now_ms
            )
            await self._run()
            self._mesh.hold_undialled()
        finally:
            await self._mesh.close()

    async def _run(self) -> None:
        for number, step in enumerate(self._transcript.steps, 1):
            verb = verb_of(step)
            try:
                await _STEPS[verb](self, step)
            except SessionFailed as exc:
                why = f"step {number}, {exc}"
                raise SessionFailed(exc.symptom, why, exc.received, missed=exc.missed) from exc
        await self._all_alive()

    # --- What the suite does ---

    async def connect(self, step: OplogStep) -> None:
        """Open a session, wait for its bulk unless it reads nothing, and send an empty one."""
        session = await self._talk.open(step.connect, listens=not step.deaf)
        self._talk.sessions[step.connect] = session
        if not step.deaf:
            await self._talk.begin(session)
        if step.says:
            target = session.node if isinstance(session.node, str) else ""
            node = target if step.says == TARGET else self._meshed.places[step.says].node
            await session.socket.send(greeting(node, for_mesh=step.for_mesh))
        elif not step.silent:
            await session.socket.send(EMPTY_BULK)

    async def send(self, step: OplogStep) -> None:
        """Send operations: live, as a bulk, or singly as text."""
        texts = [self._composer.texts[name] for name in step.send or ()]
        messages: list[str | bytes]
        if step.form == "bulk":
            messages = [json.dumps({"type": "bulk", "ops": texts}, ensure_ascii=False)]
        elif step.form == "op":
            messages = [json.dumps({"type": "op", "op": text}) for text in texts]
        else:
            messages = [
                self._composer.live(name, step.version).encode() for name in step.send or ()
            ]
        self.sent.append(f"{step.form} {', '.join(step.send or ())} on {step.on}")
        for message in messages:
            await self._send(step, message)

    async def text(self, step: OplogStep) -> None:
        """Send any text."""
        await self._send(step, str(step.text) * step.times)

    async def binary(self, step: OplogStep) -> None:
        """Send any bytes."""
        await self._send(step, bytes.fromhex(str(step.binary)) * step.times)

    async def _send(self, step: OplogStep, message: str | bytes) -> None:
        self.sent.append(f"{step.on}: {message[:200]!r}")
        self._talk.count(message)
        if step.parts == 1:
            await self._on(step.on).socket.send(message)
            return
        size = max(1, -(-len(message) // step.parts))
        parts: Sequence[Any] = [message[at : at + size] for at in range(0, len(message), size)]
        await self._on(step.on).socket.send(parts)

    async def close(self, step: OplogStep) -> None:
        """Close a session, which the target has to close too."""
        session = self._talk.sessions.pop(step.close)
        if not await session.socket.close():
            raise SessionFailed("no-close", "close: the target sends no close frame", missed=True)

    async def abort(self, step: OplogStep) -> None:
        """Drop a session."""
        await self._talk.sessions.pop(step.abort).end()

    # --- What must follow ---

    async def ping(self, step: OplogStep) -> None:
        """A ping must be answered."""
        if not await self._on(step.ping).socket.ping(self._talk.deadline_s):
            raise SessionFailed("no-pong", "ping: no pong comes", missed=True)

    async def pong(self, step: OplogStep) -> None:
        """A pong that nothing asked for does no harm."""
        await self._on(step.pong).socket.pong()

    async def applied(self, step: OplogStep) -> None:
        """A new session must get the operations."""
        await self._snapshot(step.applied or (), "applied")

    async def absent(self, step: OplogStep) -> None:
        """A new session must not get the operations, though the target has read them."""
        found = set((await self._after(step.on)).everything)
        came = [name for name in step.absent or () if self._form(name) in found]
        if came:
            raise SessionFailed("applied", f"absent: {', '.join(came)} came")

    async def once(self, step: OplogStep) -> None:
        """A new session must get each operation once."""
        await self._snapshot(step.once or (), "once")
        found = (await self._after(step.on)).everything
        for name in step.once or ():
            if found.count(self._form(name)) != 1:
                times = found.count(self._form(name))
                raise SessionFailed("not-once", f"once: {name} came {times} times")

    async def ordered(self, step: OplogStep) -> None:
        """A new session must get the operations in this order."""
        session = await self._snapshot(step.ordered or (), "ordered")
        places = [session.everything.index(self._form(name)) for name in step.ordered or ()]
        if places != sorted(places):
            raise SessionFailed("wrong-order", f"ordered: they came at {places}")

    async def relayed(self, step: OplogStep) -> None:
        """An open session must get the operations live, in binary envelopes."""
        names = step.relayed or ()
        session = self._on(step.on)
        missing = await self._talk.wait(session, {self._form(name) for name in names})
        lost = [name for name in names if self._form(name) in missing]
        if lost:
            why = f"relayed: {', '.join(lost)} did not come"
            raise SessionFailed("not-relayed", why, missed=session.over is None)
        not_live = [name for name in names if self._form(name) not in session.live]
        if not_live or session.faults:
            raise SessionFailed("not-live", f"relayed: {', '.join(not_live)} came", session.faults)

    async def unrelayed(self, step: OplogStep) -> None:
        """An open session must not get the operations: a marker of another one comes instead."""
        session = self._on(step.on)
        marker = await self._mark(await self._probe())
        if await self._talk.wait(session, [marker]):
            why = "unrelayed: a marker of another session did not come"
            raise SessionFailed("not-relayed", why, missed=session.over is None)
        came = [name for name in step.unrelayed or () if self._form(name) in session.everything]
        if came:
            raise SessionFailed("relayed", f"unrelayed: {', '.join(came)} came")

    async def received(self, step: OplogStep) -> None:
        """An open session must get the operations, in a bulk or live."""
        names = step.received or ()
        session = self._on(step.on)
        missing = await self._talk.wait(session, {self._form(name) for name in names})
        lost = [name for name in names if self._form(name) in missing]
        if lost:
            why = f"received: {', '.join(lost)} did not come"
            raise SessionFailed("not-received", why, missed=session.over is None)

    async def chunked(self, step: OplogStep) -> None:
        """A new session must get the operations in bulks that are short, or have one operation."""
        session = await self._snapshot(step.chunked or (), "chunked")
        long = [size for size, count in session.sizes if size > OPLOG_CHUNK_BYTES_MAX and count > 1]
        if long:
            raise SessionFailed("long-message", f"chunked: a bulk has {max(long)} bytes")

    async def announced(self, step: OplogStep) -> None:
        """The first bulk of an open session must say which versions the target reads."""
        said = self._on(step.on).versions
        if said != step.announced:
            raise SessionFailed("not-announced", f"announced: the first bulk says {said}")

    async def unopened(self, step: OplogStep) -> None:
        """Another path must be no endpoint."""
        base = self._talk.url.partition("://")
        host = base[2].partition("/")[0]
        if not await is_refused(f"{base[0]}://{host}{step.unopened}", self._talk.deadline_s):
            raise SessionFailed("opened", "unopened: a WebSocket opens")

    # --- A target with a mesh ---

    async def mesh(self, step: OplogStep) -> None:
        """Let the target begin with its mesh."""
        assert step.mesh is not UNSET
        await self._meshed.begin(step.mesh)

    async def clock(self, step: OplogStep) -> None:
        """Let time pass for its mesh, once it has done what was due before."""
        assert step.clock is not UNSET
        await (await self._probe()).socket.ping(self._talk.deadline_s)
        await self._meshed.advance(step.clock)

    async def dialled(self, step: OplogStep) -> None:
        """The target must dial listeners; their sessions have their names from now on."""
        await self._meshed.dialled(step)

    async def undialled(self, step: OplogStep) -> None:
        """The target must not dial these until time passes again."""
        self._meshed.hold_undialled(*(step.undialled or ()))

    async def left(self, step: OplogStep) -> None:
        """The target must end a session."""
        session = self._talk.sessions.pop(step.left)
        if not await self._talk.ended(session):
            raise SessionFailed("not-left", f"left: {step.left} goes on", missed=True)
        if step.code and session.over != step.code:
            why = f"left: {step.left} has ended with code {session.over}, and not {step.code}"
            raise SessionFailed("other-code", why)

    async def named(self, step: OplogStep) -> None:
        """The first bulk of the target must name it, and say if it has dialled for the mesh."""
        session = self._on(step.named)
        node = self._meshed.places[TARGET].node
        if not node or session.node != node or (session.for_mesh is True) is not step.for_mesh:
            why = f"named: it says node {session.node!r} and mesh {session.for_mesh!r}"
            raise SessionFailed("not-named", why)

    async def recorded(self, step: OplogStep) -> None:
        """The target must have a record of itself, which is not older than this."""
        assert step.recorded is not UNSET
        session = await self._after(next(iter(self._talk.sessions)))
        self._meshed.hold_record(session.texts, self._talk.url, step.recorded)

    # --- Means ---

    @property
    def _meshed(self) -> MeshRun:
        assert self._mesh is not None, "the case has listeners"
        return self._mesh

    def _on(self, name: str) -> PeerSession:
        session = self._talk.sessions[name]
        if session.over is not None:
            why = f"session {name} has ended with code {session.over}"
            raise SessionFailed("session-ended", why)
        return session

    def _form(self, name: str) -> str:
        return self._composer.form(name)

    async def _snapshot(self, names: Sequence[str], verb: str) -> PeerSession:
        wanted = {name: self._form(name) for name in names}
        session = await self._talk.snapshot(wanted.values())
        missing = [name for name, form in wanted.items() if form not in session.everything]
        if missing:
            # A session that has ended is the cause.
            for name in self._talk.sessions:
                self._on(name)
            why = f"{verb}: {', '.join(missing)} did not come"
            raise SessionFailed("not-applied", why, missed=session.over is None)
        return session

    async def _mark(self, session: PeerSession) -> str:
        """Send a marker on a session; return its normal form."""
        value = self._composer.marker()
        await session.socket.send(json.dumps({"v": 1, "op": value}).encode())
        form = normal_form(value)
        assert form is not None
        return form

    async def _probe(self) -> PeerSession:
        """Return a session of the suite that no step names."""
        if self._probes is None:
            self._probes = await self._talk.open("probe")
            await self._talk.begin(self._probes)
        return self._probes

    async def _after(self, name: str) -> PeerSession:
        """Return a new session, once the target has read everything that was sent on one."""
        marker = await self._mark(self._on(name))
        session = await self._talk.snapshot([marker])
        if marker not in session.everything:
            self._on(name)
            why = f"what follows on {name} is not applied any more"
            raise SessionFailed("session-dead", why, missed=session.over is None)
        return session

    async def _all_alive(self) -> None:
        """See that each open session is still read, and that nothing else than operations came."""
        markers = [await self._mark(self._on(name)) for name in self._talk.sessions]
        session = await self._talk.snapshot(markers)
        for name, marker in zip(self._talk.sessions, markers, strict=True):
            if marker not in session.everything:
                self._on(name)
                why = f"in the end {name} is not read any more"
                raise SessionFailed("session-dead", why, missed=session.over is None)
        faults = [fault for one in self._talk.sessions.values() for fault in one.faults]
        if faults:
            raise SessionFailed("bad-message", "the target has sent what is no message", faults)


_STEPS: Mapping[str, Callable[[SessionRun, OplogStep], Awaitable[None]]] = {
    "connect": SessionRun.connect,
    "send": SessionRun.send,
    "text": SessionRun.text,
    "binary": SessionRun.binary,
    "ping": SessionRun.ping,
    "pong": SessionRun.pong,
    "close": SessionRun.close,
    "abort": SessionRun.abort,
    "applied": SessionRun.applied,
    "absent": SessionRun.absent,
    "once": SessionRun.once,
    "ordered": SessionRun.ordered,
    "relayed": SessionRun.relayed,
    "unrelayed": SessionRun.unrelayed,
    "received": SessionRun.received,
    "chunked": SessionRun.chunked,
    "announced": SessionRun.announced,
    "unopened": SessionRun.unopened,
    "mesh": SessionRun.mesh,
    "clock": SessionRun.clock,
    "dialled": SessionRun.dialled,
    "undialled": SessionRun.undialled,
    "left": SessionRun.left,
    "named": SessionRun.named,
    "recorded": SessionRun.recorded,
}
