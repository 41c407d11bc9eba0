"""`meshwire-node bench mesh`: how long a mesh takes to hold the same again, and what that costs.

It is a command of the node and not of the suite, since it needs the node itself: its core under a
virtual clock, or its processes. The suite reaches a node from outside only.
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from meshwire_reference.cli.bench_nodes import measure_processes
from meshwire_reference.cli.line_chart import Panel, Series, chart
from meshwire_reference.cli.run import fail
from meshwire_reference.simulation.mesh_convergence import (
    Circumstances,
    Measured,
    NotConverged,
    Reconciling,
    Topology,
    measure,
)

Swept = TypeVar("Swept", int, float)
ROWS_MAX: Final = 200
"""Greatest number of rows of one table."""
NODES_MAX: Final = 64
PROCESSES_MAX: Final = 16
"""Greatest number of nodes, each of them two processes."""
DOCUMENTS_MAX: Final = 100_000
LATENCY_MAX_MS: Final = 10_000.0
LOSS_MAX: Final = 50.0
"""Greatest loss in percent."""
SWEPT: Final = ("documents", "changed", "peers", "loss", "latency_ms")
"""What may have several values; the first one that has some is the axis of the plot."""
COLUMNS: Final = (
    "documents", "changed", "nodes", "shape", "reconcile", "loss", "latency", "rounds", "bytes",
    "bytes after", "time",
)  # fmt: skip
WORDS: Final = frozenset(("shape", "reconcile"))
"""Columns of words, which begin at the left."""
NOT_DONE: Final = 1

DocumentCounts = Annotated[
    str, typer.Option(metavar="N,..", help="Documents that every node begins with.")
]
ChangedCounts = Annotated[
    str, typer.Option(metavar="N,..", help="How many of them are changed, each at one node.")
]
NodeCounts = Annotated[str, typer.Option(metavar="N,..", help="Nodes.")]
LossRates = Annotated[
    str, typer.Option(metavar="PERCENT,..", help="Packets that are lost and sent again.")
]
Latencies = Annotated[
    str, typer.Option(metavar="MS,..", help="Time of a packet from one node to another.")
]
MeshShape = Annotated[Topology, typer.Option(help="Which nodes are linked.")]
MeshReconciling = Annotated[
    Reconciling, typer.Option(help="How nodes find out what their peers lack.")
]
SeedCount = Annotated[
    int, typer.Option(min=1, max=100, help="Runs of each row, of which the medians are shown.")
]
InProcesses = Annotated[
    bool, typer.Option("--processes", help="Start nodes, instead of the simulator's.")
]
PlotFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw the table into this file.")
]
RowsAsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one row a line.")]

bench_app = typer.Typer(help="Measure nodes.", no_args_is_help=True, rich_markup_mode=None)


@bench_app.callback()
def bench() -> None:
    """Measure nodes.

    Example: meshwire-node bench mesh --documents 50 --changed 5 --peers 3
    """


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured under some circumstances: medians over the seeds."""

    circumstances: Circumstances
    runs: tuple[Measured, ...]

    @property
    def seconds(self) -> float:
        """Seconds to convergence."""
        return statistics.median(one.seconds for one in self.runs)

    @property
    def sent_bytes(self) -> float:
        """Bytes to convergence, of all nodes."""
        return statistics.median(one.sent_bytes for one in self.runs)

    @property
    def more_bytes(self) -> float | None:
        """Bytes from there to silence."""
        found = [one.more_bytes for one in self.runs if one.more_bytes is not None]
        return statistics.median(found) if found else None

    @property
    def rounds(self) -> float | None:
        """Rounds to convergence."""
        found = [one.rounds for one in self.runs if one.rounds is not None]
        return statistics.median(found) if found else None


def numbers(
    text: str, name: str, read: Callable[[str], Swept], least: Swept, most: Swept
) -> list[Swept]:
    """Return the numbers of a list with commas; end the command for one that cannot be."""
    found = []
    for word in text.split(","):
        try:
            value = read(word)
        except ValueError:
            value = None
        # Also what is no number at all, such as nan.
        if value is None or not least <= value <= most:
            fail(f"{name} {text!r}: give numbers from {least:g} to {most:g}, with commas between")
        found.append(value)
    return list(dict.fromkeys(found))


def rows_of(values: Mapping[str, Sequence[Any]], **fixed: Any) -> list[Circumstances]:
    """Return the circumstances of every row."""
    rows = [
        Circumstances(**dict(zip(SWEPT, row, strict=True)), **fixed)
        for row in itertools.product(*(values[name] for name in SWEPT))
    ]
    for row in rows:
        if row.changed > row.documents:
            fail(f"--changed {row.changed} is more than --documents {row.documents}")
    if len(rows) > ROWS_MAX:
        fail(f"these are {len(rows)} rows, and {ROWS_MAX} are measured at most")
    return rows


def mesh(  # noqa: PLR0913 - each is an option
    *,
    documents: DocumentCounts = "100",
    changed: ChangedCounts = "10",
    peers: NodeCounts = "3",
    loss: LossRates = "0",
    latency_ms: Latencies = "10",
    shape: MeshShape = Topology.LINE,
    reconcile: MeshReconciling = Reconciling.NO,
    seeds: SeedCount = 3,
    processes: InProcesses = False,
    svg: PlotFile = None,
    as_json: RowsAsJson = False,
) -> None:
    """Measure rounds, bytes and time until every node of a mesh holds the same again.

    Nodes that hold the same documents change some of them apart, and are then connected. Lists with
    commas give a row for each combination. The simulator's time is virtual: a row is the same on
    every machine. Exit code 1 if a mesh does not converge.

    Examples: meshwire-node bench mesh --peers 2,4,8 --svg mesh.svg and
    meshwire-node bench mesh --documents 20 --changed 2 --processes
    """
    values: dict[str, Sequence[Any]] = {
        "documents": numbers(documents, "--documents", int, 1, DOCUMENTS_MAX),
        "changed": numbers(changed, "--changed", int, 0, DOCUMENTS_MAX),
        "peers": numbers(peers, "--peers", int, 2, PROCESSES_MAX if processes else NODES_MAX),
        "loss": [percent / 100 for percent in numbers(loss, "--loss", float, 0.0, LOSS_MAX)],
        "latency_ms": numbers(latency_ms, "--latency-ms", float, 0.0, LATENCY_MAX_MS),
    }
    wanted = rows_of(values, shape=shape, reconciles=reconcile)
    if svg is not None and not svg.absolute().parent.is_dir():
        fail(f"--svg {svg}: there is no such folder")
    rows = _measured(wanted, seeds, processes=processes)
    for line in _json_lines(rows) if as_json else lines_of(rows):
        typer.echo(line)
    if svg is not None:
        _write(svg, plot(values, rows))


def _measured(wanted: Sequence[Circumstances], seeds: int, *, processes: bool) -> list[Row]:
    """Return the rows; end the command if a mesh does not converge."""
    try:
        return [Row(one, tuple(_runs(one, seeds, processes=processes))) for one in wanted]
    except (NotConverged, OSError) as exc:
        typer.echo(f"meshwire-node: {' '.join(str(exc).split())}", err=True)
        raise typer.Exit(NOT_DONE) from exc
    except KeyboardInterrupt:
        raise typer.Exit(NOT_DONE) from None


def _runs(one: Circumstances, seeds: int, *, processes: bool) -> list[Measured]:
    if not processes:
        return [measure(one, seed) for seed in range(1, seeds + 1)]
    with tempfile.TemporaryDirectory(prefix="meshwire-bench-") as folder:
        return [
            measure_processes(one, seed, Path(folder) / str(seed)) for seed in range(1, seeds + 1)
        ]


def results(row: Row) -> dict[str, Any]:
    """Return what was measured, as JSON has it."""
    return {
        "rounds": row.rounds,
        "bytes": row.sent_bytes,
        "more_bytes": row.more_bytes,
        "seconds": round(row.seconds, 6),
        "runs": [asdict(one) for one in row.runs],
    }


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        fail(f"cannot write {file}: {exc.strerror or exc}")


def _json_lines(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(asdict(row.circumstances) | results(row))


def lines_of(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table; its columns stand below each other whatever the terminal."""
    cells = [COLUMNS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(
            cell.ljust(width) if name in WORDS else cell.rjust(width)
            for name, cell, width in zip(COLUMNS, row, widths, strict=True)
        )


def _cells(row: Row) -> tuple[str, ...]:
    one = row.circumstances
    return (
        str(one.documents),
        str(one.changed),
        str(one.peers),
        one.shape,
        one.reconciles,
        f"{one.loss * 100:g} %",
        f"{one.latency_ms:g} ms",
        "-" if row.rounds is None else f"{row.rounds:g}",
        f"{row.sent_bytes:,.0f}",
        "-" if row.more_bytes is None else f"{row.more_bytes:,.0f}",
        f"{row.seconds:.3f} s",
    )


def plot(values: Mapping[str, Sequence[Any]], rows: Sequence[Row]) -> str:
    """Return the plot: three panels over the first option with several values."""
    axis = next((name for name in SWEPT if len(values[name]) > 1), SWEPT[0])
    others = [name for name in SWEPT if name != axis and len(values[name]) > 1]
    lines: dict[str, list[Row]] = {}
    for row in rows:
        named = ", ".join(f"{name} {getattr(row.circumstances, name):g}" for name in others)
        lines.setdefault(named or "median", []).append(row)
    kinds: tuple[tuple[str, Callable[[Row], float | None]], ...] = (
        ("rounds to convergence", lambda row: row.rounds),
        ("bytes to convergence", lambda row: row.sent_bytes),
        ("seconds to convergence", lambda row: row.seconds),
    )
    panels = [
        Panel(title, tuple(Series(name, tuple(map(of, line))) for name, line in lines.items()))
        for title, of in kinds
        if any(of(row) is not None for row in rows)
    ]
    one = rows[0].circumstances
    title = f"Convergence of a mesh, {one.shape}, reconcile {one.reconciles}"
    return chart(title, axis, [f"{value:g}" for value in values[axis]], panels)


bench_app.command("mesh")(mesh)
