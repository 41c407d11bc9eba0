"""The user's side of the control channel: what is said of a node that goes away."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from meshwire_reference.control.client import ControlClient, NoNode, RequestRefused
from meshwire_reference.control.messages import Status

pytestmark = pytest.mark.socket


@pytest.mark.parametrize(
    "said", [b"", b'{"id": 1, "stat', b"\xc3", b'{"id": 1, "status": {}}'[:-1]]
)
def test_a_reply_that_is_cut_short_is_no_reply(tmp_path: Path, said: bytes) -> None:
    """The node was killed while it wrote; one line says where to look."""
    path = tmp_path / "node.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        with ControlClient(path) as client:
            node, _ = listening.accept()
            with node:
                node.sendall(said)
                node.shutdown(socket.SHUT_WR)
                with pytest.raises(RequestRefused, match="has gone away") as refused:
                    client.ask(Status(id=1))

    assert refused.value.code == "gone"


def test_what_is_no_text_is_not_sent(tmp_path: Path) -> None:
    """An argument of a command may have any bytes; the user has given it, no node is gone."""
    path = tmp_path / "node.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        with ControlClient(path) as client, pytest.raises(RequestRefused) as refused:
            client.ask(Status(id=1, collection="notes", document="\udcff"))

    assert refused.value.code == "bad-request"


def test_a_name_that_no_file_can_have_is_no_node(tmp_path: Path) -> None:
    """One line says so, as of any other path at which no node is."""
    with pytest.raises(NoNode, match="no node serves"):
        ControlClient(tmp_path / ("n" * 300))
