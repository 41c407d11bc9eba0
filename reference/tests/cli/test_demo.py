"""A node of the demo that goes away: the demo ends with one line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from meshwire_reference.cli.demo import DemoFailed, DemoNode
from meshwire_reference.control.messages import Status

pytestmark = pytest.mark.socket


@pytest.mark.parametrize("said", [b"", b'{"id": 1, "stat'])
def test_a_node_that_goes_away_is_named(tmp_path: Path, said: bytes) -> None:
    """Without a reply, or in the midst of one."""

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        writer.close()
        await writer.wait_closed()

    async def whole() -> None:
        path = tmp_path / "node.sock"
        process: Any = None
        node = DemoNode("node 2", process, "tcp://127.0.0.1:1", path)
        async with await asyncio.start_unix_server(leave, str(path)):
            with pytest.raises(DemoFailed, match="node 2 has gone away"):
                await node.ask(Status(id=1))

    asyncio.run(whole())
