"""How a command ends: no report outlives its run, and nothing ends without its own exit code."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from progress_lines import said

from meshwire_conformance.commands import process as ends
from meshwire_conformance.report.saving import replace_file
from meshwire_conformance.verdicts import ExitCode

pytestmark = pytest.mark.process

MAIN = (sys.executable, "-m", "meshwire_conformance.commands.main")
CODEC = f"stdio:'{sys.executable}' -m meshwire_reference.cli codec"
NO_PROGRAM = "stdio:/no/such/program"
NOTHING_FITS = ("check", CODEC, "--only", "no-such*")
EARLIER = {"xml": '<?xml version="1.0"?>\n<testsuites/>\n', "json": '{\n "report": 1\n}\n'}


def meshwire(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command run to its end."""
    return subprocess.run((*MAIN, *arguments), capture_output=True, text=True, check=False)


def earlier_reports(folder: Path) -> tuple[Path, Path, list[str]]:
    """Reports of an earlier run, as JUnit and JSON, and the options that write there."""
    paths = folder / "r.xml", folder / "r.json"
    for path in paths:
        path.write_text(EARLIER[path.suffix[1:]], encoding="ascii")
    return *paths, ["--report", f"junit={paths[0]}", f"--report=json={paths[1]}"]


def errors_in(path: Path) -> list[str]:
    """The message of each error of a JUnit report."""
    root = ET.fromstring(path.read_bytes())  # noqa: S314 - our own file
    counted = sum(int(suite.attrib["errors"]) for suite in root)
    errors = [error.attrib["message"] for error in root.iter("error")]
    assert counted == len(errors)
    return errors


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (NOTHING_FITS, "matches no case"),
        (("check", "nonsense"), "is no target"),
        (("check", CODEC, "--known-failing", "/no/such/file"), "cannot be read"),
        (("check", NO_PROGRAM, "--only", "LV-*"), "cannot be started"),
    ],
)
def test_a_run_without_a_verdict_is_red_in_its_reports(
    arguments: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    """An error that says why, in place of what an earlier run wrote."""
    junit, report, options = earlier_reports(tmp_path)
    done = meshwire(*arguments, *options)
    written = json.loads(report.read_text(encoding="ascii"))

    assert all(why in message for message in errors_in(junit))
    assert errors_in(junit)
    assert any(why in fault for run in written["runs"] for fault in run["faults"])
    assert written["exit_code"] == done.returncode > 1


def test_a_run_without_an_applicable_case_is_red_in_its_reports(tmp_path: Path) -> None:
    """Cases that are all skipped would be green."""
    junit, _, options = earlier_reports(tmp_path)
    done = meshwire("check", CODEC, "--only", "MW-5001", *options)

    assert done.returncode == ExitCode.INCOMPLETE
    assert ["needs a connection" in message for message in errors_in(junit)] == [True]


@pytest.mark.parametrize("wrong", [["--no-such-option"], ["--level", "lax"]])
def test_wrong_usage_leaves_no_report_of_an_earlier_run(wrong: list[str], tmp_path: Path) -> None:
    """Also where the options cannot be read at all."""
    junit, report, options = earlier_reports(tmp_path)
    done = meshwire("check", CODEC, *options, *wrong)

    assert done.returncode == ExitCode.FAULT
    assert not junit.exists()
    assert not report.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_ended_run_leaves_no_green_report(number: int, tmp_path: Path) -> None:
    """An error that says so, or no file."""
    held = tmp_path / "held"
    os.mkfifo(held)
    junit, _, options = earlier_reports(tmp_path)
    target = f"stdio:sh -c 'read x; echo a >{held}; read x; exec sleep 1000'"
    with subprocess.Popen(
        (*MAIN, "check", target, *options), stderr=subprocess.PIPE, text=True
    ) as process:
        assert held.read_text() == "a\n"
        process.send_signal(number)
        said = process.communicate(timeout=600)[1]

    if number == signal.SIGKILL:
        assert not junit.exists()
        return
    assert said.splitlines()[-1].startswith("meshwire: interrupted")
    assert process.returncode == ExitCode.FAULT
    assert ["interrupted" in message for message in errors_in(junit)] == [True]


def test_a_report_that_cannot_be_written_costs_no_other_and_no_verdict(tmp_path: Path) -> None:
    """The run is over by then; one line says which is missing, and the exit code is not green."""
    junit = tmp_path / "junit.xml"
    done = meshwire(
        *("check", CODEC, "--only", "MW-1158"),
        *("--report", "json=/dev/full", "--report", f"junit={junit}"),
    )
    others = errors_in(junit)
    stopped = meshwire(
        *("check", "nonsense", "--report", "json=/dev/full", "--report", f"html={junit}")
    )

    assert done.returncode == ExitCode.FAULT
    assert "every applicable case passed" in done.stdout
    assert others == []
    assert "meshwire: the report /dev/full cannot be written" in done.stderr.splitlines()[-1]
    assert stopped.stderr.splitlines()[-1].startswith("meshwire: 'nonsense' is no target")
    assert "/dev/full" in stopped.stderr
    assert "is no target" in junit.read_text()


@pytest.mark.parametrize("name", ["/dev/stdout", "out"])
def test_a_report_on_standard_output_stands_before_the_text(name: str, tmp_path: Path) -> None:
    """In a file too, where neither overwrites the other."""
    with (tmp_path / "out").open("w") as out:
        subprocess.run(
            (*MAIN, "check", CODEC, "--only", "MW-1158", "--report", f"json={name}"),
            cwd=tmp_path,
            stdout=out,
            check=True,
        )
    text = (tmp_path / "out").read_text()
    report, end = json.JSONDecoder().raw_decode(text)

    assert report["exit_code"] == 0
    assert text[end:].endswith("every applicable case passed (level strict, exit 0)\n")


def test_a_report_that_does_not_fit_leaves_no_part_of_it(tmp_path: Path) -> None:
    """And the ledger that was there before stays whole."""
    report, ledger = tmp_path / "report.html", tmp_path / "known.toml"
    report.write_text("<!doctype html>")
    ledger.write_text("# " + "a" * 2000)
    small = ("sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *MAIN)
    check = (*small, "check", CODEC, "--only", "MW-1158", "--report", f"html={report}")
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    with pytest.raises(OSError, match="large"), limited(1024):
        replace_file(ledger, b"b" * 4000)

    assert (done.returncode, "cannot be written" in done.stderr) == (ExitCode.FAULT, True)
    assert ledger.read_text() == "# " + "a" * 2000
    assert list(tmp_path.iterdir()) == [ledger]


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file may become longer than this; the signal of that is ignored, as Python does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_something_else_holds_is_written_in_place(tmp_path: Path) -> None:
    """A link and a file with two names stay what they are; the rights of a file stay too."""
    file, link, twin = tmp_path / "file", tmp_path / "link", tmp_path / "twin"
    file.write_text("old")
    file.chmod(0o640)
    replace_file(file, b"new")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o640)
    link.symlink_to(file)
    twin.hardlink_to(file)
    for path in (link, twin):
        replace_file(path, path.name.encode())

        assert file.read_text() == path.name
    assert link.is_symlink()


LONG = "a" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ("new-adapter", "c", LONG),
        ("ledger", "write", LONG, CODEC),
        ("check", CODEC, "--report", f"json={LONG}"),
        ("check", CODEC, "--report", f"json={LONG}/report"),
        ("check", CODEC, "--trace", LONG),
        ("check", CODEC, "--known-failing", LONG),
        ("check", "--target", LONG),
        ("report", "diff", LONG, LONG),
    ],
    ids=" ".join,
)
def test_a_name_that_no_file_can_have_is_a_mistake_of_its_writer(
    arguments: tuple[str, ...],
) -> None:
    """Not a fault of the suite."""
    done = meshwire(*arguments)

    assert done.returncode == ExitCode.FAULT
    assert len(said(done.stderr).splitlines()) == 1
    assert LONG[:200] in done.stderr
    assert "suite fault" not in done.stderr


def test_only_reports_are_withdrawn(tmp_path: Path) -> None:
    """A file that is no report of an earlier run stays, and so does one that nothing writes."""
    other, report = tmp_path / "other", tmp_path / "r.json"
    for arguments in (
        ["meshwire", "check", "--report", f"json={other}"],
        ["meshwire", "check", "--list", "--report", f"json={report}"],
        ["meshwire", "decode", "--report", f"json={report}"],
        ["meshwire", "check", "--report", f"pdf={report}"],
        ["meshwire", "check", "--report"],
    ):
        other.write_text("important")
        report.write_text(EARLIER["json"])
        ends.withdraw_reports(arguments)

        assert other.read_text() == "important"
        assert report.exists()
    ends.withdraw_reports(["meshwire", "check", f"--report=json={report}"])
    assert not report.exists()


def closing(arguments: tuple[str, ...]) -> int:
    """The exit code of a command whose reader is gone before it writes."""
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(
        (*MAIN, *arguments), stdout=writer, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(writer)
        stderr = process.communicate(timeout=600)[1]
    assert said(stderr) == ""
    return process.returncode


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",),
        ("--help",),
        ("check", "--list"),
        ("check", CODEC, "--only", "LV-*"),
        ("decode", "010000018bcfe56801"),
        ("vectors", "stats"),
    ],
)
def test_an_output_that_nobody_reads_is_incomplete(arguments: tuple[str, ...]) -> None:
    """If the verdict cannot be written the exit code is 3, without a message."""
    assert closing(arguments) == ExitCode.INCOMPLETE


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        (("check", "--list"), ""),
        (("check", "--list", "--json"), "1"),
        (("check", NO_PROGRAM, "--report", "json=/dev/stdout", "--quiet"), ""),
    ],
)
def test_a_reader_that_leaves_early_is_incomplete(
    arguments: tuple[str, ...], unbuffered: str
) -> None:
    """As `| head -1` does, after the first line, however Python writes to the pipe."""
    script = '"$@" | head -1 >/dev/null; exit "${PIPESTATUS[0]}"'
    command = ("bash", "-c", script, "sh", *MAIN, *arguments)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert done.returncode == ExitCode.INCOMPLETE
    assert said(done.stderr) == ""


def test_a_progress_that_cannot_be_written_costs_no_verdict() -> None:
    """The violations are on standard output, and so is the exit code theirs."""
    peer = Path(__file__).parents[1] / "programs" / "codec_peer.py"
    target = f"stdio:'{sys.executable}' '{peer}' empty"
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            (*MAIN, "check", target, "--only", "LV-001"),
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            check=False,
        )

    assert done.returncode == ExitCode.VIOLATIONS
    assert "exit 1" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("scheme", ["stdio", "node"])
def test_a_command_that_cannot_be_started_is_one_line(scheme: str) -> None:
    """No table of zeros; a call that is wrong is said on standard error."""
    done = meshwire("check", f"{scheme}:/no/such/program")

    assert done.stdout == ""
    assert said(done.stderr).count("\n") == 1
    assert "/no/such/program" in done.stderr
    assert done.returncode == ExitCode.INCOMPLETE


@pytest.mark.parametrize("survives", [False, True])
def test_a_hangup_ends_a_run_unless_it_is_ignored(
    survives: bool,  # noqa: FBT001 - a parameter of the test
    tmp_path: Path,
) -> None:
    """The terminal is gone, and with it its user; `nohup` says otherwise."""
    held, go = tmp_path / "held", tmp_path / "go"
    os.mkfifo(held)
    os.mkfifo(go)
    target = f"stdio:sh -c 'read x; echo $$ >{held}; read x <{go}; exit 7'"
    ignoring = ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh") if survives else ()
    command = (*ignoring, *MAIN, "check", target, "--only", "MW-1001")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        child = int(held.read_text())
        process.send_signal(signal.SIGHUP)
        if survives:
            go.write_text("go\n")
        stderr = process.communicate(timeout=600)[1]

    assert ("interrupted" in stderr) is not survives
    assert (process.returncode == ExitCode.FAULT) is not survives
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


ELSEWHERE = """
import importlib, os, sys

module = importlib.import_module(sys.argv.pop(1))
os.name, sys.platform = sys.argv.pop(1).split()
module.main()
"""
"""Runs the `main` of a module as on another system."""


@pytest.mark.parametrize("system", ["nt win32", "posix wasi", "posix emscripten"])
@pytest.mark.parametrize(
    "module", ["meshwire_conformance.commands.main", "meshwire_reference.cli.app"]
)
def test_a_system_that_is_not_supported_is_one_line(module: str, system: str) -> None:
    """Exit 2 before anything of it is used, and what to do instead."""
    command = (sys.executable, "-c", ELSEWHERE, module, system, "--version")
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == ExitCode.FAULT
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert system.split()[1] in done.stderr
    assert "WSL" in done.stderr
