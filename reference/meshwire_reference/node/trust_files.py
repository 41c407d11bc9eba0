"""Files of what a node trusts: public keys of roots, certificates and revocations, one on a line.

A key is 64 hex digits, a certificate or revocation is base64. Empty lines, and what follows `#`,
count for nothing. A file may also hold the bytes of one certificate, as `enroll` writes them: its
tier is no character, so that no text is taken for one.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from meshwire_reference.wire.certificates import (
    MeshCertificate,
    MeshRevocation,
    decode_mesh_certificate,
    decode_mesh_revocation,
)
from meshwire_reference.wire.errors import Malformed
from meshwire_spec.numbers import PUBLIC_KEY

FILE_MAX: Final = 2**24
"""Greatest size of such a file, in bytes."""
KEY: Final = re.compile(f"[0-9a-fA-F]{{{2 * PUBLIC_KEY}}}")

One = TypeVar("One")


class BadTrustFile(Exception):
    """A file cannot be used; the text says what is wrong where."""


def read_roots(path: Path) -> frozenset[bytes]:
    """Return the public keys in a file of roots; raises BadTrustFile."""
    roots = frozenset(_each(path, _key))
    if not roots:
        raise BadTrustFile(f"{path} has no public key of a root, 64 hex digits on a line")
    return roots


def read_certificates(path: Path) -> tuple[MeshCertificate, ...]:
    """Return the certificates in a file; raises BadTrustFile."""
    try:
        return (decode_mesh_certificate(_content(path)),)
    except Malformed:
        return tuple(_each(path, lambda text: decode_mesh_certificate(_bytes(text))))


def read_revocations(path: Path) -> tuple[MeshRevocation, ...]:
    """Return the revocations in a file; raises BadTrustFile."""
    return tuple(_each(path, lambda text: decode_mesh_revocation(_bytes(text))))


def _each(path: Path, read: Callable[[str], One]) -> Iterator[One]:
    for number, line in enumerate(_lines(path), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            yield read(text)
        except Malformed as fault:
            raise BadTrustFile(f"{path}:{number}: {fault.reason} at {fault.field}") from fault
        except ValueError as fault:
            raise BadTrustFile(f"{path}:{number}: {fault}") from fault


def _content(path: Path) -> bytes:
    """Read a file that may be an endless one."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_MAX + 1)
    except OSError as exc:
        raise BadTrustFile(f"cannot read {path}: {exc.strerror or exc}") from exc
    if len(content) > FILE_MAX:
        raise BadTrustFile(f"{path} has more than {FILE_MAX} bytes")
    return content


def _lines(path: Path) -> list[str]:
    try:
        return _content(path).decode("ascii").splitlines()
    except UnicodeDecodeError as exc:
        raise BadTrustFile(f"{path} is no text: byte {exc.start} is not ASCII") from exc


def _key(text: str) -> bytes:
    if not KEY.fullmatch(text):
        raise ValueError("a public key has 64 hex digits")
    return bytes.fromhex(text)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError("this is no base64") from exc
