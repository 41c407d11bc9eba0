"""The commands of a mesh: it is begun, nodes are invited and enrolled, from their command lines."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import stat
import threading
from pathlib import Path

import pytest

from meshwire_reference.cli.app import run_command_line
from meshwire_reference.core.trust.verification import Trust, verify_certificate
from meshwire_reference.store.invitations import Use
from meshwire_reference.store.member_folder import MemberFolder
from meshwire_reference.store.mesh_folder import MeshFolder
from meshwire_reference.store.token_file import Terms
from meshwire_reference.store.token_file import invite as give_out
from meshwire_reference.testing.commands import NodeProcess, run
from meshwire_reference.wire.certificates import (
    MeshCertificate,
    decode_mesh_credentials,
    encode_mesh_revocation,
)
from meshwire_spec.numbers import MeshPolicy, Tier

pytestmark = [pytest.mark.process, pytest.mark.socket]
HEX = "[0-9a-f]{64}"
LATER_MS = 2**52


def created(folder: Path, *options: str) -> dict[str, str]:
    """Begin a mesh and return what was printed."""
    done = run("mesh", "create", "alpha", "--folder", str(folder), *options)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def certified(folder: Path) -> MeshCertificate:
    """Return the certificate in a folder."""
    found = MemberFolder(folder).certificate()
    assert found is not None
    return found


def invited(mesh: Path, token: Path, *options: str) -> None:
    """Make a token."""
    done = run("mesh", "invite", "--folder", str(mesh), "--token-file", str(token), *options)
    assert (done.returncode, done.stderr) == (0, "")


def authority(tmp_path: Path) -> NodeProcess:
    """Start the node of a new mesh."""
    mesh = tmp_path / "mesh"
    created(mesh, "--policy", "strict")
    enrolls = ("--authority", str(mesh), "--enroll-listen", "tcp://127.0.0.1:0")
    return NodeProcess(tmp_path / "node", "--listen", "tcp://127.0.0.1:0", "--open", *enrolls)


def test_a_node_enrolls_with_a_token_and_no_other_with_it(tmp_path: Path) -> None:
    """It gets its key, certificate, credentials and secret; nothing secret is printed."""
    mesh, token, member = tmp_path / "mesh", tmp_path / "token", tmp_path / "member"
    with authority(tmp_path) as node:
        invited(mesh, token)
        facts = node.facts["enrollment"]
        address = facts["addresses"][0]
        arguments = ("enroll", address, "--token-file", str(token), "--folder")
        done = run(*arguments, str(member), "--node-id", "node-2", "--tier", "tactical")
        again = run(*arguments, str(tmp_path / "other"))
    assert (done.returncode, done.stderr) == (0, "")
    shown, said = json.loads(done.stdout), json.loads(token.read_text("ascii"))
    certificate = certified(member)
    credentials = decode_mesh_credentials((member / "credentials").read_bytes())
    roots = frozenset({bytes.fromhex(facts["authority"])})
    subject = bytes.fromhex(shown["endpoint_id"])
    secret = (member / "formation-secret.txt").read_text("ascii").strip()
    log = node.log.read_text("utf-8")

    assert "enrollment" in node.facts["capabilities"]
    assert shown["mesh_id"] == facts["mesh_id"] == credentials.mesh_id
    assert (certificate.node_id, certificate.tier) == ("node-2", Tier.TACTICAL)
    trust = Trust(facts["mesh_id"], roots)
    assert verify_certificate(certificate, trust, subject, certificate.issued_at) is None
    assert credentials == decode_mesh_credentials((mesh / "credentials").read_bytes())
    assert credentials.policy is MeshPolicy.STRICT
    assert base64.b64decode(secret) == credentials.formation_secret
    assert {stat.S_IMODE(path.stat().st_mode) for path in member.iterdir()} == {0o600}
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == (
        "meshwire-node: not enrolled: the authority answered denied: 'used-token'\n"
    )
    assert said["token"] not in log + done.stdout + again.stderr
    assert secret not in log + done.stdout


def test_a_member_gets_a_new_certificate_for_its_key(tmp_path: Path) -> None:
    """In another folder, with a copy of the key and another token."""
    mesh, folders = tmp_path / "mesh", [tmp_path / name for name in ("old", "new")]
    with authority(tmp_path) as node:
        address = node.facts["enrollment"]["addresses"][0]
        for folder in folders:
            token = folder.with_suffix(".token")
            invited(mesh, token)
            done = run("enroll", address, "--token-file", str(token), "--folder", str(folder))
            assert (done.returncode, done.stderr) == (0, "")
            folders[1].mkdir(0o700, exist_ok=True)
            shutil.copy(folders[0] / "endpoint-key.txt", folders[1])
    old, new = map(certified, folders)

    assert new.subject == old.subject
    assert new.issued_at >= old.issued_at


def member_authority(folder: Path, mesh: Path, *enrolls: str) -> NodeProcess:
    """Start the node of a mesh as the README does, without a store."""
    listen = ("--member", str(mesh), "--listen", "tcp://127.0.0.1:0", "--authority", str(mesh))
    return NodeProcess(folder, *listen, "--enroll-listen", *enrolls)


def test_an_authority_serves_those_that_it_has_enrolled_after_a_restart(tmp_path: Path) -> None:
    """Also without a store: a member cannot show its certificate before it is served."""
    mesh, token, member = tmp_path / "mesh", tmp_path / "token", tmp_path / "member"
    endpoint_id = created(mesh)["endpoint_id"]
    with member_authority(tmp_path / "node", mesh, "tcp://127.0.0.1:0") as node:
        invited(mesh, token)
        address = node.facts["enrollment"]["addresses"][0]
        arguments = ("enroll", address, "--token-file", str(token), "--folder", str(member))
        assert run(*arguments, "--node-id", "node-2").returncode == 0
    options = ("--member", str(member), "--listen", "tcp://127.0.0.1:0")
    with (
        member_authority(tmp_path / "again", mesh, "tcp://127.0.0.1:0") as node,
        NodeProcess(tmp_path / "other", *options) as other,
    ):
        connected = other.command("connect", node.address)

    assert connected == (0, f"{endpoint_id}\n", "")


def test_a_node_is_revoked_by_its_name_after_the_term_of_its_token(tmp_path: Path) -> None:
    """Which has gone with the next `invite`; a file that says nothing is named, and stops none."""
    mesh, token, subject = tmp_path / "mesh", tmp_path / "token", bytes(range(32))
    created(mesh)
    folder = MeshFolder(mesh)
    give_out(folder, token, Terms(1), bytes, 1)
    (invitation,) = folder.invitations.read()
    folder.invitations.claim(invitation.digest, Use(subject, "node-2", 1))
    invited(mesh, tmp_path / "next")
    bad = mesh / "invitations" / f"{64 * '0'}.used"
    bad.touch(0o600)
    done = run("mesh", "revoke", "node-2", "--folder", str(mesh))

    assert (done.returncode, json.loads(done.stdout)["revoked"]) == (0, subject.hex())
    assert done.stderr.startswith(
        f"meshwire-node: warning: {bad} is no use of an invitation; it is skipped\n"
    )


def test_an_invitation_that_fails_leaves_no_token(tmp_path: Path) -> None:
    """So that the next try has the name."""
    mesh, token = tmp_path / "mesh", tmp_path / "token"
    created(mesh)
    (mesh / "invitations").touch(0o600)
    arguments = ("mesh", "invite", "--folder", str(mesh), "--token-file", str(token))
    failed = run(*arguments)
    was_there = token.exists()
    (mesh / "invitations").unlink()
    done = run(*arguments)

    assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (2, "", 1)
    assert not was_there
    assert (done.returncode, done.stderr) == (0, "")


def test_what_was_used_is_so_after_a_kill(tmp_path: Path) -> None:
    """Of the node, which has no time to store anything."""
    mesh, token = tmp_path / "mesh", tmp_path / "token"
    node = authority(tmp_path)
    with node:
        invited(mesh, token)
        address = node.facts["enrollment"]["addresses"][0]
        arguments = ("enroll", address, "--token-file", str(token), "--folder")
        assert run(*arguments, str(tmp_path / "member")).returncode == 0
        node.process.kill()
    enrolls = ("--authority", str(mesh), "--enroll-listen", address)
    with NodeProcess(tmp_path / "b", "--listen", "tcp://127.0.0.1:0", "--open", *enrolls):
        again = run(*arguments, str(tmp_path / "other"))

    assert (again.returncode, "used-token" in again.stderr) == (1, True)


def test_a_mesh_begins_with_a_member(tmp_path: Path) -> None:
    """The node of the authority, which has a certificate and the permissions of one."""
    shown = created(tmp_path / "mesh")
    certificate = certified(tmp_path / "mesh")
    trust = Trust(shown["mesh_id"], frozenset({bytes.fromhex(shown["authority"])}))

    assert re.fullmatch(HEX, shown["endpoint_id"])
    assert certificate.permissions == 0x87
    assert certificate.expires_at == 0
    subject = bytes.fromhex(shown["endpoint_id"])
    assert verify_certificate(certificate, trust, subject, LATER_MS) is None


def test_a_token_says_for_whom_and_how_long_it_is(tmp_path: Path) -> None:
    """As its options say, and the folder keeps that with its digest alone."""
    mesh, token = tmp_path / "mesh", tmp_path / "token"
    created(mesh)
    options = ("--node-id", "node-2", "--hours", "0.5", "--certificate-days", "2")
    invited(mesh, token, *options)
    (invitation,) = MeshFolder(mesh).invitations.read()

    assert (invitation.node_id, invitation.certificate_ms) == ("node-2", 2 * 86_400_000)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


WRONG = {
    "mesh create a --folder {tmp}/mesh --policy none": "--policy is one of open, controlled",
    "mesh create a --folder {tmp}/none/mesh": "cannot be made: No such file",
    "mesh create a --folder {tmp}": "exists and is left alone",
    "mesh create a --folder {tmp}/mesh --node-id " + 256 * "n": "--node-id has 256 bytes",
    "mesh invite --folder {tmp}/none --token-file {tmp}/t": "cannot read",
    "mesh invite --folder {tmp} --token-file {tmp}/genesis": "genesis exists and is left alone",
    "mesh invite --folder {tmp} --token-file {tmp}/t --hours 0": "--hours must be",
    "mesh invite --folder {tmp} --token-file {tmp}/t --certificate-days -1": "--certificate-days",
    "mesh invite --folder {tmp} --token-file {tmp}/t --hours 1e300": "and at most 876600",
    "mesh invite --folder {tmp} --token-file {tmp}/t --hours nan": "and at most 876600",
    "mesh invite --folder {tmp} --token-file {tmp}/t --certificate-days 1e200": "at most 36525",
    "mesh invite --folder {tmp} --token-file {tmp}/t --certificate-days 3e11": "at most 36525",
    "mesh invite --folder {tmp} --token-file {tmp}/t --node-id \x1b[31m": "'\\x1b[31m'",
    "enroll tcp://127.0.0.1:1 --token-file {tmp}/good --folder {tmp}/m --node-id \x7f": "'\\x7f'",
    "mesh create \x07 --folder {tmp}/mesh": "the name of a mesh has characters that cannot be",
    "mesh create a --folder {tmp}/mesh --node-id \u202e": "--node-id has characters that cannot be",
    "enroll udp://127.0.0.1:1 --token-file {tmp}/good --folder {tmp}/m": "is no address",
    "enroll quic://127.0.0.1:1 --token-file {tmp}/t --folder {tmp}/m": "cannot read {tmp}/t",
    "enroll tcp://192.0.2.1:1 --token-file {tmp}/good --folder {tmp}/m": "is not loopback",
    "enroll tcp://127.0.0.1:1 --token-file {tmp}/t --folder {tmp}/m": "cannot read {tmp}/t",
    "enroll tcp://127.0.0.1:1 --token-file {tmp}/genesis --folder {tmp}/m": "has no token",
    "enroll tcp://127.0.0.1:1 --token-file {tmp}/good --folder {tmp}": "certificate.txt exists",
    "mesh revoke node-9 --folder {tmp}": "no node has enrolled as 'node-9'",
    "mesh revoke twin --folder {tmp}": "2 nodes have enrolled as 'twin': give the endpoint id",
    "mesh revoke " + 64 * "0" + " --folder {tmp}/none": "cannot read {tmp}/none/genesis",
    "mesh revoke " + 64 * "0" + " --folder {tmp} --reason " + 256 * "r": "--reason has 256 bytes",
    "mesh revoke {root} --folder {tmp}": "{root} is a root of {tmp}",
    "mesh revoke {own} --folder {tmp}": "{own} is the authority's own node",
    "mesh revoke " + 64 * "0" + " --folder {tmp} --control {tmp}/none": "no node serves {tmp}/none",
    "run --listen tcp://127.0.0.1:0 --member {tmp}/none": "cannot read {tmp}/none/credentials",
    "enroll tcp://127.0.0.1:1 --token-file {tmp}/good --folder {tmp}/m --tier x": "--tier is one",
    "enroll tcp://127.0.0.1:1 --token-file {tmp}/good --folder {tmp}/m --wait-s 0": "--wait-s must",
    "run --listen tcp://127.0.0.1:0 --open --authority {tmp}": "given together",
    "run --listen tcp://127.0.0.1:0 --open --enroll-listen tcp://127.0.0.1:0": "given together",
    "run --listen tcp://127.0.0.1:0 --open --authority {tmp}/none "
    "--enroll-listen tcp://127.0.0.1:0": "cannot read {tmp}/none/genesis",
}


@pytest.fixture(name="made", scope="module")
def made_mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a mesh that has given out one token, and in which two of a name are."""
    folder = tmp_path_factory.mktemp("mesh") / "made"
    created(folder)
    invited(folder, folder / "good")
    for number in range(2):
        use = Use(number.to_bytes(32), "twin", 1)
        MeshFolder(folder).invitations.claim(bytes([number]) * 32, use)
    return folder


@pytest.mark.parametrize("command", WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_wrong_usage_is_one_line(
    made: Path, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What, where and what to do; nothing is made by it."""
    before = {path.name for path in made.rglob("*")}
    certificate = certified(made)
    names = {"own": certificate.subject.hex(), "root": certificate.issuer.hex(), "tmp": made}
    monkeypatch.setattr("sys.argv", ["meshwire-node", *command.format(**names).split()])
    with pytest.raises(SystemExit) as ended:
        run_command_line()
    shown = capsys.readouterr()

    assert (ended.value.code, shown.out) == (2, "")
    assert shown.err.count("\n") == 1
    assert WRONG[command].format(**names) in shown.err
    # A node has a key before it knows whether it can use a token.
    assert {path.name for path in made.rglob("*")} - before <= {"m", "endpoint-key.txt"}


def test_a_revocation_says_how_far_it_goes(tmp_path: Path) -> None:
    """Into the folder alone, or to the others too; not to a node that is no member."""
    mesh, listen = tmp_path / "mesh", ("--listen", "tcp://127.0.0.1:0")
    created(mesh)
    revoke = ("mesh", "revoke", 32 * "07", "--folder", str(mesh))
    with (
        NodeProcess(tmp_path / "other", *listen, "--open") as other,
        NodeProcess(tmp_path / "member", *listen, "--member", str(mesh)) as member,
    ):
        refused = run(*revoke, "--control", str(other.control))
        is_written = (mesh / "revocations.txt").exists()
        alone = run(*revoke, "--reason", "lost")
        again = run(*revoke, "--control", str(member.control))
        document = json.loads(member.command("get", "revocations", 32 * "07")[1])
        status = json.loads(member.command("status", "--json")[1])
    (kept,) = MeshFolder(mesh).revocations()

    assert (refused.returncode, refused.stdout, is_written) == (2, "", False)
    assert "is no member of a mesh" in refused.stderr
    assert alone.stderr.count("\n") == 1
    assert f"is revoked in {mesh} alone, and passed on when a member starts" in alone.stderr
    said = {"revoked": 32 * "07"}
    assert json.loads(alone.stdout) == {**said, "was_revoked": False, "passed_on": False}
    assert json.loads(again.stdout) == {**said, "was_revoked": True, "passed_on": True}
    assert (again.returncode, again.stderr) == (0, "")
    assert status["mesh_id"] == MeshFolder(mesh).keys().mesh_id
    assert document["reason"] == kept.reason == "lost"
    assert base64.b64decode(document["revocation"]) == encode_mesh_revocation(kept)


def test_a_revocation_that_is_not_passed_on_is_in_the_folder(tmp_path: Path) -> None:
    """The member goes away after it has answered that it is one: exit code 1, and both are said."""
    mesh, control = tmp_path / "mesh", tmp_path / "control"
    facts = created(mesh)

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as requests:
            requests.readline()
            reply = {"id": 1, "status": {"mesh_id": facts["mesh_id"]}}
            connection.sendall(json.dumps(reply).encode() + b"\n")

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(control))
        server.listen()
        member = threading.Thread(target=answer, args=(server,))
        member.start()
        done = run("mesh", "revoke", 32 * "07", "--folder", str(mesh), "--control", str(control))
        member.join()

    assert (done.returncode, done.stdout) == (1, "")
    assert f"is revoked in {mesh}, but not passed on: the node at {control} has gone" in done.stderr
    assert len(MeshFolder(mesh).revocations()) == 1


def test_a_member_does_not_start_with_the_secret_of_another_mesh(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be refused by every other, and not say why."""
    folder = tmp_path / "member"
    shutil.copytree(made, folder)
    (folder / "formation-secret.txt").write_text(base64.b64encode(bytes(32)).decode())
    words = f"meshwire-node run --listen tcp://127.0.0.1:0 --member {folder}"
    monkeypatch.setattr("sys.argv", words.split())
    with pytest.raises(SystemExit) as ended:
        run_command_line()
    shown = capsys.readouterr()

    assert (ended.value.code, shown.out) == (2, "")
    assert f"{folder}/formation-secret.txt is not the secret of {folder}/credentials" in shown.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", ""), "the name of a mesh is empty"),
        (("create", "x\ny"), "the name of a mesh has characters"),
        (("create", "alpha", "--node-id", ""), "--node-id is empty"),
        (("invite", "--token-file", "none", "--node-id", ""), "--node-id is empty"),
        (("invite", "--token-file", "none", "--node-id", "x\ny"), "--node-id has characters"),
    ],
)
def test_a_name_can_be_shown(
    tmp_path: Path,
    arguments: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On one line, and there is one; nothing is made with another."""
    folder = ("--folder", str(tmp_path / "mesh"))
    monkeypatch.setattr("sys.argv", ["meshwire-node", "mesh", *arguments, *folder])
    with pytest.raises(SystemExit) as ended:
        run_command_line()
    shown = capsys.readouterr().err

    assert (ended.value.code, shown.count("\n"), said in shown) == (2, 1, True)
    assert not list(tmp_path.iterdir())


def test_no_token_is_spent_where_nothing_can_be_stored(tmp_path: Path) -> None:
    """The folder is looked at first, and another one does for the same token."""
    mesh, token, member = tmp_path / "mesh", tmp_path / "token", tmp_path / "member"
    with authority(tmp_path) as node:
        invited(mesh, token)
        member.mkdir()
        (member / "roots.txt").write_text("mine", "ascii")
        address = node.facts["enrollment"]["addresses"][0]
        arguments = ("enroll", address, "--token-file", str(token), "--folder")
        failed = run(*arguments, str(member))
        done = run(*arguments, str(tmp_path / "other"))

    assert (failed.returncode, "roots.txt exists: choose another" in failed.stderr) == (2, True)
    assert (done.returncode, done.stderr) == (0, "")


def test_nobody_there_is_exit_code_one(tmp_path: Path) -> None:
    """The node keeps its key for the next attempt."""
    mesh, token, member = tmp_path / "mesh", tmp_path / "token", tmp_path / "member"
    created(mesh)
    invited(mesh, token)
    arguments = ("enroll", "tcp://127.0.0.1:9", "--token-file", str(token), "--folder", str(member))
    done = run(*arguments)
    key = (member / "endpoint-key.txt").read_bytes()
    again = run(*arguments)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "meshwire-node: not enrolled: tcp://127.0.0.1:9 cannot be reached"
    )
    assert again.stderr == done.stderr
    assert (member / "endpoint-key.txt").read_bytes() == key


@pytest.mark.parametrize("command", ["mesh create", "mesh invite", "mesh revoke", "enroll"])
def test_help_has_an_example(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That begins with the command itself."""
    monkeypatch.setattr("sys.argv", ["meshwire-node", *command.split(), "--help"])
    with pytest.raises(SystemExit) as ended:
        run_command_line()

    assert not ended.value.code
    assert f"Example: meshwire-node {command} " in " ".join(capsys.readouterr().out.split())
