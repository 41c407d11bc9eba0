"""The permission to write to a target off this machine."""

import asyncio
import shlex
import sys
from pathlib import Path

import pytest

from meshwire_conformance.contracts import Settings
from meshwire_conformance.errors import UsageError
from meshwire_conformance.targets.attach import attach, start_node
from meshwire_conformance.targets.base import demand_permission, parse_target
from meshwire_spec.numbers import CAPABILITIES, FRAME_STALL_S, HANDSHAKE_S, PAYLOAD_MAX, PROFILE

REMOTE = ("tcp://192.0.2.1:4040", f"iroh://{'0a' * 32}@192.0.2.1:4040", "tcp://mesh.example:4040")
LOCAL = ("tcp://127.0.0.1:4040", "tcp://localhost:4040", f"iroh://{'0a' * 32}@[::1]:4040")


@pytest.mark.parametrize("address", REMOTE)
def test_an_address_off_loopback_needs_permission(address: str) -> None:
    """The suite writes documents that a mesh spreads."""
    with pytest.raises(UsageError, match="--writes-are-ok"):
        demand_permission(address, Settings())
    demand_permission(address, Settings(writes_are_ok=True))


@pytest.mark.parametrize("address", LOCAL)
def test_an_address_on_this_machine_needs_none(address: str) -> None:
    """Nothing leaves it."""
    demand_permission(address, Settings())


@pytest.mark.parametrize("address", REMOTE)
def test_a_target_off_loopback_is_not_dialled_without_permission(address: str) -> None:
    """It is refused before a connection is opened."""
    with pytest.raises(UsageError, match="--writes-are-ok"):
        asyncio.run(attach(parse_target(address), Settings()))


def ready_node(folder: Path, address: str) -> str:
    """Return the command of a program that prints a ready line with this address, and waits."""
    ready = {
        "addresses": [address],
        "endpoint_id": "0a" * 32,
        "instance_id": "0b" * 8,
        "profile": PROFILE,
        "dialect": "open",
        "capabilities": list(CAPABILITIES),
        "payload_cap": PAYLOAD_MAX,
        "deadlines": {"handshake_s": HANDSHAKE_S, "frame_stall_s": FRAME_STALL_S},
    }
    program = folder / "node.py"
    program.write_text(
        f"import json, signal\nprint(json.dumps({ready!r}), flush=True)\nsignal.pause()\n"
    )
    return shlex.join((sys.executable, str(program)))


@pytest.mark.process
def test_a_node_that_listens_off_loopback_needs_permission(tmp_path: Path) -> None:
    """Its ready line is held to the same as an address on the command line."""
    command = ready_node(tmp_path, REMOTE[0])

    async def start(settings: Settings) -> str:
        target = await start_node(command, settings)
        await target.close()
        return target.address.host

    with pytest.raises(UsageError, match=r"192\.0\.2\.1.*--writes-are-ok"):
        asyncio.run(attach(parse_target(f"node:{command}"), Settings()))
    assert asyncio.run(start(Settings(writes_are_ok=True))) == "192.0.2.1"
