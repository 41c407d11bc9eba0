"""The frames between supervisor and worker: length, kind, number, msgpack body.

A request carries calls of one kind, each with the stored bytes of its document (None: the worker
holds it, empty: there are none). A reply carries results of one kind, each with what has become of
the worker's memory; a request may have several replies, one after another. A request is made in
pieces, so that great byte strings in it are not copied.
Bodies are decoded into their types strictly: replies of a worker that hostile
bytes have damaged must not be trusted.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import groupby
from types import GenericAlias
from typing import Any, Final, TypeAlias, cast, get_args

import msgspec

from meshwire_reference.core.document_calls import Call, Result, size_of
from meshwire_reference.documents.limits import PendingDropped

HEADER: Final = struct.Struct(">IBI")
READY: Final = 0xFF
"""Kind of the frame that a worker sends once it is ready; its body has the limits it lacks."""
FAILED: Final = 0xFE
"""Kind of the frame of a worker that cannot start; its body says why."""
SKIP: Final = 0xFD
"""Kind of a request to leave out the call of this number if it is not begun.

As a reply it says that the rest of the calls was left out: for that, for lack of the stored bytes,
or since those before it took long.
"""

GREAT: Final = 256 * 2**10
"""Bytes of a string that is not copied into a request, and not out of the bytes received."""
MSGPACK_BYTES: Final = struct.Struct(">BI")
"""A byte of the format, and a length or a count of elements."""
BYTES, ROWS, FIELDS = 0xC6, 0xDD, 0xDF
"""These bytes of msgpack: a byte string, an array, a map."""

CALL_TYPES: Final[tuple[type[Call], ...]] = get_args(Call)
RESULT_TYPES: Final[tuple[type[Result], ...]] = get_args(Result)
CALL_KINDS: Final = {kind: number for number, kind in enumerate(CALL_TYPES)}
RESULT_KINDS: Final = {kind: number for number, kind in enumerate(RESULT_TYPES)}

_encode = msgspec.msgpack.Encoder().encode

Decoder: TypeAlias = msgspec.msgpack.Decoder[Any]


def decoders(types: tuple[object, ...], *beside: object) -> tuple[Decoder, ...]:
    """Return one decoder per type, for lists of tuples of it and of the types in `beside`."""
    rows = (GenericAlias(tuple, (kind, *beside)) for kind in types)
    return tuple(msgspec.msgpack.Decoder(GenericAlias(list, (row,))) for row in rows)


_CALL_DECODERS: Final = decoders(CALL_TYPES, bytes | None)
_READY_DECODER: Final = msgspec.msgpack.Decoder(tuple[tuple[str, str], ...])


class BrokenPipe(Exception):
    """The bytes on the pipe are not frames; the other process is not trusted any more."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as received; its body is not decoded."""

    kind: int
    number: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Memory:
    """What a worker holds after a call."""

    held: bool = False
    """True if it holds the document of the call."""
    pending: int = 0
    """Number of pending changes of that document, which only the worker has."""
    released: tuple[str, ...] = ()
    """Documents that it has let go."""
    dropped: tuple[PendingDropped, ...] = ()
    """Pending changes that it has dropped, of any document."""


_RESULT_DECODERS: Final = decoders(RESULT_TYPES, Memory)


class PipeReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add bytes and yield the frames that they complete; the iterator must be exhausted."""
        buffer = self._buffer
        buffer += data
        offset = 0
        while len(buffer) - offset >= HEADER.size:
            length, kind, number = HEADER.unpack_from(buffer, offset)
            end = offset + HEADER.size + length
            if len(buffer) < end:
                break
            if length < GREAT:
                yield Frame(kind, number, bytes(buffer[offset + HEADER.size : end]))
                offset = end
            else:
                # A copy would take longer than others should wait. Nobody changes these bytes.
                self._buffer = buffer[end:]
                del buffer[end:], buffer[: offset + HEADER.size]
                yield Frame(kind, number, cast("bytes", buffer))
                buffer, offset = self._buffer, 0
        del buffer[:offset]


def encode_frame(kind: int, number: int, body: bytes) -> bytes:
    """Return one frame."""
    return HEADER.pack(len(body), kind, number) + body


def encode_ready(not_set: tuple[tuple[str, str], ...]) -> bytes:
    """Return the frame of a worker that can work; `not_set` has limits and why each is missing."""
    return encode_frame(READY, 0, _encode(not_set))


def decode_ready(frame: Frame) -> tuple[tuple[str, str], ...]:
    """Return the limits that a worker works without. Raises BrokenPipe."""
    try:
        return _READY_DECODER.decode(frame.body)
    except msgspec.DecodeError as exc:
        raise BrokenPipe(str(exc)) from exc


def encode_request(number: int, calls: Sequence[tuple[Call, bytes | None]]) -> list[bytes]:
    """Return the frame of calls of one kind, each with the stored bytes of its document.

    It is in pieces; great byte strings are pieces of their own.
    """
    kind = CALL_KINDS[type(calls[0][0])]
    if sum(size_of(call) + len(stored or b"") for call, stored in calls) < GREAT:
        return [encode_frame(kind, number, _encode(calls))]
    body = list(encode_in_pieces(calls))
    return [HEADER.pack(sum(map(len, body)), kind, number), *body]


def encode_in_pieces(value: object) -> Iterator[bytes]:
    """Yield the pieces of a value in msgpack, great byte strings uncopied."""
    if isinstance(value, bytes | bytearray) and len(value) >= GREAT:
        yield MSGPACK_BYTES.pack(BYTES, len(value))
        yield cast("bytes", value)
    elif isinstance(value, list | tuple):
        yield MSGPACK_BYTES.pack(ROWS, len(value))
        for element in value:
            yield from encode_in_pieces(element)
    elif is_dataclass(value):
        names = [field.name for field in fields(value)]
        yield MSGPACK_BYTES.pack(FIELDS, len(names))
        for name in names:
            yield _encode(name)
            yield from encode_in_pieces(getattr(value, name))
    else:
        yield _encode(value)


def decode_request(frame: Frame) -> list[tuple[Call, bytes | None]]:
    """Return the calls of a frame, each with the stored bytes of its document."""
    decoded: list[tuple[Any, bytes | None]] = _CALL_DECODERS[frame.kind].decode(frame.body)
    return decoded


def encode_reply(number: int, results: Sequence[tuple[Result, Memory]]) -> bytes:
    """Return the frames of results in their order, one frame for each run of one kind."""
    return b"".join(
        encode_frame(RESULT_KINDS[kind], number, _encode(list(run)))
        for kind, run in groupby(results, lambda one: type(one[0]))
    )


def decode_reply(frame: Frame) -> list[tuple[Result, Memory]]:
    """Return the results of a frame, each with what the worker holds after it.

    Raises BrokenPipe when the body is not what its kind says.
    """
    try:
        decoded: list[tuple[Any, Memory]] = _RESULT_DECODERS[frame.kind].decode(frame.body)
    except (IndexError, msgspec.DecodeError) as exc:
        raise BrokenPipe(str(exc)) from exc
    return decoded
