"""The user's side of the control channel: what is said of a node that goes away."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from meshwire_reference.control.client import ControlClient, RequestRefused
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
