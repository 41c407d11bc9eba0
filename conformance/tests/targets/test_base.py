"""Targets as typed, and the permission to write to one off this machine."""

import pytest

from meshwire_conformance.contracts import Settings
from meshwire_conformance.errors import UsageError
from meshwire_conformance.targets.base import demand_permission, parse_target

REMOTE = ("tcp://192.0.2.1:4040", f"iroh://{'0a' * 32}@192.0.2.1:4040", "tcp://mesh.example:4040")
LOCAL = ("tcp://127.0.0.1:4040", f"iroh://{'0a' * 32}@[::1]:4040", "stdio:./codec", "node:./node")


@pytest.mark.parametrize("text", REMOTE)
def test_a_target_off_loopback_needs_permission(text: str) -> None:
    """The suite writes documents that a mesh spreads."""
    with pytest.raises(UsageError, match="--writes-are-ok"):
        demand_permission(parse_target(text), Settings())
    demand_permission(parse_target(text), Settings(writes_are_ok=True))


@pytest.mark.parametrize("text", LOCAL)
def test_a_target_on_this_machine_needs_none(text: str) -> None:
    """Neither does a command, which the caller starts here."""
    demand_permission(parse_target(text), Settings())
