"""`oplog-node:COMMAND`: starts a node of `oplog/1`, and reads the address of its ready line."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from meshwire_conformance.targets.node import LINE_MAX, READY_S, ServedProcess
from meshwire_conformance.targets.stdio import command_of, start_program, strict_json

_EXPECTED = 'its first line must be one JSON object, as {"addresses": ["ws://HOST:PORT/crdt-sync"]}'


@dataclass(eq=False)
class OplogProcess(ServedProcess):
    """A running node of `oplog/1`."""

    address: str = ""


async def start_oplog(command: str, scale: float) -> OplogProcess:
    """Start a node and wait for its ready line; raise UsageError or Incomplete."""
    process = await start_program(
        command_of(command),
        line_max=LINE_MAX,
        stdin=asyncio.subprocess.DEVNULL,
        environment={**os.environ},
    )
    node = OplogProcess(process)
    node.address = await node.become_ready(_address_of, _EXPECTED, READY_S * max(1.0, scale))
    return node


def _address_of(line: bytes) -> str:
    """Return the first address of a ready line; raises ValueError."""
    said = strict_json(line)
    try:
        return str(said["addresses"][0])
    except (TypeError, KeyError, IndexError) as exc:
        raise ValueError("it has no addresses") from exc
