"""The documents of certificates and revocations: read, and passed on to what the node trusts.

A change is read once it is durable, in the order in which the documents have changed. A document of
`certificates` has a certificate in its member `cert_data`, one of `revocations` has the signed
revocation in its member `revocation`, both in base64. The fields beside them are for readers that
are not nodes: nothing here depends on them, and nothing on marks of a deletion (D-39).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Final

from meshwire_reference.core.document_calls import Edit, Fields, Listed, Scalar, Value
from meshwire_reference.core.inputs import CredentialRead, Input
from meshwire_reference.core.trust.store import TrustStore
from meshwire_reference.core.trust.verification import Trust, verify_certificate
from meshwire_reference.node.local import LocalUser
from meshwire_reference.wire.certificates import (
    MeshCertificate,
    MeshRevocation,
    decode_mesh_revocation,
    encode_mesh_certificate,
    encode_mesh_revocation,
)
from meshwire_spec.numbers import CERTIFICATES, MESH_CERTIFICATE_MAX, REVOCATIONS

MEMBERS: Final = {CERTIFICATES: "cert_data", REVOCATIONS: "revocation"}
"""The member of a document of each collection that counts."""
TEXT_MAX: Final = 4 * (MESH_CERTIFICATE_MAX // 3 + 1)
"""Characters of the largest certificate in base64; a revocation is smaller."""


class UnfitCertificate(Exception):
    """The node cannot start with this certificate; the text is one line for the operator."""


def check_own(certificate: MeshCertificate, trust: Trust, endpoint_id: bytes, now_ms: int) -> None:
    """Raise UnfitCertificate unless a certificate certifies this node; `now_ms` is since 1970."""
    # CT-037
    fault = verify_certificate(certificate, trust, endpoint_id, now_ms)
    if fault is not None:
        raise UnfitCertificate(
            f"the certificate of this node does not count for its endpoint id "
            f"{endpoint_id.hex()}: {fault}"
        )


def ignored_certificates(trust: TrustStore, now_ms: int) -> Iterator[tuple[str, str]]:
    """Yield what does not count now of the certificates of the configuration, and why not.

    Each by the key of the document that its subject has; `now_ms` is since 1970.
    """
    for one in trust.settings.certificates:
        fault = verify_certificate(one, trust.trust, one.subject, now_ms)
        if fault is not None:
            yield f"{CERTIFICATES}:{one.subject.hex()}", fault


class CredentialDocuments:
    """Follows the documents of both collections: `begin` before the node is online, then `run`."""

    def __init__(
        self,
        user: LocalUser,
        feed: Callable[[Input], None],
        trust: Callable[[], TrustStore | None],
    ) -> None:
        self._user = user
        self._feed = feed
        self._trust = trust
        self._changed: dict[str, None] = {}
        self._news = asyncio.Event()
        self._reading = asyncio.Lock()
        user.observe(self.note)

    def note(self, key: str) -> None:
        """Note that a document has changed; never waits."""
        if key.partition(":")[0] in MEMBERS:
            self._changed[key] = None
            self._news.set()

    def note_all(self, keys: tuple[str, ...]) -> None:
        """Note documents that have to be read, whether they have changed or not."""
        for key in keys:
            self.note(key)

    async def begin(self, keys: tuple[str, ...]) -> None:
        """Read the documents of these keys: who is revoked is not served after a start."""
        self.note_all(keys)
        await self._read_changed()

    async def run(self) -> None:
        """Read every document that changes, without end."""
        while True:
            await self._news.wait()
            await self._read_changed()

    async def publish(self, certificate: MeshCertificate, now_ms: int) -> None:
        """Write the certificate of this node to its document, unless it is there."""
        key = f"{CERTIFICATES}:{certificate.subject.hex()}"
        text = base64.b64encode(encode_mesh_certificate(certificate)).decode()
        fields = await self._fields_of(key)
        if fields is not None and text_in(key, fields) == text:
            return
        written: dict[str, Scalar | Value] = {
            "cert_data": text,
            "node_id": certificate.node_id,
            "tier": int(certificate.tier),
            "subject": certificate.subject.hex(),
            "issuer": certificate.issuer.hex(),
            "permissions": certificate.permissions,
            "expires_at_ms": certificate.expires_at,
            "written_at_ms": now_ms,
        }
        await self._user.operate(Edit(key, written, as_json=True))

    async def publish_revocations(self) -> None:
        """Write each revocation that counts to its document, unless that has one that counts."""
        trust = self._trust()
        if trust is None:
            return
        # CT-039
        for subject in tuple(trust.trust.revoked):
            key = f"{REVOCATIONS}:{subject.hex()}"
            fields = await self._fields_of(key)
            if fields is not None:
                await self._write_back(trust, key, decoded(text_in(key, fields)))

    async def _read_changed(self) -> None:
        # `begin` returns after what `run` is reading too, and no document is read twice at once.
        async with self._reading:
            while self._changed:
                key = next(iter(self._changed))
                # First, since it may change again while it is read.
                del self._changed[key]
                await self._read(key)
            self._news.clear()

    async def _read(self, key: str) -> None:
        """Pass on what a document says, and write a revocation back that it has lost."""
        trust = self._trust()
        fields = None if trust is None else await self._fields_of(key)
        if trust is None or fields is None:
            return
        content = decoded(text_in(key, fields))
        self._feed(CredentialRead(key, content))
        await self._write_back(trust, key, content)

    async def _write_back(self, trust: TrustStore, key: str, content: bytes | None) -> None:
        """Write a revocation that counts to its document, which has `content` in its place."""
        kept = trust.lost_revocation(key, content)
        if kept is not None:
            # CT-034
            fields = revocation_fields(decode_mesh_revocation(kept))
            await self._user.operate(Edit(key, fields, as_json=True))

    async def _fields_of(self, key: str) -> dict[str, Value] | None:
        """Return the fields of a document, none if there is none; None if it cannot be read."""
        result = await self._user.operate(Fields(key))
        return result.fields or {} if isinstance(result, Listed) else None


def revocation_fields(revocation: MeshRevocation) -> dict[str, Scalar | Value]:
    """Return the members of the document of a revocation; the first alone counts."""
    return {
        MEMBERS[REVOCATIONS]: base64.b64encode(encode_mesh_revocation(revocation)).decode(),
        "subject": revocation.subject.hex(),
        "reason": revocation.reason,
        "timestamp_ms": revocation.revoked_at,
    }


def text_in(key: str, fields: dict[str, Value]) -> str | None:
    """Return the member of a document that counts, None if there is no text of that name."""
    value = fields.get(MEMBERS[key.partition(":")[0]])
    return value.value if value is not None and isinstance(value.value, str) else None


def decoded(text: str | None) -> bytes | None:
    """Return the bytes of a text in base64; None for no text, one that is too long or is none."""
    if text is None or len(text) > TEXT_MAX:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
