"""What is known of a target: its ready line, its target file, or what the profile presumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from meshwire_conformance.errors import Incomplete
from meshwire_spec.numbers import CAPABILITIES, PAYLOAD_MAX, PROFILE


@dataclass(frozen=True, slots=True)
class Facts:
    """What a target states of itself; a deadline that it does not state is None."""

    addresses: tuple[str, ...] = ()
    endpoint_id: str = ""
    profile: str = PROFILE
    dialect: str = "open"
    formation_id: str = ""
    capabilities: frozenset[str] = frozenset(CAPABILITIES)
    payload_cap: int = PAYLOAD_MAX
    deadlines: Mapping[str, float] = MappingProxyType({})
    secret_file: Path | None = None


def read_facts(stated: Mapping[str, Any]) -> Facts:
    """Facts of a target file or ready line that its schema has let through."""
    secret_file = stated.get("formation_secret_file")
    return Facts(
        addresses=tuple(stated.get("addresses", ())),
        endpoint_id=stated.get("endpoint_id", ""),
        profile=stated.get("profile", PROFILE),
        dialect=stated.get("dialect", "open"),
        formation_id=stated.get("formation_id") or "",
        capabilities=frozenset(stated.get("capabilities", CAPABILITIES)),
        payload_cap=stated.get("payload_cap", PAYLOAD_MAX),
        deadlines=MappingProxyType(dict(stated.get("deadlines", {}))),
        secret_file=None if secret_file is None else Path(secret_file),
    )


def require_profile(facts: Facts) -> None:
    """Raise Incomplete where the target lacks what every `sync/1` node must offer."""
    if facts.profile != PROFILE:
        raise Incomplete(f"the target speaks {facts.profile}, this suite {PROFILE}")
    missing = [name for name in CAPABILITIES if name not in facts.capabilities]
    if missing:
        raise Incomplete(
            f"the target does not offer {', '.join(missing)}, which {PROFILE} requires"
        )
