"""`meshwire-node run`: start a node, print one line when it is ready, and serve until a signal.

Bad options, a missing worker and an address that cannot be bound end in one line on stderr and exit
code 2; SIGTERM, SIGINT and SIGHUP end in exit code 0.
"""

import asyncio
import gc
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from meshwire_reference.backend import Backend
from meshwire_reference.cli.collections import read_collections
from meshwire_reference.cli.config_file import open_config
from meshwire_reference.cli.peers_file import read_peers
from meshwire_reference.cli.ready import enrollment_facts, ready_line
from meshwire_reference.cli.settings import check_texts, read_options
from meshwire_reference.control.server import ControlServer
from meshwire_reference.core.state.policy import ANYONE, PUBLISHED
from meshwire_reference.documents.process import Unavailable
from meshwire_reference.extras import install_line
from meshwire_reference.node.config import ALLOW, Choices, Config, ConfigError, make_config
from meshwire_reference.node.dialler import LONGEST_S
from meshwire_reference.node.driver import Node
from meshwire_reference.node.folder import BadFolder
from meshwire_reference.node.membership import UnfitCertificate
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.member_folder import (
    CERTIFICATE,
    ENDPOINT_KEY,
    PEERS,
    ROOTS,
    MemberFolder,
)
from meshwire_reference.store.mesh_folder import FORMATION_SECRET, REVOCATIONS
from meshwire_reference.transport.base import AddressRefused, TransportError
from meshwire_reference.transport.registry import check_offered
from meshwire_spec.numbers import (
    CLOSED_COLLECTIONS,
    DEAD_PEER_S,
    DOCUMENT_CALL_S,
    DOCUMENT_CALL_S_PER_KIB,
    FRAME_STALL_S,
    HANDSHAKE_S,
    HEARTBEAT_INTERVAL_S,
    PAYLOAD_MAX,
    QUIC_DATAGRAM,
    QUIC_IDLE_S,
    QUIC_KEEP_ALIVE_S,
)

if TYPE_CHECKING:
    from meshwire_reference.cli.operations import OperationChoices
    from meshwire_reference.control.metrics import MetricsServer

WEBSOCKET = ("ws://", "wss://")
"""How the addresses of a node of signed operations begin."""
SECRET_VARIABLE = "MESHWIRE_FORMATION_FILE"  # noqa: S105 - the name of a variable, not a secret
USAGE = 2
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that end a node."""
DAY_S = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of `meshwire-node run`, as typer reads them off the fields."""

    listen: Annotated[
        list[str] | None,
        typer.Option(
            help="Address to bind, tcp://HOST:PORT, quic://HOST:PORT or iroh://IP:PORT; "
            "ws://HOST:PORT/crdt-sync or wss://.. for signed operations; port 0 takes any free "
            "one. May be given again."
        ),
    ] = None
    is_open: Annotated[
        bool, typer.Option("--open", help="Accept every peer, without a handshake.")
    ] = False
    formation_id: Annotated[
        str | None, typer.Option(help="Id of the formation whose secret peers must prove to have.")
    ] = None
    formation_secret_file: Annotated[
        Path | None,
        typer.Option(envvar=SECRET_VARIABLE, help="File with the formation's secret in base64."),
    ] = None
    dialect: Annotated[
        str | None,
        typer.Option(
            metavar="H1|H2",
            help="Dialect of the handshake that the node speaks first where it dials; H1 if left "
            "out. Stock nodes since 0.8.1 know H2 alone.",
        ),
    ] = None
    no_detection: Annotated[
        bool,
        typer.Option(
            "--no-detection",
            help="Know the dialect of --dialect alone: do not serve initiators of the other, and "
            "do not dial again in it.",
        ),
    ] = False
    unproven: Annotated[
        str,
        typer.Option(
            metavar="refuse|allow",
            help="What becomes of a peer that was dialled and does not prove itself too: `refuse` "
            "sends it nothing and closes the connection, `allow` warns. With `refuse` the node "
            "also proves itself to whom it has accepted.",
        ),
    ] = ALLOW
    prove: Annotated[
        bool,
        typer.Option(
            "--prove",
            help="Prove itself to every peer that has dialled, not to those of --own-peer alone. "
            "Deployed peers know no such proof.",
        ),
    ] = False
    handshake_s: Annotated[
        float, typer.Option(help="Deadline of the whole handshake, in seconds.")
    ] = HANDSHAKE_S
    frame_stall_s: Annotated[
        float, typer.Option(help="Deadline for the next byte inside a frame, in seconds.")
    ] = FRAME_STALL_S
    heartbeat_s: Annotated[
        float, typer.Option(help="Seconds between heartbeats; 0 sends none.")
    ] = HEARTBEAT_INTERVAL_S
    dead_peer_s: Annotated[
        float,
        typer.Option(
            help="Seconds of silence, with two probes, after which the connection to a peer of "
            "--connect is closed and dialled again; 0 never does so."
        ),
    ] = DEAD_PEER_S
    own_peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENDPOINT",
            help="Endpoint id, 64 hex digits, of another node of one's own: it counts no failures, "
            "so its polls are not answered; where it has dialled, this node proves itself too. "
            "May be given again.",
        ),
    ] = None
    payload_cap: Annotated[
        int, typer.Option(help="Largest payload that is read or sent, in bytes.")
    ] = PAYLOAD_MAX
    lab: Annotated[
        bool,
        typer.Option(
            "--lab",
            help="Allow tcp:// addresses off this machine, where endpoint ids are not proven.",
        ),
    ] = False
    connect: Annotated[
        list[str] | None,
        typer.Option(
            "--peer",
            "--connect",
            help="Address of a peer to keep a connection to, tcp://HOST:PORT, "
            "quic://[ENDPOINT@]HOST:PORT or iroh://ENDPOINT@IP:PORT. May be given again.",
        ),
    ] = None
    peers_file: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with further addresses to keep a connection to, each in a table "
            "[[peer]] with `address`, and `endpoint_id` if the peer has to prove that."
        ),
    ] = None
    discover: Annotated[
        str | None,
        typer.Option(
            metavar="mdns",
            help="Announce this node on the networks of this machine, and dial the nodes that are "
            "announced there. An announcement says nothing about who answers: the handshake does.",
        ),
    ] = None
    redial_s: Annotated[
        float,
        typer.Option(
            help="Longest wait before a peer of --connect is dialled again, in seconds; the first "
            "waits are shorter."
        ),
    ] = LONGEST_S
    load: Annotated[
        Path | None,
        typer.Option(
            help="Folder of initial documents: files as Automerge saves them, each named "
            "by its key, percent-encoded, as in nodes%3Anode-1.automerge."
        ),
    ] = None
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the durable store: documents, tombstones and the endpoint id outlive "
            "the node. Without it everything is kept in memory."
        ),
    ] = None
    endpoint_key_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the key of the endpoint, as keygen makes it. Without it the node has "
            "the key of its store, or another one after each start."
        ),
    ] = None
    derived_endpoint_key: Annotated[
        str | None,
        typer.Option(
            metavar="host:NAME|text:TEXT",
            help="With --lab alone: derive that key as deployed peers do, from the formation's "
            "secret and a host name, or from a text.",
        ),
    ] = None
    allow_peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENDPOINT",
            help="Endpoint id, 64 hex digits, of a peer that is served; with any given, all others "
            "are refused. May be given again.",
        ),
    ] = None
    mesh_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Id of the mesh whose certificates count."),
    ] = None
    roots_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the public keys of who issues certificates, 64 hex digits on a line. "
            "No other key is a root."
        ),
    ] = None
    certificate_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the certificate of this node in base64, which certifies its endpoint "
            "id. The node writes it to a document of the collection certificates."
        ),
    ] = None
    peer_certificates_file: Annotated[
        Path | None,
        typer.Option(
            help="File with certificates of peers and of who may enroll, in base64, one on a line; "
            "others come in documents of the collection certificates."
        ),
    ] = None
    revocations_file: Annotated[
        Path | None,
        typer.Option(
            help="File with signed revocations in base64, one on a line; others come in documents "
            "of the collection revocations."
        ),
    ] = None
    require_certificates: Annotated[
        bool,
        typer.Option(
            "--require-certificates",
            help="Refuse each peer whose endpoint id no certificate certifies. Without it such a "
            "peer is served, and logged.",
        ),
    ] = False
    iroh_relay: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Relay that iroh may use where peers do not reach each other, https://HOST/; "
            "none is used unless one is given. May be given again.",
        ),
    ] = None
    quic_datagram: Annotated[
        int,
        typer.Option(
            help="Largest datagram of QUIC, in bytes; every path to a peer has to carry it. On "
            "loopback 8900 is faster.",
        ),
    ] = QUIC_DATAGRAM
    quic_idle_s: Annotated[
        float,
        typer.Option(
            help="Seconds without a packet of the peer after which a connection over QUIC ends."
        ),
    ] = QUIC_IDLE_S
    quic_keep_alive_s: Annotated[
        float,
        typer.Option(
            help="Seconds without one after which the peer is asked for a packet, below "
            "--quic-idle-s."
        ),
    ] = QUIC_KEEP_ALIVE_S
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with options by their names, such as listen, peers or heartbeat_s. "
            "What the command line gives takes its place."
        ),
    ] = None
    member: Annotated[
        Path | None,
        typer.Option(
            help="Folder of `enroll` or `mesh create`: the node has the key, certificate, root "
            "and formation secret in it, and refuses peers without a certificate. Other options "
            "take their place."
        ),
    ] = None
    authority: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a mesh, as `mesh create` makes it: the node is its authority, and "
            "enrolls who has a token of `mesh invite`."
        ),
    ] = None
    enroll_listen: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address at which nodes enroll, in the forms of --listen, beside --authority. May "
            "be given again.",
        ),
    ] = None
    rendezvous: Annotated[
        list[str] | None,
        typer.Option(
            help="Peer of a node of signed operations, ws://HOST:PORT/crdt-sync or wss://.., to "
            "keep a session with. May be given again."
        ),
    ] = None
    level: Annotated[
        str,
        typer.Option(
            metavar="wire|strict",
            help="Level at which a node of signed operations applies them.",
        ),
    ] = "strict"
    operation_version: Annotated[
        int,
        typer.Option(
            metavar="1|2",
            help="Version of the signed operations that the node writes while each of its peers "
            "says that it reads them; others get version 1.",
        ),
    ] = 1
    join_token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the join token of a mesh of signed operations, at least 16 characters: "
            "both sides of a session prove that they have it, and neither sends it."
        ),
    ] = None
    join_bearer: Annotated[
        bool,
        typer.Option(
            "--join-bearer",
            help="With --level wire: send the join token itself to every peer that is dialled, and "
            "demand it of every one that dials.",
        ),
    ] = False
    max_mesh_peers: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="How many nodes that the list `nodes` names a node of signed operations is linked "
            "with at most, besides --rendezvous; 0 dials none of them.",
        ),
    ] = 0
    mesh_address: Annotated[
        str | None,
        typer.Option(
            help="With --max-mesh-peers: where other nodes can dial this one, ws://HOST:PORT"
            "/crdt-sync or wss://..; else the first address that it listens on."
        ),
    ] = None
    mesh_loopback: Annotated[
        bool,
        typer.Option(
            "--mesh-loopback",
            help="Dial nodes of the list on this machine too, for a mesh on one machine.",
        ),
    ] = False
    tls_certificate_file: Annotated[
        Path | None,
        typer.Option(help="Certificates in PEM for --listen wss://HOST:PORT/crdt-sync."),
    ] = None
    tls_key_file: Annotated[
        Path | None, typer.Option(help="Key in PEM of the first of these certificates.")
    ] = None
    tls_ca_file: Annotated[
        Path | None,
        typer.Option(
            help="Certificates in PEM of who may certify a peer that is dialled under wss://; "
            "without it those of the system."
        ),
    ] = None
    control: Annotated[
        Path | None,
        typer.Option(
            help="Unix socket, made with mode 0600, at which the node serves the commands of its "
            "user, such as put and get."
        ),
    ] = None
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address at which every counter is served to Prometheus, as http://HOST:PORT"
            "/metrics; port 0 takes any free one. It asks no client who it is.",
        ),
    ] = None
    test_control: Annotated[
        bool,
        typer.Option(
            "--test-control",
            help="For tests alone: let clients of the socket of --control move the clocks of the "
            "node and empty it. Not with --data.",
        ),
    ] = False
    graveyard_days: Annotated[
        float,
        typer.Option(
            help="Days for which expired tombstones are remembered, 7 for example: a document that "
            "returns meanwhile is treated as the table of collections says. 0 forgets them."
        ),
    ] = 0.0
    document_call_s: Annotated[
        float, typer.Option(help="CPU time that a document call may take, in seconds.")
    ] = DOCUMENT_CALL_S
    document_call_s_per_kib: Annotated[
        float,
        typer.Option(
            help="CPU time that it may take besides for each KiB of document and message."
        ),
    ] = DOCUMENT_CALL_S_PER_KIB
    reconcile_with: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENDPOINT",
            help="Reconcile with the peer of this endpoint id, 64 hex digits, before sending it "
            "anything else. May be given again.",
        ),
    ] = None
    reconcile_heads_with: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENDPOINT",
            help="Reconcile by heads with the node of one's own that has this endpoint id, 64 hex "
            "digits, and that is configured for this one: only documents that differ are sent. "
            "May be given again.",
        ),
    ] = None
    parent: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENDPOINT",
            help="Endpoint id, 64 hex digits, of a peer above this node: it is sent what goes "
            "upward. May be given again. A node without any role sends everything to everyone.",
        ),
    ] = None
    child: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENDPOINT",
            help="The same of a peer below: it is sent what goes downward, and may not send that.",
        ),
    ] = None
    lateral: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENDPOINT",
            help="The same of a peer that is neither, as every peer without a role is.",
        ),
    ] = None
    reconcile: Annotated[
        bool,
        typer.Option(
            "--reconcile",
            help="Reconcile with each peer before sending it anything else. Not for deployed "
            "peers.",
        ),
    ] = False
    no_reconciliation: Annotated[
        bool,
        typer.Option(
            "--no-reconciliation",
            help="Serve no reconciliation: refuse frames of types 0x08 and 0x09 as unsupported.",
        ),
    ] = False

    def of_operations(self) -> "OperationChoices":
        """Return the options of a node of signed operations."""
        # It loads websockets and more, which other nodes do without.
        from meshwire_reference.cli.operations import OperationChoices  # noqa: PLC0415

        return OperationChoices(
            listen=self.listen or [],
            peers=self.rendezvous or [],
            data=self.data,
            control=self.control,
            level=self.level,
            operation_version=self.operation_version,
            join_token_file=self.join_token_file,
            join_bearer=self.join_bearer,
            tls_certificate_file=self.tls_certificate_file,
            tls_key_file=self.tls_key_file,
            tls_ca_file=self.tls_ca_file,
            max_mesh_peers=self.max_mesh_peers,
            mesh_address=self.mesh_address,
            mesh_loopback=self.mesh_loopback,
            is_tested=self.test_control,
        )

    def choices(self) -> Choices:
        """Return the options without those of typer."""
        return Choices(
            listen=tuple(self.listen or ()),
            is_open=self.is_open,
            formation_id=self.formation_id,
            secret_file=self.formation_secret_file,
            dialect=self.dialect,
            detects=not self.no_detection,
            unproven=self.unproven,
            proves=self.prove,
            handshake_s=self.handshake_s,
            frame_stall_s=self.frame_stall_s,
            heartbeat_s=self.heartbeat_s,
            dead_peer_s=self.dead_peer_s,
            own_peers=tuple(self.own_peer or ()),
            payload_cap=self.payload_cap,
            lab=self.lab,
            connect=tuple(self.connect or ()),
            folder=self.load,
            data=self.data,
            control=self.control,
            is_tested=self.test_control,
            endpoint_key_file=self.endpoint_key_file,
            derived_endpoint_key=self.derived_endpoint_key,
            allowed_peers=tuple(self.allow_peer or ()),
            mesh_id=self.mesh_id,
            roots_file=self.roots_file,
            certificate_file=self.certificate_file,
            peer_certificates_file=self.peer_certificates_file,
            revocations_file=self.revocations_file,
            requires_certificates=self.require_certificates,
            relays=tuple(self.iroh_relay or ()),
            reconcile=self.reconcile,
            reconcile_with=tuple(self.reconcile_with or ()),
            reconcile_heads_with=tuple(self.reconcile_heads_with or ()),
            parents=tuple(self.parent or ()),
            children=tuple(self.child or ()),
            laterals=tuple(self.lateral or ()),
            serves_reconciliation=not self.no_reconciliation,
            graveyard_s=self.graveyard_days * DAY_S,
            document_call_s=self.document_call_s,
            document_call_s_per_kib=self.document_call_s_per_kib,
            redial_s=self.redial_s,
            metrics=self.metrics,
            quic_datagram=self.quic_datagram,
            quic_idle_s=self.quic_idle_s,
            quic_keep_alive_s=self.quic_keep_alive_s,
            authority=self.authority,
            enroll_listen=tuple(self.enroll_listen or ()),
            discover=self.discover,
        )


def run_command(options: RunOptions, given: frozenset[str]) -> None:
    """Run a node until SIGTERM; prints one line on standard output once it is ready.

    Examples: meshwire-node run --listen tcp://127.0.0.1:0 --open,
    meshwire-node run --config node.toml --peer tcp://127.0.0.1:4711
    and meshwire-node run --listen tcp://127.0.0.1:0 --formation-id alpha
    --formation-secret-file secret.txt --connect tcp://127.0.0.1:4711 --reconcile
    """
    if getattr(sys, "stdout", None) is None:
        fail("standard output is closed: the ready line cannot be written")
    try:
        check_texts(options)
        collections = PUBLISHED
        if options.config is not None:
            file = open_config(options.config)
            read = read_options(file, RunOptions)
            collections = read_collections(file)
            options = replace(options, **{name: read[name] for name in read.keys() - given})
        if options.peers_file is not None:
            more = read_peers(options.peers_file, lab=options.lab)
            options = replace(options, connect=[*(options.connect or ()), *more])
        if options.member is not None:
            options = as_member(options, options.member)
            senders = {**dict.fromkeys(CLOSED_COLLECTIONS, ANYONE), **collections.senders}
            collections = replace(collections, senders=senders)
        listen, peers = options.listen or [], options.rendezvous or []
        if peers or any(address.startswith(WEBSOCKET) for address in listen):
            if options.metrics is not None:
                fail("--metrics is for nodes of sync/1, and not for those of signed operations")
            # As in `of_operations`.
            from meshwire_reference.cli.operations import serve_operations  # noqa: PLC0415

            raise typer.Exit(asyncio.run(serve_operations(options.of_operations())))
        config = make_config(replace(options.choices(), collections=collections))
        for address in (*config.listen, *config.connect, *config.enroll_listen):
            check_offered(address)
    except (AddressRefused, ConfigError) as exc:
        fail(str(exc))
    for warning in config.warnings:
        sys.stderr.write(f"meshwire-node: warning: {warning}\n")
    raise typer.Exit(asyncio.run(serve(config)))


def as_member(options: RunOptions, path: Path) -> RunOptions:
    """Return the options of a node that is a member of a mesh. Raises ConfigError."""
    try:
        mesh_id = MemberFolder(path).credentials().mesh_id
    except StoreError as exc:
        raise ConfigError(str(exc)) from exc
    revocations = path / REVOCATIONS
    own: dict[str, object] = {
        "endpoint_key_file": path / ENDPOINT_KEY,
        "certificate_file": path / CERTIFICATE,
        "peer_certificates_file": path / PEERS,
        "roots_file": path / ROOTS,
        "mesh_id": mesh_id,
        **({"revocations_file": revocations} if revocations.exists() else {}),
    }
    if not options.is_open:
        own |= {"formation_id": mesh_id, "formation_secret_file": path / FORMATION_SECRET}
    chosen: dict[str, Any] = {
        name: value for name, value in own.items() if getattr(options, name) is None
    }
    return replace(options, **chosen, require_certificates=True)


def fail(problem: str) -> NoReturn:
    """Print the problem on one line and exit with the code for wrong usage."""
    # What a person has given may contain line ends.
    sys.stderr.write(f"meshwire-node: {' '.join(problem.split())}\n")
    raise typer.Exit(USAGE)


async def serve(config: Config) -> int:
    """Run a node until a signal ends it and return the exit code."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        # `nohup` ignores SIGHUP, and that is kept.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stopping.set)
    backend = Backend(config)
    node = backend.node
    control = None if config.control is None else ControlServer(backend, config.control)
    metrics = None if config.metrics is None else _metrics_server(backend, *config.metrics)
    try:
        if await _started(node, stopping):
            if control is not None:
                await control.open()
            if metrics is not None:
                await metrics.open()
            # What is there now stays: to look for garbage in it would take 20 ms.
            gc.freeze()
            served: dict[str, object] = {} if metrics is None else {"metrics": metrics.address}
            if node.enrollment is not None:
                served["enrollment"] = enrollment_facts(node.enrollment)
            sys.stdout.write(ready_line(config, node.addresses, node.endpoint_id, served) + "\n")
            sys.stdout.flush()
            return await _ended(node, stopping)
    except (BadFolder, UnfitCertificate, Unavailable, TransportError, OSError) as exc:
        # A file name may contain line ends.
        sys.stderr.write(f"meshwire-node: {' '.join(str(exc).split())}\n")
        return USAGE
    finally:
        if control is not None:
            await control.close()
        if metrics is not None:
            await metrics.close()
        await backend.close()
    return 0


def _metrics_server(backend: Backend, host: str, port: int) -> "MetricsServer":
    try:
        # It loads prometheus-client, which other nodes do without.
        from meshwire_reference.control.metrics import MetricsServer  # noqa: PLC0415
    except ImportError:
        fail(f"--metrics needs prometheus-client: {install_line('node')}")
    return MetricsServer(backend, host, port)


async def _ended(node: Node, stopping: asyncio.Event) -> int:
    """Wait for a signal or for the end of the store; return the exit code."""
    waits = [asyncio.ensure_future(event.wait()) for event in (stopping, node.has_failed)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    if node.has_failed.is_set() and node.store_failure is not None:
        raise node.store_failure
    return 0


async def _started(node: Node, stopping: asyncio.Event) -> bool:
    """Start a node; return False if a signal arrives first. Raises what `Node.start` raises."""
    starting = asyncio.ensure_future(node.start())
    ended = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((starting, ended), return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait((starting,))
        return False
    starting.result()
    return True
