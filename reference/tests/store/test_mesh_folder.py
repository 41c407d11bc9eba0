"""The folders of a mesh and of its members, and the files with tokens."""

import base64
import fcntl
import json
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from meshwire_reference.core.identity import Mesh, public_key_of
from meshwire_reference.core.trust.signing import Grant, issue_certificate, issue_revocation
from meshwire_reference.node.config import read_key_file
from meshwire_reference.store import mesh_folder
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.invitations import Use
from meshwire_reference.store.member_folder import MemberFolder
from meshwire_reference.store.mesh_folder import MeshFolder, credentials_of
from meshwire_reference.store.token_file import Token, read_token, write_token
from meshwire_reference.store.trust_files import read_certificates, read_roots
from meshwire_reference.testing.enrolling import new_mesh
from meshwire_reference.wire.certificates import (
    MeshCertificate,
    MeshRevocation,
    decode_mesh_credentials,
)
from meshwire_spec.numbers import MeshPolicy, Tier

NOW_MS = 1_700_000_000_123
ROOT, KEY = bytes(range(7, 39)), bytes(range(60, 92))
TOKEN = Token(
    "alpha", "A1B2C3D4", bytes(range(32)), bytes(range(97, 129)), policy=MeshPolicy.STRICT
)


def test_a_mesh_begins_with_what_follows_from_its_root(tmp_path: Path) -> None:
    """Its genesis, credentials and formation secret, each for the owner alone."""
    folder = new_mesh(tmp_path / "mesh", NOW_MS)
    mesh, genesis = Mesh.begin("alpha", ROOT), folder.genesis()
    credentials = decode_mesh_credentials((folder.path / "credentials").read_bytes())
    secret = (folder.path / "formation-secret.txt").read_text("ascii")

    assert (genesis.name, genesis.root_secret, genesis.created_at) == ("alpha", ROOT, NOW_MS)
    assert genesis.policy is MeshPolicy.CONTROLLED
    assert credentials == credentials_of(genesis)
    assert credentials.authority_public == public_key_of(mesh.authority_key)
    assert base64.b64decode(secret) == mesh.formation_secret == folder.keys().formation_secret
    assert folder.keys().mesh_id == mesh.mesh_id
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_a_mesh_is_never_written_over(tmp_path: Path) -> None:
    """Its root secret cannot be made again."""
    folder = new_mesh(tmp_path / "mesh", NOW_MS)
    kept = folder.genesis()

    with pytest.raises(StoreError, match="exists and is left alone"):
        new_mesh(tmp_path / "mesh", NOW_MS + 1)
    assert folder.genesis() == kept


def test_a_folder_without_a_mesh_is_named(tmp_path: Path) -> None:
    """Missing, or with something else under the name of the genesis."""
    with pytest.raises(StoreError, match=r"cannot read .*genesis: No such file"):
        MeshFolder(tmp_path).keys()
    (tmp_path / "genesis").write_bytes(b"nonsense")
    (tmp_path / "genesis").chmod(0o600)

    with pytest.raises(StoreError, match="genesis is no genesis of a mesh"):
        MeshFolder(tmp_path).keys()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """One below a folder that does not exist."""
    with pytest.raises(StoreError, match="cannot be made: No such file"):
        new_mesh(tmp_path / "none" / "mesh", NOW_MS)


def _mesh(path: Path) -> Path:
    return new_mesh(path, NOW_MS).path / "genesis"


def _token(path: Path) -> Path:
    write_token(path, TOKEN)
    return path


def _key(path: Path) -> Path:
    MemberFolder(path).prepare(KEY)
    return path / "endpoint-key.txt"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
@pytest.mark.parametrize(
    ("make", "read"),
    [
        (_mesh, lambda path: MeshFolder(path.parent).genesis()),
        (_token, read_token),
        (_key, lambda path: MemberFolder(path.parent).prepare(KEY)),
    ],
    ids=["genesis", "token", "key"],
)
def test_a_file_that_others_can_use_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], read: Callable[[Path], object], mode: int
) -> None:
    """In whatever way; the line says what to do."""
    path = make(tmp_path / "made")
    read(path)
    path.chmod(mode)

    with pytest.raises(StoreError, match=rf"{path.name} has mode {mode:04o}.*chmod 600"):
        read(path)


def test_a_token_comes_back_from_its_file(tmp_path: Path) -> None:
    """With whom to trust; it is written for its owner alone, and never over another file."""
    path = _token(tmp_path / "token")

    assert read_token(path) == TOKEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(StoreError, match="exists and is left alone"):
        write_token(path, TOKEN)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "nonsense",
        lambda _: "[1]",
        lambda said: json.dumps({**said, "token": "not base64"}),
        lambda said: json.dumps({**said, "token": "é"}),
        lambda said: json.dumps({**said, "token": base64.b64encode(bytes(65536)).decode()}),
        lambda said: json.dumps({**said, "authority": "00"}),
        lambda said: json.dumps({**said, "mesh_id": "A1B2C3D"}),
        lambda said: json.dumps({**said, "policy": "none"}),
        lambda said: json.dumps({name: said[name] for name in said if name != "mesh_id"}),
        lambda _: "[" * 100_000,
    ],
)
def test_a_file_without_a_token_is_named(
    tmp_path: Path, change: Callable[[dict[str, str]], str]
) -> None:
    """And nothing that it holds is shown."""
    path = _token(tmp_path / "token")
    path.write_text(change(json.loads(path.read_text("utf-8"))), encoding="utf-8")

    with pytest.raises(StoreError, match=r"token has no token of `mesh invite`$") as found:
        read_token(path)
    assert found.value.__cause__ is None


def test_a_member_keeps_its_key_through_several_attempts(tmp_path: Path) -> None:
    """Until it has a certificate; a node reads the key as one of `keygen`."""
    member = MemberFolder(tmp_path / "member")
    first, again = member.prepare(KEY), member.prepare(bytes(32))
    grant = Grant(public_key_of(KEY), "A1B2C3D4", "node-2", Tier.EDGE, 3, NOW_MS)
    certificate = issue_certificate(bytes(32), grant)
    credentials = credentials_of(new_mesh(tmp_path / "mesh", NOW_MS).genesis())
    member.keep(certificate, credentials, (certificate,))

    assert first == again == KEY == read_key_file(member.path / "endpoint-key.txt")
    assert (member.certificate(), member.credentials()) == (certificate, credentials)
    assert read_certificates(member.path / "peer-certificates.txt") == (certificate,)
    assert read_roots(member.path / "roots.txt") == {certificate.issuer}
    assert {stat.S_IMODE(path.stat().st_mode) for path in member.path.iterdir()} == {0o600}
    with pytest.raises(StoreError, match=r"certificate\.txt exists"):
        member.prepare(KEY)


def revocations(folder: MeshFolder, *numbers: int) -> list[MeshRevocation]:
    """Return revocations by the authority of a mesh, of subjects of these numbers."""
    keys = folder.keys()
    return [issue_revocation(keys.seed, bytes((n,)) * 32, keys.mesh_id, NOW_MS) for n in numbers]


def granted(key: bytes) -> MeshCertificate:
    """Return a certificate of the node with a key."""
    grant = Grant(public_key_of(key), "A1B2C3D4", "node-2", Tier.EDGE, 3, NOW_MS)
    return issue_certificate(bytes(32), grant)


@pytest.mark.parametrize(
    "name", ["roots.txt", "peer-certificates.txt", "formation-secret.txt", "credentials"]
)
def test_an_enrollment_does_not_begin_where_it_could_not_store(tmp_path: Path, name: str) -> None:
    """It would spend the token; the file is of its user, and nothing is made."""
    (tmp_path / name).write_bytes(b"mine")
    with (
        pytest.raises(StoreError, match=f"{name} exists: choose another folder"),
        MemberFolder(tmp_path).reserved(KEY),
    ):
        pass

    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_one_enrollment_at_a_time_has_a_folder(tmp_path: Path) -> None:
    """Another one is refused before it asks, and one after it finds the certificate."""
    member = MemberFolder(tmp_path / "member")
    with member.reserved(KEY) as seed:
        with pytest.raises(StoreError, match="in use by another"), member.reserved(KEY):
            pass
        member.keep(granted(seed), None)
    with pytest.raises(StoreError, match=r"certificate\.txt exists"), member.reserved(KEY):
        pass

    names = {path.name for path in member.path.iterdir()}
    assert names == {"endpoint-key.txt", "roots.txt", "peer-certificates.txt", "certificate.txt"}


def test_an_enrollment_follows_one_that_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it has left some of its files and no certificate; the key is the same."""
    member, link = MemberFolder(tmp_path / "member"), os.link

    def cut(source: str, target: Path) -> None:
        if target.name == "certificate.txt":
            raise OSError(5, "cut here")
        link(source, target)

    with monkeypatch.context() as patched:
        patched.setattr("os.link", cut)
        with (
            pytest.raises(StoreError, match=r"certificate\.txt cannot be made: cut here"),
            member.reserved(KEY),
        ):
            member.keep(granted(KEY), credentials_of(new_mesh(tmp_path / "mesh", NOW_MS).genesis()))
    assert (member.path / "roots.txt").exists()
    with member.reserved(bytes(32)) as seed:
        member.keep(granted(KEY), None)

    assert (seed, member.certificate()) == (KEY, granted(KEY))
    assert not (member.path / "credentials").exists()
    assert not (member.path / ".enrolling").exists()


def test_revocations_are_added_to_those_of_before(tmp_path: Path) -> None:
    """In one file, which a node reads; a name is found among those that have enrolled."""
    folder = new_mesh(tmp_path / "mesh", NOW_MS, TOKEN.token)
    revoked = revocations(folder, 1, 2)
    kept = [folder.revoke(one) for one in revoked]
    (invitation,) = folder.invitations.read()
    use = Use(bytes(32), "node-2", NOW_MS)
    folder.invitations.claim(invitation.digest, use)

    assert kept == revoked
    assert list(folder.revocations()) == revoked
    assert stat.S_IMODE((folder.path / "revocations.txt").stat().st_mode) == 0o600
    assert folder.invitations.uses() == (use,)


def test_a_node_is_revoked_once(tmp_path: Path) -> None:
    """The first revocation stays, and is what is passed on again."""
    folder = new_mesh(tmp_path / "mesh", NOW_MS)
    (first,) = revocations(folder, 1)
    folder.revoke(first)

    assert folder.revoke(replace(first, reason="again")) is not first
    assert folder.revoke(replace(first, reason="again")) == first
    assert folder.revocations() == (first,)


def test_a_line_without_an_end_stays_whole(tmp_path: Path) -> None:
    """As an editor may leave it, and comments too."""
    folder = new_mesh(tmp_path / "mesh", NOW_MS)
    first, second = revocations(folder, 1, 2)
    folder.revoke(first)
    path = folder.path / "revocations.txt"
    path.write_bytes(b"# the lost one\n" + path.read_bytes().rstrip(b"\n"))
    folder.revoke(second)

    assert folder.revocations() == (first, second)
    assert path.read_bytes().startswith(b"# the lost one\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda line: line[:-5], "base64|truncated"),
        (lambda line: line + line, "base64|trailing"),
        (lambda line: base64.b64encode(base64.b64decode(line)[:-1] + b"x"), "bad-signature"),
    ],
)
def test_nothing_is_added_to_a_file_with_a_bad_line(
    tmp_path: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    """Which is named with its number."""
    folder = new_mesh(tmp_path / "mesh", NOW_MS)
    first, second, third = revocations(folder, 1, 2, 3)
    folder.revoke(first)
    folder.revoke(second)
    path = folder.path / "revocations.txt"
    one, other = path.read_bytes().splitlines()
    path.write_bytes(one + b"\n" + change(other) + b"\n")
    kept = path.read_bytes()

    with pytest.raises(StoreError, match=rf"revocations\.txt:2: .*({said})"):
        folder.revoke(third)
    assert path.read_bytes() == kept


def test_of_two_that_revoke_at_once_none_loses_its_revocation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins when the first has read and not written yet."""
    folder = new_mesh(tmp_path / "mesh", NOW_MS)
    first, second = revocations(folder, 1, 2)
    write, lock = mesh_folder.write_private, fcntl.flock
    goes_on, threads = threading.Event(), list[threading.Thread]()

    def other() -> None:
        MeshFolder(folder.path).revoke(second)
        goes_on.set()

    def write_late(path: Path, content: bytes) -> None:
        if not threads:
            threads.append(threading.Thread(target=other))
            threads[0].start()
            # It waits for the first, or has written already.
            goes_on.wait()
        write(path, content)

    def note_lock(number: int, operation: int) -> None:
        if threads:
            goes_on.set()
        lock(number, operation)

    monkeypatch.setattr(mesh_folder, "write_private", write_late)
    monkeypatch.setattr(fcntl, "flock", note_lock)
    folder.revoke(first)
    threads[0].join()

    assert set(folder.revocations()) == {first, second}


def test_what_a_killed_process_has_left_is_replaced(tmp_path: Path) -> None:
    """It had written a part of a file that has no name yet."""
    folder = new_mesh(tmp_path / "mesh", NOW_MS)
    (first,) = revocations(folder, 1)
    (folder.path / "revocations.new").write_bytes(b"half")
    folder.revoke(first)

    assert folder.revocations() == (first,)
    assert not (folder.path / "revocations.new").exists()


def test_what_a_member_has_fits_together(tmp_path: Path) -> None:
    """Its secret is that of its credentials."""
    folder = new_mesh(tmp_path / "mesh", NOW_MS)
    member, path = MemberFolder(folder.path), folder.path / "formation-secret.txt"
    credentials = member.credentials()
    member.check_secret(credentials)
    for content in (
        path.read_text("ascii")[:8],
        base64.b64encode(bytes(32)).decode(),
        "",
        "\u00e9",
    ):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(StoreError, match=r"formation-secret\.txt is not the secret of"):
            member.check_secret(credentials)
    path.unlink()
    with pytest.raises(StoreError, match=r"cannot read .*formation-secret\.txt"):
        member.check_secret(credentials)


def test_a_key_of_another_form_is_named(tmp_path: Path) -> None:
    """A short one, and one that is no base64."""
    member = MemberFolder(tmp_path)
    path = tmp_path / "endpoint-key.txt"
    for content in ("AAAA", "no key"):
        path.write_text(content, encoding="ascii")
        path.chmod(0o600)
        with pytest.raises(StoreError, match="has no endpoint key of 32 bytes"):
            member.endpoint_key()
