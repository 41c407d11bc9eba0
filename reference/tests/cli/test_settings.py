"""The configuration file and the files of secrets: what is read, and what is said of a fault."""

from __future__ import annotations

import base64
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from meshwire_reference.cli.keys import new_secret, write_private
from meshwire_reference.cli.run import RunOptions
from meshwire_reference.cli.settings import read_options
from meshwire_reference.core.identity import endpoint_key_of_host, endpoint_key_of_text
from meshwire_reference.node.config import Choices, ConfigError, endpoint_id_of, make_config

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
    return read_options(path, RunOptions)


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
        ("\n[peer.ab]\nreconcile = true\n", "node.toml:2: `peer.ab`: `reconcile` is one of heads"),
        ("[peer.ab]\nreconcile = 'head'\n", "`reconcile` is one of heads, keys"),
        ("[peer.ab]\n", "node.toml:1: `peer.ab` is a table with `reconcile`"),
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
        read_options(tmp_path / "none.toml", RunOptions)


def test_a_new_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    """And is never written over."""
    path = tmp_path / "secret.txt"
    write_private(path, new_secret())
    kept = path.read_text()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(kept)) == 32
    with pytest.raises(FileExistsError):
        write_private(path, new_secret())
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
    write_private(secret, new_secret())
    write_private(key, base64.b64encode(bytes(range(32))).decode())
    write_private(short, base64.b64encode(bytes(range(1, 32))).decode())
    config = make_config(choices(secret_file=secret, endpoint_key_file=key))

    assert config.endpoint_key == bytes(range(32))
    # What OpenSSL prints for this key.
    assert endpoint_id_of(bytes(range(32))).hex() == (
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    )
    with pytest.raises(ConfigError, match="31 bytes"):
        make_config(choices(secret_file=secret, endpoint_key_file=short))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_an_endpoint_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """EN-028: nobody has to share it, unlike the secret of a formation."""
    secret, key = tmp_path / "secret.txt", tmp_path / "key.txt"
    write_private(secret, new_secret())
    write_private(key, new_secret())
    make_config(choices(secret_file=secret, endpoint_key_file=key))
    key.chmod(mode)

    with pytest.raises(ConfigError, match=f"mode {mode:04o}"):
        make_config(choices(secret_file=secret, endpoint_key_file=key))


def test_an_endpoint_key_is_derived_in_the_lab_alone(tmp_path: Path) -> None:
    """EN-027: as a deployed peer does it, with a warning; otherwise it is made at random."""
    secret, key = tmp_path / "secret.txt", tmp_path / "key.txt"
    write_private(secret, base64.b64encode(bytes(range(32))).decode())
    write_private(key, new_secret())
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
    write_private(secret, new_secret())
    given = make_config(choices(secret_file=secret, relays=("https://relay.example/",)))

    assert given.relays == ("https://relay.example/",)
    assert make_config(choices(secret_file=secret)).relays == ()
    with pytest.raises(ConfigError, match="--iroh-relay"):
        make_config(choices(secret_file=secret, relays=(url,)))
