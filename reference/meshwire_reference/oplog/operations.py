"""Operations and signed operations, with the exact texts that their id and digest are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from meshwire_reference.oplog.canonical import (
    CANONICAL_SEQUENCE_MAX,
    CANONICAL_VERSION,
    canonical_id_text,
    canonical_signed_text,
)
from meshwire_reference.oplog.debug_text import debug_text
from meshwire_reference.oplog.values import ABSENT, Content

KEY_SIZE = 32
SIGNATURE_SIZE = 64
SEQUENCE_MAX = 2**64 - 1

# The id of the sentinel before the first element of every list.
ROOT = bytes(KEY_SIZE)

# A path leads from the document to a target: names of fields, and ids of list elements.
Segment = str | bytes
Path = tuple[Segment, ...]

# Of the id of an element in a path the digest has this many hexadecimal digits (D-115).
_INDEX_DIGITS = 6


def sequence_max(version: int) -> int:
    """Return the largest sequence that an operation of a version can have."""
    return CANONICAL_SEQUENCE_MAX if version == CANONICAL_VERSION else SEQUENCE_MAX


@dataclass(frozen=True, slots=True)
class Operation:
    """One change, as its author described it; `id` is what it claims."""

    origin: bytes
    author: bytes
    sequence: int
    is_deleted: bool
    content: Content
    path: Path
    id: bytes
    # Which texts its id and digest are made of.
    version: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for fields that no operation can have."""
        sizes = len(self.origin), len(self.author), len(self.id)
        if sizes != (KEY_SIZE, KEY_SIZE, KEY_SIZE):
            raise ValueError("origin, author and id of an operation have 32 bytes each")
        if not 0 <= self.sequence <= sequence_max(self.version):
            raise ValueError("the sequence of an operation is a 64-bit number, or 53-bit")


@dataclass(frozen=True, slots=True)
class SignedOperation:
    """An operation with the key of its signer, the signature, and what it depends on."""

    author: bytes
    signed_digest: bytes
    depends_on: tuple[bytes, ...]
    inner: Operation

    def __post_init__(self) -> None:
        """Raise ValueError for fields that no signed operation can have."""
        if len(self.author) != KEY_SIZE or len(self.signed_digest) != SIGNATURE_SIZE:
            raise ValueError("a signer has 32 bytes, a signed digest 64")
        if any(len(digest) != SIGNATURE_SIZE for digest in self.depends_on):
            raise ValueError("a dependency is a signed digest of 64 bytes")


def bytes_text(value: bytes) -> str:
    """Return `value` as `[1, 2, 3]`."""
    return str(list(value))


def id_text(operation: Operation) -> str:
    """Return the text whose SHA-256 is the id of `operation`."""
    if operation.version == CANONICAL_VERSION:
        return canonical_id_text(
            operation.origin,
            operation.author,
            operation.sequence,
            operation.content,
            operation.path[:-1],
            is_deleted=operation.is_deleted,
        )
    return id_text_of(
        operation.origin,
        operation.author,
        operation.sequence,
        operation.content,
        is_deleted=operation.is_deleted,
    )


def id_text_of(
    origin: bytes, author: bytes, sequence: int, content: Content, *, is_deleted: bool
) -> str:
    """Return the text whose SHA-256 is the id of an operation with these fields."""
    flag = "true" if is_deleted else "false"
    text = "" if content is ABSENT else debug_text(content)
    return f"{bytes_text(origin)},{bytes_text(author)},{sequence},{flag},{text}"


def path_text(path: Path) -> str:
    """Return `path` as the digest has it: joined with dots, the ids of elements shortened."""
    return ".".join(
        segment if isinstance(segment, str) else segment.hex()[:_INDEX_DIGITS] for segment in path
    )


def digest_text(operation_id: bytes, path: Path, depends_on: Sequence[bytes]) -> str:
    """Return the text whose SHA-256 the outer author signs."""
    dependencies = "".join(digest.hex() for digest in depends_on)
    return f"{bytes_text(operation_id)},{path_text(path)},{dependencies}"


def signed_text(signed: SignedOperation) -> str:
    """Return the text whose SHA-256 the outer author of `signed` signs."""
    inner = signed.inner
    if inner.version == CANONICAL_VERSION:
        return canonical_signed_text(signed.author, inner.id, inner.path, signed.depends_on)
    return digest_text(inner.id, inner.path, signed.depends_on)


def hash_text(text: str) -> bytes:
    """Return the SHA-256 of `text` in UTF-8."""
    return sha256(text.encode()).digest()


def has_valid_id(operation: Operation) -> bool:
    """Return True if `operation` has the id of its fields; without content it must delete."""
    if operation.content is ABSENT and not operation.is_deleted:
        return False
    return hash_text(id_text(operation)) == operation.id
