"""Run the simulator over a range of seeds, and judge every run.

Each seed is a mesh of at least five reference nodes under a virtual clock, with edits, deletions
and faults. A seed that fails is shrunk, and reported with one command that shows it again.
Exit code 1 if a seed fails, or if something that must occur has not in a thousand seeds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from meshwire_reference.simulation.expectations import expected_names
from meshwire_reference.simulation.judging import Verdict, judge
from meshwire_reference.simulation.plan import BRIEF, FULL, Plan, draw_plan
from meshwire_reference.simulation.shrinking import Shrinking

COMMAND = "tools/simulate.py"
COMPLETE = 1000
"""Number of seeds in which everything that is expected must occur."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one seed."""

    seed: int
    digest: str
    counts: Counter[str]
    lines: tuple[str, ...]
    """What is wrong, shrunk; nothing for a seed that passes."""
    cpu_s: float


def run_seed(seed: int, selection: Selection, *, shrinks: bool = True) -> Report:
    """Run one seed, and shrink it if it fails."""
    began_s = time.process_time()
    verdict = judge(selection.plan(seed))
    cpu_s = time.process_time() - began_s
    lines: tuple[str, ...] = ()
    if verdict.problems:
        smallest = Shrinking(verdict).shrink() if shrinks else verdict
        lines = tuple(failure_lines(smallest, selection))
    return Report(seed, verdict.record.digest, verdict.record.counts, lines, cpu_s)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which nodes and steps of a plan are run; None for all."""

    nodes: tuple[int, ...] | None = None
    steps: tuple[int, ...] | None = None
    is_brief: bool = False

    def plan(self, seed: int) -> Plan:
        """Return the plan of a seed with what is selected alone."""
        return draw_plan(seed, BRIEF if self.is_brief else FULL).only(self.nodes, self.steps)


def failure_lines(verdict: Verdict, selection: Selection) -> Iterator[str]:
    """Yield what is wrong, the steps that lead to it, and the command that shows it again."""
    plan = verdict.plan
    for problem in verdict.problems:
        yield f"  {problem.invariant}: {problem.text}"
    for step in plan.steps:
        yield f"    {step.at_s:7.3f} s  n{step.node}  {step.kind} {step.key}".rstrip()
    nodes = ",".join(map(str, plan.nodes))
    steps = ",".join(str(step.number) for step in plan.steps)
    seed = f"{plan.seed}..{plan.seed}" + (" --brief" if selection.is_brief else "")
    yield f"  {COMMAND} --seeds {seed} --nodes {nodes} --steps {steps} --trace"


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a list with commas."""
    return tuple(int(word) for word in text.split(",") if word)


def seeds_of(text: str) -> range:
    """Return the seeds of `A..B`, both included, or of one number."""
    first, _, last = text.partition("..")
    return range(int(first), int(last or first) + 1)


def show_trace(seed: int, selection: Selection) -> int:
    """Print every line of the trace of a seed, and what is wrong."""
    verdict = judge(selection.plan(seed), keeps_lines=True)
    print("\n".join(verdict.record.lines or ()))
    print("\n".join(failure_lines(verdict, selection)))
    return 1 if verdict.problems else 0


def run_all(seeds: Sequence[int], jobs: int, work: partial[Report]) -> Iterator[Report]:
    """Yield the report of every seed, in their order."""
    if jobs == 1:
        yield from map(work, seeds)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(work, seeds)


def main(arguments: list[str] | None = None) -> int:
    """Run the seeds, print what fails and how often everything occurred."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=seeds_of, default=range(20), metavar="A..B")
    parser.add_argument("--brief", action="store_true", help="smaller plans, as in every build")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    parser.add_argument("--nodes", type=numbers, help="run these nodes of the plan alone")
    parser.add_argument("--steps", type=numbers, help="run these steps of the plan alone")
    parser.add_argument("--trace", action="store_true", help="print the trace of the first seed")
    parser.add_argument("--digests", action="store_true", help="print the digest of each trace")
    parser.add_argument("--no-shrink", action="store_true", help="report failures as they are")
    options = parser.parse_args(arguments)
    selection = Selection(options.nodes, options.steps, options.brief)
    if options.trace:
        return show_trace(options.seeds[0], selection)
    work = partial(run_seed, selection=selection, shrinks=not options.no_shrink)
    counts: Counter[str] = Counter()
    failed, cpu_s = 0, 0.0
    for report in run_all(options.seeds, options.jobs, work):
        counts += report.counts
        cpu_s += report.cpu_s
        if options.digests:
            print(f"{report.seed} {report.digest}")
        if report.lines:
            failed += 1
            print("\n".join((f"seed {report.seed} fails:", *report.lines)), flush=True)
    if not options.digests:
        for name, number in sorted(counts.items()):
            print(f"{number:9} {name}")
    absent = [name for name in expected_names() if not counts[name]]
    for name in absent if len(options.seeds) >= COMPLETE else ():
        print(f"never occurred: {name}")
        failed += 1
    print(
        f"simulate: {len(options.seeds)} seeds, {failed} failed, "
        f"{cpu_s / max(1, len(options.seeds)):.2f} CPU-seconds a seed",
        file=sys.stderr,
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
