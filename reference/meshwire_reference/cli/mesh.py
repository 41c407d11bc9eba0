"""`meshwire-node mesh` and `enroll`: a mesh is begun, nodes are invited, enrolled and revoked.

Every file is made for its owner alone and never written over. Nothing secret is printed.
"""

import asyncio
import json
import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from meshwire_reference.cli.operate import connected, fail_request
from meshwire_reference.cli.run import fail
from meshwire_reference.control.client import ControlClient, RequestRefused
from meshwire_reference.control.messages import ENDPOINT, Put, Status
from meshwire_reference.core.enrollment.applicant import Application, Membership, NotEnrolled
from meshwire_reference.core.enrollment.authority import AUTHORITY
from meshwire_reference.core.identity import public_key_of
from meshwire_reference.core.trust.signing import Grant, issue_certificate, issue_revocation
from meshwire_reference.node.applying import enroll as ask
from meshwire_reference.node.clocks import NS_PER_MS
from meshwire_reference.node.membership import revocation_fields
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.member_folder import MemberFolder
from meshwire_reference.store.mesh_folder import MeshFolder
from meshwire_reference.store.token_file import Terms, Token, read_token
from meshwire_reference.store.token_file import invite as give_out
from meshwire_reference.transport.base import TransportError
from meshwire_reference.transport.registry import check_dialled
from meshwire_reference.wire.certificates import MeshCredentials, MeshRevocation
from meshwire_reference.wire.errors import Unencodable
from meshwire_spec.numbers import REVOCATIONS, SECRET, U8_MAX, U16_MAX, MeshPolicy, Tier

HOUR_MS: Final = 3600 * 1000
DAY_MS: Final = 24 * HOUR_MS
LONGEST_DAYS: Final = 36_525
"""Longest term of a token and of a certificate that ends: 100 years."""
POLICIES: Final = {one.name.lower(): one for one in MeshPolicy}
TIERS: Final = {one.name.lower(): one for one in Tier}
Word = TypeVar("Word")
WAIT_S: Final = 30.0
"""Seconds that a node waits for the response, unless its user sets others."""

mesh_app = typer.Typer(
    name="mesh", no_args_is_help=True, help="Begin a mesh, invite nodes to it, and revoke them."
)

MeshName = Annotated[str, typer.Argument(help="Name of the mesh.", show_default=False)]
NewFolder = Annotated[
    Path, typer.Option(help="New folder for what the authority of the mesh needs.")
]
PolicyName = Annotated[
    str,
    typer.Option(
        metavar="|".join(POLICIES),
        help="Policy that genesis and credentials carry, and that no node acts on.",
    ),
]
RevokedNode = Annotated[
    str,
    typer.Argument(
        help="Endpoint id, 64 hex digits, or the name under which a node has enrolled.",
        show_default=False,
    ),
]
Passing = Annotated[
    Path | None,
    typer.Option(
        help="Control socket of a running member, which passes the revocation on at once."
    ),
]
Folder = Annotated[Path, typer.Option(help="Folder of the mesh, as `mesh create` makes it.")]
AuthorityAddress = Annotated[
    str,
    typer.Argument(
        help="Address of the authority, such as quic://HOST:PORT; the endpoint that has to "
        "answer there is that of the token, unless it names one.",
        show_default=False,
    ),
]
TokenFile = Annotated[Path, typer.Option(help="File of `mesh invite` with the token.")]
MemberPath = Annotated[
    Path, typer.Option(help="Folder for the key, certificate and secret of this node.")
]
NodeName = Annotated[str, typer.Option(help="Name of the node in its certificate.")]
TierName = Annotated[
    str, typer.Option(metavar="|".join(TIERS), help="Rank of the node in its certificate.")
]
WaitOfUser = Annotated[float, typer.Option(help="How long the response may take, in seconds.")]
Lab = Annotated[
    bool, typer.Option("--lab", help="Allow tcp:// off loopback, which proves no endpoint id.")
]


@mesh_app.command("create")
def create(
    name: MeshName,
    folder: NewFolder,
    node_id: Annotated[
        str, typer.Option(help="Name of the authority's own node in its certificate.")
    ] = "authority",
    policy: PolicyName = "controlled",
) -> None:
    """Begin a mesh: its genesis, credentials and formation secret, and its first member.

    A reader of the folder can enroll and revoke. Prints the mesh id, the public key of the
    authority and the endpoint id of its node as JSON.

    Example: meshwire-node mesh create alpha --folder mesh
    """
    _check_name(name, "the name of a mesh", U16_MAX)
    _check_name(node_id, "--node-id", U8_MAX)
    now_ms = _now_ms()
    try:
        mesh = MeshFolder(folder)
        genesis = mesh.create(
            name, _word(policy, POLICIES, "--policy"), secrets.token_bytes, now_ms
        )
        member, keys = MemberFolder(folder), mesh.keys()
        endpoint_id = public_key_of(member.prepare(secrets.token_bytes(SECRET)))
        grant = Grant(endpoint_id, keys.mesh_id, node_id, Tier.ENTERPRISE, AUTHORITY, now_ms)
        member.keep(issue_certificate(genesis.authority_secret, grant), None)
    except StoreError as exc:
        fail(str(exc))
    _show(
        mesh_id=keys.mesh_id,
        authority=public_key_of(keys.seed).hex(),
        endpoint_id=endpoint_id.hex(),
    )


@mesh_app.command("invite")
def invite(
    folder: Folder,
    token_file: Annotated[
        Path, typer.Option(help="New file for the token, which one node may enroll with.")
    ],
    node_id: Annotated[
        str | None, typer.Option(help="Name of the node; without it a node of any name.")
    ] = None,
    hours: Annotated[float, typer.Option(help="How long the token can be used, in hours.")] = 24.0,
    certificate_days: Annotated[
        float,
        typer.Option(help="How long the certificate of the node is valid, in days; 0 is for ever."),
    ] = 365.0,
) -> None:
    """Make a token with which one node can enroll, once, in a file of mode 0600.

    The folder keeps its digest alone. A node that runs as the authority knows it at once. Prints
    the file, and when the token expires.

    Example: meshwire-node mesh invite --folder mesh --token-file node-2.token
    """
    if not 0 < hours <= LONGEST_DAYS * 24:
        fail(f"--hours must be a number of hours above 0, and at most {LONGEST_DAYS * 24}")
    if not 0 <= certificate_days <= LONGEST_DAYS:
        fail(f"--certificate-days must be a number of days, 0 for ever, at most {LONGEST_DAYS}")
    if node_id is not None:
        _check_name(node_id, "--node-id", U8_MAX)
    terms = Terms(round(hours * HOUR_MS), round(certificate_days * DAY_MS), node_id)
    try:
        mesh = MeshFolder(folder)
        expires_at = give_out(mesh, token_file, terms, secrets.token_bytes, _now_ms())
        _warn_of(mesh)
    except StoreError as exc:
        fail(str(exc))
    _show(token_file=str(token_file), expires_at_ms=expires_at)


@mesh_app.command("revoke")
def revoke(
    node: RevokedNode,
    folder: Folder,
    reason: Annotated[str, typer.Option(help="Why, for people; every member can read it.")] = "",
    control: Passing = None,
) -> None:
    """Revoke a node for good: no member serves it any more.

    The signed revocation goes into the folder of the mesh, from which `run --member` publishes it
    when it starts, and with --control to a running member and from it to every other. Prints as
    JSON the endpoint id, whether it was revoked before, and whether a member passes it on now.

    Example: meshwire-node mesh revoke node-3 --folder mesh --control node-1.sock
    """
    _check_size(reason, "--reason", U8_MAX)
    mesh = MeshFolder(folder)
    try:
        keys, subject = mesh.keys(), _endpoint_of(node, mesh)
        _check_revocable(subject, mesh)
        revocation = issue_revocation(keys.seed, subject, keys.mesh_id, _now_ms(), reason)
        # Nothing is written if there is no member that could pass it on.
        with nullcontext() if control is None else _member(control, keys.mesh_id) as client:
            counts = mesh.revoke(revocation)
            if client is not None:
                _pass_on(counts, client, folder)
    except StoreError as exc:
        fail(str(exc))
    if control is None:
        sys.stderr.write(
            f"meshwire-node: warning: {subject.hex()} is revoked in {folder} alone, and passed on "
            "when a member starts with this folder, or now with --control SOCKET\n"
        )
    _show(
        revoked=subject.hex(),
        was_revoked=counts is not revocation,
        passed_on=control is not None,
    )


def _check_revocable(subject: bytes, mesh: MeshFolder) -> None:
    """Refuse what has no effect, and what would end the mesh. Raises StoreError."""
    if subject in mesh.roots():
        fail(f"{subject.hex()} is a root of {mesh.path}: a revocation has no effect on it")
    own = MemberFolder(mesh.path).certificate()
    if own is not None and own.subject == subject:
        fail(
            f"{subject.hex()} is the authority's own node, in {mesh.path}: without it nobody is "
            "enrolled any more; begin another mesh instead"
        )


@contextmanager
def _member(control: Path, mesh_id: str) -> Iterator[ControlClient]:
    """Yield a connection to a running member of a mesh."""
    with connected(control) as client:
        found = client.ask(Status(id=1))["status"].get("mesh_id")
        if found != mesh_id:
            other = f"of mesh {found}" if found else "no member of a mesh"
            fail(
                f"the node at {control} is {other}, and not of {mesh_id}: nothing is revoked; give "
                "the control socket of a node with --member"
            )
        yield client


def _pass_on(revocation: MeshRevocation, client: ControlClient, folder: Path) -> None:
    """Give a revocation to a running node, which sends it to the others."""
    document = revocation.subject.hex()
    fields = revocation_fields(revocation)
    try:
        client.ask(Put(id=2, collection=REVOCATIONS, document=document, fields=fields))
    except RequestRefused as exc:
        said = f"{document} is revoked in {folder}, but not passed on: {exc}"
        raise fail_request(said) from exc


def _endpoint_of(node: str, mesh: MeshFolder) -> bytes:
    """Return the endpoint id of a node, given by itself or by its name. Raises StoreError."""
    if re.fullmatch(ENDPOINT, node):
        return bytes.fromhex(node)
    found = {use.endpoint_id for use in mesh.invitations.uses() if use.node_id == node}
    _warn_of(mesh)
    if len(found) != 1:
        how_many = f"{len(found)} nodes have" if found else "no node has"
        raise StoreError(f"{how_many} enrolled as {node!r}: give the endpoint id, 64 hex digits")
    return found.pop()


def _warn_of(mesh: MeshFolder) -> None:
    """Print a line for each file of the folder that was skipped."""
    for fault in mesh.invitations.faults:
        sys.stderr.write(f"meshwire-node: warning: {fault}; it is skipped\n")


def enroll(
    address: AuthorityAddress,
    token_file: TokenFile,
    folder: MemberPath,
    node_id: NodeName = "",
    tier: TierName = "edge",
    wait_s: WaitOfUser = WAIT_S,
    *,
    lab: Lab = False,
) -> None:
    """Become a member of a mesh: get a certificate and the formation secret from its authority.

    The folder gets the key of the endpoint, unless it has one, and then certificate, credentials
    and formation secret. A token is spent as soon as the authority approves: if the response is
    lost, ask for another one. Prints the endpoint id and the mesh id as JSON. Exit code 1 if the
    node is not enrolled.

    Example: meshwire-node enroll quic://192.0.2.1:4720 --token-file t --folder node-2
    """
    if not 0 < wait_s < float("inf"):
        fail("--wait-s must be a number of seconds above 0")
    if node_id:
        _check_name(node_id, "--node-id", U8_MAX)
    rank = _word(tier, TIERS, "--tier")
    try:
        token, member = read_token(token_file), MemberFolder(folder)
        address = _pinned(address, token)
        check_dialled(address, lab=lab)
        with member.reserved(secrets.token_bytes(SECRET)) as seed:
            wanted = Application(seed, token.mesh_id, token.authority, token.token, node_id, rank)
            membership = asyncio.run(ask(address, wanted, _now_ms, wait_s=wait_s, lab=lab))
            _keep(member, membership, token)
    except (StoreError, TransportError) as exc:
        fail(str(exc))
    except Unencodable as exc:
        fail(f"the request cannot be written: {exc}")
    except NotEnrolled as exc:
        more = "" if exc.is_known else "; whether it is enrolled is unknown: ask for another token"
        raise fail_request(f"not enrolled: {exc}{more}") from exc
    _show(endpoint_id=public_key_of(seed).hex(), mesh_id=token.mesh_id, folder=str(folder))


def _keep(member: MemberFolder, membership: Membership, token: Token) -> None:
    """Keep what a new member has got. Raises StoreError."""
    peers = () if token.peer is None else (token.peer,)
    try:
        member.keep(membership.certificate, _credentials(membership, token), peers)
    except StoreError as exc:
        raise StoreError(f"{exc}; the token is spent: ask for another one") from exc


def _credentials(membership: Membership, token: Token) -> MeshCredentials | None:
    """Return the credentials of a new member, None without the secret of the formation."""
    secret = membership.formation_secret
    if secret is None:
        return None
    return MeshCredentials(token.mesh, token.mesh_id, secret, token.authority, token.policy)


def _pinned(address: str, token: Token) -> str:
    """Return an address with the endpoint that has to answer there, from the token if it lacks one.

    Without one any node that answers would get the token. Over the lab binding none is proven.
    """
    scheme, _, place = address.partition("://")
    if scheme not in ("quic", "iroh") or "@" in place:
        return address
    if token.peer is None:
        fail(
            f"{address} names no endpoint, so anyone could get the token: quic://ENDPOINT@HOST:PORT"
        )
    return f"{scheme}://{token.peer.subject.hex()}@{place}"


def _word(text: str, words: Mapping[str, Word], option: str) -> Word:
    if text not in words:
        fail(f"{option} is one of {', '.join(words)}, not {text!r}")
    return words[text]


def _check_name(text: str, what: str, size_max: int) -> None:
    _check_size(text, what, size_max)
    if not text:
        fail(f"{what} is empty: give it a text")
    if not text.isprintable():
        fail(f"{what} has characters that cannot be printed: {text!r}")


def _check_size(text: str, what: str, size_max: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        fail(f"{what} is not UTF-8")
    if size > size_max:
        fail(f"{what} has {size} bytes, and may have {size_max}")


def _now_ms() -> int:
    return time.time_ns() // NS_PER_MS


def _show(**facts: object) -> None:
    sys.stdout.write(f"{json.dumps(facts)}\n")
