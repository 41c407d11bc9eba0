"""The published JSON Schemas as data, and what is wrong with a document by one of them."""

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
    """The published schema of this name, such as `target`; raises KeyError where none has it."""
    source = resources.files("meshwire_spec") / "schemas" / f"{name}.json"
    if not source.is_file():
        raise KeyError(name)
    schema: dict[str, Any] = json.loads(source.read_text("utf-8"))
    return schema


def faults(name: str, document: Any) -> Iterator[str]:
    """Where and in what a document breaks the published schema: `deadlines.handshake_s: ...`.

    `it` is the place of what is wrong with the whole; nothing comes for a document that fits.
    """
    for error in _validator(name).iter_errors(document):
        where = ".".join(str(step) for step in error.absolute_path) or "it"
        yield f"{where}: {error.message}"


def checked(name: str, document: Any, struct: type[T]) -> T:
    """The struct of a document that fits the published schema; raises ValueError with the place."""
    for fault in faults(name, document):
        raise ValueError(fault)
    return msgspec.convert(document, struct)


@cache
def _validator(name: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - slow, and not for codec runs

    return Draft202012Validator(load_schema(name))
