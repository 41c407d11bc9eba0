"""What every format shares: the strict base of its structs, and types of members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

HEX = "^([0-9a-f]{2})*$"
"""Pattern of bytes in lower-case hex."""

Hex = Annotated[str, Meta(pattern=HEX)]
Hex32 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
CaseId = Annotated[str, Meta(pattern="^MW-[0-9]{4,}$")]
U64 = Annotated[str, Meta(pattern="^(0|[1-9][0-9]{0,19})$")]
Count = Annotated[int, Meta(ge=0)]
Level = Literal["wire", "strict"]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every object in a format: members that it does not know are errors."""


Schema = dict[str, Any]
"""A JSON Schema, or a part of one."""
Conditions = Mapping[type[Strict], Schema]
"""What published schemas say of structs beside their members, such as `if` and `then`."""
