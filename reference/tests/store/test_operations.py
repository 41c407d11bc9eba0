"""The durable log of operations."""

import asyncio
from pathlib import Path

import pytest

from meshwire_reference.store.base import StoreError
from meshwire_reference.store.operations import OPERATIONS_FILE, OperationLog


def test_what_was_appended_is_read_in_order(tmp_path: Path) -> None:
    """Operations and the seed of the author outlive the log; the file is private."""

    async def run() -> None:
        log = OperationLog(tmp_path / "data")
        assert await log.open(b"first") == b"first"
        await log.append(["a", "b"])
        await log.append(["c"])
        await log.close()
        again = OperationLog(tmp_path / "data")
        assert await again.open(b"second") == b"first"
        assert await again.read() == ["a", "b", "c"]
        await again.close()

    asyncio.run(run())
    assert (tmp_path / "data" / OPERATIONS_FILE).stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_log_is_an_error(tmp_path: Path) -> None:
    """The node does not start on it."""
    (tmp_path / OPERATIONS_FILE).write_bytes(b"no database" * 100)

    async def run() -> None:
        log = OperationLog(tmp_path)
        with pytest.raises(StoreError):
            await log.open(b"seed")
        await log.close()

    asyncio.run(run())
