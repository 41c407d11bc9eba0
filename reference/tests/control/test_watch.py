"""A watch over the control channel ends with its client, whether or not anything happens."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from meshwire_reference.backend import ChangeStream, Document
from meshwire_reference.control.server import Client
from turns import all_wait


class Writer:
    """The writing side of a connection, whose client reads everything."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Take a line."""
        self.lines.append(line)

    async def drain(self) -> None:
        """Wait for nothing."""


async def find_none(_key: str) -> Document | None:
    """Read a document that does not exist."""
    return None


async def list_none() -> list[Document]:
    """List no documents."""
    return []


@pytest.mark.parametrize("last", [b"", b"\n", b'{"id": 2, "do": "status"}\n'])
def test_a_watch_ends_when_its_client_leaves_or_says_more(last: bytes) -> None:
    """A node that nobody writes to would otherwise keep the watches of all who ever came."""

    async def whole() -> None:
        stream = ChangeStream(None, None, find_none, list_none)
        store = SimpleNamespace(observe=lambda _collection: stream)
        reader, writer = asyncio.StreamReader(), Writer()
        given: Any = SimpleNamespace(document_store=store)
        sink: Any = writer
        serving = asyncio.ensure_future(Client(given, reader, sink).serve())
        reader.feed_data(b'{"id": 1, "do": "watch"}\n')
        await all_wait()
        assert len(writer.lines) == 1
        assert not serving.done()
        if last:
            reader.feed_data(last)
        else:
            reader.feed_eof()
        await all_wait()
        is_over = serving.done()
        serving.cancel()

        assert is_over
        assert stream.is_closed()
        with pytest.raises(ConnectionResetError):
            await serving

    asyncio.run(whole())
