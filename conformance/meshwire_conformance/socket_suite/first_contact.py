"""First contact: what a target does on its first connection, before any case, one line each.

Whatever is wrong here makes most cases fail, each in its own words, so it is shown before them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from meshwire_conformance.explain.field_rows import rows_of
from meshwire_conformance.protocol.frame_content import after_records
from meshwire_conformance.socket_suite.inbox import Subscription, TargetFault
from meshwire_conformance.socket_suite.meanwhile import connection_end, ends_of
from meshwire_conformance.socket_suite.peers import Peer, Session
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_conformance.targets.transport import BindingBroken, Connection, Stream
from meshwire_spec.codec import Message, encode
from meshwire_spec.numbers import (
    ALPN,
    BATCH_KEY,
    FRAME_TYPES,
    NEGENTROPY_KEY,
    PAYLOAD_MAX,
    READ_MESSAGE,
    TOMBSTONE_BATCH_KEY,
    FrameType,
)

PEER = "first contact"
"""Name of the peer that makes it; no case uses it."""
PING = bytes.fromhex("6d65736877697265")
NOTHING = "nothing within the deadline"
_NAMES = {int(row.type): row.name for row in FRAME_TYPES}
_FIXED_KEYS = tuple(key.encode() for key in (BATCH_KEY, NEGENTROPY_KEY, TOMBSTONE_BATCH_KEY))
_KEY_AT = 2
_AFTER_KEY = 5


async def first_contact(session: Session, deadline_s: float) -> tuple[str, ...]:
    """Return lines about preamble, PING, first stream, first frame of the target, and its barrier.

    The first frame is the answer to a read of a document that no node holds. All waits together
    take one deadline at most. What is wrong is shown field by field.
    """
    peer = session.peer(PEER)
    try:
        connection = await peer.connection()
    except ConnectionError as exc:
        return wrong_preamble(exc) or (_line("connection", str(exc)),)
    try:
        contact = _Contact(session, peer, connection, deadline_s)
        return await contact.lines()
    finally:
        await peer.close()


def wrong_preamble(error: BaseException | None) -> tuple[str, ...]:
    """Return lines about the preamble that kept a connection from opening; none for other errors.

    The bytes are shown field by field.
    """
    if not isinstance(error, BindingBroken):
        return ()
    failed = connection_end(error.closed)
    return (_line("preamble", failed.reason), *failed.received)


def _line(what: str, said: str) -> str:
    return f"{what + ':':<13} {said}"


class _Contact:
    """One first connection; the deadline begins with it."""

    def __init__(
        self, session: Session, peer: Peer, connection: Connection, deadline_s: float
    ) -> None:
        self._session = session
        self._peer = peer
        self._connection = connection
        self._end_s = asyncio.get_running_loop().time() + deadline_s
        self._known = len(session.inbox.faults)
        key = f"notes:contact-{session.nonce}"
        self._subscription: Subscription = session.inbox.subscribe(key)
        fields = {"key": key, "type": int(FrameType.DELTA), "payload": READ_MESSAGE}
        self._question = encode(Message("stream_frame", fields))

    async def lines(self) -> tuple[str, ...]:
        """Return the lines, in the order in which the parts of a connection follow each other."""
        opening = _line("preamble", self._opening())
        pinging = asyncio.create_task(self._ping())
        try:
            async with asyncio.timeout(self._left_s()):
                stream = await self._connection.open()
        except (TimeoutError, ConnectionError) as exc:
            said = f"not opened: {exc}" if str(exc) else "no credit for it within the deadline"
            return (opening, *await pinging, _line("first stream", said), *self._end())
        await stream.write(self._question)
        await stream.finish()
        answering = asyncio.create_task(self._answer(stream))
        await stream.wait_for(lambda: stream.read_over, self._left_s())
        # A stream that was refused is not waited for any longer.
        self._session.inbox.signal.notify()
        frame = await answering
        opened = _line("first stream", f"number {stream.number} is open")
        return (opening, *await pinging, opened, *frame, *_barrier(stream), *self._end())

    def _left_s(self) -> float:
        return max(0.0, self._end_s - asyncio.get_running_loop().time())

    def _opening(self) -> str:
        """Return the contents of the preamble, and where the stated facts of the target differ."""
        shown = self._connection.endpoint_id.hex()
        stated = self._session.target.facts.endpoint_id
        differs = f", but the target is said to be {stated}" if stated not in ("", shown) else ""
        if not isinstance(self._connection, TcpConnection) or self._connection.lab.peer is None:
            return f"none over {self._connection.binding}, endpoint id {shown}{differs}"
        windows = self._connection.lab.peer.windows
        return (
            f"ALPN {ALPN}, credit for {windows.max_data} bytes and {windows.max_streams_bidi} "
            f"streams, endpoint id {shown}{differs}"
        )

    async def _ping(self) -> tuple[str, ...]:
        if not isinstance(self._connection, TcpConnection):
            return ()
        is_echoed = await self._connection.ping(PING, self._left_s())
        other = [pong.hex() for pong in self._connection.pongs]
        came = f"PONG {other[0]}, expected {PING.hex()} (LB-050)" if other else self._nothing()
        return (_line("PING", "its 8 bytes came back" if is_echoed else came),)

    async def _answer(self, stream: Stream) -> tuple[str, ...]:
        """Return the first frame: the answer to the question, or bytes that are no frame."""
        arrivals = self._subscription.arrivals

        def is_over() -> bool:
            ended = self._connection.closed is not None or stream.refused
            return bool(arrivals or self._faults()) or ended

        await self._session.inbox.signal.wait_for(is_over, self._left_s())
        faults = self._faults()
        if faults:
            return (_line("first frame", faults[0].line()), *_fault_rows(faults[0]))
        if not arrivals:
            return (_line("first frame", self._nothing(is_over=stream.refused)),)
        one = arrivals[0]
        name = _NAMES.get(one.type, f"type {one.type}")
        said = f"a {name} of {len(one.payload)} bytes on stream {one.stream}, which decodes"
        if any(stream.number == one.stream for stream in await self._unended()):
            said += "; no FIN came after it (TR-004)"
        return (_line("first frame", said),)

    async def _unended(self) -> list[Stream]:
        """Return the streams of this peer with a frame that are not ended within the deadline."""
        inbox = self._session.inbox

        def left() -> list[Stream]:
            return [stream for peer, stream in inbox.unended() if peer == self._peer.name]

        await inbox.signal.wait_for(lambda: not left(), self._left_s())
        return left()

    def _nothing(self, *, is_over: bool = False) -> str:
        """Return the text for a missing part; it names no deadline if it cannot come any more."""
        return "none" if is_over or self._connection.closed is not None else NOTHING

    def _faults(self) -> list[TargetFault]:
        faults = self._session.inbox.faults[self._known :]
        return [fault for fault in faults if fault.peer == self._peer.name]

    def _end(self) -> tuple[str, ...]:
        """Return how the connection ended, if it has, with the record that broke the binding."""
        closed = self._connection.closed
        if closed is None:
            return ()
        failed = connection_end(closed)
        return (_line("connection", failed.reason), *failed.received)


def _barrier(stream: Stream) -> Iterator[str]:
    """Yield how the target ended its half of a stream, and the bytes that do not belong there."""
    ends = " and ".join(ends_of(stream))
    rest = after_records(bytes(stream.received))
    if not rest:
        yield _line("barrier", ends or NOTHING)
        return
    place = f"behind {len(rest)} bytes on the stream of the question (TR-008)"
    yield _line("barrier", f"{ends or 'no FIN'}, {place}")
    yield from rows_of("stream_frame", rest)


def _fault_rows(fault: TargetFault) -> Iterator[str]:
    """Yield the bytes field by field, and the length that is in the other byte order, if any."""
    if not fault.data:
        return
    yield from rows_of(fault.kind, fault.data)
    swapped = swapped_length(fault.data) if fault.kind == "stream_frame" else ""
    if swapped:
        yield f"{swapped} (FR-001)"


def swapped_length(data: bytes) -> str:
    """Return which length of a frame only fits in little endian, or an empty text if none does.

    `data` may end inside the payload.
    """
    return " and ".join(_swap(name, field) for name, field in swapped_lengths(data))


def swapped_lengths(data: bytes) -> Sequence[tuple[str, bytes]]:
    """Return name and bytes of each length of a frame that only fits in little endian."""
    for key_order in ("big", "little"):
        key_end = _KEY_AT + int.from_bytes(data[:_KEY_AT], key_order)
        if len(data) < key_end + _AFTER_KEY or not _is_key(data[_KEY_AT:key_end]):
            continue
        field = data[key_end + 1 : key_end + _AFTER_KEY]
        there = len(data) - key_end - _AFTER_KEY
        big, little = (int.from_bytes(field, order) for order in ("big", "little"))
        wrong = [("key.length", data[:_KEY_AT])] if key_order == "little" else []
        if big > PAYLOAD_MAX or (big > there and little == there):
            wrong.append(("payload.length", field))
        elif big > there:
            continue
        return wrong
    return ()


def _is_key(data: bytes) -> bool:
    return data.isascii() and (b":" in data or data in _FIXED_KEYS)


def _swap(name: str, field: bytes) -> str:
    big, little = (int.from_bytes(field, order) for order in ("big", "little"))
    return (
        f"{name} is {field.hex(' ')}, which is {big} in big endian and {little} in little endian: "
        "it is written in the wrong byte order"
    )
