"""The commands of one profile at the control socket of a node of the other."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwire_reference.cli import operate
from meshwire_reference.cli.operations import operations_app
from meshwire_reference.control.client import COMMANDS, OPERATIONS, ControlClient, NoNode
from meshwire_reference.control.messages import Status
from meshwire_reference.testing.commands import NodeProcess
from run_here import NodeHere, run_here

pytestmark = [pytest.mark.process, pytest.mark.socket]

ENDPOINT = "8139770e" * 8
ARGUMENTS = {
    "put": ("notes", "n1", "{}"),
    "get": ("notes", "n1"),
    "delete": ("notes", "n1"),
    "connect": ("tcp://127.0.0.1:4711",),
    "role": (ENDPOINT, "parent"),
}
OF_OPERATIONS = {
    "view": (),
    "insert": ("items", "1"),
    "set": ("title", "1"),
    "delete": ("items/0",),
}


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """Return a node of signed operations with a mesh."""
    options = ("--listen", "ws://127.0.0.1:0", "--max-mesh-peers", "2", "--mesh-loopback")
    with NodeHere(tmp_path_factory.mktemp("operations"), *options) as node:
        yield node


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """Return a node of documents."""
    options = ("--listen", "tcp://127.0.0.1:0", "--open")
    with NodeHere(tmp_path_factory.mktemp("documents"), *options) as node:
        yield node


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_of_documents_names_those_of_operations(
    operations: NodeProcess, name: str
) -> None:
    """One line and exit code 2, whatever the command."""
    code, output, said = operations.command(name, *ARGUMENTS.get(name, ()))

    assert (code, output) == (2, "")
    assert said.count("\n") == 1
    assert f"{operations.control} is one of signed operations" in said
    assert "`meshwire-node ops` with view, insert, set and delete" in said


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_command_of_operations_names_those_of_documents(
    documents: NodeProcess, name: str
) -> None:
    """The other way round."""
    done = run_here("ops", name, "--control", str(documents.control), *OF_OPERATIONS[name])

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"{documents.control} is one of documents (sync/1)" in done.stderr
    assert "put, get, delete, docs, peers" in done.stderr


def test_the_commands_that_are_named_are_those_that_there_are() -> None:
    """In the order in which help lists them."""
    ours = [
        one.name or getattr(one.callback, "__name__", "")
        for one in operations_app.registered_commands
    ]

    assert tuple(one.__name__ for one in operate.COMMANDS) == COMMANDS
    assert sorted(OPERATIONS) == sorted(ours)


def test_a_node_of_operations_still_serves_its_own(operations: NodeProcess) -> None:
    """A request that it refuses is one line and exit code 1."""
    at = ("--control", str(operations.control))
    assert run_here("ops", "view", *at).returncode == 0
    refused = run_here("ops", "set", *at, "no/such", "1")

    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize("said", [[], "text", 7, None])
def test_what_answers_no_object_is_no_node(tmp_path: Path, said: object) -> None:
    """Any program may serve a socket."""
    path = tmp_path / "node.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(json.dumps(said).encode() + b"\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with ControlClient(path) as client, pytest.raises(NoNode, match="is no node"):
            client.ask(Status(id=1))
        thread.join()
