"""What a node trusts: configured roots, certificates that it holds, and revocations that count.

Certificates come from files of the operator and from documents of the collection `certificates`,
revocations from files and from documents of `revocations`. A certificate is verified when it is
used; a revocation when it comes, and one that counts is never forgotten (D-39).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshwire_reference.core.trust.verification import (
    Trust,
    verify_certificate,
    verify_revocation,
    verify_subject,
)
from meshwire_reference.wire.certificates import (
    MeshCertificate,
    MeshRevocation,
    decode_mesh_certificate,
    decode_mesh_revocation,
    encode_mesh_revocation,
)
from meshwire_reference.wire.errors import Malformed
from meshwire_spec.numbers import PUBLIC_KEY, REVOCATIONS, CertificateFault


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """What the operator configures: the mesh, its roots, and what is held from the start.

    Without `requires` a peer whose certificate does not count is served, and an event says why.
    """

    mesh_id: str
    roots: frozenset[bytes]
    requires: bool = True
    certificates: tuple[MeshCertificate, ...] = ()
    revocations: tuple[MeshRevocation, ...] = ()


@dataclass(slots=True)
class _Held:
    """The certificates of one subject: those of files, and the one of its document."""

    configured: list[MeshCertificate] = field(default_factory=list)
    of_document: tuple[MeshCertificate, ...] = ()


class TrustStore:
    """The trust of a node; `take` adds what a document says, `fault_of` verifies a peer."""

    def __init__(self, settings: TrustSettings) -> None:
        self.settings = settings
        self.requires = settings.requires
        self._held: dict[bytes, _Held] = {}
        self._by_subject: dict[bytes, tuple[MeshCertificate, ...]] = {}
        self._revoked: dict[bytes, bytes] = {}
        revoked = self._revoked.keys()
        self._trust = Trust(settings.mesh_id, settings.roots, self._by_subject, revoked)
        for certificate in settings.certificates:
            self._held.setdefault(certificate.subject, _Held()).configured.append(certificate)
            self._note(certificate.subject)
        for revocation in settings.revocations:
            if verify_revocation(revocation, self._trust) is None:
                self._keep(revocation)

    @property
    def trust(self) -> Trust:
        """What certificates are verified against; it changes with what is taken."""
        return self._trust

    def fault_of(self, subject: bytes, now_ms: int) -> CertificateFault | None:
        """Return why no certificate certifies an endpoint id now, or None if one does."""
        return verify_subject(self._trust, subject, now_ms)

    def valid_until_ms(self, subject: bytes, now_ms: int) -> int | None:
        """Return when a peer has to be verified again, in ms since 1970; None if time ends nothing.

        That is the first end of a certificate that counts now, or of the one of its issuer.
        """
        counting = [
            one
            for one in self._by_subject.get(subject, ())
            if verify_certificate(one, self._trust, subject, now_ms) is None
        ]
        issuers = [issuer for one in counting for issuer in self._by_subject.get(one.issuer, ())]
        ends = [one.expires_at for one in (*counting, *issuers) if one.expires_at > now_ms]
        return min(ends, default=None)

    def take(self, key: str, content: bytes | None) -> str | None:
        """Take what the document of a key says; None is a document without such content.

        Returns the reason for which it does not count: a certificate that does not decode, or that
        has another subject, and a revocation that `verify_revocation` refuses.
        """
        collection, _, name = key.partition(":")
        # CT-035
        take = self.take_revocation if collection == REVOCATIONS else self.take_certificate
        try:
            return take(_subject_of(name), content)
        except Malformed as fault:
            return fault.reason

    def take_certificate(self, subject: bytes, content: bytes | None) -> str | None:
        """Hold the certificate of a document in the place of the one that it had."""
        held = self._held.setdefault(subject, _Held())
        # CT-030
        held.of_document = ()
        self._note(subject)
        if content is None:
            return CertificateFault.NO_CERTIFICATE
        certificate = decode_mesh_certificate(content)
        if certificate.subject != subject:
            return CertificateFault.WRONG_SUBJECT
        held.of_document = (certificate,)
        self._note(subject)
        return None

    def take_revocation(self, subject: bytes, content: bytes | None) -> str | None:
        """Revoke the subject for good, if the revocation of a document counts."""
        fault, revocation = self._read_revocation(subject, content)
        if revocation is not None:
            self._keep(revocation)
        return fault

    def lost_revocation(self, key: str, content: bytes | None) -> bytes | None:
        """Return the revocation that counts and that the document of a key does not have any more.

        `content` is what it has instead. None if nothing was revoked, or if that counts too.
        """
        collection, _, name = key.partition(":")
        subject = _subject_of(name)
        if collection != REVOCATIONS or subject not in self._revoked:
            return None
        try:
            _, found = self._read_revocation(subject, content)
        except Malformed:
            found = None
        return self._revoked[subject] if found is None else None

    def _read_revocation(
        self, subject: bytes, content: bytes | None
    ) -> tuple[str | None, MeshRevocation | None]:
        """Return the revocation in a document, or why there is none that counts."""
        if content is None:
            return CertificateFault.BAD_SIGNATURE, None
        revocation = decode_mesh_revocation(content)
        fault = verify_revocation(revocation, self._trust)
        if revocation.subject != subject:
            fault = CertificateFault.WRONG_SUBJECT
        return fault, revocation if fault is None else None

    def _keep(self, revocation: MeshRevocation) -> None:
        """Keep the first revocation of a subject; a later one says no more."""
        # CT-031
        self._revoked.setdefault(revocation.subject, encode_mesh_revocation(revocation))

    def _note(self, subject: bytes) -> None:
        held = self._held[subject]
        self._by_subject[subject] = (*held.configured, *held.of_document)


def _subject_of(name: str) -> bytes:
    """Return the subject that the id of a document names; empty if it names none.

    One spelling alone counts, so that no two documents are of one subject.
    """
    try:
        subject = bytes.fromhex(name)
    except ValueError:
        return b""
    return subject if len(subject) == PUBLIC_KEY and subject.hex() == name else b""
