"""Fields of a document as JSON: what can be written, and how what is held is shown.

Automerge holds more types than JSON has. Texts are shown as strings, bytes in lower-case hex,
timestamps in ms since 1970, and a value that cannot be shown (a counter, a number that JSON lacks)
as null.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias

from meshwire_reference.backend.errors import BadFields
from meshwire_reference.core.document_calls import DELETION_MARKS, Scalar, Value
from meshwire_spec.numbers import U64_MAX

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
"""A value of JSON."""

DEPTH_MAX: Final = 64
"""Greatest depth of maps and lists in a document, its root included."""
SIGNED_MIN: Final = -(2**63)
SHOWN_MAX: Final = 80
"""Greatest length of a text of a caller in an error."""


def parse_fields(text: str) -> dict[str, Json]:
    """Return the fields in a JSON object. Raises BadFields, with the place of the fault."""
    return parse_object(text, 'a document is a JSON object, such as {"name": "one"}')


def parse_object(text: str, wanted: str) -> dict[str, Json]:
    """Return the members of a JSON object; raises BadFields, which says what is `wanted`."""
    try:
        value = json.loads(
            text,
            parse_float=_finite,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object_of,
        )
    except json.JSONDecodeError as exc:
        raise BadFields(f"this is no JSON: {exc.msg} at character {exc.pos + 1}") from exc
    except RecursionError as exc:
        raise BadFields(f"the JSON is nested deeper than {DEPTH_MAX}") from exc
    except ValueError as exc:
        # Python refuses to read an integer of thousands of digits.
        raise BadFields("a number is outside of what Automerge holds, 64 bits") from exc
    if not isinstance(value, dict):
        raise BadFields(f"{wanted}, and no {JSON_NAMES[type(value)]}")
    return value


JSON_NAMES: Final[dict[type, str]] = {
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def _refuse_constant(name: str) -> NoReturn:
    raise BadFields(f"{name} is no JSON: leave the field out, or write null")


def _finite(text: str) -> float:
    """Return a number. Raises BadFields for one that becomes infinite."""
    value = float(text)
    if not math.isfinite(value):
        raise BadFields(f"{shown(text)} is outside of what Automerge holds, 64 bits")
    return value


def _object_of(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. Raises BadFields for a name that it has twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise BadFields(f"the name {shown(twice)} comes twice in one object")
    return found


def shown(text: str) -> str:
    """Return a text of a caller within quotes and in ASCII, shortened."""
    quoted = json.dumps(text)
    return quoted if len(quoted) <= SHOWN_MAX else f"{quoted[: SHOWN_MAX - 3]}..."


def values_of(fields: Mapping[str, Json]) -> dict[str, Scalar | Value]:
    """Return fields as an edit takes them. Raises BadFields for a value that cannot be written."""
    for name in DELETION_MARKS:
        if name in fields:
            raise BadFields(f"the field {name} marks a deletion: use delete instead of writing it")
    return {_name(name, None): _value(value, (None, name), 1) for name, value in fields.items()}


ValuePlace: TypeAlias = tuple["ValuePlace | None", str | int]
"""Where a value is: the place around it, and its name or its number there."""


def _shown_place(place: ValuePlace) -> str:
    """Return a place as an error has it; made only then, since it may be long."""
    parts: list[str | int] = []
    here: ValuePlace | None = place
    while here is not None:
        here, part = here
        parts.append(part)
    named = (f".{part}" if isinstance(part, str) else f"[{part}]" for part in reversed(parts))
    return shown("".join(named).removeprefix("."))


def _name(name: str, outer: ValuePlace | None) -> str:
    if not isinstance(name, str):
        raise BadFields(f"the name {name!r} is no text")
    if not _is_text(name):
        raise BadFields(f"the name {_shown_place((outer, name))} {HALF}")
    return name


HALF: Final = "has half of a surrogate pair, which is no text"


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(text: str, what: str, bytes_max: int) -> None:
    """Raise BadFields unless `text` is one of at most `bytes_max` bytes."""
    if not _is_text(text):
        raise BadFields(f"{what} {HALF}")
    if len(text.encode()) > bytes_max:
        raise BadFields(f"{what} has more than {bytes_max} bytes")


def _value(given: Json, place: ValuePlace, depth: int) -> Value:
    """Return a value with its type; `place` names it in errors."""
    if depth > DEPTH_MAX:
        raise BadFields(f"{_shown_place(place)} is nested deeper than {DEPTH_MAX}")
    if isinstance(given, dict):
        inner = {
            _name(name, place): _value(value, (place, name), depth + 1)
            for name, value in given.items()
        }
        return Value("map", inner)
    if isinstance(given, list | tuple):
        return Value(
            "list", [_value(item, (place, at), depth + 1) for at, item in enumerate(given)]
        )
    return _scalar(given, place)


def _scalar(given: Json, place: ValuePlace) -> Value:
    if given is None:
        return Value("null", None)
    if isinstance(given, bool):
        return Value("boolean", given)
    if isinstance(given, int):
        if not SIGNED_MIN <= given <= U64_MAX:
            raise BadFields(f"{_shown_place(place)} is outside of what Automerge holds, 64 bits")
        return Value("uint" if given > U64_MAX // 2 else "int", given)
    if isinstance(given, float):
        if not math.isfinite(given):
            raise BadFields(f"{_shown_place(place)} is no finite number")
        return Value("f64", given)
    if isinstance(given, str):
        if not _is_text(given):
            raise BadFields(f"{_shown_place(place)} {HALF}")
        return Value("str", given)
    kind = type(given).__name__
    raise BadFields(f"{_shown_place(place)} is a {kind}, which a document cannot hold")


def json_of(value: Value) -> Json:
    """Return a value as JSON; null for one that cannot be shown."""
    held = value.value
    if isinstance(held, dict):
        return {name: json_of(inner) for name, inner in held.items()}
    if isinstance(held, list):
        return [json_of(inner) for inner in held]
    if value.kind == "unknown" or (isinstance(held, float) and not math.isfinite(held)):
        return None
    return held


def fields_of(values: Mapping[str, Value]) -> dict[str, Json]:
    """Return the fields of a document as JSON, in the order of their names."""
    return {name: json_of(values[name]) for name in sorted(values) if name not in DELETION_MARKS}
