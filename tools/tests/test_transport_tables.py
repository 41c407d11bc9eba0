"""The tables about connections: what is missing in them is reported, and the files are complete."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshwire_spec.rules import rules_by_id
from transport_tables import (
    TARGETS,
    cell_problems,
    defect_problems,
    problems,
    read_cells,
    render_defects,
    render_dialects,
    render_targets,
    socket_cases,
)

CASES = frozenset(row["id"] for row in socket_cases())


def changed(number: int, **values: Any) -> list[dict[str, Any]]:
    """Return the cells of the file with other values for one of them."""
    cells = read_cells()
    cells[number] = {**cells[number], **values}
    return cells


def test_the_files_are_complete() -> None:
    """Each initiator at each acceptor with each key, and each defect."""
    assert problems() == []


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"key": "right"}, "dialects, open at open, key wrong: 0 cells"),
        ({"acceptor": "H1"}, "dialects, open at H1, key right: 2 cells"),
        ({"outcome": ""}, "dialects, open at open, key any: no outcome"),
        ({"dialling": []}, "dialects, open at open, key any, dialling: no case"),
        ({"accepting": ["MW-0001"]}, "accepting: no case MW-0001 over connections"),
    ],
)
def test_a_cell_that_is_missing_or_wrong_is_reported(values: dict[str, Any], told: str) -> None:
    """No cell is a silence, and none is there twice."""
    found = list(cell_problems(changed(0, **values), CASES))

    assert any(told in line for line in found)


def test_a_defect_needs_a_case_or_a_reason_and_not_both() -> None:
    """A reason for a defect that has a case would say what is no longer so."""
    found = list(defect_problems(rules_by_id(), socket_cases(), {"D-19": "None."}))

    assert "defects, D-98: neither a case nor a reason" in found
    assert "defects, D-19: has a case, so that its reason says nothing" in found


def test_a_target_shows_what_it_has() -> None:
    """Records over the lab binding alone, and the side that dials where there is one."""
    over = {target.form: target for target in TARGETS}

    assert over["`tcp://`"].shows(["binding:tcp", "accepts", "deltas"])
    assert not over["`quic://`"].shows(["binding:tcp"])
    assert not over["`quic://`"].shows(["shows:release"])
    assert not over["`iroh://`"].shows(["dials"])
    assert not over["`quic://`"].shows(["dials-over:quic"])
    assert not over["`tcp-listen://`"].shows(["dials-over:quic"])
    assert over["`quic-listen://`"].shows(["dials:2", "dialect:secret"])
    assert not replace(over["`tcp://`"], has=frozenset()).shows(["control"])


def test_the_pages_have_each_cell_and_defect() -> None:
    """As the files have them."""
    assert render_dialects().count("\n| ") == len(read_cells()) + 1
    assert "[D-171](93-deployed.md#D-171)" in render_defects()
    assert render_targets().count("\n| ") == len({row["part"] for row in socket_cases()}) + 2


def test_each_case_can_be_shown_somewhere() -> None:
    """By some kind of target: no single one has the lab binding and QUIC."""
    for row in socket_cases():
        assert any(target.shows(row["needs"]) for target in TARGETS), row["id"]
