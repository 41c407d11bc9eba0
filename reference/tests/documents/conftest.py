"""A supervisor over workers that do by the key of a call what hostile bytes would make them do."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from meshwire_reference.documents.limits import Budget
from meshwire_reference.testing.supervised import DeadlyBench

SCRIPT = Path(__file__).with_name("deadly_worker.py")
ROOMY = Budget(call_s=20.0)


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Run a scene with a supervisor over deadly workers, and close it whatever happens."""

    def run(scene: Callable[[DeadlyBench], Awaitable[None]], budget: Budget = ROOMY) -> None:
        async def whole() -> None:
            async with DeadlyBench(SCRIPT, tmp_path, budget) as bench:
                await scene(bench)

        asyncio.run(whole())

    return run
