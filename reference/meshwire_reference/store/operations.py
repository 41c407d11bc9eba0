"""The durable log of signed operations: one SQLite file in the folder of the node."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from meshwire_reference.store.base import StoreError
from meshwire_reference.store.sqlite import transaction

OPERATIONS_FILE = "operations.sqlite"
OPERATIONS_FILE_MODE = 0o600

T = TypeVar("T")


class OperationLog:
    """Operations as JSON texts in the order in which they were applied; one thread does it all."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / OPERATIONS_FILE
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="operations")
        self._connection: sqlite3.Connection | None = None

    async def open(self, seed: bytes) -> bytes:
        """Return the seed of the author, which is `seed` if none is stored; raise StoreError."""
        return await self._run(lambda: self._open(seed))

    async def read(self) -> list[str]:
        """Return every stored operation in order; raise StoreError."""
        return await self._run(self._read)

    async def append(self, texts: list[str]) -> None:
        """Make operations durable, all or none of them; raise StoreError."""
        await self._run(lambda: self._append(texts))

    async def close(self) -> None:
        """Close the file."""
        connection = self._connection
        if connection is not None:
            await self._run(connection.close)
        self._thread.shutdown()

    async def _run(self, call: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, call)
        except (sqlite3.Error, OSError) as exc:
            raise StoreError(f"{self._path}: {exc}") from exc

    def _open(self, seed: bytes) -> bytes:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=OPERATIONS_FILE_MODE)
        connection = self._connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS operations (number INTEGER PRIMARY KEY, text TEXT NOT NULL)"
        )
        connection.execute("CREATE TABLE IF NOT EXISTS author (seed BLOB NOT NULL)")
        found = connection.execute("SELECT seed FROM author").fetchone()
        if found is None:
            connection.execute("INSERT INTO author VALUES (?)", (seed,))
            return seed
        return bytes(found[0])

    def _read(self) -> list[str]:
        assert self._connection is not None
        rows = self._connection.execute("SELECT text FROM operations ORDER BY number")
        return [text for (text,) in rows]

    def _append(self, texts: list[str]) -> None:
        assert self._connection is not None
        with transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO operations (text) VALUES (?)", ((text,) for text in texts)
            )
