"""Run the suite against mutants that operators make, and record which of them it notices.

The sample is `conformance/mutants/operators/sample.json`. Without options every mutant that has no
result yet is run: codec cases first for `wire` and `negentropy`, cases over sockets first for the
others, and the first failed case ends it. Results are kept in `build/operators.jsonl`, so that an
interrupted run goes on where it was; `--write` puts them into the sample.

The cases are in four stages: `codec`, `near` (over sockets, which notice rows of the table in the
same module), `others` (over sockets) and `called` (over sockets that the node dials, also as client
of a reconciliation). `--stage` runs one of them where it is the next; a mutant survives once it has
passed all of them. With `--group` several mutants are made at once: if no case notices, each of
them has passed, else the case that does is run against each of them.

Example: python tools/operators.py --first 60 --seconds 300
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from meshwire_conformance.catalogue.case import SOCKET, Case
from meshwire_conformance.codec_suite.part import run as run_codec
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.attempts import body_of, is_serial
from meshwire_conformance.socket_suite.part import run as run_sockets
from meshwire_conformance.verdicts import CaseResult, Verdict
from mutants import BESIDE, HURRIED, attachments, unapplied, variant_of
from operator_draw import SEED, SIZE, DrawnMutant, draw, mutant_in, variables
from operator_sample import (
    COULD_NOT_RUN,
    NOTICED,
    REASONS,
    ROOT,
    SAMPLE,
    SURVIVED,
    UNFINISHED,
    Draw,
    Drawn,
    MalformedReason,
    read_reasons,
    read_sample,
    reason_problems,
    sample_text,
)

# isort: split
# In the folder of the hook, which `mutants` adds to the path.
from mutant_rows import SEPARATOR, edits_by_module, read_rows

RESULTS = ROOT / "build" / "operators.jsonl"
CODEC_FIRST = ("wire", "negentropy")
TOTAL_S = 600.0
"""Seconds that the cases may take against one mutant; then it could not be run."""
ENDLESS_S = 1e9
CODEC, NEAR, OTHERS, CALLED = STAGES = ("codec", "near", "others", "called")
"""Cases of the codec, cases over sockets that notice a row of the module, others, and those of a
node that dials."""
CALLED_VARIANTS = ("dials", "reconciles")
"""Attachments in which the node dials."""
TO_RUN = ("", UNFINISHED)
"""States in the sample of mutants that are still to run."""
FAILURES = 3
"""Number of failed cases, each of which passes alone, that are run beside each other."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one mutant; `took_s` is in seconds, `notes` says what else was seen.

    `passed` are the stages whose cases did not notice; `state` is empty while others remain.
    """

    id: str
    state: str = ""
    case: str = ""
    symptom: str = ""
    took_s: float = 0.0
    notes: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()


# --- Running ---------------------------------------------------------------------------------


async def results_until_notice(
    mutant: DrawnMutant, cases: Sequence[Case], record: Path
) -> list[CaseResult]:
    """Run cases against a mutant up to the first that fails; return the results known then.

    On a busy machine a short deadline decides nothing: cases that could not be run are run again.
    """
    results = await _results_in(mutant, cases, record, HURRIED)
    slow = [one.case for one in results if one.verdict is Verdict.COULD_NOT_RUN]
    if slow and not any(one.verdict is Verdict.FAIL for one in results):
        by_id = load_catalogue().by_id
        again = await _results_in(mutant, [by_id[name] for name in slow], record, 1.0)
        results = [one for one in results if one.case not in slow] + again
    return results


async def _results_in(
    mutant: DrawnMutant, cases: Sequence[Case], record: Path, scale: float
) -> list[CaseResult]:
    """Run cases up to the first that fails, with every deadline scaled."""
    results: list[CaseResult] = []
    for target, share in attachments(mutant, cases, record):
        found = await _run_until_notice(target, share, scale)
        results += found
        if any(one.verdict is Verdict.FAIL for one in found):
            break
    return results


async def _run_until_notice(
    target: Attachment, share: Sequence[Case], scale: float
) -> list[CaseResult]:
    """Run cases over one attachment; a target that cannot be judged gives could-not-run."""
    part = run_sockets if target.scheme == "node" else run_codec
    known: list[CaseResult] = []
    noticed = asyncio.Event()

    def progress(result: CaseResult) -> None:
        known.append(result)
        if result.verdict is Verdict.FAIL:
            noticed.set()

    # In the order given, since the first of them fail most probably.
    settings = Settings(timeout_scale=scale, keeps_order=True)
    running = asyncio.ensure_future(part(share, load_catalogue(), target, settings, progress))
    waiting = asyncio.create_task(noticed.wait())
    try:
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            return known
        return running.result()
    except Incomplete as exc:
        return [CaseResult(case.id, Verdict.COULD_NOT_RUN, (str(exc),)) for case in share]
    finally:
        # Awaited to its end: it stops the processes that it started.
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)


def stages_of(package: str) -> tuple[str, ...]:
    """Return the stages in the order that fits a package."""
    sockets = (NEAR, OTHERS, CALLED)
    return (CODEC, *sockets) if package in CODEC_FIRST else (*sockets, CODEC)


def next_stage(drawn: Drawn, known: Result) -> str:
    """Return the first stage of a mutant that is still to run, which has no state yet."""
    return next(one for one in stages_of(drawn.package) if one not in known.passed)


def cases_of(stage: str, drawn: Iterable[Drawn]) -> list[Case]:
    """Return the cases of a stage for one mutant, or for several made at once."""
    near = set().union(*(_near_cases().get(one.module, ()) for one in drawn))
    return [case for case in load_catalogue().cases if stage_of(case, near) == stage]


def stage_of(case: Case, near: Collection[str]) -> str:
    """Return the stage of a case; `near` are the ids of those that notice rows of the module."""
    if case.kind != SOCKET:
        return CODEC
    if variant_of(case) in CALLED_VARIANTS:
        return CALLED
    return NEAR if case.id in near else OTHERS


@cache
def _near_cases() -> dict[str, set[str]]:
    """Return the cases over shared connections that notice rows of the table, by their modules."""
    shared = {
        case.id
        for case in load_catalogue().cases
        if case.kind == SOCKET and not is_serial(case) and body_of(case).isolation != "process"
    }
    found: dict[str, set[str]] = {}
    for row in read_rows().values():
        for module in edits_by_module([row]):
            found.setdefault(module, set()).update(shared.intersection(row.noticed_by))
    return found


async def judge(drawn: Sequence[Drawn], known: Result, stages: Collection[str]) -> Result:
    """Run stages against one mutant, or several made at once; return what is known of it then.

    `known` is the result of earlier stages, which are not run again.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="meshwire-operator-") as folder:
        mutant, record = mutant_in(Path(folder), *drawn), Path(folder) / "record"
        found = known
        try:
            async with asyncio.timeout(TOTAL_S):
                while not found.state and (stage := next_stage(drawn[0], found)) in stages:
                    cases = cases_of(stage, drawn)
                    found = await _judged(mutant, cases, record, found) if cases else found
                    found = _passed(found, stage)
        except TimeoutError:
            notes = (*found.notes, f"not over within {TOTAL_S:g} s")
            found = replace(found, state=COULD_NOT_RUN, notes=notes)
    return replace(found, took_s=round(known.took_s + time.perf_counter() - start, 1))


def _passed(known: Result, stage: str) -> Result:
    """Return a result after a stage in which no case noticed."""
    if known.state:
        return known
    passed = (*known.passed, stage)
    return replace(known, passed=passed, state=SURVIVED if len(passed) == len(STAGES) else "")


async def _judged(
    mutant: DrawnMutant, cases: Sequence[Case], record: Path, known: Result
) -> Result:
    """Run cases of one part up to the first that fails; over sockets that needs a second failure.

    A failed case is run once more, alone; if it passes, those without a verdict are run. Some
    mistakes show only while other cases run. So once `FAILURES` different cases have failed, these
    run concurrently, and a case that fails then notices the mutant too.
    """
    failures: list[CaseResult] = []
    while True:
        results = await results_until_notice(mutant, cases, record)
        failed = next((one for one in results if one.verdict is Verdict.FAIL), None)
        if failed is None:
            notes = (*known.notes, *_once(failures))
            return _unnoticed(mutant, record, results, replace(known, notes=notes))
        again = await _fails_again(mutant, [failed], record)
        if again is None:
            failures.append(failed)
            if len(failures) >= FAILURES:
                again = await _fails_again(mutant, failures, record)
        if again is not None:
            return replace(
                known,
                state=NOTICED,
                case=again.case,
                symptom=again.symptom,
                notes=(*known.notes, *_once(failures)),
            )
        open_yet = (Verdict.COULD_NOT_RUN, Verdict.FAIL)
        over = {failed.case} | {one.case for one in results if one.verdict not in open_yet}
        cases = [one for one in cases if one.id not in over]


async def _fails_again(
    mutant: DrawnMutant, failures: Sequence[CaseResult], record: Path
) -> CaseResult | None:
    """Run failed cases once more; return the first that fails. One of the codec needs no repeat."""
    by_id = load_catalogue().by_id
    cases = [by_id[one.case] for one in failures]
    if cases[0].kind != SOCKET:
        return failures[0]
    results = await results_until_notice(mutant, cases, record)
    return next((one for one in results if one.verdict is Verdict.FAIL), None)


def _once(failures: Iterable[CaseResult]) -> tuple[str, ...]:
    return tuple(f"{one.case} failed once: {one.symptom}" for one in failures)


def _unnoticed(
    mutant: DrawnMutant, record: Path, results: Iterable[CaseResult], known: Result
) -> Result:
    """Return a result after cases of which none failed."""
    notes = [*known.notes, *unapplied(mutant, record)]
    unjudged = sum(one.verdict is Verdict.COULD_NOT_RUN for one in results)
    if unjudged:
        notes.append(f"{unjudged} cases could not be run")
    state = COULD_NOT_RUN if unjudged else known.state
    return replace(known, state=state, notes=tuple(notes))


async def single_results(
    drawn: Sequence[Drawn], before: Sequence[Result], found: Result
) -> list[Result]:
    """Return what a result of mutants made at once says about each; nothing, if they hang.

    A case that noticed all of them is run against each; what it does not notice is unfinished.
    """
    if len(drawn) == 1 or found.state in ("", SURVIVED):
        return [replace(found, id=one.id) for one in drawn]
    if found.state == COULD_NOT_RUN:
        return []
    case = load_catalogue().by_id[found.case]
    singles = []
    for one, known in zip(drawn, before, strict=True):
        with tempfile.TemporaryDirectory(prefix="meshwire-operator-") as folder:
            mutant = mutant_in(Path(folder), one)
            single = await _judged(mutant, [case], Path(folder) / "record", known)
        # The stages before that case were passed by all.
        singles.append(single if single.state == NOTICED else replace(single, passed=found.passed))
    return singles


async def run(mutants: Iterable[Sequence[Drawn]], options: argparse.Namespace) -> None:
    """Judge mutants, several beside each other, and add each result to the file."""
    slots = asyncio.Semaphore(options.beside)
    end = time.monotonic() + options.seconds
    load_catalogue()
    RESULTS.parent.mkdir(exist_ok=True)

    known = read_results(RESULTS)

    async def one(drawn: Sequence[Drawn]) -> None:
        before = [known.get(of.id, Result(of.id)) for of in drawn]
        # One that has a result is run again from the first stage on.
        shared = set(STAGES).intersection(*(() if of.state else of.passed for of in before))
        name = SEPARATOR.join(of.id for of in drawn)
        start = Result(name, passed=tuple(stage for stage in STAGES if stage in shared))
        async with slots:
            if time.monotonic() > end:
                return
            found = await judge(drawn, start, options.stage or STAGES)
            singles = await single_results(drawn, before, found)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(single)) + "\n" for single in singles)
        print(f"{found.state or '-':13} {found.took_s:5.1f} s {name} {found.case} {found.symptom} "
              f"{' | '.join(found.notes)}", flush=True)  # fmt: skip

    # All are awaited, also if one fails: a cancelled start may never end.
    tasks = [asyncio.create_task(one(drawn)) for drawn in mutants]
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        task.result()


def read_results(path: Path) -> dict[str, Result]:
    """Return the last result of each mutant.

    One that survived before a stage was added is still to run.
    """
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    found = (
        Result(**{**one, "notes": tuple(one["notes"]), "passed": tuple(one["passed"])})
        for one in lines
    )
    return {
        one.id: replace(one, state="")
        if one.state == SURVIVED and not set(STAGES) <= set(one.passed)
        else one
        for one in found
    }


def chosen_of(sample: Draw, options: argparse.Namespace) -> list[tuple[Drawn, ...]]:
    """Return the mutants to run, those to be made at once in one tuple."""
    by_id = {one.id: one for one in sample.mutants}
    if options.id:
        return list(grouped([by_id[name] for name in options.id], options.group))
    stages = options.stage or STAGES
    results = read_results(RESULTS)
    chosen: dict[str, list[Drawn]] = {}
    for one in sample.mutants[: options.first]:
        known = results.get(one.id, Result(one.id))
        if one.state in TO_RUN and not known.state and (stage := next_stage(one, known)) in stages:
            chosen.setdefault(f"{one.package in CODEC_FIRST}, {stage}", []).append(one)
    return [batch for alike in chosen.values() for batch in grouped(alike, options.group)]


def grouped(mutants: Sequence[Drawn], size: int) -> Iterator[tuple[Drawn, ...]]:
    """Yield mutants in groups of a size, neighbours by module apart."""
    number = -(-len(mutants) // size)
    spread = sorted(mutants, key=lambda one: one.module) if size > 1 else mutants
    yield from (tuple(spread[at::number]) for at in range(number))


def with_results(sample: Draw, results: dict[str, Result]) -> Draw:
    """Return the sample with these results, up to the first mutant that was not begun.

    Without the others, since the order in which mutants end depends on whether they are noticed.
    """
    mutants = list(sample.mutants)
    for number, one in enumerate(mutants):
        found = results.get(one.id, Result(one.id))
        state = found.state or (UNFINISHED if found.passed else one.state)
        if not state:
            break
        mutants[number] = replace(one, state=state, case=found.case, symptom=found.symptom)
    return replace(sample, mutants=tuple(mutants))


# --- Command ---------------------------------------------------------------------------------


def run_unit_tests(drawn: Sequence[Drawn], tests: Sequence[str]) -> int:
    """Run unit tests against mutants, and return the status of pytest."""
    with tempfile.TemporaryDirectory(prefix="meshwire-operator-") as folder:
        environment = {**os.environ, **variables(mutant_in(Path(folder), *drawn))}
        environment["PYTHONPATH"] += os.pathsep + str(ROOT / "reference")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", *tests]
        return subprocess.run(command, check=False, cwd=ROOT, env=environment).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draw", action="store_true", help="draw the sample anew and write it")
    parser.add_argument("--seed", type=int, default=SEED, help=f"seed of --draw, {SEED}")
    parser.add_argument("--size", type=int, default=SIZE, help=f"mutants of --draw, {SIZE}")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N of the sample")
    parser.add_argument("--id", action="append", help="this mutant, also if it has a result")
    parser.add_argument("--group", type=int, default=1, metavar="N", help="N mutants at once")
    parser.add_argument("--stage", action="append", choices=STAGES, help="only this stage")
    parser.add_argument("--seconds", type=float, default=ENDLESS_S, help="begin no mutant later")
    parser.add_argument("--beside", type=int, default=BESIDE, help="mutants at the same time")
    parser.add_argument("--write", action="store_true", help="write the results into the sample")
    parser.add_argument("--check", action="store_true", help="run nothing, check the reasons")
    parser.add_argument("--unit", nargs="+", metavar="TEST", help="unit tests against --id instead")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; return 0 unless there is a problem."""
    options = _parser().parse_args(arguments)
    if options.draw:
        sample = draw(options.seed, options.size)
        SAMPLE.write_text(sample_text(sample), "utf-8")
        print(f"{len(sample.mutants)} of {sample.total} mutants, {sample.redrawn} redrawn")
        return 0
    sample = read_sample()
    if options.check:
        return _check(sample)
    if options.write:
        SAMPLE.write_text(sample_text(with_results(sample, read_results(RESULTS))), "utf-8")
        return 0
    chosen = chosen_of(sample, options)
    if options.unit:
        return max(run_unit_tests(one, options.unit) for one in chosen)
    asyncio.run(run(chosen, options))
    return 0


def _check(sample: Draw) -> int:
    try:
        problems = list(reason_problems(sample, read_reasons()))
    except MalformedReason as exc:
        problems = [str(exc)]
    print(*problems, f"{REASONS.name}: {len(problems)} problems", sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
