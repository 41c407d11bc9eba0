"""The suite's own side of the lab binding: many streams over one byte stream, without IO.

Theory of operation. `receive` takes received bytes and returns events; `take_output` returns the
bytes to write. Control records go out at once and in order. DATA waits in a queue per stream and
leaves by the peer's credit, cut into pieces and interleaved over the streams as the `Writing` of
each stream says. The ordinary one leaves both to the given random generator, so that a peer which
mixes up its streams is found and a run can be repeated. Received bytes never raise: a peer that
breaks the binding ends in a `PeerFault`.
Unlike an ordinary implementation this one can also write anything (`write_raw`), because a suite
has to send wrong things on purpose.
"""
# Longer than 500 lines: records, credit and streams are one state machine.

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from struct import Struct

from meshwire_conformance.targets.lab_records import (
    HEADER,
    ORDINARY,
    WINDOWS,
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
    Windows,
    Writing,
    is_uni,
    record,
)
from meshwire_spec.numbers import (
    ALPN,
    CLOSE_REASON_MAX,
    ENDPOINT_ID,
    LAB_MAGIC,
    LAB_PING,
    LAB_RECORD_MAX,
    LAB_VERSION,
    LabRecordType,
)

_DATA = Struct("!QB")
_ONE = Struct("!Q")
_TWO = Struct("!QQ")
_PIECE_MAX = LAB_RECORD_MAX - _DATA.size
_FIXED_PREAMBLE = len(LAB_MAGIC) + 2
_LENGTH_AT = 1
_FLAG_AT = HEADER.size + _ONE.size
"""Offsets in a record: of its length, and of the FIN flag of DATA."""
_SHOWN = 2048
"""Bytes that are kept of a faulty preamble or record."""
_SIZES = {
    LabRecordType.RESET: _TWO.size,
    LabRecordType.STOP: _TWO.size,
    LabRecordType.MAX_DATA: _ONE.size,
    LabRecordType.MAX_STREAM_DATA: _TWO.size,
    LabRecordType.MAX_STREAMS_BIDI: _ONE.size,
    LabRecordType.MAX_STREAMS_UNI: _ONE.size,
    LabRecordType.PING: LAB_PING,
    LabRecordType.PONG: LAB_PING,
}


@dataclass(slots=True)
class _Half:
    """State of one stream, for both directions."""

    pending: bytearray = field(default_factory=bytearray)
    writing: Writing = ORDINARY
    cuts: deque[int] = field(default_factory=deque)
    """Numbers of bytes sent at which a record has to end."""
    fin_pending: bool = False
    sent: int = 0
    send_credit: int = 0
    send_over: bool = False
    received: int = 0
    receive_credit: int = 0
    receive_over: bool = False
    retired: bool = False

    def wants_to_send(self) -> bool:
        """Return True if DATA of this stream is queued."""
        return not self.send_over and bool(self.pending or self.fin_pending)


@dataclass(slots=True)
class Grants:
    """The maxima that the peer has sent.

    `excess` has in words those for bytes that were never sent, or streams that never ended.
    """

    count: int = 0
    excess: list[str] = field(default_factory=list)


class _Broken(Exception):
    """Carries reason, detail, rule and place of a fault to `receive`; never leaves this module."""

    def __init__(self, reason: str, detail: str, rule: str, at: int) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.rule = rule
        self.at = at


class LabConnection:
    """One side of one connection, the dialling one unless `dialled` is False.

    Call `receive` with the bytes that came, and `take_output` after every call that may have
    produced output. Opening a stream requires `can_open`; writes are queued and sent as the peer's
    credit allows.
    """

    def __init__(
        self,
        preamble: Preamble,
        order: random.Random,
        *,
        dialled: bool = True,
        alpn: bytes = ALPN.encode(),
    ) -> None:
        self.preamble = preamble
        self._alpn = alpn
        self.peer: Preamble | None = None
        self.closed = False
        windows = preamble.windows
        self.holding, self.holding_all = windows.held, windows.all_held
        self.obeys_stop = True
        """True if a half is reset as soon as the peer stops it."""
        self.by_hand = False
        """True if records were written by hand, which may have opened streams unknown here."""
        self._order = order
        self._input = bytearray()
        self._read = 0
        """Bytes of the input that were read as records."""
        self._output = bytearray(preamble.encode())
        self._streams: dict[int, _Half] = {}
        self._queued: dict[int, None] = {}
        """Streams that wait to be sent, or for credit, in the order in which they got bytes."""
        self._own_bit = 0 if dialled else 1
        self._next = {False: self._own_bit, True: self._own_bit + 2}
        self._opened = {False: 0, True: 0}
        self._allowed = {False: 0, True: 0}
        self._given = {False: windows.max_streams_bidi, True: windows.max_streams_uni}
        self._send_credit = 0
        self._sent = 0
        self._received = 0
        self._receive_credit = windows.max_data
        self._over = {False: 0, True: 0}
        """Streams that this side has opened and whose half it has ended, bidi and uni."""
        self.resets: Counter[int] = Counter()
        """Number of RESET records that came, by stream."""
        self.grants = Grants()

    def is_ours(self, stream_id: int) -> bool:
        """Return True if this side opens streams of this number."""
        return stream_id & 0x1 == self._own_bit

    # --- writing ---------------------------------------------------------------------------

    def can_open(self, *, uni: bool) -> bool:
        """Return True if the peer's credit allows one more stream of this kind."""
        return self.peer is not None and self._opened[uni] < self._allowed[uni]

    def open(self, *, uni: bool) -> int:
        """Return the number of a new stream; requires `can_open`.

        The peer sees the stream with its first bytes.
        """
        stream_id = self._next[uni]
        self._next[uni] += 4
        self._opened[uni] += 1
        self._half(stream_id)
        return stream_id

    def write(self, stream_id: int, data: bytes, writing: Writing = ORDINARY) -> None:
        """Queue bytes on this side's half."""
        half = self._streams[stream_id]
        half.writing = writing
        half.cuts.extend(half.sent + len(half.pending) + cut for cut in writing.cuts)
        half.pending += data
        self._queued[stream_id] = None

    def finish(self, stream_id: int) -> None:
        """Finish this side's half after the queued bytes."""
        self._streams[stream_id].fin_pending = True
        self._queued[stream_id] = None

    def reset(self, stream_id: int, code: int) -> None:
        """Reset this side's half; queued bytes are dropped."""
        half = self._half(stream_id)
        if half.send_over:
            return
        self.write_record(LabRecordType.RESET, _TWO.pack(stream_id, code))
        self._end_sending(stream_id)

    def stop(self, stream_id: int, code: int) -> None:
        """Stop the peer's half."""
        if not self._half(stream_id).receive_over:
            self.write_record(LabRecordType.STOP, _TWO.pack(stream_id, code))

    def ping(self, payload: bytes) -> None:
        """Send a PING with 8 bytes for the peer to echo."""
        self.write_record(LabRecordType.PING, payload)

    def close(self, code: int, reason: str) -> None:
        """Close the connection; nothing is read or written after it."""
        if not self.closed:
            self.write_record(LabRecordType.CLOSE, _ONE.pack(code) + reason.encode())
            self.closed = True

    def waits(self, stream_id: int) -> bool:
        """Return True if bytes queued on a stream have not been sent yet."""
        return self._streams[stream_id].wants_to_send()

    def write_record(self, record_type: int, body: bytes) -> None:
        """Write one control record at once."""
        self.write_raw(record(record_type, body))

    def write_raw(self, data: bytes) -> None:
        """Write bytes unchanged, right or wrong, without regard to queues and credit."""
        if not self.closed:
            self._output += data

    @property
    def room(self) -> int:
        """Number of bytes that the credit of the connection allows this side to send."""
        return self._send_credit - self._sent

    @property
    def received(self) -> int:
        """Number of bytes of DATA that the peer has sent on all streams."""
        return self._received

    def allow_data(self, count: int) -> None:
        """Grant `count` more bytes on the connection."""
        self._receive_credit += count
        self.write_record(LabRecordType.MAX_DATA, _ONE.pack(self._receive_credit))

    def release(self, stream_id: int, size: int) -> None:
        """Grant `size` more bytes on a stream and on the connection; used while holding."""
        half = self._half(stream_id)
        half.receive_credit += size
        self.write_record(LabRecordType.MAX_STREAM_DATA, _TWO.pack(stream_id, half.receive_credit))
        self.allow_data(size)

    def allow_streams(self, count: int, *, uni: bool = False) -> None:
        """Grant `count` more streams of one kind to the peer."""
        self._given[uni] += count
        kind = LabRecordType.MAX_STREAMS_UNI if uni else LabRecordType.MAX_STREAMS_BIDI
        self.write_record(kind, _ONE.pack(self._given[uni]))

    def take_output(self) -> bytes:
        """Return the bytes to write now."""
        if not self.closed:
            self._pump()
        output = bytes(self._output)
        self._output.clear()
        return output

    def _pump(self) -> None:
        """Cut queued bytes into DATA records, in a random order of streams or in turns."""
        ready = [key for key in self._queued if self._streams[key].wants_to_send()]
        turns = deque(key for key in ready if self._streams[key].writing.in_turns)
        while turns:
            if self._send_piece(turns[0]):
                turns.rotate(-1)
            else:
                turns.popleft()
        ready = [key for key in ready if not self._streams[key].writing.in_turns]
        while ready:
            place = self._order.randrange(len(ready))
            if not self._send_piece(ready[place]):
                del ready[place]

    def _send_piece(self, stream_id: int) -> bool:
        """Send one piece of a stream; return False if it has none or no credit."""
        half = self._streams[stream_id]
        room = min(half.send_credit - half.sent, self._send_credit - self._sent, _PIECE_MAX)
        size = min(len(half.pending), room)
        if half.cuts:
            size = min(size, half.cuts[0] - half.sent)
        is_chopped = half.writing.chopped and size > 1
        if is_chopped and self._order.random() < 0.5:  # noqa: PLR2004 - half of all pieces are cut
            size = self._order.randint(1, size)
        if size <= 0 and half.pending:
            return False
        piece = bytes(half.pending[:size])
        del half.pending[:size]
        fin = half.fin_pending and not half.pending
        self.write_record(LabRecordType.DATA, _DATA.pack(stream_id, fin) + piece)
        half.sent += size
        if half.cuts and half.cuts[0] == half.sent:
            half.cuts.popleft()
        self._sent += size
        if fin:
            self._end_sending(stream_id)
        elif not half.wants_to_send():
            self._queued.pop(stream_id)
        return half.wants_to_send()

    def _end_sending(self, stream_id: int) -> None:
        half = self._streams[stream_id]
        half.send_over = True
        half.fin_pending = False
        half.pending.clear()
        half.cuts.clear()
        self._queued.pop(stream_id, None)
        self._over[is_uni(stream_id)] += self.is_ours(stream_id)
        self._retire(stream_id)

    # --- reading ---------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """Return the events of these bytes, in order; a `PeerFault` is the last one."""
        self._input += data
        events: list[Event] = []
        try:
            for event in self._events():
                events.append(event)  # noqa: PERF402 - events before a fault are kept
        except _Broken as broken:
            self.closed = True
            events.append(self._fault(broken))
        return events

    def _fault(self, broken: _Broken) -> PeerFault:
        """Return the fault with the bytes in which it is, which are the first that are unread."""
        kind, data = "lab_record", bytes(self._input[self._read : self._read + _SHOWN])
        if self.peer is None:
            kind = "lab_preamble"
        else:
            data = data[: HEADER.size + HEADER.unpack_from(data)[1]]
        return PeerFault(broken.reason, broken.detail, broken.rule, kind, data, broken.at)

    def _events(self) -> Iterator[Event]:
        if self.peer is None:
            yield from self._read_preamble()
        if self.peer is None:
            return
        self._read = 0
        while not self.closed and len(self._input) - self._read >= HEADER.size:
            record_type, size = HEADER.unpack_from(self._input, self._read)
            # The fields are checked in their order, so that the first wrong one is named.
            if record_type not in _HANDLERS:
                raise _Broken("unknown-type", f"a record of type {record_type}", "LB-021", 0)
            if size > LAB_RECORD_MAX:
                raise _Broken("length-limit", f"a record of {size} bytes", "LB-022", _LENGTH_AT)
            start = self._read + HEADER.size
            if len(self._input) < start + size:
                break
            yield from self._read_record(record_type, bytes(self._input[start : start + size]))
            self._read = start + size
        del self._input[: self._read]
        self._read = 0

    def _read_preamble(self) -> Iterator[Event]:
        if self._input[: len(LAB_MAGIC)] != LAB_MAGIC[: len(self._input)]:
            said = f"the preamble starts with {bytes(self._input[:4]).hex()}"
            raise _Broken("bad-magic", said, "LB-002", 0)
        # Each field is checked as soon as it is whole (LB-009).
        version = self._input[len(LAB_MAGIC) : len(LAB_MAGIC) + 1]
        if version and version[0] != LAB_VERSION:
            raise _Broken("bad-version", f"version {version[0]}", "LB-003", len(LAB_MAGIC))
        if len(self._input) < _FIXED_PREAMBLE:
            return
        length = self._input[len(LAB_MAGIC) + 1]
        size = _FIXED_PREAMBLE + length + ENDPOINT_ID + WINDOWS.size
        alpn = bytes(self._input[_FIXED_PREAMBLE : _FIXED_PREAMBLE + length])
        if len(alpn) == length and alpn != self._alpn:
            said = f"the preamble names {alpn!r}"
            raise _Broken("wrong-alpn", said, "LB-005", _FIXED_PREAMBLE)
        if len(self._input) < size:
            return
        body = bytes(self._input[_FIXED_PREAMBLE:size])
        windows = Windows(*WINDOWS.unpack(body[length + ENDPOINT_ID :]))
        del self._input[:size]
        self.peer = Preamble(body[length : length + ENDPOINT_ID], alpn, windows=windows)
        self._allowed = {False: windows.max_streams_bidi, True: windows.max_streams_uni}
        self._send_credit = windows.max_data
        for half in self._streams.values():
            half.send_credit = windows.max_stream_data
        yield PreambleReceived(self.peer)

    def _read_record(self, record_type: int, body: bytes) -> Iterator[Event]:
        wanted = _SIZES.get(LabRecordType(record_type))
        if wanted is not None and len(body) != wanted:
            is_short = len(body) < wanted
            reason, rule = ("truncated", "LB-023") if is_short else ("trailing-bytes", "LB-024")
            said = f"a record of type {record_type} with {len(body)} bytes"
            raise _Broken(reason, said, rule, HEADER.size + min(len(body), wanted))
        yield from _HANDLERS[record_type](self, body)

    def _on_data(self, body: bytes) -> Iterator[Event]:
        if len(body) < _DATA.size:
            said = f"a DATA record of {len(body)} bytes"
            raise _Broken("truncated", said, "LB-023", HEADER.size + len(body))
        stream_id, fin = _DATA.unpack_from(body)
        data = body[_DATA.size :]
        yield from self._see(stream_id, theirs=True)
        half = self._streams[stream_id]
        if half.receive_over:
            said = f"DATA on stream {stream_id}, whose half is over"
            raise _Broken("bad-stream", said, "LB-033", HEADER.size)
        if fin > 1:
            raise _Broken("bad-flag", f"a DATA record with flag {fin}", "LB-025", _FLAG_AT)
        half.received += len(data)
        self._received += len(data)
        if half.received > half.receive_credit or self._received > self._receive_credit:
            said = f"DATA beyond credit on stream {stream_id}"
            raise _Broken("flow-control", said, "LB-040, LB-041", _FLAG_AT + 1)
        if fin:
            half.receive_over = True
        self._give_credit(stream_id, half)
        yield DataReceived(stream_id, data, bool(fin))
        self._retire(stream_id)

    def _on_reset(self, body: bytes) -> Iterator[Event]:
        stream_id, code = _TWO.unpack(body)
        yield from self._see(stream_id, theirs=True)
        self.resets[stream_id] += 1
        half = self._streams[stream_id]
        if not half.receive_over:
            half.receive_over = True
            yield ResetReceived(stream_id, code)
        self._retire(stream_id)

    def _on_stop(self, body: bytes) -> Iterator[Event]:
        stream_id, code = _TWO.unpack(body)
        yield from self._see(stream_id, theirs=False)
        yield StopReceived(stream_id, code)
        # A half that was stopped is reset with code 0: finishing it would release nothing.
        if self.obeys_stop:
            self.reset(stream_id, 0)
        self._retire(stream_id)

    def _on_max_data(self, body: bytes) -> Iterator[Event]:
        (maximum,) = _ONE.unpack(body)
        self._note_grant("MAX_DATA", maximum, "max_data", self._sent)
        self._send_credit = max(self._send_credit, maximum)
        yield from ()

    def _on_max_stream_data(self, body: bytes) -> Iterator[Event]:
        stream_id, maximum = _TWO.unpack(body)
        yield from self._see(stream_id, theirs=False)
        half = self._streams[stream_id]
        what = f"MAX_STREAM_DATA of stream {stream_id}"
        self._note_grant(what, maximum, "max_stream_data", half.sent)
        half.send_credit = max(half.send_credit, maximum)

    def _on_max_streams(self, body: bytes, *, uni: bool) -> Iterator[Event]:
        (maximum,) = _ONE.unpack(body)
        name = "max_streams_uni" if uni else "max_streams_bidi"
        self._note_grant(name.upper(), maximum, name, self._over[uni])
        self._allowed[uni] = max(self._allowed[uni], maximum)
        yield from ()

    def _note_grant(self, what: str, maximum: int, window: str, used: int) -> None:
        """Note a maximum that exceeds the one of the preamble plus the credit used since.

        What is used is what this side has sent or ended, so the peer cannot know of more. Records
        written by hand are not counted, so after one nothing is noted.
        """
        assert self.peer is not None
        self.grants.count += 1
        most = getattr(self.peer.windows, window) + used
        if maximum > most and not self.by_hand:
            self.grants.excess.append(f"{what} {maximum}, which is {maximum - most} too many")

    def _on_ping(self, body: bytes) -> Iterator[Event]:
        self.write_record(LabRecordType.PONG, body)
        yield from ()

    @staticmethod
    def _on_pong(body: bytes) -> Iterator[Event]:
        yield PongReceived(body)

    def _on_close(self, body: bytes) -> Iterator[Event]:
        if not _ONE.size <= len(body) <= _ONE.size + CLOSE_REASON_MAX:
            is_short = len(body) < _ONE.size
            reason, rule = ("truncated", "LB-023") if is_short else ("length-limit", "LB-026")
            said = f"a CLOSE record of {len(body)} bytes"
            raise _Broken(reason, said, rule, HEADER.size + min(len(body), _ONE.size))
        self.closed = True
        reason = body[_ONE.size :].decode("utf-8", "backslashreplace")
        yield CloseReceived(_ONE.unpack_from(body)[0], reason)

    # --- streams and credit ----------------------------------------------------------------

    def _half(self, stream_id: int) -> _Half:
        half = self._streams.get(stream_id)
        if half is None:
            given = self.preamble.windows.max_stream_data
            credit = 0 if self.peer is None else self.peer.windows.max_stream_data
            half = self._streams[stream_id] = _Half(send_credit=credit, receive_credit=given)
            if is_uni(stream_id):
                half.receive_over = self.is_ours(stream_id)
                half.send_over = not self.is_ours(stream_id)
        return half

    def _see(self, stream_id: int, *, theirs: bool) -> Iterator[Event]:
        """Yield the events of a record that names a stream.

        The record is about the half that the peer sends on, or about ours. The first record with a
        number of the peer's opens that stream. The checks follow the order of the page: whose
        stream, which half, then credit.
        """
        uni = is_uni(stream_id)
        ours = self.is_ours(stream_id)
        if ours and stream_id >= self._next[uni] and not self.by_hand:
            said = f"stream {stream_id} is ours and was never opened"
            raise _Broken("bad-stream", said, "LB-032", HEADER.size)
        if uni and ours == theirs:
            said = f"stream {stream_id} has no such half"
            raise _Broken("bad-stream", said, "LB-032", HEADER.size)
        if stream_id in self._streams:
            return
        if ours:  # Opened by a record written by hand.
            self._half(stream_id)
            return
        if stream_id // 4 >= self._given[uni]:
            said = f"stream {stream_id} beyond the credit given"
            raise _Broken("stream-limit", said, "LB-048, LB-031", HEADER.size)
        # As in QUIC a number opens all lower ones too, each reported at its own first record.
        self._half(stream_id)
        yield StreamOpened(stream_id)

    def _give_credit(self, stream_id: int, half: _Half) -> None:
        """Grant the bytes read so far, once they are half a window."""
        windows = self.preamble.windows
        left = half.receive_credit - half.received
        spent = left < windows.max_stream_data // 2
        if spent and not half.receive_over and not self.holding:
            half.receive_credit = half.received + windows.max_stream_data
            self.write_record(
                LabRecordType.MAX_STREAM_DATA, _TWO.pack(stream_id, half.receive_credit)
            )
        if self.holding_all:
            return
        if self._receive_credit - self._received < windows.max_data // 2:
            self._receive_credit = self._received + windows.max_data
            self.write_record(LabRecordType.MAX_DATA, _ONE.pack(self._receive_credit))

    def _retire(self, stream_id: int) -> None:
        """Grant one more stream when a stream of the peer is over."""
        half = self._streams[stream_id]
        if self.is_ours(stream_id) or not (half.receive_over and half.send_over) or half.retired:
            return
        half.retired = True
        if self.holding_all:
            return
        self.allow_streams(1, uni=is_uni(stream_id))


_Handler = Callable[[LabConnection, bytes], Iterator[Event]]
_HANDLERS: dict[int, _Handler] = {
    LabRecordType.DATA: LabConnection._on_data,  # noqa: SLF001 - the table of this class
    LabRecordType.RESET: LabConnection._on_reset,  # noqa: SLF001
    LabRecordType.STOP: LabConnection._on_stop,  # noqa: SLF001
    LabRecordType.MAX_DATA: LabConnection._on_max_data,  # noqa: SLF001
    LabRecordType.MAX_STREAM_DATA: LabConnection._on_max_stream_data,  # noqa: SLF001
    LabRecordType.MAX_STREAMS_BIDI: lambda link, body: link._on_max_streams(body, uni=False),  # noqa: SLF001
    LabRecordType.MAX_STREAMS_UNI: lambda link, body: link._on_max_streams(body, uni=True),  # noqa: SLF001
    LabRecordType.PING: LabConnection._on_ping,  # noqa: SLF001
    LabRecordType.PONG: lambda _link, body: LabConnection._on_pong(body),  # noqa: SLF001
    LabRecordType.CLOSE: LabConnection._on_close,  # noqa: SLF001
}
