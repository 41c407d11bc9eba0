"""The page for new implementers holds: its commands select cases, its bytes are a conversation."""

import json
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pages
from meshwire_conformance.run.loading import load_catalogue
from meshwire_spec.codec import decode

TEXT = (pages.SPEC / "16-build-one.md").read_text()
COMMANDS = re.findall(r"^meshwire (check .*)$", TEXT, re.MULTILINE)
BLOCKS = [
    bytes.fromhex("".join(block.split()))
    for block in re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
]
"""Preamble, read, answer, FIN, snapshot, FIN: as the page shows them."""
PREAMBLE = 85
HEADER = 5
DATA = 0


def selected(command: str) -> dict[str, set[str]]:
    """Ids of the cases that a command of the page selects, by the sort of its target."""
    words = shlex.split(command)
    only = [words[i + 1] for i, word in enumerate(words) if word == "--only"]
    sort = words[1].split(":")[0]
    runs_socket = sort == "node"
    cases = load_catalogue().select(only)
    return {sort: {case.id for case in cases if (case.kind == "socket") == runs_socket}}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_cases_to_turn_green(command: str) -> None:
    """The patterns of a step fit cases that its sort of target can run."""
    assert all(selected(command).values())


def test_the_steps_together_leave_no_case_out() -> None:
    """All steps before the last cover every case of `sync/1`; the last adds none."""
    steps = [command for command in COMMANDS if "--only" in command]

    met = set().union(*(ids for command in steps for ids in selected(command).values()))

    cases = {case.id for case in load_catalogue().cases if case.part != "oplog"}
    assert cases - met == set()


@pytest.mark.process
def test_the_codec_of_the_page_passes(tmp_path: Path) -> None:
    """The code of the page, put into a file, is green in the steps that the page names."""
    code = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "codec.py").write_text("".join(code))
    program = str(Path(sys.executable).with_name("meshwire"))
    target = f"stdio:{sys.executable} {tmp_path / 'codec.py'}"

    done = subprocess.run(
        [program, "check", target, "--only", "CH-*", "--only", "LV-*"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "liveness" in done.stdout


def received(link: socket.socket, size: int) -> bytes:
    """Read exactly the number of bytes given."""
    data = b""
    while len(data) < size:
        part = link.recv(size - len(data))
        assert part, "the node has ended the connection"
        data += part
    return data


def next_data(link: socket.socket) -> bytes:
    """The next DATA record whole; records of credit are passed over."""
    while True:
        head = received(link, HEADER)
        record = head + received(link, int.from_bytes(head[1:], "big"))
        if record[0] == DATA:
            return record


@pytest.fixture
def link() -> Iterator[socket.socket]:
    """A TCP connection to an open node that holds nothing."""
    program = str(Path(sys.executable).with_name("meshwire-node"))
    command = [program, "run", "--listen", "tcp://127.0.0.1:0", "--open", "--heartbeat-s", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as node:
        try:
            assert node.stdout is not None
            ready: dict[str, Any] = json.loads(node.stdout.readline())
            port = int(ready["addresses"][0].rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.1", port), timeout=600) as connection:
                yield connection
        finally:
            node.terminate()


@pytest.mark.socket
@pytest.mark.process
def test_the_first_frames_are_a_conversation(link: socket.socket) -> None:
    """The bundled node takes what the page sends and answers with what the page shows."""
    preamble, read, answer, read_end, snapshot, snapshot_end = BLOCKS
    link.sendall(preamble)
    theirs = decode("lab_preamble", received(link, PREAMBLE))

    link.sendall(read)
    answers = {next_data(link), next_data(link)}
    link.sendall(snapshot)

    assert theirs.fields["alpn"] == "cap/automerge/1"
    assert answers == {answer, read_end}
    assert next_data(link) == snapshot_end


def test_every_block_of_bytes_is_whole() -> None:
    """Each is one message of the lab binding, and the frames inside decode."""
    decode("lab_preamble", BLOCKS[0])

    for block in BLOCKS[1:]:
        body = decode("lab_record", block).fields["body"]
        if body["data"]:
            assert decode("stream_frame", body["data"]).fields["key"] == "notes:first"
