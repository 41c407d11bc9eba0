"""What runs the suite in a gate: the script of the action, its data, the plugin of pytest."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "conformance" / "gate" / "run.sh"
INSTALL = SCRIPT.with_name("install.sh")
PEER = Path(__file__).parents[1] / "programs" / "buggy_codec.py"
PLUGIN = "meshwire_conformance.commands.pytest_plugin"


def codec(*bugs: int) -> str:
    """The target with these bugs."""
    return f"stdio:'{sys.executable}' '{PEER}' {' '.join(map(str, bugs))}".rstrip()


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """A command `meshwire` that runs the cases of heartbeats alone."""
    path = tmp_path / "meshwire"
    main = f"'{sys.executable}' -m meshwire_conformance.commands.main"
    path.write_text(f'#!/bin/sh\nexec {main} "$@" --only "LV-*"\n')
    path.chmod(0o755)
    return path


def gate(folder: Path, command: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """The script run to its end in a folder."""
    environment = {name: text for name, text in os.environ.items() if "GITHUB" not in name}
    return subprocess.run(
        ["/bin/sh", str(SCRIPT)],
        cwd=folder,
        env={**environment, "MESHWIRE": str(command), **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_the_script_writes_every_report_annotates_and_ends_as_the_check(
    tmp_path: Path, command: Path
) -> None:
    """A target with blanks and quotes needs no care; outside GitHub there are no annotations."""
    summary = tmp_path / "summary"
    red = gate(
        tmp_path,
        command,
        MESHWIRE_TARGET=codec(1),
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(summary),
    )
    reports = tmp_path / "meshwire-reports"
    green = gate(tmp_path, command, MESHWIRE_TARGET=codec(), MESHWIRE_REPORTS="other")

    assert red.returncode == 1, red.stderr
    assert re.search(r"^::error title=MW-\d+", red.stdout, re.MULTILINE)
    assert summary.read_text().startswith("## meshwire: failed")
    assert json.loads((reports / "report.json").read_text())["exit_code"] == 1
    assert json.loads((reports / "report.sarif").read_text())["version"] == "2.1.0"
    assert ET.parse(reports / "report.xml").getroot().tag == "testsuites"  # noqa: S314 - our own file
    assert (reports / "report.html").read_text().startswith("<!doctype html>")
    assert green.returncode == 0, green.stdout
    assert "::" not in green.stdout
    assert len(list((tmp_path / "other").iterdir())) == 7


def test_the_script_takes_a_ledger_and_a_level_and_needs_a_target(
    tmp_path: Path, command: Path
) -> None:
    """Wrong settings are the exit code 2 of the check."""
    (tmp_path / "known.toml").write_text("")
    known = gate(tmp_path, command, MESHWIRE_TARGET=codec(), MESHWIRE_KNOWN_FAILING="known.toml")
    wrong = gate(tmp_path, command, MESHWIRE_TARGET=codec(), MESHWIRE_LEVEL="lax")
    none = gate(tmp_path, command)

    assert " known, 0 new" in known.stdout
    assert (known.returncode, wrong.returncode, none.returncode) == (0, 2, 2)


@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        ({}, 2, "MESHWIRE_TARGET is not set"),
        ({"MESHWIRE_TARGET": "stdio:./x", "MESHWIRE": "./none"}, 2, "install meshwire first"),
        ({"MESHWIRE_TARGET": "stdio:./x", "MESHWIRE_LEVEL": "lax"}, 2, "the check ended with 2"),
        ({"MESHWIRE_TARGET": "stdio:./x"}, 3, "'./x' cannot be started"),
        ({"MESHWIRE_TARGET": f"stdio:{sys.executable} no.py"}, 3, "does not answer hello"),
    ],
)
def test_a_gate_that_judged_nothing_says_why_in_one_annotation(
    tmp_path: Path, command: Path, settings: dict[str, str], code: int, says: str
) -> None:
    """A ledger makes no violations of what was not judged, and no old annotations are shown."""
    (tmp_path / "known.toml").write_text(
        '[[known]]\nid = "MW-1163"\nreason = "r"\nsymptom = "wrong-reason truncated"\n'
    )
    gate(tmp_path, command, MESHWIRE_TARGET=codec(2))
    ledger = {"MESHWIRE_KNOWN_FAILING": "known.toml", "GITHUB_ACTIONS": "true"}
    done = gate(tmp_path, command, **ledger, **settings)
    shown = [line for line in done.stdout.splitlines() if line.startswith("::")]

    assert done.returncode == code, done.stdout + done.stderr
    assert len(shown) == 1
    assert shown[0].startswith("::error title=meshwire::")
    assert says in shown[0]


def test_the_action_runs_the_script_with_every_variable_that_it_reads() -> None:
    """No input is written into a command, where its text would be run."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    steps = action["runs"]["steps"]
    install, check, _ = steps
    read = set(re.findall(r"\$\{(MESHWIRE\w*)", SCRIPT.read_text()))
    given = set(install["env"]) | set(re.findall(r"(MESHWIRE\w*)=", install["run"]))

    assert set(check["env"]) == read
    assert given == set(re.findall(r"MESHWIRE_\w*", INSTALL.read_text()))
    assert all("${{" not in step.get("run", "") for step in steps)
    assert all(f"inputs.{name}" in str(steps) for name in action["inputs"])
    for step, script in ((install, INSTALL), (check, SCRIPT)):
        assert ROOT / step["run"].split("$GITHUB_ACTION_PATH/")[-1].strip().rstrip('"') == script


def path_with(folder: Path, python: str | None) -> str:
    """A PATH whose only python3 runs this text of a shell, if there is one."""
    folder.mkdir()
    for name in ("sh", "mkdir", "cat"):
        (folder / name).symlink_to(str(shutil.which(name)))
    if python is not None:
        program = folder / "python3"
        program.write_text(f"#!/bin/sh\n{python}\n")
        program.chmod(0o755)
    return str(folder)


def install(folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    """The script that installs, run to its end in GitHub with this PATH."""
    given = {"MESHWIRE_FOLDER": str(folder), "MESHWIRE_SOURCE": str(ROOT)}
    return subprocess.run(
        ["/bin/sh", str(INSTALL)],
        env={"PATH": path, "GITHUB_ACTIONS": "true", **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.parametrize(
    ("python", "says"),
    [
        (None, "there is no python3 that starts"),
        ("echo 'pyenv: no version is set' >&2; exit 127", "there is no python3 that starts"),
        ("echo 2.7.18", "python3 is 2.7.18"),
        ("echo 3.8.18", "python3 is 3.8.18"),
        ("echo 3.10.13", "python3 is 3.10.13"),
    ],
)
def test_a_python_that_is_missing_or_too_old_is_one_annotation(
    tmp_path: Path, python: str | None, says: str
) -> None:
    """In the step that installs, and in the script that finds no command."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["requires-python"].removeprefix(">=")
    path = path_with(tmp_path / "bin", python)
    installed = install(tmp_path / "env", path)
    checked = gate(
        tmp_path,
        Path("meshwire"),
        PATH=path,
        MESHWIRE_TARGET="stdio:./x",
        GITHUB_ACTIONS="true",
    )

    for done in (installed, checked):
        assert done.returncode == 2
        (line,) = done.stdout.splitlines()
        assert line.startswith("::error title=meshwire::")
        assert says in line
        assert f"Python {needed} or later" in line
    assert not (tmp_path / "env").exists()


WITHOUT_ENSUREPIP = "echo 3.11.0; exit 1"
WITH_BAD_PIP = """
if [ "$1" = -c ]; then echo 3.11.0; exit; fi
mkdir -p "$3/bin"
echo "exit 1" >"$3/bin/pip"
chmod +x "$3/bin/pip"
"""


@pytest.mark.parametrize(
    ("python", "says"),
    [
        (WITHOUT_ENSUREPIP, "no virtual environment"),
        (WITH_BAD_PIP, "pip does not install meshwire"),
    ],
)
def test_an_installation_that_fails_is_one_annotation(
    tmp_path: Path, python: str, says: str
) -> None:
    """The messages of the tool that failed are in the log above."""
    path = path_with(tmp_path / "bin", python)
    (tmp_path / "bin" / "chmod").symlink_to(str(shutil.which("chmod")))
    done = install(tmp_path / "env", path)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("::")]

    assert done.returncode == 2
    assert says in line


def test_a_command_whose_python_is_gone_is_one_annotation(tmp_path: Path) -> None:
    """The shell then ends with 127, which is none of the codes of the check."""
    command = tmp_path / "meshwire"
    command.write_text("#!/no/such/python3\n")
    command.chmod(0o755)
    done = gate(tmp_path, command, MESHWIRE_TARGET="stdio:./x", GITHUB_ACTIONS="true")

    assert done.returncode == 2
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert line.startswith(f"::error title=meshwire::the command {command} cannot be started")


def test_the_documented_checkout_is_a_folder_that_pytest_passes_over(tmp_path: Path) -> None:
    """Its `conftest.py` needs packages that the user of the action does not have."""
    page = (ROOT / "spec" / "15-running.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(steps:.*?)```", page, re.DOTALL)
    steps = yaml.safe_load(block)["steps"]
    (folder,) = [step["with"]["path"] for step in steps if "path" in step.get("with", {})]
    checkout = tmp_path / folder
    checkout.mkdir()
    (checkout / "conftest.py").write_text("import no_such_package\n")
    (checkout / "test_own.py").write_text("import no_such_package\n")
    (tmp_path / "test_mine.py").write_text("def test_mine(): pass\n")
    done = run_pytest(tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert f"./{folder}" in [step.get("uses") for step in steps]
    assert f"`{folder}` belong into `.gitignore`" in page


def test_the_job_for_gitlab_reads_what_the_script_writes() -> None:
    """The folder of the reports and the JUnit file in it."""
    job = yaml.safe_load((SCRIPT.parent / "gitlab-ci.yml").read_text())["meshwire"]
    script = SCRIPT.read_text()

    assert job["artifacts"]["paths"] == ["meshwire-reports"]
    assert "MESHWIRE_REPORTS:-meshwire-reports" in script
    assert "junit=report.xml" in script
    assert job["artifacts"]["reports"]["junit"] == "meshwire-reports/report.xml"
    assert set(job["variables"]) <= set(re.findall(r"MESHWIRE\w*", script))


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a file for a container, each with its text, lines joined."""
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word
    ]


def test_the_steps_of_the_container_fit_each_other_and_the_repository() -> None:
    """It is not built here: what it copies, installs, removes and starts exists by then."""
    steps = instructions(ROOT / "Containerfile")
    words = [word for word, _ in steps]
    copied = [text.split() for word, text in steps if word == "COPY"]
    runs = [text for word, text in steps if word == "RUN"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extra,) = re.findall(r"\$wheel\[(\w+)\]", runs[0])
    entry = json.loads(next(text for word, text in steps if word == "ENTRYPOINT"))

    assert words[0] == "FROM"
    assert words[-1] == "ENTRYPOINT"
    assert words.index("USER") > max(at for at, word in enumerate(words) if word == "RUN")
    assert [source for source, _ in copied] == ["constraints.txt", "dist/*.whl"]
    assert (ROOT / copied[0][0]).exists()
    assert "--outdir dist" in (ROOT / "Makefile").read_text(encoding="utf-8")
    # Every file that a step reads or removes has been copied; the wheel is that of the project.
    (folder,) = {target.rpartition("/")[0] for _, target in copied}
    read = {name.rpartition("/")[2] for name in re.findall(rf"{folder}/[\w*.-]+", runs[0])}
    assert read == {"constraints.txt", "*.whl", f"{project['name']}-*.whl"}
    assert extra in project["optional-dependencies"]
    assert set(entry) <= set(project["scripts"])
    assert ("USER", re.findall(r"useradd .* (\w+)$", runs[1])[0]) in steps
    for run in runs:
        subprocess.run(["/bin/sh", "-n", "-c", run], check=True)


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Pytest with the plugin alone, in a folder without tests."""
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "-o", "addopts=", "-rA", "--rootdir", str(folder), *arguments, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_pytest_has_an_item_for_each_case(tmp_path: Path) -> None:
    """Passed, failed with the text of the report, known as xfail; none without the option."""
    # The plugin reads the day itself; a day more or less changes nothing.
    soon = datetime.now(UTC).date() + timedelta(days=10)  # noqa: TID251 - as above
    (tmp_path / "known.toml").write_text(
        '[[known]]\nid = "MW-1163"\nreason = "r"\nsymptom = "wrong-reason truncated"\n'
        f"expires = {soon}\n"
    )
    ledger = ("--meshwire-known-failing", str(tmp_path / "known.toml"))
    chosen = ("-k", "heartbeat")
    red = run_pytest(tmp_path, "--meshwire", codec(1), *ledger, *chosen)
    none = run_pytest(tmp_path)

    assert red.returncode == 1, red.stdout + red.stderr
    assert re.search(r"\d+ passed", red.stdout)
    assert re.search(r"[1-9]\d* failed", red.stdout)
    assert "1 xfailed" in red.stdout
    assert f"meshwire: expires soon in the ledger 1 (MW-1163) from {soon}" in red.stdout
    assert "again     meshwire check" in red.stdout
    assert none.returncode == 5


def test_pytest_says_how_a_stale_entry_of_the_ledger_is_removed(tmp_path: Path) -> None:
    """The item of its case fails with the command, and with nothing to repeat."""
    (tmp_path / "known.toml").write_text(
        '[[known]]\nid = "MW-1163"\nreason = "r"\nsymptom = "wrong-reason truncated"\n'
    )
    ledger = ("--meshwire-known-failing", "known.toml")
    done = run_pytest(tmp_path, "--meshwire", codec(), *ledger, "-k", "MW-1163 or MW-1158")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "passes, but the ledger says it fails: r" in done.stdout
    assert re.search(r"meshwire ledger prune known\.toml .*buggy_codec\.py", done.stdout)
    assert "again     meshwire check" not in done.stdout


def test_pytest_says_once_that_a_target_or_ledger_is_wrong(tmp_path: Path) -> None:
    """Before any case is run, with the exit code of pytest for wrong use."""
    for wrong, says in (
        (("--meshwire", "stdioo:x"), "did you mean stdio:COMMAND"),
        (("--meshwire", codec(1), "--meshwire-known-failing", "/no/such"), "cannot be read"),
    ):
        done = run_pytest(tmp_path, *wrong)

        assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout
        assert says in done.stderr
        assert "Traceback" not in done.stdout + done.stderr


def test_pytest_runs_a_suite_that_cannot_run_once(tmp_path: Path) -> None:
    """Each case then fails with the same line, without the places of the suite."""
    done = run_pytest(tmp_path, "--meshwire", "tcp://203.0.113.1:1", "-k", "MW-500")

    assert done.returncode == 1
    assert "--writes-are-ok" in done.stdout
    assert "check.py" not in done.stdout


def test_pytest_is_red_where_nothing_could_run(tmp_path: Path) -> None:
    """A target that does not start is no reason to skip its cases."""
    done = run_pytest(tmp_path, "--meshwire", "stdio:/no/such/program", "-k", "MW-1158")

    assert done.returncode == 1
    assert "1 failed" in done.stdout
    assert "cannot be started" in done.stdout
