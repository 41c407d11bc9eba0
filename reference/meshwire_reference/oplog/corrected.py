"""How a correct node applies an operation to a document: the rules of level `strict`.

The whole path is checked against the schema, and nothing is refused for coming early: what the
path or the origin names and is not there yet is waited for.
"""

from meshwire_reference.oplog.canonical import CANONICAL_VERSION
from meshwire_reference.oplog.nodes import (
    BareNode,
    DocumentNode,
    ListElement,
    ListNode,
    RegisterNode,
    StructNode,
    build_element,
    element_rank,
    register_value,
    write_rank,
)
from meshwire_reference.oplog.operations import ROOT, Operation, Path, SignedOperation
from meshwire_reference.oplog.outcomes import (
    BAD_AUTHOR,
    BAD_PATH,
    BAD_TYPE,
    EMPTY_ELEMENT,
    OK,
    PATH_END,
    PRIMITIVE,
    ROOT_DELETED,
    SEQUENCE_JUMP,
    STRUCT,
    Level,
    OperationOutcome,
    Waits,
)
from meshwire_reference.oplog.schema import TypeMismatch
from meshwire_reference.oplog.values import ABSENT


def enclosing_item(path: Path) -> bytes | None:
    """Return the id of the innermost element around the target of `path`, if it has one."""
    return next((part for part in reversed(path[:-1]) if isinstance(part, bytes)), None)


def author_fault(signed: SignedOperation) -> OperationOutcome | None:
    """Return a refusal if the inner author is neither the signer nor the enclosing item."""
    # D-116
    inner = signed.inner
    # OP-064
    if inner.version == CANONICAL_VERSION:
        return None if inner.author == signed.author else BAD_AUTHOR
    if inner.author in (signed.author, enclosing_item(inner.path)):
        return None
    return BAD_AUTHOR


# OP-033
def apply_corrected(
    document: StructNode, signed: SignedOperation, sequence_max: int
) -> OperationOutcome | Waits:
    """Apply the operation of `signed` to `document`, unless it is refused or has to wait.

    A sequence above `sequence_max` is refused only where nothing is waited for any more.
    """
    path = signed.inner.path
    node: DocumentNode = document
    for depth, segment in enumerate(path):
        rest = len(path) - depth
        match node:
            case StructNode(fields=fields):
                if not isinstance(segment, str) or segment not in fields:
                    return BAD_PATH
                node = fields[segment]
            case ListNode():
                if rest == 1:
                    return _integrate(node, signed, sequence_max)
                found = _enter_element(node, segment, path[:depth])
                if not isinstance(found, DocumentNode):
                    return found
                node = found
            case RegisterNode():
                return _write(node, signed, rest, sequence_max)
            case BareNode():
                return PRIMITIVE
    return _ended_early(node)


def _ended_early(node: DocumentNode) -> OperationOutcome:
    """Return the refusal of a path that ends at `node`."""
    if isinstance(node, StructNode):
        return STRUCT
    return PRIMITIVE if isinstance(node, BareNode) else PATH_END


def _enter_element(
    node: ListNode, segment: str | bytes, path: Path
) -> DocumentNode | OperationOutcome | Waits:
    if not isinstance(segment, bytes):
        return BAD_PATH
    element = node.elements.get(segment)
    # D-119: the target is a dependency, whether it is declared or not.
    if element is None:
        return Waits((path, segment))
    return EMPTY_ELEMENT if element.node is None else element.node


def _write(
    node: RegisterNode, signed: SignedOperation, rest: int, sequence_max: int
) -> OperationOutcome:
    operation = signed.inner
    # D-163
    if rest != 1 or operation.path[-1] != operation.id:
        return PATH_END
    content = ABSENT if operation.is_deleted else operation.content
    try:
        value = None if content is ABSENT else register_value(node.schema, content, Level.STRICT)
    except TypeMismatch:
        # D-121
        return BAD_TYPE
    # D-122
    if operation.sequence > sequence_max:
        return SEQUENCE_JUMP
    # D-162 where the item is the inner author, D-164 where the signer is.
    last = operation.id if operation.author == signed.author else signed.signed_digest
    node.write(value, write_rank(operation.sequence, operation.author, signed.author, last))
    return OK


def _integrate(
    node: ListNode, signed: SignedOperation, sequence_max: int
) -> OperationOutcome | Waits:
    operation = signed.inner
    last = operation.path[-1]
    # D-163: the path ends in the element, that which is new or that which is deleted.
    if last != (operation.origin if operation.is_deleted else operation.id):
        return PATH_END
    if operation.is_deleted:
        return _delete(node, operation, sequence_max)
    assert operation.content is not ABSENT, "has_valid_id comes first"
    try:
        content = build_element(
            node.schema, operation.id, operation.content, operation.path, Level.STRICT
        )
    except TypeMismatch:
        # D-120
        return BAD_TYPE
    if operation.origin not in node.elements:
        return Waits((operation.path[:-1], operation.origin))
    if operation.sequence > sequence_max:
        return SEQUENCE_JUMP
    if operation.id not in node.elements:
        rank = element_rank(operation.sequence, operation.author, operation.id, Level.STRICT)
        element = ListElement(operation.id, rank, content, signed.signed_digest)
        node.insert(element, operation.origin)
    return OK


def _delete(node: ListNode, operation: Operation, sequence_max: int) -> OperationOutcome | Waits:
    # D-124
    if operation.origin == ROOT:
        return ROOT_DELETED
    if operation.origin not in node.elements:
        return Waits((operation.path[:-1], operation.origin))
    if operation.sequence > sequence_max:
        return SEQUENCE_JUMP
    node.delete(operation.origin)
    return OK
