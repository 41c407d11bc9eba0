"""Settings that contradict the target end the run with one line, and a wrong node does not."""

import asyncio
import base64
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.targets.attach import attach, start_node
from meshwire_conformance.targets.facts import read_target_file
from meshwire_spec.numbers import CAPABILITIES, PAYLOAD_MAX

RUN = (sys.executable, "-m", "meshwire_reference.cli", "run", "--listen", "tcp://127.0.0.1:0")
PEER = (sys.executable, str(Path(__file__).parents[1] / "programs" / "lying_node.py"))
OPEN = (*RUN, "--open")
PATIENT = 20.0
"""Scale of deadlines: on a busy machine a node starts late, which is no subject here."""

pytestmark = [pytest.mark.process, pytest.mark.socket]


@contextmanager
def listening(*command: str) -> Iterator[str]:
    """A program that prints a ready line, and its first address."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["addresses"][0]
        finally:
            process.terminate()


def secret_file(folder: Path, name: str, byte: int) -> Path:
    """A file with a secret."""
    path = folder / name
    path.write_text(base64.b64encode(bytes((byte,)) * 32).decode())
    return path


def formation(folder: Path) -> tuple[str, ...]:
    """A node of the formation alpha."""
    file = secret_file(folder, "secret.txt", 1)
    return (*RUN, "--formation-id", "alpha", "--formation-secret-file", str(file))


def described(
    folder: Path, address: str, formation_id: str, secret: str, dialect: str = "H1"
) -> Attachment:
    """A target file for what listens there."""
    path = folder / "target.toml"
    path.write_text(
        f'addresses = ["{address}"]\nprofile = "sync/1"\ndialect = "{dialect}"\n'
        f'formation_id = "{formation_id}"\nformation_secret_file = "{secret}"\n'
    )
    return read_target_file(path)[0]


def bare(address: str) -> Attachment:
    """A target of which nothing is known."""
    scheme, _, location = address.partition("://")
    return Attachment(scheme, location, address)


def try_it(attachment: Attachment) -> None:
    """Attach and let go."""

    async def run() -> None:
        await (await attach(attachment, Settings())).close()

    asyncio.run(run())


def contradiction(attachment: Attachment) -> str:
    """Return how the first connection contradicts the settings, or an empty text."""
    try:
        try_it(attachment)
    except UsageError as exc:
        return str(exc)
    return ""


def test_a_target_that_challenges_is_not_open(tmp_path: Path) -> None:
    """The formation is named, and the way to say its secret."""
    with listening(*formation(tmp_path)) as address:
        with pytest.raises(UsageError, match=r"'alpha'.*--formation-id alpha"):
            try_it(bare(address))
        try_it(described(tmp_path, address, "alpha", "secret.txt"))


def test_a_target_file_can_be_wrong_about_formation_and_secret(tmp_path: Path) -> None:
    """Each error names what to correct."""
    secret_file(tmp_path, "other.txt", 2)
    with listening(*formation(tmp_path)) as address:
        with pytest.raises(UsageError, match=r"'alpha'.*'beta'.*formation id"):
            try_it(described(tmp_path, address, "beta", "secret.txt"))
        with pytest.raises(UsageError, match=r"other\.txt.*name the file with its secret"):
            try_it(described(tmp_path, address, "alpha", "other.txt"))


def test_a_target_of_one_dialect_is_not_of_the_other(tmp_path: Path) -> None:
    """The one that it answers in is named, also where it was called open."""
    for spoken, other in (("H1", "H2"), ("H2", "H1")):
        options = ("--dialect", spoken, "--no-detection")
        with listening(*formation(tmp_path), *options) as address:
            with pytest.raises(UsageError, match=f'dialect = "{spoken}"'):
                try_it(described(tmp_path, address, "alpha", "secret.txt", other))
            with pytest.raises(UsageError, match=r"'alpha'.*--formation-id alpha"):
                try_it(bare(address))
            try_it(described(tmp_path, address, "alpha", "secret.txt", spoken))


def test_an_open_target_is_not_of_dialect_h1(tmp_path: Path) -> None:
    """It answers without a handshake, which it would not do otherwise."""
    secret_file(tmp_path, "secret.txt", 1)
    with (
        listening(*OPEN) as address,
        pytest.raises(UsageError, match="dialect"),
    ):
        try_it(described(tmp_path, address, "alpha", "secret.txt"))


def test_a_node_with_a_secret_of_its_own_cannot_be_judged(tmp_path: Path) -> None:
    """The suite has another one for it."""
    command = shlex.join(formation(tmp_path))
    with pytest.raises(UsageError, match="leave --formation-secret-file out"):
        try_it(Attachment("node", command, f"node:{command}"))


@pytest.mark.parametrize("how", ["close", "silent", "echo"])
def test_what_absorbs_everything_is_left_to_the_cases(how: str, tmp_path: Path) -> None:
    """A closed, silent or echoing target shows no contradiction."""
    secret_file(tmp_path, "secret.txt", 1)
    with listening(*PEER, how, "open") as address:
        said = [
            contradiction(bare(address)),
            contradiction(described(tmp_path, address, "alpha", "secret.txt")),
        ]

    assert said == ["", ""]


LEAVES = """
import os, sys

if os.fork():
    os._exit(0)
os.setsid()
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Leaves its parent and its group of processes, says its number in a file, and runs a command."""


def left_behind(command: str) -> tuple[list[str], str]:
    """The state of a node after its end, and its address."""
    said: list[str] = []

    async def run() -> str:
        settings = Settings(timeout_scale=PATIENT, said=said.append)
        target = await attach(Attachment("node", command, "node"), settings)
        await target.close()
        return target.facts.addresses[0]

    address = asyncio.run(run())
    return said, address


def test_a_node_that_stays_is_said(tmp_path: Path) -> None:
    """In a session of its own it does not end with its group, so its address still answers."""
    number = tmp_path / "number"
    try:
        said, address = left_behind(shlex.join((sys.executable, "-c", LEAVES, str(number), *OPEN)))
    finally:
        os.kill(int(number.read_text()), signal.SIGKILL)

    assert ["still listening" in text and address in text for text in said] == [True]


def test_nothing_is_said_of_a_node_that_ends() -> None:
    """Its address is dialled once."""
    assert left_behind(shlex.join(OPEN))[0] == []


def test_a_log_before_the_ready_line_blocks_no_node() -> None:
    """However long it is: standard error is read from the first moment."""
    talks = "import os, sys; os.write(2, b'log\\n' * 2**18); os.execv(sys.argv[1], sys.argv[1:])"

    assert left_behind(shlex.join((sys.executable, "-c", talks, *OPEN)))[0] == []


READY = {
    "addresses": ["tcp://127.0.0.1:1"],
    "endpoint_id": "2a" * 32,
    "profile": "sync/1",
    "dialect": "open",
    "capabilities": list(CAPABILITIES),
    "payload_cap": PAYLOAD_MAX,
    "deadlines": {"handshake_s": 1.0, "frame_stall_s": 1.0},
}


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        (b"\xef\xbb\xbf{", b"}", "a byte order mark in front"),
        (b'{"profile": "sync/1", ', b"}", "`profile` twice"),
        (b"{", b', "payload_cap": NaN}', "NaN is no JSON"),
        (b"{", b', "formation_id": "\xff"}', "not UTF-8"),
    ],
)
def test_a_ready_line_is_strict_json(before: bytes, after: bytes, fault: str) -> None:
    """Another library would read it otherwise, or not at all."""
    members = json.dumps(READY | {"instance_id": "one"}).encode()[1:-1]
    line = before + members + after + b"\n"
    program = f"import os, signal; os.write(1, {line!r}); signal.pause()"

    with pytest.raises(Incomplete, match=fault):
        asyncio.run(start_node(shlex.join((sys.executable, "-c", program))))


@pytest.mark.parametrize(("instance_id", "count"), [("'one'", 1), ("str(os.getpid())", 0)])
def test_two_processes_with_one_instance_are_reported(instance_id: str, count: int) -> None:
    """Another instance after every start is what shows a restart."""
    program = (
        f"import json, os, signal; ready = {READY!r}; ready['instance_id'] = {instance_id}; "
        "print(json.dumps(ready), flush=True); signal.pause()"
    )
    said: list[str] = []

    async def start_twice() -> None:
        node = await start_node(
            shlex.join((sys.executable, "-c", program)), Settings(said=said.append)
        )
        try:
            await (await node.fresh()).close()
        finally:
            await node.close()

    asyncio.run(start_twice())

    assert sum("instance_id 'one'" in text for text in said) == count


@pytest.mark.parametrize("line", ["Node 3.1 starting", "{}"])
def test_another_first_line_is_quoted(line: str) -> None:
    """With what is expected in its place."""
    said = rf"the node printed '{line}' in place of its ready line \((?!it).*\): its first line"

    with pytest.raises(Incomplete, match=said):
        asyncio.run(start_node(shlex.join(("echo", line))))
