"""Start the bundled node with one behaviour turned wrong and look which socket cases notice.

Without options every pair of the table in `meshwire_conformance/mutants` is held: the node with
that switch must turn that case red. `--survey FILE` runs all cases against every switch instead
and writes which of them each one kills, which is how the table is filled.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from meshwire_conformance.catalogue.case import SOCKET, Case
from meshwire_conformance.catalogue.catalogue import load_catalogue
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.mutants import read_table
from meshwire_conformance.socket_suite.part import run as run_sockets
from meshwire_conformance.targets.bundle import node_attachments
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_reference.mutants import MUTANTS

BESIDE = 2
NODE = f"'{sys.executable}' -m meshwire_reference.cli.app"


def attachment(switch: str, dialect: str) -> Attachment:
    """The bundled node with a switch turned."""
    command = f"env MESHWIRE_MUTANT={switch} {NODE}"
    found = next(one for one in node_attachments(command) if one.variant == dialect)
    # Here serial cases are not shown in the other dialect.
    return replace(found, serial_cases_in="")


def dialect_of(case: Case) -> str:
    """The dialect a case is run in: H1, which can show almost everything, unless it needs open."""
    return "open" if "dialect:open" in case.needs else "H1"


async def judge(switch: str, cases: Sequence[Case]) -> list[CaseResult]:
    """The verdicts of the cases against the node with this switch."""
    results: list[CaseResult] = []
    for dialect in ("H1", "open"):
        share = [case for case in cases if dialect_of(case) == dialect]
        if not share:
            continue
        try:
            node = attachment(switch, dialect)
            found = await run_sockets(share, node, Settings(), lambda _: None)
        except Incomplete as exc:
            found = [CaseResult(case.id, Verdict.COULD_NOT_RUN, (str(exc),)) for case in share]
        results += found
    return results


def read_survey(path: Path) -> dict[str, dict[str, str]]:
    """Symptoms by case by switch, as far as they were surveyed before."""
    found: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write_survey(path: Path, found: dict[str, dict[str, str]]) -> None:
    """Keep what was found so far."""
    path.write_text(json.dumps(found, indent=1, sort_keys=True))


async def survey(switches: Iterable[str], cases: Sequence[Case], path: Path) -> None:
    """Write which cases each switch kills."""
    found = read_survey(path)
    slots = asyncio.Semaphore(BESIDE)

    async def one(switch: str) -> None:
        async with slots:
            start = time.perf_counter()
            results = await judge(switch, cases)
        dead = {result.case: result.symptom for result in results if result.verdict is Verdict.FAIL}
        found[switch] = {**found.get(switch, {}), **dead}
        write_survey(path, found)
        print(f"{switch}: {len(dead)} killed in {time.perf_counter() - start:.1f} s", flush=True)

    await asyncio.gather(*(one(switch) for switch in switches))


async def hold(only: Sequence[str]) -> int:
    """Hold the table; 1 where a case does not notice what it has to."""
    by_id = load_catalogue().by_id
    table = {case: switch for case, switch in read_table().items() if not only or case in only}
    by_switch: dict[str, list[str]] = {}
    for case, switch in table.items():
        by_switch.setdefault(switch, []).append(case)
    slots = asyncio.Semaphore(BESIDE)
    alive: list[str] = []

    async def one(switch: str) -> None:
        async with slots:
            results = await judge(switch, [by_id[case] for case in by_switch[switch]])
        for result in sorted(results, key=lambda result: result.case):
            dead = result.verdict is Verdict.FAIL
            print(f"{'killed' if dead else 'ALIVE '} {result.case} by {switch}  {result.symptom}")
            if not dead:
                alive.append(result.case)

    await asyncio.gather(*(one(switch) for switch in by_switch))
    print(f"{len(table) - len(alive)} of {len(table)} cases notice their switch")
    return 1 if alive else 0


def main() -> int:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--survey", type=Path, help="write what every switch kills to this file")
    parser.add_argument("--switch", action="append", help="survey this switch only")
    parser.add_argument("--only", action="append", help="this case only")
    options = parser.parse_args()
    if options.survey is None:
        return asyncio.run(hold(options.only or ()))
    sockets = [
        case
        for case in load_catalogue().cases
        if case.kind == SOCKET and (not options.only or case.id in options.only)
    ]
    switches = options.switch or [mutant.switch.value for mutant in MUTANTS]
    asyncio.run(survey(switches, sockets, options.survey))
    return 0


if __name__ == "__main__":
    sys.exit(main())
