"""Reads the fields of a document from its patches, without reading a value through the library.

`get` panics on a Counter, on an unknown scalar and on a timestamp past the year 9999. The patches
from an empty document to the heads have type and value of every field. A patch has no other
interface than its text, in the notation of Rust's derived `Debug`: names with arguments
`Scalar(Int(5))`, records `Patch { obj: Root }`, tuples, lists, strings, characters and numbers.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from meshwire_reference.core.document_calls import Scalar, Value

TOKEN: Final = re.compile(
    r"""\s*(?:
    (?P<text>"(?:[^"\\]|\\.)*") |
    (?P<character>'(?:[^'\\]|\\u\{[0-9a-f]+\}|\\.)') |
    (?P<number>-?[0-9][0-9.]*(?:e[+-]?[0-9]+)?) |
    (?P<name>-?[A-Za-z_]\w*) |
    (?P<mark>[][(){},:])
    )""",
    re.VERBOSE | re.DOTALL,
)
ESCAPE: Final = re.compile(r"\\(?:u\{([0-9a-f]+)\}|(.))", re.DOTALL)
ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}
FLOATS: Final = ("inf", "-inf", "NaN")


@dataclass(frozen=True, slots=True)
class Named:
    """A name followed by arguments, by the fields of a record, or by nothing."""

    name: str
    arguments: tuple["Parsed", ...] = ()
    fields: dict[str, "Parsed"] = field(default_factory=dict)


Parsed: TypeAlias = Named | str | int | float | list["Parsed"] | tuple["Parsed", ...]


class UnreadableText(Exception):
    """The text is not in the notation; the library has changed."""


def unescape(quoted: str) -> str:
    """Return the text of a quoted string or character."""

    def one(match: re.Match[str]) -> str:
        code, letter = match.groups()
        return chr(int(code, 16)) if code else ESCAPED.get(letter, letter)

    inner = quoted[1:-1]
    return ESCAPE.sub(one, inner) if "\\" in inner else inner


class DebugReader:
    """Walks over one text. Raises UnreadableText where it leaves the notation."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0

    def read(self) -> Parsed:
        """Read one value."""
        kind, word = self._next()
        if kind in ("text", "character"):
            return unescape(word)
        if kind == "number":
            return float(word) if "." in word or "e" in word else int(word)
        if kind == "name":
            return float(word) if word in FLOATS else self._named(word)
        if word == "[":
            return self._items("]")
        if word == "(":
            return tuple(self._items(")"))
        raise UnreadableText(f"{word!r} at {self._offset}")

    def _next(self) -> tuple[str, str]:
        match = TOKEN.match(self._text, self._offset)
        if match is None or match.lastgroup is None:
            raise UnreadableText(f"no token at {self._offset}")
        self._offset = match.end()
        return match.lastgroup, match[match.lastgroup]

    def _takes(self, mark: str) -> bool:
        match = TOKEN.match(self._text, self._offset)
        if match is None or match["mark"] != mark:
            return False
        self._offset = match.end()
        return True

    def _named(self, name: str) -> Named:
        if self._takes("("):
            return Named(name, tuple(self._items(")")))
        if self._takes("{"):
            return Named(name, fields=self._fields())
        return Named(name)

    def _items(self, closing: str) -> list[Parsed]:
        items: list[Parsed] = []
        while not self._takes(closing):
            items.append(self.read())
            self._takes(",")
        return items

    def _fields(self) -> dict[str, Parsed]:
        fields: dict[str, Parsed] = {}
        while not self._takes("}"):
            kind, name = self._next()
            if kind != "name" or not self._takes(":"):
                raise UnreadableText(f"no field name at {self._offset}")
            fields[name] = self.read()
            self._takes(",")
        return fields


def read_text(text: str) -> Parsed:
    """Read the text form of one value. Raises UnreadableText."""
    return DebugReader(text).read()


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
    """The place of an object in its parent; its content is collected under its id."""

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
    """Return the identity of an object."""
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
