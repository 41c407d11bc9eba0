"""Mutants by operators: which a source has, and what is left out of them."""

import ast

import pytest

from mutation_operators import Site, mutated, sites

SOURCE = '''"""A module of 1 sentence."""

from typing import Final, TypeAlias

__all__ = ["first" + "second"]
LIMIT: Final = 3
Either: TypeAlias = int | str
Union = int | bytes


def first(value: int | None) -> int | None:
    """Return it, or 2."""
    if value is None or value > LIMIT:
        raise ValueError(f"{value + 1} exceeds {LIMIT}")
    assert value >= 0, f"{value - 1} is less than 0"
    notify(Refusal(value * 2))
    return value + 4


class Second:
    def __repr__(self) -> str:
        return str(5 + 6)
'''


def texts(source: str, operator: str = "") -> list[str]:
    """The mutated sources of an operator, or of all."""
    found = (mutated(source, site) for site in sites(source) if operator in site.operator)
    return [text for text in found if text is not None]


def changed(operator: str) -> set[str]:
    """The changed lines in the mutants of SOURCE by an operator."""
    old = SOURCE.split("\n")
    return {line.strip() for text in texts(SOURCE, operator) for line in text.split("\n")
            if line not in old}  # fmt: skip


class TestSites:
    """The mutants of a source."""

    def test_every_application_of_an_operator_is_one(self) -> None:
        """With the place of what it changes, which is counted per operator."""
        found = [site for site in sites("a = 1\nb = 2\n") if site.operator == "NumberReplacer"]

        assert [(site.start, site.occurrence) for site in found] == [
            ((1, 4), 0),
            ((1, 4), 1),
            ((2, 4), 2),
            ((2, 4), 3),
        ]

    def test_the_occurrence_counts_what_is_left_out_too(self) -> None:
        """So that the mutant at the place is made, and no other."""
        source = "def one(value: int | None) -> int:\n    return value | 4\n"
        made = texts(source, "BitOr_Add")

        assert made == [source.replace("value | 4", "value + 4")]

    @pytest.mark.parametrize(
        ("operator", "lines"),
        [
            ("NumberReplacer", {
                "LIMIT: Final = 4", "LIMIT: Final = 2", "return value + 5", "return value + 3",
                'assert value >= 1, f"{value - 1} is less than 0"',
                'assert value >= -1, f"{value - 1} is less than 0"',
            }),
            ("BitOr_", set()),
            ("Mul_", set()),
            ("Add_Sub", {"return value - 4"}),
        ],
    )  # fmt: skip
    def test_what_no_peer_observes_is_left_out(self, operator: str, lines: set[str]) -> None:
        """Annotations, aliases, docstrings, `__all__`, texts of errors and log lines."""
        assert changed(operator) == lines

    def test_a_column_is_counted_in_characters(self) -> None:
        """Also after one that has several bytes."""
        source = 'a = "é€"; b: int | None = None; c = 1 | 2\n'

        assert texts(source, "BitOr_Add") == [source.replace("1 | 2", "1 + 2")]


class TestMutated:
    """The source that a mutant makes."""

    def test_each_differs_from_the_source_and_is_valid(self) -> None:
        """As Python reads it."""
        made = texts(SOURCE)

        assert made
        assert len({ast.dump(ast.parse(text)) for text in [SOURCE, *made]}) == len(set(made)) + 1

    def test_one_that_is_no_source_is_none(self) -> None:
        """As where an operator takes the star of a parameter for a product."""
        source = "def one(*, value):\n    return value\n"
        every = [mutated(source, site) for site in sites(source)]

        assert every
        assert set(every) == {None}

    def test_one_that_does_not_exist_is_none(self) -> None:
        """An occurrence beyond the last."""
        assert mutated("a = 1\n", Site("NumberReplacer", 9, (1, 4), (1, 5))) is None
