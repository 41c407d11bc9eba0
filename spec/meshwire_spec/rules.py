"""The rules of the pages, loaded from `rules.json`: ids, levels, texts, and ways to show them."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

import msgspec

from meshwire_spec import numbers

RuleLevel = Literal["wire", "strict", "withdrawn"]
Way = Literal["codec", "socket", "harness", "every"]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule of the pages.

    `page` and `anchor` say where it is; `deployed` is what deployed peers do instead, with the
    defects that it names; `seen` lists what can show the rule, and `excluded` says why nothing can;
    `kinds` and `reason` name the messages that it concerns and the reason for which it refuses
    them.
    """

    id: str
    page: str
    anchor: str
    level: RuleLevel
    text: str
    deployed: str
    defects: tuple[str, ...]
    seen: tuple[Way, ...]
    excluded: str
    kinds: tuple[str, ...]
    reason: str


@cache
def load_rules() -> tuple[Rule, ...]:
    """Return every rule, in page order; raises `msgspec.ValidationError` for an invalid file."""
    data = resources.files("meshwire_spec").joinpath("rules.json").read_bytes()
    return tuple(msgspec.json.decode(data, type=list[Rule]))


@cache
def rules_by_id() -> dict[str, Rule]:
    """Return every rule by its id."""
    return {rule.id: rule for rule in load_rules()}


@cache
def refusals() -> dict[tuple[str, str], tuple[Rule, ...]]:
    """Return the rules that a message of a kind can break with a reason, by (kind, reason)."""
    found: dict[tuple[str, str], list[Rule]] = {}
    for kind in numbers.KINDS:
        for reason in numbers.REASONS:
            for rule in load_rules():
                if kind in rule.kinds and rule.reason == reason:
                    found.setdefault((kind, reason), []).append(rule)
    return {pair: tuple(rules) for pair, rules in found.items()}
