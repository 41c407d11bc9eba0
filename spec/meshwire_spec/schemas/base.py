"""Definitions shared by every format: the strict base of its structs, and types of members."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

HEX = "^([0-9a-f]{2})*$"
"""Pattern of bytes in lower-case hex."""

Hex = Annotated[str, Meta(pattern=HEX)]
Hex32 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
CaseId = Annotated[str, Meta(pattern="^MW-[0-9]{4,}$")]
U64 = Annotated[str, Meta(pattern="^(0|[1-9][0-9]{0,19})$")]
Tally = Annotated[int, Meta(ge=0)]
Level = Literal["wire", "strict"]
Demand = Literal["valid", "reject", "any"]
CaseTitle = Annotated[str, Meta(min_length=8)]
RuleIds = Annotated[
    list[Annotated[str, Meta(pattern="^[A-Z]{2}-[0-9]{3}$")]],
    Meta(min_length=1, extra_json_schema={"uniqueItems": True}),
]
ReasonNames = Annotated[
    list[Annotated[str, Meta(pattern="^[a-z0-9-]+$")]],
    Meta(
        min_length=1,
        description="Every reason that a refusal may give.",
        extra_json_schema={"uniqueItems": True},
    ),
]
Hunted = Annotated[str, Meta(min_length=8, description="The mistake it hunts.")]
Harm = Annotated[str, Meta(min_length=8, description="What that mistake does.")]
Source = Annotated[str, Meta(min_length=4)]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every object in a format: unknown members are errors."""


class Results(Strict, frozen=True, kw_only=True):
    """The result that each level requires of a case."""

    wire: Demand
    strict: Demand


def require_members(name: str, case: Strict, members: Iterable[str]) -> None:
    """Raise ValueError if the case of this name lacks one of these members."""
    missing = [member for member in members if getattr(case, member) is UNSET]
    if missing:
        raise ValueError(f"{name}: no {', '.join(missing)}")


def forbid_members(name: str, case: Strict, members: Iterable[str]) -> None:
    """Raise ValueError if the case of this name has one of these members."""
    odd = [member for member in members if getattr(case, member) is not UNSET]
    if odd:
        raise ValueError(f"{name}: {', '.join(odd)} cannot be here")


def require_each_once(name: str, *lists: Sequence[str] | UnsetType) -> None:
    """Raise ValueError if a list of the case of this name has an entry twice."""
    for entries in lists:
        if entries and len({*entries}) < len(entries):
            raise ValueError(f"{name}: twice the same in {', '.join(entries)}")


Schema = dict[str, Any]
"""A JSON Schema, or a part of one."""
Conditions = Mapping[type[Strict], Schema]
"""Keywords of published schemas beside the members of structs, such as `if` and `then`."""
