"""The fields of a document, learnt from its patches and never by asking for a value.

`get` panics on a Counter, on an unknown scalar and on a timestamp past the year 9999; the
difference between nothing and the heads names type and value of everything.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from meshwire_reference.core.document_calls import Scalar, Value
from meshwire_reference.documents.debug_text import Named, Parsed, UnreadableText, read_text

DEPTH_MAX: Final = 64
"""Objects nested deeper than this read as opaque: a peer chooses how deep a document goes."""

SCALAR_KINDS: Final = {
    "Null": "null",
    "Boolean": "boolean",
    "Int": "int",
    "Uint": "uint",
    "F64": "f64",
    "Str": "str",
    "Bytes": "bytes",
    "Timestamp": "timestamp",
    "Counter": "counter",
}

ObjectId: TypeAlias = tuple[str, ...]
ROOT: Final[ObjectId] = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an object stands in its parent; what it holds is gathered under its id."""

    identity: ObjectId


class Tree:
    """The objects of one document while its patches are applied in order."""

    def __init__(self) -> None:
        self._maps: dict[ObjectId, dict[str, Value | Reference]] = {ROOT: {}}
        self._lists: dict[ObjectId, list[Value | Reference]] = {}
        self._texts: dict[ObjectId, list[str]] = {}

    def apply(self, patch: Named) -> None:
        """Apply one patch; an action that sets no value (marks, conflicts) is passed over."""
        target, action = object_id(patch.fields["obj"]), patch.fields["action"]
        if not isinstance(action, Named):
            raise UnreadableText(str(action))
        fields = action.fields
        if action.name == "PutMap" and target in self._maps:
            self._maps[target][str(fields["key"])] = self._item_of(fields["value"])
        elif action.name == "Insert" and target in self._lists:
            at = int(str(fields["index"]))
            self._lists[target][at:at] = map(self._item_of, elements_of(fields["values"]))
        elif action.name == "SpliceText" and target in self._texts:
            at = int(str(fields["index"]))
            self._texts[target][at:at] = characters_of(fields["value"])

    def fields(self) -> dict[str, Value]:
        """Return the root fields, complete once every patch was applied."""
        return {key: self._resolve(item, 1) for key, item in self._maps[ROOT].items()}

    def _item_of(self, parsed: Parsed) -> Value | Reference:
        if not isinstance(parsed, tuple) or not isinstance(parsed[0], Named):
            raise UnreadableText(str(parsed))
        held = parsed[0]
        inner = held.arguments[0]
        if not isinstance(inner, Named):
            raise UnreadableText(str(held))
        if held.name == "Scalar":
            return scalar_of(inner)
        identity = object_id(parsed[1])
        if inner.name == "List":
            self._lists[identity] = []
        elif inner.name == "Text":
            self._texts[identity] = []
        else:
            self._maps[identity] = {}
        return Reference(identity)

    def _resolve(self, item: Value | Reference, depth: int) -> Value:
        if isinstance(item, Value):
            return item
        identity = item.identity
        if depth > DEPTH_MAX:
            return Value("unknown", f"an object nested deeper than {DEPTH_MAX}")
        if identity in self._lists:
            return Value("list", [self._resolve(one, depth + 1) for one in self._lists[identity]])
        if identity in self._texts:
            return Value("text", "".join(self._texts[identity]))
        held = self._maps[identity]
        return Value("map", {key: self._resolve(one, depth + 1) for key, one in held.items()})


def fields_of(patches: Iterable[object]) -> dict[str, Value]:
    """Return the root fields of the document that these patches make out of nothing.

    Raises UnreadableText when the library prints its patches in another way.
    """
    tree = Tree()
    for patch in patches:
        parsed = read_text(repr(patch))
        if not isinstance(parsed, Named):
            raise UnreadableText(repr(patch))
        tree.apply(parsed)
    return tree.fields()


def object_id(parsed: Parsed) -> ObjectId:
    """Return what tells one object from another."""
    if isinstance(parsed, Named):
        return tuple(map(str, parsed.arguments))
    raise UnreadableText(str(parsed))


def elements_of(parsed: Parsed) -> Iterable[Parsed]:
    """Return the elements of a sequence tree."""
    if isinstance(parsed, Named):
        return parsed.arguments
    raise UnreadableText(str(parsed))


def characters_of(parsed: Parsed) -> Iterator[str]:
    """Yield the characters of a text, however deep its representation wraps them."""
    if isinstance(parsed, str):
        yield parsed
    elif isinstance(parsed, Named):
        for argument in parsed.arguments:
            yield from characters_of(argument)


def scalar_of(scalar: Named) -> Value:
    """Return the value of a scalar; a counter and whatever the library does not know are opaque."""
    # DC-025
    kind = SCALAR_KINDS.get(scalar.name, "unknown")
    if kind in ("counter", "unknown"):
        return Value(kind, None)
    if kind == "null":
        return Value(kind, None)
    value = scalar.arguments[0]
    if isinstance(value, Named):
        return Value(kind, value.name == "true")
    if isinstance(value, list):
        return Value(kind, bytes(int(str(byte)) for byte in value).hex())
    plain: Scalar = value if isinstance(value, str | int | float) else str(value)
    return Value(kind, plain)
