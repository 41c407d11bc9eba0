"""Bytes out of what a person has: hex in its usual spellings, dumps, arrays and literals.

`read_text` tries the rows of `SPELLINGS` in their order. A text that is none of them is never taken
for the bytes of a message: `UnreadableInput` says what it looks like instead, and what helps.
"""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from meshwire_conformance.explain.hex_dumps import BYTE_DIGITS, UnreadableInput, read_dump

BYTE_MAX = 255
SHOWN = 60
"""Characters of a text that a message quotes."""
LITERAL_MAX = 2**20
"""Greatest length of a literal in characters; Python's parser takes much memory for one."""
BETWEEN = " \t\r\n\v\f:,;_-"
"""Characters that may stand between digits."""
HEX_DIGITS = "0123456789abcdefABCDEF"
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
"""Colours of a terminal."""
_OUT_OF_HEX = str.maketrans("", "", BETWEEN)
_TO_BLANKS = str.maketrans(dict.fromkeys(BETWEEN, " "))
_GROUP = re.compile(r"[0-9a-fA-F]+")
_QUOTED_HEX = re.compile(r"""[hHxX]\s*(['"])([0-9a-fA-F\s]*)\1\s*;?""")
_ESCAPE = re.compile(r"\\[xX]([0-9a-fA-F]{2})")
_AROUND_ESCAPES = re.compile(r"""[\s"'+;()]*[bB]?["']?|[\s"'+;()]*""")
_LITERAL = re.compile(r"""(?:[bB]|[rR][bB]|[bB][rR])(['"]).*\1""", re.DOTALL)
_ARRAY = re.compile(r"[{\[]([^{}\[\]]*)[}\]]")
_ELEMENT = re.compile(r"(?:\((?:byte|char|uint8_t|u8)\)\s*)?(0[xX][0-9a-fA-F]{1,2}|\d{1,3})(?:u8)?")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class BytesRead:
    """The bytes that an input gives, and the spelling that they were read from."""

    data: bytes
    spelling: str


def read_text(text: str) -> BytesRead:
    """Return the bytes that a text gives; raises UnreadableInput if it gives none without doubt."""
    text = ESCAPES.sub("", text).strip("\n\r")
    for name, read in SPELLINGS.items():
        data = read(text)
        if data is not None:
            return BytesRead(data, name)
    raise UnreadableInput(f"{text.strip()[:SHOWN]!r} is not hex: {_looks_like(text.strip())}")


def _hex(text: str) -> bytes | None:
    """Return the bytes of digits with blanks, colons, commas, dashes or lines between them."""
    digits = text.translate(_OUT_OF_HEX)
    # A colon in front begins a record of Intel HEX.
    if not digits or digits.strip(HEX_DIGITS) or text.lstrip().startswith(":"):
        return None
    try:
        return bytes.fromhex(text.translate(_TO_BLANKS))
    except ValueError:
        _refuse_half_bytes(text)
    if len(digits) % BYTE_DIGITS:
        raise UnreadableInput(f"{len(digits)} hex digits are not a whole number of bytes")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return None


def _refuse_half_bytes(text: str) -> None:
    """Raise UnreadableInput if separators in a line part the digits of a byte."""
    lines = [_GROUP.findall(line) for line in text.splitlines()]
    for groups in lines:
        # A line break may part a byte, so of several lines only what is inside of one is sure.
        sure = groups if len(lines) == 1 else groups[1:-1]
        half = next((one for one in sure if len(one) % BYTE_DIGITS), "")
        if half and len(groups) > 1:
            raise UnreadableInput(
                f"{half[:SHOWN]!r} between separators is no whole byte: of decimal numbers write "
                "an array, [1, 2], and of hex two digits for each byte"
            )


def _prefixed(text: str) -> bytes | None:
    """Return the bytes of `0x` numbers: one long one, or one for each byte or group of bytes."""
    words = [word for word in re.split(r"[\s:,;]+", text) if word]
    if not words or not all(word[:2] in {"0x", "0X"} for word in words):
        # 0x once in front of hex with separators.
        return _hex(text.strip()[2:]) if text.strip()[:2] in {"0x", "0X"} else None
    digits = [word[2:] for word in words]
    if any(not one or one.strip(HEX_DIGITS) for one in digits):
        return None
    long = next((one for one in digits if len(one) > BYTE_DIGITS and len(one) % BYTE_DIGITS), None)
    if long is not None:
        raise UnreadableInput(
            f"0x{long[:SHOWN]} has {len(long)} digits, not a whole number of bytes"
        )
    return bytes.fromhex("".join(one.zfill(BYTE_DIGITS) for one in digits))


def _quoted_hex(text: str) -> bytes | None:
    """Return the bytes of `x'0102'` or `h'0102'`, as SQL and CBOR write them."""
    found = _QUOTED_HEX.fullmatch(text.strip())
    return _hex(found[2]) if found else None


def _escaped(text: str) -> bytes | None:
    r"""Return the bytes of `\x01\x02`, with or without quotes around its pieces."""
    pieces = _ESCAPE.split(text)
    if len(pieces) == 1 or not all(_AROUND_ESCAPES.fullmatch(piece) for piece in pieces[::2]):
        return None
    return bytes.fromhex("".join(pieces[1::2]))


def _literal(text: str) -> bytes | None:
    """Return the bytes of a literal of Python, in which printable bytes stand as they are."""
    if not _LITERAL.fullmatch(text.strip()) or len(text) > LITERAL_MAX:
        return None
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise UnreadableInput(f"{text.strip()[:SHOWN]!r} is not a literal of bytes") from None
    return value if isinstance(value, bytes) else None


def _array(text: str) -> bytes | None:
    """Return the bytes of an array of numbers in C, Go, Rust, Java, Python or JavaScript."""
    # The first brackets of a C declaration are empty: `unsigned char name[] = {...}`.
    found = [one for one in _ARRAY.findall(_COMMENT.sub("", text)) if "," in one or "0x" in one]
    if not found:
        return None
    elements = [part.strip() for part in found[0].split(",") if part.strip()]
    numbers = [_ELEMENT.fullmatch(part) for part in elements]
    if not all(numbers):
        return None
    words = [number[1] for number in numbers if number]
    octal = next((word for word in words if word.isdigit() and word != "0" and word[0] == "0"), "")
    if octal:
        raise UnreadableInput(f"the array has {octal}, which is octal or decimal; write it as 0x..")
    values = [int(word, 0) for word in words]
    if max(values) > BYTE_MAX:
        raise UnreadableInput(f"the array has the number {max(values)}, which is not a byte")
    if len(found) > 1:
        raise UnreadableInput(f"the text has {len(found)} arrays; give one")
    return bytes(values)


SPELLINGS: Mapping[str, Callable[[str], bytes | None]] = {
    "hex dump": read_dump,
    "hex": _hex,
    "0x numbers": _prefixed,
    "quoted hex": _quoted_hex,
    r"\x escapes": _escaped,
    "literal of bytes": _literal,
    "array of bytes": _array,
}
"""Functions that read a text, each None for a text of another spelling."""

_TEXTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"0[0-7]{6}\s+\S"),
        "it is a dump without hex bytes; use `od -A x -t x1`",
    ),
    (re.compile(r":[0-9A-Fa-f]{8,}(?:\s|$)"), "it is Intel HEX; convert it to binary first"),
    (
        re.compile(r"S[0-9][0-9A-Fa-f]{6,}(?:\s|$)"),
        "it is S-records; convert them to binary first",
    ),
    (re.compile(r"-----BEGIN "), "it is PEM, base64 in an envelope"),
    (re.compile(r"begin [0-7]{3} "), "it is uuencoded; use `uudecode`"),
    (re.compile(r"[A-Z]+ \S+ HTTP/1|HTTP/1"), "it is HTTP"),
    (re.compile(r"<\?xml|<!DOCTYPE|<html|<testsuites", re.IGNORECASE), "it is XML or HTML"),
    (re.compile(r"[{\[]"), "it is JSON or an array of something else than bytes"),
    (
        re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*\Z"),
        "it may be base64; use `base64 -d`",
    ),
)
"""How texts of other kinds begin, and what they are."""


def _looks_like(text: str) -> str:
    for pattern, says in _TEXTS:
        if pattern.match(text[:4096]):
            return says
    return "it is text; --raw takes the characters themselves as bytes"
