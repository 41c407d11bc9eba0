"""The ready line of a node and the target file of a user, which state the same facts."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from meshwire_spec.numbers import FORMATION_ID_MAX, U32_MAX
from meshwire_spec.schemas.base import Conditions, Hex32, Schema, Strict

NonEmptyText = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0)]
Address = Annotated[str, Meta(pattern="^(tcp|tcp-listen|quic|quic-listen|iroh|ws)://")]


class Deadlines(Strict, frozen=True, kw_only=True):
    """How long a node waits, in seconds."""

    handshake_s: Annotated[Seconds | UnsetType, Meta(description="For the whole handshake.")] = (
        UNSET
    )
    frame_stall_s: Annotated[
        Seconds | UnsetType, Meta(description="For the next byte inside a frame.")
    ] = UNSET


class Collection(Strict, frozen=True, kw_only=True):
    """One collection; what it leaves out is as in the profile."""

    mode: Annotated[
        Literal["full-history", "latest-only", "windowed-history"] | UnsetType,
        Meta(description="Its sync mode."),
    ] = UNSET
    deletion: Annotated[
        Literal["tombstone", "soft-delete", "implicit-ttl"] | UnsetType,
        Meta(description="Its deletion policy."),
    ] = UNSET
    ttl_s: Annotated[
        Annotated[int, Meta(ge=1)] | UnsetType | None,
        Meta(description="Its lifetime in seconds; null is none."),
    ] = UNSET


AddressesFact = Annotated[
    list[Address],
    Meta(min_length=1, description="Where the node can be dialled, the first one first."),
]
EndpointIdFact = Annotated[
    Hex32, Meta(description="The node's endpoint id: 32 bytes in lower-case hex.")
]
InstanceIdFact = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        description="Another one after every start, so that a restart is noticed.",
    ),
]
CapabilitiesFact = Annotated[
    list[NonEmptyText],
    Meta(
        description="Which parts of the profile the node offers, by the names in the table of "
        "capabilities; the required ones have to be among them.",
        extra_json_schema={"uniqueItems": True},
    ),
]
PayloadCapFact = Annotated[
    int,
    Meta(
        ge=7,
        le=U32_MAX,
        description="Largest payload of a frame that the node takes, in bytes.",
    ),
]
DeadlinesFact = Annotated[Deadlines, Meta(description="How long the node waits, in seconds.")]
RedialFact = Annotated[
    Seconds,
    Meta(
        description="How long the node waits at most, in seconds, before it dials an address again "
        "to which it keeps a connection."
    ),
]

ControlFact = Annotated[
    NonEmptyText,
    Meta(
        description="Path of the control socket at which the node serves its user; in a target "
        "file that from its folder."
    ),
]


class Enrollment(Strict, frozen=True, kw_only=True):
    """Where and into which mesh a node enrolls others."""

    addresses: Annotated[
        list[Address], Meta(min_length=1, description="Where nodes enroll, the first one first.")
    ]
    mesh_id: Annotated[str, Meta(description="Id of the mesh.")]
    authority: Annotated[Hex32, Meta(description="Public key that signs its certificates.")]


class NodeFacts(Strict, frozen=True, kw_only=True):
    """The facts about a node, from its ready line or a target file.

    Raises ValueError if two members contradict each other.
    """

    addresses: AddressesFact
    endpoint_id: EndpointIdFact | UnsetType = UNSET
    instance_id: InstanceIdFact | UnsetType = UNSET
    profile: Annotated[Literal["sync/1"], Meta(description="The profile that the node speaks.")]
    dialect: Annotated[
        Literal["open", "H1", "H2"],
        Meta(
            description="How a peer proves itself, and in which dialect the node dials first; "
            "`open` is no handshake at all."
        ),
    ]
    formation_id: Annotated[
        Annotated[str, Meta(max_length=FORMATION_ID_MAX)] | UnsetType,
        Meta(description="The formation that a peer has to prove it belongs to."),
    ] = UNSET
    capabilities: CapabilitiesFact | UnsetType = UNSET
    payload_cap: PayloadCapFact | UnsetType = UNSET
    deadlines: DeadlinesFact | UnsetType = UNSET
    redial_s: RedialFact | UnsetType = UNSET
    control: ControlFact | UnsetType = UNSET
    enrollment: Annotated[
        Enrollment | UnsetType,
        Meta(description="Enrollment that the node serves, with the capability of this name."),
    ] = UNSET
    collections: Annotated[
        dict[str, Collection] | UnsetType,
        Meta(description="Rows of the collection table that differ from the profile's, by name."),
    ] = UNSET

    def __post_init__(self) -> None:
        """Raise ValueError if two members contradict each other."""
        if self.capabilities is not UNSET and len({*self.capabilities}) < len(self.capabilities):
            raise ValueError("`capabilities` has an entry twice")
        if self.dialect != "open" and self.formation_id is UNSET:
            raise ValueError(f"the dialect {self.dialect} needs `formation_id`")


class ReadyLine(NodeFacts, frozen=True, kw_only=True):
    """The one line of JSON that a node prints when it can be reached.

    The facts are those of a target file; it holds no secret and no path of one.
    """

    endpoint_id: EndpointIdFact
    instance_id: InstanceIdFact
    capabilities: CapabilitiesFact
    payload_cap: PayloadCapFact
    deadlines: DeadlinesFact
    metrics: Annotated[
        NonEmptyText | UnsetType,
        Meta(description="URL at which the node serves its counters to Prometheus, if it does."),
    ] = UNSET


class TargetFile(NodeFacts, frozen=True, kw_only=True):
    """The facts about a node that the suite did not start, as TOML.

    The facts are those of a ready line, and where the secret is.
    """

    formation_secret_file: Annotated[
        NonEmptyText | UnsetType,
        Meta(
            description="Path of the file with the formation's secret in base64, from the folder "
            "of the target file."
        ),
    ] = UNSET

    def __post_init__(self) -> None:
        """Raise ValueError if two members contradict each other."""
        super().__post_init__()
        if self.dialect != "open" and self.formation_secret_file is UNSET:
            raise ValueError(f"the dialect {self.dialect} needs `formation_secret_file`")


def _proves(*members: str) -> Schema:
    """Return the schema of the check in `__post_init__`: which members a handshake requires."""
    proven = {"properties": {"dialect": {"enum": ["H1", "H2"]}}, "required": ["dialect"]}
    return {"if": proven, "then": {"required": list(members)}}


READY_CONDITIONS: Conditions = {ReadyLine: _proves("formation_id")}
TARGET_CONDITIONS: Conditions = {TargetFile: _proves("formation_id", "formation_secret_file")}
