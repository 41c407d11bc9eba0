"""Score the suite by the table of mutants, and write the results and their page.

Each row of `conformance/mutants/rows` is run until the first case notices it: the cases that the
row names first, the others of its kind only where those miss. A run that was interrupted goes on
where it was, in build/; the results are those of `conformance/mutants/results.json`, the page is
spec/95-mutants.md.

Examples: python tools/mutant_scores.py --row no-relay
          python tools/mutant_scores.py --sample 40
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.verdicts import CaseResult, Verdict
from mutant_page import PAGE, page_text, read_page
from mutant_results import (
    HIDDEN,
    Outcome,
    State,
    allowed_rules,
    digest_of_cases,
    digest_of_row,
    doubtful,
    is_kill,
    is_of_kind,
    read_results,
    result_problems,
    write_results,
)
from mutants import (
    CRASHED,
    HURRIED,
    ROOT,
    Enough,
    Mutant,
    Row,
    RowError,
    judge,
    read_rows,
)
from vector_files import fault_text

STORE: Final = ROOT / "build" / "mutants.jsonl"
"""The rows that were measured in a round which is not over, one line each."""
BESIDE: Final = 3
"""Number of mutants that run concurrently: most of their time they wait."""
SHOWN: Final = 5
"""Number of failed cases of other rules that a result lists."""
SAMPLED_S: Final = 20.0
"""Rows that took longer are left out of samples, which are for a gate."""
USAGE: Final = 2
PATIENT: Final = 1.0
"""Scale of the deadlines of cases that were not decided with hurried ones."""
COLOURS: Final = {State.NOTICED: "32", State.SURVIVED: "31", State.CRASHED: "31"}

Judge: TypeAlias = Callable[
    [Mutant, Sequence[Case], float, Enough | None], Awaitable[tuple[list[CaseResult], list[str]]]
]
"""Runs cases against a mutant until a result is enough; see `mutants.judge`."""


# --- One row ---------------------------------------------------------------------------------


async def measure(row: Row, cases: Sequence[Case], judged: Judge = judge) -> Outcome:
    """Return the outcome of a row: run cases in steps until one notices.

    The cases that the row names come first, twice where they miss, then the others of its kind
    about its rule, at last the rest, which shows only what failed instead. Others about the rule
    that could not be decided run once more with full deadlines.
    """
    began_s = time.perf_counter()
    by_id = {case.id: case for case in cases}
    search = _Search(row, by_id)
    named = [by_id[name] for name in row.noticed_by if name in by_id]
    others = [case for case in cases if is_of_kind(row, case) and case not in named]
    about = [case for case in others if allowed_rules(row) & set(case.rules)]
    # What a row that survives does elsewhere says nothing about its reason.
    rest = [] if row.survives else [case for case in others if case not in about]
    await search.run(named, HURRIED, judged)
    # A busy machine may hide a mistake once: the cases that know it try again, without hurry.
    await search.run(named, PATIENT, judged)
    for step in (about, rest):
        await search.run(step, HURRIED, judged)
        await search.run(search.undecided(step), PATIENT, judged)
    return msgspec.structs.replace(
        search.outcome(), seconds=round(time.perf_counter() - began_s, 1)
    )


class _Search:
    """The search for a case that notices a row."""

    def __init__(self, row: Row, by_id: Mapping[str, Case]) -> None:
        self._row = row
        self._by_id = by_id
        self._mutant = Mutant(row.id, (row,), row.noticed_by)
        self._results: dict[str, CaseResult] = {}
        self._problems: list[str] = []

    def _notices(self, result: CaseResult) -> bool:
        return is_kill(self._row, self._by_id[result.case], result)

    @property
    def is_over(self) -> bool:
        """True if a case has noticed, or if the mutant proves nothing."""
        return bool(self._problems) or any(map(self._notices, self._results.values()))

    async def run(self, cases: Sequence[Case], scale: float, judged: Judge) -> None:
        """Run cases against the mutant, unless there is none or the search is over."""
        if cases and not self.is_over:
            results, self._problems = await judged(self._mutant, cases, scale, self._notices)
            self._results |= {result.case: result for result in results}

    def undecided(self, cases: Iterable[Case]) -> list[Case]:
        """Return those of the cases about the row's rule that could not run."""
        about = allowed_rules(self._row)
        return [
            case
            for case in cases
            if about & set(case.rules)
            and (found := self._results.get(case.id)) is not None
            and found.verdict is Verdict.COULD_NOT_RUN
        ]

    def outcome(self) -> Outcome:
        """Return what was found."""
        state, by = State.SURVIVED, ""
        if self._problems:
            is_crash = all(problem.startswith(CRASHED) for problem in self._problems)
            state = State.CRASHED if is_crash else State.UNDECIDED
        elif noticed := next(filter(self._notices, self._results.values()), None):
            state, by = State.NOTICED, noticed.case
        elif left := self.undecided(self._by_id.values()):
            state, self._problems = State.UNDECIDED, [f"{left[0].id} could not run"]
        failed = (one.case for one in self._results.values() if one.verdict is Verdict.FAIL)
        beside = () if by else tuple(sorted(failed)[:SHOWN])
        return Outcome(
            row=digest_of_row(self._row),
            cases=digest_of_cases(self._row, self._by_id),
            state=state,
            seconds=0.0,
            by=by,
            beside=beside,
            why="; ".join(self._problems[:1]),
        )


# --- All rows --------------------------------------------------------------------------------


class Store:
    """The outcomes of a round, kept in a file as they come, so that it can be resumed."""

    def __init__(self, path: Path = STORE) -> None:
        self._path = path

    def read(self, rows: Mapping[str, Row], by_id: Mapping[str, Case]) -> dict[str, Outcome]:
        """Return the outcomes of rows that are now as they were measured."""
        found: dict[str, Outcome] = {}
        if not self._path.exists():
            return found
        for line in self._path.read_bytes().splitlines():
            # An interrupted write leaves half a line.
            with suppress(msgspec.DecodeError):
                name, outcome = msgspec.json.decode(line, type=tuple[str, Outcome])
                row = rows.get(name)
                is_same = row is not None and outcome.row == digest_of_row(row)
                if is_same and outcome.cases == digest_of_cases(rows[name], by_id):
                    found[name] = outcome
        return found

    def add(self, name: str, outcome: Outcome) -> None:
        """Append the outcome of a row."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode((name, outcome)) + b"\n")

    def clear(self) -> None:
        """Forget the round, which is over."""
        self._path.unlink(missing_ok=True)


async def measure_all(
    rows: Sequence[Row],
    measured: Callable[[Row], Awaitable[Outcome]],
    note: Callable[[str, Outcome], None],
    beside: int,
    ends_s: float | None = None,
) -> None:
    """Measure rows, `beside` of them concurrently, and note each; begin none after `ends_s`."""
    waiting = iter(rows)

    async def work() -> None:
        for row in waiting:
            if ends_s is not None and time.monotonic() >= ends_s:
                return
            note(row.id, await measured(row))

    # All are awaited, also if one fails: the processes of each are ended by its own task.
    workers = [asyncio.create_task(work()) for _ in range(beside)]
    await asyncio.wait(workers)
    for worker in workers:
        worker.result()


async def measure_again(
    rows: Iterable[Row],
    done: Mapping[str, Outcome],
    measured: Callable[[Row], Awaitable[Outcome]],
    note: Callable[[str, Outcome], None],
) -> None:
    """Measure the rows that surprised once more, one after another, since a machine may be busy."""
    wrong = [row for row in rows if list(surprises([row], done))]
    if wrong:
        print(f"again, alone: {', '.join(row.id for row in wrong)}", flush=True)
        await measure_all(wrong, measured, note, beside=1)


def progress_line(number: int, count: int, name: str, outcome: Outcome, *, has_colour: bool) -> str:
    """Return the line that says what became of a row."""
    state = outcome.state.value.ljust(len(State.UNDECIDED))
    if has_colour:
        state = f"\x1b[{COLOURS.get(outcome.state, '33')}m{state}\x1b[0m"
    found = f" by {outcome.by}" if outcome.by else ""
    beside = f", other rules: {' '.join(outcome.beside)}" if outcome.beside else ""
    why = f": {outcome.why}" if outcome.why else ""
    place = f"{number}/{count}".rjust(2 * len(str(count)) + 1)
    return f"{place} {state} {name}{found}, {outcome.seconds:.1f} s{beside}{why}"


def sample_of(rows: Iterable[Row], size: int, seed: str) -> list[Row]:
    """Return `size` of the rows, the same ones for the same seed; all if they are fewer."""
    known = sorted(rows, key=lambda row: row.id)
    return random.Random(seed).sample(known, min(size, len(known)))  # noqa: S311 - no secret


def is_quick(outcomes: Mapping[str, Outcome]) -> Callable[[Row], bool]:
    """Return a function that returns True for a row that was noticed in a short time."""

    def check_row(row: Row) -> bool:
        outcome = outcomes.get(row.id)
        is_noticed = outcome is not None and outcome.state is State.NOTICED
        return outcome is not None and is_noticed and outcome.seconds <= SAMPLED_S

    return check_row


def default_seed(rows: Iterable[Row]) -> str:
    """Return a seed made from a table: another table has another seed."""
    digests = sorted(map(digest_of_row, rows))
    return digests[0] if digests else ""


def surprises(rows: Iterable[Row], outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield the rows that were measured and became something else than they say."""
    for row in rows:
        outcome = outcomes.get(row.id)
        if outcome is None:
            continue
        is_hidden = row.idle and outcome.state in HIDDEN
        if outcome.state is not State.NOTICED and not row.survives and not is_hidden:
            yield f"{row.id} {outcome.state}: {outcome.why or 'no case of its rule fails'}"
        if outcome.state is State.NOTICED and row.survives:
            yield f"{row.id} says that it survives, and {outcome.by} notices it"
        if outcome.by and row.noticed_by and outcome.by not in row.noticed_by:
            yield f"{row.id}: none of the named cases notices it, {outcome.by} does: name that"


# --- The command -----------------------------------------------------------------------------


def check(rows: Mapping[str, Row]) -> int:
    """Compare results and page with the rows, without a run; return the exit status."""
    outcomes = read_results()
    by_id = load_catalogue().by_id
    wrong = result_problems(rows.values(), outcomes)
    how = "python tools/mutant_scores.py --row ID"
    lines = [f"{problem}: run {how}" for problem in wrong]
    page = read_page()
    if page != page_text(page, rows.values(), outcomes):
        lines.append(f"{PAGE.name} is stale: run python tools/mutant_scores.py --page")
    older = doubtful(rows.values(), outcomes, by_id)
    if older:
        print(f"{len(older)} rows name a case that was changed since: measure them (--doubtful)")
    noticed = sum(outcome.state is State.NOTICED for outcome in outcomes.values())
    print(*lines, f"{noticed} of {len(outcomes)} mutants are noticed", sep="\n")
    return 1 if lines else 0


def write_page(rows: Mapping[str, Row], outcomes: Mapping[str, Outcome]) -> None:
    """Write results and page, of the rows that exist."""
    kept = {name: outcome for name, outcome in outcomes.items() if name in rows}
    write_results(kept)
    PAGE.write_text(page_text(read_page(), rows.values(), kept), "utf-8")


def noting(
    done: dict[str, Outcome], rows: int, store: Store | None
) -> Callable[[str, Outcome], None]:
    """Return a function that adds an outcome to `done` and to the store, and prints its line."""
    has_colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def note(name: str, outcome: Outcome) -> None:
        done[name] = outcome
        if store is not None:
            store.add(name, outcome)
        print(progress_line(len(done), rows, name, outcome, has_colour=has_colour), flush=True)

    return note


def run(rows: Mapping[str, Row], options: argparse.Namespace) -> int:
    """Measure the rows that the options choose; return the exit status."""
    catalogue = load_catalogue()
    store = Store()
    if options.anew:
        store.clear()
    chosen = [rows[name] for name in options.row or rows]
    done: dict[str, Outcome] = {}
    if options.sample:
        seed = options.seed or default_seed(chosen)
        chosen = sample_of(filter(is_quick(read_results()), chosen), options.sample, seed)
        print(f"{len(chosen)} of {len(rows)} rows, seed {seed}", flush=True)
    elif not options.row:
        done = store.read(rows, catalogue.by_id)
    left = [row for row in chosen if row.id not in done]
    if done:
        print(f"{len(done)} rows were measured before, {len(left)} are left", flush=True)
    is_round = not options.row and not options.sample
    note = noting(done, len(done) + len(left), store if is_round else None)
    ends_s = None if options.stop_after is None else time.monotonic() + options.stop_after
    judge_row = partial(measure, cases=catalogue.cases)
    try:
        asyncio.run(measure_all(left, judge_row, note, options.beside, ends_s))
        if options.sample:
            asyncio.run(measure_again(chosen, done, judge_row, note))
    finally:
        # What was measured counts, also where the rest was interrupted.
        if not options.sample:
            write_page(rows, {**read_results(), **done})
    if is_round and len(done) == len(chosen):
        store.clear()
    wrong = list(surprises(chosen, done))
    noticed = sum(outcome.state is State.NOTICED for outcome in done.values())
    for line in wrong:
        print(f"mutant_scores: {line}")
    print(f"{noticed} of {len(done)} mutants were noticed")
    if len(done) < len(chosen):
        print(f"{len(chosen) - len(done)} are left: run the same command again")
    return 1 if wrong else 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--check", action="store_true", help="run nothing, compare the page")
    made.add_argument("--page", action="store_true", help="run nothing, write the page")
    made.add_argument("--row", action="append", metavar="ID", help="this row only, measured anew")
    made.add_argument(
        "--doubtful", action="store_true", help="the rows that name a case changed since"
    )
    made.add_argument("--sample", type=int, metavar="N", help="N rows by the seed; writes nothing")
    made.add_argument("--seed", default="", help="of the sample; otherwise by the table")
    made.add_argument("--beside", type=int, default=BESIDE, help="mutants that run concurrently")
    made.add_argument("--stop-after", type=float, metavar="S", help="begin no row after S seconds")
    made.add_argument("--anew", action="store_true", help="do not resume an interrupted round")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the tool: 0 if every row became what it says, 1 if not, 2 for bad options."""
    options = parser().parse_args(arguments)
    try:
        rows = read_rows()
        load_catalogue()
    except RowError as exc:
        print(exc, file=sys.stderr)
        return USAGE
    except SuiteFault as fault:
        print(fault_text(fault), file=sys.stderr)
        return USAGE
    unknown = [name for name in options.row or () if name not in rows]
    if unknown:
        print(f"no row {', '.join(unknown)}: conformance/mutants/rows has them", file=sys.stderr)
        return USAGE
    if options.check:
        return check(rows)
    if options.page:
        write_page(rows, read_results())
        return 0
    if options.doubtful:
        options.row = doubtful(rows.values(), read_results(), load_catalogue().by_id)
        print(f"{len(options.row)} rows name a case that was changed since they were measured")
    return run(rows, options) if options.row or not options.doubtful else 0


if __name__ == "__main__":
    sys.exit(main())
