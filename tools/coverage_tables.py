"""The tables of what the cases cover: machines by state and event, bounds by scope.

`conformance/coverage/states.toml` has a machine in each `[[machine]]`, with what a peer can cause
in each of its states, and the cases that cause it there or why no peer can observe it.
`bounds.toml` has a bound in each `[[bound]]`, with the cases at its value, beyond it, and apart
from a peer that has reached it. `tools/sync_spec.py` writes both into `spec/97-coverage.md`;
`--check` says what is missing, and is part of `make lint`.

With `--measure` each case of a transition runs alone against a node that records its transitions,
which takes minutes; a cell whose cases do not cause its transition is reported.

Usage: python tools/coverage_tables.py [--check | --measure]
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import transport_tables
from meshwire_spec import states
from meshwire_spec.numbers import LIMITS, REASONS, TIMER_ROWS
from meshwire_spec.rules import Rule, rules_by_id

FOLDER: Final = Path(__file__).parents[1] / "conformance" / "coverage"
STATES_FILE: Final = FOLDER / "states.toml"
BOUNDS_FILE: Final = FOLDER / "bounds.toml"
REST: Final = "*"
"""Event of a state that means each one that the state does not name."""
OVER_CONNECTIONS: Final = ("socket", "oplog_session")
"""Kinds of the cases that need a connection to a node."""
SCOPES: Final = ("field", "message", "stream", "run", "key", "connection", "node")
COLUMNS: Final = ("at", "beyond", "apart")
"""The three things that cases show of a bound."""
BOUND_REASONS: Final = (
    "length-limit", "count-limit", "document-limit", "created-ahead", "no-progress",
    "too-many-rounds", "frame-stall", "handshake-timeout", "flow-control", "stream-limit",
)  # fmt: skip
"""Reasons that a bound has; a rule that a socket shows and that names one needs a row."""
CODEC_KINDS: Final = (
    "membership_certificate", "lab_record",
)  # fmt: skip
"""Kinds whose limits alone no connection shows: they have vectors, or the row of their record."""

Cell: TypeAlias = tuple[str, ...] | str
"""Ids of cases, or the reason why no peer can observe it."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a peer can cause in each state of a machine.

    `table` names the table in `meshwire_spec.states`, or is empty if only a page has the machine.
    `events` maps what a peer causes to the event of the table, or to an empty text; `own` maps the
    other events of the table to who causes them.
    """

    name: str
    title: str
    page: str
    table: str
    events: Mapping[str, str]
    own: Mapping[str, str]
    cells: Mapping[str, Mapping[str, Cell]]

    def cell(self, state: str, event: str) -> Cell | None:
        """Return the cell of a state and an event, or None without one."""
        row = self.cells.get(state, {})
        return row.get(event, row.get(REST))


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound of the protocol, the scope in which it is counted, and what shows it."""

    name: str
    rules: tuple[str, ...]
    scope: str
    limits: tuple[str, ...]
    shown: Mapping[str, Cell]


def _cell(value: Any) -> Cell:
    return value if isinstance(value, str) else tuple(value)


def read_machines(path: Path = STATES_FILE) -> list[Machine]:
    """Return the machines of the file, in its order."""
    return [
        Machine(
            row["name"],
            row["title"],
            row["page"],
            row.get("table", ""),
            row["events"],
            row.get("own", {}),
            {
                state: {event: _cell(value) for event, value in cells.items()}
                for state, cells in row["cells"].items()
            },
        )
        for row in tomllib.loads(path.read_text("utf-8"))["machine"]
    ]


def read_bounds(path: Path = BOUNDS_FILE) -> list[Bound]:
    """Return the bounds of the file, in its order."""
    return [
        Bound(
            row["name"],
            tuple(row["rules"]),
            row["scope"],
            tuple(row.get("limits", ())),
            {name: _cell(row[name]) for name in COLUMNS if name in row},
        )
        for row in tomllib.loads(path.read_text("utf-8"))["bound"]
    ]


# --- Problems ----------------------------------------------------------------------------------


def machine_problems(machine: Machine, cases: Collection[str]) -> Iterator[str]:
    """Yield what is missing or wrong in the table of a machine, one line each."""
    if machine.table:
        yield from _table_problems(machine)
    for state, cells in machine.cells.items():
        for event, cell in cells.items():
            if event not in (REST, *machine.events):
                yield f"{machine.name}, {state}: no event {event!r}"
            yield from _cell_problems(f"{machine.name}, {state}, {event}", cell, cases)
        for event in machine.events:
            if machine.cell(state, event) is None:
                yield f"{machine.name}, {state}, {event}: neither a case nor a reason"


def _table_problems(machine: Machine) -> Iterator[str]:
    table = getattr(states, machine.table)
    wanted = {str(state) for (state, _), after in table.items() for state in (state, after)}
    for state in sorted(wanted ^ set(machine.cells)):
        yield f"{machine.name}: {state!r} is not a state here and in states.{machine.table}"
    known = {str(event) for _, event in table}
    named = {event for event in machine.events.values() if event} | set(machine.own)
    for event in sorted(known ^ named):
        yield f"{machine.name}: {event!r} is not an event here and in states.{machine.table}"


def _cell_problems(place: str, cell: Cell, cases: Collection[str]) -> Iterator[str]:
    if isinstance(cell, str):
        if not re.fullmatch(r"[A-Z].*\.", cell):
            yield f"{place}: a reason is a sentence"
        cell = tuple(re.findall(r"MW-\d+", cell))
    elif not cell:
        yield f"{place}: neither a case nor a reason"
    yield from (f"{place}: no case {name} over connections" for name in cell if name not in cases)


def bound_problems(bound: Bound, cases: Collection[str]) -> Iterator[str]:
    """Yield what is missing or wrong in the row of a bound, one line each."""
    if bound.scope not in SCOPES:
        yield f"{bound.name}: no scope {bound.scope!r}"
    for name in COLUMNS:
        if name not in bound.shown:
            yield f"{bound.name}, {name}: neither a case nor a reason"
        else:
            yield from _cell_problems(f"{bound.name}, {name}", bound.shown[name], cases)


def absent_bounds(bounds: Sequence[Bound], rules: Mapping[str, Rule]) -> Iterator[str]:
    """Yield the bounds of the numbers and rules that no row has, one line each."""
    named = {rule for bound in bounds for rule in bound.rules}
    yield from (f"bounds: no rule {name}" for name in sorted(named - set(rules)))
    yield from (
        f"bounds: no row has {row.constant} of {row.rule}"
        for row in TIMER_ROWS
        if "socket" in rules[row.rule].seen and row.rule not in named
    )
    limits = {name for bound in bounds for name in bound.limits}
    for limit in LIMITS:
        if not set(limit.kinds) <= set(CODEC_KINDS) and limit.name not in limits:
            yield f"bounds: no row has the limit {limit.name!r}"
    for rule in rules.values():
        reasons = [name for name in BOUND_REASONS if f"`{name}`" in rule.text]
        if reasons and "socket" in rule.seen and rule.id not in named:
            yield f"bounds: no row has {rule.id}, which refuses with {reasons[0]}"


def problems() -> list[str]:
    """Return everything that is missing or wrong, one line each."""
    # Loads the vectors, which the page does not need.
    from meshwire_conformance.run.loading import load_listing  # noqa: PLC0415 - see above

    cases = {case.id for case in load_listing().cases if case.kind in OVER_CONNECTIONS}
    machines, bounds = read_machines(), read_bounds()
    assert set(BOUND_REASONS) <= set(REASONS), "a reason was renamed"
    found = [line for machine in machines for line in machine_problems(machine, cases)]
    found += [line for bound in bounds for line in bound_problems(bound, cases)]
    return [*found, *absent_bounds(bounds, rules_by_id()), *transport_tables.problems()]


def transitions(machine: Machine) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield state, event of the table and cases of each cell that is a transition of the table."""
    table = getattr(states, machine.table) if machine.table else {}
    known = {(str(state), str(event)) for state, event in table}
    for state in machine.cells:
        for event, caused in machine.events.items():
            cell = machine.cell(state, event)
            if (state, caused) in known and isinstance(cell, tuple):
                yield state, caused, cell


def unreached(
    machines: Sequence[Machine], seen: Mapping[str, Collection[tuple[str, str, str]]]
) -> Iterator[str]:
    """Yield the transitions that none of their cases has caused, one line each."""
    for machine in machines:
        for state, event, cases in transitions(machine):
            if not any((machine.table, state, event) in seen[name] for name in cases):
                yield f"{machine.name}, {state}, {event}: not caused by {', '.join(cases)}"


def measured() -> list[str]:
    """Run the cases of every transition, and return those that they do not cause."""
    from coverage_recorder import seen_by  # noqa: PLC0415 - loads the suite

    machines = read_machines()
    cases = {name for one in machines for _, _, cell in transitions(one) for name in cell}
    return list(unreached(machines, seen_by(sorted(cases))))


# --- The page ----------------------------------------------------------------------------------


def render_machine(name: str) -> str:
    """Return the table of a machine: each state and event with its cases, or the reason."""
    from meshwire_spec.render import table  # noqa: PLC0415 - loads construct

    (machine,) = (one for one in read_machines() if one.name == name)
    rows = []
    for state in machine.cells:
        # Events with one reason or the same cases share a row.
        groups: dict[Cell, list[str]] = {}
        for event in machine.events:
            groups.setdefault(machine.cell(state, event) or "", []).append(event)
        rows += [[state, "; ".join(events), _shown(cell)] for cell, events in groups.items()]
    return table(["State", "What the peer causes", "Cases, or why none"], rows)


def render_bounds(_argument: str = "") -> str:
    """Return the table of the bounds."""
    from meshwire_spec.render import table  # noqa: PLC0415 - loads construct

    rules = rules_by_id()
    rows = [
        [
            bound.name,
            ", ".join(f"[{name}]({rules[name].page}#{rules[name].anchor})" for name in bound.rules),
            bound.scope,
            *(_shown(bound.shown.get(name, "")) for name in COLUMNS),
        ]
        for bound in read_bounds()
    ]
    heads = ["Bound", "Rules", "Counted for each", "At its value", "Beyond it", "Others left alone"]
    return table(heads, rows)


def _shown(cell: Cell) -> str:
    return cell if isinstance(cell, str) else ", ".join(cell)


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="print problems alone")
    parser.add_argument("--measure", action="store_true", help="run the cases; minutes")
    options = parser.parse_args(arguments)
    lines = problems()
    if options.measure:
        lines += measured()
    for line in lines:
        print(f"conformance/coverage: {line}")
    if not options.check:
        machines = read_machines()
        cells = [
            machine.cell(state, event)
            for machine in machines
            for state in machine.cells
            for event in machine.events
        ]
        with_cases = sum(isinstance(cell, tuple) for cell in cells)
        print(f"{len(machines)} machines, {len(cells)} cells, {with_cases} of them with cases")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
