"""The run: assigns cases to attachments and collects the verdicts in a report."""

import asyncio
import json
import shlex
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from meshwire_conformance.catalogue.case import HARNESS, Case
from meshwire_conformance.catalogue.catalogue import Catalogue, selection_digest
from meshwire_conformance.catalogue.circumstances import is_dialled
from meshwire_conformance.contracts import (
    Alone,
    Attachment,
    Said,
    Settings,
    WaitsFor,
    unsaid,
    unseen,
    untraced,
)
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.report.ledger import KnownFailure, apply_ledger, expiries, read_ledgers
from meshwire_conformance.report.record import Report, TargetRun
from meshwire_conformance.run.beside import Work, run_all
from meshwire_conformance.run.loading import load_catalogue, load_listing
from meshwire_conformance.run.parts import PARTS, needs_of, part_over
from meshwire_conformance.run.progress import RunProgress, Watcher, unrun
from meshwire_conformance.run.rounds import merged, ordered
from meshwire_conformance.targets.base import SCHEMES
from meshwire_conformance.verdicts import CaseResult, ExitCode, Verdict, exit_code, strongest
from meshwire_spec.numbers import SPEC_REVISION, VERSION
from meshwire_spec.rules import load_rules
from meshwire_spec.schemas.base import Level
from meshwire_spec.schemas.transcripts import Transcript

Rounds = list[list[TargetRun]]
"""The runs of each round, one for each attachment."""
Start = Callable[[Coroutine[Any, Any, Rounds]], Rounds]
"""Runs a coroutine to its end; `asyncio.run`, or one that handles interrupts."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller of `meshwire check` asked for."""

    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    kinds: Sequence[str] = ()
    level: Level = "strict"
    seed: int = 0
    timeout_scale: float = 1.0
    writes_are_ok: bool = False
    known_failing: Path | None = None
    known_flaky: Path | None = None
    today: date = date.min
    """The day on which entries of a ledger that expire are judged."""
    trace: Path | None = None
    watcher: Watcher | None = None
    rounds: int = 1
    shuffle: bool = False
    violations_max: int | None = None
    """Number of violations that ends the run; None is no such number."""
    compares: bool = False
    """Whether the targets are different ones, to be shown beside each other."""
    tells: Said = unsaid
    waits_for: WaitsFor = unseen


def check(
    targets: Sequence[Attachment],
    target_text: str,
    options: Options,
    start: Start = asyncio.run,
) -> Report:
    """Run the suite against the targets and return the report.

    `start` runs the one coroutine of the run. Raises SuiteError if nothing can run, and whatever
    `start` raises.
    """
    clock = time.perf_counter()
    catalogue = _catalogue_for(targets)
    cases = _with_adapter(targets, catalogue, options)
    known = read_ledgers(options.known_failing, options.known_flaky, catalogue)
    rounds = start(_run_all(targets, cases, catalogue, options, known))
    runs = _merged_rounds(rounds, known, options)
    results = [result for run in runs for result in run.results]
    faults = [ExitCode.INCOMPLETE for run in runs if run.faults]
    expired, expiring = expiries(results, known, options.today)
    return Report(
        suite_version=VERSION,
        spec_revision=SPEC_REVISION,
        suite_digest=catalogue.digest,
        selection_digest=selection_digest(cases),
        level=options.level,
        seed=options.seed,
        target=target_text,
        cases=catalogue.by_id,
        runs=runs,
        exit_code=strongest([exit_code(results), *faults]),
        rules={rule.id: rule.text for rule in load_rules()},
        duration_s=time.perf_counter() - clock,
        repeat=_repeat(options),
        ledger=str(options.known_failing or options.known_flaky or ""),
        expired=expired,
        expiring=expiring,
        compares=options.compares,
    )


def _merged_rounds(
    rounds: Rounds, known: Mapping[str, KnownFailure], options: Options
) -> list[TargetRun]:
    """Return one run for each target, of all rounds, with what the ledger says of its results."""
    held = [
        [replace(run, results=apply_ledger(run.results, known, options.today)) for run in runs]
        for runs in rounds
    ]
    return [merged(of_target) for of_target in zip(*held, strict=True)]


def _catalogue_for(targets: Sequence[Attachment]) -> Catalogue:
    """Return the catalogue; codecs need no bodies of cases over connections."""
    codec = PARTS["codec"]
    asks_codecs = all(part_over(target.scheme) is codec for target in targets)
    return load_listing() if asks_codecs else load_catalogue()


def unfinished(target_text: str, options: Options, why: str, code: ExitCode) -> Report:
    """Return the report of a run that has ended without a verdict on any case."""
    catalogue = load_listing()
    return Report(
        suite_version=VERSION,
        spec_revision=SPEC_REVISION,
        suite_digest=catalogue.digest,
        selection_digest=selection_digest(()),
        level=options.level,
        seed=options.seed,
        target=target_text,
        cases=catalogue.by_id,
        runs=[TargetRun(target_text, "", (), (why,))],
        exit_code=code,
        repeat=_repeat(options),
    )


def _repeat(options: Options) -> str:
    """Return the options, besides level and seed, on which the result of a case depends."""
    words: list[str] = []
    if options.known_failing is not None:
        words.append(f"--known-failing {shlex.quote(str(options.known_failing))}")
    if options.known_flaky is not None:
        words.append(f"--known-flaky {shlex.quote(str(options.known_flaky))}")
    if options.timeout_scale != 1:
        words.append(f"--timeout-scale {options.timeout_scale:g}")
    if options.writes_are_ok:
        words.append("--writes-are-ok")
    return " ".join(words)


def _with_adapter(
    targets: Sequence[Attachment], catalogue: Catalogue, options: Options
) -> tuple[Case, ...]:
    """Return the selected cases, with those of the harness itself if any codec case is selected."""
    cases = catalogue.select(options.only, options.skip, options.kinds)
    codec = PARTS["codec"]
    speaks_codec = any(part_over(target.scheme) is codec for target in targets)
    if not speaks_codec or not any(codec.takes(case) for case in cases):
        return cases
    skipped = catalogue.named(options.skip)
    more = [case for case in catalogue.cases if case.kind == HARNESS and case.id not in skipped]
    chosen = {case.id: case for case in (*cases, *more)}
    return tuple(chosen[name] for name in sorted(chosen))


async def _run_all(
    targets: Sequence[Attachment],
    cases: Sequence[Case],
    catalogue: Catalogue,
    options: Options,
    known: Mapping[str, KnownFailure],
) -> Rounds:
    with ExitStack() as stack:
        shares = [(target, _share(target, targets, cases, options.seed)) for target in targets]
        progress = RunProgress(
            catalogue.by_id,
            known,
            options.rounds
            * sum(len(_fitting(target, share, options.seed)) for target, share in shares),
            options.watcher,
            options.violations_max,
            options.today,
        )
        settings = _settings(options, known, progress, stack)

        async def run_one(target: Attachment, share: Sequence[Case], alone: Alone) -> TargetRun:
            mine = replace(settings, alone=alone)
            return await _run_one(target, share, catalogue, mine, progress)

        # A trace shows one attachment after another, and a maximum ends the run at one case.
        in_turn = options.trace is not None or options.violations_max is not None
        rounds = []
        for number in range(options.rounds):
            works = []
            for target, share in shares:
                order = ordered(share, options.seed, number) if options.shuffle else share
                beside = target.beside and not in_turn
                works.append(Work(partial(run_one, target, order), beside))
            rounds.append(await run_all(works))
        return rounds


def _settings(
    options: Options, known: Mapping[str, KnownFailure], progress: RunProgress, stack: ExitStack
) -> Settings:
    """Return what the parts of the suite have to know; `stack` closes the trace."""
    return Settings(
        level=options.level,
        timeout_scale=options.timeout_scale,
        seed=options.seed,
        writes_are_ok=options.writes_are_ok,
        trace=_tracer(options.trace, stack),
        expects=lambda case, symptom: case in known and known[case].fits(symptom),
        predicts=lambda case: case in known,
        keeps_order=options.shuffle,
        ends_early=options.violations_max is not None,
        ended=progress.ended,
        tells=options.tells,
        waits_for=options.waits_for,
    )


def _share(
    target: Attachment, targets: Sequence[Attachment], cases: Sequence[Case], seed: int
) -> list[Case]:
    """Return the cases of one attachment; the first one also gets those that none can show."""
    schemes = {SCHEMES[other.scheme].part for other in targets}
    if len(schemes) == 1 and target is targets[0]:
        return list(cases)
    return _fitting(target, cases, seed)


def _fitting(target: Attachment, cases: Sequence[Case], seed: int) -> list[Case]:
    """Return the cases that this attachment can show."""
    part = part_over(target.scheme)
    return [
        case
        for case in cases
        if part.takes(case) and (not target.only or _is_among(case, target, seed))
    ]


def _is_among(case: Case, target: Attachment, seed: int) -> bool:
    """Return True if a case is one of those that an attachment runs alone."""
    if any(set(needs.split()) <= set(case.needs) for needs in target.only):
        return True
    body = case.body
    return target.dialled and isinstance(body, Transcript) and is_dialled(case.id, body, seed)


async def _run_one(
    target: Attachment,
    cases: Sequence[Case],
    catalogue: Catalogue,
    settings: Settings,
    progress: RunProgress,
) -> TargetRun:
    name = target.variant or target.text
    fitting = _fitting(target, cases, settings.seed)
    mine = {case.id for case in fitting}
    results = [
        CaseResult(case.id, Verdict.NOT_APPLICABLE, (f"needs {needs_of(case)}",))
        for case in cases
        if case.id not in mine
    ]
    faults: tuple[str, ...] = ()
    codec: dict[str, str] = {}
    # Each fresh node of a serial case may add the same note.
    notes: dict[str, None] = {}
    contact: list[str] = []
    settings = replace(
        settings,
        named=codec.update,
        said=lambda text: notes.update({text: None}),
        met=contact.append,
    )
    if why := progress.ended():
        results += [unrun(case.id, why) for case in fitting]
    elif fitting:
        progress.begin()
        try:
            run = part_over(target.scheme).load()
            results += progress.over(await run(fitting, catalogue, target, settings, progress))
        except Incomplete as exc:
            faults = (str(exc),)
            results += [CaseResult(c.id, Verdict.COULD_NOT_RUN, faults) for c in fitting]
    ordered = sorted(results, key=lambda r: r.case)
    return TargetRun(name, target.command, ordered, faults, codec, tuple(notes), tuple(contact))


def _tracer(path: Path | None, stack: ExitStack) -> Callable[[Mapping[str, Any]], None]:
    if path is None:
        return untraced
    try:
        stream = stack.enter_context(path.open("w", encoding="ascii"))
    except OSError as exc:
        raise UsageError(f"the trace {path} cannot be written: {exc}") from exc

    def write(line: Mapping[str, Any]) -> None:
        stream.write(json.dumps(line, ensure_ascii=True, default=repr) + "\n")

    return write
