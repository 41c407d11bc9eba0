"""Making operations: an author changes its own replica and signs what others are to apply.

At `strict` the signer is the inner author too, the sequence is above every known one, and the
insertion of the element around the target is declared as a dependency (D-119, D-162). At `wire`
an operation is made as deployed peers make it, which vectors need.
"""

from collections.abc import Callable
from dataclasses import replace

from meshwire_reference.oplog.canonical import CANONICAL_VERSION, canonical_content
from meshwire_reference.oplog.nodes import DocumentNode, ListNode, RegisterNode, StructNode
from meshwire_reference.oplog.operations import (
    ROOT,
    SEQUENCE_MAX,
    SIGNATURE_SIZE,
    Operation,
    Path,
    SignedOperation,
    hash_text,
    id_text,
    signed_text,
)
from meshwire_reference.oplog.outcomes import State
from meshwire_reference.oplog.replica import Replica
from meshwire_reference.oplog.signatures import Signer
from meshwire_reference.oplog.values import ABSENT, Content, JsonValue, Unreadable


class Unauthored(Exception):
    """A change that the caller cannot make: there is no such target, or the value does not fit."""


def first_version() -> int:
    """Return the version that every peer reads."""
    return 1


class OperationAuthor:
    """A signer and the replica that it changes."""

    def __init__(
        self, signer: Signer, replica: Replica, version: Callable[[], int] = first_version
    ) -> None:
        self.signer = signer
        self.replica = replica
        # Which version the next operation has.
        self._version = version

    def insert(self, path: Path, after: bytes, value: JsonValue) -> SignedOperation:
        """Insert `value` into the list at `path`, after the element `after`; raise Unauthored."""
        node = self._list(path)
        if after not in node.elements:
            raise Unauthored("no such element")
        return self._sign(path, after, value, self._name_of(node), is_deleted=False)

    def append(self, path: Path, value: JsonValue) -> SignedOperation:
        """Insert `value` at the end of the list at `path`; raise Unauthored."""
        return self.insert(path, self._list(path).walk()[-1].id, value)

    def delete(self, path: Path, element: bytes) -> SignedOperation:
        """Delete `element` from the list at `path`; raise Unauthored."""
        node = self._list(path)
        if element not in node.elements or element == ROOT:
            raise Unauthored("no such element")
        return self._sign(path, element, ABSENT, self._name_of(node), is_deleted=True)

    def set(self, path: Path, value: JsonValue) -> SignedOperation:
        """Write `value` into the register at `path`; raise Unauthored."""
        node = self.find(path)
        if not isinstance(node, RegisterNode):
            raise Unauthored("no register")
        return self._sign(path, ROOT, value, self._name_of(node), is_deleted=False)

    def find(self, path: Path) -> DocumentNode | None:
        """Return the part of the document at `path`, or None."""
        node: DocumentNode | None = self.replica.document
        for segment in path:
            if isinstance(node, StructNode) and isinstance(segment, str):
                node = node.fields.get(segment)
            elif isinstance(node, ListNode) and isinstance(segment, bytes):
                element = node.elements.get(segment)
                node = None if element is None else element.node
            else:
                return None
        return node

    def _list(self, path: Path) -> ListNode:
        node = self.find(path)
        if not isinstance(node, ListNode):
            raise Unauthored("no list")
        return node

    def _name_of(self, node: ListNode | RegisterNode) -> tuple[bytes, int]:
        """Return the inner author and the sequence of the next operation on `node`."""
        if self.replica.is_strict:
            return self.signer.author, self.replica.sequence + 1
        # Deployed peers wrap to 0 after the largest number (D-122).
        return node.owner or self.signer.author, (node.sequence + 1) & SEQUENCE_MAX

    def _dependencies(self, path: Path) -> tuple[bytes, ...]:
        """Return the signed digest of the insertion of the innermost element of `path`."""
        if not self.replica.is_strict:
            return ()
        found: tuple[bytes, ...] = ()
        for depth, segment in enumerate(path):
            around = self.find(path[:depth])
            if isinstance(around, ListNode) and isinstance(segment, bytes):
                digest = around.elements[segment].signed_digest
                found = (digest,) if digest else found
        return found

    def _sign(
        self,
        path: Path,
        origin: bytes,
        content: Content,
        name: tuple[bytes, int],
        *,
        is_deleted: bool,
    ) -> SignedOperation:
        """Sign the operation, apply it to the replica and return it."""
        author, sequence = name
        version = self._version()
        if version == CANONICAL_VERSION:
            content = _canonical(content)
        # The id does not depend on the last segment, nor the digest on the signature.
        draft = Operation(
            origin, author, sequence, is_deleted, content, (*path, origin), ROOT, version
        )
        operation_id = hash_text(id_text(draft))
        whole = (*path, origin if is_deleted else operation_id)
        inner = replace(draft, path=whole, id=operation_id)
        depends_on = self._dependencies(path)
        unsigned = SignedOperation(self.signer.author, bytes(SIGNATURE_SIZE), depends_on, inner)
        digest = hash_text(signed_text(unsigned))
        signed = replace(unsigned, signed_digest=self.signer.sign(digest))
        outcome = self.replica.apply(signed)
        if outcome.state is not State.OK:
            raise Unauthored(outcome.reason or outcome.state.value)
        return signed


def _canonical(content: Content) -> Content:
    try:
        return canonical_content(content)
    except Unreadable as fault:
        raise Unauthored(str(fault)) from fault
