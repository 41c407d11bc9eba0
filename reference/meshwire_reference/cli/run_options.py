"""The options of `meshwire-node run`: one table, which the command line and a TOML file fill.

What the options say together is checked in `node.config`, and for signed operations in
`cli.operations`.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import typer

from meshwire_reference.node.config import ALLOW, Choices
from meshwire_reference.node.dialler import LONGEST_S
from meshwire_spec.numbers import (
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

SECRET_VARIABLE = "MESHWIRE_FORMATION_FILE"  # noqa: S105 - the name of a variable, not a secret
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

        return OperationChoices(**_taken(self, OperationChoices))

    def choices(self) -> Choices:
        """Return the options without those of typer."""
        return Choices(
            **_taken(self, Choices),
            detects=not self.no_detection,
            serves_reconciliation=not self.no_reconciliation,
            graveyard_s=self.graveyard_days * DAY_S,
        )


def _taken(options: RunOptions, kind: type[Any]) -> dict[str, Any]:
    """Return the options that a class takes as they are, by its names of them."""
    known = {one.name for one in fields(RunOptions)}
    named = ((one.name, NAMED.get((kind.__name__, one.name), one.name)) for one in fields(kind))
    return {
        name: list(getattr(options, option) or ()) if option in LISTS else getattr(options, option)
        for name, option in named
        if option in known
    }


LISTS: Final = frozenset(
    name for name, kind in get_type_hints(RunOptions).items() if kind == list[str] | None
)
"""Options that can be given again."""
NAMED: Final = {
    ("Choices", "secret_file"): "formation_secret_file",
    ("Choices", "proves"): "prove",
    ("Choices", "own_peers"): "own_peer",
    ("Choices", "folder"): "load",
    ("Choices", "is_tested"): "test_control",
    ("Choices", "allowed_peers"): "allow_peer",
    ("Choices", "requires_certificates"): "require_certificates",
    ("Choices", "relays"): "iroh_relay",
    ("Choices", "parents"): "parent",
    ("Choices", "children"): "child",
    ("Choices", "laterals"): "lateral",
    ("OperationChoices", "peers"): "rendezvous",
    ("OperationChoices", "is_tested"): "test_control",
}
"""Class and member that takes an option under another name -> that option."""
