"""The report of a run of the conformance suite as JSON, for programs."""

from typing import Annotated, Final, Literal, get_args

from msgspec import UNSET, Meta, UnsetType

from meshwire_spec.schemas.base import CaseId, Level, Strict, Tally

FORMAT_VERSION: Final = 1
"""Version of this format."""

Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Duration = Annotated[float, Meta(ge=0)]
VerdictName = Literal[
    "pass", "fail", "not-applicable", "could-not-run", "known-failing", "informational"
]
VERDICT_NAMES: Final = get_args(VerdictName)


class Judge(Strict, frozen=True, kw_only=True):
    """The suite that judged."""

    version: Annotated[str, Meta(description="Version of the distribution.")]
    spec_revision: Annotated[str, Meta(description="Revision of the pages.")]
    digest: Annotated[Digest, Meta(description="SHA-256 over all cases of the suite.")]
    selection_digest: Annotated[
        Digest,
        Meta(
            description="SHA-256 over the cases that were selected; the same where that is all "
            "of them."
        ),
    ]


class NamedCodec(Strict, frozen=True, kw_only=True):
    """Name and version of a codec in its answer to hello."""

    name: Annotated[str, Meta(description="Its name.")]
    version: Annotated[str, Meta(description="Its version.")]


class PartCounts(Strict, frozen=True, kw_only=True):
    """Counts of one part."""

    total: Annotated[Tally, Meta(description="Cases in all.")]
    applicable: Annotated[Tally, Meta(description="Cases that apply to the target.")]
    unbound: Annotated[Tally, Meta(description="Refusals that passed without a reason or code.")]
    verdicts: Annotated[
        dict[VerdictName, Annotated[Tally, Meta(description="Number of cases with this verdict.")]],
        Meta(
            description="How the cases ended; a verdict that did not occur is left out.",
            extra_json_schema={"propertyNames": {"enum": list(VERDICT_NAMES)}},
        ),
    ]


class NamedCase(Strict, frozen=True, kw_only=True):
    """What identifies a case."""

    id: Annotated[CaseId, Meta(description="Id of the case.")]
    kind: Annotated[
        str,
        Meta(
            description="Kind of message, or `socket`, `harness`, `negentropy_run`, `oplog_text` "
            "or `oplog_session`."
        ),
    ]
    part: Annotated[str, Meta(description="Page with its rules.")]
    title: Annotated[str, Meta(description="Title of the case.")]
    rules: Annotated[list[str], Meta(min_length=1, description="Ids of the rules that it shows.")]


class ReportedCase(NamedCase, frozen=True, kw_only=True):
    """One case and how it ended."""

    verdict: Annotated[VerdictName, Meta(description="How it ended.")]
    symptom: Annotated[
        str,
        Meta(
            description="Short stable name of the failure, to which a ledger refers; empty "
            "for a pass."
        ),
    ]
    reasons: Annotated[list[str], Meta(description="Why, in sentences.")]
    cause: Annotated[
        str,
        Meta(
            description="The mistake that explains the failure of the case, or of its control; "
            "empty if none of the known ones does."
        ),
    ]
    sent: Annotated[list[str], Meta(description="What was sent, as lines for a person.")]
    expected: Annotated[list[str], Meta(description="The expected result, as lines for a person.")]
    received: Annotated[
        list[str], Meta(description="The result of the target, as lines for a person.")
    ]
    notes: Annotated[list[str], Meta(description="Further remarks on the verdict.")]
    unbound: Annotated[
        bool, Meta(description="Whether it passed with a refusal without a reason or code.")
    ]
    slow: Annotated[
        bool,
        Meta(description="Whether it missed a deadline and passed when it was repeated alone."),
    ]
    variant: Annotated[str, Meta(description="The dialect in which it ran; empty for a codec.")]
    circumstances: Annotated[
        str | UnsetType,
        Meta(description="The circumstances in which it ran, each parameter with its value."),
    ] = UNSET
    duration_s: Annotated[
        Duration,
        Meta(description="How long it took, in seconds; for a codec its share of the whole."),
    ]
    rounds: Annotated[
        dict[VerdictName, Annotated[Tally, Meta(description="Rounds that ended so.")]] | UnsetType,
        Meta(
            description="How often the case ended how, where every case ran more than once; the "
            "other members are those of the round that ended worst.",
            extra_json_schema={"propertyNames": {"enum": list(VERDICT_NAMES)}},
        ),
    ] = UNSET
    again: Annotated[str, Meta(description="The command that runs it alone.")]


class ReportedRun(Strict, frozen=True, kw_only=True):
    """The verdicts of one way to attach."""

    name: Annotated[
        str, Meta(description="The dialect of a node, or the name of the way to attach.")
    ]
    faults: Annotated[
        list[str],
        Meta(description="Why nothing could run, such as a target that was never reached."),
    ]
    codec: Annotated[
        NamedCodec | UnsetType,
        Meta(description="Name and version of a codec in its answer to hello."),
    ] = UNSET
    notes: Annotated[
        list[str] | UnsetType,
        Meta(
            description="What belongs to no case, such as a node that is still listening after "
            "its end."
        ),
    ] = UNSET
    contact: Annotated[
        list[str] | UnsetType,
        Meta(
            description="What the target did on its first connection, as lines for a person; of "
            "targets with a socket alone."
        ),
    ] = UNSET
    parts: Annotated[
        dict[str, PartCounts],
        Meta(description="Counts by part; a part is the page with the rules of its cases."),
    ]
    cases: Annotated[
        list[ReportedCase], Meta(description="Every selected case, in the order of the ids.")
    ]


class ReportFile(Strict, frozen=True, kw_only=True):
    """Report of a run of the conformance suite."""

    report: Annotated[Literal[1], Meta(description="Version of this format.")]
    suite: Annotated[Judge, Meta(description="The suite that made the report.")]
    target: Annotated[str, Meta(description="The target as it was given.")]
    level: Annotated[Level, Meta(description="The level whose results were required.")]
    seed: Annotated[int, Meta(description="Seed of every random choice.")]
    exit_code: Annotated[Literal[0, 1, 2, 3], Meta(description="Exit code of the process.")]
    duration_s: Annotated[Duration, Meta(description="How long it took, in seconds.")]
    runs: Annotated[
        list[ReportedRun],
        Meta(
            description="One for each way to attach: the bundled node has one for each dialect "
            "and one as a codec."
        ),
    ]
