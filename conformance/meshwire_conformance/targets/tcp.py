"""`tcp://HOST:PORT`: the lab binding over one TCP connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from meshwire_conformance.catalogue.case import EVERYTHING
from meshwire_conformance.targets.hosts import in_address
from meshwire_conformance.targets.lab import LabConnection
from meshwire_conformance.targets.lab_records import (
    CloseReceived,
    DataReceived,
    Event,
    PeerFault,
    PongReceived,
    Preamble,
    PreambleReceived,
    ResetReceived,
    StopReceived,
    StreamOpened,
    is_uni,
)
from meshwire_conformance.targets.transport import (
    Address,
    BindingBroken,
    Closed,
    Connection,
    Dial,
    Overdue,
    ProbedConnection,
    Stream,
    closed_on_failure,
)
from meshwire_spec.numbers import PAYLOAD_MAX, REASONS

HOST_SHOWN = 80
"""Characters shown of a host name that is not valid."""
BEGINNING = 16
"""Bytes shown of a preamble that cannot be read."""
PONGS_KEPT = 64
PONGS_MAX = 1000
"""Greatest number of PONGs kept per connection, and of those not asked for; no credit limits them.
"""
REST_MAX = 2**23
"""Greatest number of bytes that are read of a socket after it has failed."""
UNREAD_MAX = 2 * PAYLOAD_MAX
"""Greatest number of unread bytes on a stream; no correct target sends more."""


class TcpConnection(ProbedConnection, asyncio.Protocol):
    """The asyncio driver of the sans-IO `LabConnection`."""

    binding = "tcp"

    def __init__(self, dial: Dial, *, dialled: bool = True) -> None:
        super().__init__()
        alpn = dial.alpn.encode()
        preamble = dial.preamble or Preamble(dial.identity, alpn)
        self.lab = LabConnection(preamble, dial.order, dialled=dialled, alpn=alpn)
        self.on_stream = dial.on_stream
        self.pongs: deque[bytes] = deque(maxlen=PONGS_KEPT)
        self.echoes = True
        """False once the target was late to answer a PING of a case that is not about PINGs."""
        self._pong_count = 0
        """Number of PONGs received beyond those asked for."""
        self.bytes_received = 0
        self.trickles = False
        """True if output waits for `trickle` instead of being written."""
        self._trickle = bytearray()
        self.keeps_open = False
        """True if the suite's side of the TCP connection stays open after the target's CLOSE."""
        self.ended = False
        """True if the TCP connection is closed in both directions."""
        self._transport: asyncio.Transport | None = None
        self._flush_planned = False

    # --- asyncio.Protocol -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write the preamble."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Read records and report them to streams and waiters."""
        self.bytes_received += len(data)
        if self.closed is not None:
            return
        for event in self.lab.receive(data):
            _HANDLERS[type(event)](self, event)
        self.flush()
        self.signal.notify()

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the end of the socket, with or without a CLOSE record before it."""
        if exc is not None:
            self._read_rest()
        self.ended = True
        self.gone(Closed(None, "connection lost" if exc is None else str(exc)))
        self.signal.notify()

    def _read_rest(self) -> None:
        """Take what waits in a socket that has failed.

        A suite that is late writes to a target which has closed; that write fails before the CLOSE
        is read, and asyncio reads no more.
        """
        assert self._transport is not None
        number = self._transport.get_extra_info("socket").fileno()
        left = REST_MAX
        # The socket does not block: an error says that it holds nothing more.
        with contextlib.suppress(OSError):
            while left > 0 and (data := os.read(number, left)):
                left -= len(data)
                self.data_received(data)

    # --- operations -------------------------------------------------------------------------

    @contextmanager
    def unread(self) -> Iterator[None]:
        """Read nothing of the target meanwhile, so that it is not answered."""
        assert self._transport is not None, "the connection is open"
        self._transport.pause_reading()
        try:
            yield
        finally:
            self._transport.resume_reading()

    async def open(self, *, uni: bool = False) -> Stream:
        """Return a new stream when the target grants one; raises ConnectionError if closed."""
        await self.signal.wait_for(
            lambda: self.closed is not None or self.lab.can_open(uni=uni), None
        )
        if self.closed is not None:
            raise ConnectionError(self.closed.text or f"closed with code {self.closed.code}")
        stream = Stream(self, self.lab.open(uni=uni), uni=uni, ours=True)
        self.streams[stream.number] = stream
        return stream

    async def write(self, stream: Stream, data: bytes) -> None:
        """Queue bytes on a stream."""
        self.lab.write(stream.number, data, stream.record_form)
        self._plan_flush()

    async def finish(self, stream: Stream) -> None:
        """Finish the suite's half of a stream."""
        self.lab.finish(stream.number)
        self._plan_flush()

    async def reset(self, stream: Stream, code: int) -> None:
        """Reset the suite's half of a stream."""
        self._pump_before_control()
        self.lab.reset(stream.number, code)
        self._plan_flush()

    async def stop(self, stream: Stream, code: int) -> None:
        """Stop the target's half of a stream."""
        self._pump_before_control()
        self.lab.stop(stream.number, code)
        self._plan_flush()

    async def close(self, code: int = 0, text: str = "") -> None:
        """Close the connection and its socket."""
        self._pump_before_control()
        self.lab.close(code, text)
        self.flush()
        self.gone(Closed(code, text, by_suite=True))
        if self._transport is not None:
            self._transport.close()

    def end_link(self) -> None:
        """End the suite's direction of the TCP connection without a CLOSE."""
        self._pump_before_control()
        self.flush()
        # Nothing can be written from now on.
        self.lab.closed = True
        if self._transport is not None:
            self._transport.write_eof()

    async def raw(self, data: bytes) -> None:
        """Write bytes without regard to the rules of the binding."""
        self.wrote_at = time.monotonic()
        self._pump_before_control()
        self.lab.by_hand = True
        self.lab.write_raw(data)
        self.flush()

    async def ping(self, payload: bytes, deadline_s: float) -> bool:
        """Return True if the target echoes these 8 bytes within the deadline."""
        self.lab.ping(payload)
        self._pong_count -= 1
        self.flush()
        await self.signal.wait_for(
            lambda: payload in self.pongs or self.closed is not None, deadline_s
        )
        return payload in self.pongs

    async def ready(self, deadline_s: float) -> bool:
        """Return True if the target's preamble came within the deadline."""
        await self.signal.wait_for(
            lambda: self.lab.peer is not None or self.closed is not None, deadline_s
        )
        return self.lab.peer is not None

    def flush(self) -> None:
        """Write everything that may be sent now."""
        self._flush_planned = False
        output = self.lab.take_output()
        if self.trickles:
            self._trickle += output
        elif output and self._transport is not None and not self._transport.is_closing():
            self._transport.write(output)

    def trickle_left(self) -> int:
        """Return how many bytes wait for `trickle`."""
        return len(self._trickle)

    def trickle(self) -> None:
        """Write one of the waiting bytes."""
        self.wrote_at = time.monotonic()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._trickle[:1])
        del self._trickle[:1]

    def end_trickle(self) -> None:
        """Write all waiting bytes, and later ones at once."""
        self.trickles = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._trickle)
        self._trickle.clear()
        self.flush()

    async def drained(self, number: int, deadline_s: float) -> bool:
        """Return True if everything queued on a stream is sent within the deadline."""
        self.flush()
        return await self.signal.wait_for(
            lambda: self.closed is not None or not self.lab.waits(number), deadline_s
        )

    def _plan_flush(self) -> None:
        """Flush at the end of this turn of the loop, so that streams are interleaved."""
        if not self._flush_planned:
            self._flush_planned = True
            asyncio.get_running_loop().call_soon(self.flush)

    def _pump_before_control(self) -> None:
        """Send queued DATA before a control record that follows it."""
        if self.lab.peer is not None:
            self.flush()

    # --- events ------------------------------------------------------------------------------

    def _on_preamble(self, event: PreambleReceived) -> None:
        self.endpoint_id = event.preamble.endpoint_id

    def _on_opened(self, event: StreamOpened) -> None:
        number = event.stream_id
        self.accept(Stream(self, number, uni=is_uni(number), ours=self.lab.is_ours(number)))

    def _stream(self, number: int) -> Stream:
        """Return the stream of this number; one opened by a record written by hand is created."""
        if number not in self.streams:
            uni, ours = is_uni(number), self.lab.is_ours(number)
            self.streams[number] = Stream(self, number, uni=uni, ours=ours)
        return self.streams[number]

    def _on_data(self, event: DataReceived) -> None:
        stream = self._stream(event.stream_id)
        stream.received += event.data
        if len(stream.received) > UNREAD_MAX:
            self._on_fault(PeerFault("flow-control", f"stream {stream.number} never ends"))
            return
        stream.finished = stream.finished or event.fin
        stream.changed()

    def _on_reset(self, event: ResetReceived) -> None:
        stream = self._stream(event.stream_id)
        stream.reset_code = event.code
        stream.changed()

    def _on_stop(self, event: StopReceived) -> None:
        stream = self._stream(event.stream_id)
        if stream.stop_code is None:
            stream.stop_code = event.code
        stream.write_over = True
        stream.changed()

    def _on_pong(self, event: PongReceived) -> None:
        self.pongs.append(event.payload)
        self._pong_count += 1
        if self._pong_count > PONGS_MAX:
            said = f"{self._pong_count} PONGs too many on one connection"
            self._on_fault(PeerFault("flow-control", said, "LB-050"))

    def _on_close(self, event: CloseReceived) -> None:
        self.gone(Closed(event.code, event.reason))
        self._drop()

    def _on_fault(self, event: PeerFault) -> None:
        broken = f"{event.rule} of the lab binding" if event.rule else "the lab binding"
        said = f"the target broke {broken}: {event.reason}, {event.detail}"
        self.gone(Closed(None, said, fault=event))
        self._drop(REASONS[event.reason].code, event.detail)

    def _drop(self, code: int | None = None, text: str = "") -> None:
        if self._transport is not None and not self.keeps_open:
            if code is not None:
                self.lab.closed = False
                self.lab.close(code, text)
                self.flush()
            self._transport.close()


_HANDLERS: dict[type[Event], Callable[[TcpConnection, Event], None]] = {
    PreambleReceived: TcpConnection._on_preamble,  # type: ignore[dict-item]  # noqa: SLF001
    StreamOpened: TcpConnection._on_opened,  # type: ignore[dict-item]  # noqa: SLF001
    DataReceived: TcpConnection._on_data,  # type: ignore[dict-item]  # noqa: SLF001
    ResetReceived: TcpConnection._on_reset,  # type: ignore[dict-item]  # noqa: SLF001
    StopReceived: TcpConnection._on_stop,  # type: ignore[dict-item]  # noqa: SLF001
    PongReceived: TcpConnection._on_pong,  # type: ignore[dict-item]  # noqa: SLF001
    CloseReceived: TcpConnection._on_close,  # type: ignore[dict-item]  # noqa: SLF001
    PeerFault: TcpConnection._on_fault,  # type: ignore[dict-item]  # noqa: SLF001
}


async def after_preamble(
    connection: TcpConnection, host: str, port: int, deadline_s: float
) -> TcpConnection:
    """Return a connection once the preambles were exchanged.

    Raises ConnectionError if the target closes before its preamble, BindingBroken if its preamble
    is wrong, and Overdue if none comes within the deadline.
    """
    async with closed_on_failure(connection):
        if not await connection.ready(deadline_s):
            closed = connection.closed
            if closed is None:
                raise Overdue(f"{host}:{port}: no preamble came within {deadline_s:g} s")
            said = f"{in_address(host)}:{port}: {closed.text}"
            if closed.fault is None:
                raise ConnectionError(said)
            begins = closed.fault.data[:BEGINNING].hex(" ")
            raise BindingBroken(f"{said}; its bytes begin {begins}", closed)
    return connection


async def connect_raw(host: str, port: int, dial: Dial, deadline_s: float) -> TcpConnection:
    """Return a connection after writing the preamble, without waiting; raises ConnectionError."""
    loop, began_at = asyncio.get_running_loop(), time.monotonic()
    try:
        async with asyncio.timeout(deadline_s):
            _, connection = await loop.create_connection(lambda: TcpConnection(dial), host, port)
    except TimeoutError as exc:
        raise Overdue(f"{host}:{port}: no connection within {deadline_s:g} s") from exc
    except OSError as exc:
        raise ConnectionError(f"{in_address(host)}:{port}: {exc.strerror or exc}") from exc
    except UnicodeError as exc:
        raise ConnectionError(f"{host[:HOST_SHOWN]}: invalid host name") from exc
    connection.began_at = began_at
    return connection


@dataclass(slots=True)
class TcpDialler:
    """Dials the lab binding."""

    address: Address
    shows: ClassVar[frozenset[str]] = EVERYTHING

    async def dial(self, dial: Dial, deadline_s: float) -> Connection:
        """Return a connection whose preambles were exchanged; raises ConnectionError."""
        connection = await self.dial_raw(dial, deadline_s)
        return await after_preamble(connection, self.address.host, self.address.port, deadline_s)

    async def dial_raw(self, dial: Dial, deadline_s: float) -> TcpConnection:
        """Return a connection without waiting for the target's preamble; raises ConnectionError."""
        return await connect_raw(self.address.host, self.address.port, dial, deadline_s)

    async def close(self) -> None:
        """Do nothing: nothing is kept between connections."""
