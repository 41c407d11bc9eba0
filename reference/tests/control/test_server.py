"""The control channel over a unix socket: every line keeps to the schemas, whatever comes in."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from meshwire_reference.backend import Backend, CannotRead
from meshwire_reference.backend.documents import DocumentStore
from meshwire_reference.control import server as module
from meshwire_reference.control.server import ControlServer
from meshwire_reference.control.socket_file import ControlRefused
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config

pytestmark = [pytest.mark.process, pytest.mark.socket]

LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""
CAP = 100_000


def schema(name: str) -> Draft202012Validator:
    """Return the validator of a published schema."""
    file = resources.files("meshwire_spec") / "schemas" / f"{name}.json"
    return Draft202012Validator(json.loads(file.read_text("utf-8")))


REQUEST, REPLY = schema("control-request"), schema("control-reply")


class User:
    """A client that checks every line against its schema."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._number = 0x0102

    async def ask(self, do: str, **members: object) -> dict[str, Any]:
        """Send a request and return what the reply has beside its id."""
        self._number += 1
        request = {"id": self._number, "do": do, **members}
        REQUEST.validate(request)
        reply = await self.say(json.dumps(request).encode())
        assert reply.pop("id") == self._number
        return reply

    async def say(self, line: bytes) -> dict[str, Any]:
        """Send a line, whatever it is, and return the reply."""
        self.writer.write(line + b"\n")
        await self.writer.drain()
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        """Return the next reply."""
        reply: dict[str, Any] = json.loads(await self._reader.readline())
        REPLY.validate(reply)
        return reply

    async def has_ended(self) -> bool:
        """Return True if the node sends nothing more and ends the connection."""
        return await self._reader.read() == b""

    async def leave(self) -> None:
        """Close the connection."""
        self.writer.close()
        await self.writer.wait_closed()

    async def error(self, line: bytes) -> str:
        """Send a line and return the code of the error; its text is one line."""
        error = (await self.say(line))["error"]
        assert "\n" not in error["message"]
        return str(error["code"])


def run(
    folder: Path,
    test: Callable[[Path], Awaitable[None]],
    data: Path | None = None,
    *,
    is_tested: bool = False,
) -> None:
    """Run a test against a node that serves a socket in a folder."""

    async def whole() -> None:
        settings = Settings(Dialect.OPEN, heartbeat_s=0, payload_cap=CAP)
        config = Config(("tcp://127.0.0.1:0",), settings, data=data, is_tested=is_tested)
        async with asyncio.timeout(LIMIT_S), await Backend.open(config) as backend:
            await backend.sync_engine.start_sync()
            server = ControlServer(backend, folder / "node.sock")
            await server.open()
            try:
                await test(folder / "node.sock")
            finally:
                while USERS:
                    await USERS.pop().leave()
                await server.close()

    asyncio.run(whole())


USERS: list[User] = []


async def join(path: Path) -> User:
    """Connect to the socket until the end of the test."""
    user = User(*await asyncio.open_unix_connection(str(path)))
    USERS.append(user)
    return user


FIELDS: dict[str, Any] = {
    "text": "grün 𝄞",
    "numbers": [0, -(2**63), 2**64 - 1, 2.5],
    "none": None,
    "map": {"inner": {"true": True}, "": ""},
    "deep": json.loads("[" * 64 + "]" * 64),
}


def test_what_is_put_can_be_read_and_deleted(tmp_path: Path) -> None:
    """Every kind of JSON comes back as it was."""

    async def test(path: Path) -> None:
        user = await join(path)
        put = await user.ask("put", collection="notes", document="n1", fields=FIELDS)
        got = await user.ask("get", collection="notes", document="n1")
        deleted = await user.ask("delete", collection="notes", document="n1")
        gone = await user.ask("get", collection="notes", document="n1")
        again = await user.ask("delete", collection="notes", document="n1")

        assert put == got
        assert got["document"]["fields"] == FIELDS
        assert deleted == {"deleted": True}
        assert gone["error"]["code"] == again["error"]["code"] == "no-document"

    run(tmp_path, test)


def test_fields_stay_unless_they_are_replaced(tmp_path: Path) -> None:
    """A document that comes back after its deletion begins anew."""

    async def test(path: Path) -> None:
        user = await join(path)

        async def put(*, replace: bool = False, **fields: int) -> object:
            where = {"collection": "notes", "document": "n1"}
            reply = await user.ask("put", **where, fields=fields, replace=replace)
            return reply["document"]["fields"]

        assert await put(a=1, b=2) == {"a": 1, "b": 2}
        assert await put(b=3, c=4) == {"a": 1, "b": 3, "c": 4}
        assert await put(b=5, replace=True) == {"b": 5}
        await user.ask("delete", collection="notes", document="n1")
        assert await put(d=6) == {"d": 6}

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"nonsense", "bad-request"),
        (b"\xff\xfe", "bad-request"),
        (b"[1]", "bad-request"),
        (b'"text"', "bad-request"),
        (b"{}", "bad-request"),
        (b'{"id": 1, "do": "dance"}', "bad-request"),
        (b'{"id": -1, "do": "get", "collection": "a", "document": "b"}', "bad-request"),
        (b'{"id": 1, "do": "get", "collection": "a"}', "bad-request"),
        (b'{"id": 1, "do": "get", "collection": "a", "document": "b", "more": 1}', "bad-request"),
        (b'{"id": 1, "id": 2, "do": "get", "collection": "a", "document": "b"}', "bad-request"),
        (b'{"id": 1, "do": "get", "collection": "a", "document": 1}', "bad-request"),
        (b"[" * 100_000, "bad-request"),
        (b'{"id": 1, "do": "get", "collection": "tombstones", "document": "b"}', "bad-key"),
        (b'{"id": 1, "do": "get", "collection": "a:b", "document": "c"}', "bad-key"),
        (b'{"id": 1, "do": "get", "collection": "a", "document": "b\\u0000"}', "bad-key"),
        (b'{"id": 1, "do": "get", "collection": "a", "document": "\\ud800"}', "bad-key"),
    ],
)
def test_a_line_that_is_no_request_is_answered(tmp_path: Path, line: bytes, code: str) -> None:
    """And the connection goes on."""

    async def test(path: Path) -> None:
        user = await join(path)

        assert await user.error(line) == code
        assert await user.error(b'{"id": 7, "do": "get", "collection": "a", "document": "b"}') == (
            "no-document"
        )

    run(tmp_path, test)


@pytest.mark.parametrize(
    "fields",
    [
        "[1]",
        '{"a": 18446744073709551616}',
        '{"a": -9223372036854775809}',
        f'{{"a": {"9" * 5000}}}',
        '{"a": 1e999}',
        '{"a": NaN}',
        '{"a": [{"b": Infinity}]}',
        '{"a": "\\ud800"}',
        '{"\\ud800": 1}',
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "b": 2}}',
        '{"_deleted": true}',
        "{}",
        f'{{"a": {"[" * 65}{"]" * 65}}}',
    ],
)
def test_fields_that_cannot_be_held_leave_nothing_behind(tmp_path: Path, fields: str) -> None:
    """Neither the document nor a part of it."""

    async def test(path: Path) -> None:
        user = await join(path)
        head = '{"id": 5, "do": "put", "collection": "notes", "document": "n1", "fields": '

        assert await user.error(f"{head}{fields}}}".encode()) in ("bad-fields", "bad-request")
        gone = await user.ask("get", collection="notes", document="n1")
        assert gone["error"]["code"] == "no-document"

    run(tmp_path, test)


def test_a_document_over_the_cap_is_not_kept(tmp_path: Path) -> None:
    """What was there stays as it was."""
    noise = "".join(f"{number:x}" for number in range(60_000))

    async def test(path: Path) -> None:
        user = await join(path)
        where = {"collection": "notes", "document": "n1"}
        await user.ask("put", **where, fields={"small": 1})
        large = await user.ask("put", **where, fields={"large": noise})
        got = await user.ask("get", **where)

        assert large["error"]["code"] == "too-large"
        assert got["document"]["fields"] == {"small": 1}

    run(tmp_path, test)


def test_a_line_without_end_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered, it fills no memory, and the next line is read."""
    monkeypatch.setattr(module, "LINE_MAX", 100_000)

    async def test(path: Path) -> None:
        user = await join(path)

        assert await user.error(b"x" * 1_000_000) == "too-large"
        assert await user.error(b"x" * 99_000) == "bad-request"

    run(tmp_path, test)


def test_clients_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """One that has sent half a line, and one that is gone before its reply, hold up nobody."""

    async def test(path: Path) -> None:
        slow, gone, user = await join(path), await join(path), await join(path)
        slow.writer.write(b'{"id": 1,')
        gone.writer.write(b'{"id": 1, "do": "get", "collection": "a", "document": "b"}\n')
        gone.writer.close()
        await user.ask("put", collection="notes", document="n1", fields={"a": 1})
        got = await user.ask("get", collection="notes", document="n1")

        assert got["document"]["fields"] == {"a": 1}

    run(tmp_path, test)


def test_what_was_acknowledged_outlives_the_node(tmp_path: Path) -> None:
    """Also where the next node replaces the socket that a killed one has left."""

    async def write(path: Path) -> None:
        user = await join(path)
        await user.ask("put", collection="notes", document="n1", fields={"a": 1})

    async def read(path: Path) -> None:
        user = await join(path)
        got = await user.ask("get", collection="notes", document="n1")
        assert got["document"]["fields"] == {"a": 1}

    run(tmp_path, write, tmp_path / "data")
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "node.sock"))
    left.close()
    run(tmp_path, read, tmp_path / "data")


def test_the_socket_is_for_its_owner_alone_and_goes_with_the_node(tmp_path: Path) -> None:
    """Mode 0600."""

    async def test(path: Path) -> None:
        mode = path.stat().st_mode  # noqa: ASYNC240 - nothing else runs in this test
        assert stat.S_IMODE(mode) == 0o600

    run(tmp_path, test)

    assert not (tmp_path / "node.sock").exists()


def test_a_socket_in_use_is_left_to_its_node(tmp_path: Path) -> None:
    """The second node says so and serves nothing."""

    async def test(path: Path) -> None:
        settings = Settings(Dialect.OPEN, heartbeat_s=0)
        second = ControlServer(Backend(Config(("tcp://127.0.0.1:0",), settings)), path)
        with pytest.raises(ControlRefused, match="another node serves"):
            await second.open()
        await second.close()
        user = await join(path)
        assert await user.error(b"{}") == "bad-request"

    run(tmp_path, test)


@pytest.mark.parametrize("name", ["file", "missing/node.sock", "x" * 200])
def test_a_path_that_can_be_no_socket_is_refused(tmp_path: Path, name: str) -> None:
    """In one line; what is there stays."""
    (tmp_path / "file").write_text("kept")
    settings = Settings(Dialect.OPEN, heartbeat_s=0)

    async def whole() -> None:
        backend = Backend(Config(("tcp://127.0.0.1:0",), settings))
        server = ControlServer(backend, tmp_path / name)
        with pytest.raises(ControlRefused) as refused:
            await server.open()
        await server.close()
        assert "\n" not in str(refused.value)

    asyncio.run(whole())

    assert (tmp_path / "file").read_text() == "kept"


def test_documents_are_listed_a_part_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, without deleted ones."""
    monkeypatch.setattr(module, "LISTED_MAX", 2)

    async def test(path: Path) -> None:
        user = await join(path)
        for collection, document in (("b", "2"), ("a", "3"), ("a", "1"), ("a", "2"), ("a", "4")):
            await user.ask("put", collection=collection, document=document, fields={"x": 1})
        await user.ask("delete", collection="a", document="2")

        async def names(**members: str) -> tuple[list[str], bool]:
            listed = (await user.ask("docs", **members))["documents"]
            found = [f"{name['collection']}:{name['document']}" for name in listed["names"]]
            return found, listed["more"]

        assert await names() == (["a:1", "a:3"], True)
        assert await names(after="a:3") == (["a:4", "b:2"], False)
        assert await names(collection="a", after="a:3") == (["a:4"], False)
        assert await names(collection="none") == ([], False)

    run(tmp_path, test)


def test_a_watch_reports_what_is_there_and_every_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another client goes on beside it; the watch ends with its reader."""
    monkeypatch.setattr(module, "SHOWN_AT_ONCE", 1)

    async def test(path: Path) -> None:
        user, watcher, gone = await join(path), await join(path), await join(path)
        for document in ("n1", "n2"):
            await user.ask("put", collection="notes", document=document, fields={"x": 1})

        async def event() -> dict[str, Any]:
            found: dict[str, Any] = (await watcher.hear())["event"]
            return found

        first = await watcher.ask("watch", collection="notes")
        gone.writer.write(b'{"id": 1, "do": "watch"}\n')
        await gone.leave()
        assert (first["event"]["initial"][0]["document"], first["event"]["more"]) == ("n1", True)
        second = await event()
        assert (second["initial"][0]["document"], second["more"]) == ("n2", False)
        await user.ask("put", collection="notes", document="n1", fields={"x": 2})
        assert (await event())["updated"]["fields"] == {"x": 2}
        await user.ask("delete", collection="notes", document="n2")
        assert (await event())["removed"] == {"collection": "notes", "document": "n2"}

    run(tmp_path, test)


def test_a_watch_that_cannot_be_carried_on_ends_with_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client would otherwise look for a node that has gone away."""

    async def fail(_store: DocumentStore, key: str) -> None:
        raise CannotRead(f"{key} cannot be read")

    async def test(path: Path) -> None:
        user, watcher = await join(path), await join(path)
        monkeypatch.setattr(DocumentStore, "read", fail)
        first = await watcher.ask("watch", collection="notes")
        await user.ask("put", collection="notes", document="n1", fields={"x": 1})

        assert first["event"]["initial"] == []
        assert (await watcher.hear())["error"] == {
            "code": "internal",
            "message": "notes:n1 cannot be read",
        }
        assert await watcher.has_ended()

    run(tmp_path, test)


def test_the_node_says_what_it_is_and_has_counted(tmp_path: Path) -> None:
    """A peer that cannot be reached is listed with the reason."""

    async def test(path: Path) -> None:
        user = await join(path)
        await user.ask("put", collection="notes", document="n1", fields={"x": 1})
        status = (await user.ask("status"))["status"]
        stats = (await user.ask("stats"))["stats"]
        refused = await user.ask("connect", address="tcp://127.0.0.1:1")
        senseless = await user.ask("connect", address="nonsense")
        peers = (await user.ask("peers"))["peers"]

        assert (status["documents"], status["peers"], status["store"]) == (1, 0, "ok")
        assert stats["applied"] == {"local change": 1}
        assert refused["error"]["code"] == "not-connected"
        assert senseless["error"]["code"] == "bad-address"
        assert [(one["addresses"], one["connected"]) for one in peers["known"]] == [
            (["tcp://127.0.0.1:1"], False)
        ]
        assert peers["known"][0]["why"]
        assert peers["refused"] == []

    run(tmp_path, test)


def test_the_node_says_what_became_of_a_document(tmp_path: Path) -> None:
    """In words and by member; half of a name is none, and a key that cannot be is refused."""

    async def test(path: Path) -> None:
        user = await join(path)
        await user.ask("put", collection="notes", document="n1", fields={"x": 1})
        await user.ask("connect", address="tcp://127.0.0.1:1")
        found = (await user.ask("status", collection="notes", document="n1"))["document_status"]
        half = await user.ask("status", collection="notes")
        wrong = await user.ask("status", collection="no/tes", document="n1")
        stats = (await user.ask("stats", by_peer=True))["stats"]

        assert (found["size"] > 0, found["is_deleted"]) == (True, False)
        (peer,) = found["peers"]
        assert (peer["connected"], peer["endpoint_id"]) == (False, None)
        assert peer["waits"] == [{"for": "connection", "ahead": 0}]
        assert found["words"][0].startswith("notes:n1 is on this node, ")
        assert found["words"][-1] == "  waits for a connection"
        assert half["error"]["code"] == "bad-request"
        assert wrong["error"]["code"] == "bad-key"
        assert (stats["peers"], stats["now"]["kept_documents"]) == ({}, 1)

    run(tmp_path, test)


def test_a_node_that_was_not_started_for_tests_keeps_its_clock_and_documents(
    tmp_path: Path,
) -> None:
    """It says how one is started that does not."""

    async def test(path: Path) -> None:
        user = await join(path)
        await user.ask("put", collection="notes", document="n1", fields={"a": 1})
        for do in ("clock", "reset"):
            error = (await user.ask(do))["error"]
            assert error["code"] == "not-for-tests"
            assert "--test-control" in error["message"]
        got = await user.ask("get", collection="notes", document="n1")
        status = await user.ask("status")

        assert got["document"]["fields"] == {"a": 1}
        assert status["status"]["for_tests"] is False

    run(tmp_path, test)


def test_the_clocks_of_a_node_for_tests_can_be_moved(tmp_path: Path) -> None:
    """That of the calendar also back, to before 1970."""

    async def test(path: Path) -> None:
        user = await join(path)
        began = await user.ask("clock")
        later = await user.ask("clock", advance_s=0x0102)
        past = await user.ask("clock", wall_ms=-0x0102_0304)
        wrong = [
            await user.error(f'{{"id": 5, "do": "clock", {member}}}'.encode())
            for member in ('"advance_s": -1', '"advance_s": 1e12', '"wall_ms": 1.5')
        ]

        assert later["clock"]["wall_ms"] >= began["clock"]["wall_ms"] + 0x0102 * 1000
        assert -0x0102_0304 <= past["clock"]["wall_ms"] < 0
        assert wrong == ["bad-request"] * 3

    run(tmp_path, test, is_tested=True)


def test_a_node_for_tests_can_be_emptied(tmp_path: Path) -> None:
    """It can be reached at the same address, as the same endpoint, and counts from nothing."""

    async def test(path: Path) -> None:
        user = await join(path)
        await user.ask("put", collection="notes", document="n1", fields={"a": 1})
        await user.ask("put", collection="notes", document="n2", fields={"a": 1})
        await user.ask("delete", collection="notes", document="n2")
        await user.ask("clock", advance_s=10**8)
        ahead = (await user.ask("clock"))["clock"]["wall_ms"]
        before = (await user.ask("status"))["status"]

        assert await user.ask("reset") == {"reset": True}
        gone = await user.ask("get", collection="notes", document="n1")
        after = (await user.ask("status"))["status"]
        right = (await user.ask("clock"))["clock"]["wall_ms"]
        stats = (await user.ask("stats"))["stats"]
        again = await user.ask("put", collection="notes", document="n2", fields={"b": 2})

        assert gone["error"]["code"] == "no-document"
        assert (before["documents"], after["documents"]) == (2, 0)
        assert after["addresses"] == before["addresses"]
        assert after["endpoint_id"] == before["endpoint_id"]
        assert ahead - right > 9 * 10**10
        assert stats["applied"] == {}
        assert again["document"]["fields"] == {"b": 2}

    run(tmp_path, test, is_tested=True)
