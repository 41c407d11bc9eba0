"""Nodes of `oplog/1`: `meshwire-node run --listen ws://..`, and the commands `ops`."""

import asyncio
import json
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from meshwire_reference.node.operations import OplogNode
from meshwire_reference.node.operations_control import OperationsControl, Publish
from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.hub import Hub
from meshwire_reference.oplog.operations import KEY_SIZE, SignedOperation
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.oplog.values import JsonValue, Unreadable
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.operations import OperationLog
from meshwire_reference.transport.base import TransportError
from meshwire_reference.transport.websocket import ENDPOINT
from meshwire_spec.numbers import OPLOG_PROFILE

WEBSOCKET = "ws://"
NOT_CARRIED_OUT = 1
WRONG_ARGUMENTS = 2


def parse_listen(address: str) -> tuple[str, int]:
    """Return host and port of `ws://HOST:PORT/crdt-sync`; raise ValueError."""
    parts = urlsplit(address)
    if parts.scheme != "ws" or not parts.hostname or parts.path not in {"", "/", ENDPOINT}:
        raise ValueError(f"{address} is not {WEBSOCKET}HOST:PORT{ENDPOINT}")
    return parts.hostname, parts.port or 0


def say(level: str, text: str) -> None:
    """Write one line of the log."""
    sys.stderr.write(f"{level} [crdt-sync] {' '.join(text.split())}\n")


async def serve_operations(
    listen: list[str], peers: list[str], data: Path | None, control: Path | None
) -> int:
    """Run a node of `oplog/1` until a signal; return the exit code."""
    hub = Hub(Replica(ReplicaSettings()))
    log = None if data is None else OperationLog(data)
    node = OplogNode(hub, _no_store if log is None else log.append, say, _spread, time.monotonic)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, node.ended.set)
    served: OperationsControl | None = None
    try:
        seed = secrets.token_bytes(KEY_SIZE)
        if log is not None:
            seed = await log.open(seed)
            hub.load(await log.read())
        if control is not None:
            author = OperationAuthor(Signer(seed), hub.replica)
            served = OperationsControl(author, _publisher(node), control)
            await served.open()
        addresses = [await node.listen(*parse_listen(address)) for address in listen]
        for peer in peers:
            node.keep_connected(peer)
        ready = {"addresses": addresses, "profile": OPLOG_PROFILE}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await node.ended.wait()
        if node.store_failure is not None:
            raise node.store_failure
    except (TransportError, StoreError, Unreadable, OSError, ValueError) as exc:
        sys.stderr.write(f"meshwire-node: {' '.join(str(exc).split())}\n")
        return WRONG_ARGUMENTS
    finally:
        if served is not None:
            await served.close()
        await node.close()
        if log is not None:
            await log.close()
    return 0


def _publisher(node: OplogNode) -> Publish:
    async def publish(signed: SignedOperation) -> None:
        node.hub.add_own(signed)
        await node.publish()

    return publish


async def _no_store(_texts: list[str]) -> None:
    """Keep nothing: the node has no folder."""


def _spread() -> float:
    return secrets.SystemRandom().uniform(-1, 1)


operations_app = typer.Typer(
    name="ops",
    help="Read and change the document of a node of `oplog/1` over its control socket.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Socket = Annotated[
    Path,
    typer.Option(envvar="MESHWIRE_CONTROL", help="Control socket of the node.", show_default=False),
]
Target = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="Where: names and elements with / between them, such as items/0/stage; an element "
        "is its id, or its place from 0 on.",
    ),
]
ValueText = Annotated[str, typer.Argument(metavar="JSON", help="The value.")]


@operations_app.command()
def view(control: Socket) -> None:
    """Print the document as JSON."""
    _ask(control, {"op": "view"})


@operations_app.command()
def insert(
    target: Target,
    value: ValueText,
    control: Socket,
    after: Annotated[str, typer.Option(help="Id of the element before.")] = "",
) -> None:
    """Insert a value into a list, at its end or after an element; print the id."""
    _ask(control, {"op": "insert", "path": target, "value": _value(value), "after": after})


@operations_app.command(name="set")
def set_value(target: Target, value: ValueText, control: Socket) -> None:
    """Write a register; print the id of the operation."""
    _ask(control, {"op": "set", "path": target, "value": _value(value)})


@operations_app.command()
def delete(target: Target, control: Socket) -> None:
    """Delete an element of a list; print the id of the operation."""
    _ask(control, {"op": "delete", "path": target})


def _value(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError as exc:
        sys.stderr.write(f"meshwire-node: {text} is no JSON: {exc}\n")
        raise typer.Exit(WRONG_ARGUMENTS) from exc
    return value


def _ask(control: Path, request: dict[str, JsonValue]) -> None:
    """Send one request to the node and print the result."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(control))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as replies:
                reply = json.loads(replies.readline())
    except (OSError, ValueError) as exc:
        sys.stderr.write(f"meshwire-node: no node at {control}: {exc}\n")
        raise typer.Exit(WRONG_ARGUMENTS) from exc
    if "error" in reply:
        sys.stderr.write(f"meshwire-node: {reply['error']}\n")
        raise typer.Exit(NOT_CARRIED_OUT)
    sys.stdout.write(json.dumps(reply["result"]) + "\n")
