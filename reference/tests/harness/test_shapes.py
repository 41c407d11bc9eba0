"""Values that are not what their kind's shape says."""

from typing import Any

import pytest

from meshwire_reference.harness import kinds
from meshwire_reference.wire.errors import Unencodable

HEARTBEAT = {"marker": 1, "sent_at": "7", "extra": ""}
BATCH = {
    "batch_id": "1",
    "created_at": "2",
    "ttl": 3,
    "entry_count": 1,
    "entries": [{"key": "a:b", "type": 1, "payload": ""}],
    "fault": None,
    "extra": "",
}

BAD: tuple[tuple[str, object, str], ...] = (
    ("heartbeat", [], ""),
    ("heartbeat", {**HEARTBEAT, "sent": 1}, "sent"),
    ("heartbeat", {**HEARTBEAT, **dict.fromkeys("hgfedcba", 1)}, "a"),
    ("heartbeat", {"marker": 1, "sent_at": "7"}, "extra"),
    ("heartbeat", {**HEARTBEAT, "marker": True}, "marker"),
    ("heartbeat", {**HEARTBEAT, "marker": 256}, "marker"),
    ("heartbeat", {**HEARTBEAT, "marker": "1"}, "marker"),
    ("heartbeat", {**HEARTBEAT, "sent_at": 7}, "sent_at"),
    ("heartbeat", {**HEARTBEAT, "sent_at": "07"}, "sent_at"),
    ("heartbeat", {**HEARTBEAT, "sent_at": "-1"}, "sent_at"),
    ("heartbeat", {**HEARTBEAT, "sent_at": "\u0661"}, "sent_at"),
    ("heartbeat", {**HEARTBEAT, "sent_at": "1\n"}, "sent_at"),
    ("heartbeat", {**HEARTBEAT, "sent_at": str(2**64)}, "sent_at"),
    ("heartbeat", {**HEARTBEAT, "sent_at": "9" * 5000}, "sent_at"),
    ("heartbeat", {**HEARTBEAT, "extra": "AB"}, "extra"),
    ("heartbeat", {**HEARTBEAT, "extra": "a b"}, "extra"),
    ("heartbeat", {**HEARTBEAT, "extra": "abc"}, "extra"),
    ("heartbeat", {**HEARTBEAT, "extra": None}, "extra"),
    ("sync_batch", {**BATCH, "entries": {}}, "entries"),
    ("sync_batch", {**BATCH, "entries": [{"key": 1, "type": 1, "payload": ""}]}, "entries[0].key"),
    ("sync_batch", {**BATCH, "entries": [{"key": "a:b", "type": 1}]}, "entries[0].payload"),
    ("sync_batch", {**BATCH, "fault": {}}, "fault.reason"),
    (
        "negentropy_message",
        {
            "version": 97,
            "ranges": [{"upper": {"timestamp": "1", "prefix": ""}, "mode": 0, "payload": {}}],
        },
        "ranges[0].payload",
    ),
    ("lab_record", {"type": 3, "body": {"maximum": 5}}, "body.maximum"),
)


@pytest.mark.parametrize(("kind", "value", "field"), BAD)
def test_names_the_member_at_fault(kind: str, value: object, field: str) -> None:
    """A member missing, unknown, of a wrong type or out of its width is a bad value."""
    with pytest.raises(Unencodable) as raised:
        kinds.from_value(kind, value)

    assert ("bad-value", field) == (raised.value.reason, raised.value.field)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("lab_record", {"type": 10, "body": {}}, ("unknown-type", "type")),
        (
            "negentropy_message",
            {
                "version": 97,
                "ranges": [{"upper": {"timestamp": "1", "prefix": ""}, "mode": 3, "payload": None}],
            },
            ("bad-mode", "ranges[0].mode"),
        ),
    ],
)
def test_a_number_outside_its_registry_has_the_registrys_reason(
    kind: str, value: Any, expected: tuple[str, str]
) -> None:
    """The writer refuses what the reader refuses, for the same reason."""
    with pytest.raises(Unencodable) as raised:
        kinds.from_value(kind, value)

    assert expected == (raised.value.reason, raised.value.field)
