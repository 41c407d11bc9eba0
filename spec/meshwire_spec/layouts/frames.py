"""Stream frames and entries: a key, a type byte and a payload."""

from meshwire_spec.fields import Blob, Choice, Int8ub, Int16ub, Int32ub, Number, Text
from meshwire_spec.layouts.compound import Layout
from meshwire_spec.numbers import FRAME_KEY_MAX, PAYLOAD_MAX, FrameType

STREAM_FRAME = Layout(
    "stream_frame",
    "One frame on a sync stream",
    {
        "key": Text(Int16ub, "document key, or the fixed key of the type", limit=FRAME_KEY_MAX),
        "type": Choice(Int8ub, FrameType, "what the payload is", reason="unknown-type"),
        "payload": Blob(Int32ub, "message of that type", ceiling=PAYLOAD_MAX),
    },
)

SYNC_ENTRY = Layout(
    "sync_entry",
    "One entry of a batch",
    {
        "key": Text(Int16ub, "document key, or the fixed key of the type", limit=FRAME_KEY_MAX),
        "type": Number(Int8ub, "what the payload is; other than 0x00, 0x01, 0x04 is skipped"),
        "payload": Blob(Int32ub, "message of that type", ceiling=PAYLOAD_MAX),
    },
)
