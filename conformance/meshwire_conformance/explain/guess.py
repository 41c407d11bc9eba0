"""Which message some bytes are: one of a kind, several in a row, or the bytes of a connection.

Every kind is tried, and every row of `SEQUENCES`. Bytes that ignored trailing bytes alone make fit
a kind are rather a sequence that fits whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from meshwire_conformance.explain.counted import entry_end, shorten
from meshwire_spec.codec import Malformed, accept, decode
from meshwire_spec.numbers import KINDS, LAB_MAGIC

ELEMENTS_TRIED = 1
"""Elements of a batch that the schema reads to try a kind; the others are checked in haste."""
RECORD_HEADER = 5
"""Bytes of a record before its body."""
PREAMBLE_ALPN = 5
PREAMBLE_FIXED = 70
"""Bytes of a preamble without its ALPN, and the offset of the length of that."""
TWINS: Mapping[str, str] = {"sync_entry": "stream_frame"}
"""Kinds with the layout of another, which is the one that is rather meant."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One message in a row of them: its kind and its place."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Row:
    """Messages in a row; bytes from `rest` on are none, or only the beginning of one."""

    name: str
    pieces: Sequence[Piece]
    rest: int
    rest_kind: str


@dataclass(frozen=True, slots=True)
class KindVerdict:
    """Whether bytes decode as a kind, whether a strict node accepts them, and both as text."""

    fits: bool
    is_accepted: bool
    text: str
    ignored: int = 0


def judge(kind: str, data: bytes) -> KindVerdict:
    """Return whether these bytes are one message of a kind."""
    short = shorten(kind, data, ELEMENTS_TRIED)
    try:
        message = decode(kind, data if short is None else short.data)
    except Malformed as exc:
        return KindVerdict(
            fits=False, is_accepted=False, text=f"no: {exc.reason} at byte {exc.offset}"
        )
    reason = accept(kind, message)
    ignored = len(message.fields.get("extra", b""))
    if short is not None:
        fault = short.rest.fault
        reason = reason or (None if fault is None else fault.reason)
        ignored = 0 if fault else len(data) - short.rest.end
    if reason is None:
        tail = f", if its last {ignored} bytes are ignored" if ignored else ""
        return KindVerdict(fits=True, is_accepted=True, text=f"fits{tail}", ignored=ignored)
    text = f"fits, but a strict node refuses it: {reason}"
    return KindVerdict(fits=True, is_accepted=False, text=text, ignored=ignored)


def _record_end(data: bytes, at: int) -> int | None:
    if len(data) - at < RECORD_HEADER:
        return None
    end = at + RECORD_HEADER + int.from_bytes(data[at + 1 : at + RECORD_HEADER], "big")
    return end if end <= len(data) else None


def _frame_end(data: bytes, at: int) -> int | None:
    return entry_end(data, at, len(data))


def _preamble_end(data: bytes) -> int | None:
    if not data.startswith(LAB_MAGIC) or len(data) <= PREAMBLE_ALPN:
        return None
    end = PREAMBLE_FIXED + data[PREAMBLE_ALPN]
    return end if end <= len(data) else None


SEQUENCES: Mapping[str, Callable[[bytes, int], int | None]] = {
    "stream_frame": _frame_end,
    "sync_entry": _frame_end,
    "channel_record": _record_end,
    "lab_record": _record_end,
}
"""Kinds of which several can follow each other, and a function that finds the end of one."""


def row_of(kind: str, data: bytes, start: int = 0) -> Row:
    """Return the messages of a kind that follow each other from `start` on."""
    pieces: list[Piece] = []
    at = start
    while at < len(data):
        end = SEQUENCES[kind](data, at)
        if end is None:
            break
        pieces.append(Piece(kind, at, end))
        at = end
    return Row(f"{kind}s in a row", pieces, at, kind)


def connection_of(data: bytes) -> Row | None:
    """Return a preamble of the lab binding and the records after it; None for other bytes."""
    end = _preamble_end(data)
    if end is None:
        return None
    row = row_of("lab_record", data, end)
    pieces = (Piece("lab_preamble", 0, end), *row.pieces)
    return Row("lab binding, one direction", pieces, row.rest, "lab_record")


def rows_of(data: bytes) -> Iterator[Row]:
    """Yield the rows of messages that these bytes can be: more than one, or one and a beginning.

    Each of their messages decodes; what is left may be the beginning of one that is cut short.
    """
    connection = connection_of(data)
    found = [] if connection is None else [connection]
    found += [row_of(kind, data) for kind in SEQUENCES if kind not in TWINS]
    for row in found:
        is_more = len(row.pieces) > 1 or (row.pieces and row.rest < len(data))
        if is_more and all(_decodes(piece, data) for piece in row.pieces):
            yield row


def _decodes(piece: Piece, data: bytes) -> bool:
    return judge(piece.kind, data[piece.start : piece.end]).fits


@dataclass(frozen=True, slots=True)
class Guess:
    """What bytes may be: verdicts by kind, and the readings that fit, the best one first.

    A reading is a kind or a row of messages. `is_sure` is False if another fits as well.
    """

    verdicts: Mapping[str, KindVerdict]
    readings: Sequence[str | Row]
    is_sure: bool


def guess(data: bytes) -> Guess:
    """Return what these bytes may be."""
    verdicts = {kind: judge(kind, data) for kind in KINDS}
    fitting = [kind for kind, verdict in verdicts.items() if verdict.fits]
    fitting = [kind for kind in fitting if TWINS.get(kind) not in fitting]
    rows = list(rows_of(data))
    whole = [row for row in rows if row.rest == len(data)]
    exact = [kind for kind in fitting if not verdicts[kind].ignored]
    if whole and not exact:
        return Guess(verdicts, [*whole, *fitting], is_sure=len(whole) == 1)
    if fitting:
        ordered = sorted(fitting, key=lambda kind: kind not in exact)
        return Guess(verdicts, ordered, is_sure=len(fitting) == 1 or len(exact) == 1)
    best = max(rows, key=lambda row: row.rest, default=None)
    readings = [] if best is None else [best]
    return Guess(verdicts, readings, is_sure=best is not None)
