"""The commands that speak to a running node: their output and exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwire_reference.cli.operate import refusals, show_document_status
from meshwire_reference.testing.commands import NodeProcess, run
from run_here import NodeHere

pytestmark = [pytest.mark.process, pytest.mark.socket]

LISTEN = ("--listen", "tcp://127.0.0.1:0", "--open", "--heartbeat-s", "0")
FIELDS = {"text": "grün", "numbers": [0, 2.5, 2**64 - 1], "map": {"none": None}}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """Return a node for all tests."""
    with NodeHere(tmp_path_factory.mktemp("node"), *LISTEN) as node:
        yield node


def test_a_document_is_put_read_and_deleted(node: NodeProcess) -> None:
    """The fields come back as JSON on one line, the rest says nothing."""
    assert node.command("put", "notes", "n1", json.dumps(FIELDS)) == (0, "", "")
    code, output, said = node.command("get", "notes", "n1")
    assert (code, json.loads(output), said) == (0, FIELDS, "")
    assert node.command("delete", "notes", "n1") == (0, "", "")
    code, output, said = node.command("get", "notes", "n1")
    assert (code, output) == (1, "")
    assert said.count("\n") == 1


def test_a_document_can_come_from_standard_input(node: NodeProcess) -> None:
    """Where its JSON is longer than an argument may be."""
    assert node.command("put", "notes", "n2", "-", given='{"a": 1}')[0] == 0
    assert node.command("put", "--replace", "notes", "n2", "-", given='{"b": 2}')[0] == 0
    assert node.command("get", "notes", "n2")[1] == '{"b": 2}\n'


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("put", "notes", "n3", "[1]"), 2),
        (("put", "notes", "n3", "nonsense"), 2),
        (("put", "notes", "n3", '{"a": 1e999}'), 2),
        (("put", "notes", "n3", '{"a": 18446744073709551616}'), 2),
        (("put", "no/tes", "n3", '{"a": 1}'), 2),
        (("put", "notes", "", '{"a": 1}'), 2),
        (("put", "notes", "n3"), 2),
        (("get", "notes", "n3"), 1),
        (("delete", "notes", "n3"), 1),
        (("delete", "beacons", "b1"), 1),
        (("status", "notes", "n3", "--peer", "a\nb"), 1),
        (("status", "notes", "\udcff"), 2),
        (("connect", "tcp://127.0.0.1:1\n2"), 2),
        (("role", "ab\n", "child"), 2),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    node: NodeProcess, arguments: tuple[str, ...], code: int
) -> None:
    """With 2 for wrong usage and 1 for what the node did not do."""
    name, *more = arguments
    found, output, said = node.command(name, *more)

    assert (found, output) == (code, "")
    assert said.count("\n") == 1
    assert node.command("get", "notes", "n3")[0] == 1


def test_without_a_node_a_command_says_how_to_start_one(tmp_path: Path) -> None:
    """Exit code 2."""
    done = run("get", "--control", str(tmp_path / "none.sock"), "notes", "n1")

    assert (done.returncode, done.stdout) == (2, "")
    assert "meshwire-node run --control" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_is_no_socket(tmp_path: Path) -> None:
    """Neither for a command nor for a node, which makes nothing beside it."""
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    read = run("get", "--control", str(file), "notes", "n1")
    started = run("run", *LISTEN, "--control", str(file))
    stored = run("run", *LISTEN, "--data", str(file))

    for done in (read, started, stored):
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "is no socket: give the path after --control" in read.stderr
    assert "is no socket: choose another path" in started.stderr
    assert "is no folder: choose another one" in stored.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]


def test_a_second_node_leaves_the_socket_alone(node: NodeProcess) -> None:
    """It does not start, and the first one goes on."""
    second = run("run", *LISTEN, "--control", str(node.control))

    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.count("\n") == 1
    assert node.command("put", "notes", "n4", '{"a": 1}')[0] == 0


def test_what_was_put_outlives_the_node(tmp_path: Path) -> None:
    """With `--data`."""
    data = ("--data", str(tmp_path / "data"))
    with NodeHere(tmp_path, *LISTEN, *data) as node:
        node.command("put", "notes", "n1", '{"a": 1}')
    with NodeHere(tmp_path, *LISTEN, *data) as node:
        assert node.command("get", "notes", "n1")[1] == '{"a": 1}\n'


def test_why_a_peer_lacks_a_document_is_said(node: NodeProcess) -> None:
    """In words; half of a name, and a peer that there is not, in one line."""
    code, words, _ = node.command("status", "notes", "absent")
    assert (code, words) == (0, "notes:absent is not on this node\nthere are no peers\n")
    for more, expected in ((("notes",), 2), (("notes", "absent", "--peer", "ab"), 1)):
        code, output, said = node.command("status", *more)
        assert (code, output, said.count("\n")) == (expected, "", 1)


def test_the_lines_of_one_peer_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """By the beginning of its endpoint id."""
    words = ["notes:n1 is here", "peer ab is connected", "  sent", "peer cd is gone", "  lost"]
    peers = [{"endpoint_id": "ab"}, {"endpoint_id": "cd"}, {"endpoint_id": None}]
    show_document_status({"words": words, "peers": peers}, "c", as_json=False)

    show_document_status({"words": words, "peers": peers}, "a", as_json=True)
    first, second, third, shown = capsys.readouterr().out.splitlines()
    assert [first, second, third] == [words[0], *words[3:]]
    assert json.loads(shown)["peers"] == peers[:1]


def test_refusals_are_counted_by_peer_and_reason_with_the_latest_time() -> None:
    """One line each, in the order in which the first of each came."""
    one, other = "0a" * 32, "0b" * 32
    refused = [
        {"endpoint_id": endpoint, "reason": reason, "at_ms": at_s * 1000 + 999}
        for endpoint, reason, at_s in (
            (one, "internal", 1),
            (other, "internal", 2),
            (one, "internal", 3),
            (one, "shutdown", 4),
        )
    ]

    assert list(refusals(refused)) == [
        f"refused\t{one}\t-\tinternal\t2 times, last 1970-01-01T00:00:03Z",
        f"refused\t{other}\t-\tinternal\t1 times, last 1970-01-01T00:00:02Z",
        f"refused\t{one}\t-\tshutdown\t1 times, last 1970-01-01T00:00:04Z",
    ]
