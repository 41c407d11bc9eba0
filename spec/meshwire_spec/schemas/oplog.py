"""Formats of the profile `oplog/1`: what peers send as JSON, and files of vectors."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from meshwire_spec.schemas.base import CaseId, CaseTitle, Results, RuleIds, Source, Strict

Byte = Annotated[int, Meta(ge=0, le=255)]
KeyBytes = Annotated[list[Byte], Meta(min_length=32, max_length=32, description="32 bytes.")]
SignatureBytes = Annotated[list[Byte], Meta(min_length=64, max_length=64, description="64 bytes.")]
KeyText = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="32 bytes.")]
SignatureText = Annotated[str, Meta(pattern="^[0-9a-f]{128}$", description="64 bytes.")]
OplogKind = Literal[
    "oplog_text", "oplog_signature", "oplog_history", "oplog_join", "oplog_canonical"
]


class InnerOperation(Strict, frozen=True, kw_only=True):
    """The change itself."""

    origin: KeyBytes
    author: KeyBytes
    seq: Annotated[int, Meta(ge=0, description="The sequence, at most 2^64-1.")]
    content: Annotated[Any, Meta(description="A JSON value; null also in a deletion.")]
    path: Annotated[
        list[dict[Literal["Field", "Index"], str | KeyBytes]],
        Meta(description="Segments, each with one member: the name of a field, or 32 bytes."),
    ]
    is_deleted: bool
    id: KeyBytes


class SignedOperation(Strict, frozen=True, kw_only=True):
    """An operation with its signature, in the spelling that the reference writes."""

    inner: InnerOperation
    author: KeyBytes
    signed_digest: SignatureBytes
    depends_on: list[SignatureBytes]


class LiveFrame(Strict, frozen=True, kw_only=True):
    """A binary message: the envelope of one operation."""

    v: Literal[1]
    op: SignedOperation


class CanonicalInner(Strict, frozen=True, kw_only=True):
    """The change itself, in version 2."""

    origin: KeyText
    author: KeyText
    seq: Annotated[int, Meta(ge=0, le=2**53 - 1, description="The sequence.")]
    content: Annotated[
        Any, Meta(description="A JSON value; a deletion without content leaves it out.")
    ] = UNSET
    path: Annotated[
        list[dict[Literal["Field", "Index"], str]],
        Meta(description="Segments, each with one member: the name of a field, or 64 digits."),
    ]
    is_deleted: bool
    id: KeyText


class CanonicalOperation(Strict, frozen=True, kw_only=True):
    """An operation of version 2 with its signature."""

    inner: CanonicalInner
    author: KeyText
    signed_digest: SignatureText
    depends_on: list[SignatureText]


class CanonicalFrame(Strict, frozen=True, kw_only=True):
    """A binary message, and a text of a bulk: the envelope of one operation of version 2."""

    v: Literal[2]
    op: CanonicalOperation


class BulkFrame(Strict, frozen=True, kw_only=True):
    """The first text message of each side; a bulk may come in several."""

    type: Literal["bulk"]
    ops: Annotated[
        list[str],
        Meta(description="Each is the JSON text of a signed operation, or of its envelope."),
    ]
    versions: Annotated[
        list[int] | UnsetType, Meta(description="In the first: what the sender reads.")
    ] = UNSET
    node: Annotated[
        Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | UnsetType,
        Meta(description="In the first: the id of the sender."),
    ] = UNSET
    mesh: Annotated[
        bool | UnsetType, Meta(description="In the first: true if it was dialled for the mesh.")
    ] = UNSET


class SingleFrame(Strict, frozen=True, kw_only=True):
    """A text message with one operation, which old peers send."""

    type: Literal["op"]
    op: Annotated[str, Meta(description="The JSON text of a signed operation.")]


class OplogVector(Strict, frozen=True, kw_only=True):
    """A vector of signed operations: lines of a recording, and what each level requires."""

    id: CaseId
    kind: OplogKind
    title: CaseTitle
    rules: RuleIds
    recorded: Annotated[
        Literal["ids", "ed25519", "apply", "panics", "joins", "canonical", "histories"],
        Meta(
            description="The recording, a file in `../recorded`; `joins`, `canonical` and "
            "`histories` are files in `../hand`."
        ),
    ]
    n: Annotated[
        list[Annotated[int, Meta(ge=0)]],
        Meta(min_length=1, description="The numbers `n` of its lines."),
    ]
    result: Results
    source: Source


class OplogFile(Strict, frozen=True, kw_only=True):
    """A file of vectors of signed operations."""

    part: Literal["oplog"]
    vectors: list[OplogVector]
