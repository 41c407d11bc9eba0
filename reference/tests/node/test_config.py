"""What a node is configured to, by the options of its command."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from meshwire_reference.core.settings import Dialect
from meshwire_reference.node.config import Choices, ConfigError, make_config

CHOICES = Choices(
    listen=("tcp://127.0.0.1:0",),
    is_open=False,
    formation_id="squad",
    secret_file=None,
    handshake_s=10.0,
    frame_stall_s=10.0,
    heartbeat_s=5.0,
    payload_cap=2**20,
    lab=False,
)


@pytest.fixture
def choices(tmp_path: Path) -> Choices:
    """Those of a member of a formation."""
    file = tmp_path / "secret.txt"
    file.write_bytes(base64.b64encode(b"\x21" * 32))
    return replace(CHOICES, secret_file=file)


@pytest.mark.parametrize(
    ("given", "dialect"), [(None, Dialect.H1), ("H1", Dialect.H1), ("H2", Dialect.H2)]
)
def test_a_node_begins_in_h1_and_serves_both(
    choices: Choices, given: str | None, dialect: Dialect
) -> None:
    """Unless it is asked otherwise."""
    settings = make_config(replace(choices, dialect=given)).settings
    alone = make_config(replace(choices, dialect=given, detects=False)).settings

    assert (settings.dialect, settings.detects) == (dialect, True)
    assert (alone.dialect, alone.detects) == (dialect, False)


@pytest.mark.parametrize(("name", "detects"), [("x", False), ("é", True), ("xy", True)])
def test_a_formation_id_of_one_byte_rules_out_detection(
    choices: Choices, name: str, *, detects: bool
) -> None:
    """HS-064: an H1 initiator of it would begin as one of H2 does."""
    assert make_config(replace(choices, formation_id=name)).settings.detects is detects


def test_an_open_node_has_no_dialect(choices: Choices) -> None:
    """And detects none."""
    settings = make_config(replace(choices, is_open=True, formation_id=None)).settings

    assert (settings.dialect, settings.detects) == (Dialect.OPEN, False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"dialect": "h2"},
        {"dialect": "open"},
        {"dialect": ""},
        {"dialect": "H2", "is_open": True, "formation_id": None},
    ],
)
def test_a_dialect_that_nothing_speaks_is_refused(
    choices: Choices, wrong: dict[str, object]
) -> None:
    """In one line for the operator."""
    with pytest.raises(ConfigError, match="--dialect"):
        make_config(replace(choices, **wrong))  # type: ignore[arg-type] # each row fits its fields


def test_own_peers_are_named_by_their_endpoint_ids(choices: Choices) -> None:
    """In whatever case the digits are written: toward them no poll is answered (DC-057)."""
    settings = make_config(replace(choices, own_peers=("0A" * 32, "0b" * 32))).settings

    assert settings.own_peers == frozenset(("0a" * 32, "0b" * 32))


@pytest.mark.parametrize("wrong", ["", "0a", "0a" * 33, "zz" * 32])
def test_an_own_peer_needs_an_endpoint_id(choices: Choices, wrong: str) -> None:
    """A name or an address would never be found."""
    with pytest.raises(ConfigError, match="--own-peer"):
        make_config(replace(choices, own_peers=(wrong,)))


@pytest.mark.parametrize("wrong_s", [-1.0, float("inf"), float("nan")])
def test_the_time_of_a_dead_peer_is_a_number_of_seconds(choices: Choices, wrong_s: float) -> None:
    """A timer at another time would be due always or never."""
    with pytest.raises(ConfigError, match="--dead-peer-s"):
        make_config(replace(choices, dead_peer_s=wrong_s))


def test_a_dead_peer_may_be_waited_for(choices: Choices) -> None:
    """With 0 no probe is sent."""
    assert make_config(replace(choices, dead_peer_s=0.0)).settings.dead_peer_s == 0.0


@pytest.mark.parametrize("wrong_s", [-1.0, 1e307, float("inf"), float("nan")])
def test_the_time_of_the_graveyard_is_a_number(choices: Choices, wrong_s: float) -> None:
    """Else tombstones would be over before they have expired, or never."""
    with pytest.raises(ConfigError, match="--graveyard-days"):
        make_config(replace(choices, graveyard_s=wrong_s))


@pytest.mark.parametrize(
    "wrong", [{"control": None}, {"control": Path("s"), "data": Path("store")}]
)
def test_a_node_for_tests_has_a_socket_and_no_store(
    choices: Choices, wrong: dict[str, Path | None]
) -> None:
    """Its user may empty it, which no durable store may be."""
    assert make_config(replace(choices, is_tested=True, control=Path("s"))).is_tested
    with pytest.raises(ConfigError, match="--test-control"):
        make_config(replace(choices, is_tested=True, **wrong))  # type: ignore[arg-type] # a path each


def test_an_acceptor_need_not_prove_itself_unless_that_is_demanded(choices: Choices) -> None:
    """HS-077: who demands it gives it too."""
    default, demands, gives = (
        make_config(replace(choices, unproven=unproven, proves=proves)).settings
        for unproven, proves in (("allow", False), ("refuse", False), ("allow", True))
    )

    assert (default.refuses_unproven, default.proves) == (False, False)
    assert (demands.refuses_unproven, demands.proves) == (True, True)
    assert (gives.refuses_unproven, gives.proves) == (False, True)


def test_a_proof_needs_a_formation_and_a_known_setting(choices: Choices) -> None:
    """An open node has nothing to prove."""
    is_open = replace(choices, is_open=True, formation_id=None)
    for wrong in (
        replace(is_open, proves=True),
        replace(is_open, unproven="refuse"),
        replace(choices, unproven="perhaps"),
    ):
        with pytest.raises(ConfigError):
            make_config(wrong)
