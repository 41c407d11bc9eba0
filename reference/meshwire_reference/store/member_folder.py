"""The folder of a member: the key of its endpoint, its certificate, and the secret of its mesh."""

from __future__ import annotations

import base64
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from meshwire_reference.core.formation import BadSecret, read_secret
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.mesh_folder import (
    CREDENTIALS,
    FORMATION_SECRET,
    GENESIS_MAX,
    ROOTS,
    secret_text,
)
from meshwire_reference.store.private_files import (
    PRIVATE,
    make_private_folder,
    read_private,
    write_whole,
)
from meshwire_reference.wire.certificates import (
    MeshCertificate,
    MeshCredentials,
    decode_mesh_certificate,
    decode_mesh_credentials,
    encode_mesh_certificate,
    encode_mesh_credentials,
)
from meshwire_reference.wire.errors import Malformed
from meshwire_spec.numbers import ENDPOINT_ID

ENDPOINT_KEY: Final = "endpoint-key.txt"
CERTIFICATE: Final = "certificate.txt"
PEERS: Final = "peer-certificates.txt"
ENROLLING: Final = ".enrolling"
"""The mark of an enrollment that has not ended."""
KEY_MAX: Final = 256
CERTIFICATE_MAX: Final = 4096


def _line(certificate: MeshCertificate) -> bytes:
    return base64.b64encode(encode_mesh_certificate(certificate)) + b"\n"


class MemberFolder:
    """The folder of one member of a mesh."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def reserved(self, new_key: bytes) -> Iterator[bytes]:
        """Hold the folder during one enrollment; gives its endpoint key, as `prepare` does.

        A mark in the folder is there meanwhile; after a kill it says that other files are left over
        and can go. Raises StoreError where another process holds the folder, and for a
        file that is not left over and stands in the way of `keep`.
        """
        mark = self.path / ENROLLING
        self._check_free(is_marked=mark.exists())
        try:
            make_private_folder(self.path)
            number = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        except OSError as exc:
            raise StoreError(f"{self.path} cannot be made: {exc.strerror or exc}") from exc
        try:
            self._lock(number)
            self._check_free(is_marked=True)
            self._remove_leftovers()
            try:
                yield self.prepare(new_key)
            finally:
                if (self.path / CERTIFICATE).exists() or not self._kept():
                    mark.unlink(missing_ok=True)
        finally:
            os.close(number)

    def _lock(self, number: int) -> None:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have ended its enrollment since the mark was opened.
            is_gone = not os.fstat(number).st_nlink
        except OSError as exc:
            raise StoreError(f"{self.path} is in use by another `enroll`: wait for it") from exc
        if is_gone:
            raise StoreError(f"{self.path} was in use by another `enroll`: try again")

    def _kept(self) -> list[Path]:
        """Return the files of `keep` that are there, the certificate first."""
        names = (CERTIFICATE, ROOTS, PEERS, FORMATION_SECRET, CREDENTIALS)
        return [path for path in (self.path / name for name in names) if path.exists()]

    def _remove_leftovers(self) -> None:
        """Remove what an enrollment has left that was killed; its token is spent."""
        for path in self._kept():
            try:
                path.unlink()
            except OSError as exc:
                raise StoreError(f"{path} cannot be removed: {exc.strerror or exc}") from exc

    def _check_free(self, *, is_marked: bool) -> None:
        """Raise StoreError if `keep` could not write its files."""
        kept = self._kept()
        if kept and (not is_marked or kept[0].name == CERTIFICATE):
            raise StoreError(f"{kept[0]} exists: choose another folder")

    def prepare(self, new_key: bytes) -> bytes:
        """Return the endpoint key in the folder, which is made with `new_key` if there is none.

        Raises StoreError, also where the folder has a certificate already.
        """
        if (self.path / CERTIFICATE).exists():
            raise StoreError(f"{self.path / CERTIFICATE} exists: choose another folder")
        path = self.path / ENDPOINT_KEY
        try:
            make_private_folder(self.path)
            write_whole(path, secret_text(new_key))
        except FileExistsError:
            return self.endpoint_key()
        except OSError as exc:
            raise StoreError(f"{path} cannot be made: {exc.strerror or exc}") from exc
        return new_key

    def certificate(self) -> MeshCertificate | None:
        """Return the certificate in the folder, None if it has none. Raises StoreError."""
        path = self.path / CERTIFICATE
        if not path.exists():
            return None
        try:
            return decode_mesh_certificate(base64.b64decode(read_private(path, CERTIFICATE_MAX)))
        except (Malformed, ValueError) as exc:
            raise StoreError(f"{path} has no certificate in base64") from exc

    def credentials(self) -> MeshCredentials:
        """Return the credentials in the folder. Raises StoreError."""
        path = self.path / CREDENTIALS
        try:
            return decode_mesh_credentials(read_private(path, GENESIS_MAX))
        except Malformed as fault:
            raise StoreError(f"{path} has no credentials of a mesh: {fault.reason}") from fault

    def check_secret(self, credentials: MeshCredentials) -> None:
        """Raise StoreError unless the formation secret in the folder is that of its credentials."""
        path = self.path / FORMATION_SECRET
        try:
            is_that = read_secret(path.read_text("ascii")) == credentials.formation_secret
        except OSError as exc:
            raise StoreError(f"cannot read {path}: {exc.strerror or exc}") from exc
        except (BadSecret, UnicodeDecodeError):
            is_that = False
        if not is_that:
            raise StoreError(
                f"{path} is not the secret of {self.path / CREDENTIALS}: remove it, and write it "
                "again"
            )

    def endpoint_key(self) -> bytes:
        """Return the endpoint key. Raises StoreError."""
        path = self.path / ENDPOINT_KEY
        try:
            key = read_secret(read_private(path, KEY_MAX).decode("ascii"))
        except (BadSecret, UnicodeDecodeError):
            key = b""
        if len(key) != ENDPOINT_ID:
            raise StoreError(f"{path} has no endpoint key of {ENDPOINT_ID} bytes in base64")
        return key

    def keep(
        self,
        certificate: MeshCertificate,
        credentials: MeshCredentials | None,
        peers: Sequence[MeshCertificate] = (),
    ) -> None:
        """Keep what a member has got; the certificate last, so that with it all is there.

        Its issuer becomes the root of the node, `peers` are certificates of others. Raises
        StoreError.
        """
        files = [
            (ROOTS, f"{certificate.issuer.hex()}\n".encode()),
            (PEERS, b"".join(map(_line, peers))),
            (CERTIFICATE, _line(certificate)),
        ]
        if credentials is not None:
            files[:0] = [
                (FORMATION_SECRET, secret_text(credentials.formation_secret)),
                (CREDENTIALS, encode_mesh_credentials(credentials)),
            ]
        for name, content in files:
            try:
                write_whole(self.path / name, content)
            except OSError as exc:
                said = f"{self.path / name} cannot be made: {exc.strerror or exc}"
                raise StoreError(said) from exc
