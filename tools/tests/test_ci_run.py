"""The gate script: its exit code and its last line, with a stand-in for make."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "run"
STARTS = "===== test session starts ====="
PASSED = "===== 3 passed in 0.10s ====="
FAILED = "===== 1 failed, 2 passed in 0.10s ====="


def run_gate(folder: Path, *lines: str, status: int) -> subprocess.CompletedProcess[str]:
    """Run the gate in `folder` with a make that prints `lines` and ends with `status`."""
    script = folder / ".ci" / "run"
    script.parent.mkdir()
    shutil.copy(SCRIPT, script)
    make = folder / "commands" / "make"
    make.parent.mkdir()
    printed = "\n".join(f"echo '{line}'" for line in lines)
    make.write_text(f"#!/bin/sh\ncat >/dev/null\n{printed}\nexit {status}\n", encoding="utf-8")
    make.chmod(0o755)
    path = f"{make.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(script)],
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize(
    ("lines", "status", "expected"),
    [
        ([STARTS, PASSED], 0, (0, PASSED)),
        ([STARTS, PASSED, "after the tests"], 0, (0, PASSED)),
        (["make: *** [Makefile:1: lint-style] Error 1", STARTS, PASSED], 2, (2, PASSED)),
        ([STARTS, FAILED, "make: *** [Makefile:1: test] Error 1"], 2, (2, FAILED)),
        (["600 passed in 4.20s"], 0, (1, "ci: the tests did not finish")),
        ([], 2, (1, "ci: the tests did not finish")),
    ],
)
def test_exit_code_and_last_line(
    tmp_path: Path,
    lines: list[str],
    status: int,
    expected: tuple[int, str],
) -> None:
    """Any failed part fails the gate, and the tests' closing line comes last."""
    done = run_gate(tmp_path, *lines, status=status)

    assert (done.returncode, done.stdout.splitlines()[-1]) == expected


def test_failed_parts_are_named(tmp_path: Path) -> None:
    """The part that failed is repeated near the end, where it is seen."""
    fault = "make: *** [Makefile:1: lint-style] Error 1"

    done = run_gate(tmp_path, fault, STARTS, PASSED, status=2)

    assert done.stdout.splitlines()[-2:] == [fault, PASSED]
