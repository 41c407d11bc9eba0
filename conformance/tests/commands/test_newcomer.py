"""The first use of the command line: mistakes, hints and help."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from progress_lines import said

from meshwire_conformance.commands import app
from meshwire_conformance.commands.check import CheckOptions, check_command
from meshwire_conformance.errors import Incomplete, Interrupted, UsageError
from meshwire_conformance.report.ledger import UNTRIED, KnownFailure, apply_ledger
from meshwire_conformance.report.record import Report, TargetRun
from meshwire_conformance.report.text import NAME, lines_of
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.progress import CaseOver
from meshwire_conformance.run.runner import Options, check
from meshwire_conformance.targets.base import parse_target
from meshwire_conformance.verdicts import CaseResult, ExitCode, Verdict

PEER = Path(__file__).parents[1] / "programs" / "codec_peer.py"
INTERRUPTING = """
import os, signal, sys

moment, target = sys.argv[1:]
came = []

def notice(event, arguments):
    if event in ("import", "open", "subprocess.Popen") and not came and moment in str(arguments):
        came.append(event)
        os.kill(os.getpid(), signal.SIGINT)

sys.argv = ["meshwire", "check", target]
sys.addaudithook(notice)
from meshwire_conformance.commands.main import main
main()
"""
"""A program that runs `meshwire check` and is interrupted at a moment of the caller's choice."""
CASES = load_catalogue().cases
CHMOD = "chmod +x ./codec.py, or python3 ./codec.py"
UNSTARTABLE = (
    *("stdio:./codec.py", "stdio:codec.py", "stdio:run.sh", "node:./codec.py"),
    *("stdio:./my-codec", "node:./my-codec"),
)


def meshwire(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command run to its end."""
    command = [sys.executable, "-m", "meshwire_conformance.commands.main", *arguments]
    environment = {**os.environ, **more}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=600, env=environment
    )


def report_of(*results: CaseResult, name: str = "codec", digest: str = "0" * 64) -> Report:
    """A report over these results of one run."""
    faults = tuple({text for result in results for text in result.reasons if text == "no start"})
    return Report(
        suite_version="1",
        spec_revision="sync/1",
        suite_digest="1" * 64,
        selection_digest=digest,
        level="strict",
        seed=0,
        target="stdio:x",
        cases=load_catalogue().by_id,
        runs=[TargetRun(name, "stdio:x", results, faults)],
        exit_code=ExitCode.PASSED,
    )


@pytest.mark.parametrize("shown", ["", "1"])
def test_a_fault_of_the_suite_is_one_line(
    shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The traceback of a fault is shown only if requested."""

    def breaks() -> int:
        raise LookupError("an entry\nis missing")

    monkeypatch.setattr(app, "_run_arguments", breaks)
    if shown:
        monkeypatch.setenv(app.SHOW_TRACEBACK, "1")
    code = app.run()
    said = capsys.readouterr().err

    assert code == ExitCode.FAULT
    assert "suite fault: LookupError: an entry is missing at test_newcomer.py:" in said
    assert ("Traceback" in said) is bool(shown)
    assert shown or said.count("\n") == 1


def test_an_interrupt_tells_what_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and the counts so far."""

    def interrupted(_targets: object, _text: str, options: Options, _start: object) -> Report:
        assert options.watcher is not None
        for number, verdict in enumerate((Verdict.PASS, Verdict.FAIL)):
            case = CASES[number]
            options.watcher(CaseOver(case, CaseResult(case.id, verdict), number + 1, 9))
        raise KeyboardInterrupt

    monkeypatch.setattr("meshwire_conformance.commands.check.check", interrupted)
    with pytest.raises(Interrupted, match="interrupted: 2 cases were over, 1 passed, 1 failed"):
        check_command(CheckOptions(targets=["stdio:x"]))


def run_interrupted_at(moment: str, target: str) -> subprocess.CompletedProcess[str]:
    """A check that interrupts itself once, as soon as it loads or starts what has this name."""
    command = [sys.executable, "-c", INTERRUPTING, moment, target]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    done.stderr = said(done.stderr)
    return done


@pytest.mark.process
@pytest.mark.parametrize(
    ("moment", "so_far"),
    [
        ("meshwire_conformance.commands.app", ""),
        ("meshwire_conformance.commands.check", ""),
        ("/frames.transcript.json", ""),
        ("meshwire_conformance.codec_suite.manners", ": 0 cases were over, 0 passed, 0 failed"),
        ("meshwire_reference.cli", ": 0 cases were over, 0 passed, 0 failed"),
        ("meshwire_conformance.report.text", ""),
    ],
)
def test_an_interrupt_at_any_moment_is_one_line(moment: str, so_far: str) -> None:
    """While modules and cases are loaded, in the codec part, and while the report is written."""
    done = run_interrupted_at(moment, f"stdio:'{sys.executable}' -m meshwire_reference.cli codec")

    assert done.stderr == f"meshwire: interrupted{so_far}\n"
    assert done.returncode == ExitCode.FAULT


@pytest.mark.process
@pytest.mark.socket
@pytest.mark.parametrize(
    "moment",
    [
        "meshwire_conformance.socket_suite.needs",
        "meshwire_reference.cli",
        "meshwire_conformance.documents.child",
    ],
)
def test_an_interrupted_run_leaves_no_node(moment: str, tmp_path: Path) -> None:
    """Also while the process of the suite's own documents is started."""
    held = tmp_path / "held"
    os.mkfifo(held)
    node = f"'{sys.executable}' -m meshwire_reference.cli run --listen tcp://127.0.0.1:0 --open"
    with open_without_writer(held) as reader:
        done = run_interrupted_at(moment, f'node:sh -c "exec {node} 9>{held}"')

        # The end of the pipe, and not the message for a pipe that is still open for writing.
        assert reader.read() == b""
    assert done.stderr == "meshwire: interrupted: 0 cases were over, 0 passed, 0 failed\n"
    assert done.returncode == ExitCode.FAULT


def open_without_writer(path: Path) -> BinaryIO:
    """A named pipe, opened although nobody writes to it yet."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)


@pytest.mark.process
def test_a_second_interrupt_waits_for_nothing(tmp_path: Path) -> None:
    """A process that does not end is killed."""
    held = tmp_path / "held"
    os.mkfifo(held)
    stays = f"read x; echo a >&9; cat; echo b >&9; exec tail -f {os.devnull}"
    target = f"stdio:sh -c 'exec 9>{held}; {stays}'"
    command = [sys.executable, "-m", "meshwire_conformance.commands.main", "check", target]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        # The peer says when it was greeted, and when its input has ended.
        with held.open("rb", buffering=0) as reader:
            for line in (b"a\n", b"b\n"):
                assert reader.read(2) == line
                process.send_signal(signal.SIGINT)
            assert reader.read() == b""
        said = process.communicate(timeout=600)[1]

    assert said == "meshwire: interrupted: 0 cases were over, 0 passed, 0 failed\n"
    assert process.returncode == ExitCode.FAULT


@pytest.mark.process
def test_the_command_of_a_failure_has_all_that_matters(tmp_path: Path) -> None:
    """A failure under a ledger comes again only with it."""
    ledger = tmp_path / "a ledger.toml"
    ledger.write_text(
        f"[[known]]\nid = '{CASES[0].id}'\nreason = 'r'\nsymptom = 'other'\n", encoding="utf-8"
    )
    target = f"stdio:'{sys.executable}' '{PEER}' empty"
    options = Options(
        only=(CASES[0].id,), known_failing=ledger, timeout_scale=2.0, writes_are_ok=True
    )
    report = check([parse_target(target)], target, options)
    run, case, _ = next(report.failures())
    again = report.again(run, case)
    script = again.replace(
        "meshwire", f"'{sys.executable}' -m meshwire_conformance.commands.main", 1
    )
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)  # noqa: S607 - sh is everywhere

    assert f"--known-failing '{ledger}'" in again
    assert "--timeout-scale 2 --writes-are-ok" in again
    assert done.returncode == ExitCode.VIOLATIONS, done.stderr
    assert "known to fail with" in done.stdout


@pytest.mark.parametrize("place", ["no/folder/x.xml", "."])
def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    place: str, tmp_path: Path
) -> None:
    """Nothing is started for a report that will be lost."""
    with pytest.raises(UsageError, match="--report"):
        check_command(
            CheckOptions(targets=["stdio:/no/such/program"], report=[f"junit={tmp_path / place}"])
        )


@pytest.mark.process
@pytest.mark.parametrize("arguments", [(), ("vectors",)])
def test_a_command_without_anything_shows_its_help(arguments: tuple[str, ...]) -> None:
    """As it was laid out, in lines."""
    done = meshwire(*arguments)

    assert done.returncode == ExitCode.FAULT
    assert len(done.stdout.splitlines()) > 8
    assert said(done.stderr) == ""


def test_a_ledger_entry_that_was_not_tried_is_said() -> None:
    """In one line, and it is no failure."""
    known = {CASES[0].id: KnownFailure(CASES[0].id, "r", "s")}
    results = apply_ledger([CaseResult(CASES[0].id, Verdict.NOT_APPLICABLE, ("no",))], known)
    text = "\n".join(lines_of(report_of(*results)))

    assert f"{UNTRIED}: 1 ({CASES[0].id})" in text


def test_columns_stand_below_their_headings() -> None:
    """Also where the name of the target is long."""
    results = [CaseResult(case.id, Verdict.PASS) for case in CASES[:3]]
    lines = list(lines_of(report_of(*results, name="stdio:" + "x" * 80)))
    head = next(line for line in lines if "applicable" in line)
    below = next(line for line in lines if line.startswith("  all"))

    assert head.startswith(" " * NAME)
    assert len(head) == len(below)
    assert "not run" in head


def test_parts_without_a_case_are_folded() -> None:
    """One line for all of them, and why where nothing at all could be asked."""
    results = [CaseResult(case.id, Verdict.NOT_APPLICABLE, ("needs a link",)) for case in CASES]
    text = "\n".join(lines_of(report_of(*results)))

    assert "no case applicable: batches (" in text
    assert f"not applicable {len(CASES)}: needs a link ({CASES[0].id}, {CASES[1].id}, " in text
    assert sum(line.startswith("  frames") for line in text.splitlines()) == 0


def test_what_could_not_start_is_said_once() -> None:
    """With the number of cases that wait for it."""
    results = [CaseResult(case.id, Verdict.COULD_NOT_RUN, ("no start",)) for case in CASES[:7]]
    text = "\n".join(lines_of(report_of(*results)))

    assert text.count("no start") == 1
    assert "(7 cases could not run)" in text


def test_the_second_digest_is_that_of_a_selection() -> None:
    """Left out where everything was selected."""
    report = report_of(CaseResult(CASES[0].id, Verdict.PASS))

    assert any("(those selected)" in line for line in lines_of(report))
    everything = replace(report, selection_digest=report.suite_digest)
    assert not any(line.startswith("cases") for line in lines_of(everything))


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("ts-*", "try 'TS-*'"),
        ("TS-*,LV-*", "repeat the option"),
        ("heartbeat TS-001", "repeat the option"),
        ("TX-*", "did you mean TS-*?"),
        ("hartbeat", "did you mean heartbeat?"),
        ("MW-10x1", "did you mean MW-"),
        ("lv-0002", "did you mean LV-002?"),
    ],
)
def test_a_pattern_that_fits_nothing_gets_a_hint(pattern: str, hint: str) -> None:
    """Small letters, several patterns in one, and the id, page of rules or kind that is closest."""
    with pytest.raises(Incomplete, match="matches no case") as raised:
        load_catalogue().select([pattern])

    assert hint in str(raised.value)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["chek"], "Did you mean 'check'?"),
        (["vectors", "statz"], "Did you mean 'stats'?"),
        (["check", "--olny", "TS-*"], "did you mean --only?"),
        (["check", "tpc://127.0.0.1:4711"], "did you mean tcp://HOST:PORT?"),
        (["check", "studio:./codec"], "did you mean stdio:COMMAND?"),
        (["check", "http://127.0.0.1:4711"], "expected tcp://HOST:PORT"),
        (["check", "--list", "--kind", "hartbeat"], "did you mean heartbeat?"),
        (["check", "tcp:127.0.0.1:4711"], "did you mean tcp://127.0.0.1:4711?"),
        (["check", "tcp:/127.0.0.1:4711"], "did you mean tcp://127.0.0.1:4711?"),
        (["check", "TCP://127.0.0.1:4711"], "did you mean tcp://127.0.0.1:4711?"),
        (["check", "Stdio:./codec"], "did you mean stdio:./codec?"),
        (["check", "codec.py"], "did you mean stdio:./codec.py?"),
        (["check", "./codec.py"], "did you mean stdio:./codec.py?"),
        (["check", "my codec.py"], """did you mean "stdio:'./my codec.py'"?"""),
        pytest.param(["check", "stdio:./codec.py"], CHMOD, marks=pytest.mark.process),
        pytest.param(["check", "stdio:codec.py"], CHMOD, marks=pytest.mark.process),
        pytest.param(
            ["check", "stdio:run.sh"], "did you mean ./run.sh?", marks=pytest.mark.process
        ),
        pytest.param(["check", "node:./codec.py"], CHMOD, marks=pytest.mark.process),
        pytest.param(["check", "stdio:./my-codec"], "is a folder", marks=pytest.mark.process),
        pytest.param(["check", "node:./my-codec"], "is a folder", marks=pytest.mark.process),
        (["decode", "--kind", "heartbeet", "00"], "did you mean heartbeat?"),
    ],
)
def test_a_typing_error_gets_a_suggestion(
    words: list[str],
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Commands, options, targets, kinds and files: one line with what was meant."""
    for name in ("codec.py", "my codec.py", "run.sh"):
        (tmp_path / name).write_text("print()\n")
    (tmp_path / "run.sh").chmod(0o700)
    (tmp_path / "my-codec").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["meshwire", *words])
    code = app.run()
    said = capsys.readouterr().err

    # A command that cannot be started leaves the run incomplete, however it is called.
    assert code == (ExitCode.INCOMPLETE if words[-1] in UNSTARTABLE else ExitCode.FAULT)
    assert hint in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("option", ["--writes-are-okay", "--writes-are", "--write-are-ok"])
def test_no_suggestion_allows_harm(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The option that allows writing to other machines is for those who know its name."""
    monkeypatch.setattr(sys, "argv", ["meshwire", "check", "tcp://192.0.2.1:9", option])
    code = app.run()
    said = capsys.readouterr().err

    assert code == ExitCode.FAULT
    assert option in said
    assert "writes-are-ok" not in said.replace(option, "")


@pytest.mark.process
def test_the_target_stands_in_brackets_once() -> None:
    """It may be left out, and the help says so without a riddle."""
    shown = meshwire("check", "--help").stdout

    assert "[TARGET]" in shown
    assert "[[" not in shown
