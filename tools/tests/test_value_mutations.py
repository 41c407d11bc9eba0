"""Values that no bytes can hold: each differs from a positive in one member."""

from typing import Any

import pytest

from make_vectors import SHORT, plain_positives
from meshwire_spec.codec import decode, to_value
from meshwire_spec.numbers import KINDS
from meshwire_spec.schemas.vectors import expand
from value_mutations import CLASSES, Changed, changed_values
from vector_files import read_files
from vector_mutations import base_of, wire_path

FILES = read_files()


def changes(kind: str) -> list[tuple[Any, Changed]]:
    """Return every changed value of a kind with the value that it was made of."""
    found = []
    for vector in plain_positives(FILES, kind):
        base = base_of(kind, bytes.fromhex(expand(vector["hex"])))
        value = to_value(decode(kind, base.data))
        found += [(value, changed) for changed in changed_values(kind, base, value)]
    return found


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Return the members of a value without members of their own, by path."""
    if isinstance(value, dict) and value:
        items = [(f"{path}.{name}".lstrip("."), one) for name, one in value.items()]
    elif isinstance(value, list) and value:
        items = [(f"{path}[{index}]", one) for index, one in enumerate(value)]
    else:
        return {path: value}
    return {name: leaf for at, one in items for name, leaf in leaves(one, at).items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_value_differs_in_its_member_alone(kind: str) -> None:
    """Nothing else could be the reason to refuse it."""
    for value, changed in changes(kind):
        before, after = leaves(value), leaves(changed.value)
        different = {
            name
            for name in before.keys() | after.keys()
            if name not in before or name not in after or before[name] != after[name]
        }

        assert different, changed
        assert all(name.startswith(wire_path(changed.where)) for name in different), changed


def test_every_class_is_made() -> None:
    """A class that no positive permits would hunt nothing."""
    made = {changed.fault for kind in KINDS for _, changed in changes(kind)}

    assert made == set(CLASSES)


def test_positives_are_short() -> None:
    """A long one would make every vector derived from it long."""
    assert all(
        len(expand(vector["hex"])) < SHORT
        for kind in KINDS
        for vector in plain_positives(FILES, kind)
    )
