"""Files of what a node trusts: public keys of roots, certificates and revocations, one on a line.

A key is 64 hex digits, a certificate or revocation is base64. Empty lines, and what follows `#`,
count for nothing. A file may also hold the bytes of one certificate, as `enroll` writes them: its
tier is no character, so that no text is taken for one.

Others may read these files, and not write them: who adds a root can issue certificates, and who
removes a revocation has its node served again.
"""

import base64
import binascii
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from meshwire_reference.core.trust.signing import has_valid_signature
from meshwire_reference.core.trust.verification import Trust, verify_revocation
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.private_files import read_kept
from meshwire_reference.wire.certificates import (
    MeshCertificate,
    MeshRevocation,
    decode_mesh_certificate,
    decode_mesh_revocation,
)
from meshwire_reference.wire.errors import Malformed
from meshwire_spec.numbers import PUBLIC_KEY, CertificateFault

FILE_MAX: Final = 2**24
"""Greatest size of such a file, in bytes."""
WRITERS: Final = stat.S_IWGRP | stat.S_IWOTH
"""Bits of a mode that let others than the owner write a file."""
KEY: Final = re.compile(f"[0-9a-fA-F]{{{2 * PUBLIC_KEY}}}")

One = TypeVar("One")


def read_roots(path: Path) -> frozenset[bytes]:
    """Return the public keys in a file of roots; raises StoreError."""
    roots = frozenset(_each(path, _key))
    if not roots:
        raise StoreError(f"{path} has no public key of a root, 64 hex digits on a line")
    return roots


def read_certificates(path: Path, trust: Trust | None = None) -> tuple[MeshCertificate, ...]:
    """Return the certificates in a file; raises StoreError.

    Also for one that cannot count under `trust`, whatever the time and the other certificates.
    """
    try:
        whole = decode_mesh_certificate(_content(path))
    except Malformed:
        return tuple(
            _each(path, lambda text: _lasting(decode_mesh_certificate(_bytes(text)), trust))
        )
    try:
        return (_lasting(whole, trust),)
    except ValueError as fault:
        raise StoreError(f"{path}: {fault}") from fault


def read_revocations(path: Path, trust: Trust) -> tuple[MeshRevocation, ...]:
    """Return the revocations in a file; raises StoreError, also for one that does not count."""

    def read(text: str) -> MeshRevocation:
        revocation = decode_mesh_revocation(_bytes(text))
        # CT-040
        fault = verify_revocation(revocation, trust)
        if fault is not None:
            raise ValueError(f"the revocation of {revocation.subject.hex()} cannot count: {fault}")
        return revocation

    return tuple(_each(path, read))


def _lasting(one: MeshCertificate, trust: Trust | None) -> MeshCertificate:
    """Return a certificate that may count some time; raises ValueError for another one."""
    # CT-040
    fault = None if trust is None else _lasting_fault(one, trust)
    if fault is not None:
        raise ValueError(f"the certificate of {one.subject.hex()} cannot count: {fault}")
    return one


def _lasting_fault(one: MeshCertificate, trust: Trust) -> CertificateFault | None:
    """Return the fault of a certificate that neither time nor other certificates mend."""
    if one.mesh_id != trust.mesh_id:
        return CertificateFault.WRONG_MESH
    if not has_valid_signature(one):
        return CertificateFault.BAD_SIGNATURE
    # Who certifies itself is a root, and only those that are configured count (D-36).
    is_unknown = one.issuer == one.subject and one.issuer not in trust.roots
    return CertificateFault.UNKNOWN_ISSUER if is_unknown else None


def _each(path: Path, read: Callable[[str], One]) -> Iterator[One]:
    for number, line in enumerate(_lines(path), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            yield read(text)
        except Malformed as fault:
            raise StoreError(f"{path}:{number}: {fault.reason} at {fault.field}") from fault
        except ValueError as fault:
            raise StoreError(f"{path}:{number}: {fault}") from fault


def _content(path: Path) -> bytes:
    # CT-041
    return read_kept(path, FILE_MAX, WRITERS, "write it: chmod go-w")


def _lines(path: Path) -> list[str]:
    try:
        return _content(path).decode("ascii").splitlines()
    except UnicodeDecodeError as exc:
        raise StoreError(f"{path} is no text: byte {exc.start} is not ASCII") from exc


def _key(text: str) -> bytes:
    if not KEY.fullmatch(text):
        raise ValueError("a public key has 64 hex digits")
    return bytes.fromhex(text)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError("this is no base64") from exc
