"""Ways to turn the lab binding wrong, one a rule, so that a test can be shown to notice.

Applied to a connection only when `TransportOptions.flaws` names them, which a node does for the
switches of `core.switches`; the correct connection knows nothing of them.
"""

# Longer than 300 lines: one small class a flaw, and the table of all of them beside it.
# Over 300 lines: a table of forty small functions, with nothing else in it.

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeAlias

from meshwire_reference.core.switches import Switch
from meshwire_reference.transport.base import ConnectionClosed, Windows
from meshwire_reference.transport.lab.connection import LabConnection
from meshwire_reference.transport.lab.records import LinkFault, Preamble, Received
from meshwire_reference.transport.lab.streams import Credit, LabStream
from meshwire_spec.numbers import (
    LAB_MAGIC,
    LAB_VERSION,
    REASONS,
    STREAM_ID_MAX,
    U8_MAX,
    U32_MAX,
    LabRecordType,
)
from meshwire_spec.states import (
    RECEIVE_ENDED,
    SEND_ENDED,
    LabConnectionEvent,
    ReceiveHalf,
)

Handler: TypeAlias = Callable[[Received, int, int], None]
LabFlaw: TypeAlias = Callable[[LabConnection], None]

_NAME_AT: Final = len(LAB_MAGIC) + 2
_IDENTITY_AND_WINDOWS: Final = 64
_EMPTY_FIN: Final = 9


class _Link(Protocol):
    """What a flaw of the link turns; `LabLink` in all but tests."""

    _lab: LabConnection


def apply_flaws(link: _Link, lab: LabConnection, names: Iterable[str]) -> None:
    """Turn what is named; names of other parts of a node are passed over."""
    for name in names:
        if name in LAB_FLAWS:
            LAB_FLAWS[Switch(name)](lab)
        elif name in LINK_FLAWS:
            LINK_FLAWS[Switch(name)](link)


def _replace(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    setattr(owner, name, make(getattr(owner, name)))


# --- Preamble --------------------------------------------------------------------------------


def _rewritten(rewrite: Callable[[LabConnection, Received], Received]) -> LabFlaw:
    """Read the preamble as if it had said something else."""

    def apply(lab: LabConnection) -> None:
        def make(read: Callable[[Received], int]) -> Callable[[Received], int]:
            def read_rewritten(data: Received) -> int:
                told = rewrite(lab, data)
                end = read(told)
                return end and end + len(data) - len(told)

            return read_rewritten

        _replace(lab, "_read_preamble", make)

    return apply


def _with_magic(_lab: LabConnection, data: Received) -> Received:
    return LAB_MAGIC[: len(data)] + data[len(LAB_MAGIC) :]


def _with_version(_lab: LabConnection, data: Received) -> Received:
    at = len(LAB_MAGIC)
    return data[:at] + bytes([LAB_VERSION]) + data[at + 1 :] if len(data) > at else data


def _with_alpn(lab: LabConnection, data: Received) -> Received:
    if len(data) < _NAME_AT or len(data) < _NAME_AT + data[_NAME_AT - 1]:
        return data
    name = lab._alpn.encode()  # noqa: SLF001 - a flaw is a change inside
    rest = data[_NAME_AT + data[_NAME_AT - 1] :]
    return data[: _NAME_AT - 1] + bytes([len(name)]) + name + rest


def _with_alpn_for_garbage(lab: LabConnection, data: Received) -> Received:
    name = data[_NAME_AT : _NAME_AT + data[_NAME_AT - 1]] if len(data) >= _NAME_AT else b""
    try:
        name.decode()
    except UnicodeDecodeError:
        return _with_alpn(lab, data)
    return data


def _whole_or_nothing(_lab: LabConnection, data: Received) -> Received:
    if len(data) < _NAME_AT:
        return b""
    return data if len(data) >= _NAME_AT + data[_NAME_AT - 1] + _IDENTITY_AND_WINDOWS else b""


# --- Records ---------------------------------------------------------------------------------


def _around(*types: LabRecordType) -> Callable[[Callable[..., None]], LabFlaw]:
    """Wrap the handlers of these types: called with connection, type, handler and the record."""

    def decorate(wrapper: Callable[..., None]) -> LabFlaw:
        def apply(lab: LabConnection) -> None:
            def wrap(type_: int, handler: Handler) -> Handler:
                def handle(data: Received, start: int, end: int) -> None:
                    wrapper(lab, type_, lambda: handler(data, start, end), data[start:end])

                return handle if not types or type_ in types else handler

            _replace(
                lab,
                "_handlers",
                lambda handlers: tuple(wrap(*row) for row in enumerate(handlers)),
            )

        return apply

    return decorate


def _ignoring(reason: str) -> LabFlaw:
    @_around()
    def ignore(
        _lab: LabConnection, _type: int, handle: Callable[[], None], _body: Received
    ) -> None:
        try:
            handle()
        except LinkFault as fault:
            if fault.reason != reason:
                raise

    return ignore


def _number(body: Received) -> int:
    return int.from_bytes(body[:8], "big")


def _is_of_peer(lab: LabConnection, body: Received) -> bool:
    return _number(body) & 1 != lab._own_bit  # noqa: SLF001 - a flaw is a change inside


@_around()
def _ignore_bad_stream(
    lab: LabConnection, type_: int, handle: Callable[[], None], body: Received
) -> None:
    try:
        handle()
    except LinkFault as fault:
        if fault.reason != "bad-stream" or (type_ == LabRecordType.DATA and _is_of_peer(lab, body)):
            raise


@_around(LabRecordType.DATA)
def _ignore_data_after_end(
    lab: LabConnection, _type: int, handle: Callable[[], None], body: Received
) -> None:
    try:
        handle()
    except LinkFault as fault:
        if fault.reason != "bad-stream" or not _is_of_peer(lab, body):
            raise


def _stream(lab: LabConnection, body: Received) -> LabStream | None:
    return lab._streams.get(_number(body))  # noqa: SLF001 - a flaw is a change inside


def _is_closed(lab: LabConnection, body: Received) -> bool:
    number = _number(body)
    count = lab._counts[number >> 1 & 1]  # noqa: SLF001 - a flaw is a change inside
    return _stream(lab, body) is None and _is_of_peer(lab, body) and number >> 2 < count.seen


@_around(LabRecordType.RESET)
def _refuse_second_reset(
    lab: LabConnection, _type: int, handle: Callable[[], None], body: Received
) -> None:
    stream = _stream(lab, body)
    if _is_closed(lab, body) or (stream is not None and stream.receive in RECEIVE_ENDED):
        raise LinkFault("bad-stream")
    handle()


@_around(LabRecordType.STOP)
def _refuse_second_stop(
    lab: LabConnection, _type: int, handle: Callable[[], None], body: Received
) -> None:
    stream = _stream(lab, body)
    if _is_closed(lab, body) or (stream is not None and stream.send in SEND_ENDED):
        raise LinkFault("bad-stream")
    handle()


@_around(LabRecordType.DATA)
def _refuse_data_after_stop(
    lab: LabConnection, _type: int, handle: Callable[[], None], body: Received
) -> None:
    stream = _stream(lab, body)
    if stream is not None and stream.receive is ReceiveHalf.STOPPED:
        raise LinkFault("bad-stream")
    handle()


@_around(LabRecordType.RESET)
def _reset_keeps_bytes(
    lab: LabConnection, _type: int, handle: Callable[[], None], body: Received
) -> None:
    stream = _stream(lab, body)
    kept = stream.chunks if stream is not None else []
    handle()
    if stream is not None:
        stream.chunks = kept


@_around(LabRecordType.DATA)
def _ignore_empty_fin(
    _lab: LabConnection, _type: int, handle: Callable[[], None], body: Received
) -> None:
    if len(body) != _EMPTY_FIN or not body[-1]:
        handle()


@_around(LabRecordType.MAX_DATA)
def _maximum_falls(
    lab: LabConnection, _type: int, handle: Callable[[], None], body: Received
) -> None:
    handle()
    lab._maximum = _number(body)  # noqa: SLF001 - a flaw is a change inside


@_around(LabRecordType.PING)
def _hold_ping(lab: LabConnection, _type: int, handle: Callable[[], None], _body: Received) -> None:
    credit = lab._credit  # noqa: SLF001 - a flaw is a change inside
    if credit.received == credit.taken:
        handle()


def _never(*types: LabRecordType) -> LabFlaw:
    @_around(*types)
    def ignore(*_record: object) -> None:
        return

    return ignore


@_around(LabRecordType.PONG)
def _refuse_pong(*_record: object) -> None:
    raise LinkFault("bad-stream")


def _ignore_unknown(lab: LabConnection) -> None:
    def nothing(_data: Received, _start: int, _end: int) -> None:
        return

    _replace(
        lab, "_handlers", lambda handlers: handlers + (nothing,) * (U8_MAX + 1 - len(handlers))
    )


def _any_length(lab: LabConnection) -> None:
    lab.record_max = U32_MAX


def _cut_records(lab: LabConnection) -> None:
    def make(read: Callable[[bytes], bytearray]) -> Callable[[bytes], bytearray]:
        def read_and_forget(data: bytes) -> bytearray:
            rest = read(data)
            return rest if lab.peer is None else bytearray()

        return read_and_forget

    _replace(lab, "_read", make)


def _byte_too_many(lab: LabConnection) -> None:
    def make(take: Callable[..., bytes]) -> Callable[..., bytes]:
        def take_more(*most: int | None) -> bytes:
            output = take(*most)
            return output + b"\x00" if output and lab.peer is not None else output

        return take_more

    _replace(lab, "take_output", make)


def _silent_fault(lab: LabConnection) -> None:
    def refuse(reason: str) -> None:
        if lab.closed is None:
            closed = ConnectionClosed(REASONS[reason].code, reason, by_peer=False)
            lab._end(LabConnectionEvent.CLOSE_SENT, closed)  # noqa: SLF001 - a flaw is inside

    _replace(lab, "refuse", lambda _right: refuse)


# --- Streams and credit ------------------------------------------------------------------------


class _Generous(Credit):
    """Admits anything."""

    __slots__ = ()

    def admits(self, count: int) -> bool:
        return True


class _Stingy(Credit):
    """Never gives more than at first."""

    __slots__ = ()

    @property
    def is_due(self) -> bool:
        return False


def _with_credit(kind: type[Credit]) -> LabFlaw:
    def apply(lab: LabConnection) -> None:
        lab._credit = kind(lab._credit.window)  # noqa: SLF001 - a flaw is a change inside

        def make(add: Callable[..., LabStream]) -> Callable[..., LabStream]:
            def add_with_credit(stream_id: int, *, is_own: bool) -> LabStream:
                stream = add(stream_id, is_own=is_own)
                stream.credit = kind(stream.credit.window)
                return stream

            return add_with_credit

        _replace(lab, "_add", make)

    return apply


def _no_implied_streams(lab: LabConnection) -> None:
    def make(find: Callable[..., LabStream | None]) -> Callable[..., LabStream | None]:
        def find_in_order(stream_id: int, *, written_by_peer: bool) -> LabStream | None:
            count = lab._counts[stream_id >> 1 & 1]  # noqa: SLF001 - a flaw is a change inside
            is_of_peer = stream_id & 1 != lab._own_bit  # noqa: SLF001 - as above
            if is_of_peer and count.seen < stream_id >> 2 < count.given:
                raise LinkFault("bad-stream")
            return find(stream_id, written_by_peer=written_by_peer)

        return find_in_order

    _replace(lab, "_find", make)


def _no_stream_limit(lab: LabConnection) -> None:
    def make(find: Callable[..., LabStream | None]) -> Callable[..., LabStream | None]:
        def find_any(stream_id: int, *, written_by_peer: bool) -> LabStream | None:
            count = lab._counts[stream_id >> 1 & 1]  # noqa: SLF001 - a flaw is a change inside
            if stream_id >> 2 >= count.given:
                # As the newest one there is: a table of all up to it would not fit anywhere.
                stream_id = max(count.seen - 1, 0) << 2 | stream_id & 3
            return find(stream_id, written_by_peer=written_by_peer)

        return find_any

    _replace(lab, "_find", make)


def _beyond_credit(lab: LabConnection) -> None:
    def make(read: Callable[[Received], int]) -> Callable[[Received], int]:
        def read_generously(data: Received) -> int:
            end = read(data)
            if lab.peer is not None:
                streams = lab.peer.windows.max_streams_bidi, lab.peer.windows.max_streams_uni
                windows = Windows(STREAM_ID_MAX, STREAM_ID_MAX, *streams)
                lab.peer = Preamble(lab.peer.endpoint_id, windows)
                lab._maximum = STREAM_ID_MAX  # noqa: SLF001 - a flaw is a change inside
            return end

        return read_generously

    _replace(lab, "_read_preamble", make)


def _leak_credit(lab: LabConnection) -> None:
    def consumed(stream_id: int, count: int) -> None:
        stream = lab._streams.get(stream_id)  # noqa: SLF001 - a flaw is a change inside
        if stream is not None:
            lab._credit.taken += stream.settle(count)  # noqa: SLF001 - as above
            lab._check_raise(stream)  # noqa: SLF001 - as above

    _replace(lab, "consumed", lambda _right: consumed)
    _replace(lab, "_settle", lambda _right: lambda _count: None)


def _no_stream_raise(lab: LabConnection) -> None:
    def make(retire: Callable[[LabStream], None]) -> Callable[[LabStream], None]:
        def retire_for_good(stream: LabStream) -> None:
            retire(stream)
            for count in lab._counts:  # noqa: SLF001 - a flaw is a change inside
                count.closed = 0

        return retire_for_good

    _replace(lab, "_retire", make)


def _open_beyond(lab: LabConnection) -> None:
    def always(*, bidi: bool) -> bool:
        return lab.peer is not None

    _replace(lab, "can_open", lambda _right: always)


# --- The link ----------------------------------------------------------------------------------


def _late_preamble(link: Any) -> None:
    lab: LabConnection = link._lab  # noqa: SLF001 - a flaw is a change inside

    def make(flush: Callable[[], None]) -> Callable[[], None]:
        def flush_late() -> None:
            link._flush_is_due = False  # noqa: SLF001 - as above
            if lab.peer is not None or lab.closed is not None:
                flush()

        return flush_late

    _replace(link, "_flush", make)


def _no_deadline(link: Any) -> None:
    def make(start: Callable[[Any], None]) -> Callable[[Any], None]:
        def start_patiently(carrier: object) -> None:
            start(carrier)
            link._deadline.cancel()  # noqa: SLF001 - a flaw is a change inside

        return start_patiently

    _replace(link, "start", make)


def _keep_link(link: Any) -> None:
    _replace(link, "_finish", lambda _right: lambda _carrier, _closed: None)


LAB_FLAWS: Final[dict[Switch, LabFlaw]] = {
    Switch.LAB_ANY_MAGIC: _rewritten(_with_magic),
    Switch.LAB_ANY_VERSION: _rewritten(_with_version),
    Switch.LAB_ANY_ALPN: _rewritten(_with_alpn),
    Switch.LAB_GARBAGE_ALPN: _rewritten(_with_alpn_for_garbage),
    Switch.LAB_LATE_CHECK: _rewritten(_whole_or_nothing),
    Switch.LAB_BYTE_TOO_MANY: _byte_too_many,
    Switch.LAB_IGNORE_UNKNOWN: _ignore_unknown,
    Switch.LAB_ANY_LENGTH: _any_length,
    Switch.LAB_IGNORE_SHORT: _ignoring("truncated"),
    Switch.LAB_IGNORE_LONG: _ignoring("trailing-bytes"),
    Switch.LAB_IGNORE_FLAG: _ignoring("bad-flag"),
    Switch.LAB_SILENT_FAULT: _silent_fault,
    Switch.LAB_NO_IMPLIED_STREAMS: _no_implied_streams,
    Switch.LAB_NO_STREAM_LIMIT: _no_stream_limit,
    Switch.LAB_IGNORE_BAD_STREAM: _ignore_bad_stream,
    Switch.LAB_IGNORE_DATA_AFTER_END: _ignore_data_after_end,
    Switch.LAB_REFUSE_SECOND_RESET: _refuse_second_reset,
    Switch.LAB_IGNORE_STOP: _never(LabRecordType.STOP),
    Switch.LAB_REFUSE_SECOND_STOP: _refuse_second_stop,
    Switch.LAB_REFUSE_DATA_AFTER_STOP: _refuse_data_after_stop,
    Switch.LAB_RESET_KEEPS_BYTES: _reset_keeps_bytes,
    Switch.LAB_BEYOND_CREDIT: _beyond_credit,
    Switch.LAB_NO_FLOW_CONTROL: _with_credit(_Generous),
    Switch.LAB_IGNORE_EMPTY_FIN: _ignore_empty_fin,
    Switch.LAB_MAXIMUM_FALLS: _maximum_falls,
    Switch.LAB_NO_RAISE: _with_credit(_Stingy),
    Switch.LAB_LEAK_CREDIT: _leak_credit,
    Switch.LAB_NO_STREAM_RAISE: _no_stream_raise,
    Switch.LAB_HOLD_PING: _hold_ping,
    Switch.LAB_OPEN_BEYOND: _open_beyond,
    Switch.LAB_NO_PONG: _never(LabRecordType.PING),
    Switch.LAB_REFUSE_PONG: _refuse_pong,
    Switch.LAB_CUT_RECORDS: _cut_records,
}
"""What each switch turns in a lab connection."""

LINK_FLAWS: Final[dict[Switch, Callable[[Any], None]]] = {
    Switch.LAB_LATE_PREAMBLE: _late_preamble,
    Switch.LAB_NO_DEADLINE: _no_deadline,
    Switch.LAB_KEEP_LINK: _keep_link,
}
"""What each switch turns in the link around it."""
