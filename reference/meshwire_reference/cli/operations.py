"""Nodes of `oplog/1`: `meshwire-node run --listen ws://..`, and the commands `ops`."""

import asyncio
import json
import secrets
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from meshwire_reference.control.client import ControlClient, NoNode, RequestRefused
from meshwire_reference.control.operations import OperationsControl, Publish
from meshwire_reference.node.clocks import Clock
from meshwire_reference.node.mesh_links import MeshLinks
from meshwire_reference.node.operations import OplogNode
from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.frames import ENVELOPE_VERSION, VERSIONS
from meshwire_reference.oplog.hub import Hub
from meshwire_reference.oplog.join import JoinIdentity, read_token
from meshwire_reference.oplog.mesh_manager import DeployedMesh, MeshManager
from meshwire_reference.oplog.mesh_records import OwnRecord, RecordRules, address_fault
from meshwire_reference.oplog.mesh_strict import StrictMesh
from meshwire_reference.oplog.operations import KEY_SIZE, SignedOperation
from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.replica import Replica, ReplicaSettings
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.oplog.values import JsonValue, Unreadable
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.operations import OperationLog
from meshwire_reference.transport.base import TransportError
from meshwire_reference.transport.registry import check_characters
from meshwire_reference.transport.websocket import ENDPOINT, Security, read_tls
from meshwire_spec.numbers import OPLOG_JOIN_BYTES_MAX, OPLOG_PROFILE

NOT_CARRIED_OUT = 1
WRONG_ARGUMENTS = 2
MESH_PEERS_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationChoices:
    """What the operator of a node of `oplog/1` chose."""

    listen: list[str]
    peers: list[str]
    data: Path | None = None
    control: Path | None = None
    level: str = Level.STRICT
    operation_version: int = ENVELOPE_VERSION
    join_token_file: Path | None = None
    join_bearer: bool = False
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_ca_file: Path | None = None
    max_mesh_peers: int = 0
    mesh_address: str | None = None
    mesh_loopback: bool = False
    is_tested: bool = False

    def check(self) -> None:
        """Raise ValueError where options do not go together, AddressRefused for an address."""
        for address in (*self.listen, *self.peers, self.mesh_address or ""):
            check_characters(address)
        if not 0 <= self.max_mesh_peers <= MESH_PEERS_MAX:
            raise ValueError(f"--max-mesh-peers is a number from 0 to {MESH_PEERS_MAX}")
        if self.mesh_address is not None and not self.max_mesh_peers:
            raise ValueError("--mesh-address needs --max-mesh-peers")
        if self.is_tested and (self.control is None or self.data is not None):
            raise ValueError("--test-control needs --control, and is not for a node with --data")

    def own_address(self, bound: list[str]) -> str | None:
        """Return where others can dial this node, which is bound to addresses; raise ValueError."""
        address = self.mesh_address or next(iter(bound), None)
        if address is None:
            return None
        # D-129: deployed nodes dial themselves at such an address.
        fault = address_fault(address, allows_loopback=self.mesh_loopback)
        if fault is not None:
            raise ValueError(
                f"other nodes cannot dial {address} ({fault}): name an address with --mesh-address,"
                " or allow those of this machine with --mesh-loopback"
            )
        return address

    def token(self) -> bytes | None:
        """Return the join token, or None without one; raise ValueError or OSError."""
        if self.level not in tuple(Level):
            raise ValueError(f"--level is {self.level}, and not wire or strict")
        is_known = self.operation_version in VERSIONS
        if not is_known or (self.level == Level.WIRE and self.operation_version > VERSIONS[0]):
            raise ValueError("--operation-version is 1, or 2 with --level strict")
        if self.join_bearer and (self.level != Level.WIRE or self.join_token_file is None):
            # OP-056
            raise ValueError("--join-bearer needs --level wire and --join-token-file")
        return (
            None if self.join_token_file is None else read_token(self.join_token_file.read_bytes())
        )

    def security(self, token: bytes | None) -> Security:
        """Return how peers are checked; raise TransportError or ValueError."""
        files = self.tls_certificate_file, self.tls_key_file
        if (files[0] is None) is not (files[1] is None):
            raise ValueError("--tls-certificate-file and --tls-key-file go together")
        is_bearer = token is not None and self.join_bearer
        return Security(
            tls=read_tls(files[0], files[1]) if files[0] and files[1] else None,
            authorities=self.tls_ca_file,
            bearer=token.decode() if token is not None and is_bearer else "",
            first_bytes_max=None if token is None or is_bearer else OPLOG_JOIN_BYTES_MAX,
        )


def parse_listen(address: str) -> tuple[str, int, str]:
    """Return host, port and scheme of `ws://HOST:PORT/crdt-sync`; raise ValueError."""
    try:
        parts = urlsplit(address)
        port = parts.port or 0
    except ValueError as exc:
        raise ValueError(f"{address!r}: {exc}") from exc
    is_ours = parts.scheme in {"ws", "wss"} and parts.path in {"", "/", ENDPOINT}
    if not is_ours or not parts.hostname or parts.query:
        raise ValueError(f"{address} is not ws://HOST:PORT{ENDPOINT} or wss://HOST:PORT{ENDPOINT}")
    return parts.hostname, port, parts.scheme


def say(level: str, text: str) -> None:
    """Write one line of the log."""
    sys.stderr.write(f"{level} [crdt-sync] {' '.join(text.split())}\n")


async def serve_operations(chosen: OperationChoices) -> int:
    """Run a node of `oplog/1` until a signal; return the exit code."""
    log = None if chosen.data is None else OperationLog(chosen.data)
    store = _no_store if log is None else log.append
    served: OperationsControl | None = None
    try:
        chosen.check()
        token = chosen.token()
        security = chosen.security(token)
        level = ReplicaSettings(level=Level(chosen.level))
        hub = Hub(Replica(level), version=chosen.operation_version)
    except (TransportError, OSError, ValueError) as exc:
        return _problem(exc)
    node = OplogNode(hub, store, say, _spread, time.monotonic, security)
    _end_on_signals(node)
    try:
        seed = secrets.token_bytes(KEY_SIZE)
        if log is not None:
            seed = await log.open(seed)
            hub.load(await log.read())
        author = _author_of(seed, node, hub)
        if token is not None and not chosen.join_bearer:
            node.identity = JoinIdentity(token, author.signer.author)
        if chosen.control is not None:
            tests = MeshTests(node, chosen, author) if chosen.is_tested else None
            served = OperationsControl(author, _publisher(node), chosen.control, tests)
            await served.open()
        await _begin(node, chosen, author)
        await node.ended.wait()
        if node.store_failure is not None:
            raise node.store_failure
    except (TransportError, StoreError, Unreadable, OSError, ValueError) as exc:
        return _problem(exc)
    finally:
        if served is not None:
            await served.close()
        await node.close()
        if log is not None:
            await log.close()
    return 0


def _end_on_signals(node: OplogNode) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, node.ended.set)


def _author_of(seed: bytes, node: OplogNode, hub: Hub) -> OperationAuthor:
    """Return the author with the key of this seed, whose id is that of the node."""
    signer = Signer(seed)
    hub.node_id = signer.author.hex()
    return OperationAuthor(signer, hub.replica, hub.writes)


async def _begin(node: OplogNode, chosen: OperationChoices, author: OperationAuthor) -> None:
    """Bind and dial the addresses, begin with the mesh, and print the ready line."""
    addresses = [await node.listen(*parse_listen(address)) for address in chosen.listen]
    begin_mesh(node, chosen, author, Clock())
    for peer in chosen.peers:
        node.keep_connected(peer)
    ready: dict[str, JsonValue] = {"addresses": list(addresses), "profile": OPLOG_PROFILE}
    if chosen.control is not None and chosen.is_tested:
        ready |= {"control": str(chosen.control.absolute()), "capabilities": ["test-control"]}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()


def begin_mesh(
    node: OplogNode, chosen: OperationChoices, author: OperationAuthor, clock: Clock
) -> None:
    """Let a node whose addresses are bound begin with its mesh; raise ValueError."""
    cap = chosen.max_mesh_peers
    address = chosen.own_address(node.addresses) if cap else None
    is_strict = chosen.level == Level.STRICT
    rules = RecordRules(
        author.signer.author.hex(), is_strict, tuple(chosen.peers), chosen.mesh_loopback
    )
    now_s = clock.monotonic_s()
    manager: MeshManager = DeployedMesh(rules, cap, now_s)
    if is_strict:
        manager = StrictMesh(rules, cap, now_s, secrets.SystemRandom().random)
    own = None if address is None else OwnRecord(author, address)
    node.mesh = MeshLinks(manager, clock, node.mesh_ports(), own)
    node.mesh.start()


class MeshTests:
    """What the tests of a node may ask of its mesh: another cap, and time that passes."""

    def __init__(self, node: OplogNode, chosen: OperationChoices, author: OperationAuthor) -> None:
        self._node = node
        self._chosen = chosen
        self._author = author

    async def begin(self, cap: int) -> None:
        """Begin with the mesh anew, with another cap and no link; raise ValueError."""
        chosen = replace(self._chosen, max_mesh_peers=cap)
        chosen.check()
        before = self._node.mesh
        assert before is not None, "the node has begun"
        await before.close()
        begin_mesh(self._node, chosen, self._author, before.clock)

    def advance(self, seconds: float) -> None:
        """Put the clocks of the mesh forward, and do what is due then."""
        assert self._node.mesh is not None, "the node has begun"
        self._node.mesh.clock.advance(seconds)
        self._node.mesh.look()


def _problem(exc: Exception) -> int:
    """Print a problem on one line; return the exit code for it."""
    sys.stderr.write(f"meshwire-node: {' '.join(str(exc).split())}\n")
    return WRONG_ARGUMENTS


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
        with ControlClient(control) as client:
            result = client.ask_of_operations(request)
    except (NoNode, RequestRefused) as exc:
        sys.stderr.write(f"meshwire-node: {' '.join(str(exc).split())}\n")
        code = WRONG_ARGUMENTS if isinstance(exc, NoNode) else NOT_CARRIED_OUT
        raise typer.Exit(code) from exc
    sys.stdout.write(json.dumps(result) + "\n")
