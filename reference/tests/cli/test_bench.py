"""`meshwire-node bench mesh`: the table, JSON, the plot, and what cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import typer

from meshwire_reference.cli import bench as module
from meshwire_reference.cli.bench import mesh
from meshwire_reference.simulation.mesh_convergence import (
    Circumstances,
    NotConverged,
    Reconciling,
    Topology,
    measure,
)
from meshwire_reference.testing.commands import run

SMALL: dict[str, Any] = {
    "documents": "4",
    "changed": "2",
    "peers": "2",
    "loss": "0",
    "latency_ms": "10",
    "shape": Topology.LINE,
    "reconcile": Reconciling.NO,
    "seeds": 1,
    "processes": False,
    "svg": None,
    "as_json": False,
}


def test_a_row_for_each_combination_is_shown_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what the simulator measures; the plot has a line for each value of the second list."""
    svg = tmp_path / "mesh.svg"
    mesh(**SMALL | {"peers": "2,3", "loss": "0,5", "svg": svg})
    head, *rows = capsys.readouterr().out.splitlines()
    measured = measure(Circumstances(4, 2, 3, 0.05, 10.0), 1)
    root = ET.fromstring(svg.read_bytes())  # noqa: S314 - our own
    circles = list(root.iter("{http://www.w3.org/2000/svg}circle"))

    assert head.split()[:4] == ["documents", "changed", "nodes", "shape"]
    assert head.split()[4:] == "reconcile loss latency rounds bytes bytes after time".split()  # noqa: SIM905 - a line as it is printed
    assert [row.split()[2] for row in rows] == ["2", "2", "3", "3"]
    assert len({len(row) for row in rows}) == 1
    assert f"{measured.sent_bytes:,}" in rows[-1]
    assert f"{measured.seconds:.3f} s" in rows[-1]
    # Three panels of two lines with two points.
    assert len(circles) == 12
    assert "loss 0.05" in svg.read_text("utf-8")


def test_json_has_every_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each row, with the medians."""
    mesh(**SMALL | {"seeds": 3, "as_json": True})
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    runs = [measure(Circumstances(4, 2, 2, 0.0, 10.0), seed) for seed in (1, 2, 3)]

    assert row["bytes"] == sorted(one.sent_bytes for one in runs)[1]
    assert [one["rounds"] for one in row["runs"]] == [one.rounds for one in runs]
    assert (row["documents"], row["peers"], row["shape"]) == (4, 2, "line")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"documents": "0"}, "--documents"),
        ({"documents": "4,"}, "--documents"),
        ({"documents": "1e3"}, "--documents"),
        ({"changed": "5"}, "--changed 5"),
        ({"changed": "-1"}, "--changed"),
        ({"peers": "1"}, "--peers"),
        ({"peers": "17", "processes": True}, "--peers"),
        ({"loss": "nan"}, "--loss"),
        ({"loss": "51"}, "--loss"),
        ({"latency_ms": "inf"}, "--latency-ms"),
        ({"peers": ",".join(map(str, range(2, 60))), "documents": "2,3,4,5"}, "rows"),
        ({"svg": Path("/no/such/mesh.svg")}, "--svg"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(
    changes: dict[str, Any], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 2, before anything is measured."""
    with pytest.raises(typer.Exit) as ended:
        mesh(**SMALL | changes)
    shown = capsys.readouterr()

    assert (ended.value.exit_code, shown.out, shown.err.count("\n")) == (2, "", 1)
    assert part in shown.err


def test_a_mesh_that_does_not_converge_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one line."""

    def fail(_one: Circumstances, seed: int) -> None:
        raise NotConverged(f"seed {seed}\nis silent")

    monkeypatch.setattr(module, "measure", fail)
    with pytest.raises(typer.Exit) as ended:
        mesh(**SMALL)

    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "meshwire-node: seed 1 is silent\n"


@pytest.mark.process
def test_the_command_has_its_help_and_no_colours() -> None:
    """Nothing but text, with an example."""
    done = run("bench", "mesh", "--help")

    assert done.returncode == 0
    assert "meshwire-node bench mesh --peers 2,4,8 --svg mesh.svg" in " ".join(done.stdout.split())
    assert "\x1b" not in done.stdout


@pytest.mark.process
@pytest.mark.socket
def test_nodes_as_processes_converge_over_relays(capsys: pytest.CaptureFixture[str]) -> None:
    """Two of them, with loss; what passes between them is not looked into."""
    more = {"processes": True, "as_json": True, "loss": "20", "latency_ms": "5"}
    mesh(**SMALL | more | {"reconcile": Reconciling.HEADS})
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())

    assert row["bytes"] > 0
    assert row["seconds"] >= 0.005
    assert (row["rounds"], row["more_bytes"]) == (None, None)
