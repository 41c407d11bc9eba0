"""The permission to write to a target off this machine."""

import asyncio
import shlex
import sys
from pathlib import Path

import pytest

from meshwire_conformance.contracts import Settings
from meshwire_conformance.errors import UsageError
from meshwire_conformance.targets import base
from meshwire_conformance.targets.attach import attach, start_node
from meshwire_conformance.targets.base import demand_permission, parse_target
from meshwire_conformance.targets.facts import read_target_file
from meshwire_conformance.targets.stdio import command_of
from meshwire_spec.numbers import CAPABILITIES, FRAME_STALL_S, HANDSHAKE_S, PAYLOAD_MAX, PROFILE

REMOTE = (
    "tcp://192.0.2.1:4040",
    f"iroh://{'0a' * 32}@192.0.2.1:4040",
    "tcp://mesh.example:4040",
    "tcp://[::ffff:192.0.2.1]:4040",
    "tcp://[fe80::1%lo]:4040",
)
LOCAL = (
    "tcp://127.0.0.1:4040",
    "tcp://localhost:4040",
    f"iroh://{'0a' * 32}@[::1]:4040",
    "tcp://[::ffff:127.0.0.1]:4040",
    "tcp://[::1%lo]:4040",
)


@pytest.fixture(autouse=True)
def _every_name_is_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are not looked up on the network."""
    monkeypatch.setattr(base, "addresses_of", lambda _name: ["192.0.2.1"])


@pytest.mark.parametrize("address", REMOTE)
def test_an_address_off_loopback_needs_permission(address: str) -> None:
    """The suite writes documents that a mesh spreads."""
    with pytest.raises(UsageError, match="--writes-are-ok"):
        demand_permission(address, Settings())
    demand_permission(address, Settings(writes_are_ok=True))


@pytest.mark.parametrize("address", LOCAL)
def test_an_address_on_this_machine_needs_none(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is allowed as it is written: no name is looked up."""
    looked_up: list[str] = []
    monkeypatch.setattr(base, "addresses_of", looked_up.append)
    demand_permission(address, Settings())

    assert looked_up == []


@pytest.mark.parametrize("address", REMOTE)
def test_a_target_off_loopback_is_not_dialled_without_permission(address: str) -> None:
    """It is refused before a connection is opened."""
    with pytest.raises(UsageError, match="--writes-are-ok"):
        asyncio.run(attach(parse_target(address), Settings()))


def ready_node(folder: Path, address: str, dialect: str = "open") -> str:
    """Return the command of a program that prints a ready line with these facts, and waits."""
    ready = {
        "addresses": [address],
        "endpoint_id": "0a" * 32,
        "instance_id": "0b" * 8,
        "profile": PROFILE,
        "dialect": dialect,
        "formation_id": "alpha",
        "capabilities": list(CAPABILITIES),
        "payload_cap": PAYLOAD_MAX,
        "deadlines": {"handshake_s": HANDSHAKE_S, "frame_stall_s": FRAME_STALL_S},
    }
    program = folder / "node.py"
    program.write_text(
        f"import json, signal\nprint(json.dumps({ready!r}), flush=True)\nsignal.pause()\n"
    )
    return shlex.join((sys.executable, str(program)))


@pytest.mark.process
def test_a_node_that_listens_off_loopback_needs_permission(tmp_path: Path) -> None:
    """Its ready line is held to the same as an address on the command line."""
    command = ready_node(tmp_path, REMOTE[0])

    async def start(settings: Settings) -> str:
        target = await start_node(command, settings)
        # Its process alone: nothing is dialled beyond loopback.
        assert target.node is not None
        await target.node.stop()
        return target.address.host

    with pytest.raises(UsageError, match=r"192\.0\.2\.1.*--writes-are-ok"):
        asyncio.run(attach(parse_target(f"node:{command}"), Settings()))
    assert asyncio.run(start(Settings(writes_are_ok=True))) == "192.0.2.1"


@pytest.mark.parametrize("dialect", ["H1", "H2"])
def test_a_target_file_with_a_formation_needs_its_secret(tmp_path: Path, dialect: str) -> None:
    """One line, before anything is dialled: nothing listens there."""
    path = tmp_path / "target.toml"
    path.write_text(
        f'addresses = ["tcp://127.0.0.1:1"]\nprofile = "sync/1"\ndialect = "{dialect}"\n'
        'formation_id = "alpha"\nformation_secret_file = "absent.txt"\n'
    )
    with pytest.raises(UsageError, match=r"absent\.txt"):
        asyncio.run(attach(read_target_file(path)[0], Settings()))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"C:\codec\new.exe --fast", [r"C:\codec\new.exe", "--fast"]),
        (r"wine --file=C:\a\b", ["wine", r"--file=C:\a\b"]),
        (r'"C:\Program Files\codec\" -v', ["C:\\Program Files\\codec\\", "-v"]),
        (r"\\server\share\x.exe", [r"\\server\share\x.exe"]),
        ("""sh -c 'cd "C:\\tmp"'""", ["sh", "-c", r'cd "C:\tmp"']),
        (r"sh -c 'x C:\tmp; y'", ["sh", "-c", r"x C:\tmp; y"]),
        (r"a\ b c", ["a b", "c"]),
        (r'"a\"b" c', ['a"b', "c"]),
    ],
)
def test_a_path_of_windows_survives_in_a_command(text: str, words: list[str]) -> None:
    """Its backslashes are no escapes; all others are as in a shell."""
    assert command_of(text) == words


@pytest.mark.parametrize(
    "command",
    [
        "python3 codec.py none | cat",
        "python3 codec.py > log",
        "python3 codec.py 2>/dev/null",
        "python3 codec.py <in",
        "cd codec && ./codec",
        "cd codec; ./codec",
        "./codec &",
        "FOO=1 python3 codec.py",
        "~/codec --fast",
        "python3 ~/codec.py",
    ],
)
def test_a_command_for_a_shell_is_refused(command: str) -> None:
    """None runs it: the words would go to the program."""
    with pytest.raises(UsageError, match="no shell runs this command: use sh -c '"):
        command_of(command)


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'FOO=1 ./codec | cat > log; exit'",
        """codec '|' ">" \\; 'a;'""",
        "codec --mode=a FOO=1 a|b a~/b",
        "env FOO=1 codec",
    ],
)
def test_a_word_in_quotes_is_not_for_a_shell(command: str) -> None:
    """Nor is one that only contains such a character, or a setting behind the program."""
    assert command_of(command) == shlex.split(command)
