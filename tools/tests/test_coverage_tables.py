"""The checks of the tables of states and bounds, each with something missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from coverage_recorder import TABLE, read_record
from coverage_tables import (
    COLUMNS,
    Bound,
    Cell,
    Machine,
    absent_bounds,
    bound_problems,
    machine_problems,
    main,
    read_bounds,
    read_machines,
    render_bounds,
    render_machine,
    transitions,
    unreached,
)
from meshwire_spec import states
from meshwire_spec.rules import rules_by_id
from mutants import apply_edits, read_rows

CASES = frozenset({"MW-5001", "MW-5002"})
MACHINE = Machine(
    "half",
    "A half",
    "11-lab-binding.md#streams",
    "",
    {"FIN": "", "RESET": ""},
    {},
    {"open": {"FIN": ("MW-5001",), "RESET": ("MW-5002",)}, "over": {"*": "Nothing is read."}},
)
BOUND = Bound("streams", ("LB-031",), "connection", (), dict.fromkeys(COLUMNS, ("MW-5001",)))


def with_cells(cells: Mapping[str, Cell]) -> Machine:
    """Return the machine with other cells for its state `open`."""
    return replace(MACHINE, cells={**MACHINE.cells, "open": cells})


def test_a_complete_machine_has_no_problems() -> None:
    """A rest covers each event that its state does not name."""
    assert list(machine_problems(MACHINE, CASES)) == []
    assert MACHINE.cell("over", "RESET") == "Nothing is read."


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"FIN": ("MW-5001",)}, "RESET: neither a case nor a reason"),
        ({"FIN": (), "RESET": ("MW-5002",)}, "FIN: neither a case nor a reason"),
        ({"FIN": ("MW-9999",), "RESET": ("MW-5002",)}, "no case MW-9999"),
        ({"FIN": "MW-5001 shows it", "RESET": ("MW-5002",)}, "a reason is a sentence"),
        ({"FIN": "As in MW-9998.", "RESET": ("MW-5002",)}, "no case MW-9998"),
        ({"FIN": ("MW-5001",), "RESET": ("MW-5002",), "STOP": ("MW-5001",)}, "no event 'STOP'"),
    ],
)
def test_a_cell_that_is_missing_or_wrong_is_reported(cells: Mapping[str, Cell], told: str) -> None:
    """One line says which cell it is."""
    (line,) = machine_problems(with_cells(cells), CASES)
    assert line.startswith("half, open")
    assert told in line


def test_states_and_events_are_those_of_the_table() -> None:
    """A state or an event that only one of the two has is reported."""
    (session,) = (one for one in read_machines() if one.name == "session")
    cells = {state: row for state, row in session.cells.items() if state != "rejected"}
    events = {name: event for name, event in session.events.items() if event != "result accepted"}
    told = "\n".join(machine_problems(replace(session, cells=cells, events=events), ()))
    assert "'rejected' is not a state here and in states.SESSION" in told
    assert "'result accepted' is not an event here and in states.SESSION" in told


def test_a_bound_needs_a_scope_and_three_cells() -> None:
    """One line for each that is missing."""
    assert list(bound_problems(BOUND, CASES)) == []
    shown = {"at": BOUND.shown["at"], "beyond": BOUND.shown["beyond"]}
    told = list(bound_problems(replace(BOUND, scope="galaxy", shown=shown), CASES))
    assert told == ["streams: no scope 'galaxy'", "streams, apart: neither a case nor a reason"]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("TS-041", "TOMBSTONE_ANSWER_INTERVAL_S of TS-041"),
        ("LB-031", "LB-031, which refuses with stream-limit"),
        ("FR-004", "the limit 'payload'"),
    ],
)
def test_a_bound_of_the_numbers_or_rules_without_a_row_is_reported(rule: str, told: str) -> None:
    """A timer, a rule with the reason of a bound, and a limit each need a row."""
    bounds = [bound for bound in read_bounds() if rule not in bound.rules]
    assert any(told in line for line in absent_bounds(bounds, rules_by_id()))


def test_a_transition_that_no_case_has_caused_is_reported() -> None:
    """One of the cases of a cell suffices, and cells without a transition are not measured."""
    cells: Mapping[str, Mapping[str, Cell]] = {
        "ready": {"STOP": ("MW-5001", "MW-5002")},
        "absent": {"STOP": ("MW-5001",)},
    }
    half = replace(MACHINE, table="SEND_HALF", events={"STOP": "STOP received"}, cells=cells)
    assert [state for state, _, _ in transitions(half)] == ["ready"]
    record = read_record("SEND_HALF|ready|STOP received\nSEND_HALF|reset|STOP received\n")
    nothing = read_record("")
    assert list(unreached([half], {"MW-5001": nothing, "MW-5002": record})) == []
    (line,) = unreached([half], {"MW-5001": nothing, "MW-5002": nothing})
    assert line == "half, ready, STOP received: not caused by MW-5001, MW-5002"


def test_the_recorder_still_applies() -> None:
    """Its text is in the module that it edits."""
    (row,) = read_rows(TABLE).values()
    source = Path(states.__file__).read_text("utf-8")
    assert "_Seen" in apply_edits(source, row.edits)


def test_the_files_are_complete(capsys: pytest.CaptureFixture[str]) -> None:
    """Every cell has a case or a reason, and every bound a row."""
    assert main(["--check"]) == 0
    assert capsys.readouterr().out == ""


def test_the_page_has_each_cell() -> None:
    """Events with the same cases or reason share a row, and rules are links."""
    text = render_machine("receive-half")
    assert "| absent | DATA; FIN; RESET |" in text
    assert "| reset | RESET | MW-6422 |" in text
    assert "[LB-031](11-lab-binding.md#LB-031)" in render_bounds()
