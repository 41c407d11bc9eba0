"""Ready line and target file: what struct and published schema let through, and what not."""

from typing import Any

import msgspec
import pytest

from meshwire_spec.numbers import CAPABILITIES, PAYLOAD_MAX
from meshwire_spec.schemas.targets import ReadyLine, TargetFile
from meshwire_spec.schemas.validation import faults, load_schema

READY: dict[str, Any] = {
    "addresses": ["tcp://127.0.0.1:4711"],
    "endpoint_id": "0123456789abcdef" * 4,
    "instance_id": "a1",
    "profile": "sync/1",
    "dialect": "open",
    "capabilities": list(CAPABILITIES),
    "payload_cap": PAYLOAD_MAX,
    "deadlines": {"handshake_s": 10.0, "frame_stall_s": 30.0},
}
TARGET: dict[str, Any] = {
    "addresses": ["tcp://127.0.0.1:4711"],
    "profile": "sync/1",
    "dialect": "H1",
    "formation_id": "squad",
    "formation_secret_file": "squad.secret",
}


STRUCTS = {"ready": ReadyLine, "target": TargetFile}


def test_ready_line_and_target_file_state_the_same_facts() -> None:
    """Facts of a ready line have the same meaning in a target file."""
    ready, target = load_schema("ready"), load_schema("target")
    own = target["properties"].pop("formation_secret_file")
    # The suite asks a node that it has not started for no metrics.
    metrics = ready["properties"].pop("metrics")

    assert own["type"] == metrics["type"] == "string"
    assert ready["properties"] == target["properties"]
    assert ready["$defs"] == target["$defs"]


@pytest.mark.parametrize(("name", "value"), [("ready", READY), ("target", TARGET)])
def test_an_example_is_valid(name: str, value: dict[str, Any]) -> None:
    """A complete example of each fits the schema and the struct."""
    assert list(faults(name, value)) == []
    assert msgspec.to_builtins(msgspec.convert(value, STRUCTS[name])) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ready", READY | {"formation_secret_file": "x"}),
        ("ready", READY | {"dialect": "H1"}),
        ("ready", READY | {"endpoint_id": "AB" * 32}),
        ("ready", READY | {"deadlines": {"handshake_s": 0}}),
        ("ready", READY | {"unknown": 1}),
        ("ready", READY | {"capabilities": ["frames", "frames"]}),
        ("ready", READY | {"instance_id": ""}),
        ("ready", READY | {"payload_cap": 6}),
        ("ready", READY | {"collections": {"x": {"ttl_s": 0}}}),
        ("target", TARGET | {"profile": "sync/9"}),
        ("target", {key: TARGET[key] for key in TARGET if key != "formation_id"}),
        ("target", {key: TARGET[key] for key in TARGET if key != "formation_secret_file"}),
        ("target", TARGET | {"addresses": []}),
    ],
)
def test_a_wrong_fact_is_refused(name: str, value: dict[str, Any]) -> None:
    """Secrets, unknown members and values out of range pass neither schema nor struct."""
    assert list(faults(name, value))
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, STRUCTS[name])
