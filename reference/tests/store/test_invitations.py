"""Invitations in a folder: each is used once, whatever happens to the process meanwhile."""

import json
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from meshwire_reference.core.enrollment.authority import Invitation
from meshwire_reference.core.trust.signing import Grant, issue_certificate
from meshwire_reference.store import invitations as module
from meshwire_reference.store.base import StoreError
from meshwire_reference.store.invitations import Invitations, Use
from meshwire_spec.numbers import Tier

DIGEST, OTHER = bytes(range(32)), bytes(range(1, 33))
FIRST = Invitation(DIGEST, 5000, 70, "node-2")
SECOND = Invitation(OTHER, 9000)
GRANT = Grant(bytes(range(2, 34)), "A1B2C3D4", "node-2", Tier.EDGE, 3, 1)
USE = Use(GRANT.subject, "node-2", 1, issue_certificate(bytes(32), GRANT))
SAID = {"endpoint_id": GRANT.subject.hex(), "node_id": "node-2", "at_ms": 1}


def test_what_is_added_is_read_by_another_process(tmp_path: Path) -> None:
    """With everything that it says, and as unused."""
    folder = tmp_path / "invitations"
    assert Invitations(folder).read() == ()
    Invitations(folder).add(FIRST, 100)
    Invitations(folder).add(SECOND, 100)

    assert set(Invitations(folder).read()) == {FIRST, SECOND}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_one_of_many_uses_succeeds(tmp_path: Path) -> None:
    """Of threads with objects of their own, and none of a later process."""
    folder = tmp_path / "invitations"
    Invitations(folder).add(FIRST, 100)
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: Invitations(folder).claim(DIGEST, USE), range(32)))

    assert claims.count(True) == 1
    assert Invitations(folder).read() == (replace(FIRST, is_used=True),)
    assert not Invitations(folder).claim(DIGEST, USE)


def test_a_use_is_known_to_who_has_read_before(tmp_path: Path) -> None:
    """What a file says is kept, whether it is used is not."""
    mine, other = Invitations(tmp_path), Invitations(tmp_path)
    mine.add(FIRST, 100)
    assert mine.read() == other.read() == (FIRST,)
    other.claim(DIGEST, USE)

    assert mine.read() == (replace(FIRST, is_used=True),)


@pytest.mark.process
def test_a_use_outlives_a_kill(tmp_path: Path) -> None:
    """The process that has claimed it is killed at once."""
    Invitations(tmp_path).add(FIRST, 100)
    program = (
        "import os, sys, signal; from pathlib import Path;"
        "from meshwire_reference.store.invitations import Invitations, Use;"
        "Invitations(Path(sys.argv[1])).claim(bytes(range(32)), Use(bytes(32), 'n', 1));"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)

    assert ended.returncode == -signal.SIGKILL
    assert Invitations(tmp_path).read() == (replace(FIRST, is_used=True),)
    assert not Invitations(tmp_path).claim(DIGEST, USE)


def test_an_invitation_has_its_name_once_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a use too: one that was cut short by a kill is none, and stops no other."""

    def cut(_source: str, _target: Path) -> None:
        raise OSError(5, "cut here")

    Invitations(tmp_path).add(SECOND, 100)
    with monkeypatch.context() as patched:
        patched.setattr("os.link", cut)
        with pytest.raises(StoreError, match="cannot be written: cut here"):
            Invitations(tmp_path).add(FIRST, 100)
        with pytest.raises(StoreError, match="cannot be written: cut here"):
            Invitations(tmp_path).claim(OTHER, USE)

    assert Invitations(tmp_path).read() == (SECOND,)
    assert Invitations(tmp_path).claim(OTHER, USE)


def test_expired_invitations_go_when_another_is_added(tmp_path: Path) -> None:
    """Used or not; their uses stay, since they say who has enrolled."""
    invitations = Invitations(tmp_path)
    invitations.add(FIRST, 100)
    invitations.claim(DIGEST, USE)
    invitations.add(SECOND, 4999)
    assert {one.digest for one in invitations.read()} == {DIGEST, OTHER}
    third = replace(SECOND, digest=bytes(32))
    invitations.add(third, 5000)

    assert set(invitations.read()) == {SECOND, third}
    assert not (tmp_path / f"{DIGEST.hex()}.invitation").exists()
    assert Invitations(tmp_path).uses() == (USE,)


def test_a_folder_holds_a_bounded_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused with a line for the operator."""
    monkeypatch.setattr(module, "INVITATIONS_MAX", 1)
    Invitations(tmp_path).add(FIRST, 100)

    with pytest.raises(StoreError, match="has 1 invitations already"):
        Invitations(tmp_path).add(SECOND, 100)


NO_INVITATION = [
    b"",
    b"[]",
    b"nonsense",
    b"[" * 3000,
    b'{"expires_at_ms": 1, "certificate_ms": 0}',
    json.dumps({"expires_at_ms": True, "certificate_ms": 0, "node_id": None}).encode(),
    json.dumps({"expires_at_ms": 1, "certificate_ms": -1, "node_id": None}).encode(),
    json.dumps({"expires_at_ms": 2**62 + 1, "certificate_ms": 0, "node_id": None}).encode(),
    json.dumps({"expires_at_ms": 1, "certificate_ms": 1e200, "node_id": None}).encode(),
    json.dumps({"expires_at_ms": 1, "certificate_ms": 0, "node_id": 7}).encode(),
    b"\xff",
]
NO_USE = [
    b"",
    b"[]",
    b"[" * 3000,
    b"\xff",
    json.dumps({**SAID, "endpoint_id": "x"}).encode(),
    json.dumps({**SAID, "certificate": "AAAA"}).encode(),
    json.dumps({**SAID, "at_ms": None}).encode(),
]


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """Write a file with a mode."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", NO_INVITATION)
def test_a_file_that_is_no_invitation_stops_no_other(tmp_path: Path, content: bytes) -> None:
    """It is named until it has gone: nothing is skipped in silence."""
    path = written(tmp_path / f"{DIGEST.hex()}.invitation", content)
    invitations = Invitations(tmp_path)
    invitations.add(SECOND, 100)

    assert invitations.read() == (SECOND,)
    assert invitations.faults == (f"{path} is no invitation",)
    path.unlink()
    assert (invitations.read(), invitations.faults) == ((SECOND,), ())


@pytest.mark.parametrize("content", NO_USE)
def test_a_file_that_is_no_use_stops_no_other(tmp_path: Path, content: bytes) -> None:
    """Its token is spent all the same: a file of the name is there."""
    invitations = Invitations(tmp_path)
    invitations.add(FIRST, 100)
    invitations.claim(OTHER, USE)
    path = written(tmp_path / f"{DIGEST.hex()}.used", content)

    assert invitations.uses() == (USE,)
    assert invitations.faults == (f"{path} is no use of an invitation",)
    assert invitations.read() == (replace(FIRST, is_used=True),)


def test_a_use_of_before_has_no_certificate(tmp_path: Path) -> None:
    """Folders of meshwire before certificates were kept stay in use."""
    written(tmp_path / f"{DIGEST.hex()}.used", json.dumps(SAID).encode())

    assert Invitations(tmp_path).uses() == (replace(USE, certificate=None),)


def test_a_file_that_others_can_use_is_skipped(tmp_path: Path) -> None:
    """Another user may have written it; the line says what to do."""
    Invitations(tmp_path).add(FIRST, 100)
    path = next(tmp_path.iterdir())
    path.chmod(0o644)
    invitations = Invitations(tmp_path)

    assert invitations.read() == ()
    (fault,) = invitations.faults
    assert fault.startswith(f"{path} has mode 0644, so that others can use it")


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Such as those of an editor."""
    (tmp_path / "notes.txt").write_text("mine", encoding="ascii")
    (tmp_path / "ab.invitation").write_text("mine", encoding="ascii")

    assert Invitations(tmp_path).read() == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ab.invitation", "notes.txt"]


def test_an_invitation_that_another_process_removes_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the list of names and the read of the file."""
    Invitations(tmp_path).add(FIRST, 100)

    def gone(path: Path, size_max: int) -> bytes:
        path.unlink()
        return read(path, size_max)

    read = module.read_private
    monkeypatch.setattr(module, "read_private", gone)

    assert Invitations(tmp_path).read() == ()
