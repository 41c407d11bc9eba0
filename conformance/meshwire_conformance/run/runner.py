"""The run: which cases go to which way of attaching, and the report over all of it."""

import asyncio
import importlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from meshwire_conformance.cases.adapter import HARNESS
from meshwire_conformance.catalogue.case import SOCKET, Case
from meshwire_conformance.catalogue.catalogue import Catalogue, load_catalogue, selection_digest
from meshwire_conformance.contracts import Attachment, Part, Settings, untraced
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.extras import install_line
from meshwire_conformance.report.ledger import apply_ledger, read_ledger
from meshwire_conformance.report.record import Report, Rule, Run
from meshwire_conformance.targets.base import PARTS, is_loopback
from meshwire_conformance.verdicts import CaseResult, ExitCode, Verdict, exit_code, strongest
from meshwire_spec.numbers import SPEC_REVISION
from meshwire_spec.schemas.base import Level

REFERENCE = "meshwire_reference"
CODEC_SCHEME = "stdio"
Watcher = Callable[[CaseResult, int, int], None]
"""Called with every case that is over, how many are, and how many there will be."""
Start = Callable[[Coroutine[Any, Any, list[Run]]], list[Run]]
"""Runs a coroutine to its end; `asyncio.run`, or one that handles interrupts."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller of `meshwire check` asked for."""

    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    level: Level = "strict"
    seed: int = 0
    timeout_scale: float = 1.0
    writes_are_ok: bool = False
    known_failing: Path | None = None
    trace: Path | None = None
    watcher: Watcher | None = None


@dataclass(slots=True)
class _Progress:
    """Counts verdicts over all runs."""

    watcher: Watcher | None
    total: int
    done: int = field(default=0)

    def __call__(self, result: CaseResult) -> None:
        self.done += 1
        if self.watcher is not None:
            self.watcher(result, self.done, self.total)


def suite_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("meshwire")
    except PackageNotFoundError:
        return "0 (not installed)"


def _reference_command() -> str:
    if find_spec(REFERENCE) is None:
        raise Incomplete(f"the bundled node is not installed: {install_line('node')}")
    return f"'{sys.executable}' -P -m {REFERENCE}.cli.app"


def bundled_codec() -> Attachment:
    """The codec harness of the bundled node; raises Incomplete without it."""
    command = f"{_reference_command()} codec"
    return Attachment(CODEC_SCHEME, command, f"stdio:{command}", variant="codec")


def bundled() -> list[Attachment]:
    """Ways to attach to the node that comes with the suite; raises Incomplete without it."""
    attachments = [bundled_codec()]
    if find_spec(PARTS["node"]) is not None:
        part = importlib.import_module(PARTS["node"])
        attachments += part.bundled(_reference_command())
    return attachments


def check(
    targets: Sequence[Attachment],
    target_text: str,
    options: Options,
    start: Start = asyncio.run,
) -> Report:
    """Hold the targets to the suite; `start` runs the one coroutine that all of it happens in.

    Raises SuiteError if nothing can run, and whatever `start` raises.
    """
    clock = time.perf_counter()
    catalogue = load_catalogue()
    cases = _with_adapter(targets, catalogue, options)
    known = read_ledger(options.known_failing, catalogue) if options.known_failing else {}
    runs = start(_run_all(targets, cases, options))
    runs = [replace(run, results=apply_ledger(run.results, known)) for run in runs]
    results = [result for run in runs for result in run.results]
    faults = [ExitCode.INCOMPLETE for run in runs if run.faults]
    return Report(
        suite_version=suite_version(),
        spec_revision=SPEC_REVISION,
        suite_digest=catalogue.digest,
        selection_digest=selection_digest(cases),
        level=options.level,
        seed=options.seed,
        target=target_text,
        cases=catalogue.by_id,
        runs=runs,
        exit_code=strongest([exit_code(results), *faults]),
        rules=load_rules(),
        duration_s=time.perf_counter() - clock,
        repeat=_repeat(options),
    )


def _repeat(options: Options) -> str:
    """Options beside level and seed that decide how a case ends."""
    words: list[str] = []
    if options.known_failing is not None:
        words.append(f"--known-failing {shlex.quote(str(options.known_failing))}")
    if options.timeout_scale != 1:
        words.append(f"--timeout-scale {options.timeout_scale:g}")
    if options.writes_are_ok:
        words.append("--writes-are-ok")
    return " ".join(words)


def _with_adapter(
    targets: Sequence[Attachment], catalogue: Catalogue, options: Options
) -> tuple[Case, ...]:
    """The selected cases, and those of the harness itself wherever a codec is asked anything."""
    cases = catalogue.select(options.only, options.skip)
    speaks_codec = any(target.scheme == CODEC_SCHEME for target in targets)
    if not speaks_codec or all(case.kind == SOCKET for case in cases):
        return cases
    skipped = options.skip
    more = [
        case
        for case in catalogue.cases
        if case.kind == HARNESS and not any(case.matches(pattern) for pattern in skipped)
    ]
    chosen = {case.id: case for case in (*cases, *more)}
    return tuple(chosen[name] for name in sorted(chosen))


async def _run_all(
    targets: Sequence[Attachment], cases: Sequence[Case], options: Options
) -> list[Run]:
    with ExitStack() as stack:
        settings = Settings(
            level=options.level,
            timeout_scale=options.timeout_scale,
            seed=options.seed,
            writes_are_ok=options.writes_are_ok,
            trace=_tracer(options.trace, stack),
        )
        shares = [(target, _share(target, targets, cases)) for target in targets]
        total = sum(len(_fitting(target, share)) for target, share in shares)
        progress = _Progress(options.watcher, total)
        return [await _run_one(target, share, settings, progress) for target, share in shares]


def _share(target: Attachment, targets: Sequence[Attachment], cases: Sequence[Case]) -> list[Case]:
    """Cases that go to one attachment; those that no attachment can show go to the first."""
    schemes = {other.scheme == CODEC_SCHEME for other in targets}
    if len(schemes) == 1 and target is targets[0]:
        return list(cases)
    return _fitting(target, cases)


def _fitting(target: Attachment, cases: Sequence[Case]) -> list[Case]:
    """Cases that this way to attach can show."""
    speaks_codec = target.scheme == CODEC_SCHEME
    return [case for case in cases if (case.kind != SOCKET) == speaks_codec]


async def _run_one(
    target: Attachment, cases: Sequence[Case], settings: Settings, progress: _Progress
) -> Run:
    name = target.variant or target.text
    fitting = _fitting(target, cases)
    mine = {case.id for case in fitting}
    other = "a connection" if target.scheme == CODEC_SCHEME else "a codec harness"
    results = [
        CaseResult(case.id, Verdict.NOT_APPLICABLE, (f"needs {other}",))
        for case in cases
        if case.id not in mine
    ]
    faults: tuple[str, ...] = ()
    codec: dict[str, str] = {}
    settings = replace(settings, named=codec.update)
    if fitting:
        _demand_permission(target, settings)
        try:
            results += await _part_of(target)(fitting, target, settings, progress)
        except Incomplete as exc:
            faults = (str(exc),)
            results += [CaseResult(c.id, Verdict.COULD_NOT_RUN, faults) for c in fitting]
    return Run(name, target.command, sorted(results, key=lambda r: r.case), faults, codec)


def _demand_permission(target: Attachment, settings: Settings) -> None:
    remote = target.scheme in ("tcp", "iroh") and not is_loopback(target.location)
    if remote and not settings.writes_are_ok:
        raise UsageError(
            f"{target.text} is not on loopback, and the suite writes documents and deletions "
            "that a mesh spreads: add --writes-are-ok"
        )


def _part_of(target: Attachment) -> Part:
    name = PARTS[target.scheme]
    if find_spec(name) is None:
        raise Incomplete(f"this installation has no part for {target.scheme}")
    part: Part = importlib.import_module(name).run
    return part


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


def load_rules() -> dict[str, Rule]:
    """Rules with their sentences; empty where the pages were never read into `rules.json`."""
    source = resources.files("meshwire_spec") / "rules.json"
    if not source.is_file():
        return {}
    document = json.loads(source.read_text(encoding="utf-8"))
    rows = document if isinstance(document, list) else document.get("rules", [])
    return {row["id"]: Rule(row["id"], row.get("level", ""), row.get("text", "")) for row in rows}
