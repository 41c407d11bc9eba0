"""Which lines of the node each case over connections runs, and which cases a mutant can reach.

A case cannot notice a change of lines that it never runs. So the matrix of mutants runs against a
row only the cases that run a statement which the row edits: what is left out passes as it does on
the node without a mistake. A row that edits something outside of functions (a constant, a table, a
signature), or a module of another package, reaches every case.

What runs is measured for each case alone, on a node of its own, and kept in build/case_lines.json,
with the digest of the node and of the case. A further run goes on with the cases that are left.

Example: python tools/case_lines.py
"""

import argparse
import ast
import asyncio
import hashlib
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from meshwire_conformance.catalogue.case import SOCKET, Case
from meshwire_conformance.contracts import Settings
from meshwire_conformance.errors import Incomplete, SuiteFault
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.part import run as run_sockets
from meshwire_conformance.verdicts import Verdict
from mutants import ROOT, Mutant, Row, attachments
from vector_files import fault_text

NODE: Final = ROOT / "reference" / "meshwire_reference"
PACKAGE: Final = "meshwire_reference."
LINES: Final = ROOT / "build" / "case_lines.json"
BESIDE: Final = 4
"""Number of cases that are measured concurrently: each waits more than it works."""
SAYS_EVERY_S: Final = 10
BODIES: Final = ("body", "handlers", "orelse", "finalbody", "cases")
Span = tuple[int, int]
"""First and last line of a statement."""


class Ran(msgspec.Struct, frozen=True):
    """What one case ran: its digest, that of the node, and the lines of each module as ranges."""

    case: str
    node: str
    lines: Mapping[str, Sequence[Span]]


# --- Measuring -------------------------------------------------------------------------------


def digest_of_node() -> str:
    """Return the digest of the source of the node."""
    told = hashlib.sha256()
    for path in sorted(NODE.rglob("*.py")):
        told.update(str(path.relative_to(NODE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return told.hexdigest()


def spans_of(text: str) -> dict[str, list[Span]]:
    """Return the lines of each module as ranges, from what the hook wrote: `module:line` each."""
    found: dict[str, set[int]] = {}
    for line in text.splitlines():
        module, _, number = line.rpartition(":")
        found.setdefault(module, set()).add(int(number))
    return {module: list(_ranges(sorted(numbers))) for module, numbers in sorted(found.items())}


def _ranges(numbers: Sequence[int]) -> Iterator[Span]:
    start = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield start, last
            start = number
        last = number
    yield start, last


async def measure(case: Case, node: str) -> Ran | None:
    """Return what a case runs on a node of its own, or None if it does not pass there."""
    with tempfile.TemporaryDirectory(prefix="meshwire-lines-") as folder:
        lines = Path(folder) / "lines"
        mutant = Mutant("", (), (), {"MUTANT_LINES": str(lines)})
        try:
            for target, share in attachments(mutant, [case], Path(folder) / "record"):
                results = await run_sockets(share, load_catalogue(), target, Settings(), _ignore)
                if any(result.verdict is not Verdict.PASS for result in results):
                    return None
        except Incomplete:
            return None
        return Ran(case.digest, node, spans_of(lines.read_text("utf-8")))


def _ignore(_: object) -> None:
    pass


async def measure_all(cases: Sequence[Case], ran: dict[str, Ran], node: str) -> list[str]:
    """Measure the cases, some concurrently; return those that did not pass."""
    waiting = iter(cases)
    failed: list[str] = []
    said_s = time.monotonic()

    async def work() -> None:
        nonlocal said_s
        for case in waiting:
            found = await measure(case, node)
            if found is None:
                failed.append(case.id)
                continue
            ran[case.id] = found
            if time.monotonic() - said_s > SAYS_EVERY_S:
                said_s = time.monotonic()
                write(ran)
                print(f"{len(ran)} cases are measured", flush=True)

    await asyncio.gather(*(work() for _ in range(BESIDE)))
    write(ran)
    return failed


def write(ran: Mapping[str, Ran], path: Path = LINES) -> None:
    """Write the file."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.encode(ran))


def read(cases: Iterable[Case], node: str, path: Path = LINES) -> dict[str, Ran]:
    """Return what was measured of these cases as they are, on the node as it is."""
    if not path.exists():
        return {}
    known = msgspec.json.decode(path.read_bytes(), type=dict[str, Ran])
    return {
        case.id: known[case.id]
        for case in cases
        if case.id in known and (known[case.id].case, known[case.id].node) == (case.digest, node)
    }


# --- What a row can reach --------------------------------------------------------------------


@cache
def statements(module: str) -> tuple[tuple[Span, bool], ...]:
    """Return the lines of each statement of a module, and if it is in a function.

    Of a statement with a body that is what stands before its body.
    """
    path = NODE / f"{module.replace('.', '/')}.py"
    found: list[tuple[Span, bool]] = []
    waiting: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text("utf-8")), False)]
    while waiting:
        node, is_inside = waiting.pop()
        inner = [one for name in BODIES for one in getattr(node, name, ())]
        if not isinstance(node, ast.Module):
            end = first_line(inner[0]) - 1 if inner else getattr(node, "end_lineno", 0)
            found.append(((first_line(node), max(first_line(node), end)), is_inside))
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        waiting += [(one, is_inside or is_function) for one in inner]
    return tuple(sorted(found))


def first_line(node: ast.AST) -> int:
    """Return the line in which a statement begins, with its decorators."""
    if isinstance(node, ast.match_case):
        return node.pattern.lineno
    decorators = getattr(node, "decorator_list", ())
    return min(getattr(one, "lineno", 0) for one in (node, *decorators))


def edited(row: Row) -> list[tuple[str, Span]] | None:
    """Return the statements that a row edits, as module and lines; None if not in functions."""
    found: list[tuple[str, Span]] = []
    for edit in row.edits:
        if not edit.module.startswith(PACKAGE):
            return None
        module = edit.module.removeprefix(PACKAGE)
        path = NODE / f"{module.replace('.', '/')}.py"
        source = path.read_text("utf-8")
        start, end, _ = edit.place(source)
        lead = len(edit.find) - len(edit.find.lstrip())
        first = source.count("\n", 0, start + lead) + 1
        last = source.count("\n", 0, start + len(source[start:end].rstrip())) + 1
        touched = [one for one in statements(module) if one[0][0] <= last and one[0][1] >= first]
        if not touched or not all(is_inside for _, is_inside in touched):
            return None
        found += [(module, span) for span, _ in touched]
    return found


def reached(row: Row, cases: Sequence[Case], ran: Mapping[str, Ran]) -> list[Case]:
    """Return the cases that run a statement which the row edits.

    Those that the row names and those that were not measured are among them.
    """
    spans = edited(row)
    if spans is None:
        return list(cases)
    return [
        case
        for case in cases
        if case.id in row.noticed_by
        or case.id not in ran
        or any(_overlap(ran[case.id].lines.get(module, ()), span) for module, span in spans)
    ]


def _overlap(lines: Iterable[Span], span: Span) -> bool:
    return any(first <= span[1] and last >= span[0] for first, last in lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the tool: 1 if a case did not pass, 2 for bad options."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--only", default="", metavar="REGEX", help="cases whose id it matches")
    options = made.parse_args(arguments)
    try:
        cases = [case for case in load_catalogue().cases if case.kind == SOCKET]
    except SuiteFault as fault:
        print(fault_text(fault), file=sys.stderr)
        return 2
    node = digest_of_node()
    ran = read(cases, node)
    left = [case for case in cases if case.id not in ran and re.search(options.only, case.id)]
    failed = asyncio.run(measure_all(left, ran, node))
    print(f"{len(ran)} of {len(cases)} cases are measured; did not pass: {' '.join(failed) or '-'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
