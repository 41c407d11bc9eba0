"""The table of switches: complete, distinct, and each of them wired."""

import ast
from pathlib import Path

import pytest

import meshwire_reference
from meshwire_reference.core.switches import Switch
from meshwire_reference.mutants import MUTANTS, UnknownMutant, read_switches

PACKAGE = Path(meshwire_reference.__file__).parent


def test_every_switch_stands_in_the_table_once() -> None:
    """With the rule that it breaks."""
    assert sorted(mutant.switch for mutant in MUTANTS) == sorted(Switch)


def test_every_switch_is_looked_at() -> None:
    """One that nothing reads would turn nothing wrong."""
    read = {
        node.attr
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("switches.py", "mutants.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "Switch"
    }

    assert {switch.name for switch in Switch} == read


def test_names_are_read_from_a_list() -> None:
    """Separated by commas, blanks allowed."""
    assert read_switches(" no-relay, no-guard,") == {Switch.NO_RELAY, Switch.NO_GUARD}
    assert read_switches("") == frozenset()


def test_an_unknown_name_is_an_error() -> None:
    """It names itself and what there is."""
    with pytest.raises(UnknownMutant, match="no switch 'no-such'; known: accept-bad-key"):
        read_switches("no-such")
