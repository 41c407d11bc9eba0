"""Requests of the user of a node of `oplog/1`: one JSON object a line over a unix socket."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from meshwire_reference.control.messages import ADVANCE_MAX_S
from meshwire_reference.control.socket_file import LineTooLong, SocketServer, read_line
from meshwire_reference.oplog.authoring import OperationAuthor, Unauthored
from meshwire_reference.oplog.nodes import ListNode
from meshwire_reference.oplog.operations import KEY_SIZE, SignedOperation
from meshwire_reference.oplog.operations import Path as TargetPath
from meshwire_reference.oplog.values import JsonValue, Unreadable, parse_json, take_content
from meshwire_reference.store.base import StoreError

LINE_BYTES_MAX = 2**20
"""Greatest number of bytes in a request, the end of its line included."""

TESTED = frozenset({"mesh", "clock"})


class NodeTests(Protocol):
    """What a node that was started for tests lets its user do besides."""

    async def begin(self, cap: int) -> None:
        """Begin with the mesh anew, with another cap; raise ValueError."""

    def advance(self, seconds: float) -> None:
        """Put the clocks of the mesh forward."""


Publish = Callable[[SignedOperation], Awaitable[None]]


class OperationsControl(SocketServer):
    """The socket of one node; `publish` stores and sends what its author made."""

    def __init__(
        self,
        author: OperationAuthor,
        publish: Publish,
        path: Path,
        tests: NodeTests | None = None,
    ) -> None:
        super().__init__(path)
        self._tests = tests
        self._author = author
        self._publish = publish

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every line until the client closes its side."""
        while True:
            reply: dict[str, JsonValue]
            try:
                line = await read_line(reader, LINE_BYTES_MAX)
                if line is None:
                    return
                reply = await self.answer(line)
            except LineTooLong as exc:
                reply = {"error": str(exc)}
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()

    async def answer(self, line: bytes) -> dict[str, JsonValue]:
        """Carry out one request; return its result or error."""
        try:
            request = parse_json(line.decode())
            if not isinstance(request, dict):
                return {"error": "no object"}
            if request.get("op") in TESTED:
                return await self._test(request)
            made = self._carry_out(request)
            if made is None:
                return {"result": self._author.replica.view()}
            await self._publish(made)
        except (Unauthored, Unreadable, StoreError, ValueError) as exc:
            return {"error": str(exc)}
        return {"result": made.inner.id.hex()}

    async def _test(self, request: dict[str, Any]) -> dict[str, JsonValue]:
        """Carry out a request of a test; raise ValueError."""
        if self._tests is None:
            raise ValueError("not-for-tests")
        amount = request.get("amount")
        if isinstance(amount, bool) or not isinstance(amount, int | float) or amount < 0:
            raise ValueError("amount is a number from 0 on")
        if request["op"] == "mesh":
            await self._tests.begin(int(amount))
        else:
            self._tests.advance(min(amount, ADVANCE_MAX_S))
        return {"result": None}

    def _carry_out(self, request: dict[str, Any]) -> SignedOperation | None:
        """Return the operation that a request leads to, or None if it only reads."""
        path = self._path_of(request.get("path", ""))
        match request.get("op"):
            case "view":
                return None
            case "set":
                return self._author.set(path, take_content(request.get("value")))
            case "delete" if path and isinstance(path[-1], bytes):
                return self._author.delete(path[:-1], path[-1])
            case "insert":
                value = take_content(request.get("value"))
                if after := request.get("after"):
                    return self._author.insert(path, identity_of(after), value)
                return self._author.append(path, value)
        raise Unauthored("unknown request")

    def _path_of(self, text: object) -> TargetPath:
        """Return a path whose elements are given by id, or by place among those shown."""
        if not isinstance(text, str):
            raise Unauthored("path is no text")
        path: TargetPath = ()
        for part in filter(None, text.split("/")):
            node = self._author.find(path)
            if not isinstance(node, ListNode):
                path = (*path, part)
            elif part.isdecimal() and len(part) < KEY_SIZE:
                shown = [e.id for e in node.walk() if e.node is not None and not e.is_deleted]
                if int(part) >= len(shown):
                    raise Unauthored(f"no element {part}")
                path = (*path, shown[int(part)])
            else:
                path = (*path, identity_of(part))
        return path


def identity_of(text: object) -> bytes:
    """Return the id of an element in hexadecimal; raise Unauthored."""
    try:
        found = bytes.fromhex(str(text))
    except ValueError as exc:
        raise Unauthored("no id") from exc
    if len(found) != KEY_SIZE:
        raise Unauthored("no id")
    return found
