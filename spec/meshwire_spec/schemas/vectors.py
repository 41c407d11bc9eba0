"""Files of codec vectors: bytes, their value, and the result that each level requires."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from meshwire_spec.schemas.base import (
    CaseId,
    CaseTitle,
    Conditions,
    Harm,
    Hex,
    Hunted,
    ReasonNames,
    Results,
    RuleIds,
    Source,
    Strict,
    Tally,
    forbid_members,
    require_each_once,
    require_members,
)


class Repetition(Strict, frozen=True, kw_only=True):
    """A part of a text that is repeated."""

    repeat: Annotated[str, Meta(min_length=1)]
    times: Annotated[int, Meta(ge=1, le=2**25)]


class Joined(Strict, frozen=True, kw_only=True):
    """The parts of a text."""

    join: Annotated[list[str | Repetition], Meta(min_length=1)]


WrittenText = str | Joined
"""A text, or its parts joined; a part may be repeated."""


class Respond(Strict, frozen=True, kw_only=True):
    """Inputs of a formation answer."""

    formation_id: str
    secret: Hex
    nonce: Hex


class Vector(Strict, frozen=True, kw_only=True):
    """One codec vector: bytes or a value, and the result that each level requires."""

    # `written_hex` and `written_value` are what the file holds; `hex` and `value` are written out.

    id: CaseId
    kind: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]
    title: CaseTitle
    rules: RuleIds
    field: Annotated[
        str, Meta(description="Path of the field at stake; empty for the message as a whole.")
    ]
    fault: Annotated[
        str,
        Meta(
            pattern="^[a-z0-9^-]*$",
            description="Class of the fault or extreme; empty for a plain positive.",
        ),
    ]
    written_hex: Annotated[
        WrittenText | UnsetType,
        Meta(description="The bytes; without them the value is one that cannot be encoded."),
    ] = msgspec.field(name="hex", default=UNSET)
    at: Annotated[
        Annotated[list[Tally], Meta(min_length=2, max_length=2)] | UnsetType,
        Meta(
            description="Offsets at which the bytes at fault begin and end, the end exclusive; "
            "equal where bytes are missing there and none is wrong."
        ),
    ] = UNSET
    respond: Annotated[
        Respond | UnsetType,
        Meta(description="The formation answer to these inputs is the bytes."),
    ] = UNSET
    written_value: Annotated[
        dict[str, Any] | UnsetType,
        Meta(
            description="What the bytes decode to, in the shape of the codec harness, or what an "
            "encoder has to refuse."
        ),
    ] = msgspec.field(name="value", default=UNSET)
    result: Results
    reasons: ReasonNames | UnsetType = UNSET
    hunts: Hunted | UnsetType = UNSET
    harm: Harm | UnsetType = UNSET
    control: CaseId | UnsetType = UNSET
    disputed: Annotated[
        Literal[True] | UnsetType, Meta(description="Informational until settled.")
    ] = UNSET
    source: Source

    def __post_init__(self) -> None:
        """Raise ValueError for a fault that the types do not exclude."""
        require_each_once(self.id, self.rules, self.reasons)
        if "reject" in (self.result.wire, self.result.strict):
            require_members(self.id, self, ("reasons", "hunts", "harm", "control"))
            if self.unencodable and (self.written_value is UNSET or self.respond is not UNSET):
                raise ValueError(f"{self.id}: neither bytes nor a value to be refused")
            (forbid_members if self.unencodable else require_members)(self.id, self, ("at",))
            if self.at is not UNSET and not self.at[0] <= self.at[1] <= len(self.hex) // 2:
                raise ValueError(f"{self.id}: `at` is no range of the bytes")
        else:
            forbid_members(self.id, self, ("reasons", "control", "at"))
            if self.unencodable or self.written_value is UNSET:
                raise ValueError(f"{self.id}: a positive has `hex` and `value`")

    @property
    def unencodable(self) -> bool:
        """True if there are no bytes: the value is one that an encoder must refuse."""
        return self.written_hex is UNSET

    @property
    def hex(self) -> str:
        """The bytes, as lower-case hex; empty if the value has none."""
        written = self.written_hex
        if isinstance(written, Joined):
            return "".join(_part(part) for part in written.join)
        return written or ""

    @property
    def data(self) -> bytes:
        """The bytes."""
        return bytes.fromhex(self.hex)

    @property
    def value(self) -> Any:
        """The decoded value, or the one to encode; None if the bytes have none."""
        return None if self.written_value is UNSET else expand(self.written_value)


class VectorFile(Strict, frozen=True, kw_only=True):
    """A file of codec vectors."""

    part: Annotated[
        str,
        Meta(
            pattern="^[a-z-]+$",
            description="Page that the rules of these vectors stand on, also the name of the "
            "folder.",
        ),
    ]
    vectors: Annotated[list[Vector], Meta(min_length=1)]


CONDITIONS: Conditions = {
    Vector: {
        "if": {
            "properties": {
                "result": {
                    "anyOf": [
                        {"properties": {"strict": {"const": "reject"}}},
                        {"properties": {"wire": {"const": "reject"}}},
                    ]
                }
            }
        },
        "then": {
            "required": ["reasons", "hunts", "harm", "control"],
            "if": {"required": ["hex"]},
            "then": {"required": ["at"]},
            "else": {"properties": {"at": False}},
        },
        "else": {
            "required": ["value", "hex"],
            "properties": {"reasons": False, "control": False, "at": False},
        },
        "anyOf": [
            {"required": ["hex"]},
            {"required": ["value"], "properties": {"respond": False}},
        ],
    }
}


def expand(node: Any) -> Any:
    """Return a value with every `{"join": [...]}` and `{"escaped": ...}` in it expanded."""
    if isinstance(node, dict):
        if node.keys() == {"escaped"}:
            return json.loads(f'"{node["escaped"]}"')
        if node.keys() == {"join"}:
            return "".join(_part(part) for part in node["join"])
        return {name: expand(item) for name, item in node.items()}
    if isinstance(node, list):
        return [expand(item) for item in node]
    return node


def _part(part: str | Mapping[str, Any] | Repetition) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Repetition):
        return part.repeat * part.times
    return str(part["repeat"]) * int(part["times"])
