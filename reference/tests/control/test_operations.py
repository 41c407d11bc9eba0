"""Requests of the user of a node of `oplog/1`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from meshwire_reference.control.operations import LINE_BYTES_MAX, OperationsControl
from meshwire_reference.control.socket_file import ControlRefused
from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.operations import SignedOperation
from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.store.base import StoreError
from meshwire_reference.testing.oplog_recordings import new_replica

pytestmark = pytest.mark.socket


def control(published: list[SignedOperation]) -> OperationsControl:
    """Return the control of an empty document with every type."""

    async def publish(signed: SignedOperation) -> None:
        published.append(signed)

    author = OperationAuthor(Signer(b"\x11" * 32), new_replica("types", Level.STRICT))
    return OperationsControl(author, publish, Path("unused"))


def at(path: Path) -> OperationsControl:
    """Return the control of an empty document at a path."""

    async def publish(_signed: SignedOperation) -> None:
        """Keep nothing."""

    author = OperationAuthor(Signer(b"\x11" * 32), new_replica("types", Level.STRICT))
    return OperationsControl(author, publish, path)


async def say(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    """Send lines and return as many answers."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"".join(line + b"\n" for line in lines))
    answers = [json.loads(await reader.readline()) for _ in lines]
    writer.close()
    await writer.wait_closed()
    return answers


def test_requests_change_and_show_the_document() -> None:
    """An element is named by its id or its place, and every change is published."""
    published: list[SignedOperation] = []
    served = control(published)

    def ask(**request: Any) -> Any:
        return asyncio.run(served.answer(json.dumps(request).encode()))

    first = ask(op="insert", path="ls", value="A")["result"]
    ask(op="insert", path="ls", value="C")
    ask(op="insert", path="ls", value="B", after=first)
    ask(op="insert", path="grid", value=[True])
    ask(op="set", path="grid/0/0", value=False)
    ask(op="delete", path=f"ls/{first}")
    ask(op="set", path="rs", value="x")
    shown = ask(op="view")["result"]

    assert (shown["ls"], shown["grid"], shown["rs"]) == (["B", "C"], [[False]], "x")
    assert len(published) == 7


def test_what_cannot_be_done_is_an_error() -> None:
    """Nothing is published, and the control goes on."""
    published: list[SignedOperation] = []
    served = control(published)
    for request in (
        b"nonsense", b"[]", b"{}", b"\xff",
        b'{"op":"set","path":7,"value":1}',
        b'{"op":"set","path":"rs","value":7}',
        b'{"op":"delete","path":"ls/0"}',
        b'{"op":"delete","path":"rs"}',
        b'{"op":"insert","path":"ls","value":"x","after":"zz"}',
        b'{"op":"insert","path":"ls/abc","value":"x"}',
    ):  # fmt: skip
        assert asyncio.run(served.answer(request)).keys() == {"error"}, request

    assert published == []


def test_a_store_that_fails_is_an_error() -> None:
    """The user gets the reason; the connection goes on until the node ends."""

    async def fail(_signed: SignedOperation) -> None:
        raise StoreError("the disk is full")

    author = OperationAuthor(Signer(b"\x11" * 32), new_replica("types", Level.STRICT))
    served = OperationsControl(author, fail, Path("unused"))
    reply = asyncio.run(served.answer(b'{"op":"insert","path":"ls","value":"A"}'))

    assert reply == {"error": "the disk is full"}


def test_a_path_in_use_is_left_alone(tmp_path: Path) -> None:
    """Neither a file of the user nor the socket of another node is removed."""
    (tmp_path / "file").write_text("mine")

    async def run() -> None:
        first, second = at(tmp_path / "socket"), at(tmp_path / "socket")
        await first.open()
        for served in (second, at(tmp_path / "file")):
            with pytest.raises(ControlRefused):
                await served.open()
            await served.close()
        (answer,) = await say(tmp_path / "socket", b'{"op":"view"}')
        await first.close()

        assert answer.keys() == {"result"}

    asyncio.run(run())

    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "socket").exists()


def test_a_line_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    """It is read to its end, and the connection goes on."""

    async def run() -> None:
        served = at(tmp_path / "socket")
        await served.open()
        answers = await say(tmp_path / "socket", b"x" * (2 * LINE_BYTES_MAX), b'{"op":"view"}')
        await served.close()

        assert [answer.keys() for answer in answers] == [{"error"}, {"result"}]

    asyncio.run(run())
