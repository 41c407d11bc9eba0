"""Requests of the user of a node of `oplog/1`."""

import asyncio
import json
from pathlib import Path
from typing import Any

from meshwire_reference.node.operations_control import OperationsControl
from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.operations import SignedOperation
from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.store.base import StoreError
from meshwire_reference.testing.oplog_recordings import new_replica


def control(published: list[SignedOperation]) -> OperationsControl:
    """Return the control of an empty document with every type."""

    async def publish(signed: SignedOperation) -> None:
        published.append(signed)

    author = OperationAuthor(Signer(b"\x11" * 32), new_replica("types", Level.STRICT))
    return OperationsControl(author, publish, Path("unused"))


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
