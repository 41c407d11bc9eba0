"""`meshwire-node run` as a process: the ready line, its end, and what it refuses to start with."""

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from meshwire_reference.cli import app as cli
from meshwire_reference.cli.run import serve
from meshwire_reference.core.settings import Dialect, Settings
from meshwire_reference.node.config import Config
from meshwire_reference.node.driver import Node
from meshwire_reference.testing.commands import run
from meshwire_spec.numbers import (
    CAPABILITIES,
    FRAME_STALL_S,
    HANDSHAKE_S,
    OPTIONAL_CAPABILITIES,
    PAYLOAD_MAX,
)
from run_here import run_here
from turns import all_wait

COMMAND = (sys.executable, "-m", "meshwire_reference.cli", "run")
LISTEN = ("--listen", "tcp://127.0.0.1:0")
LIMIT_S = 600
"""Seconds after which a test hangs; nothing takes as long."""
SECRET = base64.b64encode(b"\x42" * 32).decode()

pytestmark = [pytest.mark.process, pytest.mark.socket]


def environment(**changes: str) -> dict[str, str]:
    """Return the environment without what would change the node."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESHWIRE_")}
    return kept | {"COLUMNS": "100"} | changes


def refused(*options: str, is_process: bool = False) -> str:
    """Run a node that must not start and return the one line it says."""
    done = (run if is_process else run_here)("run", *options)

    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def ready(*options: str, **changes: str) -> tuple[dict[str, object], int, str]:
    """Start a node, end it when it is ready; return ready line, exit code and what else it said."""
    process = subprocess.Popen(
        (*COMMAND, *LISTEN, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**changes),
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        more, errors = process.communicate(timeout=LIMIT_S)
    assert more == ""
    facts: dict[str, object] = json.loads(line)
    return facts, process.returncode, errors


def test_the_ready_line_keeps_to_its_schema() -> None:
    """An open node with the deadlines of the profile; SIGTERM ends it with 0."""
    facts, code, errors = ready("--open", "--metrics", "127.0.0.1:0")
    schema = resources.files("meshwire_spec") / "schemas" / "ready.json"
    Draft202012Validator(json.loads(schema.read_text("utf-8"))).validate(facts)

    assert code == 0
    assert errors == ""
    assert facts["dialect"] == "open"
    assert facts["payload_cap"] == PAYLOAD_MAX
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/metrics", str(facts["metrics"]))
    assert facts["deadlines"] == {"handshake_s": HANDSHAKE_S, "frame_stall_s": FRAME_STALL_S}


@pytest.mark.parametrize(
    ("options", "offered"),
    [
        (("--reconcile",), {*CAPABILITIES, "reconciliation", "reconciles"}),
        ((), {*CAPABILITIES, "reconciliation"}),
        (("--no-reconciliation",), {*CAPABILITIES}),
    ],
)
def test_the_ready_line_names_what_is_served(options: tuple[str, ...], offered: set[str]) -> None:
    """A node states that it serves reconciliations, and that it begins some, where it does."""
    facts, _, _ = ready("--open", *options)

    assert facts["capabilities"] == [
        name for name in (*CAPABILITIES, *OPTIONAL_CAPABILITIES) if name in offered
    ]


@pytest.mark.parametrize(
    ("options", "dialect", "detects"),
    [
        ((), "H1", True),
        (("--dialect", "H2"), "H2", True),
        (("--dialect", "H2", "--no-detection"), "H2", False),
    ],
)
def test_the_ready_line_names_the_dialects(
    tmp_path: Path, options: tuple[str, ...], dialect: str, *, detects: bool
) -> None:
    """The one in which the node dials first, and whether it knows the other one too."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    facts, _, _ = ready("--formation-id", "squad", *options, MESHWIRE_FORMATION_FILE=str(file))

    assert facts["dialect"] == dialect
    assert ("detection" in str(facts["capabilities"])) is detects


@pytest.mark.parametrize("is_tested", [False, True])
def test_the_ready_line_names_the_control_socket(tmp_path: Path, *, is_tested: bool) -> None:
    """By its whole path; a node for tests says that it is one, and logs it."""
    path = tmp_path / "n.sock"
    more = ("--test-control",) if is_tested else ()
    facts, code, errors = ready("--open", "--control", str(path), *more)
    schema = resources.files("meshwire_spec") / "schemas" / "ready.json"
    Draft202012Validator(json.loads(schema.read_text("utf-8"))).validate(facts)

    assert code == 0
    assert facts["control"] == str(path)
    assert "control" in list(facts["capabilities"])  # type: ignore[call-overload] # a list
    assert ("test-control" in str(facts["capabilities"])) is is_tested
    assert ('"event": "for-tests"' in errors) is is_tested


def test_a_node_with_a_store_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """Its endpoint id stays; without a store it has a new one each time."""
    stored = ("--open", "--data", str(tmp_path / "data"))
    first, second = ready(*stored), ready(*stored)
    other = ready("--open")

    assert first[0]["endpoint_id"] == second[0]["endpoint_id"] != other[0]["endpoint_id"]
    assert (first[1:], second[1:]) == ((0, ""), (0, ""))


def test_a_folder_has_one_node(tmp_path: Path) -> None:
    """A second one says so on one line and leaves the first alone."""
    data = str(tmp_path / "data")
    with subprocess.Popen(
        (*COMMAND, *LISTEN, "--open", "--data", data),
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        said = refused(*LISTEN, "--open", "--data", data, is_process=True)
        process.send_signal(signal.SIGTERM)

    assert "in use by another process" in said
    assert said.count("\n") == 1
    assert process.returncode == 0


def test_a_damaged_store_is_said_in_one_line(tmp_path: Path) -> None:
    """And it stays as it is."""
    (tmp_path / "store.sqlite").write_bytes(b"damaged" * 1000)
    said = refused(*LISTEN, "--open", "--data", str(tmp_path))

    assert said.count("\n") == 1
    assert (tmp_path / "store.sqlite").read_bytes() == b"damaged" * 1000


def test_a_formation_shows_its_name_and_never_its_secret(tmp_path: Path) -> None:
    """The file may come from the environment, with blanks around the secret."""
    file = tmp_path / "secret"
    file.write_text(f" {SECRET}\n\n")
    facts, code, errors = ready(
        "--formation-id",
        "squad",
        "--handshake-s",
        "2",
        "--frame-stall-s",
        "3",
        "--connect",
        "tcp://127.0.0.1:1",
        "--redial-s",
        "0.5",
        MESHWIRE_FORMATION_FILE=str(file),
    )

    assert code == 0
    assert (facts["dialect"], facts["formation_id"]) == ("H1", "squad")
    assert facts["deadlines"] == {"handshake_s": 2.0, "frame_stall_s": 3.0}
    # The longest wait, with its jitter.
    assert facts["redial_s"] == pytest.approx(0.6)
    assert SECRET not in json.dumps(facts) + errors


def test_a_node_is_open_or_has_a_formation() -> None:
    """HS-038: neither and both are refused."""
    assert "choose one of --open" in refused(*LISTEN)
    assert "choose one of --open" in refused(*LISTEN, "--open", "--formation-id", "x")


@pytest.mark.parametrize("content", ["not base64!", SECRET[:-1], "", "  \n", "é"])
def test_a_bad_secret_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    """In one line that names the file."""
    file = tmp_path / "secret"
    file.write_text(content, "utf-8")
    said = refused(*LISTEN, "--formation-id", "x", "--formation-secret-file", str(file))

    assert str(file) in said
    assert said.count("\n") == 1
    assert not content.strip() or content.strip() not in said


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--open",), "--listen is missing"),
        ((*LISTEN, "--formation-id", "x"), "MESHWIRE_FORMATION_FILE"),
        ((*LISTEN, "--formation-id", "x", "--formation-secret-file", "/no/such"), "/no/such"),
        (("--open", "--listen", "gopher://127.0.0.1:0"), "gopher"),
        (("--open", "--listen", "tcp://192.0.2.1:0"), "192.0.2.1"),
        ((*LISTEN, "--open", "--handshake-s", "0"), "--handshake-s"),
        ((*LISTEN, "--open", "--frame-stall-s", "nan"), "--frame-stall-s"),
        ((*LISTEN, "--open", "--document-call-s", "0"), "--document-call-s must"),
        ((*LISTEN, "--open", "--document-call-s-per-kib", "inf"), "--document-call-s-per-kib"),
        ((*LISTEN, "--open", "--redial-s", "0"), "--redial-s"),
        ((*LISTEN, "--open", "--payload-cap", "6"), "--payload-cap"),
        ((*LISTEN, "--open", "--quic-datagram", "1199"), "--quic-datagram"),
        ((*LISTEN, "--open", "--quic-datagram", "65508"), "--quic-datagram"),
        ((*LISTEN, "--open", "--quic-idle-s", "nan"), "--quic-idle-s"),
        ((*LISTEN, "--open", "--quic-keep-alive-s", "0"), "--quic-keep-alive-s"),
        ((*LISTEN, "--open", "--quic-idle-s", "5"), "--quic-keep-alive-s must be below"),
        (("--open", "--listen", "tcp://[::1"), "tcp://[::1"),
        ((*LISTEN, "--open", "--connect", "gopher://127.0.0.1:1"), "gopher"),
        ((*LISTEN, "--open", "--connect", "tcp://127.0.0.1"), "tcp://127.0.0.1"),
        ((*LISTEN, "--open", "--connect", "tcp://127.0.0.1:0"), "no port to dial"),
        ((*LISTEN, "--open", "--connect", "tcp://192.0.2.1:9"), "--lab"),
        ((*LISTEN, "--open", "--connect", "memory://x"), "memory://x"),
        (("--open", "--listen", "memory://x"), "memory://x"),
        ((*LISTEN, "--open", "--reconcile-with", "abcd"), "64 hex digits"),
        ((*LISTEN, "--open", "--own-peer", "abcd"), "--own-peer abcd"),
        ((*LISTEN, "--open", "--dead-peer-s", "-1"), "--dead-peer-s"),
        ((*LISTEN, "--open", "--metrics", "9464"), "--metrics"),
        ((*LISTEN, "--open", "--metrics", "127.0.0.1:65536"), "--metrics"),
        ((*LISTEN, "--open", "--metrics", "192.0.2.1:0"), "192.0.2.1"),
        (("--listen", "ws://127.0.0.1:0/crdt-sync", "--metrics", "127.0.0.1:0"), "--metrics"),
        ((*LISTEN, "--open", "--graveyard-days", "nan"), "--graveyard-days"),
        ((*LISTEN, "--open", "--load", ""), "name of a folder"),
        ((*LISTEN, "--open", "--data", ""), "name of a folder"),
        ((*LISTEN, "--open", "--data", "/dev/null"), "/dev/null"),
        ((*LISTEN, "--open", "--load", "/no/such"), "cannot read /no/such"),
        ((*LISTEN, "--open", "--load", "/dev/null"), "cannot read /dev/null"),
        (("--open", "--lab", "--listen", f"tcp://{'h' * 300}:0"), "invalid host name"),
        ((*LISTEN, "--formation-id", "\udcff"), "not UTF-8"),
        ((*LISTEN, "--formation-id", "x", "--formation-secret-file", "/dev/zero"), "more than"),
        ((*LISTEN, "--formation-id", "x", "--formation-secret-file", "/"), "cannot read /"),
    ],
)
def test_what_cannot_be_started_is_said_in_one_line(options: tuple[str, ...], part: str) -> None:
    """With exit code 2 and no traceback."""
    # The tests of this process may have offered the transport within a process.
    said = refused(*options, is_process="memory://x" in options)

    assert part in said
    assert said.count("\n") == 1


def test_each_option_says_what_it_is_for() -> None:
    """In the help of the command, with its name as the page on running has it."""
    said = subprocess.run(
        (*COMMAND, "--help"),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=environment(),
        check=True,
    ).stdout
    page = (Path(__file__).parents[3] / "spec" / "15-running.md").read_text("utf-8")

    for name in ("--own-peer", "--dead-peer-s", "--graveyard-days", "--reconcile-with"):
        assert name in said
        assert f"`{name}" in page
    assert "polls are not answered" in " ".join(said.replace("│", " ").split())


@pytest.mark.parametrize(
    ("command", "part"),
    [("run --listen tcp://127.0.0.1:0 --open >&-", "output is closed"), ("codec <&-", "input")],
)
def test_closed_streams_are_said_in_one_line(command: str, part: str) -> None:
    """With exit code 2: there is nobody to talk to."""
    line = f"{sys.executable} -m meshwire_reference.cli {command}"
    done = subprocess.run(
        ("/bin/sh", "-c", line),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert done.returncode == 2
    assert part in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_error_of_the_node_itself_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unexpected exception has no traceback, and exit code 1."""

    def fail() -> None:
        raise KeyError("of two\nlines")

    monkeypatch.setattr(cli, "run_command_line", fail)
    with pytest.raises(SystemExit) as left:
        cli.main()

    assert left.value.code == 1
    assert capsys.readouterr().err == "meshwire-node: internal error: KeyError: 'of two\\nlines'\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_node_that_still_starts(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder is not read to its end first, and no ready line is written."""
    seen: list[str] = []

    async def start(_node: Node) -> None:
        signal.raise_signal(number)
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("given up")

    monkeypatch.setattr(Node, "start", start)
    config = Config(("tcp://127.0.0.1:0",), Settings(Dialect.OPEN))

    assert asyncio.run(serve(config)) == 0
    assert seen == ["given up"]
    assert capsys.readouterr().out == ""


def test_a_node_goes_on_where_a_hangup_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `nohup` has it ignored; SIGTERM ends the node all the same."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    seen: list[str] = []

    async def start(_node: Node) -> None:
        signal.raise_signal(signal.SIGHUP)
        await all_wait()
        seen.append("goes on")
        signal.raise_signal(signal.SIGTERM)
        await asyncio.Event().wait()

    monkeypatch.setattr(Node, "start", start)
    config = Config(("tcp://127.0.0.1:0",), Settings(Dialect.OPEN))
    try:
        assert asyncio.run(serve(config)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)

    assert seen == ["goes on"]


def test_a_fault_is_said_in_one_line_whatever_a_name_has(tmp_path: Path) -> None:
    """A name in a file may contain line ends."""
    file = tmp_path / "node.toml"
    file.write_text('open = true\n"op\\nen" = 1\n')
    said = refused(*LISTEN, "--config", str(file))

    assert said.count("\n") == 1
    assert "is unknown" in said
