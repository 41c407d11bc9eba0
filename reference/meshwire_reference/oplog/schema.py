"""Types of documents: registers, lists, structs and bare values, and what content fits each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite

from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.values import JsonValue


class TypeMismatch(Exception):
    """Content that does not fit its type."""


class Unbuildable(TypeMismatch):
    """Content of a struct that deployed peers crash on: a field is absent or no such value."""


@dataclass(frozen=True, slots=True)
class BareSchema:
    """A value without operations of its own: it changes only with what encloses it."""

    kind: str


@dataclass(frozen=True, slots=True)
class RegisterSchema:
    """A value that the last writer determines."""

    kind: str
    # Null is a value of it.
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class ListSchema:
    """A list of elements of one type."""

    element: "Schema"


@dataclass(frozen=True, slots=True)
class StructSchema:
    """Named fields, each with a type of its own."""

    fields: Mapping[str, "Schema"]


Schema = BareSchema | RegisterSchema | ListSchema | StructSchema

# Integers of a 64-bit register: what is outside becomes the nearest of them.
_INTEGER_MIN = -(2**63)
_INTEGER_MAX = 2**63 - 1
# Beyond this a JSON number no longer names one integer.
_EXACT_MAX = 2**53 - 1


def _take_any(value: JsonValue) -> JsonValue:
    return value


def _take_finite(value: JsonValue) -> JsonValue:
    """Return any value without NaN and infinities, which JSON cannot carry on."""
    if isinstance(value, float) and not isfinite(value):
        raise TypeMismatch
    if isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            _take_finite(part)
    return value


def _take_finite_number(value: JsonValue) -> JsonValue:
    return _take_finite(_take_number(value))


def _take_bool(value: JsonValue) -> JsonValue:
    if not isinstance(value, bool):
        raise TypeMismatch
    return value


def _take_number(value: JsonValue) -> JsonValue:
    if not isinstance(value, float):
        raise TypeMismatch
    return value


def _take_text(value: JsonValue) -> JsonValue:
    if not isinstance(value, str):
        raise TypeMismatch
    return value


def _take_integer(value: JsonValue) -> JsonValue:
    if not isinstance(value, float):
        raise TypeMismatch
    if value != value:  # noqa: PLR0124 - true of NaN alone, which becomes 0
        return 0.0
    if not isfinite(value):
        return float(_INTEGER_MAX if value > 0 else _INTEGER_MIN)
    return float(min(max(int(value), _INTEGER_MIN), _INTEGER_MAX))


def _take_exact_integer(value: JsonValue) -> JsonValue:
    if not isinstance(value, float) or not value.is_integer() or abs(value) > _EXACT_MAX:
        raise TypeMismatch
    return value


def _take_character(value: JsonValue) -> JsonValue:
    if not isinstance(value, str) or not value:
        raise TypeMismatch
    return value[0]


def _take_one_character(value: JsonValue) -> JsonValue:
    if not isinstance(value, str) or len(value) != 1:
        raise TypeMismatch
    return value


def _take_numbers(value: JsonValue) -> JsonValue:
    if not isinstance(value, list):
        raise TypeMismatch
    return [element for element in value if isinstance(element, float)]


def _take_only_numbers(value: JsonValue) -> JsonValue:
    if not isinstance(value, list):
        raise TypeMismatch
    return [_take_finite_number(element) for element in value]


Take = Callable[[JsonValue], JsonValue]

# What each kind of value takes at each level: deployed peers cut values to fit (D-121).
_KINDS: dict[str, tuple[Take, Take]] = {
    "any": (_take_any, _take_finite),
    "bool": (_take_bool, _take_bool),
    "number": (_take_number, _take_finite_number),
    "integer": (_take_integer, _take_exact_integer),
    "text": (_take_text, _take_text),
    "character": (_take_character, _take_one_character),
    "numbers": (_take_numbers, _take_only_numbers),
}

# What a bare value is before anything is inserted.
_DEFAULTS: dict[str, JsonValue] = {"any": None, "bool": False, "number": 0.0, "text": ""}


def take_value(kind: str, value: JsonValue, level: Level) -> JsonValue:
    """Return `value` as one of `kind`, or raise TypeMismatch."""
    wire, strict = _KINDS[kind]
    return (strict if level is Level.STRICT else wire)(value)


def default_value(kind: str) -> JsonValue:
    """Return the value of a bare field of a new document."""
    return _DEFAULTS.get(kind)


_TEXT = RegisterSchema("text")
_NUMBER = RegisterSchema("number")
_BOOL = RegisterSchema("bool")

# The document of the deployed application.
PIPELINE = StructSchema(
    {
        "items": ListSchema(
            StructSchema(
                {
                    "story_id": _TEXT,
                    "stage": _TEXT,
                    "name": _TEXT,
                    "agent": _TEXT,
                    "retry_count": _NUMBER,
                    "blocked": _BOOL,
                    "depends_on": _TEXT,
                    "claimed_by": _TEXT,
                    "claimed_at": _NUMBER,
                }
            )
        ),
        "nodes": ListSchema(
            StructSchema(
                {
                    "node_id": _TEXT,
                    "address": _TEXT,
                    "last_seen": _NUMBER,
                    "last_seen_ms": RegisterSchema("number", is_optional=True),
                    "alive": _BOOL,
                }
            )
        ),
    }
)

_INNER = StructSchema({"b": RegisterSchema("bool"), "n": BareSchema("number")})
_SUB = StructSchema({"inner": _INNER, "tags": ListSchema(BareSchema("text"))})

# A document with a part of every type, for vectors.
TYPES = StructSchema(
    {
        **{
            name: RegisterSchema(kind)
            for name, kind in {
                "rv": "any",
                "rb": "bool",
                "rf": "number",
                "ri": "integer",
                "rs": "text",
                "rc": "character",
                "rlist": "numbers",
            }.items()
        },
        "prim": BareSchema("number"),
        "lv": ListSchema(BareSchema("any")),
        "ls": ListSchema(BareSchema("text")),
        "lf": ListSchema(BareSchema("number")),
        "lc": ListSchema(BareSchema("character")),
        "lreg": ListSchema(RegisterSchema("number")),
        "grid": ListSchema(ListSchema(RegisterSchema("bool"))),
        "sub": _SUB,
        "lsub": ListSchema(_SUB),
    }
)
