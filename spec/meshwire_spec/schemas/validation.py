"""The published JSON Schemas as data, and the validation of documents by them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

T = TypeVar("T")


def load_schema(name: str) -> dict[str, Any]:
    """Return the published schema of this name, such as `target`; raises KeyError without it."""
    source = resources.files("meshwire_spec") / "schemas" / f"{name}.json"
    if not source.is_file():
        raise KeyError(name)
    schema: dict[str, Any] = json.loads(source.read_text("utf-8"))
    return schema


def faults(name: str, document: Any) -> Iterator[str]:
    """Yield place and text of each fault by the published schema: `deadlines.handshake_s: ...`.

    `it` is the place of a fault of the whole document; a valid document yields nothing.
    """
    for error in _validator(name).iter_errors(document):
        where = ".".join(str(step) for step in error.absolute_path) or "it"
        yield f"{where}: {error.message}"


def checked(name: str, document: Any, struct: type[T]) -> T:
    """Return the struct of a valid document; raises ValueError with the place of a fault."""
    for fault in faults(name, document):
        raise ValueError(fault)
    return msgspec.convert(_with_integers(document), struct)


def _with_integers(value: Any) -> Any:
    """Return the document with 7 in place of 7.0: to JSON Schema both are integers."""
    match value:
        case dict():
            return {name: _with_integers(member) for name, member in value.items()}
        case list():
            return [_with_integers(element) for element in value]
        case float() if value.is_integer():
            return int(value)
    return value


@cache
def _validator(name: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - slow, and not for codec runs

    return Draft202012Validator(load_schema(name))
