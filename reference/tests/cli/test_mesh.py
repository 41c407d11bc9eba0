"""Three nodes through their commands alone: each with its own store, all connected by six dials."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from meshwire_reference.testing.commands import PROGRAM, NodeProcess, environment, run
from process_mesh import NODES, ProcessMesh
from run_here import NodeHere

pytestmark = [pytest.mark.process, pytest.mark.socket]

FORMATION = ("--formation-id", "three-node-mesh", "--formation-secret-file")
LISTEN = ("--listen", "tcp://127.0.0.1:0")
COLLECTION = "mesh_test"


def secret_in(folder: Path, name: str = "secret.txt") -> str:
    """Make a secret with the command for it and return its path."""
    path = folder / name
    assert run("keygen", "--secret", str(path)).returncode == 0
    return str(path)


def watch_until(node: NodeProcess, name: str) -> None:
    """Follow the changes of a node until it has a document."""
    command = (*PROGRAM, "watch", "--control", str(node.control), COLLECTION)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            documents = [*event.get("initial", []), event.get("updated")]
            if name in [one["document"] for one in documents if one is not None]:
                break
        process.terminate()


def test_a_document_written_on_each_is_readable_on_all(tmp_path: Path) -> None:
    """With all its fields; deleted on one it is gone on all."""
    secret = secret_in(tmp_path)
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                NodeHere(
                    tmp_path / f"node-{number}",
                    *LISTEN,
                    *FORMATION,
                    secret,
                    "--data",
                    str(tmp_path / f"data-{number}"),
                )
            )
            for number in (1, 2, 3)
        ]
        for node in nodes:
            for other in nodes:
                if other is not node:
                    done = node.command("connect", other.address)
                    assert done == (0, f"{other.facts['endpoint_id']}\n", "")
        fields = [
            {"source": f"node{number}", "test_id": "3node-mesh-test", "value": 123 * number}
            for number in (1, 2, 3)
        ]
        for number, node in enumerate(nodes):
            name = f"mesh-test-doc-{number}"
            assert node.command("put", COLLECTION, name, json.dumps(fields[number]))[0] == 0
            for reader in nodes:
                watch_until(reader, name)
                assert json.loads(reader.command("get", COLLECTION, name)[1]) == fields[number]
        peers = [node.command("peers")[1].splitlines() for node in nodes]
        assert sum(line.startswith("connected\t") for known in peers for line in known) >= 3
        listed = nodes[0].command("docs", COLLECTION)[1].splitlines()
        assert listed == [f"{COLLECTION}\tmesh-test-doc-{number}" for number in range(3)]


@pytest.mark.parametrize(
    ("listen", "package"), [("quic://127.0.0.1:0", "aioquic"), ("iroh://127.0.0.1:0", "iroh")]
)
def test_three_processes_agree_over(listen: str, package: str, tmp_path: Path) -> None:
    """What is written on each is readable on all, whatever carries their streams."""
    pytest.importorskip(package)
    mesh = ProcessMesh(tmp_path, listen)
    try:
        mesh.converge(0)

        wanted = [{"source": f"node{number}", "value": 123 * number} for number in NODES]
        assert [mesh.fields(number, 0) for number in NODES] == [wanted] * 3
    finally:
        mesh.close()


def test_a_refused_peer_is_explained_on_both_sides(tmp_path: Path) -> None:
    """One that has another secret."""
    first, second = secret_in(tmp_path), secret_in(tmp_path, "other.txt")
    with (
        NodeHere(tmp_path / "one", *LISTEN, *FORMATION, first) as one,
        NodeHere(tmp_path / "other", *LISTEN, *FORMATION, second, "--no-detection") as other,
    ):
        code, output, said = other.command("connect", one.address)

        assert (code, output) == (1, "")
        assert said.count("\n") == 1
        assert "another secret or formation id" in said
        assert "not connected" in other.command("peers")[1]
        assert "another secret or formation id" in other.command("peers")[1]
        refused = one.command("peers")[1]
        assert refused.startswith(f"refused\t{other.facts['endpoint_id']}\t")
        assert "another secret or formation id" in refused
        assert re.search(r"\t[1-9][0-9]* times, last 2[-0-9]+T[:0-9]+Z\n", refused)


def test_an_address_without_a_node_is_explained(tmp_path: Path) -> None:
    """The line names it once, and no number of the system."""
    address = "tcp://127.0.0.1:1"
    with NodeHere(tmp_path, *LISTEN, "--open") as node:
        code, output, said = node.command("connect", address)
        listed = node.command("peers")[1]

    why = "cannot be reached: connection refused: nothing listens at the address"
    assert (code, output) == (1, "")
    assert said.startswith(f"meshwire-node: {address} was not connected: {why}; ")
    assert listed == f"not connected\t-\t{address}\t{why}\n"


def test_the_demo_shows_convergence() -> None:
    """Line by line where nobody looks."""
    done = run("demo")

    assert (done.returncode, done.stderr) == (0, "")
    assert "all 3 nodes have all 3 documents" in done.stdout.splitlines()[-1]
    assert "node 3 has document-1" in done.stdout
    assert "\x1b" not in done.stdout
