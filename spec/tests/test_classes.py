"""Every rule binds a class, and each class has the rules that its name promises."""

from meshwire_spec.classes import CLASSES
from meshwire_spec.rules import load_rules

BY_NAME = {row.name: {rule.id for rule in row.rules()} for row in CLASSES}


def test_every_rule_binds_a_class() -> None:
    """No rule that is in force stands outside all classes."""
    bound = set().union(*BY_NAME.values())

    assert {rule.id for rule in load_rules() if rule.level != "withdrawn"} - bound == set()


def test_the_two_sides_of_the_handshake_share_what_binds_both() -> None:
    """The key and the messages bind both sides; each has rules that the other has not."""
    both = BY_NAME["acceptor"] & BY_NAME["initiator"]

    assert {"HS-001", "HS-002", "HS-010"} <= both
    assert "HS-033" in BY_NAME["acceptor"] - both
    assert "HS-050" in BY_NAME["initiator"] - both


def test_a_codec_needs_no_algorithm() -> None:
    """Messages of reconciliation bind a codec; its algorithm binds a reconciling node."""
    assert "NG-002" in BY_NAME["codec"]
    assert "NG-053" not in BY_NAME["codec"]
    assert "NG-053" in BY_NAME["reconciling node"]
    assert "NG-012" in BY_NAME["node"] - BY_NAME["reconciling node"]
