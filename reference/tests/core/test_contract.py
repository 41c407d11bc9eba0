"""The contract of the core in ARCHITECTURE.md has every input and effect."""

from collections.abc import Mapping
from typing import get_args

from meshwire_reference.core import effects, inputs


def test_every_input_has_a_row(contract: Mapping[str, frozenset[str]]) -> None:
    """The table lists the inputs of the core, the events of a connection among them."""
    plain = {one.__name__ for one in get_args(inputs.Input)} - {"ConnectionInput"}
    events = {one.__name__ for one in get_args(inputs.ConnectionEvent)}

    assert set(contract) == plain | events


def test_every_effect_is_led_to(contract: Mapping[str, frozenset[str]]) -> None:
    """The table names the effects of the core, all of them and no others."""
    of_connections = {one.__name__ for one in effects.ConnectionEffect.__subclasses__()}
    others = {one.__name__ for one in get_args(effects.Effect)} - {"ConnectionEffect"}
    named = {name for row in contract.values() for name in row}

    assert named == of_connections | others
