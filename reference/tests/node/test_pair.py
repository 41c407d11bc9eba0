"""Two nodes that keep a connection: what each of them had is on both in the end."""

import asyncio
import json
from pathlib import Path
from typing import TypeAlias

import pytest

from meshwire_reference.core.inputs import StreamData
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.node.folder import BadFolder
from meshwire_reference.testing.author import Author, author, file_name
from meshwire_reference.testing.memory_transport import offer_memory
from meshwire_reference.testing.serving import serving
from meshwire_reference.transport.base import Connection, TransportOptions
from meshwire_reference.transport.registry import dial
from meshwire_reference.wire.batches import StreamFrame, decode_sync_batch
from meshwire_reference.wire.frames import FrameReader
from meshwire_spec.numbers import FrameType

pytestmark = pytest.mark.process

offer_memory()

NAMES = ("memory://one", "memory://two")


def config(at: int, folder: Path, *, reconcile: bool, connect: bool) -> Config:
    """Return the configuration of one of the two; what both hold is offered soon."""
    settings = Settings(Dialect.OPEN, heartbeat_s=0, held_by_both_s=0.05)
    other = (NAMES[1 - at],) if connect else ()
    return Config((NAMES[at],), settings, None, connect=other, folder=folder, reconcile=reconcile)


def fill(folder: Path, keys: list[str]) -> Path:
    """Put documents into a folder."""
    folder.mkdir()
    for key in keys:
        (folder / file_name(key)).write_bytes(author(key).snapshot())
    return folder


Documents: TypeAlias = dict[str, dict[str, object]]
"""Fields by key."""


async def see(connection: Connection, wanted: Documents) -> Documents:
    """Read what a node offers a new peer until all that is wanted has come; return what has."""
    readers: dict[int, FrameReader] = {}
    authors = {key: Author(key, 99) for key in wanted}
    async for event in connection.events():
        if isinstance(event, StreamData):
            connection.consumed(event.stream, len(event.data))
            for frame in readers.setdefault(event.stream, FrameReader()).feed(event.data):
                if frame.type == FrameType.NEGENTROPY_INIT:
                    # No answer: everything is offered then.
                    connection.release(event.stream)
                take(frame, authors)
        if all(found.fields == wanted[key] for key, found in authors.items()):
            break
    return {key: found.fields for key, found in authors.items()}


def take(frame: StreamFrame, authors: dict[str, Author]) -> None:
    """Take the documents of a frame."""
    if frame.type == FrameType.BATCH:
        for entry in decode_sync_batch(frame.payload).entries:
            take(StreamFrame(entry.key, entry.type, entry.payload), authors)
    elif frame.key in authors:
        found = authors[frame.key]
        (found.receive if frame.type == FrameType.DELTA else found.merge)(frame.payload)


async def run_pair(
    folders: tuple[Path, Path], wanted: Documents, *, reconcile: bool
) -> list[Documents]:
    """Run two nodes until both hold all that is wanted; return what each holds of it."""
    seen = []
    nodes = [
        Node(config(at, folder, reconcile=reconcile, connect=at == 1))
        for at, folder in enumerate(folders)
    ]
    async with serving(nodes[0]), serving(nodes[1]):
        for number, name in enumerate(NAMES):
            connection = await dial(name, TransportOptions(bytes((number + 5,)) * 32))
            seen.append(await see(connection, wanted))
            await connection.close(0)
    return seen


@pytest.mark.parametrize("reconcile", [True, False])
def test_each_gets_what_it_lacked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, reconcile: bool
) -> None:
    """By one run from each side, or by all documents from each."""
    keys = [f"nodes:{number}" for number in range(60)]
    folders = fill(tmp_path / "one", keys[:55]), fill(tmp_path / "two", keys[5:])
    wanted: Documents = {key: {"by": 7} for key in keys}
    assert asyncio.run(run_pair(folders, wanted, reconcile=reconcile)) == [wanted, wanted]
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    runs = [line for line in lines if line["event"] == "reconciled" and not line["reason"]]

    if reconcile:
        between = [run for run in runs if run["have"] == run["need"] == 5]
        assert len(between) == 2
        assert all(run["rounds"] <= 3 for run in between)
    else:
        assert runs == []


def test_a_document_that_both_have_in_two_states_comes_together(tmp_path: Path) -> None:
    """NG-026: a run by keys sees no difference, and must not keep them apart."""
    key = "nodes:both"
    one, two = author(key, 7, one=1), author(key, 8, two=2)
    folders = tmp_path / "one", tmp_path / "two"
    for folder, made in zip(folders, (one, two), strict=True):
        folder.mkdir()
        (folder / file_name(key)).write_bytes(made.snapshot())

    wanted: Documents = {key: {"one": 1, "two": 2}}

    assert asyncio.run(run_pair(folders, wanted, reconcile=True)) == [wanted, wanted]


@pytest.mark.parametrize("content", [b"", b"no document", bytes.fromhex("856f4a83")])
def test_a_file_that_is_no_document_stops_the_start(tmp_path: Path, content: bytes) -> None:
    """The node serves no peer if a file of the folder is refused."""
    folder = fill(tmp_path / "one", ["nodes:1"])
    bad = folder / file_name("nodes:2")
    bad.write_bytes(content)

    with pytest.raises(BadFolder, match=r"nodes%3A2.automerge cannot be loaded"):
        asyncio.run(run_pair((folder, folder), {}, reconcile=False))
