"""Options of the other profile: each is refused, wherever it is given."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import pytest

from meshwire_reference.cli.config_file import open_config
from meshwire_reference.cli.profiles import (
    OF_BOTH,
    OF_DOCUMENTS,
    OF_OPERATIONS,
    WEBSOCKET,
    check_profile,
    flag,
)
from meshwire_reference.cli.run_options import SECRET_VARIABLE, RunOptions
from meshwire_reference.cli.settings import LEFT_OUT, NAMES
from meshwire_reference.node.config import ConfigError
from run_here import run_here

NAMED: Final = frozenset(one.name for one in fields(RunOptions))
OPERATIONS: Final = RunOptions(listen=["ws://127.0.0.1:0"])
DOCUMENTS: Final = RunOptions(listen=["tcp://127.0.0.1:0"])
NONE: Final[frozenset[str]] = frozenset()


class Read:
    """Notes the names of the options that are read off it."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        """Return what an option of any type can be."""
        self.names.add(name)
        return getattr(OPERATIONS, name)


def test_the_table_has_what_each_profile_reads() -> None:
    """An option that is new stands in it, or a node would refuse or ignore it."""
    documents, operations = Read(), Read()
    RunOptions.choices(documents)  # type: ignore[arg-type] # it reads the options alone
    RunOptions.of_operations(operations)  # type: ignore[arg-type] # the same
    # They are read before.
    early = {"config", "peers_file", "member"}

    assert operations.names == OF_OPERATIONS | OF_BOTH - early
    assert documents.names == (OF_DOCUMENTS | OF_BOTH) - early
    assert OF_OPERATIONS | OF_BOTH <= NAMED


@pytest.mark.parametrize("name", sorted(NAMED - OF_BOTH))
def test_an_option_of_the_other_profile_is_refused(name: str) -> None:
    """Under the name that the command line has for it; that of the own profile is taken."""
    own, other = (OPERATIONS, DOCUMENTS) if name in OF_OPERATIONS else (DOCUMENTS, OPERATIONS)
    kind = get_type_hints(RunOptions, include_extras=True)[name]
    option = get_args(kind)[1]

    check_profile(own, frozenset((name,)), None, NONE)
    with pytest.raises(ConfigError) as raised:
        check_profile(other, frozenset((name,)), None, NONE)

    assert str(raised.value).startswith(f"{flag(name)} is for nodes of ")
    # Typer takes the first of the names for a default.
    named = [one for one in (option.default, *option.param_decls) if isinstance(one, str)]
    assert flag(name) in (named or [f"--{name.replace('_', '-')}"])


@pytest.mark.parametrize("name", sorted(NAMED - OF_BOTH - LEFT_OUT))
def test_an_option_in_a_file_is_refused_with_its_line(name: str, tmp_path: Path) -> None:
    """Every one of them, in both directions."""
    path = tmp_path / "node.toml"
    path.write_text(f"# a node\n{NAMES.get(name, name)} = 1\n")
    other = DOCUMENTS if name in OF_OPERATIONS else OPERATIONS

    with pytest.raises(ConfigError) as raised:
        check_profile(other, NONE, open_config(path), frozenset((name,)))

    assert str(raised.value).startswith(f"{path}:2: `{NAMES.get(name, name)}` is for nodes of ")


@pytest.mark.parametrize(
    ("text", "option"),
    [
        (f"[peer.{'ab' * 32}]\nreconcile = 'keys'\n", "reconcile_with"),
        ("[collection.notes]\nurgency = 'bulk'\n", None),
    ],
)
def test_a_table_of_the_other_profile_is_refused(
    text: str, option: str | None, tmp_path: Path
) -> None:
    """Peers and collections are those of documents."""
    path = tmp_path / "node.toml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=r":1: `(peer|collection)` is for nodes of documents"):
        check_profile(OPERATIONS, NONE, open_config(path), frozenset(filter(None, (option,))))


def test_what_the_environment_says_is_for_whom_it_concerns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is the same for every node that is started in it."""
    given = frozenset(("formation_secret_file",))
    options = RunOptions(listen=["ws://127.0.0.1:0"], formation_secret_file=Path("secret"))
    monkeypatch.setenv(SECRET_VARIABLE, "secret")
    check_profile(options, given, None, NONE)
    monkeypatch.setenv(SECRET_VARIABLE, "another")

    with pytest.raises(ConfigError, match="--formation-secret-file is for nodes of documents"):
        check_profile(options, given, None, NONE)


@pytest.mark.parametrize(
    ("listen", "option", "said"),
    [
        ("ws://127.0.0.1:0", ("--member", "/no/such"), "--member is for nodes of documents"),
        ("ws://127.0.0.1:0", ("--enroll-listen", "quic://127.0.0.1:0"), "--enroll-listen is for"),
        ("ws://127.0.0.1:0", ("--discover", "mdns"), "--discover is for nodes of documents"),
        ("ws://127.0.0.1:0", ("--peers-file", "/no/such"), "--peers-file is for"),
        ("ws://127.0.0.1:0", ("--peer", "ws://127.0.0.1:1"), "are those of --rendezvous"),
        ("tcp://127.0.0.1:0", ("--max-mesh-peers", "3"), "--max-mesh-peers is for nodes of signed"),
        ("quic://127.0.0.1:0", ("--mesh-address", "ws://h:1/crdt-sync"), "--mesh-address is for"),
    ],
)
def test_a_node_does_not_start_with_what_it_would_ignore(
    listen: str, option: tuple[str, str], said: str
) -> None:
    """One line on standard error and exit code 2, before any file is read."""
    # A node of signed operations would take no --open either.
    more = () if listen.startswith(WEBSOCKET) else ("--open",)
    done = run_here("run", "--listen", listen, *option, *more)

    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_for_the_other_profile_does_not_start_a_node(tmp_path: Path) -> None:
    """Also where it is the file that says where to listen."""
    path = tmp_path / "node.toml"
    path.write_text('listen = ["ws://127.0.0.1:0"]\nheartbeat_s = 5\n')
    done = run_here("run", "--config", str(path))

    assert done.returncode == 2
    assert f"{path}:2: `heartbeat_s` is for nodes of documents" in done.stderr
    assert done.stderr.count("\n") == 1
