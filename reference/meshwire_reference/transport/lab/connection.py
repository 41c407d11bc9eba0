"""The lab binding without input or output: QUIC's stream model in the bytes of one connection.

Theory of operation. `receive` takes bytes of the link and never raises: a fault of the
peer becomes a CLOSE to send and a ConnectionClosed event. Events are not queued one by one: each
stream keeps what was not reported to the application yet, and `take_events` collects it, so that a
peer that sends a megabyte byte by byte costs a megabyte. Likewise nothing is written on a call:
`take_output` makes as many bytes as the link wants now, control records first, then DATA in turns
between the streams that have some. So bytes wait in their stream, where a reset can drop them, and
control records never wait for them.
"""

# Longer than 500 lines: records, credit and streams are one state machine.

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import astuple
from typing import Final

from meshwire_reference.core.inputs import (
    ConnectionClosed,
    StreamId,
    TransportEvent,
)
from meshwire_reference.transport.base import StreamGone, Windows
from meshwire_reference.transport.lab.streams import (
    STREAMS_MAX,
    Credit,
    LabStream,
    LinkFault,
    StreamCount,
)
from meshwire_reference.wire.cursor import Reader
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.lab import (
    DATA_FIELDS,
    FIXED_BODIES,
    LabPreamble,
    LinkBytes,
    encode_close,
    encode_control,
    encode_data_head,
    encode_lab_preamble,
    read_close,
    read_data_head,
    read_fixed_body,
    read_lab_preamble,
    read_record,
)
from meshwire_spec.numbers import (
    ALPN,
    CLOSE_REASON_MAX,
    LAB_MAGIC,
    LAB_VERSION,
    REASONS,
    LabRecordType,
)
from meshwire_spec.states import (
    LAB_CONNECTION,
    RECEIVE_ENDED,
    LabConnectionEvent,
    LabConnectionState,
    ReceiveHalf,
    SendHalf,
)

TURN: Final = 16 * 2**10
"""Greatest number of bytes of one stream before the next stream has its turn."""

BATCH: Final = 256 * 2**10
"""Approximate number of DATA bytes that `take_output` returns at once."""


RECORDS_MAX: Final = 128
"""Records that are read at once; more of them would hold up other connections."""


def encode_preamble(alpn: str, endpoint_id: bytes, windows: Windows) -> bytes:
    """Return the bytes that start one direction of a connection."""
    return encode_lab_preamble(
        LabPreamble(
            LAB_MAGIC,
            LAB_VERSION,
            alpn,
            endpoint_id,
            *astuple(windows),
        )
    )


def cut_reason(reason: str) -> str:
    """Return the reason of a close, cut to the size that its record can carry."""
    return reason.encode()[:CLOSE_REASON_MAX].decode(errors="ignore")


class LabConnection:
    """One side of a connection of the lab binding."""

    def __init__(
        self,
        *,
        dialled: bool,
        endpoint_id: bytes,
        windows: Windows | None = None,
        alpn: str = ALPN,
    ) -> None:
        windows = windows or Windows()
        self.dialled = dialled
        self.peer: LabPreamble | None = None
        self.closed: ConnectionClosed | None = None
        self.is_behind = False
        self._own_bit = 0 if dialled else 1
        self._alpn = alpn
        self._windows = windows
        self._state = LabConnectionState.PREAMBLE
        self._rest = bytearray()
        # LB-001
        self._control = [encode_preamble(alpn, endpoint_id, windows)]
        self._closed_told = False
        self._streams: dict[StreamId, LabStream] = {}
        self._untold: dict[LabStream, None] = {}
        self._credit = Credit(windows.max_data)
        self._raises: dict[LabStream, None] = {}
        self._counts = (
            StreamCount(windows.max_streams_bidi),
            StreamCount(windows.max_streams_uni),
        )
        self._stream_maximum = [0, 0]
        self._maximum = 0
        self._sent = 0
        self._turns: deque[LabStream] = deque()
        self._handlers: tuple[Callable[[LinkBytes, int, int], None], ...] = (
            self._on_data,
            *(self._on_control(type_) for type_ in tuple(LabRecordType)[1:-1]),
            self._on_close,
        )

    # --- The link: bytes in, bytes out ---------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes from the link; call `take_events` and `take_output` afterwards.

        While `is_behind`, whole records may be left, which a call without bytes goes on with.
        """
        self.is_behind = False
        if self.closed is None:
            try:
                self._rest = self._read(data)
            except (LinkFault, Malformed) as fault:
                # LB-028
                self.refuse(fault.reason)

    def receive_end(self) -> None:
        """Take the end of the link; without a CLOSE before it the connection broke."""
        self._end(
            # LB-054
            LabConnectionEvent.LINK_ENDED,
            ConnectionClosed(None, "connection lost", by_peer=True),
        )

    def take_output(self, most: int | None = BATCH) -> bytes:
        """Return bytes for the link: about `most` bytes of DATA (None: as the credit allows)."""
        # LB-047
        parts: list[bytes | memoryview] = list(self._control)
        self._control.clear()
        if self.closed is None:
            parts.extend(self._take_raises())
            parts.extend(self._take_turns(most))
        return b"".join(parts)

    @property
    def wants_output(self) -> bool:
        """True if `take_output` would return anything."""
        if self.closed is not None:
            return bool(self._control)
        return bool(
            self._control
            or self._raises
            or self._credit.is_due
            or (self._turns and self._sent < self._maximum)
            or any(count.closed + count.window > count.given for count in self._counts),
        )

    @property
    def control_waiting(self) -> int:
        """Number of queued control records; it grows only if the peer does not read."""
        return len(self._control)

    # --- The application: events out, calls in -------------------------------------------------

    @property
    def has_events(self) -> bool:
        """True if `take_events` would return anything."""
        return bool(self._untold) or (self.closed is not None and not self._closed_told)

    def take_events(self) -> tuple[TransportEvent, ...]:
        """Return all events since the last call."""
        events: list[TransportEvent] = []
        for stream in self._untold:
            events.extend(stream.take_events())
        self._untold.clear()
        if self.closed is not None and not self._closed_told:
            self._closed_told = True
            events.append(self.closed)
        return tuple(events)

    def can_open(self, *, bidi: bool) -> bool:
        """Return True if the peer's credit allows one more stream."""
        # LB-048
        return self._counts[not bidi].opened < self._stream_maximum[not bidi]

    def open(self, *, bidi: bool) -> StreamId:
        """Open a stream; requires `can_open`."""
        count = self._counts[not bidi]
        number = count.opened
        count.opened += 1
        return self._add(number << 2 | (not bidi) << 1 | self._own_bit, is_own=True).id

    def send(self, stream_id: StreamId, data: bytes, *, fin: bool = False) -> None:
        """Queue bytes of a stream. Raises StreamGone."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.is_released:
            raise StreamGone(stream_id, None)
        had_waiting = stream.queue.size
        stream.hand_over(data, fin=fin)
        if not stream.queue.size:
            if fin:
                stream.take_chunk(0)
                self._control.append(encode_data_head(stream_id, fin=True, size=0))
                self._retire(stream)
        elif not had_waiting and stream.allowance:
            self._turns.append(stream)

    def waiting(self, stream_id: StreamId) -> int:
        """Return the number of bytes of a stream that wait for credit or for the link."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.queue.size

    def is_within_credit(self, stream_id: StreamId) -> bool:
        """Return True if the peer's credit covers all queued bytes of this stream."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return True
        most = min(stream.allowance, self._maximum - self._sent)
        return stream.queue.size <= most

    def stopped_by(self, stream_id: StreamId) -> int | None:
        """Return the code of the peer's stop of this side's half, or None if none applies."""
        stream = self._streams.get(stream_id)
        return None if stream is None else stream.stopped_by

    def has_given_up(self, stream_id: StreamId) -> bool:
        """Return True if this side's half was stopped or reset before all its bytes were sent."""
        stream = self._streams.get(stream_id)
        return stream is None or stream.send is SendHalf.RESET

    def reset(self, stream_id: StreamId, code: int) -> None:
        """Reset this side's half of a stream; does nothing if it has ended."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._give_up(stream, code, asked=stream.give_up())

    def stop(self, stream_id: StreamId, code: int) -> None:
        """Stop the peer's half; does nothing if it was reset or stopped."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.ask_stop():
            self._control.append(encode_control(LabRecordType.STOP, stream_id, code))
            self._settle(stream.silence())

    def consumed(self, stream_id: StreamId, count: int) -> None:
        """Grant again the credit of bytes that the application took."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._settle(stream.settle(count))
            self._check_raise(stream)

    def defer(self, stream_id: StreamId, count: int) -> None:
        """Grant again the credit of the connection, not of the stream, for bytes that wait."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._settle(stream.defer(count))

    def release(self, stream_id: StreamId) -> None:
        """Release a stream; halves that have not ended are ended with code 0."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.is_released:
            return
        if stream.send is SendHalf.READY:
            self.reset(stream_id, 0)
        if stream.receive not in RECEIVE_ENDED:
            self.stop(stream_id, 0)
        stream.is_released = True
        self._untold.pop(stream, None)
        self._settle(stream.silence())
        self._retire(stream)

    def close(self, code: int, reason: str = "") -> None:
        """Close the connection after all bytes that the credit allows."""
        if self.closed is None:
            last = self.take_output(None)
            self._control = [last, encode_close(code, cut_reason(reason))]
            self._end(LabConnectionEvent.CLOSE_SENT, ConnectionClosed(code, reason, by_peer=False))

    def refuse(self, reason: str) -> None:
        """Close the connection for a fault of the peer, with the code of the reason."""
        if self.closed is None:
            code = REASONS[reason].code
            self._control.append(encode_close(code, reason))
            self._end(LabConnectionEvent.CLOSE_SENT, ConnectionClosed(code, reason, by_peer=False))

    # --- Receiving -----------------------------------------------------------------------------

    def _read(self, data: bytes) -> bytearray:
        # Whole records are read from the received bytes; only an incomplete one is copied.
        pending: LinkBytes = data
        # LB-055
        if self._rest:
            self._rest += data
            pending = self._rest
        start = 0
        if self._state is LabConnectionState.PREAMBLE:
            start = self._read_preamble(pending)
        if self._state is LabConnectionState.OPEN:
            start = self._read_records(pending, start)
        return self._rest if pending is self._rest and not start else bytearray(pending[start:])

    def _read_preamble(self, data: LinkBytes) -> int:
        reader = Reader(bytes(data))
        try:
            self.peer = read_lab_preamble(reader, self._alpn)
        except Malformed as fault:
            if fault.reason != "truncated":
                raise
            return 0
        self._maximum = self.peer.max_data
        self._stream_maximum = [
            min(self.peer.max_streams_bidi, STREAMS_MAX),
            min(self.peer.max_streams_uni, STREAMS_MAX),
        ]
        self._state = LAB_CONNECTION[self._state, LabConnectionEvent.PREAMBLE_RECEIVED]
        return reader.position

    def _read_records(self, data: LinkBytes, start: int) -> int:
        for _ in range(RECORDS_MAX):
            if self.closed is not None or not (record := read_record(data, start)):
                return start
            type_, body, start = record
            self._handlers[type_](data, body, start)
        self.is_behind = True
        return start

    def _on_data(self, data: LinkBytes, start: int, end: int) -> None:
        stream_id, fin = read_data_head(data, start, end)
        stream = self._find(stream_id, written_by_peer=True)
        if stream is None:
            raise LinkFault("bad-stream")
        settled = stream.receive_data(
            bytes(data[start + DATA_FIELDS.size : end]), self._credit, fin=fin == 1
        )
        self._settle(settled)
        self._check_raise(stream)
        self._tell(stream)
        if fin:
            self._retire(stream)

    def _on_control(self, type_: LabRecordType) -> Callable[[LinkBytes, int, int], None]:
        appliers: dict[LabRecordType, Callable[..., None]] = {
            LabRecordType.RESET: self._on_reset,
            LabRecordType.STOP: self._on_stop,
            LabRecordType.MAX_DATA: self._on_max_data,
            LabRecordType.MAX_STREAM_DATA: self._on_max_stream_data,
            LabRecordType.MAX_STREAMS_BIDI: lambda maximum: self._on_max_streams(0, maximum),
            LabRecordType.MAX_STREAMS_UNI: lambda maximum: self._on_max_streams(1, maximum),
            LabRecordType.PING: self._on_ping,
            # LB-051
            LabRecordType.PONG: lambda _payload: None,
        }
        apply, layout = appliers[type_], FIXED_BODIES[type_]
        return lambda data, start, end: apply(*read_fixed_body(layout, data, start, end))

    def _on_reset(self, stream_id: StreamId, code: int) -> None:
        stream = self._find(stream_id, written_by_peer=True)
        if stream is not None:
            self._settle(stream.receive_reset(code))
            self._tell(stream)
            self._retire(stream)

    def _on_stop(self, stream_id: StreamId, code: int) -> None:
        stream = self._find(stream_id, written_by_peer=False)
        if stream is not None:
            asked = stream.receive_stop(code)
            self._tell(stream)
            self._give_up(stream, REASONS["shutdown"].code, asked=asked)

    def _on_max_data(self, maximum: int) -> None:
        # LB-043
        self._maximum = max(self._maximum, maximum)

    def _on_max_stream_data(self, stream_id: StreamId, maximum: int) -> None:
        stream = self._find(stream_id, written_by_peer=False)
        if stream is not None:
            was_short = not stream.allowance
            # LB-043, LB-060: a half that has ended has no bytes queued.
            stream.maximum = max(stream.maximum, maximum)
            self._tell(stream)
            if was_short and stream.allowance and stream.queue.size:
                self._turns.append(stream)

    def _on_max_streams(self, kind: int, maximum: int) -> None:
        most = min(maximum, STREAMS_MAX)
        # LB-043
        self._stream_maximum[kind] = max(self._stream_maximum[kind], most)

    def _on_ping(self, payload: bytes) -> None:
        # LB-050
        self._control.append(encode_control(LabRecordType.PONG, payload))

    def _on_close(self, data: LinkBytes, start: int, end: int) -> None:
        # LB-053
        code, reason = read_close(data, start, end)
        self._end(LabConnectionEvent.CLOSE_RECEIVED, ConnectionClosed(code, reason, by_peer=True))

    # --- Streams -------------------------------------------------------------------------------

    def _find(self, stream_id: StreamId, *, written_by_peer: bool) -> LabStream | None:
        """Return the stream that a record names, or None if it is over; a new one is created.

        Raises LinkFault.
        """
        stream = self._streams.get(stream_id)
        is_own = stream_id & 1 == self._own_bit
        # LB-032
        if stream_id & 2 and is_own == written_by_peer:
            raise LinkFault("bad-stream")
        if stream is not None:
            return stream
        count = self._counts[stream_id >> 1 & 1]
        number = stream_id >> 2
        if is_own:
            # LB-032
            if number >= count.opened:
                raise LinkFault("bad-stream")
            return None
        # LB-031
        if number >= count.given:
            raise LinkFault("stream-limit")
        if number < count.seen:
            return None
        # LB-030
        for lower in range(count.seen, number + 1):
            stream = self._add(lower << 2 | stream_id & 3, is_own=False)
            # None goes unreported, so that each has its deadline (LV-009).
            self._tell(stream)
        count.seen = number + 1
        return stream

    def _add(self, stream_id: StreamId, *, is_own: bool) -> LabStream:
        assert self.peer is not None, "streams begin after the peer's preamble"
        stream = LabStream(
            stream_id,
            is_own=is_own,
            window=self._windows.max_stream_data,
            maximum=self.peer.max_stream_data,
        )
        self._streams[stream_id] = stream
        return stream

    def _tell(self, stream: LabStream) -> None:
        if not stream.is_released and stream.has_news:
            self._untold[stream] = None

    def _give_up(self, stream: LabStream, code: int, *, asked: bool) -> None:
        if asked:
            self._control.append(encode_control(LabRecordType.RESET, stream.id, code))
        self._retire(stream)

    def _retire(self, stream: LabStream) -> None:
        """Remove a stream that is over on both sides, which frees its place."""
        # LB-046
        if stream.is_released and stream.is_ended:
            self._streams.pop(stream.id)
            self._raises.pop(stream, None)
            if not stream.is_own:
                self._counts[not stream.is_bidi].closed += 1

    # --- Credit and turns ----------------------------------------------------------------------

    def _settle(self, count: int) -> None:
        # LB-045
        self._credit.taken += count

    def _check_raise(self, stream: LabStream) -> None:
        if stream.receive is ReceiveHalf.RECEIVING and stream.credit.is_due:
            self._raises[stream] = None

    def _take_raises(self) -> Iterable[bytes]:
        for stream in self._raises:
            if stream.receive is ReceiveHalf.RECEIVING:
                maximum = stream.credit.give()
                yield encode_control(LabRecordType.MAX_STREAM_DATA, stream.id, maximum)
        self._raises.clear()
        if self._credit.is_due:
            yield encode_control(LabRecordType.MAX_DATA, self._credit.give())
        types = (LabRecordType.MAX_STREAMS_BIDI, LabRecordType.MAX_STREAMS_UNI)
        for type_, count in zip(types, self._counts, strict=True):
            maximum = min(count.window + count.closed, STREAMS_MAX)
            if maximum > count.given:
                count.given = maximum
                yield encode_control(type_, maximum)

    def _take_turns(self, most: int | None) -> Iterable[bytes | memoryview]:
        budget = self._maximum - self._sent if most is None else most
        while self._turns and budget > 0 and self._sent < self._maximum:
            stream = self._turns.popleft()
            # LB-040
            allowed = min(TURN, stream.allowance, self._maximum - self._sent)
            if not stream.queue.size or allowed <= 0:
                continue
            data, fin = stream.take_chunk(allowed)
            self._sent += len(data)
            budget -= len(data)
            yield encode_data_head(stream.id, fin=fin, size=len(data))
            yield data
            if fin:
                self._retire(stream)
            elif stream.queue.size and stream.allowance:
                self._turns.append(stream)

    def _end(self, event: LabConnectionEvent, closed: ConnectionClosed) -> None:
        if self.closed is None:
            self._state = LAB_CONNECTION[self._state, event]
            self.closed = closed
            self._turns.clear()
