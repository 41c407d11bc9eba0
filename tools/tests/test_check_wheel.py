"""The wheel check: what a step prints, when it fails, and what it hides from the wheel."""

import sys
import zipfile
from pathlib import Path

import pytest

import check_wheel

pytestmark = pytest.mark.process


@pytest.fixture
def environment(tmp_path: Path) -> check_wheel.Environment:
    """Return an environment that has no commands of its own."""
    return check_wheel.Environment(tmp_path / "environment", tmp_path)


def test_step_runs_in_the_work_folder(environment: check_wheel.Environment) -> None:
    """A command runs outside the checkout, in the given folder."""
    output = environment.run(sys.executable, "-c", "import os; print(os.getcwd())")

    assert Path(output.strip()).resolve() == environment.work.resolve()


def test_failing_step_is_named(environment: check_wheel.Environment) -> None:
    """A command that fails is a fault with its exit code."""
    with pytest.raises(check_wheel.WheelFaultError, match="exit code 3"):
        environment.run(sys.executable, "-c", "raise SystemExit(3)")


REPORT = """FAIL MW-1001  a title  (codec · stream_frame · FR-001)

  FR-001  A sender MUST.

  wrong value
  symptom   wrong-value key

  again     meshwire check
"""
"""What `meshwire check` prints about one failure."""


def test_failures_of_a_check_are_shown(
    environment: check_wheel.Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole, however much follows them; the end of the output is shown too."""
    table = "".join(f"row {number}\n" for number in range(check_wheel.TAIL_LINES))
    early = "early\n" * check_wheel.TAIL_LINES
    script = f"print({early + REPORT + REPORT + 'passed MW-1002' + table!r}); exit(1)"

    with pytest.raises(check_wheel.WheelFaultError):
        environment.run(sys.executable, "-c", script)

    said = capsys.readouterr().out
    assert said.count(REPORT) == 2
    assert "row 29" in said
    assert "early" not in said.splitlines()


def test_many_failures_of_a_check_are_counted(
    environment: check_wheel.Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first ones are shown."""
    script = f"print({REPORT!r} * {check_wheel.BLOCKS_MAX + 3}, end=''); exit(1)"

    with pytest.raises(check_wheel.WheelFaultError):
        environment.run(sys.executable, "-c", script)

    said = capsys.readouterr().out
    assert said.count("\nFAIL MW-1001") == check_wheel.BLOCKS_MAX
    assert "and 3 more failures" in said


def test_missing_command_is_named(environment: check_wheel.Environment) -> None:
    """A console script that the wheel does not install is a fault, not a traceback."""
    with pytest.raises(check_wheel.WheelFaultError, match="no such command"):
        environment.run(environment.command("meshwire"), "--version")


def test_missing_text_is_a_fault(environment: check_wheel.Environment) -> None:
    """A command that succeeds without saying what it must say has not passed."""
    with pytest.raises(check_wheel.WheelFaultError, match="'sent_at'"):
        environment.run(sys.executable, "-c", "print('marker')", expects=["sent_at"])


def test_checkout_cannot_leak_in(environment: check_wheel.Environment) -> None:
    """Variables that point at other environments do not reach a step."""
    outside = dict.fromkeys(check_wheel.LEAKS, "/checkout") | {"PATH": "/usr/bin", "LANG": "C"}

    variables = environment.variables(outside)

    assert set(variables) == {"PATH", "LANG", "NO_COLOR", "PYTHONSAFEPATH"}
    assert variables["PATH"].split(":")[0] == str(environment.binaries)


def test_data_left_out_of_the_wheel_is_named(tmp_path: Path) -> None:
    """Every file of a data folder has its copy, those in folders below included."""
    wheel = tmp_path / "meshwire-0-py3-none-any.whl"
    runs = tmp_path / "vectors" / "reconciliation" / "runs"
    runs.mkdir(parents=True)
    for name in ("kept.json", "lost.json"):
        (runs / name).write_text("{}")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("meshwire_conformance/_vectors/reconciliation/runs/kept.json", "{}")

    with pytest.raises(
        check_wheel.WheelFaultError, match=r"lacks 1 files .*/reconciliation/runs/lost\.json"
    ):
        check_wheel.demand_data(tmp_path, wheel)


def test_unusable_wheel_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wheel that is not there ends with exit code 1 and one line."""
    code = check_wheel.main(["--wheel", str(tmp_path / "meshwire-0-py3-none-any.whl")])

    assert code == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_build_fault_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is no project cannot be built, and the check says so."""
    code = check_wheel.main(["--root", str(tmp_path)])

    assert code == 1
    assert "the build ended" in capsys.readouterr().err
