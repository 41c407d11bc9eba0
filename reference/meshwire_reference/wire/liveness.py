"""The heartbeat, the one record of a unidirectional stream."""

from dataclasses import dataclass

from meshwire_reference.wire.cursor import U8, U64_BE, Reader, Writer
from meshwire_spec.numbers import HEARTBEAT_MARKER


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A heartbeat; `sent_at` is the sender's clock in ms since 1970, and is not used."""

    marker: int
    sent_at: int
    extra: bytes = b""


def decode_heartbeat(data: bytes) -> Heartbeat:
    """Decode a heartbeat and the bytes after it (D-04); raises Malformed."""
    reader = Reader(data)
    return Heartbeat(
        # LV-002
        marker=reader.listed(U8, (HEARTBEAT_MARKER,), "bad-marker", "marker"),
        sent_at=reader.number(U64_BE, "sent_at"),
        # LV-004
        extra=reader.rest(),
    )


# LV-001
def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """Encode a heartbeat; raises Unencodable."""
    writer = Writer()
    writer.listed(U8, heartbeat.marker, (HEARTBEAT_MARKER,), "bad-marker", "marker")
    writer.number(U64_BE, heartbeat.sent_at, "sent_at")
    writer.rest(heartbeat.extra)
    return writer.done()
