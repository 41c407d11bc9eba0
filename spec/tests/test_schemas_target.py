"""Tests of the schemas of the ready line and the target file."""

import json
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from meshwire_spec.numbers import CAPABILITIES, PAYLOAD_MAX

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


def load(name: str) -> dict[str, Any]:
    """Return a published schema."""
    text = (resources.files("meshwire_spec") / "schemas" / f"{name}.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def test_the_two_schemas_are_schemas_and_share_their_facts() -> None:
    """Whatever is a fact of a ready line is the same fact in a target file."""
    ready, target = load("ready"), load("target")

    Draft202012Validator.check_schema(ready)
    Draft202012Validator.check_schema(target)
    assert ready["$defs"] == target["$defs"]


@pytest.mark.parametrize(("name", "value"), [("ready", READY), ("target", TARGET)])
def test_an_example_is_valid(name: str, value: dict[str, Any]) -> None:
    """A complete example of each passes."""
    assert list(Draft202012Validator(load(name)).iter_errors(value)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ready", READY | {"formation_secret_file": "x"}),
        ("ready", READY | {"dialect": "H1"}),
        ("ready", READY | {"endpoint_id": "AB" * 32}),
        ("ready", READY | {"deadlines": {"handshake_s": 0}}),
        ("ready", READY | {"unknown": 1}),
        ("target", TARGET | {"profile": "sync/9"}),
        ("target", {key: TARGET[key] for key in TARGET if key != "formation_secret_file"}),
        ("target", TARGET | {"addresses": []}),
    ],
)
def test_a_wrong_fact_is_refused(name: str, value: dict[str, Any]) -> None:
    """Secrets, unknown members and values out of range do not pass."""
    with pytest.raises(ValidationError):
        Draft202012Validator(load(name)).validate(value)
