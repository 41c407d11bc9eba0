"""The lab binding between two sides in one process: no sockets, no clock, deterministic order.

`pair` connects two sides. After `offer_memory`, `memory://NAME` listens and dials within one event
loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from meshwire_reference.transport.base import (
    AddressRefused,
    Connection,
    Listener,
    TransportOptions,
    Unreachable,
)
from meshwire_reference.transport.lab.link import LabLink
from meshwire_reference.transport.registry import TRANSPORTS, Transport

HIGH_WATER: Final = 64 * 2**10
"""Bytes in flight in one direction from which the writer must pause, as with a socket."""


class _Pipe:
    """One direction of a memory link, and the carrier of the side that writes it."""

    def __init__(self, reader: LabLink, chunk: int | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = reader
        self._chunk = chunk
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._is_due = False
        self._is_over = False
        self.is_held = False
        self.writer: LabLink | None = None
        self.back: _Pipe | None = None

    def write(self, data: bytes) -> None:
        """Take bytes for the other side."""
        if not self._is_over:
            self._waiting.append(data)
            self._size += len(data)
            if self._size > HIGH_WATER and self.writer is not None:
                self.writer.pause_writing()
            self.deliver_soon()

    def finish(self) -> None:
        """End both directions once this one is delivered, as a peer does that sees the end."""
        if not self._is_over:
            self._is_over = True
            self.deliver_soon()

    def drop(self) -> None:
        """End both directions now."""
        self._waiting.clear()
        self._size = 0
        self.finish()

    def hold_reading(self, *, hold: bool) -> None:
        """Stop or resume delivery in the other direction."""
        assert self.back is not None, "a pipe is joined before it is used"
        self.back.is_held = hold
        self.back.deliver_soon()

    def deliver_soon(self) -> None:
        """Deliver in the next turn of the loop."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._is_due = False
        if self.is_held and not self._is_over:
            return
        if self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            cut = len(data) if self._chunk is None else self._chunk
            if data[cut:]:
                self._waiting.append(data[cut:])
                self.deliver_soon()
            was_full = self._size > HIGH_WATER
            self._size = len(data[cut:])
            self._reader.data_received(data[:cut])
            if was_full and self._size <= HIGH_WATER and self.writer is not None:
                self.writer.resume_writing()
        if self._is_over and not self._waiting:
            self._end()

    def _end(self) -> None:
        self._reader.link_ended()
        if self.writer is not None:
            self.writer.link_ended()
        if self.back is not None:
            self.back.drop_silently()

    def drop_silently(self) -> None:
        """Deliver nothing more."""
        self._is_over = True
        self._waiting.clear()


def join(dialler: LabLink, acceptor: LabLink, *, chunk: int | None = None) -> None:
    """Link two sides; `chunk` bounds the bytes that arrive at once."""
    up, down = _Pipe(acceptor, chunk), _Pipe(dialler, chunk)
    up.writer, down.writer = dialler, acceptor
    up.back, down.back = down, up
    dialler.start(up)
    acceptor.start(down)


async def pair(
    dialler: TransportOptions,
    acceptor: TransportOptions,
    *,
    chunk: int | None = None,
) -> tuple[Connection, Connection]:
    """Return both sides of a connection, the dialler's first. Raises Unreachable."""
    sides = LabLink(dialler, dialled=True), LabLink(acceptor, dialled=False)
    join(*sides, chunk=chunk)
    for side in sides:
        await side.established()
    return sides


class MemoryListener(Listener):
    """A name that can be dialled within this process."""

    def __init__(self, address: str, options: TransportOptions) -> None:
        super().__init__()
        self.address = address
        self.endpoint_id = options.endpoint_id
        self.options = options

    async def _stop(self) -> None:
        if _LISTENERS.get(self.address) is self:
            del _LISTENERS[self.address]

    async def connect(self, dialler: LabLink) -> None:
        """Join a dialler to a new side of ours. Raises Unreachable."""
        link = LabLink(self.options, dialled=False)
        join(dialler, link)
        try:
            await link.established()
        except Unreachable:
            self.refused += 1
            raise
        self._hand_over(link)


_LISTENERS: Final[dict[str, MemoryListener]] = {}


async def listen(address: str, options: TransportOptions) -> Listener:
    """Listen under a name that is free. Raises AddressRefused."""
    if address in _LISTENERS:
        raise AddressRefused(f"{address} is already in use")
    _LISTENERS[address] = MemoryListener(address, options)
    return _LISTENERS[address]


async def dial(address: str, options: TransportOptions) -> Connection:
    """Connect to a name of this process. Raises Unreachable."""
    listener = _LISTENERS.get(address)
    if listener is None:
        raise Unreachable(f"no listener at {address}")
    link = LabLink(options, dialled=True)
    await listener.connect(link)
    await link.established()
    return link


def check_dialled(_address: str, *, lab: bool) -> None:
    """Accept any name, since it may be listened to later."""


def offer_memory() -> None:
    """Add the scheme `memory` to the transports of this process."""
    TRANSPORTS["memory"] = lambda: Transport(listen, dial, check_dialled)
