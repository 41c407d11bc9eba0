"""The heartbeat, alone on a unidirectional stream."""

from meshwire_spec.fields import Constant, Int8ub, Int64ub, Number, Tolerated
from meshwire_spec.layouts.compound import Layout
from meshwire_spec.numbers import HEARTBEAT_MARKER

HEARTBEAT = Layout(
    "heartbeat",
    "Whole content of a unidirectional stream",
    {
        "marker": Constant(Int8ub, HEARTBEAT_MARKER, "marks a heartbeat", reason="bad-marker"),
        "sent_at": Number(Int64ub, "sender's clock; receivers never use it", unit="ms since 1970"),
        "extra": Tolerated("ignored by readers, never added by writers"),
    },
)
