"""Check that the suite notices each mutant: the bundled node or codec with one row applied.

Without options every row of `conformance/mutants/rows` is applied in processes of its own, and each
case that the row names must fail against them. `--check` runs nothing: it says whether every row
applies to the source, compiles and names rules and cases that exist. `--survey FILE` runs every
case against each row and writes those that fail, which is how `noticed_by` is filled.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from meshwire_conformance.catalogue.case import HARNESS, OPLOG_SESSION, SOCKET, Case
from meshwire_conformance.codec_suite.part import run as run_codec
from meshwire_conformance.contracts import Attachment, Progress, Settings
from meshwire_conformance.errors import Incomplete, SuiteFault
from meshwire_conformance.oplog_suite.part import run as run_oplog
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.part import run as run_sockets
from meshwire_conformance.targets.bundle import (
    bundled_oplog,
    node_attachments,
    short_deadline_s,
)
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_spec.rules import rules_by_id
from modules import PACKAGE_FOLDERS
from vector_files import fault_text

ROOT = Path(__file__).parents[1]
HOOK = ROOT / "conformance" / "mutants" / "hook"
sys.path.insert(0, str(HOOK))

from mutant_rows import (  # noqa: E402 - found in the folder that was just added
    FAULT,
    SEPARATOR,
    Row,
    RowError,
    apply_edits,
    choose,
    edits_by_module,
    read_rows,
)

__all__ = ["Row", "RowError", "apply_edits", "read_rows"]
"""What other tools import with this module, which knows the folder of the hook."""

BESIDE = 2
"""Number of mutants that are judged concurrently."""
HURRIED = 0.2
"""Scale of deadlines: many mutants never answer, and each case then waits for its deadline."""
NODE = f"{shlex.quote(sys.executable)} -m meshwire_reference.cli"
INDEX = re.compile(r"\[\d+\]")
RUNS = {"node": run_sockets, "stdio": run_codec, "oplog-node": run_oplog}
"""The part of the suite that runs over the scheme of an attachment."""
CRASHED = "crash of"
"""How the problem of a mutant begins that met an unexpected exception."""
PRIVATE = re.compile(r"\b_[a-z]\w*")
ATTRIBUTE = re.compile(r"\.(_[a-z]\w*)")
"""A private name, and its use as an attribute."""
ASSIGNED = re.compile(r"\b(_[a-z]\w*)(?:: [^=\n]+)? = ")
"""Where an edit itself sets it."""
Enough: TypeAlias = Callable[[CaseResult], bool]
"""Returns True for a result that ends a run."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One or more rows that are applied together, with the cases that must notice.

    `environment` are further variables of the processes.
    """

    name: str
    rows: tuple[Row, ...]
    cases: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, record: Path) -> str:
        """Return the command line of the bundled node with the rows applied."""
        path = os.pathsep.join(filter(None, (str(HOOK), os.environ.get("PYTHONPATH"))))
        values = {
            "MUTANT_ROWS": self.name,
            "MUTANT_RECORD": str(record),
            "MUTANT_LOG": str(log_beside(record)),
            "PYTHONPATH": path,
            **self.environment,
        }
        words = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
        return f"env {words} {NODE}"

    def arguments(self, case: str) -> tuple[str, ...]:
        """Return the further options of the node for this case."""
        return tuple(word for row in self.rows for word in row.arguments.get(case, ()))


def mutant_of(names: str, rows: Mapping[str, Row]) -> Mutant:
    """Return the mutant of a list of row ids separated by commas. Raises RowError."""
    chosen = tuple(choose(rows, names))
    cases = dict.fromkeys(case for row in chosen for case in row.noticed_by)
    return Mutant(SEPARATOR.join(row.id for row in chosen), chosen, tuple(cases))


# --- Running ---------------------------------------------------------------------------------


VARIANTS = {
    "control": "control",
    "dials-over:quic": "quic-dials",
    "dials-named": "quic-dials",
    "binding:quic": "quic",
    "reconciles": "reconciles",
    "dials dialect:open": "reconciles",
    "cap:1048576": "reconciles",
    "dials dialect:H2": "dials-H2",
    "mutual-proof": "proves",
    "dials": "dials",
    "without:detection dialect:H1": "H1-alone",
    "dialect:H2": "H2",
    "dialect:open": "open",
}
"""Attachments of the bundled node by the needs of the cases that are run over them."""


def variant_of(case: Case) -> str:
    """Return the attachment to run a case over: that of H1, unless it needs another."""
    found = (name for needs, name in VARIANTS.items() if set(needs.split()) <= set(case.needs))
    return next(found, "H1")


async def judge(
    mutant: Mutant,
    cases: Sequence[Case],
    scale: float = HURRIED,
    enough: Enough | None = None,
) -> tuple[list[CaseResult], list[str]]:
    """Return the verdicts of the cases against this mutant, and what is wrong with the mutant.

    That is a row that was not applied, or a crash that no row has as its mistake. `scale`
    multiplies every deadline. The run ends with the first result that is `enough`; the cases that
    have no verdict then are left out.
    """
    with tempfile.TemporaryDirectory(prefix="meshwire-mutant-") as folder:
        record = Path(folder) / "record"
        log = log_beside(record)
        results: list[CaseResult] = []
        logged = 0

        def is_enough(result: CaseResult) -> bool:
            # A crash at the end of the run, when connections are closed, has decided no case.
            nonlocal logged
            logged = log.stat().st_size if log.exists() else 0
            return enough is not None and enough(result)

        for target, share in attachments(mutant, cases, record):
            part = RUNS[target.scheme]
            settings = Settings(timeout_scale=scale)
            try:
                run = partial(part, share, load_catalogue(), target, settings)
                results += await run_until(is_enough, run)
            except Incomplete as exc:
                why = (str(exc),)
                results += [CaseResult(case.id, Verdict.COULD_NOT_RUN, why) for case in share]
            if enough is not None and any(map(enough, results)):
                break
        return results, [*unapplied(mutant, record), *crashes(mutant, record, logged)]


async def run_until(
    is_enough: Enough, run: Callable[[Progress], Awaitable[list[CaseResult]]]
) -> list[CaseResult]:
    """Return the results of a run, or those up to the first that is enough, which ends it."""
    results: list[CaseResult] = []
    is_over = asyncio.Event()

    def take(result: CaseResult) -> None:
        results.append(result)
        if is_enough(result):
            is_over.set()

    running = asyncio.ensure_future(run(take))
    waiting = asyncio.ensure_future(is_over.wait())
    try:
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        if running.done() or not is_over.is_set():
            return await running
    finally:
        waiting.cancel()
        running.cancel()
        # What it has started is ended before anything else begins.
        await asyncio.wait((running,))
    return results


def attachments(
    mutant: Mutant, cases: Sequence[Case], record: Path
) -> Iterator[tuple[Attachment, list[Case]]]:
    """Yield every way in which the mutant is started, with the cases that are run against it."""
    command = mutant.command(record)
    of_codec = [case for case in cases if case.kind not in (SOCKET, OPLOG_SESSION)]
    if of_codec:
        yield Attachment("stdio", f"{command} codec", f"stdio:{command} codec"), of_codec
    of_oplog = [case for case in cases if case.kind == OPLOG_SESSION]
    if of_oplog:
        yield bundled_oplog(command), of_oplog
    shares: dict[tuple[str, tuple[str, ...]], list[Case]] = {}
    for case in cases:
        if case.kind == SOCKET:
            shares.setdefault((variant_of(case), mutant.arguments(case.id)), []).append(case)
    for (variant, arguments), share in shares.items():
        found = next(
            one for one in node_attachments(command, short_deadline_s()) if one.variant == variant
        )
        more = shlex.join(arguments)
        # Without the mark that another dialect runs the serial cases: here it does not.
        yield (
            replace(found, location=f"{found.location} {more}".rstrip(), serial_cases_in=""),
            share,
        )


def unapplied(mutant: Mutant, record: Path) -> list[str]:
    """Return the recorded causes for which rows of the mutant were not applied."""
    lines = record.read_text("utf-8").splitlines() if record.exists() else []
    faults = sorted({line.removeprefix(FAULT) for line in lines if line.startswith(FAULT)})
    never = sorted(set(edits_by_module(mutant.rows)) - set(lines))
    return faults + [f"{mutant.name} was never applied: {name} was not loaded" for name in never]


def log_beside(record: Path) -> Path:
    """Return the file with everything that the processes of a mutant wrote to stderr."""
    return record.with_name(f"{record.name}.log")


def crashes(mutant: Mutant, record: Path, size: int) -> list[str]:
    """Return the exceptions that the processes of a mutant met unexpectedly, each once.

    One that no row has as its mistake shows nothing but a crash, which every case notices. `size`
    is that of the log in bytes when the last case was over.
    """
    log = log_beside(record)
    if not log.exists() or any(row.crashes for row in mutant.rows):
        return []
    found = unexpected(log.read_bytes()[:size].decode("utf-8", "replace").splitlines())
    return [f"{CRASHED} {mutant.name}: {what}" for what in dict.fromkeys(found)]


def unexpected(lines: Iterable[str]) -> Iterator[str]:
    """Yield the unexpected exceptions in a log: those that the node notes, and tracebacks."""
    is_traceback = False
    for line in lines:
        if line.startswith("Traceback "):
            is_traceback = True
        elif is_traceback and line[:1].strip():
            is_traceback = False
            yield line
        elif line.startswith('{"event": "failed"'):
            # The last line may be cut.
            with contextlib.suppress(ValueError):
                yield str(json.loads(line)["why"])
        elif "internal error: " in line:
            yield line.partition("internal error: ")[2]


def names_field(row: Row, result: CaseResult) -> bool:
    """Return True if a failure names the field of a codec row, outside of its title and rules."""
    parts = (result.reasons, result.sent, result.expected, result.received, result.notes)
    said = INDEX.sub("[]", "\n".join(line for lines in parts for line in lines))
    return re.search(rf"(?<![\w.]){re.escape(row.field)}(?!\w)", said) is not None


def missed(mutant: Mutant, results: Iterable[CaseResult]) -> list[str]:
    """Return the cases that failed to notice this mutant, one line each."""
    results = list(results)
    by_id = load_catalogue().by_id
    said = [
        f"{result.case} does not notice {mutant.name}: {result.verdict} {' '.join(result.reasons)}"
        for result in results
        if result.verdict is not Verdict.FAIL
    ]
    for row in mutant.rows:
        failed = [
            result
            for result in results
            if result.verdict is Verdict.FAIL and by_id[result.case].kind == row.kind
        ]
        if row.kind and not any(names_field(row, result) for result in failed):
            said.append(f"no failure of {row.kind} with {row.id} names {row.field}")
    return said


async def hold(mutants: Sequence[Mutant]) -> list[str]:
    """Judge every mutant with the cases that must notice it, and return all problems."""
    by_id = load_catalogue().by_id
    slots = asyncio.Semaphore(BESIDE)
    wrong: list[str] = []

    async def one(mutant: Mutant) -> None:
        async with slots:
            start = time.perf_counter()
            results, problems = await judge(mutant, [by_id[case] for case in mutant.cases])
            # On a busy machine a short deadline decides nothing: those cases run once more, and a
            # process that was ended before it loaded the module of a row shows nothing either.
            slow = [by_id[one.case] for one in results if one.verdict is Verdict.COULD_NOT_RUN]
            if slow:
                again, problems = await judge(mutant, slow, scale=1.0)
                decided = [one for one in results if one.verdict is not Verdict.COULD_NOT_RUN]
                results = [*decided, *again]
            problems += missed(mutant, results)
        took_s = time.perf_counter() - start
        state = "WRONG  " if problems else "noticed"
        print(f"{state} {mutant.name}: {len(mutant.cases)} cases, {took_s:.1f} s", flush=True)
        for problem in problems:
            print(f"        {problem}", flush=True)
        wrong.extend(problems)

    # All are awaited, also if one fails: a cancelled start may never end.
    tasks = [asyncio.create_task(one(mutant)) for mutant in mutants]
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        task.result()
    return wrong


def read_survey(path: Path) -> dict[str, dict[str, str]]:
    """Return the symptoms by mutant and case that earlier surveys found."""
    found: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write_survey(path: Path, found: Mapping[str, Mapping[str, str]]) -> None:
    """Write the symptoms found so far."""
    path.write_text(json.dumps(found, indent=1, sort_keys=True))


async def survey(mutants: Sequence[Mutant], only: Sequence[str], path: Path) -> list[str]:
    """Write to a file which cases fail against each mutant; return why rows were not applied."""
    found = read_survey(path)
    slots = asyncio.Semaphore(BESIDE)
    wrong: list[str] = []

    async def one(mutant: Mutant) -> None:
        kinds = {row.kind or SOCKET for row in mutant.rows}
        cases = [
            case
            for case in load_catalogue().cases
            if case.kind in kinds and (not only or case.id in only)
        ]
        async with slots:
            start = time.perf_counter()
            results, problems = await judge(mutant, cases)
        failed = {one.case: one.symptom for one in results if one.verdict is Verdict.FAIL}
        found[mutant.name] = {**found.get(mutant.name, {}), **failed}
        write_survey(path, found)
        took_s = time.perf_counter() - start
        print(f"{mutant.name}: {len(failed)} cases fail, {took_s:.1f} s", *problems, flush=True)
        wrong.extend(problems)

    await asyncio.gather(*(one(mutant) for mutant in mutants))
    return wrong


# --- Checking --------------------------------------------------------------------------------


def check(rows: Mapping[str, Row]) -> Iterator[str]:
    """Yield the problems of the rows themselves, without running any."""
    by_id = load_catalogue().by_id
    for row in rows.values():
        yield from (f"{row.id}: {problem}" for problem in application_problems([row]))
        if row.rule not in rules_by_id():
            yield f"{row.id}: no rule {row.rule}"
        yield from (f"{row.id}: no rule {rule}" for rule in row.also if rule not in rules_by_id())
        yield from (f"{row.id}: no case {case}" for case in row.noticed_by if case not in by_id)
        cited = {rule for case in row.noticed_by if case in by_id for rule in by_id[case].rules}
        if row.noticed_by and not cited & {row.rule, *row.also}:
            yield f"{row.id}: none of its cases cites {row.rule}, or a rule of `also`"
        for case in set(row.noticed_by) & set(by_id):
            kind = by_id[case].kind
            if kind != HARNESS and (kind == SOCKET) == bool(row.kind):
                yield f"{row.id}: {case} is of the kind {kind}, the row of {row.kind or 'the node'}"
        yield from (
            f"{row.id}: arguments for {case}, which it does not name"
            for case in row.arguments
            if case not in row.noticed_by
        )
    yield from undefined_names(rows.values())
    yield from undefined_attributes(rows.values())
    noticing = {case for row in rows.values() for case in row.noticed_by}
    sockets = sorted(case.id for case in load_catalogue().cases if case.kind == SOCKET)
    yield from (f"{case}: no row names it" for case in sockets if case not in noticing)


def application_problems(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the causes for which rows, applied together, do not compile."""
    for module, edits in edits_by_module(rows).items():
        path = source_of(module)
        if path is None:
            yield f"no module {module}"
            continue
        source = path.read_text("utf-8")
        try:
            edited = apply_edits(source, edits)
            compile(edited, str(path), "exec", dont_inherit=True)
        except (RowError, SyntaxError) as exc:
            yield str(exc)
        else:
            if edited == source:
                yield f"{module}: the edits change nothing"


def undefined_names(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the names that edited modules use and do not define.

    Such a mutant would crash, which every case notices, so it would prove nothing.
    """
    with tempfile.TemporaryDirectory(prefix="meshwire-mutant-") as folder:
        for row in rows:
            for module, edits in edits_by_module([row]).items():
                path = source_of(module)
                if path is not None:
                    with contextlib.suppress(RowError):
                        edited = apply_edits(path.read_text("utf-8"), edits)
                        Path(folder, f"{row.id} {module}.py").write_text(edited, "utf-8")
        command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--quiet"]
        options = ["--select=F821,F823", "--output-format=concise", "."]
        found = subprocess.run([*command, *options], capture_output=True, cwd=folder, check=False)
    yield from (found.stdout + found.stderr).decode().splitlines()


def undefined_attributes(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the private attributes that edits use, and that neither a module nor the row defines.

    Such a mutant would crash too; a name may have changed since the row was measured.
    """
    known: set[str] = set()
    for package, folder in PACKAGE_FOLDERS.items():
        for path in ROOT.joinpath(folder, package).rglob("*.py"):
            known.update(PRIVATE.findall(path.read_text("utf-8")))
    for row in rows:
        text = "\n".join(edit.put for edit in row.edits)
        used = {name for name in ATTRIBUTE.findall(text) if name not in known}
        yield from (
            f"{row.id}: no module has the attribute {name}"
            for name in sorted(used - set(ASSIGNED.findall(text)))
        )


def source_of(module: str) -> Path | None:
    """Return the file of a module of the three packages, or None if there is no such module."""
    parts = module.split(".")
    if parts[0] not in PACKAGE_FOLDERS:
        return None
    place = ROOT.joinpath(PACKAGE_FOLDERS[parts[0]], *parts)
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def main() -> int:
    """Run the tool; return 0 only if there is no problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="run nothing, check only the rows")
    parser.add_argument("--row", action="append", help="this row only; a,b for both at once")
    parser.add_argument("--only", action="append", default=[], help="this case only")
    parser.add_argument(
        "--survey", type=Path, help="write the cases that fail with each row to a file"
    )
    options = parser.parse_args()
    try:
        rows = read_rows()
        mutants = [mutant_of(names, rows) for names in options.row or rows]
        load_catalogue()
    except RowError as exc:
        print(exc)
        return 1
    except SuiteFault as fault:
        print(fault_text(fault))
        return 1
    if options.check:
        wrong = list(check(rows))
        print(*wrong, f"{len(rows)} rows, {len(wrong)} problems", sep="\n")
    elif options.survey is not None:
        wrong = asyncio.run(survey(mutants, options.only, options.survey))
    elif chosen := _of_cases(mutants, options.only):
        wrong = asyncio.run(hold(chosen))
        print(f"{len(wrong)} problems")
    else:
        wrong = ["nothing was run: no selected row names a selected case"]
        print(*wrong)
    return 1 if wrong else 0


def _of_cases(mutants: Iterable[Mutant], only: Sequence[str]) -> list[Mutant]:
    """Return the mutants with the selected ones of their cases; those without any are left out."""
    if not only:
        return [mutant for mutant in mutants if mutant.cases]
    kept = (
        replace(mutant, cases=tuple(case for case in mutant.cases if case in only))
        for mutant in mutants
    )
    return [mutant for mutant in kept if mutant.cases]


if __name__ == "__main__":
    sys.exit(main())
