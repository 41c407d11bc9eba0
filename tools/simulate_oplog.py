"""Run simulated nodes of `oplog/1` over a range of seeds, and judge every run.

Exit code 1 if a seed fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Final

from meshwire_reference.simulation.oplog_mesh_run import MESHES, judge_mesh
from meshwire_reference.simulation.oplog_run import MIXES, judge_oplog
from simulate import seeds_of


@dataclass(frozen=True, slots=True)
class OplogReport:
    """What became of one seed: what is wrong, and the most of each figure."""

    seed: int
    problems: tuple[str, ...]
    most: Counter[str]
    cpu_s: float


def run_mesh(seed: int, mesh: str) -> OplogReport:
    """Run the mesh of a seed."""
    began_s = time.process_time()
    verdict = judge_mesh(seed, MESHES[mesh])
    most = Counter(
        {
            "links of a node": verdict.most_links,
            "dials of a node in a minute": verdict.most_dials,
            "sessions of a node": verdict.most_sessions,
        }
    )
    return OplogReport(seed, tuple(verdict.problems), most, time.process_time() - began_s)


def run_nodes(seed: int, mix: str) -> OplogReport:
    """Run five nodes under the faults of a seed."""
    began_s = time.process_time()
    verdict = judge_oplog(seed, MIXES[mix])
    most = Counter({"fields that differ in a tie": verdict.ties})
    return OplogReport(seed, tuple(verdict.problems), most, time.process_time() - began_s)


WORK: Final[dict[str, Callable[[int], OplogReport]]] = {
    **{f"mesh-{name}": partial(run_mesh, mesh=name) for name in MESHES},
    **{f"nodes-{name}": partial(run_nodes, mix=name) for name in MIXES},
}
"""Meshes of managers, and five nodes with a document, by name."""


def run_all(
    seeds: Sequence[int], jobs: int, work: Callable[[int], OplogReport]
) -> Iterator[OplogReport]:
    """Yield the report of every seed, in their order."""
    if jobs == 1:
        yield from map(work, seeds)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(work, seeds, chunksize=4)


def main(arguments: list[str] | None = None) -> int:
    """Run the seeds, print what fails and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=sorted(WORK))
    parser.add_argument("--seeds", type=seeds_of, default=range(20), metavar="A..B")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    options = parser.parse_args(arguments)
    most: Counter[str] = Counter()
    failed, cpu_s = 0, 0.0
    for report in run_all(options.seeds, options.jobs, WORK[options.what]):
        most |= report.most
        cpu_s += report.cpu_s
        if report.problems:
            failed += 1
            print("\n".join((f"seed {report.seed} fails:", *report.problems)), flush=True)
    for name, number in sorted(most.items()):
        print(f"{number:9} at most: {name}")
    print(
        f"simulate_oplog: {options.what}: {len(options.seeds)} seeds, {failed} failed, "
        f"{cpu_s:.0f} CPU-seconds",
        file=sys.stderr,
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
