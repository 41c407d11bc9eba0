"""What is known of a target: its ready line, its target file, or what the profile presumes."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshwire_conformance.contracts import Attachment
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_spec.numbers import CAPABILITIES, OPTIONAL_CAPABILITIES, PAYLOAD_MAX, PROFILE
from meshwire_spec.schemas.validation import faults


@dataclass(frozen=True, slots=True)
class Facts:
    """What a target states of itself; a deadline that it does not state is None.

    `unsaid` are the optional capabilities of which nothing was stated, one way or the other.
    """

    addresses: tuple[str, ...] = ()
    endpoint_id: str = ""
    profile: str = PROFILE
    dialect: str = "open"
    formation_id: str = ""
    capabilities: frozenset[str] = frozenset(CAPABILITIES)
    unsaid: frozenset[str] = frozenset()
    payload_cap: int = PAYLOAD_MAX
    deadlines: Mapping[str, float] = field(default_factory=dict)
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
        unsaid=frozenset(() if "capabilities" in stated else OPTIONAL_CAPABILITIES),
        payload_cap=stated.get("payload_cap", PAYLOAD_MAX),
        deadlines=dict(stated.get("deadlines", {})),
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


def read_target_file(path: Path) -> list[Attachment]:
    """How to attach to the target that a TOML file describes; raises UsageError."""
    try:
        stated = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise UsageError(f"the target file {path} cannot be read: {exc}") from exc
    wrong = next(faults("target", stated), None)
    if wrong is not None:
        raise UsageError(f"the target file {path} is wrong: {wrong}")
    facts = read_facts(stated)
    if facts.secret_file is not None:
        stated["formation_secret_file"] = str(path.parent / facts.secret_file)
    return [
        Attachment(
            scheme=text.partition("://")[0],
            location=text.partition("://")[2],
            text=text,
            facts=stated,
            variant=facts.dialect,
            command=f"--target {shlex.quote(str(path))}",
        )
        for text in facts.addresses[:1]
    ]
