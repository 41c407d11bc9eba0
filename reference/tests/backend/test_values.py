"""Fields as JSON: what cannot be written is named by its place, and costs no more than the text."""

from typing import Any

import pytest

from meshwire_reference.backend import BadFields
from meshwire_reference.backend.values import parse_fields, values_of
from meshwire_reference.core.document_calls import Value


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"a": float("inf")}, '"a"'),
        ({"a": [1, {"b": [0, 2**64]}]}, '"a[1].b[1]"'),
        ({"a.b": {"c": b"bytes"}}, '"a.b.c"'),
        ({"a": [{"\ud800": 1}]}, '"a[0].\\ud800"'),
        ({"\ud800": 1}, '"\\ud800"'),
        ({"n" * 200: "\ud800"}, f'"{"n" * 76}...'),
    ],
)
def test_a_value_that_cannot_be_written_is_named(fields: dict[str, Any], place: str) -> None:
    """By the names and numbers that lead to it, shortened."""
    with pytest.raises(BadFields) as caught:
        values_of(fields)

    assert place in str(caught.value)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(-(2**63), "int"), (2**63 - 1, "int"), (2**63, "uint"), (2**64 - 1, "uint")],
)
def test_an_integer_has_the_type_that_holds_it(number: int, kind: str) -> None:
    """Signed as long as it fits."""
    assert values_of({"a": number}) == {"a": Value(kind, number)}


def test_many_values_in_a_place_with_a_long_name_are_read_at_once() -> None:
    """The name is not repeated for each: that would take hours here."""
    text = f'{{"{"n" * 2**22}": [{"1," * 2**18}1]}}'

    (value,) = values_of(parse_fields(text)).values()

    assert len(value.value) == 2**18 + 1


def test_a_name_that_comes_twice_among_many_is_found_at_once() -> None:
    """Not by counting each of them anew."""
    names = ",".join(f'"{number}":1' for number in range(2**17))

    with pytest.raises(BadFields, match='"last"'):
        parse_fields(f'{{{names},"last":1,"last":2}}')
