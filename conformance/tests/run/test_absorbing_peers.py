"""Peers that absorb or lie pass next to nothing, and each run ends with exit 1.

They are the rows of `conformance/liars/peers.toml`; nodes are judged in memory and in virtual time.
Two of them are started by the command as well, as its users run it.
"""

import asyncio
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from liar_rows import Liar, Measured, Rightly, problems_of, read_liars
from liars import measured_of, results_of
from meshwire_conformance.run.loading import load_listing
from meshwire_conformance.verdicts import CaseResult, ExitCode, Verdict
from virtual_time import run_in_virtual_time

PROGRAMS = Path(__file__).parents[1] / "programs"
LIARS = read_liars()
OVER_WITHIN_S = 600
"""Seconds after which a run hangs; one takes a few."""


@pytest.mark.process
@pytest.mark.parametrize("name", LIARS)
def test_a_peer_that_lies_passes_next_to_nothing(name: str) -> None:
    """At most two in a hundred of the cases that it can be expected to fail."""
    liar = LIARS[name]

    assert problems_of(liar, measured_of(liar, results_of(liar))) == []


@pytest.mark.process
@pytest.mark.socket
@pytest.mark.parametrize(
    "target",
    [
        ("node", "lying_node.py", "echo", "H1", "--timeout-scale", "0.1"),
        ("stdio", "codec_peer.py", "echo"),
    ],
    ids=["node", "codec"],
)
def test_the_command_exits_1(target: tuple[str, ...], tmp_path: Path) -> None:
    """`meshwire check`, over real sockets and pipes."""
    scheme, program, *words = target
    options = [word for word in words if word.startswith("--")]
    mode = words[: words.index(options[0])] if options else words
    command = shlex.join((sys.executable, str(PROGRAMS / program), *mode))
    check = [sys.executable, "-m", "meshwire_conformance.commands.main", "check"]
    path = tmp_path / "report.json"
    done = subprocess.run(
        [*check, f"{scheme}:{command}", *words[len(mode) :], "--report", f"json={path}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=OVER_WITHIN_S,
    )

    assert done.returncode == ExitCode.VIOLATIONS, done.stdout[-2000:] + done.stderr
    report: dict[str, Any] = json.loads(path.read_text("utf-8"))
    excused = LIARS["node that echoes"].excused() | LIARS["codec that echoes"].excused()
    passed = [
        one["id"]
        for one in report["runs"][0]["cases"]
        if one["verdict"] == Verdict.PASS and one["id"] not in excused
    ]
    assert len(passed) < 10, passed


def test_every_excused_case_exists() -> None:
    """A reason for a case that was withdrawn is stale."""
    known = load_listing().by_id

    assert [
        name for liar in LIARS.values() for name in sorted(liar.excused()) if name not in known
    ] == []


def row(*rightly: Rightly) -> Liar:
    """A row of the table."""
    return Liar("x", "node", "silent", "answers nothing", "open", 1.0, (), rightly)


def test_a_peer_that_passes_too_much_is_told() -> None:
    """Two of a hundred are permitted, and three are a hole."""
    two = Measured(100, ("MW-5001", "MW-5002"), ())
    three = Measured(100, ("MW-5001", "MW-5002", "MW-5003"), ())

    assert problems_of(row(), two) == []
    assert "MW-5003" in problems_of(row(), three)[0]


def test_an_excuse_that_nothing_needs_is_told() -> None:
    """A reason stays only while the peer passes one of its cases."""
    excused = Rightly(("MW-5001", "MW-5002"), "it does this")

    assert problems_of(row(excused), Measured(9, (), ("MW-5002",))) == []
    assert len(problems_of(row(excused), Measured(9, (), ()))) == 1


def test_cases_of_one_area_can_be_excused_together(tmp_path: Path) -> None:
    """Those of them that show a rule of another area as well have to be named."""
    path = tmp_path / "peers.toml"
    path.write_text(
        "rightly = []\n"
        '[[peer]]\nname = "x"\nkind = "node"\nhow = "last-snapshot"\nwhat = "answers reads"\n'
        '[[peer.rightly]]\nrules = "LB"\nwhy = "it keeps the lab binding"\n',
        "utf-8",
    )
    excused = read_liars(path)["x"].excused()
    known = load_listing().by_id

    assert "MW-5801" in excused
    assert {rule[:3] for name in excused for rule in known[name].rules} == {"LB-"}


def test_excused_passes_count_neither_as_passed_nor_as_expected_to_fail() -> None:
    """Cases that are not applicable do not count either."""
    results = [
        CaseResult("MW-5001", Verdict.PASS),
        CaseResult("MW-5002", Verdict.PASS),
        CaseResult("MW-5003", Verdict.FAIL),
        CaseResult("MW-5004", Verdict.NOT_APPLICABLE),
    ]
    found = measured_of(row(Rightly(("MW-5001",), "it does this")), results)

    assert found == Measured(2, ("MW-5002",), ("MW-5001",))


def test_a_run_with_another_exit_code_is_no_measurement() -> None:
    """A peer that passes everything was no liar."""
    with pytest.raises(ValueError, match="exit 0"):
        measured_of(row(), [CaseResult("MW-5001", Verdict.PASS)])


def test_virtual_time_passes_without_waiting() -> None:
    """A wait of a year is over at once, after an earlier one, and threads take no time."""

    async def wait() -> tuple[list[int], float]:
        over: list[int] = []

        async def one(number: int, wait_s: float) -> None:
            await asyncio.sleep(wait_s)  # noqa: TID251 - the clock of the loop is the subject
            over.append(number)

        await asyncio.gather(one(1, 365 * 86400.0), one(2, 1.0))
        await asyncio.to_thread(over.append, 3)
        return over, asyncio.get_running_loop().time()

    over, now_s = run_in_virtual_time(wait())

    assert over == [2, 1, 3]
    assert now_s == pytest.approx(365 * 86400.0)
