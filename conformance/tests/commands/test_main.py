"""The command line as its users meet it: exit codes, one clear line, no traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from progress_lines import said

pytestmark = pytest.mark.process

PEER = Path(__file__).parents[1] / "programs" / "codec_peer.py"
CODEC = f"stdio:'{sys.executable}' -m meshwire_reference.cli codec"
HEARTBEAT = "010000018bcfe56801"


def meshwire(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command run to its end."""
    command = [sys.executable, "-m", "meshwire_conformance.commands.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("check", CODEC, "--only", "LV-*"), 0),
        (("check", f"stdio:'{sys.executable}' '{PEER}' truncated", "--only", "LV-*"), 1),
        (("check", "nonsense"), 2),
        (("check", CODEC, "--target", "x.toml"), 2),
        (("check", CODEC, "--report", "pdf=x"), 2),
        (("check", CODEC, "--level", "lax"), 2),
        (("check", CODEC, "--timeout-scale", "0"), 2),
        (("check", CODEC, "--no-such-option"), 2),
        (("check", CODEC, "--known-failing", "/no/such/file"), 2),
        (("check", CODEC, "--trace", "/no/such/folder/trace", "--only", "LV-*"), 2),
        (("no-such-command",), 2),
        (("check", "tcp://192.0.2.1:9"), 2),
        (("check", CODEC, "--only", "no-such*"), 3),
        (("check", "stdio:/no/such/program", "--only", "LV-*"), 3),
        (("check", "tcp://127.0.0.1:9"), 3),
        (("decode", "zz"), 2),
        (("decode", "--kind", "nonsense", "00"), 2),
        (("decode", "--kind", "heartbeat", HEARTBEAT), 0),
        (("decode", "--kind", "heartbeat", "02"), 1),
        (("decode", HEARTBEAT), 0),
        (("decode", "0001780100000000"), 1),
        (("decode", "ffffffffffffff"), 1),
    ],
)
def test_exit_codes_and_no_traceback(arguments: tuple[str, ...], code: int) -> None:
    """Wrong usage, and an empty selection, are reported in one line on stderr; failures too."""
    done = meshwire(*arguments)

    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    told = said(done.stderr).splitlines()
    assert len([line for line in told if not line.startswith("FAIL MW-")]) == (code >= 2)
    assert ("FAIL MW-" in done.stderr) == (code == 1 and arguments[0] == "check")


@pytest.mark.parametrize(
    "command",
    [(), ("check",), ("decode",), ("vectors",), ("vectors", "stats"), ("vectors", "verify")],
)
def test_every_command_has_help_with_an_example(command: tuple[str, ...]) -> None:
    """A stranger sees how it is called."""
    done = meshwire(*command, "--help")

    assert done.returncode == 0
    assert "Example: meshwire" in done.stdout


def test_version_names_suite_and_specification() -> None:
    """Version, spec revision and digest in one line."""
    done = meshwire("--version")

    assert done.returncode == 0
    assert "sync/1" in done.stdout
    assert len(done.stdout.split()[-1]) == 64


def test_list_has_a_line_a_case() -> None:
    """Id, kind or socket, rules and title; nothing is run."""
    lines = meshwire("check", "--list").stdout.splitlines()

    assert len(lines) >= 600
    assert all(line.startswith("MW-") and len(line.split()) >= 4 for line in lines)
    assert meshwire("check", "--list", "--only", "LV-002").stdout.count("\n") < len(lines)


def test_reports_and_trace_are_written(tmp_path: Path) -> None:
    """Both formats in one run, and everything sent and received as JSON lines."""
    junit, report, trace = (tmp_path / name for name in ("a.xml", "a.json", "a.jsonl"))
    done = meshwire(
        *("check", CODEC, "--only", "LV-*", "--report", f"junit={junit}"),
        *("--report", f"json={report}", "--trace", str(trace)),
    )
    lines = [json.loads(line) for line in trace.read_text().splitlines()]

    assert done.returncode == 0
    assert junit.read_text().startswith("<?xml")
    assert json.loads(report.read_text())["exit_code"] == 0
    assert {"sent", "received"} <= {name for line in lines for name in line}


def test_a_failure_repeats_with_its_own_command(tmp_path: Path) -> None:
    """The last line of a failure is a command that fails for this case alone."""
    del tmp_path
    target = f"stdio:'{sys.executable}' '{PEER}' echo"
    done = meshwire("check", target, "--only", "LV-001")
    again = next(line for line in done.stdout.splitlines() if line.strip().startswith("again"))

    assert "--only MW-" in again
    assert meshwire("check", target, "--only", again.split("--only ")[1]).returncode == 1


def test_a_pipe_that_closes_is_no_traceback() -> None:
    """`meshwire check --list | head -1` ends quietly."""
    script = f"'{sys.executable}' -m meshwire_conformance.commands.main check --list | head -1"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)  # noqa: S607 - sh is everywhere

    assert "Traceback" not in done.stderr


def test_stats_has_no_empty_cell() -> None:
    """The table of fields and fault classes is full."""
    done = meshwire("vectors", "stats")

    assert done.returncode == 0
    assert "EMPTY" not in done.stdout


def test_both_codecs_agree() -> None:
    """On every vector and on made-up messages."""
    done = meshwire("vectors", "verify", "--seed", "3")

    assert done.returncode == 0, done.stdout
