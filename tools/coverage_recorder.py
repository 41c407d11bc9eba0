"""Which transitions of the bundled node a case causes: the node is started with a recorder.

The recorder is a row for the import hook of the mutants, `conformance/coverage/recorder`. Each case
runs alone against processes of its own, so a transition is that of the case, or of the connections
that every run opens.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.contracts import Settings
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.socket_suite.part import run as run_sockets
from meshwire_conformance.targets.bundle import node_attachments, short_deadline_s
from meshwire_conformance.verdicts import CaseResult
from mutants import HOOK, NODE, variant_of

Seen: TypeAlias = frozenset[tuple[str, str, str]]
"""Machine, state and event of each transition, as `states.toml` names them."""
TABLE: Final = Path(__file__).parents[1] / "conformance" / "coverage" / "recorder"
IN_H2: Final = {"H1": "H2", "dials": "dials-H2"}
"""The attachment of H2 for each of H1."""
BESIDE: Final = 3
"""Number of cases that run beside each other."""
HURRIED: Final = 0.3
"""Scale of deadlines, of which correct nodes need little."""


def seen_by(cases: Collection[str]) -> Mapping[str, Seen]:
    """Return the transitions that each of the cases causes at the bundled node."""
    by_id = load_catalogue().by_id
    return asyncio.run(_seen_by([by_id[name] for name in cases]))


async def _seen_by(cases: Iterable[Case]) -> Mapping[str, Seen]:
    waiting = list(cases)
    found: dict[str, Seen] = {}

    async def work() -> None:
        while waiting:
            case = waiting.pop()
            found[case.id] = await _seen_in(case)

    await asyncio.gather(*(work() for _ in range(BESIDE)))
    return found


async def _seen_in(case: Case) -> Seen:
    """Return the transitions of a case, in H1 and in H2 where it fits either."""
    home = variant_of(case)
    variants = (home, IN_H2[home]) if "dialect:secret" in case.needs else (home,)
    return frozenset().union(*[await _seen_over(case, variant) for variant in variants])


async def _seen_over(case: Case, variant: str) -> Seen:
    with tempfile.TemporaryDirectory(prefix="meshwire-coverage-") as folder:
        record = Path(folder) / "record"
        command = _command(record)
        target = next(
            one for one in node_attachments(command, short_deadline_s()) if one.variant == variant
        )
        target = replace(target, serial_cases_in="")
        settings = Settings(timeout_scale=HURRIED)
        await run_sockets([case], load_catalogue(), target, settings, _ignore)
        return read_record(record.read_text("utf-8")) if record.exists() else frozenset()


def _command(record: Path) -> str:
    """Return the command line of the bundled node with the recorder."""
    values = {
        "MUTANT_ROWS": "record",
        "MUTANT_TABLE": str(TABLE),
        "STATES_RECORD": str(record),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(HOOK), os.environ.get("PYTHONPATH")))),
    }
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    return f"env {words} {NODE}"


def read_record(text: str) -> Seen:
    """Return the transitions of a record, whose lines have machine, state and event."""
    rows = (line.split("|") for line in text.splitlines())
    return frozenset((machine, state, event) for machine, state, event in rows)


def _ignore(_result: CaseResult) -> None:
    """Take a result that nobody reads: the record is what counts."""
