"""Reading of the text form that the library prints of its patches.

A patch has no other interface than its text, in the notation of Rust's derived `Debug`: names
with arguments `Scalar(Int(5))`, records `Patch { obj: Root }`, tuples, lists, strings, characters
and numbers.
"""

import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

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
CLOSING: Final = {"(": ")", "[": "]", "{": "}"}
FLOATS: Final = ("inf", "-inf", "NaN")


@dataclass(frozen=True, slots=True)
class Named:
    """A name with what stands behind it: arguments, or fields of a record, or nothing."""

    name: str
    arguments: tuple["Parsed", ...] = ()
    fields: dict[str, "Parsed"] = field(default_factory=dict)


Parsed: TypeAlias = Named | str | int | float | list["Parsed"] | tuple["Parsed", ...]


class UnreadableText(Exception):
    """The text is not in the notation; the library has changed."""


def unescape(quoted: str) -> str:
    """Return the text that a quoted string or character stands for."""

    def one(match: re.Match[str]) -> str:
        code, letter = match.groups()
        return chr(int(code, 16)) if code else ESCAPED.get(letter, letter)

    inner = quoted[1:-1]
    return ESCAPE.sub(one, inner) if "\\" in inner else inner


class Reader:
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
    return Reader(text).read()
