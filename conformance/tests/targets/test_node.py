"""Nodes that the suite starts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import turns
from meshwire_conformance.targets import node


def test_few_nodes_start_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait, so that each has its whole time for its ready line on a busy machine."""
    many = 3 * node.STARTS_AT_ONCE

    async def run() -> None:
        go, begun = asyncio.Event(), 0

        async def begin(*_: object) -> Any:
            nonlocal begun
            begun += 1
            await go.wait()

        monkeypatch.setattr(node, "_start", begin)
        starting = [asyncio.ensure_future(node.start("./node")) for _ in range(many)]
        await turns.all_wait()
        assert begun == node.STARTS_AT_ONCE
        go.set()
        await asyncio.gather(*starting)
        assert begun == many

    asyncio.run(run())
