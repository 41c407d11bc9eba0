"""The configuration of a node: addresses, dialect, secret, limits; read and checked once."""

import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meshwire_reference.core.formation import BadSecret, FormationKey, read_secret
from meshwire_reference.core.identity import (
    authority_key_of_secret,
    endpoint_key_of_host,
    endpoint_key_of_text,
    public_key_of,
)
from meshwire_reference.core.inputs import PeerRole
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.policy import PUBLISHED, Collections
from meshwire_reference.core.trust.store import TrustSettings
from meshwire_reference.core.trust.verification import Trust
from meshwire_reference.documents.limits import Budget
from meshwire_reference.node.dialler import LONGEST_S
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.mesh_folder import MeshFolder
from meshwire_reference.store.private_files import OTHERS
from meshwire_reference.store.trust_files import read_certificates, read_revocations, read_roots
from meshwire_reference.wire.certificates import MeshCertificate
from meshwire_spec.numbers import (
    DEAD_PEER_S,
    DOCUMENT_CALL_S,
    DOCUMENT_CALL_S_PER_KIB,
    ENDPOINT_ID,
    ENTRY_MIN,
    FORMATION_ID_MAX,
    FRAME_STALL_S,
    HANDSHAKE_S,
    HEARTBEAT_INTERVAL_S,
    PAYLOAD_MAX,
    QUIC_DATAGRAM,
    QUIC_IDLE_S,
    QUIC_KEEP_ALIVE_S,
    U16_MAX,
    U32_MAX,
)

SECRET_FILE_MAX = 2**16
"""Greatest size of a secret file, in bytes."""
RELAY = re.compile(r"https?://[^/?#@\s]+/?")
"""The URL of a relay."""
SECRET_MIN = 32
"""Bytes of a secret, below which the operator is warned."""

DATAGRAM_MAX = 2**16 - 1 - 28
"""Most bytes that UDP carries over IPv4."""

PROVING = (Dialect.H1, Dialect.H2)
"""Dialects with a handshake."""
REFUSE, ALLOW = "refuse", "allow"
"""What becomes of an acceptor that does not prove itself."""


class ConfigError(Exception):
    """The node cannot be started with this configuration; the text is one line for the operator."""


MDNS = "mdns"
"""The way in which peers are discovered."""


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of one node.

    `connect` are addresses to keep a connection to, `redial_s` is the longest wait in seconds
    between two dials of one of them, `folder` holds the initial documents. `data` is the folder of
    the durable store; without it the node keeps everything in memory. `control` is the path of the
    socket at which it serves the commands of its user, with `is_tested` also those that move its
    clocks and empty it. With
    `reconcile` the node begins a run with every peer, else with those of `reconcile_with`.
    `budget` bounds the CPU time of each document call.
    """

    listen: tuple[str, ...]
    settings: Settings
    key: FormationKey | None = field(default=None, repr=False)
    lab: bool = False
    connect: tuple[str, ...] = ()
    folder: Path | None = None
    data: Path | None = None
    reconcile: bool = False
    reconcile_with: frozenset[bytes] = frozenset()
    budget: Budget = field(default_factory=Budget)
    redial_s: float = LONGEST_S
    control: Path | None = None
    is_tested: bool = False
    endpoint_key: bytes | None = field(default=None, repr=False)
    """Seed of the endpoint key; None keeps the one of the store."""
    relays: tuple[str, ...] = ()
    """Relays that iroh may use, by their URLs."""
    quic_datagram: int = QUIC_DATAGRAM
    """Largest datagram of QUIC in bytes, which every path has to carry."""
    quic_idle_s: float = QUIC_IDLE_S
    quic_keep_alive_s: float = QUIC_KEEP_ALIVE_S
    warnings: tuple[str, ...] = ()
    """What the operator should change, a line each; the node starts all the same."""
    certificate: MeshCertificate | None = None
    """The certificate of this node, which it publishes."""
    metrics: tuple[str, int] | None = None
    """Host and port at which the counters are served, None for nowhere."""
    authority: Path | None = None
    """Folder of the mesh whose authority the node is, None if it enrolls nobody."""
    enroll_listen: tuple[str, ...] = ()
    """Addresses at which other nodes can enroll."""
    discovers: bool = False
    """True to dial what other machines announce over mDNS."""

    def reconciles_with(self, peer_id: bytes) -> bool:
        """Return True if the operator has requested runs with this peer."""
        return self.reconcile or peer_id in self.reconcile_with


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator chooses, by the options of `meshwire-node run`; `make_config` checks it."""

    listen: Sequence[str]
    is_open: bool = False
    formation_id: str | None = None
    secret_file: Path | None = None
    handshake_s: float = HANDSHAKE_S
    frame_stall_s: float = FRAME_STALL_S
    heartbeat_s: float = HEARTBEAT_INTERVAL_S
    payload_cap: int = PAYLOAD_MAX
    lab: bool = False
    dead_peer_s: float = DEAD_PEER_S
    own_peers: Sequence[str] = ()
    graveyard_s: float = 0.0
    connect: Sequence[str] = ()
    folder: Path | None = None
    data: Path | None = None
    reconcile: bool = False
    reconcile_with: Sequence[str] = ()
    reconcile_heads_with: Sequence[str] = ()
    parents: Sequence[str] = ()
    children: Sequence[str] = ()
    laterals: Sequence[str] = ()
    collections: Collections = PUBLISHED
    serves_reconciliation: bool = True
    document_call_s: float = DOCUMENT_CALL_S
    document_call_s_per_kib: float = DOCUMENT_CALL_S_PER_KIB
    redial_s: float = LONGEST_S
    dialect: str | None = None
    detects: bool = True
    control: Path | None = None
    is_tested: bool = False
    endpoint_key_file: Path | None = None
    allowed_peers: Sequence[str] = ()
    relays: Sequence[str] = ()
    derived_endpoint_key: str | None = None
    mesh_id: str | None = None
    roots_file: Path | None = None
    certificate_file: Path | None = None
    peer_certificates_file: Path | None = None
    revocations_file: Path | None = None
    requires_certificates: bool = False
    unproven: str = ALLOW
    proves: bool = False
    metrics: str | None = None
    quic_datagram: int = QUIC_DATAGRAM
    quic_idle_s: float = QUIC_IDLE_S
    quic_keep_alive_s: float = QUIC_KEEP_ALIVE_S
    authority: Path | None = None
    enroll_listen: Sequence[str] = ()
    discover: str | None = None


def make_config(choices: Choices) -> Config:
    """Check the choices and read the secret; raises ConfigError."""
    _check(choices)
    warnings: list[str] = []
    key = _key(choices, warnings)
    trust, certificate = _trust(choices, warnings)
    return Config(
        tuple(choices.listen),
        _settings(choices, key, trust),
        key,
        choices.lab,
        tuple(dict.fromkeys(choices.connect)),
        choices.folder,
        choices.data,
        choices.reconcile,
        frozenset(map(_endpoint, choices.reconcile_with)),
        Budget(choices.document_call_s, choices.document_call_s_per_kib),
        choices.redial_s,
        choices.control,
        choices.is_tested,
        _endpoint_key(choices, warnings),
        tuple(dict.fromkeys(choices.relays)),
        choices.quic_datagram,
        choices.quic_idle_s,
        choices.quic_keep_alive_s,
        tuple(warnings),
        certificate,
        _metrics(choices.metrics),
        choices.authority,
        tuple(choices.enroll_listen),
        choices.discover == MDNS,
    )


def _metrics(text: str | None) -> tuple[str, int] | None:
    """Read host and port of --metrics."""
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > U16_MAX:
        raise ConfigError(f"--metrics {text!r}: give HOST:PORT, such as 127.0.0.1:9464")
    return host, int(port)


def _check(choices: Choices) -> None:
    """Raise ConfigError for a choice that is not possible, alone or beside others."""
    if not choices.listen:
        raise ConfigError(
            "--listen is missing: give an address, such as --listen tcp://127.0.0.1:0"
        )
    _check_handshake(choices)
    if choices.reconcile_heads_with and not choices.serves_reconciliation:
        raise ConfigError("--no-reconciliation excludes --reconcile-heads-with")
    if (choices.authority is None) == bool(choices.enroll_listen):
        raise ConfigError("--authority FOLDER and --enroll-listen ADDRESS are given together")
    _check_times(choices)
    _check_quic(choices)
    for relay in choices.relays:
        if RELAY.fullmatch(relay) is None:
            raise ConfigError(
                f"--iroh-relay {relay}: a relay is https://HOST/ or http://HOST:PORT/"
            )
    if not ENTRY_MIN <= choices.payload_cap <= U32_MAX:
        raise ConfigError(f"--payload-cap must be between {ENTRY_MIN} and {U32_MAX} bytes")
    for name, folder in (("--load", choices.folder), ("--data", choices.data)):
        if folder is not None and str(folder) == ".":
            raise ConfigError(
                f"{name} is empty or the working folder, and needs the name of a folder of its own"
            )
    if choices.is_tested and (choices.control is None or choices.data is not None):
        raise ConfigError(
            "--test-control needs --control PATH, and no --data: it lets a test empty the node"
        )


def _check_handshake(choices: Choices) -> None:
    """Raise ConfigError for choices about peers and the handshake that do not fit each other."""
    if choices.discover not in (None, MDNS):
        raise ConfigError(f"--discover is {MDNS}")
    # HS-038
    if choices.is_open == (choices.formation_id is not None):
        raise ConfigError(
            "choose one of --open (no handshake at all) and --formation-id ID (with a secret)"
        )
    if choices.dialect is not None and (choices.is_open or choices.dialect not in PROVING):
        raise ConfigError("--dialect is H1 or H2, beside --formation-id ID")
    if choices.unproven not in (REFUSE, ALLOW):
        raise ConfigError(f"--unproven is {REFUSE} or {ALLOW}")
    if choices.is_open and (choices.proves or choices.unproven == REFUSE):
        raise ConfigError("--prove and --unproven refuse need --formation-id ID")
    if choices.formation_id == "":
        raise ConfigError("--formation-id must not be empty")


def _check_times(choices: Choices) -> None:
    """Raise ConfigError for a time that cannot be waited for."""
    for name, seconds in (
        ("--handshake-s", choices.handshake_s),
        ("--frame-stall-s", choices.frame_stall_s),
        ("--document-call-s", choices.document_call_s),
        ("--document-call-s-per-kib", choices.document_call_s_per_kib),
        ("--redial-s", choices.redial_s),
        ("--quic-idle-s", choices.quic_idle_s),
        ("--quic-keep-alive-s", choices.quic_keep_alive_s),
    ):
        if not 0 < seconds < float("inf"):
            raise ConfigError(f"{name} must be a number of seconds above 0")
    for name, time, unit, nothing in (
        ("--heartbeat-s", choices.heartbeat_s, "seconds", "for no heartbeats"),
        ("--dead-peer-s", choices.dead_peer_s, "seconds", "to wait without end"),
        ("--graveyard-days", choices.graveyard_s, "days", "to forget expired tombstones"),
    ):
        # It is counted in ms.
        if not 0 <= time * 1000 < float("inf"):
            raise ConfigError(f"{name} must be a number of {unit}, 0 {nothing}")


def _check_quic(choices: Choices) -> None:
    """Raise ConfigError for parameters of QUIC that do not fit it, or each other."""
    if not QUIC_DATAGRAM <= choices.quic_datagram <= DATAGRAM_MAX:
        raise ConfigError(
            f"--quic-datagram must be between {QUIC_DATAGRAM} and {DATAGRAM_MAX} bytes"
        )
    if choices.quic_keep_alive_s >= choices.quic_idle_s:
        raise ConfigError(
            "--quic-keep-alive-s must be below --quic-idle-s: idle connections would end"
        )


def _endpoint(text: str, option: str = "--reconcile-with") -> bytes:
    """Read the endpoint id that an option names."""
    try:
        endpoint = bytes.fromhex(text)
    except ValueError:
        endpoint = b""
    if len(endpoint) != ENDPOINT_ID:
        raise ConfigError(f"{option} {text}: an endpoint id has 64 hex digits")
    return endpoint


def _endpoints(texts: Sequence[str], option: str) -> frozenset[str]:
    """Read the endpoint ids that an option names."""
    return frozenset(_endpoint(text, option).hex() for text in texts)


def _roles(choices: Choices) -> dict[str, PeerRole]:
    """Return the role of each peer that has one, by endpoint id in hex."""
    roles: dict[str, PeerRole] = {}
    for role, texts in (
        (PeerRole.PARENT, choices.parents),
        (PeerRole.CHILD, choices.children),
        (PeerRole.LATERAL, choices.laterals),
    ):
        for endpoint in sorted(_endpoints(texts, f"--{role}")):
            if endpoint in roles:
                raise ConfigError(
                    f"--{role} {endpoint} contradicts --{roles[endpoint]}: a peer has one role"
                )
            roles[endpoint] = role
    return roles


def _settings(choices: Choices, key: FormationKey | None, trust: TrustSettings | None) -> Settings:
    return Settings(
        dialect=Dialect.OPEN if choices.is_open else Dialect(choices.dialect or Dialect.H1),
        # HS-064
        detects=choices.detects and key is not None and len(key.formation_id.encode()) > 1,
        collections=choices.collections,
        roles=_roles(choices),
        payload_cap=choices.payload_cap,
        handshake_s=choices.handshake_s,
        frame_stall_s=choices.frame_stall_s,
        heartbeat_s=choices.heartbeat_s,
        dead_peer_s=choices.dead_peer_s,
        graveyard_s=choices.graveyard_s,
        # HS-077
        proves=choices.proves or choices.unproven == REFUSE,
        refuses_unproven=choices.unproven == REFUSE,
        own_peers=_endpoints(choices.own_peers, "--own-peer"),
        allowed_peers=_endpoints(choices.allowed_peers, "--allow-peer") or None,
        trust=trust,
        heads_peers=_endpoints(choices.reconcile_heads_with, "--reconcile-heads-with"),
        serves_reconciliation=choices.serves_reconciliation,
    )


def _trust(
    choices: Choices, warnings: list[str]
) -> tuple[TrustSettings | None, MeshCertificate | None]:
    """Read roots, certificates and revocations, and return them with the node's own certificate."""
    files = choices.certificate_file, choices.peer_certificates_file, choices.revocations_file
    if choices.roots_file is None or not choices.mesh_id:
        if any(files) or choices.requires_certificates or choices.roots_file or choices.mesh_id:
            raise ConfigError(
                "certificates need --roots-file FILE and --mesh-id ID: who issues them, for what"
            )
        return None, None
    certificate, others, revoked = files
    try:
        roots = read_roots(choices.roots_file)
        counts = Trust(choices.mesh_id, roots)
        own = () if certificate is None else read_certificates(certificate, counts)
        held = () if others is None else read_certificates(others, counts)
        revocations = () if revoked is None else read_revocations(revoked, counts)
        if choices.authority is not None:
            MeshFolder(choices.authority).check_trusted(choices.mesh_id, roots)
    except StoreError as exc:
        raise ConfigError(str(exc)) from exc
    if certificate is not None and len(own) != 1:
        raise ConfigError(f"{certificate} has {len(own)} certificates, and a node has one")
    _check_roots(choices, roots)
    if choices.requires_certificates and any(one.startswith("tcp://") for one in choices.listen):
        warnings.append("--require-certificates: an endpoint id over tcp:// is not proven")
    requires = choices.requires_certificates
    # EN-085
    certificates = (*own, *held, *_enrolled(choices.authority, warnings))
    trust = TrustSettings(choices.mesh_id, roots, requires, certificates, revocations)
    return trust, own[0] if own else None


def _enrolled(authority: Path | None, warnings: list[str]) -> tuple[MeshCertificate, ...]:
    """Return the certificates of those that an authority has enrolled.

    Their documents may be lost with the memory of the node, and it serves nobody without one.
    """
    if authority is None:
        return ()
    invitations = MeshFolder(authority).invitations
    try:
        uses = invitations.uses()
    except StoreError as exc:
        raise ConfigError(str(exc)) from exc
    warnings += [f"{fault}; it is skipped" for fault in invitations.faults]
    return tuple(use.certificate for use in uses if use.certificate is not None)


def _check_roots(choices: Choices, roots: frozenset[bytes]) -> None:
    """Raise ConfigError for a root that each member of the formation can sign as (D-35)."""
    if choices.secret_file is None:
        return
    derived = public_key_of(authority_key_of_secret(_read_secret(choices.secret_file, [])))
    # CT-038
    if derived in roots:
        raise ConfigError(
            f"{choices.roots_file}: {derived.hex()} is derived from the secret of the formation, "
            "so that each member can issue certificates: make a key of its own for the authority"
        )


def _read_text(path: Path) -> str:
    """Read a file of ASCII that may be an endless one. Raises OSError, UnicodeDecodeError."""
    with path.open("rb") as file:
        content = file.read(SECRET_FILE_MAX + 1)
    if len(content) > SECRET_FILE_MAX:
        raise ConfigError(f"{path} has more than {SECRET_FILE_MAX} bytes: it is no secret")
    return content.decode("ascii")


def _read_secret(path: Path, warnings: list[str], *, is_endpoint_key: bool = False) -> bytes:
    """Return the secret in a file in base64; warn of one that others may read, or that is short.

    A key of an endpoint that others may read is refused: nobody has to share it.
    """
    try:
        secret = read_secret(_read_text(path))
        mode = path.stat().st_mode
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except (BadSecret, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} does not contain a secret in base64") from exc
    if not secret:
        raise ConfigError(f"{path} contains no secret")
    # A named pipe or a descriptor of the shell has a mode that says nothing.
    if stat.S_ISREG(mode) and mode & OTHERS:
        problem = f"{path} has mode {stat.S_IMODE(mode):04o}, so that others can use "
        # EN-028
        if is_endpoint_key:
            raise ConfigError(f"{problem}the key of the endpoint: chmod 600, or make a new one")
        warnings.append(f"{problem}the secret: chmod 600")
    if len(secret) < SECRET_MIN:
        warnings.append(
            f"{path} has {len(secret)} bytes of secret, which can be guessed: `meshwire-node "
            f"keygen` makes {SECRET_MIN}"
        )
    return secret


def _endpoint_key(choices: Choices, warnings: list[str]) -> bytes | None:
    """Read the key of the endpoint from its file, or derive it where the operator wants that."""
    path = choices.endpoint_key_file
    if choices.derived_endpoint_key is not None:
        return _derived_key(choices, choices.derived_endpoint_key, warnings)
    if path is None:
        return None
    return read_key_file(path, warnings)


def read_key_file(path: Path, warnings: list[str] | None = None) -> bytes:
    """Return the key in a file of its owner alone; raises ConfigError."""
    key = _read_secret(path, [] if warnings is None else warnings, is_endpoint_key=True)
    if len(key) != ENDPOINT_ID:
        raise ConfigError(f"{path} has {len(key)} bytes, and an endpoint key has {ENDPOINT_ID}")
    return key


def _derived_key(choices: Choices, recipe: str, warnings: list[str]) -> bytes:
    """Derive the key of the endpoint as a deployed peer does, in the lab profile alone."""
    kind, _, name = recipe.partition(":")
    # EN-027
    if not choices.lab or choices.endpoint_key_file is not None:
        raise ConfigError("--derived-endpoint-key needs --lab, and no --endpoint-key-file")
    warnings.append("the key of the endpoint is derived: who knows what from can pose as this node")
    if kind == "host" and choices.secret_file is not None:
        return endpoint_key_of_host(_read_secret(choices.secret_file, []), name)
    if kind == "text":
        return endpoint_key_of_text(name)
    raise ConfigError(
        "--derived-endpoint-key is host:NAME, with --formation-secret-file, or text:TEXT"
    )


def endpoint_id_of(key: bytes) -> bytes:
    """Return the endpoint id of a key: its Ed25519 public key."""
    return public_key_of(key)


def _key(choices: Choices, warnings: list[str]) -> FormationKey | None:
    """Derive the key of the formation from the secret in its file; the secret is never shown."""
    if choices.formation_id is None:
        return None
    try:
        size = len(choices.formation_id.encode())
    except UnicodeEncodeError as exc:
        raise ConfigError("--formation-id is not UTF-8") from exc
    if size > FORMATION_ID_MAX:
        raise ConfigError(f"--formation-id has more than {FORMATION_ID_MAX} bytes")
    path = choices.secret_file
    if path is None:
        raise ConfigError(
            "--formation-id needs --formation-secret-file FILE or MESHWIRE_FORMATION_FILE"
        )
    return FormationKey.derive(choices.formation_id, _read_secret(path, warnings))
