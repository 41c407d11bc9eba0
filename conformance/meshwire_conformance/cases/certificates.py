"""Cases about nodes that demand certificates: which they take, and what a revocation ends.

A test gives the target its root over the control socket, and its user writes the documents of
certificates and revocations. Every case ends with a target that demands none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

from meshwire_conformance.cases import user
from meshwire_conformance.cases.controlled import NEEDS, hold
from meshwire_conformance.cases.planting import NOTHING
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.protocol.certificates import STANDARD, Authority, document_of
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import connect
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_spec.numbers import CERTIFICATES, REVOCATIONS, Permission, Tier
from meshwire_spec.schemas.steps import ConnectSpec

REFUSED: Final = ("certificate-required",)
MESH: Final = "3F1A90C2"
ROOT: Final = Authority(b"\x21" * 32, MESH)
FOREIGN: Final = Authority(b"\x43" * 32, MESH)
"""An authority that the target knows nothing of."""
HOUR_MS: Final = 3_600_000
NODE, OTHER = "node", "other"
"""Peers of a case: one that is certified or not, and another one."""

certificate_case = partial(
    case,
    part="certificates",
    needs=(*NEEDS, "test-control", "certificates", "binding:tcp"),
    isolation="process",
)
"""Registers a case about a target of its own that demands certificates."""
refusal_case = partial(certificate_case, level="strict", negative=True, control="MW-7300")
"""Registers a case about a peer that such a target must refuse."""


def endpoint(run: CaseRun, name: str) -> str:
    """Return the endpoint id of a peer of the case, in hex."""
    return run.own_peer(name).identity.hex()


async def certify(run: CaseRun, name: str, certificate: bytes) -> None:
    """Write the document of a peer's certificate as the user."""
    key = f"{CERTIFICATES}:{endpoint(run, name)}"
    await user.put(run, key, **document_of(certificate, "cert_data"))


async def revoke(run: CaseRun, name: str, revocation: bytes) -> None:
    """Write the document of a peer's revocation as the user."""
    key = f"{REVOCATIONS}:{endpoint(run, name)}"
    await user.put(run, key, **document_of(revocation, "revocation"))


async def settle(run: CaseRun) -> None:
    """Have the target read every document of certificates and revocations again."""
    await user.do(run, "trust", mesh_id=MESH, roots=[ROOT.key])


@asynccontextmanager
async def demanded(run: CaseRun) -> AsyncIterator[None]:
    """Have the target demand certificates of the root for a while."""
    await settle(run)
    try:
        yield
    finally:
        await user.do(run, "trust", mesh_id=MESH, roots=[])


async def is_served(run: CaseRun, name: str) -> None:
    """Fail unless a peer connects, and its read is answered."""
    await run.own_peer(name).connection()
    await run.read(Wanted(f"notes:{run.scope.names['case']}", heads=NOTHING), name)


async def still_served(run: CaseRun, name: str) -> None:
    """Fail if a read over the connection of a peer is not answered, once everything was read."""
    await settle(run)
    await run.read(Wanted(f"notes:{run.scope.names['case']}-{name}", heads=NOTHING), NODE)


async def is_refused(run: CaseRun, name: str) -> None:
    """Fail unless the connection of a peer is closed for want of a certificate."""
    await connect(run, name, ConnectSpec(handshake=False))
    await run.closed(REFUSED, name)


@certificate_case(
    "MW-7300",
    "a peer that a root has certified must be served",
    rules=("CT-001", "CT-032"),
)
async def certified(run: CaseRun) -> None:
    """A node that demands certificates serves nobody."""
    now_ms = await user.wall_ms(run)
    await certify(run, NODE, ROOT.certify(endpoint(run, NODE), now_ms - HOUR_MS))
    async with demanded(run):
        await is_served(run, NODE)


@refusal_case(
    "MW-7301",
    "a peer without a certificate must be refused, before any handshake",
    rules=("CT-032",),
)
async def without(run: CaseRun) -> None:
    """Certificates are demanded in name alone."""
    async with demanded(run):
        await is_refused(run, NODE)


async def is_refused_with(run: CaseRun, now_ms: int, **changes: Any) -> None:
    """Fail unless a peer is refused whose certificate differs so from one that counts."""
    members = {"issued_at": str(now_ms - HOUR_MS), **changes}
    await certify(run, NODE, ROOT.certify(endpoint(run, NODE), now_ms, **members))
    async with demanded(run):
        await is_refused(run, NODE)


@refusal_case(
    "MW-7302", "a peer whose certificate has ended must be refused", rules=("CT-014", "CT-032")
)
async def ended(run: CaseRun) -> None:
    """A certificate never ends, or ends a moment late."""
    now_ms = await user.wall_ms(run)
    await is_refused_with(run, now_ms, expires_at=str(now_ms))


@refusal_case(
    "MW-7303", "a peer whose certificate has not begun must be refused", rules=("CT-013", "CT-032")
)
async def not_begun(run: CaseRun) -> None:
    """The time of issue is not looked at."""
    now_ms = await user.wall_ms(run)
    await is_refused_with(run, now_ms, issued_at=str(now_ms + HOUR_MS))


@refusal_case(
    "MW-7304",
    "a peer with the certificate of another mesh must be refused",
    rules=("CT-012", "CT-032"),
)
async def of_another_mesh(run: CaseRun) -> None:
    """One authority for two meshes lets the members of each into the other."""
    await is_refused_with(run, await user.wall_ms(run), mesh_id="3F1A90C3")


@refusal_case(
    "MW-7305",
    "a peer whose document has the certificate of another endpoint must be refused",
    rules=("CT-011", "CT-032", "CT-035"),
)
async def of_another_endpoint(run: CaseRun) -> None:
    """A certificate counts for the peer under whose name it lies."""
    await is_refused_with(run, await user.wall_ms(run), subject=endpoint(run, OTHER))


@refusal_case(
    "MW-7306",
    "a peer whose certificate was changed after it was signed must be refused",
    rules=("CT-010", "CT-032"),
)
async def altered(run: CaseRun) -> None:
    """Signatures are not verified."""
    now_ms = await user.wall_ms(run)
    certificate = ROOT.certify(endpoint(run, NODE), now_ms - HOUR_MS)
    await certify(run, NODE, certificate.replace(b"node-7", b"node-8"))
    async with demanded(run):
        await is_refused(run, NODE)


@refusal_case(
    "MW-7307",
    "a root that is not configured must be refused, and whom it has certified",
    rules=("CT-016", "CT-032"),
)
async def foreign(run: CaseRun) -> None:
    """Who certifies itself is a root, so that one written document gives full authority."""
    now_ms = await user.wall_ms(run)
    root = f"{CERTIFICATES}:{FOREIGN.key}"
    certificate = FOREIGN.certify(FOREIGN.key, now_ms - HOUR_MS, permissions=0x87)
    await user.put(run, root, **document_of(certificate, "cert_data"))
    await certify(run, NODE, FOREIGN.certify(endpoint(run, NODE), now_ms - HOUR_MS))
    async with demanded(run):
        await is_refused(run, NODE)


@refusal_case(
    "MW-7318",
    "a peer whose certificate lies under its endpoint id in capitals must be refused",
    rules=("CT-035", "CT-032"),
)
async def in_capitals(run: CaseRun) -> None:
    """Two documents are of one subject, so that neither replaces what the other says."""
    now_ms = await user.wall_ms(run)
    subject = endpoint(run, NODE)
    certificate = ROOT.certify(subject, now_ms - HOUR_MS)
    key = f"{CERTIFICATES}:{subject.upper()}"
    await user.put(run, key, **document_of(certificate, "cert_data"))
    async with demanded(run):
        await is_refused(run, NODE)


# --- while a connection is open ------------------------------------------------------------------


@certificate_case(
    "MW-7308",
    "a connection must be closed when the certificate of its peer ends",
    rules=("CT-033", "CT-014"),
    level="strict",
)
async def ended_since(run: CaseRun) -> None:
    """A certificate is verified once, when its peer connects."""
    now_ms = await user.wall_ms(run)
    end_ms = now_ms + HOUR_MS
    certificate = ROOT.certify(endpoint(run, NODE), now_ms - HOUR_MS, expires_at=str(end_ms))
    await certify(run, NODE, certificate)
    async with demanded(run):
        await is_served(run, NODE)
        await user.advance(run, HOUR_MS / 1000)
        await run.closed(REFUSED, NODE)
        await is_refused(run, NODE)


@certificate_case(
    "MW-7309",
    "a connection must be closed when its peer is revoked, and the peer be refused from then on",
    rules=("CT-033", "CT-015", "CT-002", "CT-022"),
    level="strict",
)
async def revoked_since(run: CaseRun) -> None:
    """A revocation takes effect at the next start."""
    now_ms = await user.wall_ms(run)
    for name in (NODE, OTHER):
        await certify(run, name, ROOT.certify(endpoint(run, name), now_ms - HOUR_MS))
    async with demanded(run):
        await is_served(run, NODE)
        await is_served(run, OTHER)
        await revoke(run, NODE, ROOT.revoke(endpoint(run, NODE), now_ms))
        await run.closed(REFUSED, NODE)
        await is_refused(run, NODE)
        await run.read(Wanted(f"notes:{run.scope.names['case']}-2", heads=NOTHING), OTHER)


@certificate_case(
    "MW-7310",
    "a revocation that no root has signed must be ignored",
    rules=("CT-022", "CT-035"),
    level="strict",
)
async def forged_revocations(run: CaseRun) -> None:
    """A document that any peer may write revokes."""
    now_ms = await user.wall_ms(run)
    subject = endpoint(run, NODE)
    await certify(run, NODE, ROOT.certify(subject, now_ms - HOUR_MS))
    altered = ROOT.revoke(subject, now_ms).replace(b"lost", b"gone")
    forged = (
        FOREIGN.revoke(subject, now_ms),
        altered,
        ROOT.revoke(subject, now_ms, mesh_id="3F1A90C3"),
        ROOT.revoke(endpoint(run, OTHER), now_ms),
    )
    async with demanded(run):
        await is_served(run, NODE)
        key = f"{REVOCATIONS}:{subject}"
        await user.put(run, key, subject=subject, reason="lost", timestamp_ms=now_ms)
        await still_served(run, "unsigned")
        for number, one in enumerate(forged):
            await revoke(run, NODE, one)
            await still_served(run, str(number))


@certificate_case(
    "MW-7311",
    "a revocation must outlast what replaces or deletes its document",
    rules=("CT-031", "CT-034"),
    level="strict",
)
async def lasting(run: CaseRun) -> None:
    """Who may write documents takes a revocation back."""
    now_ms = await user.wall_ms(run)
    subject = endpoint(run, NODE)
    key = f"{REVOCATIONS}:{subject}"
    await certify(run, NODE, ROOT.certify(subject, now_ms - HOUR_MS))
    revocation = ROOT.revoke(subject, now_ms)
    await revoke(run, NODE, revocation)
    async with demanded(run):
        await is_refused(run, NODE)
        for other in (None, "", "AAAA"):
            await user.put(run, key, revocation=other)
            await settle(run)
            await is_refused(run, NODE)
            hold(await user.fields_of(run, key) or {}, **document_of(revocation, "revocation"))
        await user.delete(run, key)
        await settle(run)
        await is_refused(run, NODE)


# --- delegates -----------------------------------------------------------------------------------

STANDARD_HELPER: Final = STANDARD | int(Permission.ENROLL)


async def delegate(run: CaseRun, **changes: Any) -> Authority:
    """Certify a peer that may enroll others; return it as an authority."""
    helper = replace(ROOT, seed=b"\x65" * 32)
    now_ms = await user.wall_ms(run)
    members = {"tier": int(Tier.REGIONAL), "permissions": STANDARD_HELPER, **changes}
    certificate = ROOT.certify(helper.key, now_ms - HOUR_MS, **members)
    key = f"{CERTIFICATES}:{helper.key}"
    await user.put(run, key, **document_of(certificate, "cert_data"))
    return helper


@certificate_case(
    "MW-7312",
    "a peer whom a delegate of a root has certified must be served until the delegate is revoked",
    rules=("CT-018", "CT-019", "CT-033"),
    level="strict",
)
async def delegated(run: CaseRun) -> None:
    """What a node has certified goes on after it was revoked."""
    helper = await delegate(run)
    now_ms = await user.wall_ms(run)
    await certify(run, NODE, helper.certify(endpoint(run, NODE), now_ms - HOUR_MS))
    async with demanded(run):
        await is_served(run, NODE)
        revocation = ROOT.revoke(helper.key, now_ms)
        key = f"{REVOCATIONS}:{helper.key}"
        await user.put(run, key, **document_of(revocation, "revocation"))
        await run.closed(REFUSED, NODE)


@certificate_case(
    "MW-7317",
    "a connection must be closed when the certificate of the issuer of its peer ends",
    rules=("CT-033", "CT-018"),
    level="strict",
)
async def issuer_ended_since(run: CaseRun) -> None:
    """The end of the peer's own certificate is waited for, and of no other."""
    end_ms = await user.wall_ms(run) + HOUR_MS
    helper = await delegate(run, expires_at=str(end_ms))
    await certify(run, NODE, helper.certify(endpoint(run, NODE), end_ms - 2 * HOUR_MS))
    async with demanded(run):
        await is_served(run, NODE)
        await user.advance(run, HOUR_MS / 1000)
        await run.closed(REFUSED, NODE)
        await is_refused(run, NODE)


async def is_refused_of(run: CaseRun, helper: dict[str, Any] | None = None, **changes: Any) -> None:
    """Fail unless a peer is refused whose certificate a delegate has issued.

    `helper` is what the certificate of the delegate says otherwise, `changes` that of the peer.
    """
    issuer = await delegate(run, **(helper or {}))
    now_ms = await user.wall_ms(run)
    await certify(run, NODE, issuer.certify(endpoint(run, NODE), now_ms - HOUR_MS, **changes))
    async with demanded(run):
        await is_refused(run, NODE)


@refusal_case(
    "MW-7313", "a peer whose issuer may not enroll must be refused", rules=("CT-019", "CT-032")
)
async def of_no_delegate(run: CaseRun) -> None:
    """A peer that a root has certified issues certificates."""
    await is_refused_of(run, {"permissions": STANDARD})


@refusal_case(
    "MW-7314",
    "a peer to which a delegate has given the right to enroll must be refused",
    rules=("CT-020", "CT-032"),
)
async def given_too_much(run: CaseRun) -> None:
    """A holder passes on what only a root may give."""
    await is_refused_of(run, permissions=STANDARD_HELPER)


@refusal_case(
    "MW-7315",
    "a peer that a delegate has certified above its own tier must be refused",
    rules=("CT-021", "CT-032"),
)
async def above_its_issuer(run: CaseRun) -> None:
    """A holder passes on more than it has."""
    await is_refused_of(run, {"tier": int(Tier.EDGE)})


@refusal_case(
    "MW-7316",
    "a peer at the end of a chain of three certificates must be refused",
    rules=("CT-017", "CT-032"),
)
async def too_deep(run: CaseRun) -> None:
    """A chain of certificates has no bound."""
    helper = await delegate(run)
    now_ms = await user.wall_ms(run)
    second = replace(ROOT, seed=b"\x76" * 32)
    certificate = helper.certify(second.key, now_ms - HOUR_MS)
    key = f"{CERTIFICATES}:{second.key}"
    await user.put(run, key, **document_of(certificate, "cert_data"))
    await certify(run, NODE, second.certify(endpoint(run, NODE), now_ms - HOUR_MS))
    async with demanded(run):
        await is_refused(run, NODE)
