"""The parts of a document that hold state: registers, lists, structs, bare values.

A list is a tree: each element hangs below the one that it was inserted after, and siblings are
sorted. Its order is that of a walk, depth first, so an insertion costs a search among siblings
and never one in the list. The walk is made again only when the order is asked for.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from meshwire_reference.oplog.operations import ROOT, Operation, Path, hash_text, id_text_of
from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.schema import (
    BareSchema,
    ListSchema,
    RegisterSchema,
    Schema,
    StructSchema,
    TypeMismatch,
    Unbuildable,
    default_value,
    take_value,
)
from meshwire_reference.oplog.values import JsonValue

# What orders two writes of a register; the larger one stays. See `write_rank`.
Rank = tuple[int, bytes, bytes, bytes]

_COMPLEMENT = bytes(0xFF - value for value in range(0x100))


def write_rank(sequence: int, author: bytes, signer: bytes, last: bytes) -> Rank:
    """Return the rank of a write: larger sequence, then smaller author, signer and `last`.

    Of a number of keys the smaller one must win, so their bytes are complemented.
    """
    return (
        sequence,
        author.translate(_COMPLEMENT),
        signer.translate(_COMPLEMENT),
        last.translate(_COMPLEMENT),
    )


@dataclass(slots=True)
class BareNode:
    """A value without operations of its own."""

    value: JsonValue

    def view(self) -> JsonValue:
        """Return the value."""
        return self.value


@dataclass(slots=True)
class RegisterNode:
    """A value, and the rank of the write that it comes from."""

    schema: RegisterSchema
    # The author whom local writes name: the id of the item around it, or None at the top.
    owner: bytes | None
    value: JsonValue
    rank: Rank
    sequence: int

    def view(self) -> JsonValue:
        """Return the value."""
        return self.value

    def write(self, value: JsonValue, rank: Rank) -> None:
        """Take `value` if its rank is larger than that of the present one."""
        if rank > self.rank:
            self.value = value
            self.rank = rank
        self.sequence = max(self.sequence, rank[0])


@dataclass(slots=True, eq=False)
class ListElement:
    """One element of a list; a deleted one keeps its content and its children."""

    id: bytes
    rank: tuple[int, bytes, bytes]
    node: "DocumentNode | None"
    # At `strict`: that of the insertion; empty for an element of inserted content.
    signed_digest: bytes = b""
    is_deleted: bool = False
    # Sorted by rank, so that the last one comes first in the list.
    children: "list[ListElement]" = field(default_factory=list)


def _element_rank(element: ListElement) -> tuple[int, bytes, bytes]:
    return element.rank


@dataclass(slots=True)
class ListNode:
    """The elements of one list."""

    schema: ListSchema
    path: Path
    owner: bytes | None
    elements: dict[bytes, ListElement]
    sequence: int = 0
    # At level `wire`: operations that wait for their origin, by its id.
    waiting: dict[bytes, list[Operation]] = field(default_factory=dict)
    _walked: list[ListElement] | None = None

    def insert(self, element: ListElement, origin: bytes) -> None:
        """Hang `element` below the element `origin`, which the list must have."""
        siblings = self.elements[origin].children
        # The common case is a larger sequence than any before: no search.
        if not siblings or siblings[-1].rank < element.rank:
            siblings.append(element)
        else:
            # Of two equal ranks the first to arrive comes first in the list, so last here.
            siblings.insert(bisect_left(siblings, element.rank, key=_element_rank), element)
        self.elements[element.id] = element
        self.sequence = max(self.sequence, element.rank[0])
        self._walked = None

    def delete(self, element_id: bytes) -> None:
        """Mark the element as deleted."""
        self.elements[element_id].is_deleted = True

    def walk(self) -> list[ListElement]:
        """Return every element in the order of the list, from the root, with deleted ones."""
        if self._walked is None:
            walked: list[ListElement] = []
            pending = [self.elements[ROOT]]
            while pending:
                element = pending.pop()
                walked.append(element)
                pending.extend(element.children)
            self._walked = walked
        return self._walked

    def shown(self) -> Iterator["DocumentNode"]:
        """Yield the content of each element that is neither deleted nor without content."""
        for element in self.walk():
            if element.node is not None and not element.is_deleted:
                yield element.node

    def view(self) -> JsonValue:
        """Return the elements that are shown."""
        return [node.view() for node in self.shown()]

    @property
    def waiting_count(self) -> int:
        """The number of operations that wait for their origin."""
        return sum(map(len, self.waiting.values()))


@dataclass(slots=True)
class StructNode:
    """Named fields."""

    path: Path
    fields: "dict[str, DocumentNode]"

    def view(self) -> JsonValue:
        """Return an object with the view of every field."""
        return {name: node.view() for name, node in self.fields.items()}


DocumentNode = BareNode | RegisterNode | ListNode | StructNode


def _initial_rank(owner: bytes | None) -> Rank:
    """Return the rank of the first value: sequence 1 by the item, or less than any write."""
    if owner is None:
        return write_rank(0, ROOT, ROOT, ROOT)
    # It stays in a tie: whatever is written comes after it on every node.
    return write_rank(1, owner, ROOT, ROOT)


def empty_list(schema: ListSchema, path: Path, owner: bytes | None) -> ListNode:
    """Return a list without elements but the root."""
    root = ListElement(ROOT, (0, b"", b""), None)
    return ListNode(schema, path, owner, {ROOT: root})


def new_node(schema: Schema, path: Path = ()) -> DocumentNode:
    """Return the node of `schema` in a new document."""
    match schema:
        case BareSchema(kind):
            return BareNode(default_value(kind))
        case RegisterSchema():
            return RegisterNode(schema, None, None, _initial_rank(None), 0)
        case ListSchema():
            return empty_list(schema, path, None)
        case StructSchema(fields):
            nodes = {name: new_node(part, (*path, name)) for name, part in fields.items()}
            return StructNode(path, nodes)


def build_node(
    schema: Schema, value: JsonValue, owner: bytes, path: Path, level: Level
) -> DocumentNode:
    """Return the node of inserted content; raise TypeMismatch if `value` does not fit `schema`."""
    match schema:
        case BareSchema(kind):
            return BareNode(take_value(kind, value, level))
        case RegisterSchema():
            shown = register_value(schema, value, level)
            return RegisterNode(schema, owner, shown, _initial_rank(owner), 1)
        case ListSchema():
            return _build_list(schema, value, owner, path, level)
        case StructSchema(fields):
            return _build_struct(fields, value, owner, path, level)


def register_value(schema: RegisterSchema, value: JsonValue, level: Level) -> JsonValue:
    """Return what a register shows of a written value; at `strict` raise TypeMismatch."""
    if value is None and schema.is_optional:
        return None
    try:
        return take_value(schema.kind, value, level)
    except TypeMismatch:
        if level is Level.STRICT:
            raise
        return None


def build_element(
    schema: ListSchema, operation_id: bytes, value: JsonValue, path: Path, level: Level
) -> DocumentNode | None:
    """Return the content of an element; at `wire` None if `value` does not fit."""
    try:
        return build_node(schema.element, value, operation_id, path, level)
    except Unbuildable:
        raise
    except TypeMismatch:
        if level is Level.STRICT:
            raise
        return None


def _build_list(
    schema: ListSchema, value: JsonValue, owner: bytes, path: Path, level: Level
) -> ListNode:
    """Return a list as if each element had been inserted after the one before, by `owner`."""
    if not isinstance(value, list):
        raise TypeMismatch
    node = empty_list(schema, path, owner)
    origin = ROOT
    for sequence, content in enumerate(value, 1):
        text = id_text_of(origin, owner, sequence, content, is_deleted=False)
        element_id = hash_text(text)
        built = build_element(schema, element_id, content, (*path, element_id), level)
        rank = element_rank(sequence, owner, element_id, level)
        node.insert(ListElement(element_id, rank, built), origin)
        origin = element_id
    return node


def element_rank(
    sequence: int, author: bytes, element_id: bytes, level: Level
) -> tuple[int, bytes, bytes]:
    """Return what orders siblings: larger sequence, then larger author come first."""
    # At `strict` the id makes the order total (D-164); deployed peers go by arrival.
    return sequence, author, element_id if level is Level.STRICT else b""


def _build_struct(
    fields: Mapping[str, Schema], value: JsonValue, owner: bytes, path: Path, level: Level
) -> StructNode:
    if not isinstance(value, dict):
        raise TypeMismatch
    nodes: dict[str, DocumentNode] = {}
    for name, schema in fields.items():
        if name not in value:
            raise Unbuildable
        try:
            nodes[name] = build_node(schema, value[name], owner, (*path, name), level)
        except TypeMismatch as exc:
            raise Unbuildable from exc
    return StructNode(path, nodes)
