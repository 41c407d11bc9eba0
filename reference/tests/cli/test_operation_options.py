"""Options of a node of signed operations: what goes together, and what is refused."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshwire_reference.cli.config_file import open_config
from meshwire_reference.cli.operations import OperationChoices, parse_listen
from meshwire_reference.cli.run_options import RunOptions
from meshwire_reference.cli.settings import read_options
from meshwire_reference.transport.base import AddressRefused


def choices(tmp_path: Path, **options: object) -> OperationChoices:
    """Return choices with a token file."""
    file = tmp_path / "token"
    file.write_text("one token of the mesh\n")
    given = {"join_token_file": file, **options}
    return OperationChoices(listen=[], peers=[], **given)  # type: ignore[arg-type] # its fields


def test_a_token_is_sent_only_at_level_wire_and_where_it_is_said(tmp_path: Path) -> None:
    """Everything else proves it, or is no choice."""
    sent = choices(tmp_path, level="wire", join_bearer=True)

    assert sent.security(sent.token()).bearer == "one token of the mesh"
    for options in ({}, {"level": "wire"}, {"level": "strict"}):
        proven = choices(tmp_path, **options)
        assert proven.security(proven.token()).bearer == ""
    for wrong in (
        {"join_bearer": True},
        {"join_bearer": True, "level": "strict"},
        {"join_bearer": True, "level": "wire", "join_token_file": None},
        {"level": "none"},
    ):
        with pytest.raises(ValueError, match="--"):
            choices(tmp_path, **wrong).token()


def test_messages_are_short_until_a_proof(tmp_path: Path) -> None:
    """Without a token, or with one that is sent, there is none."""
    proven = choices(tmp_path)
    open_to_all = choices(tmp_path, join_token_file=None)

    assert proven.security(proven.token()).first_bytes_max == 1024
    assert open_to_all.security(open_to_all.token()).first_bytes_max is None


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    """One of the two alone is no choice."""
    with pytest.raises(ValueError, match="go together"):
        choices(tmp_path, tls_certificate_file=tmp_path / "x").security(None)


@pytest.mark.parametrize(
    "address",
    ["http://h:1/crdt-sync", "ws://h:1/other", "ws:///crdt-sync", "ws://h:1/crdt-sync?token=x"],
)
def test_an_address_has_one_form(address: str) -> None:
    """A token in the URL is none."""
    with pytest.raises(ValueError, match="crdt-sync"):
        parse_listen(address)


@pytest.mark.parametrize("address", ["ws://h:99999/crdt-sync", "ws://[::1/crdt-sync"])
def test_an_address_that_no_url_can_be_is_named(address: str) -> None:
    """The operator has given more than one."""
    with pytest.raises(ValueError, match=re.escape(address)):
        parse_listen(address)


@pytest.mark.parametrize("option", ["listen", "peers"])
def test_no_address_has_a_line_end(tmp_path: Path, option: str) -> None:
    """Of a peer too: what reads a URL would drop it."""
    given: dict[str, Any] = {option: ["ws://127.0.0.1:1/crdt\n-sync"]}
    with pytest.raises(AddressRefused, match="control characters"):
        replace(choices(tmp_path), **given).check()


def test_an_address_says_whether_it_is_under_tls() -> None:
    """Port 0 if there is none."""
    assert parse_listen("wss://127.0.0.1:7/crdt-sync") == ("127.0.0.1", 7, "wss")
    assert parse_listen("ws://127.0.0.1") == ("127.0.0.1", 0, "ws")


def test_without_a_rendezvous_nothing_is_dialled(tmp_path: Path) -> None:
    """A configuration names the peers, or there are none."""
    file = tmp_path / "node.toml"
    for text, peers in (
        ("", []),
        ('rendezvous = ["ws://127.0.0.1:1/crdt-sync"]\n', ["ws://127.0.0.1:1/crdt-sync"]),
    ):
        file.write_text('listen = ["ws://127.0.0.1:0/crdt-sync"]\n' + text)
        options = RunOptions(**read_options(open_config(file), RunOptions))

        assert options.of_operations().peers == peers
