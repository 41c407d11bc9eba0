"""How deployed peers apply an operation to a document, as recorded: the rules of level `wire`.

A struct checks only that its own path begins that of the operation, a list goes by the length of
the path, and a register does not look at the path at all. An id is compared where the operation
arrives in a list or register, not before.
"""

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
from meshwire_reference.oplog.operations import Operation, has_valid_id
from meshwire_reference.oplog.outcomes import (
    BAD_HASH,
    BAD_PATH,
    BAD_TYPE,
    EMPTY_ELEMENT,
    MISSING,
    OK,
    PRIMITIVE,
    STRUCT,
    Level,
    OperationOutcome,
)
from meshwire_reference.oplog.schema import Unbuildable
from meshwire_reference.oplog.values import ABSENT


def apply_recorded(document: StructNode, operation: Operation) -> OperationOutcome:
    """Apply `operation` to `document` as deployed peers do."""
    node: DocumentNode = document
    while True:
        match node:
            case StructNode():
                found = _enter_struct(node, operation)
            case ListNode():
                found = _enter_list(node, operation)
            case RegisterNode():
                return _write(node, operation)
            case BareNode():
                return PRIMITIVE
        if isinstance(found, OperationOutcome):
            return found
        node = found


def _enter_struct(node: StructNode, operation: Operation) -> DocumentNode | OperationOutcome:
    depth = len(node.path)
    if operation.path[:depth] != node.path:
        return BAD_PATH
    if len(operation.path) == depth:
        return STRUCT
    segment = operation.path[depth]
    if not isinstance(segment, str):
        return BAD_PATH
    return node.fields.get(segment, BAD_PATH)


def _enter_list(node: ListNode, operation: Operation) -> DocumentNode | OperationOutcome:
    if not has_valid_id(operation):
        return BAD_HASH
    depth = len(node.path)
    if len(operation.path) - 1 <= depth:
        try:
            return _integrate(node, operation)
        except Unbuildable:
            # D-120: the deployed peer ends here with a crash.
            return BAD_TYPE
    segment = operation.path[depth]
    if not isinstance(segment, bytes) or segment not in node.elements:
        return BAD_PATH
    inner = node.elements[segment].node
    return EMPTY_ELEMENT if inner is None else inner


def _write(node: RegisterNode, operation: Operation) -> OperationOutcome:
    if not has_valid_id(operation):
        return BAD_HASH
    content = operation.content
    value = None if content is ABSENT else register_value(node.schema, content, Level.WIRE)
    node.write(value, write_rank(operation.sequence, operation.author, b"", b""))
    return OK


def _integrate(node: ListNode, operation: Operation) -> OperationOutcome:
    """Insert or delete, then what waited for the element, in the order of a recursion."""
    # Content is built before the origin is looked up, also for a deletion.
    _content_of(node, operation)
    if operation.origin not in node.elements:
        node.waiting.setdefault(operation.origin, []).append(operation)
        return MISSING
    pending = [operation]
    while pending:
        pending.extend(reversed(_place(node, pending.pop())))
    return OK


def _content_of(node: ListNode, operation: Operation) -> DocumentNode | None:
    if operation.content is ABSENT:
        return None
    return build_element(node.schema, operation.id, operation.content, operation.path, Level.WIRE)


def _place(node: ListNode, operation: Operation) -> list[Operation]:
    """Insert or delete one element; return what waited for it."""
    if operation.is_deleted:
        node.delete(operation.origin)
        return []
    if operation.id in node.elements:
        return []
    rank = element_rank(operation.sequence, operation.author, operation.id, Level.WIRE)
    node.insert(ListElement(operation.id, rank, _content_of(node, operation)), operation.origin)
    return node.waiting.pop(operation.id, [])
