"""Three nodes as processes of one formation, connected by six dials, and how fast they agree."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Final

from meshwire_reference.control.client import ControlClient
from meshwire_reference.control.messages import Connect, Get, Put, Watch
from meshwire_reference.testing.commands import NodeProcess, run

NODES: Final = (0, 1, 2)
COLLECTION: Final = "mesh_test"


class ProcessMesh:
    """Three nodes that listen on one kind of address; each has dialled both others."""

    def __init__(self, folder: Path, listen: str, *options: str) -> None:
        secret = folder / "secret.txt"
        assert run("keygen", "--secret", str(secret)).returncode == 0
        formation = ("--formation-id", "three-node-mesh", "--formation-secret-file", str(secret))
        self._stack = ExitStack()
        with ExitStack() as starting:
            nodes = [
                starting.enter_context(
                    NodeProcess(folder / f"node-{number}", "--listen", listen, *formation, *options)
                )
                for number in NODES
            ]
            self._clients = [starting.enter_context(ControlClient(node.control)) for node in nodes]
            for number, client in enumerate(self._clients):
                for other in nodes[:number] + nodes[number + 1 :]:
                    client.ask(Connect(id=number, address=other.address))
            self._stack = starting.pop_all()

    def converge(self, turn: int) -> float:
        """Write a document on each node; return the seconds until each node has all of them."""
        began = perf_counter()
        names = {f"document-{turn}-{number}" for number in NODES}
        for number, client in enumerate(self._clients):
            name = f"document-{turn}-{number}"
            fields = {"source": f"node{number}", "value": 123 * number}
            client.ask(Put(id=number, collection=COLLECTION, document=name, fields=fields))
        for number in NODES:
            self._wait(number, set(names))
        return perf_counter() - began

    def fields(self, number: int, turn: int) -> list[dict[str, object]]:
        """Return the fields that one node has of the documents of a turn, by who wrote them."""
        return [
            self._clients[number].ask(
                Get(id=writer, collection=COLLECTION, document=f"document-{turn}-{writer}")
            )["document"]["fields"]
            for writer in NODES
        ]

    def _wait(self, number: int, names: set[str]) -> None:
        """Follow the changes of a node until it has every document."""
        # A watch goes on until its connection ends, so it has one of its own.
        with ControlClient(self._clients[number].path) as watching:
            for reply in watching.ask_for_all(Watch(id=number, collection=COLLECTION)):
                event = reply["event"]
                known = [*event.get("initial", []), event.get("updated")]
                names -= {one["document"] for one in known if one is not None}
                if not names:
                    return

    def close(self) -> None:
        """End the nodes."""
        self._stack.close()
