"""The configuration file and the files of secrets: what is read, and what is said of a fault."""

from __future__ import annotations

import base64
import stat
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from meshwire_reference.cli.collections import read_collections
from meshwire_reference.cli.config_file import open_config
from meshwire_reference.cli.keys import new_secret
from meshwire_reference.cli.run_options import RunOptions
from meshwire_reference.cli.settings import KINDS, LEFT_OUT, check_texts, read_options
from meshwire_reference.core.identity import (
    device_key,
    endpoint_key_of_host,
    endpoint_key_of_text,
    public_key_of,
)
from meshwire_reference.core.inputs import PeerRole
from meshwire_reference.core.state.policy import PUBLISHED, Collections
from meshwire_reference.core.trust.signing import Grant, issue_certificate, issue_revocation
from meshwire_reference.node.config import Choices, ConfigError, endpoint_id_of, make_config
from meshwire_reference.store.private_files import write_private
from meshwire_reference.testing.enrolling import new_mesh
from meshwire_reference.wire.certificates import (
    MeshCertificate,
    MeshRevocation,
    encode_mesh_certificate,
    encode_mesh_revocation,
)
from meshwire_spec.numbers import COLLECTIONS as COLLECTION_ROWS
from meshwire_spec.numbers import DEFAULT_TOMBSTONE_TTL_S, Direction, FrameType, Tier, Urgency

WHOLE = """
listen = ["tcp://127.0.0.1:0"]
peers = ["tcp://127.0.0.1:4711"]   # a comment
"formation_id" = "alpha"
formation_secret_file = "secret.txt"
heartbeat_s = 2.5
payload_cap = 1000
reconcile = true
data = "/store"
"""


def read(folder: Path, text: str) -> dict[str, object]:
    """Read a file with this text."""
    path = folder / "node.toml"
    path.write_text(text, "utf-8")
    return read_options(open_config(path), RunOptions)


def test_a_file_has_options_by_their_names(tmp_path: Path) -> None:
    """Paths are from its folder."""
    assert read(tmp_path, WHOLE) == {
        "listen": ["tcp://127.0.0.1:0"],
        "connect": ["tcp://127.0.0.1:4711"],
        "formation_id": "alpha",
        "formation_secret_file": tmp_path / "secret.txt",
        "heartbeat_s": 2.5,
        "payload_cap": 1000,
        "reconcile": True,
        "data": Path("/store"),
    }


def test_a_table_says_how_to_reconcile_with_a_peer(tmp_path: Path) -> None:
    """By its endpoint id, beside what the options name."""
    one, other, third = (f"{digit}a" * 32 for digit in "012")
    text = f"""
open = true
reconcile_heads_with = ["{third}"]
[peer.{one}]
reconcile = "heads"
[peer.{other}]
reconcile = "keys"
"""
    found = read(tmp_path, text)
    config = make_config(
        Choices(
            ("tcp://127.0.0.1:0",),
            is_open=True,
            reconcile_with=found["reconcile_with"],  # type: ignore[arg-type]  # it is a list
            reconcile_heads_with=found["reconcile_heads_with"],  # type: ignore[arg-type]  # also
        )
    )

    assert config.settings.heads_peers == {one, third}
    assert config.reconcile_with == {bytes.fromhex(other)}


@pytest.mark.parametrize("wrong", ["abcd", "x" * 64])
def test_runs_by_heads_need_an_endpoint_id_and_are_served(wrong: str) -> None:
    """A node that serves no runs cannot have a peer that begins them."""
    listen = ("tcp://127.0.0.1:0",)
    with pytest.raises(ConfigError, match="--reconcile-heads-with"):
        make_config(Choices(listen, is_open=True, reconcile_heads_with=(wrong,)))
    with pytest.raises(ConfigError, match="--no-reconciliation"):
        make_config(
            Choices(
                listen,
                is_open=True,
                reconcile_heads_with=("0a" * 32,),
                serves_reconciliation=False,
            )
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\npeer = 1\n", "node.toml:2: `peer` is tables"),
        ("peer = ['tcp://127.0.0.1:1']\n", "a list of addresses to dial is `peers`"),
        ("\n[peer.ab]\nreconcile = 'heads'\n", "node.toml:2: `peer.ab`: an endpoint id has 64"),
        ("\n[peer.ab]\nreconcile = true\n", "node.toml:3: `peer.ab.reconcile` is one of heads"),
        ("[peer.ab]\nreconcile = 'head'\n", "`peer.ab.reconcile` is one of heads, keys"),
        ("[peer.a]\n[peer.b]\nrole = 1\n", "node.toml:1: `peer.a` is a table with"),
        ("[peer.ab]\n\nrole = 'boss'\n", "node.toml:3: `peer.ab.role` is one of parent, child"),
        ("[peer.ab]\n", "node.toml:1: `peer.ab` is a table with `reconcile` or `role`"),
        ("[peer.ab]\nreconcile = 'keys'\nother = 1\n", "`peer.ab` is a table with `reconcile`"),
        ("\nlisten = []\nlisen = 1\n", "node.toml:3: `lisen` is unknown: is it `listen`?"),
        ("[network]\nport = 1\n", "node.toml:1: `network` is unknown"),
        ("config = 'x'\n", "node.toml:1: `config` is unknown"),
        ("test_control = true\n", "node.toml:1: `test_control` is unknown"),
        ("listen = 'tcp://127.0.0.1:0'\n", "node.toml:1: `listen` is a list of texts"),
        ("\n\nheartbeat_s = '2'\n", "node.toml:3: `heartbeat_s` is a number"),
        ("heartbeat_s = true\n", "node.toml:1: `heartbeat_s` is a number"),
        ("payload_cap = 1.5\n", "node.toml:1: `payload_cap` is a whole number"),
        ("open = 1\n", "node.toml:1: `open` is true or false"),
        ("data = 1\n", "node.toml:1: `data` is a text"),
        ("listen = [\n", "node.toml: this is no TOML: "),
        ("open = true\nopen = true\n", "line 2"),
        ('\ndata = "a\\u0000b"\n', "node.toml:2: `data` is a text without a null character"),
        (f"heartbeat_s = 1{'0' * 400}\n", "node.toml:1: `heartbeat_s` is a number"),
        (f"heartbeat_s = 1{'0' * 5000}\n", "node.toml: a number has too many digits"),
        (f"listen = {'[' * 5000}", "node.toml: values are nested too deep"),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """In one line."""
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)

    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """As any other that cannot be read."""
    with pytest.raises(ConfigError, match=r"cannot read .*none.toml"):
        open_config(tmp_path / "none.toml")


def test_a_new_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    """And is never written over."""
    path = tmp_path / "secret.txt"
    write_private(path, new_secret().encode())
    kept = path.read_text()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(kept)) == 32
    with pytest.raises(FileExistsError):
        write_private(path, new_secret().encode())
    assert path.read_text() == kept


def choices(**more: Path) -> Choices:
    """Return choices of a node in a formation."""
    return Choices(("tcp://127.0.0.1:0",), formation_id="alpha", **more)  # type: ignore[arg-type]  # paths only


@pytest.mark.parametrize(
    ("mode", "size", "warnings"),
    [(0o600, 32, 0), (0o640, 32, 1), (0o604, 32, 1), (0o600, 31, 1), (0o666, 8, 2)],
)
def test_the_operator_is_warned_of_weak_secrets(
    tmp_path: Path, mode: int, size: int, warnings: int
) -> None:
    """Of each that others may read, and of each that is short; the secret is not in it."""
    path = tmp_path / "secret.txt"
    secret = base64.b64encode(b"\x42" * size).decode()
    path.write_text(secret)
    path.chmod(mode)
    found = make_config(choices(secret_file=path)).warnings

    assert len(found) == warnings
    assert not any(secret in one for one in found)


def test_an_endpoint_key_gives_the_endpoint_id(tmp_path: Path) -> None:
    """One of another size is refused."""
    secret, key, short = tmp_path / "secret.txt", tmp_path / "key.txt", tmp_path / "short.txt"
    write_private(secret, new_secret().encode())
    write_private(key, base64.b64encode(bytes(range(32))))
    write_private(short, base64.b64encode(bytes(range(1, 32))))
    config = make_config(choices(secret_file=secret, endpoint_key_file=key))

    assert config.endpoint_key == bytes(range(32))
    # What OpenSSL prints for this key.
    assert endpoint_id_of(bytes(range(32))).hex() == (
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    )
    with pytest.raises(ConfigError, match="31 bytes"):
        make_config(choices(secret_file=secret, endpoint_key_file=short))
    long = tmp_path / "long.txt"
    write_private(long, base64.b64encode(bytes(range(33))))
    with pytest.raises(ConfigError, match="33 bytes"):
        make_config(choices(secret_file=secret, endpoint_key_file=long))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_an_endpoint_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """EN-028: nobody has to share it, unlike the secret of a formation."""
    secret, key = tmp_path / "secret.txt", tmp_path / "key.txt"
    write_private(secret, new_secret().encode())
    write_private(key, new_secret().encode())
    make_config(choices(secret_file=secret, endpoint_key_file=key))
    key.chmod(mode)

    with pytest.raises(ConfigError, match=f"mode {mode:04o}"):
        make_config(choices(secret_file=secret, endpoint_key_file=key))


def test_an_endpoint_key_is_derived_in_the_lab_alone(tmp_path: Path) -> None:
    """EN-027: as a deployed peer does it, with a warning; otherwise it is made at random."""
    secret, key = tmp_path / "secret.txt", tmp_path / "key.txt"
    write_private(secret, base64.b64encode(bytes(range(32))))
    write_private(key, new_secret().encode())
    of_host = choices(secret_file=secret, lab=True, derived_endpoint_key="host:node-1")
    config = make_config(of_host)
    of_text = make_config(replace(of_host, derived_endpoint_key="text:node-1"))

    assert config.endpoint_key == endpoint_key_of_host(bytes(range(32)), "node-1")
    assert of_text.endpoint_key == endpoint_key_of_text("node-1")
    assert len(config.warnings) == 1
    assert make_config(choices(secret_file=secret)).endpoint_key is None
    for wrong in (
        replace(of_host, lab=False),
        replace(of_host, derived_endpoint_key="node-1"),
        replace(of_host, endpoint_key_file=key),
    ):
        with pytest.raises(ConfigError, match="--derived-endpoint-key"):
            make_config(wrong)


@pytest.mark.parametrize(
    "url", ["relay.example", "ftp://relay.example/", "https://", "https://a b/"]
)
def test_a_relay_is_a_url(tmp_path: Path, url: str) -> None:
    """None is used unless one is given."""
    secret = tmp_path / "secret.txt"
    write_private(secret, new_secret().encode())
    given = make_config(choices(secret_file=secret, relays=("https://relay.example/",)))

    assert given.relays == ("https://relay.example/",)
    assert make_config(choices(secret_file=secret)).relays == ()
    with pytest.raises(ConfigError, match="--iroh-relay"):
        make_config(choices(secret_file=secret, relays=(url,)))


COLLECTIONS = """
open = true

[collection.tracks]
lifetime_s = 7200
documents_go = "upward"

[collection."missions"]
sync_mode = "latest-only"
deletion = "tombstone"
tombstones_go = "system-wide"

[collection.beacons]
deletion = "soft-delete"

[collection.certificates]
accept_from = ["{0}"]
[collection.revocations]
accept_from = "anyone"
[collection.nodes]
accept_from = []
urgency = "bulk"
"""


def collections(folder: Path, text: str) -> Collections:
    """Read the collections of a file with this text."""
    path = folder / "node.toml"
    path.write_text(text, "utf-8")
    file = open_config(path)
    read_options(file, RunOptions)
    return read_collections(file)


def test_a_table_changes_the_row_of_a_collection(tmp_path: Path) -> None:
    """DC-070: what it does not name is as on the page, or for a new one as for all others."""
    found = collections(tmp_path, COLLECTIONS.replace("{0}", "AB" * 32))
    tracks, missions = found.row("tracks:t1"), found.row("missions")

    assert tracks == replace(COLLECTION_ROWS["tracks"], ttl_s=7200, batch_direction="upward")
    assert found.push_type("missions:m1") is FrameType.SNAPSHOT
    assert found.obeys_tombstones("missions:m1")
    assert found.tombstone_lifetime_ms("missions") == DEFAULT_TOMBSTONE_TTL_S * 1000
    assert missions.tombstone_direction is Direction.SYSTEM_WIDE
    assert found.row("beacons:b1").ttl_s is None
    assert found.row("nodes:n1") == COLLECTION_ROWS["nodes"]
    assert found.urgency("nodes:n1") is Urgency.BULK
    for peer in ("ab" * 32, "cd" * 32):
        assert found.admits(peer, "certificates") == (peer == "ab" * 32)
        assert found.admits(peer, "revocations")
        assert not found.admits(peer, "nodes")
        assert found.admits(peer, "tracks")
        assert not PUBLISHED.admits(peer, "revocations")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("collection = 1", ":1: `collection` is tables, each [collection.NAME]"),
        ("[collection]\ntracks = 1", "`collection.tracks` is a table"),
        ("\n[collection.trakcs]\nlifetime_s = 1", ":2: `collection.trakcs` is unknown: is it `tra"),
        ("[collection.trakcs]", "`tracks`? a new one needs deletion and sync_mode"),
        ("[collection.zzz]\nsync_mode = 'latest-only'", "`collection.zzz` is unknown: known are"),
        ("[collection.tombstones]", "no document can have a key in this collection"),
        ("[collection.'a b']", "no document can have a key in this collection"),
        (
            "[collection.tracks]\n\nlifetime = 1",
            ":3: `collection.tracks.lifetime` is unknown: is it",
        ),
        (
            "[collection.tracks]\nx = 1\n[collection.nodes]\nx = 1",
            ":2: `collection.tracks.x` is unk",
        ),
        ("[collection.nodes]\n[collection.tracks]\nx = 1", ":3: `collection.tracks.x` is unknown;"),
        ("[collection.tracks]\nsync_mode = 'delta'", "sync_mode` is one of full-history, latest"),
        ("[collection.tracks]\ndocuments_go = 1", "`collection.tracks.documents_go` is one of"),
        ("[collection.tracks]\nlifetime_s = 0", "`collection.tracks.lifetime_s` is a whole number"),
        ("[collection.tracks]\nlifetime_s = -5", ":2: `collection.tracks.lifetime_s` is a whole"),
        ("[collection.tracks]\nlifetime_s = 2.5", "seconds from 1 to 3153600000"),
        ("[collection.tracks]\nlifetime_s = true", "is a whole number"),
        (
            "[collection.notes]\nsync_mode = 'latest-only'\ndeletion = 'implicit-ttl'",
            "ds `lifetime",
        ),
        (
            "[collection.events]\nlifetime_s = 5",
            ":2: `collection.events.lifetime_s` contradicts `de",
        ),
        (
            "[collection.commands]\ntombstones_go = 'up-only'",
            ":2: `collection.commands.tombstones_g",
        ),
        (
            "[collection.cells]\ndocuments_go = 'downward'",
            "cells.documents_go` contradicts the oth",
        ),
        ("[collection.nodes]\ntombstones_go = 'down-only'", "documents would go upward"),
        (
            "[collection.nodes]\n\naccept_from = 'me'",
            ":3: `collection.nodes.accept_from` is a list",
        ),
        ("[collection.nodes]\nurgency = 'now'", "nodes.urgency` is one of critical, high, normal"),
        ("[collection.nodes]\naccept_from = [1]", "ids, or `anyone`"),
        ("[collection.nodes]\naccept_from = ['ab']", "accept_from`: ab is no endpoint id"),
    ],
)
def test_a_fault_of_a_collection_is_named_with_its_place(
    tmp_path: Path, text: str, said: str
) -> None:
    """In one line, which the command prints before it ends with 2."""
    with pytest.raises(ConfigError) as error:
        collections(tmp_path, text)

    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_says_what_a_peer_is(tmp_path: Path) -> None:
    """Beside how to reconcile with it."""
    one, other, third = (f"{digit}a" * 32 for digit in "012")
    text = f"""
lateral = ["{third}"]
[peer.{one}]
role = "parent"
reconcile = "keys"
[peer.{other}]
role = "child"
"""
    found = read(tmp_path, text)
    config = make_config(
        Choices(
            ("tcp://127.0.0.1:0",),
            is_open=True,
            parents=found["parent"],  # type: ignore[arg-type]  # it is a list
            children=found["child"],  # type: ignore[arg-type]  # also
            laterals=found["lateral"],  # type: ignore[arg-type]  # also
        )
    )

    assert config.settings.roles == {
        one: PeerRole.PARENT,
        other: PeerRole.CHILD,
        third: PeerRole.LATERAL,
    }
    assert found["reconcile_with"] == [one]


def test_a_peer_has_one_role() -> None:
    """Two of them contradict each other, and an id has 64 digits."""
    listen, peer = ("tcp://127.0.0.1:0",), "0a" * 32
    with pytest.raises(ConfigError, match=f"--child {peer} contradicts --parent"):
        make_config(Choices(listen, is_open=True, parents=(peer,), children=(peer.upper(),)))
    with pytest.raises(ConfigError, match="--lateral abcd: an endpoint id has 64 hex digits"):
        make_config(Choices(listen, is_open=True, laterals=("abcd",)))


# --- certificates --------------------------------------------------------------------------------

AUTHORITY = b"\x21" * 32


def trust_files(folder: Path) -> dict[str, Path]:
    """Write a file of each sort; return the choices that name them."""
    root = public_key_of(AUTHORITY)
    grant = Grant(root, "3F1A90C2", "node-7", Tier.EDGE, 0x03, 1)
    certificate = base64.b64encode(encode_mesh_certificate(issue_certificate(AUTHORITY, grant)))
    revoked = issue_revocation(AUTHORITY, bytes(32), "3F1A90C2", 1)
    contents = {
        "roots_file": f"# of the mesh\n{root.hex()}  # the first\n\n{'0A' * 32}\n",
        "certificate_file": certificate.decode() + "\n",
        "peer_certificates_file": f"{certificate.decode()}\n{certificate.decode()}\n",
        "revocations_file": base64.b64encode(encode_mesh_revocation(revoked)).decode(),
    }
    for name, text in contents.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    return {name: folder / name for name in contents}


def test_files_of_trust_are_read(tmp_path: Path) -> None:
    """Comments and empty lines count for nothing, capitals are digits too."""
    given = Choices(
        ("tcp://127.0.0.1:0",),
        is_open=True,
        mesh_id="3F1A90C2",
        requires_certificates=True,
        **trust_files(tmp_path),
    )
    config = make_config(given)
    trust = config.settings.trust

    assert trust is not None
    assert trust.roots == {public_key_of(AUTHORITY), b"\x0a" * 32}
    assert trust.requires
    assert [one.subject for one in trust.certificates] == [public_key_of(AUTHORITY)] * 3
    assert [one.subject for one in trust.revocations] == [bytes(32)]
    assert config.certificate == trust.certificates[0]
    # As `enroll` writes it.
    (tmp_path / "certificate_file").write_bytes(encode_mesh_certificate(trust.certificates[0]))
    assert make_config(given).certificate == config.certificate
    assert ["tcp://" in warning for warning in config.warnings] == [True]
    assert make_config(Choices(given.listen, is_open=True)).settings.trust is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"roots_file": None}, "--roots-file"),
        ({"mesh_id": None}, "--mesh-id"),
        ({"roots_file": None, "mesh_id": None, "certificate_file": None}, "--roots-file"),
    ],
)
def test_certificates_need_roots_and_a_mesh(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    """None of the options is of use without both."""
    given = Choices(
        ("tcp://127.0.0.1:0",),
        is_open=True,
        mesh_id="3F1A90C2",
        requires_certificates=True,
        **trust_files(tmp_path),
    )
    with pytest.raises(ConfigError, match=said):
        make_config(replace(given, **changes))  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("roots_file", b"# none\n", "no public key"),
        ("roots_file", b"\nabcd\n", ":2: a public key has 64 hex digits"),
        ("roots_file", b"\xff", "byte 0 is not ASCII"),
        ("roots_file", b" " * (2**24 + 1), "more than"),
        ("certificate_file", b"!", ":1: this is no base64"),
        ("certificate_file", b"AAAA", ":1: truncated at subject"),
        ("certificate_file", b"", "0 certificates"),
        ("peer_certificates_file", b"AAAA", ":1: truncated at subject"),
        ("revocations_file", b"AAAA", ":1: truncated at subject"),
    ],
)
def test_a_bad_file_of_trust_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """With the line and what is wrong there."""
    files = trust_files(tmp_path)
    files[name].write_bytes(content)
    given = Choices(("tcp://127.0.0.1:0",), is_open=True, mesh_id="3F1A90C2", **files)
    with pytest.raises(ConfigError, match=said) as caught:
        make_config(given)
    assert name in str(caught.value)

    with pytest.raises(ConfigError, match="cannot read"):
        make_config(replace(given, **{name: tmp_path / "absent"}))  # type: ignore[arg-type]  # fields by name


def line(message: MeshCertificate | MeshRevocation) -> bytes:
    """Return the line of a certificate or revocation in a file."""
    is_certificate = isinstance(message, MeshCertificate)
    encode = encode_mesh_certificate if is_certificate else encode_mesh_revocation
    return b"\n" + base64.b64encode(encode(message)) + b"\n"  # type: ignore[operator]  # of that type


STRANGER = b"\x22" * 32
SUBJECT = bytes((7,)) * 32


def granted(mesh_id: str = "3F1A90C2", *, expires_at: int = 0) -> Grant:
    """Return what a certificate of the subject says."""
    return Grant(SUBJECT, mesh_id, "node-8", Tier.EDGE, 0x03, 1, expires_at)


@pytest.mark.parametrize(
    ("name", "message", "fault"),
    [
        ("revocations_file", issue_revocation(AUTHORITY, SUBJECT, "B", 1), "wrong-mesh"),
        ("revocations_file", issue_revocation(STRANGER, SUBJECT, "3F1A90C2", 1), "unknown-issuer"),
        (
            "revocations_file",
            replace(issue_revocation(AUTHORITY, SUBJECT, "3F1A90C2", 1), revoked_at=2),
            "bad-signature",
        ),
        ("peer_certificates_file", issue_certificate(AUTHORITY, granted("B")), "wrong-mesh"),
        (
            "peer_certificates_file",
            replace(issue_certificate(AUTHORITY, granted()), node_id="node-9"),
            "bad-signature",
        ),
        (
            "peer_certificates_file",
            issue_certificate(STRANGER, replace(granted(), subject=public_key_of(STRANGER))),
            "unknown-issuer",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_can_never_count_is_named(
    tmp_path: Path, name: str, message: MeshCertificate | MeshRevocation, fault: str
) -> None:
    """CT-040: with file and line, instead of being without effect."""
    files = trust_files(tmp_path)
    files[name].write_bytes(line(message))
    given = Choices(("tcp://127.0.0.1:0",), is_open=True, mesh_id="3F1A90C2", **files)
    with pytest.raises(ConfigError, match=rf"{name}:2: .*cannot count: {fault}") as caught:
        make_config(given)

    assert message.subject.hex() in str(caught.value)


@pytest.mark.parametrize(
    "certificate",
    [
        issue_certificate(AUTHORITY, granted(expires_at=2)),
        # Its issuer may be a delegate, whose certificate is in a document.
        issue_certificate(STRANGER, granted()),
    ],
    ids=["expired", "unknown"],
)
def test_what_may_count_some_time_is_kept(tmp_path: Path, certificate: MeshCertificate) -> None:
    """CT-040: time and documents are known later."""
    files = trust_files(tmp_path)
    files["peer_certificates_file"].write_bytes(line(certificate))
    given = Choices(("tcp://127.0.0.1:0",), is_open=True, mesh_id="3F1A90C2", **files)
    trust = make_config(given).settings.trust

    assert trust is not None
    assert certificate in trust.certificates


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
@pytest.mark.parametrize("name", ["roots_file", "peer_certificates_file", "revocations_file"])
def test_a_file_of_trust_that_others_can_write_is_refused(
    tmp_path: Path, name: str, mode: int
) -> None:
    """CT-041: they could add a root, or remove a revocation; reading it is no harm."""
    files = trust_files(tmp_path)
    given = Choices(("tcp://127.0.0.1:0",), is_open=True, mesh_id="3F1A90C2", **files)
    make_config(given)
    files[name].chmod(mode)

    with pytest.raises(ConfigError, match=rf"{name} has mode {mode:04o}.*chmod go-w"):
        make_config(given)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"mesh_id": "3F1A90C2", "revocations_file": None}, "and the node is of 3F1A90C2"),
        ({"roots_file": "other"}, "is no root of the node"),
    ],
)
def test_an_authority_is_one_of_the_mesh_of_its_node(
    tmp_path: Path, changes: dict[str, Any], said: str | None
) -> None:
    """Whom it enrolls would be refused otherwise."""
    folder = new_mesh(tmp_path / "mesh", 1)
    roots, other = tmp_path / "roots", tmp_path / "other"
    write_private(roots, public_key_of(folder.keys().seed).hex().encode())
    write_private(other, public_key_of(AUTHORITY).hex().encode())
    given = Choices(
        ("tcp://127.0.0.1:0",),
        is_open=True,
        mesh_id=folder.keys().mesh_id,
        roots_file=roots,
        authority=folder.path,
        enroll_listen=("tcp://127.0.0.1:0",),
    )
    named: dict[str, Any] = {
        name: other if value == "other" else value for name, value in changes.items()
    }
    changed = replace(given, **named)
    if said is None:
        assert make_config(changed).authority == folder.path
    else:
        with pytest.raises(ConfigError, match=said):
            make_config(changed)


def test_a_root_that_each_member_can_sign_as_is_refused(tmp_path: Path) -> None:
    """CT-038: the key that deployed peers derive from the secret of the formation."""
    secret, roots = tmp_path / "secret.txt", tmp_path / "roots.txt"
    write_private(secret, base64.b64encode(bytes(range(32))))
    derived = public_key_of(device_key(bytes(range(32)), "peat-mesh:authority-keypair"))
    given = replace(choices(secret_file=secret, roots_file=roots), mesh_id="3F1A90C2")
    write_private(roots, b"0a" * 32)
    assert make_config(given).settings.trust is not None
    roots.write_text(f"{'0a' * 32}\n{derived.hex()}\n")

    with pytest.raises(ConfigError, match="derived from the secret"):
        make_config(given)


@pytest.mark.parametrize("name", ["certificates", "revocations"])
@pytest.mark.parametrize("deletion", ["tombstone", "implicit-ttl"])
def test_no_file_has_closed_collections_deleted(tmp_path: Path, name: str, deletion: str) -> None:
    """CT-036: by tombstones, or by time."""
    path = tmp_path / "node.toml"
    path.write_text(f"[collection.{name}]\ndeletion = '{deletion}'\nlifetime_s = 60\n")
    with pytest.raises(ConfigError, match=f"`{name}` are not deleted"):
        read_collections(open_config(path))


def test_each_type_of_an_option_can_be_read() -> None:
    """An option of a type that the reader does not know would end in an internal error."""
    kinds = get_type_hints(RunOptions)
    read = {one.name for one in fields(RunOptions)} - LEFT_OUT

    assert {name for name in read if kinds[name] not in KINDS} == set()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (RunOptions(mesh_id="\udcff"), "--mesh-id"),
        (RunOptions(iroh_relay=["https://a/", "https://\udcff/"]), "--iroh-relay"),
        (RunOptions(derived_endpoint_key="text:\udcff"), "--derived-endpoint-key"),
    ],
)
def test_an_option_that_is_no_text_is_named(options: RunOptions, name: str) -> None:
    """An argument may have any bytes; nothing can write those that are not UTF-8."""
    with pytest.raises(ConfigError, match=f"{name} is not UTF-8"):
        check_texts(options)


def test_texts_of_any_language_are_taken() -> None:
    """Also outside of the Basic Multilingual Plane."""
    options = RunOptions(mesh_id="é\U0001f600", listen=["tcp://127.0.0.1:0"])
    check_texts(options)

    assert options.mesh_id == "é\U0001f600"
