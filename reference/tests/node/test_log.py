"""The log: a standard error that is full or closed, and peers that cause many lines."""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from meshwire_reference.node import log as log_module
from meshwire_reference.node.log import PEER_LINES, WAITING_MAX, Lines, NodeLog, PeerLines


@contextmanager
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Make standard error a pipe; yields the number of its reading end."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", buffering=1) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        try:
            yield reader
        finally:
            os.close(reader)


def lines_of(data: bytes) -> list[dict[str, object]]:
    """Return whole lines."""
    return [json.loads(line) for line in data.splitlines(keepends=True) if line.endswith(b"\n")]


def read_all(lines: Lines, reader: int) -> bytes:
    """Read a pipe until nothing waits for it."""
    data = b""
    while lines._waiting:
        data += os.read(reader, 2**16)
        lines.flush()
    os.set_blocking(reader, False)
    try:
        while part := os.read(reader, 2**16):
            data += part
    except BlockingIOError:
        pass
    return data


def test_a_full_pipe_delays_nothing_and_loses_no_more_than_it_has_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lines wait up to a bound; later ones are counted, and the count is a line."""
    lines = Lines()
    with piped(monkeypatch) as reader:
        for number in range(WAITING_MAX // 100):
            lines.put({"event": "x", "at_ms": number, "text": "y" * 1000})
        assert lines._size <= WAITING_MAX
        came = lines_of(read_all(lines, reader))
        lines.put({"event": "last", "at_ms": 0})
        came += lines_of(read_all(lines, reader))

    whole = [line["at_ms"] for line in came if line["event"] == "x"]
    assert whole == list(range(len(whole)))
    assert came[-2:] == [
        {"event": "lines-lost", "at_ms": 0, "lines": WAITING_MAX // 100 - len(whole)},
        {"event": "last", "at_ms": 0},
    ]


def test_a_closed_pipe_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads the lines any more."""
    lines = Lines()
    with piped(monkeypatch) as reader:
        os.dup2(os.open(os.devnull, os.O_RDONLY), reader)
        lines.put({"event": "x", "at_ms": 1})
        lines.put({"event": "x", "at_ms": 2})

        assert lines._size == 0


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_any_standard_error_will_do(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be none, or one without a file."""
    lines = Lines()
    monkeypatch.setattr(sys, "stderr", stream)
    lines.put({"event": "x", "at_ms": 1})

    assert stream is None or json.loads(stream.getvalue()) == {"event": "x", "at_ms": 1}


def test_a_peer_has_a_few_lines_a_second() -> None:
    """The next line after them says how many were left out; other peers have theirs."""
    lines = PeerLines()
    admitted = [lines.admit("one", 7) for _ in range(PEER_LINES + 3)]

    assert admitted == [0] * PEER_LINES + [None] * 3
    assert lines.admit("other", 7) == 0
    assert [lines.admit("one", 9), lines.admit("one", 9)] == [3, 0]


def test_each_node_counts_the_lines_of_its_peers(capsys: pytest.CaptureFixture[str]) -> None:
    """What one node left out is not counted in a line of another."""
    one, other = NodeLog(), NodeLog()
    for _ in range(PEER_LINES * 3):
        one.write("refused", peer="ab")
    capsys.readouterr()
    other.write("refused", peer="ab")
    line = json.loads(capsys.readouterr().err)

    assert "left_out" not in line
    assert line["peer"] == "ab"


def test_peers_beyond_the_bound_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a node does not grow with the peers that it has had."""
    monkeypatch.setattr(log_module, "PEERS_MAX", 2)
    lines = PeerLines()
    for peer in ("a", "b", "c"):
        lines.admit(peer, 1)

    assert list(lines._counts) == ["b", "c"]


def test_text_from_outside_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """No key ends a line or controls a terminal."""
    NodeLog().write("refused", key="a\n\x1b[31m\u202e\x9b", peer="ab")
    said = capsys.readouterr().err

    assert said.isascii()
    assert said.count("\n") == 1
    assert json.loads(said)["key"] == "a\n\x1b[31m\u202e\x9b"
