"""The lab binding: a preamble each way, then records that carry QUIC's stream model over TCP."""

from meshwire_spec.fields import (
    Choice,
    Constant,
    Fixed,
    Flag,
    Int8ub,
    Int64ub,
    Number,
    Rest,
    Text,
)
from meshwire_spec.layouts.compound import Body, Layout
from meshwire_spec.numbers import (
    CLOSE_REASON_MAX,
    ENDPOINT_ID,
    LAB_MAGIC,
    LAB_PING,
    LAB_RECORD_MAX,
    LAB_VERSION,
    LabRecordType,
)

LAB_PREAMBLE = Layout(
    "lab_preamble",
    "First bytes each way",
    {
        "magic": Fixed(len(LAB_MAGIC), "marks the binding", value=LAB_MAGIC, reason="bad-magic"),
        "version": Constant(Int8ub, LAB_VERSION, "version of the binding", reason="bad-version"),
        "alpn": Text(Int8ub, "protocol inside, as QUIC would negotiate it"),
        "endpoint_id": Fixed(ENDPOINT_ID, "identity of the sender, unproven"),
        "max_data": Number(Int64ub, "credit of the connection", unit="bytes"),
        "max_stream_data": Number(Int64ub, "credit of each stream", unit="bytes"),
        "max_streams_bidi": Number(Int64ub, "credit of bidirectional streams", unit="streams"),
        "max_streams_uni": Number(Int64ub, "credit of unidirectional streams", unit="streams"),
    },
)


def _stream_id() -> Number:
    return Number(Int64ub, "stream, numbered as in QUIC")


def _code() -> Number:
    return Number(Int64ub, "application code of the reason")


def _maximum(what: str, unit: str) -> Number:
    return Number(Int64ub, f"credit {what} since its start", unit=unit)


def _echo() -> Fixed:
    return Fixed(LAB_PING, "bytes that the echo repeats")


DATA = Layout(
    "data",
    "Bytes of a stream, and its end",
    {
        "stream_id": _stream_id(),
        "fin": Flag("whether the stream ends after these bytes"),
        "data": Rest("bytes of the stream"),
    },
)
RESET = Layout("reset", "The sender ends its half", {"stream_id": _stream_id(), "code": _code()})
STOP = Layout("stop", "The reader wants no more", {"stream_id": _stream_id(), "code": _code()})
MAX_DATA = Layout(
    "max_data", "Connection credit", {"maximum": _maximum("of the connection", "bytes")}
)
MAX_STREAM_DATA = Layout(
    "max_stream_data",
    "Stream credit",
    {"stream_id": _stream_id(), "maximum": _maximum("of the stream", "bytes")},
)
MAX_STREAMS_BIDI = Layout(
    "max_streams_bidi", "Stream count", {"maximum": _maximum("of bidirectional streams", "streams")}
)
MAX_STREAMS_UNI = Layout(
    "max_streams_uni", "Stream count", {"maximum": _maximum("of unidirectional streams", "streams")}
)
PING = Layout("ping", "Asks for an echo", {"payload": _echo()})
PONG = Layout("pong", "The echo", {"payload": _echo()})
CLOSE = Layout(
    "close",
    "The connection ends",
    {
        "code": _code(),
        "reason": Rest("text for a person", is_text=True, ceiling=CLOSE_REASON_MAX),
    },
)

LAB_BODIES = {
    int(LabRecordType.DATA): DATA,
    int(LabRecordType.RESET): RESET,
    int(LabRecordType.STOP): STOP,
    int(LabRecordType.MAX_DATA): MAX_DATA,
    int(LabRecordType.MAX_STREAM_DATA): MAX_STREAM_DATA,
    int(LabRecordType.MAX_STREAMS_BIDI): MAX_STREAMS_BIDI,
    int(LabRecordType.MAX_STREAMS_UNI): MAX_STREAMS_UNI,
    int(LabRecordType.PING): PING,
    int(LabRecordType.PONG): PONG,
    int(LabRecordType.CLOSE): CLOSE,
}

LAB_RECORD = Layout(
    "lab_record",
    "Everything after the preamble",
    {
        "type": Choice(Int8ub, LabRecordType, "what the record says", reason="unknown-type"),
        "body": Body("type", LAB_BODIES, "members of that type", ceiling=LAB_RECORD_MAX),
    },
)
