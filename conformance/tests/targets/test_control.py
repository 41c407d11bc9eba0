"""Requests at the control socket of a target, and the cases that need one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite import part as socket_part
from meshwire_conformance.targets.attach import start_node
from meshwire_conformance.targets.bundle import bundled
from meshwire_conformance.targets.control import BadReply, ControlSocket
from meshwire_conformance.targets.facts import read_target_file
from meshwire_conformance.targets.node import with_folders
from meshwire_conformance.verdicts import CaseResult, Verdict

pytestmark = [pytest.mark.process, pytest.mark.socket]

PATIENCE_S = 600.0
"""Seconds after which a reply counts as missing; nothing takes as long."""
WRITES, MOVES = "MW-7000", "MW-7008"
"""A case that needs a control socket, and one that needs that of a node for tests."""


def asked(path: Path, answer: Callable[[dict[str, Any]], bytes], do: str) -> object:
    """Return the reply to a request at a socket whose server answers so, or why it is none."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(json.loads(await reader.readline())))
        await writer.drain()
        writer.close()

    async def whole() -> object:
        server = await asyncio.start_unix_server(serve, str(path))
        try:
            return await ControlSocket(path).ask(do, PATIENCE_S)
        except BadReply as exc:
            return str(exc)
        finally:
            server.close()

    return asyncio.run(whole())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda _request: b"nonsense\n", "is none"),
        (lambda _request: b"", "closed instead of a reply"),
        (lambda _request: b"x" * 2**21, "longer than"),
        (lambda request: json.dumps({"id": request["id"] + 1}).encode() + b"\n", "has the id 2"),
        (lambda request: json.dumps({"id": request["id"], "more": 1}).encode() + b"\n", "is none"),
    ],
)
def test_what_is_no_reply_is_named(
    tmp_path: Path, answer: Callable[[dict[str, Any]], bytes], said: str
) -> None:
    """By what is wrong with it."""
    found = asked(tmp_path / "s", answer, "status")

    assert said in str(found)


def test_a_socket_that_nobody_serves_is_named(tmp_path: Path) -> None:
    """With its path."""

    async def ask() -> None:
        await ControlSocket(tmp_path / "s").ask("status", PATIENCE_S)

    with pytest.raises(BadReply, match=f"no node serves {tmp_path}"):
        asyncio.run(ask())


def judged(how: Callable[[str], Awaitable[list[CaseResult]]], options: str) -> dict[str, str]:
    """Return the verdict of each case, and why it is so where it is not applicable."""

    async def whole() -> list[CaseResult]:
        return await how(options)

    return {
        one.case: one.reasons[0] if one.verdict is Verdict.NOT_APPLICABLE else str(one.verdict)
        for one in asyncio.run(whole())
    }


async def run_on(attachment: Attachment) -> list[CaseResult]:
    """Run the two cases on a target."""
    catalogue = load_catalogue()
    cases = [catalogue.by_id[name] for name in (WRITES, MOVES)]
    return await socket_part.run(cases, catalogue, attachment, Settings(), lambda _result: None)


OPEN = "run --listen tcp://127.0.0.1:0 --open"
NO_TESTS = "the target does not offer test-control"
NO_SOCKET = "the target names no control socket"


def command(options: str) -> str:
    """Return the command of the bundled node with these options."""
    codec = next(one for one in bundled() if one.variant == "codec")
    return f"{codec.location.removesuffix(' codec')} {OPEN} {options}"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", (NO_SOCKET, NO_SOCKET)),
        ("--control {control}", ("pass", NO_TESTS)),
        ("--control {control} --test-control", ("pass", "pass")),
    ],
)
def test_a_node_of_the_suite_names_its_socket(options: str, found: tuple[str, str]) -> None:
    """In its ready line; the suite chooses the path."""

    async def check(options: str) -> list[CaseResult]:
        text = command(options)
        return await run_on(Attachment("node", text, f"node:{text}"))

    assert judged(check, options) == dict(zip((WRITES, MOVES), found, strict=True))


@pytest.mark.parametrize(
    ("options", "found"), [("", ("pass", NO_TESTS)), ("--test-control", ("pass", "pass"))]
)
def test_a_node_that_runs_already_is_asked(
    tmp_path: Path, options: str, found: tuple[str, str]
) -> None:
    """It states nothing but its address and its socket, in a target file."""

    async def check(options: str) -> list[CaseResult]:
        node = await start_node(command(f"--control {tmp_path}/node.sock {options}"))
        try:
            file = tmp_path / "target.toml"
            address = f"tcp://{node.address.host}:{node.address.port}"
            file.write_text(
                f'addresses = ["{address}"]\nprofile = "sync/1"\ndialect = "open"\n'
                'control = "node.sock"\n'
            )
            return await run_on(read_target_file(file)[0])
        finally:
            await node.close()

    assert judged(check, options) == dict(zip((WRITES, MOVES), found, strict=True))


def test_a_path_with_spaces_stays_one_word() -> None:
    """In the command of a node."""
    assert with_folders("node --control {control}", Path("/a b")) == (
        "node --control '/a b/control.sock'"
    )
