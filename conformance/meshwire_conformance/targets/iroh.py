"""`iroh://ENDPOINT@HOST:PORT`: QUIC through the PyPI package `iroh`, relays off, loopback only.

Every identity of the suite is an endpoint of its own. The package is told nothing of relays or
discovery and binds loopback addresses alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import iroh

from meshwire_conformance.attach import Address
from meshwire_conformance.transport import Closed, Connection, Dial, Stream
from meshwire_spec.numbers import ALPN

READ_BYTES = 2**16
CLOSE_S = 4.0
_CLOSED_BY_PEER = re.compile(
    r"closed by peer: (?:(?P<text>.*) \(code (?P<code>\d+)\)|(?P<bare>\d+))"
)
_RESET = re.compile(r"Reset\((\d+)\)")
_STOPPED = re.compile(r"Stopped\((\d+)\)")
_FREED_ON_LOOP = (
    iroh.BiStream,
    iroh.Connection,
    iroh.Endpoint,
    iroh.RecvStream,
    iroh.SendStream,
)
_PARKED: deque[tuple[Callable[[Any], None], Any]] = deque()


def _free_on_loop_only() -> None:
    """Let objects of the package be freed in the event loop's thread alone.

    The package calls Python from its own threads while it holds a connection's lock; a garbage
    collection that happens to run there and frees a stream would wait for that lock for ever.
    """
    for kind in _FREED_ON_LOOP:
        setattr(kind, "__del__", _guarded(kind.__del__))  # noqa: B010 - mypy forbids the assignment


def _guarded(free: Callable[[Any], None]) -> Callable[[Any], None]:
    def guarded(thing: Any) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            _PARKED.append((free, thing))
        else:
            free(thing)

    return guarded


def _free_parked() -> None:
    while _PARKED:
        free, thing = _PARKED.popleft()
        free(thing)


_free_on_loop_only()


class _Loopback(iroh.Preset):
    """No discovery, no relays, and both loopback addresses instead of all addresses."""

    def apply(self, builder: Any) -> None:
        """Configure the endpoint."""
        builder.apply_minimal()
        builder.bind_addr("127.0.0.1:0")
        builder.bind_addr("[::1]:0")


def _last_line(error: iroh.IrohError) -> str:
    lines = [line.strip() for line in error.message().splitlines() if line.strip()]
    return lines[-1] if lines else "iroh error"


class IrohDialler:
    """Dials one target; keeps an endpoint for each identity until `close`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._endpoints: dict[bytes, Any] = {}

    async def dial(self, dial: Dial, deadline_s: float) -> Connection:
        """A connection that is up; raises ConnectionError."""
        _free_parked()
        address = self._address
        try:
            async with asyncio.timeout(deadline_s):
                endpoint = await self._endpoint(dial.identity)
                target = iroh.EndpointAddr(
                    iroh.EndpointId.from_string(address.endpoint_id),
                    None,
                    [f"{address.host}:{address.port}"],
                )
                connection = await endpoint.connect(target, ALPN.encode())
        except TimeoutError as exc:
            raise ConnectionError(f"no connection within {deadline_s:g} s") from exc
        except iroh.IrohError as exc:
            raise ConnectionError(_last_line(exc)) from exc
        return IrohConnection(connection, dial)

    async def _endpoint(self, identity: bytes) -> Any:
        if identity not in self._endpoints:
            options = iroh.EndpointOptions(
                preset=_Loopback(),
                secret_key=identity,
                alpns=[ALPN.encode()],
                relay_mode=iroh.RelayMode.disabled(),
            )
            self._endpoints[identity] = await iroh.Endpoint.bind(options)
        return self._endpoints[identity]

    async def close(self) -> None:
        """Close every endpoint."""
        endpoints, self._endpoints = list(self._endpoints.values()), {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(
                    *(endpoint.close() for endpoint in endpoints), return_exceptions=True
                )
        _free_parked()


class IrohConnection(Connection):
    """One QUIC connection: a task for each half that can bring news."""

    binding = "iroh"

    def __init__(self, connection: Any, dial: Dial) -> None:
        super().__init__()
        self.on_stream = dial.on_stream
        self.endpoint_id = bytes(connection.remote_id().to_bytes())
        self._connection = connection
        self._halves: dict[int, tuple[Any, Any]] = {}
        self._readers: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = {(ours, uni): 0 for ours in (False, True) for uni in (False, True)}
        for work in (self._accept_bidi(), self._accept_uni(), self._watch_end()):
            self._spawn(work)

    # --- operations -------------------------------------------------------------------------

    async def open(self, *, uni: bool = False) -> Stream:
        """A new stream, once the target's credit allows it; raises ConnectionError when closed."""
        _free_parked()
        if self.closed is not None:
            raise ConnectionError(self.closed.text or "closed")
        try:
            opened = await (self._connection.open_uni() if uni else self._connection.open_bi())
        except iroh.IrohError as exc:
            raise ConnectionError(_last_line(exc)) from exc
        return self._take(opened, uni=uni, ours=True)

    async def write(self, stream: Stream, data: bytes) -> None:
        """Write bytes on a stream."""
        sender = self._halves[stream.number][0]
        try:
            await sender.write_all(data)
        except iroh.IrohError as exc:
            self._write_failed(stream, exc)

    async def finish(self, stream: Stream) -> None:
        """End our half of a stream."""
        sender = self._halves[stream.number][0]
        with contextlib.suppress(iroh.IrohError):
            await sender.finish()

    async def reset(self, stream: Stream, code: int) -> None:
        """Give up our half of a stream."""
        sender = self._halves[stream.number][0]
        if sender is not None:
            with contextlib.suppress(iroh.IrohError):
                await sender.reset(code)

    async def stop(self, stream: Stream, code: int) -> None:
        """Ask the target to stop sending on a stream."""
        receiver = self._halves[stream.number][1]
        if receiver is None:
            return
        # A read holds the stream's lock, so it has to go first.
        reader = self._readers.pop(stream.number, None)
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        with contextlib.suppress(iroh.IrohError):
            await receiver.stop(code)
        stream.finished = True
        stream.changed()

    async def close(self, code: int = 0, text: str = "") -> None:
        """Close the connection and end its tasks."""
        if self.closed is None:
            self._connection.close(code, text.encode())
            self.gone(Closed(code, text, by_target=False))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._halves.clear()
        _free_parked()

    # --- reading ----------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _take(self, opened: Any, *, uni: bool, ours: bool) -> Stream:
        # Numbers as in QUIC for a dialling side, so that reports look the same on every binding.
        place = self._numbers[ours, uni]
        self._numbers[ours, uni] += 1
        number = place * 4 + (0 if ours else 1) + (2 if uni else 0)
        stream = Stream(self, number, uni=uni, ours=ours)
        sender = opened.send() if not uni else (opened if ours else None)
        receiver = opened.recv() if not uni else (None if ours else opened)
        self.streams[stream.number] = stream
        self._halves[stream.number] = (sender, receiver)
        if not ours:
            self.accept(stream)
        if receiver is not None:
            self._readers[stream.number] = self._spawn(self._read(stream, receiver))
        if sender is not None:
            self._spawn(self._watch_stop(stream, sender))
        return stream

    async def _accept_bidi(self) -> None:
        with contextlib.suppress(iroh.IrohError):
            while True:
                self._take(await self._connection.accept_bi(), uni=False, ours=False)

    async def _accept_uni(self) -> None:
        with contextlib.suppress(iroh.IrohError):
            while True:
                self._take(await self._connection.accept_uni(), uni=True, ours=False)

    async def _read(self, stream: Stream, receiver: Any) -> None:
        try:
            while data := await receiver.read(READ_BYTES):
                stream.received += data
                stream.changed()
            stream.finished = True
        except iroh.IrohError as exc:
            match = _RESET.search(exc.message())
            stream.reset_code = int(match[1]) if match else stream.reset_code
        stream.changed()
        self.signal.notify()

    async def _watch_stop(self, stream: Stream, sender: Any) -> None:
        with contextlib.suppress(iroh.IrohError):
            code = await sender.stopped()
            if code is not None:
                self._stopped(stream, code)

    def _write_failed(self, stream: Stream, error: iroh.IrohError) -> None:
        match = _STOPPED.search(error.message())
        if match is not None:
            self._stopped(stream, int(match[1]))

    def _stopped(self, stream: Stream, code: int) -> None:
        if stream.stop_code is None:
            stream.stop_code = code
            stream.write_over = True
            # Finishing it would release nothing any more.
            self._spawn(self.reset(stream, 0))
            stream.changed()

    async def _watch_end(self) -> None:
        try:
            text = await self._connection.closed()
        except iroh.IrohError as exc:
            text = exc.message()
        line = text.strip().splitlines()[-1] if text.strip() else ""
        match = _CLOSED_BY_PEER.search(line)
        if match is None:
            self.gone(Closed(None, line))
        else:
            self.gone(Closed(int(match["code"] or match["bare"]), match["text"] or ""))
