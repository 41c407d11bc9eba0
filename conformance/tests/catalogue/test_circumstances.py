"""Transcripts run in circumstances whose values meet each other in pairs."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product
from typing import Any, get_args

import pytest

from meshwire_conformance.catalogue.circumstances import (
    DIALLED,
    OF_LAB_BINDING,
    ORDINARY,
    PARAMETERS,
    Circumstances,
    circumstances_of,
    fixed_by,
    is_dialled,
    permitted,
    rows_of,
)
from meshwire_conformance.catalogue.transcripts import load_cases
from meshwire_spec.schemas import steps
from meshwire_spec.schemas.transcripts import Parameter, Transcript

EVERYWHERE = {
    "level": "strict",
    "over_lab": True,
    "dials": True,
    "is_called": False,
    "reads_on": True,
}
TRANSCRIPTS = {case.id: case.body for case in load_cases() if isinstance(case.body, Transcript)}


def transcript(step: steps.Step, **members: Any) -> Transcript:
    """A transcript of one step."""
    return Transcript(
        id="MW-0901", title="one", rules=["FR-001"], control="MW-0902", steps=[step], **members
    )


def values_of(row: Circumstances) -> dict[str, str]:
    """The values of a row by parameter."""
    return {name: getattr(row, name) for name in PARAMETERS}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "target",
    [
        {},
        {"dials": False},
        {"dials": False, "level": "wire"},
        {"dials": False, "is_called": True},
        {"dials": False, "reads_on": False},
        {"dials": False, "over_lab": False},
    ],
)
def test_every_two_permitted_values_occur_together(target: dict[str, Any], seed: int) -> None:
    """Whatever a target permits, and whatever the seed; no other value occurs."""
    values = permitted(**EVERYWHERE | target)
    rows = [values_of(row) for row in rows_of(values, "H1", seed)]

    wanted = {
        ((one, left), (other, right))
        for one, other in combinations(values, 2)
        for left, right in product(values[one], values[other])
    }
    assert wanted == {pair for row in rows for pair in combinations(row.items(), 2)}


def test_the_rows_are_few() -> None:
    """Pairs need a fraction of all combinations, and no row is there twice."""
    rows = rows_of(permitted(**EVERYWHERE), "open", 0)

    assert len(set(rows)) == len(rows) <= 16


@pytest.mark.parametrize(
    ("target", "ordinary"),
    [
        ({"level": "wire"}, {"frames"}),
        ({"reads_on": False}, {"frames"}),
        ({"dials": False}, {"dialler"}),
        ({"is_called": True}, {"windows"}),
        ({"over_lab": False}, set(OF_LAB_BINDING)),
    ],
)
def test_a_target_that_rules_do_not_oblige_gets_the_ordinary_value(
    target: dict[str, Any], ordinary: set[str]
) -> None:
    """Each condition fixes just these parameters."""
    values = permitted(**EVERYWHERE | target)

    assert {name for name in PARAMETERS if len(values[name]) == 1} == ordinary
    assert all(values[name] == (getattr(ORDINARY, name),) for name in ordinary)


def test_a_case_has_the_same_row_whenever_the_seed_is_the_same() -> None:
    """So it runs alone in the circumstances in which it failed; another seed changes some."""
    values = permitted(**EVERYWHERE)

    def chosen(seed: int, dialect: str) -> list[Circumstances]:
        rows = rows_of(values, dialect, seed)
        return [circumstances_of(name, body, rows, seed) for name, body in TRANSCRIPTS.items()]

    assert chosen(0, "open") == chosen(0, "open")
    assert chosen(0, "open") != chosen(1, "open")
    assert [values_of(one) for one in chosen(0, "open")] != [
        values_of(one) for one in chosen(0, "H1")
    ]


@pytest.mark.parametrize("dialect", ["open", "H1"])
def test_the_transcripts_meet_every_pair(dialect: str) -> None:
    """In one run against a node that the suite dials, whatever some transcripts fix."""
    values = permitted(**EVERYWHERE | {"dials": False})
    rows = rows_of(values, dialect, 0)
    met = Counter(
        pair
        for name, body in TRANSCRIPTS.items()
        for pair in combinations(values_of(circumstances_of(name, body, rows, 0)).items(), 2)
    )

    wanted = {
        ((one, left), (other, right))
        for one, other in combinations(values, 2)
        for left, right in product(values[one], values[other])
    }
    assert wanted <= met.keys()


def test_a_case_keeps_the_ordinary_value_of_what_it_fixes() -> None:
    """By its own word, or by what it does; the other parameters vary on."""
    finish = steps.Finish(finish=True)
    rows = rows_of(permitted(**EVERYWHERE), "open", 0)
    body = transcript(finish, fixes=["records", "windows"])
    found = {circumstances_of(f"MW-{number}", body, rows, 0) for number in range(100)}

    assert {(one.records, one.windows) for one in found} == {(ORDINARY.records, ORDINARY.windows)}
    assert {one.payload for one in found} == set(PARAMETERS["payload"])
    assert fixed_by(transcript(finish)) == set()
    assert fixed_by(transcript(steps.Answered(answered=""))) == {"frames"}
    assert fixed_by(transcript(steps.Connect(connect="D"))) == {"dialler"}
    assert fixed_by(transcript(finish, serial=True)) == {"dialler"}


def test_one_case_in_eight_is_dialled() -> None:
    """As the seed says; never one that fixes who dials."""
    body = transcript(steps.Finish(finish=True))
    count = sum(is_dialled(f"MW-{number}", body, 0) for number in range(800))
    fixed = transcript(steps.Finish(finish=True), fixes=["dialler"])
    rows = rows_of(permitted(**EVERYWHERE), "open", 0)

    assert 800 / DIALLED / 2 < count < 800 / DIALLED * 2
    assert not any(is_dialled(f"MW-{number}", fixed, 0) for number in range(100))
    assert all(
        circumstances_of(f"MW-{number}", body, rows, 0).dialler
        == ("target" if is_dialled(f"MW-{number}", body, 0) else "suite")
        for number in range(100)
    )


def test_a_transcript_names_parameters_of_the_table() -> None:
    """The names of the format are those of the table, with the ordinary value first."""
    assert get_args(Parameter) == tuple(PARAMETERS)
    assert values_of(ORDINARY) == {name: values[0] for name, values in PARAMETERS.items()}


def test_the_text_has_every_parameter() -> None:
    """It is one line, with the dialect where there is one."""
    assert Circumstances("H1", windows="narrow").text() == (
        "dialect H1, dialler suite, windows narrow, records any, interleaving by-chance, "
        "frames alone, payload anywhere"
    )
