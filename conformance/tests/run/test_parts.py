"""The table of parts fits the table of schemes and the catalogue."""

from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.parts import PARTS, needs_of, part_over
from meshwire_conformance.targets.base import SCHEMES


def test_every_scheme_names_a_part() -> None:
    """A row with a misspelt part would fail only at its first use."""
    assert {part_over(name).needs for name in SCHEMES} == {part.needs for part in PARTS.values()}


def test_every_case_is_judged_by_one_part() -> None:
    """None is left out and none is judged twice."""
    for case in load_catalogue().cases:
        takers = [part for part in PARTS.values() if part.takes(case)]

        assert [part.needs for part in takers] == [needs_of(case)]
