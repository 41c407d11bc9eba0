"""The list of the cases of the conformance suite as JSON, for programs."""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from meshwire_spec.schemas.base import CaseId, Demand, Strict
from meshwire_spec.schemas.report import Judge, NamedCase

FORMAT_VERSION: Final = 1
"""Version of this format."""


class Demanded(Strict, frozen=True, kw_only=True):
    """The result that each level requires of a case."""

    wire: Annotated[Demand, Meta(description="The result at level `wire`; `any` requires none.")]
    strict: Annotated[Demand, Meta(description="The result at level `strict`.")]


class ListedCase(NamedCase, frozen=True, kw_only=True):
    """One case and what it requires."""

    needs: Annotated[
        list[str],
        Meta(
            description="What a target must offer for it: a capability, or a condition such as "
            "`binding:tcp`, `dialect:H1`, `documents` or `without:reconciliation`."
        ),
    ]
    results: Annotated[Demanded, Meta(description="The result that each level requires.")]
    control: Annotated[
        CaseId | UnsetType,
        Meta(description="The case that must pass before this one counts."),
    ] = UNSET


class ListingFile(Strict, frozen=True, kw_only=True):
    """Cases of the conformance suite."""

    listing: Annotated[Literal[1], Meta(description="Version of this format.")]
    suite: Annotated[Judge, Meta(description="The suite that has the cases.")]
    cases: Annotated[
        list[ListedCase], Meta(description="Every selected case, in the order of the ids.")
    ]
