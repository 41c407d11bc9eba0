"""Facts about a target: from its ready line, from its target file, or presumed by the profile."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec import UNSET

from meshwire_conformance.contracts import Attachment
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.targets.base import LISTENING
from meshwire_spec.numbers import CAPABILITIES, OPTIONAL_CAPABILITIES, PAYLOAD_MAX, PROFILE
from meshwire_spec.schemas.targets import Enrollment, NodeFacts, TargetFile
from meshwire_spec.schemas.validation import checked


@dataclass(frozen=True, slots=True)
class Facts:
    """What a target states about itself; a deadline that it does not state is None.

    `unsaid` are the optional capabilities about which nothing was stated, and `unsure` those about
    which the target showed nothing in time when it was asked.
    """

    addresses: tuple[str, ...] = ()
    endpoint_id: str = ""
    profile: str = PROFILE
    dialect: str = "open"
    formation_id: str = ""
    capabilities: frozenset[str] = frozenset(CAPABILITIES)
    unsaid: frozenset[str] = frozenset()
    unsure: frozenset[str] = frozenset()
    payload_cap: int = PAYLOAD_MAX
    deadlines: Mapping[str, float] = field(default_factory=dict)
    secret_file: Path | None = None
    redial_s: float | None = None
    control: Path | None = None
    """The control socket at which it serves its user."""
    enrollment: Enrollment | None = None
    """The enrollment that it serves."""


def read_facts(stated: NodeFacts | None) -> Facts:
    """Return the facts of a target file or ready line.

    Facts that are not stated are those that the profile presumes.
    """
    if stated is None:
        return Facts(unsaid=frozenset(OPTIONAL_CAPABILITIES))
    is_silent = stated.capabilities is UNSET
    secret_file = stated.formation_secret_file if isinstance(stated, TargetFile) else UNSET
    return Facts(
        addresses=tuple(stated.addresses),
        endpoint_id=stated.endpoint_id or "",
        profile=stated.profile,
        dialect=stated.dialect,
        formation_id=stated.formation_id or "",
        capabilities=frozenset(CAPABILITIES if is_silent else stated.capabilities or ()),
        unsaid=frozenset(OPTIONAL_CAPABILITIES if is_silent else ()),
        payload_cap=stated.payload_cap or PAYLOAD_MAX,
        deadlines=msgspec.to_builtins(stated.deadlines) if stated.deadlines else {},
        secret_file=Path(secret_file) if secret_file else None,
        redial_s=stated.redial_s or None,
        control=Path(stated.control) if stated.control else None,
        enrollment=stated.enrollment or None,
    )


def require_profile(facts: Facts) -> None:
    """Raise Incomplete if the target lacks what every `sync/1` node must offer."""
    if facts.profile != PROFILE:
        raise Incomplete(f"the target supports {facts.profile}, this suite {PROFILE}")
    missing = [name for name in CAPABILITIES if name not in facts.capabilities]
    if missing:
        raise Incomplete(
            f"the target does not offer {', '.join(missing)}, which {PROFILE} requires"
        )


def read_target_file(path: Path) -> list[Attachment]:
    """Return the attachments of the target that a TOML file describes; raises UsageError."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise UsageError(f"the target file {path} cannot be read: {exc}") from exc
    try:
        stated = checked("target", content, TargetFile)
    except ValueError as exc:
        raise UsageError(f"the target file {path} is invalid: {exc}") from exc
    if stated.formation_secret_file:
        secret_file = str(path.parent / stated.formation_secret_file)
        stated = msgspec.structs.replace(stated, formation_secret_file=secret_file)
    if stated.control:
        stated = msgspec.structs.replace(stated, control=str(path.parent / stated.control))
    text = stated.addresses[0]
    scheme, _, location = text.partition("://")
    if scheme in LISTENING:
        others = (one.partition("://") for one in stated.addresses)
        location = ",".join(place for kind, _, place in others if kind == scheme)
    return [
        Attachment(
            scheme=scheme,
            location=location,
            text=text,
            facts=stated,
            variant=stated.dialect,
            command=f"--target {shlex.quote(str(path))}",
        )
    ]
