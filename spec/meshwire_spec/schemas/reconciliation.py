"""Files of reconciliation vectors: two sets of items, and every message between the two sides."""

import re
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from meshwire_spec.schemas.base import (
    HEX,
    U64,
    CaseId,
    CaseTitle,
    Conditions,
    Harm,
    Hex,
    Hex32,
    Hunted,
    ReasonNames,
    Results,
    RuleIds,
    Source,
    Strict,
    forbid_members,
    require_each_once,
    require_members,
)

Role = Literal["client", "server"]
FRAME_LIMIT_MIN = 4096
NEGATIVE = ("field", "reasons", "hunts", "harm", "control", "crate")
"""Members of a run with a message that must be refused."""
POSITIVE = ("found", "have", "need")
"""Members of a run without a message that must be refused."""
SERIES = ("label", "first", "count", "step")
"""Members of a series of items."""


LongHex = Annotated[str, Meta(extra_json_schema={"pattern": HEX})]
"""Bytes in hex that `__post_init__` checks: the published pattern is slow on long texts."""
_DIGITS = re.compile("[0-9a-f]*")


class Items(Strict, frozen=True, kw_only=True):
    """Items of a set: one by its id, or several by the rule on the page on vectors."""

    timestamp: U64
    id: Hex32 | UnsetType = UNSET
    label: Annotated[str, Meta(pattern="^[a-z]+$")] | UnsetType = UNSET
    first: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    count: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    step: U64 | UnsetType = UNSET
    group: Annotated[
        Annotated[int, Meta(ge=2)] | UnsetType,
        Meta(description="How many items in a row have one timestamp; 1 where it is absent."),
    ] = UNSET
    prefix: Annotated[str, Meta(pattern="^([0-9a-f]{2}){1,31}$")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Raise ValueError for a fault that the types do not exclude."""
        if self.id is UNSET:
            require_members("items by a rule", self, SERIES)
        else:
            forbid_members(f"the item {self.id}", self, (*SERIES, "group", "prefix"))


class Side(Strict, frozen=True, kw_only=True):
    """One side of a run."""

    frame_limit: Annotated[
        int,
        Meta(
            description="0 is none.",
            extra_json_schema={"anyOf": [{"const": 0}, {"minimum": FRAME_LIMIT_MIN}]},
        ),
    ]
    items: list[Items]

    def __post_init__(self) -> None:
        """Raise ValueError for a fault that the types do not exclude."""
        if self.frame_limit and self.frame_limit < FRAME_LIMIT_MIN:
            raise ValueError(f"a frame limit is 0 or at least {FRAME_LIMIT_MIN}")


class IdSummary(Strict, frozen=True, kw_only=True):
    """A long list of ids, by its length and the SHA-256 of all."""

    count: Annotated[int, Meta(ge=1)]
    sha256: Hex32


Ids = Annotated[
    list[Hex32] | IdSummary,
    Meta(
        description="Ids in ascending order, each once; many of them by number and SHA-256 of all."
    ),
]


class ReconciliationRun(Strict, frozen=True, kw_only=True):
    """One vector: a complete reconciliation, or one that ends with a message to refuse."""

    id: CaseId
    title: CaseTitle
    rules: RuleIds
    client: Side
    server: Side
    only: Annotated[
        Role | UnsetType, Meta(description="The one side that is asked; both where it is absent.")
    ] = UNSET
    messages: Annotated[
        list[LongHex],
        Meta(
            description="Messages in turn, the client's first; before a bad one, those that were."
        ),
    ]
    found: Annotated[
        list[tuple[int, int]] | UnsetType,
        Meta(description="How many ids the client has and needs by each message of the server."),
    ] = UNSET
    have: Ids | UnsetType = UNSET
    need: Ids | UnsetType = UNSET
    bad: Annotated[
        Hex | UnsetType, Meta(description="What the next side gets instead of the next message.")
    ] = UNSET
    field: Annotated[
        Annotated[str, Meta(min_length=4)] | UnsetType, Meta(description="What is wrong in it.")
    ] = UNSET
    result: Results
    reasons: ReasonNames | UnsetType = UNSET
    hunts: Hunted | UnsetType = UNSET
    harm: Harm | UnsetType = UNSET
    control: CaseId | UnsetType = UNSET
    crate: Annotated[
        str | UnsetType, Meta(description="What the crate made of the bad message.")
    ] = UNSET
    source: Source

    def __post_init__(self) -> None:
        """Raise ValueError for a fault that the types do not exclude."""
        require_each_once(self.id, self.rules, self.reasons)
        for number, message in enumerate(self.messages):
            if len(message) % 2 or not _DIGITS.fullmatch(message):
                raise ValueError(f"{self.id}: message {number} is no lower-case hex")
        if self.bad is not UNSET:
            require_members(self.id, self, NEGATIVE)
            forbid_members(self.id, self, POSITIVE)
        else:
            require_members(self.id, self, POSITIVE)
            forbid_members(self.id, self, NEGATIVE)
            if self.result.strict != "valid":
                raise ValueError(f"{self.id}: no bad message to be refused")

    @property
    def bad_role(self) -> Role:
        """The side that receives the bad message."""
        return "server" if len(self.messages) % 2 == 0 else "client"

    def side(self, role: Role) -> Side:
        """Return the side of this role."""
        return self.client if role == "client" else self.server


class ReconciliationFile(Strict, frozen=True, kw_only=True):
    """A file of reconciliation vectors."""

    part: Annotated[Literal["reconciliation"], Meta(description="Page that the rules stand on.")]
    runs: Annotated[list[ReconciliationRun], Meta(min_length=1)]


CONDITIONS: Conditions = {
    Items: {
        "oneOf": [
            {
                "required": ["id"],
                "properties": dict.fromkeys((*SERIES, "group", "prefix"), False),
            },
            {"required": list(SERIES), "properties": {"id": False}},
        ]
    },
    ReconciliationRun: {
        "if": {"required": ["bad"]},
        "then": {"required": list(NEGATIVE), "properties": dict.fromkeys(POSITIVE, False)},
        "else": {
            "required": list(POSITIVE),
            "properties": {
                **dict.fromkeys(NEGATIVE, False),
                "result": {"properties": {"strict": {"const": "valid"}}},
            },
        },
    },
}
