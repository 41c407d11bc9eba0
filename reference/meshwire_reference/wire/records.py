"""Records of one lab connection as its bytes arrive: the incremental reader, without any IO."""

from meshwire_reference.wire.cursor import U8, U32_BE, Reader
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.lab import (
    RECORD_HEADER,
    RECORD_TYPES,
    LabRecord,
    decode_lab_record,
)
from meshwire_spec.numbers import LAB_RECORD_MAX


class RecordReader:
    """Cuts what arrives on one connection, after the preamble, into records.

    Used like `FrameReader`: take what `feed` returns, then look at `fault`. Offsets count from
    the start of the record at fault.
    """

    __slots__ = ("_buffer", "fault")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.fault: Malformed | None = None

    def feed(self, data: bytes) -> list[LabRecord]:
        """Take the next bytes and return the records that are whole now."""
        records: list[LabRecord] = []
        if self.fault is not None:
            return records
        self._buffer += data
        start = 0
        try:
            while (size := self._size(start)) is not None:
                records.append(decode_lab_record(bytes(self._buffer[start : start + size])))
                start += size
        except Malformed as malformed:
            self.fault = malformed
        del self._buffer[:start]
        return records

    def end(self) -> Malformed | None:
        """Say at the connection's end what is wrong with it, if anything."""
        if self.fault is None and self._buffer:
            try:
                decode_lab_record(bytes(self._buffer))
            except Malformed as malformed:
                self.fault = malformed
        return self.fault

    def _size(self, start: int) -> int | None:
        """Return the size of the record at `start`, None while it is not whole; check its header.

        Type and length are refused as soon as they are there (LAB_RECORD_MAX bounds the buffer).
        """
        here = len(self._buffer) - start
        header = Reader(bytes(self._buffer[start : start + RECORD_HEADER.size]))
        if here >= U8.size:
            header.listed(U8, RECORD_TYPES, "unknown-type", "type")
        if here < RECORD_HEADER.size:
            return None
        size = RECORD_HEADER.size + header.length(U32_BE, "body", LAB_RECORD_MAX)
        return size if here >= size else None
