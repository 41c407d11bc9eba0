"""Nodes that demand certificates, over QUIC, which proves endpoint ids, and across a restart."""

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest

from meshwire_reference.core.document_calls import DELETION_MARKS, Edit, Fields, Listed
from meshwire_reference.core.identity import public_key_of
from meshwire_reference.core.inputs import Deletion
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.core.state.policy import ANYONE, PUBLISHED
from meshwire_reference.core.trust.signing import Grant, issue_certificate, issue_revocation
from meshwire_reference.core.trust.store import TrustSettings
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.node.membership import UnfitCertificate
from meshwire_reference.testing.memory_transport import offer_memory
from meshwire_reference.testing.peer import Peer
from meshwire_reference.testing.serving import ADDRESS, join, serving
from meshwire_reference.transport.base import TransportOptions
from meshwire_reference.transport.registry import dial
from meshwire_reference.wire.certificates import (
    MeshCertificate,
    MeshRevocation,
    encode_mesh_certificate,
    encode_mesh_revocation,
)
from meshwire_spec.numbers import CLOSED_COLLECTIONS, REASONS, Tier

pytestmark = [pytest.mark.process]

MESH = "3F1A90C2"
AUTHORITY = b"\x21" * 32
ONE, TWO, THREE = b"\x31" * 32, b"\x32" * 32, b"\x33" * 32
"""Endpoint keys."""
REFUSED = REASONS["certificate-required"].code


def issued(key: bytes) -> MeshCertificate:
    """Return the certificate of the node with this endpoint key."""
    return of_endpoint(public_key_of(key))


def of_endpoint(endpoint_id: bytes) -> MeshCertificate:
    """Return the certificate of an endpoint id."""
    return issue_certificate(AUTHORITY, Grant(endpoint_id, MESH, "node-7", Tier.EDGE, 0x03, 1))


def config(
    address: str,
    key: bytes | None,
    certificate: MeshCertificate | None,
    *held: MeshCertificate,
    data: Path | None = None,
    revocations: tuple[MeshRevocation, ...] = (),
) -> Config:
    """Return the configuration of a node that demands certificates of the authority."""
    roots = frozenset((public_key_of(AUTHORITY),))
    trust = TrustSettings(MESH, roots, certificates=held, revocations=revocations)
    # As `run --member` has it: signatures say whose these documents are.
    collections = replace(PUBLISHED, senders=dict.fromkeys(CLOSED_COLLECTIONS, ANYONE))
    settings = Settings(Dialect.OPEN, heartbeat_s=0, trust=trust, collections=collections)
    return Config((address,), settings, data=data, endpoint_key=key, certificate=certificate)


async def has_ended(peer: Peer) -> int:
    """Wait until the connection of a peer is closed; return the code."""
    await peer._reading
    assert peer.closed is not None
    return peer.closed.code


async def fields(node: Node, key: str) -> dict[str, object]:
    """Return the members of a document with their values."""
    found = await node.user.operate(Fields(key))
    assert isinstance(found, Listed)
    return {name: value.value for name, value in (found.fields or {}).items()}


@pytest.mark.socket
def test_two_nodes_that_certify_each_other_meet_until_one_is_revoked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """CT-032, CT-033: by the keys that TLS proves; a third one is refused, with an event."""
    pytest.importorskip("aioquic")
    address = "quic://127.0.0.1:0"
    one, two = issued(ONE), issued(TWO)

    async def whole() -> None:
        nodes = Node(config(address, ONE, one, two)), Node(config(address, TWO, two, one))
        first, second = nodes
        async with serving(first), serving(second):
            second.network.add(first.addresses[0], lab=False)
            await first.network.changed.until(lambda: first.peers)
            stranger = Peer(await dial(first.addresses[0], TransportOptions(b"\x07" * 32)))
            assert await has_ended(stranger) == REFUSED
            assert [peer.peer_id for peer in first.peers] == [two.subject]
            revocation = issue_revocation(AUTHORITY, two.subject, MESH, 1, "lost")
            text = base64.b64encode(encode_mesh_revocation(revocation)).decode()
            key = f"revocations:{two.subject.hex()}"
            await first.user.operate(Edit(key, {"revocation": text}, as_json=True))
            await first.network.changed.until(lambda: not first.peers)

    asyncio.run(whole())
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    faults = [line["fault"] for line in lines if line["event"] == "not-certified"]
    assert faults[0] == "no-certificate"
    assert "revoked" in faults


@pytest.mark.socket
def test_a_revocation_of_a_configuration_reaches_the_peers_of_its_node() -> None:
    """CT-039: one of them is connected with the revoked node until then."""
    pytest.importorskip("aioquic")
    address = "quic://127.0.0.1:0"
    one, two, three = issued(ONE), issued(TWO), issued(THREE)
    revoked = issue_revocation(AUTHORITY, three.subject, MESH, 1, "lost")
    key = f"revocations:{three.subject.hex()}"

    async def whole() -> None:
        first = Node(config(address, ONE, one, two, three, revocations=(revoked,)))
        second, third = (
            Node(config(address, TWO, two, one, three)),
            Node(config(address, THREE, three, one, two)),
        )
        async with serving(second), serving(third):
            third.network.add(second.addresses[0], lab=False)
            await second.network.changed.until(lambda: second.peers)
            async with serving(first):
                # Before the node has met anyone.
                assert (await fields(first, key))["reason"] == "lost"
                first.network.add(second.addresses[0], lab=False)
                await second.network.changed.until(
                    lambda: [peer.peer_id for peer in second.peers] == [one.subject]
                )
                assert await fields(second, key) == await fields(first, key)

    asyncio.run(whole())


def test_a_revocation_of_a_configuration_is_published_once(tmp_path: Path) -> None:
    """And no document is written for one that does not count."""
    offer_memory()
    subjects = bytes((7,)) * 32, bytes((8,)) * 32
    counts = issue_revocation(AUTHORITY, subjects[0], MESH, 1)
    other = issue_revocation(AUTHORITY, subjects[1], "other", 1)
    keys = [f"revocations:{subject.hex()}" for subject in subjects]

    async def held() -> list[tuple[bytes, ...]]:
        settings = config(ADDRESS, None, None, data=tmp_path, revocations=(counts, other))
        node = Node(settings)
        async with serving(node):
            found = [await node.user.operate(Fields(key)) for key in keys]
            assert all(isinstance(one, Listed) for one in found)
            return [one.heads for one in found if isinstance(one, Listed)]

    first, second = asyncio.run(held()), asyncio.run(held())
    assert first == second
    assert [bool(heads) for heads in first] == [True, False]


def test_a_revocation_outlasts_a_restart_and_the_deletion_of_its_document(tmp_path: Path) -> None:
    """CT-031, CT-034: a peer that was revoked is refused by the node that starts again."""
    offer_memory()
    peer_id = bytes((7,)) * 32
    key = f"revocations:{peer_id.hex()}"
    revocation = encode_mesh_revocation(issue_revocation(AUTHORITY, peer_id, MESH, 1))
    text = base64.b64encode(revocation).decode()

    async def life(*, revokes: bool) -> int | None:
        node = Node(config(ADDRESS, None, None, of_endpoint(peer_id), data=tmp_path))
        async with serving(node):
            if revokes:
                peer = await join(7)
                await node.network.changed.until(lambda: node.peers)
                await node.user.operate(Edit(key, {"revocation": text}, as_json=True))
                code = await has_ended(peer)
                await node.user.operate(Deletion(key, "operator"))
                await node.user.operate(Edit(key, {"revocation": "x"}, DELETION_MARKS))
                found = ""
                while found != text:
                    held = await node.user.operate(Fields(key))
                    assert isinstance(held, Listed)
                    found = str((held.fields or {})["revocation"].value)
                return code
            return await has_ended(await join(7))

    assert asyncio.run(life(revokes=True)) == REFUSED
    assert asyncio.run(life(revokes=False)) == REFUSED


def test_a_node_publishes_its_certificate_once(tmp_path: Path) -> None:
    """In the document of its endpoint id, with the members that deployed peers write."""
    offer_memory()
    own = issued(ONE)
    key = f"certificates:{own.subject.hex()}"

    async def held() -> Listed:
        node = Node(config(ADDRESS, ONE, own, own, data=tmp_path))
        async with serving(node):
            found = await node.user.operate(Fields(key))
            assert isinstance(found, Listed)
            return found

    first, second = asyncio.run(held()), asyncio.run(held())
    assert first.heads == second.heads
    assert first.fields is not None
    values = {name: value.value for name, value in first.fields.items()}
    del values["written_at_ms"]
    assert values == {
        "cert_data": base64.b64encode(encode_mesh_certificate(own)).decode(),
        "node_id": "node-7",
        "tier": 3,
        "subject": own.subject.hex(),
        "issuer": own.issuer.hex(),
        "permissions": 3,
        "expires_at_ms": 0,
    }


def test_certificates_of_a_configuration_that_do_not_count_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By an event for each when the node starts, which time may have brought about."""
    offer_memory()
    own, peer = issued(ONE), issued(TWO)
    grant = Grant(bytes((9,)) * 32, MESH, "node-9", Tier.EDGE, 0x03, 1, 2)
    expired = issue_certificate(AUTHORITY, grant)

    async def whole() -> None:
        async with serving(Node(config(ADDRESS, ONE, own, own, peer, expired))):
            pass

    asyncio.run(whole())
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    ignored = [
        (line["key"], line["reason"]) for line in lines if line["event"] == "credential-ignored"
    ]
    assert ignored == [(f"certificates:{expired.subject.hex()}", "expired")]


def test_a_node_does_not_start_with_the_certificate_of_another() -> None:
    """CT-037: it would be refused by every peer that demands certificates."""
    offer_memory()
    node = Node(config(ADDRESS, ONE, issued(TWO), issued(TWO)))

    async def whole() -> None:
        try:
            await node.open()
        finally:
            await node.close()

    with pytest.raises(UnfitCertificate, match="wrong-subject"):
        asyncio.run(whole())
