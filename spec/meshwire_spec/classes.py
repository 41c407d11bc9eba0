"""Conformance classes: the roles of a program, and the rules that bind each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from meshwire_spec.rules import Rule, load_rules

RUN_KIND: Final = "negentropy_run"
"""Kind of the vectors of whole reconciliations."""
BOTH_SIDES: Final = (
    "HS-001",
    "HS-002",
    "HS-010",
    "HS-017",
    "HS-018",
    "HS-037",
    "HS-038",
    "HS-039",
    "HS-064",
)
"""Rules of the handshake that bind acceptor and initiator alike."""
OF_ACCEPTORS: Final = (
    "HS-03",
    "HS-04",
    "HS-054",
    "HS-060",
    "HS-061",
    "HS-062",
    "HS-063",
    "HS-070",
    "HS-075",
    "HS-077",
)
"""How ids of rules for acceptors begin."""
OF_INITIATORS: Final = (
    "HS-003",
    "HS-050",
    "HS-051",
    "HS-053",
    "HS-055",
    "HS-056",
    "HS-057",
    "HS-059",
    "HS-065",
    "HS-066",
    "HS-071",
    "HS-072",
    "HS-073",
    "HS-074",
    "HS-076",
    "HS-078",
)
"""Rules for initiators alone."""
NO_RECONCILIATION: Final = "NG-012"
"""The one rule of reconciliation for nodes that offer none."""

OPERATIONS_PAGE: Final = "OP-"
"""How ids of rules of signed operations begin."""
CERTIFICATES_PAGE: Final = "CT-"
"""How ids of rules about the verification of certificates begin."""


@dataclass(frozen=True, slots=True)
class ConformanceClass:
    """A role that a program can claim; `has` returns True for a rule that binds it."""

    name: str
    means: str
    has: Callable[[Rule], bool]

    def rules(self, rules: Sequence[Rule] | None = None) -> list[Rule]:
        """Return the rules of the class in page order, withdrawn ones left out."""
        every = load_rules() if rules is None else rules
        return [rule for rule in every if rule.level != "withdrawn" and self.has(rule)]


def _is_of(*prefixes: str) -> Callable[[Rule], bool]:
    return lambda rule: rule.id.startswith(prefixes)


def _of_codec(rule: Rule) -> bool:
    in_codec = bool({"codec", "every"} & set(rule.seen)) and RUN_KIND not in rule.kinds
    in_codec = in_codec and not rule.id.startswith((OPERATIONS_PAGE, CERTIFICATES_PAGE))
    return in_codec or rule.id.startswith(("CH-", "EN-"))


CLASSES: Final = (
    ConformanceClass(
        "codec",
        "turns bytes into messages and back, for the kinds that it offers, without a network",
        _of_codec,
    ),
    ConformanceClass(
        "node",
        "holds documents and tombstones and exchanges them over connections; the lab binding "
        "(LB) binds those that speak it",
        lambda rule: (
            _is_of("TR-", "FR-", "BT-", "TS-", "LV-", "DC-", "ER-", "LB-", "TM-")(rule)
            or rule.id in (*BOTH_SIDES, "HS-044", NO_RECONCILIATION)
        ),
    ),
    ConformanceClass(
        "acceptor",
        "a node that is dialled and asks for the proof of membership",
        lambda rule: rule.id in BOTH_SIDES or rule.id.startswith(OF_ACCEPTORS),
    ),
    ConformanceClass(
        "initiator",
        "a node that dials and proves that it is a member",
        lambda rule: rule.id in (*BOTH_SIDES, *OF_INITIATORS),
    ),
    ConformanceClass(
        "reconciling node",
        "a node that compares sets of documents and declares the capability `reconciliation`",
        lambda rule: rule.id.startswith("NG-") and rule.id != NO_RECONCILIATION,
    ),
    ConformanceClass(
        "certifying node",
        "a node that can demand certificates of its peers",
        _is_of(CERTIFICATES_PAGE),
    ),
    ConformanceClass(
        "operations node",
        "a node of the profile `oplog/1`, or the part of one that applies signed operations",
        _is_of(OPERATIONS_PAGE),
    ),
    ConformanceClass(
        "suite",
        "a program that judges the others; no rule binds it, its manual is the measure",
        lambda _: False,
    ),
)
"""Every class, as the page on conformance lists them."""
