"""Deadlines, and the canary: a document that the suite reads to measure and to probe the target.

A deadline is measured once on the target and scaled by the caller, never fixed.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from meshwire_conformance.socket_suite.inbox import Subscription
from meshwire_conformance.socket_suite.peers import Peer, Session
from meshwire_spec.codec import Message, encode
from meshwire_spec.numbers import READ_MESSAGE, FrameType

FLOOR_S = 5.0
"""The shortest deadline in seconds, before scaling."""
MEDIANS = 50
"""A deadline is this many medians of the calibration."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The deadline of a run; `median_s` is None if the calibration got no answer."""

    median_s: float | None
    scale: float

    @property
    def seconds(self) -> float:
        """Seconds that an answer may take."""
        return max(FLOOR_S, MEDIANS * (self.median_s or 0.0)) * self.scale

    def beyond(self, declared_s: float) -> float:
        """Return the seconds to wait for an effect of a deadline that the target declares."""
        return declared_s + self.seconds

    def describe(self) -> str:
        """Return the line for the report."""
        if self.median_s is None:
            return f"deadline {self.seconds:.2f} s; the calibration got no answer"
        return (
            f"deadline {self.seconds:.2f} s; median of the calibration {self.median_s * 1e3:.1f} ms"
        )


READS = 20
"""Reads of a calibration."""
READS_MIN = 3
ENOUGH_S = 2.0
"""Reads and seconds after which the calibration of a slow target is over."""
SILENT_READS_MAX = 2
"""Reads without an answer that end the calibration."""
NO_CONNECTION = "no connection"
"""How the reason of a probe begins if the target took no connection."""
WITNESSES = "tracks"
"""Collection of the witness: LatestOnly, so that it is pushed whether or not a peer has it."""
PROBE = "probe"
"""Name of the peer that reads the canary; no case uses it."""
CANARY_DOCUMENT = bytes.fromhex(
    "856f4a832a52369b007b0110cacacacacacacacacacacacacacacaca01d1ee8d91a0188497d553816d7e8cc7c6"
    "16888ae24f4304c2bdfc5e2e1a94671c060102030213022302400256020815082102230234014202560357088001"
    "027f007f017f017f007f007f077f0663616e6172797f007f01017f017f86016d657368776972657f0000"
)
"""A saved document with one field, written by Automerge, so that reads need no library."""


class Canary:
    """Reads one document repeatedly through a peer of its own."""

    def __init__(self, session: Session, document: bytes) -> None:
        self.key = f"notes:canary-{session.nonce}"
        self._session = session
        self._document = document
        self._subscription: Subscription = session.inbox.subscribe(self.key)
        self._unknown: Subscription = session.inbox.subscribe(f"{self.key}-unknown")
        self._next: asyncio.Task[str | None] | None = None
        self._running: asyncio.Task[str | None] | None = None

    @property
    def peer(self) -> Peer:
        """The peer that reads the canary."""
        return self._session.peer(PROBE)

    @property
    def answers(self) -> int:
        """Number of times that the target has sent the document to the peer that reads it."""
        return sum(arrival.peer == PROBE for arrival in self._subscription.arrivals)

    async def plant_witness(self, deadline_s: float) -> None:
        """Send a further document, which shows later when the target pushes its whole store."""
        key = f"{WITNESSES}:witness-{self._session.nonce}"
        self._session.witness = self._session.inbox.subscribe(key)
        self._session.witness_sender = self.peer
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self.send(deadline_s, key)
            # A copy received before this answer is an echo, which is no push of the store.
            await self.read(deadline_s)
        self._session.echoes = self._session.witness_arrivals(self.peer)

    async def send(self, deadline_s: float, key: str = "") -> None:
        """Send the document and wait for the target's FIN, at most for the deadline.

        Raises TimeoutError without credit for a stream.
        """
        connection = await self.peer.connection()
        # A target that never ends a stream grants no credit for another one in the end.
        async with asyncio.timeout(deadline_s):
            stream = await connection.open()
        await stream.write(self._frame(FrameType.SNAPSHOT, self._document, key))
        await stream.finish()
        await stream.wait_for(lambda: stream.read_over, deadline_s)

    async def read(
        self, deadline_s: float, through: Peer | None = None, *, unknown: bool = False
    ) -> bool:
        """Return True if a read of the canary through a peer is answered within the deadline.

        With `unknown` the read is for a document that no node holds, so that no offer answers it.
        """
        peer = through or self.peer
        # Not dialled again: a handshake would make the node send to a peer whose case watches its
        # input.
        connection = await peer.connection() if through is None else through.live
        if connection is None:
            raise ConnectionError(f"{peer.name} is gone")
        subscription = self._unknown if unknown else self._subscription
        before = len(subscription.arrivals)
        async with asyncio.timeout(deadline_s):
            stream = await connection.open()
        await stream.write(self._frame(FrameType.DELTA, READ_MESSAGE, subscription.key))
        await stream.finish()
        return await subscription.signal.wait_for(
            lambda: any(arrival.peer == peer.name for arrival in subscription.arrivals[before:]),
            deadline_s,
        )

    async def calibrate(self, scale: float) -> Deadline:
        """Return the deadline by the median of 20 reads; None for it if two in a row fail.

        A slow target is read less often.
        """
        loop = asyncio.get_running_loop()
        taken: list[float] = []
        silent = 0
        try:
            await self.send(FLOOR_S * scale)
            while not _is_enough(taken) and silent < SILENT_READS_MAX:
                start = loop.time()
                if await self.read(FLOOR_S * scale):
                    taken.append(loop.time() - start)
                    silent = 0
                else:
                    silent += 1
        except (ConnectionError, TimeoutError):
            taken.clear()
        if not _is_enough(taken):
            return Deadline(None, scale)
        return Deadline(statistics.median(taken), scale)

    async def probe(self, deadline_s: float) -> str | None:
        """Return why the target does not answer, or None; concurrent callers share one read."""
        if self._next is None:
            self._next = asyncio.create_task(self._probe_after(self._running, deadline_s))
        return await asyncio.shield(self._next)

    async def _probe_after(
        self, before: asyncio.Task[str | None] | None, deadline_s: float
    ) -> str | None:
        if before is not None:
            await asyncio.wait((before,))
        # Later callers start a new read, so that each read starts after its callers' observations.
        self._running, self._next = self._next, None
        try:
            answered = await self.read(deadline_s)
        except (ConnectionError, TimeoutError) as exc:
            return f"{NO_CONNECTION}: {exc}" if str(exc) else "no credit for another stream"
        return None if answered else f"a read got no answer within {deadline_s:.2f} s"

    def _frame(self, frame_type: int, payload: bytes, key: str = "") -> bytes:
        fields = {"key": key or self.key, "type": int(frame_type), "payload": payload}
        return encode(Message("stream_frame", fields))


def _is_enough(taken: Sequence[float]) -> bool:
    """Return True if the times of these reads give a deadline."""
    return len(taken) >= READS or (len(taken) >= READS_MIN and sum(taken) >= ENOUGH_S)
