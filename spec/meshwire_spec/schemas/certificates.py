"""Files of vectors about certificates: what counts under which trust, and for which reasons not."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from meshwire_spec.schemas.base import (
    U64,
    CaseId,
    CaseTitle,
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

CheckedKind = Literal["mesh_certificate", "membership_certificate", "mesh_revocation"]


class CheckInputs(Strict, frozen=True, kw_only=True):
    """What an adapter is asked: a message, and what it is verified against."""

    kind: Annotated[CheckedKind, Meta(description="Of the message.")]
    data: Annotated[Hex, Meta(description="The bytes of the message.")]
    subject: Annotated[
        Hex32, Meta(description="The endpoint id of the connection, or that of the document.")
    ]
    now: Annotated[U64, Meta(description="The time in ms since 1970.")]
    mesh_id: str
    roots: Annotated[list[Hex32], Meta(description="Public keys that are configured as roots.")]
    certificates: Annotated[list[Hex], Meta(description="Mesh certificates that are held.")]
    revocations: Annotated[list[Hex], Meta(description="Revocations that are held.")]


class CertificateVector(Strict, frozen=True, kw_only=True):
    """One message with the trust, and whether each level takes it."""

    id: CaseId
    kind: Literal["certificate_check"]
    title: CaseTitle
    rules: RuleIds
    inputs: CheckInputs
    result: Results
    reasons: ReasonNames | UnsetType = UNSET
    hunts: Hunted | UnsetType = UNSET
    harm: Harm | UnsetType = UNSET
    control: CaseId | UnsetType = UNSET
    source: Source

    def __post_init__(self) -> None:
        """Raise ValueError for a fault that the types do not exclude."""
        require_each_once(self.id, self.rules, self.reasons)
        members = ("reasons", "hunts", "harm", "control")
        is_negative = self.result.strict == "reject"
        (require_members if is_negative else forbid_members)(self.id, self, members)


class CertificateFile(Strict, frozen=True, kw_only=True):
    """A file of vectors about certificates."""

    part: Literal["certificates"]
    vectors: list[CertificateVector]
