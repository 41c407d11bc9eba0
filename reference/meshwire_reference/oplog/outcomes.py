"""What applying an operation ends in: the ten states, reasons of refusals, and the two levels."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """Which rules a replica follows: those recorded from deployed peers, or the corrected ones."""

    WIRE = "wire"
    STRICT = "strict"


class State(StrEnum):
    """The outcome of one operation, named as deployed peers name it."""

    OK = "Ok"
    ALREADY_SEEN = "AlreadySeen"
    PRIMITIVE = "ErrApplyOnPrimitive"
    STRUCT = "ErrApplyOnStruct"
    MISMATCHED_TYPE = "ErrMismatchedType"
    DIGEST_MISMATCH = "ErrDigestMismatch"
    HASH_MISMATCH = "ErrHashMismatch"
    PATH_MISMATCH = "ErrPathMismatch"
    EMPTY_ELEMENT = "ErrListApplyToEmpty"
    MISSING = "MissingCausalDependencies"
    # Deployed peers have no state for these: they accept what a strict node refuses.
    REFUSED = "Refused"


@dataclass(frozen=True, slots=True)
class OperationOutcome:
    """A state, and for a refusal the reason that a log line and a counter carry."""

    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Waits:
    """An operation that cannot be applied until `key` is there.

    A key is the signed digest of an operation, or the path of a list with the id of an element.
    """

    key: Hashable


OK = OperationOutcome(State.OK)
ALREADY_SEEN = OperationOutcome(State.ALREADY_SEEN)
MISSING = OperationOutcome(State.MISSING)
PRIMITIVE = OperationOutcome(State.PRIMITIVE, "target-is-primitive")
STRUCT = OperationOutcome(State.STRUCT, "target-is-struct")
BAD_DIGEST = OperationOutcome(State.DIGEST_MISMATCH, "bad-signature")
BAD_HASH = OperationOutcome(State.HASH_MISMATCH, "bad-id")
BAD_PATH = OperationOutcome(State.PATH_MISMATCH, "no-such-field")
PATH_END = OperationOutcome(State.PATH_MISMATCH, "path-end")
EMPTY_ELEMENT = OperationOutcome(State.EMPTY_ELEMENT, "empty-element")
BAD_TYPE = OperationOutcome(State.MISMATCHED_TYPE, "wrong-type")
BAD_AUTHOR = OperationOutcome(State.REFUSED, "inner-author")
NOT_A_MEMBER = OperationOutcome(State.REFUSED, "not-a-member")
SEQUENCE_LIMIT = OperationOutcome(State.REFUSED, "sequence-limit")
SEQUENCE_JUMP = OperationOutcome(State.REFUSED, "sequence-jump")
ROOT_DELETED = OperationOutcome(State.REFUSED, "root-delete")
# The operation has been applied, but this signature of it is not kept.
TOO_MANY_COPIES = OperationOutcome(State.ALREADY_SEEN, "copies-limit")
TOO_MANY_OF_AUTHOR = OperationOutcome(State.REFUSED, "author-limit")
TOO_LONG = OperationOutcome(State.REFUSED, "length-limit")
