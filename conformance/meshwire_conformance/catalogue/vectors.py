"""Codec vectors: bytes, what they mean, and what each level demands, read from data files.

The format is described in `vectors/README.md` and checked by the schema `vectors.json`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshwire_conformance.catalogue.case import Case, digest_of
from meshwire_conformance.catalogue.data_files import vectors_folder
from meshwire_conformance.errors import SuiteFault


def expand(node: Any) -> Any:
    """A value with every `{"join": [...]}` in it written out; a part may be repeated."""
    if isinstance(node, dict):
        if node.keys() == {"join"}:
            return "".join(_expand_part(part) for part in node["join"])
        return {name: expand(item) for name, item in node.items()}
    if isinstance(node, list):
        return [expand(item) for item in node]
    return node


def _expand_part(part: str | Mapping[str, Any]) -> str:
    return part if isinstance(part, str) else str(part["repeat"]) * int(part["times"])


@dataclass(frozen=True, slots=True)
class Vector:
    """What a codec case is made of: a member of a vector file, read with `expand`."""

    raw: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Kind of message."""
        return str(self.raw["kind"])

    @property
    def unencodable(self) -> bool:
        """Whether there are no bytes: the value is one that an encoder has to refuse."""
        return "hex" not in self.raw

    @property
    def hex(self) -> str:
        """The bytes, as lower-case hex; empty where the value has none."""
        return str(expand(self.raw.get("hex", "")))

    @property
    def data(self) -> bytes:
        """The bytes."""
        return bytes.fromhex(self.hex)

    @property
    def value(self) -> Any:
        """The decoded value, or the one to encode; None where the bytes have none."""
        return expand(self.raw.get("value"))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons that a refusal may give."""
        return tuple(self.raw.get("reasons", ()))

    @property
    def respond(self) -> Mapping[str, str] | None:
        """Inputs of a formation answer whose HMAC these bytes are, or None."""
        return self.raw.get("respond")

    @property
    def field(self) -> str:
        """Path of the field at stake; empty for the message as a whole."""
        return str(self.raw.get("field", ""))

    @property
    def fault(self) -> str:
        """Class of the fault or extreme that the bytes show; empty for a plain positive."""
        return str(self.raw.get("fault", ""))


def vector_files(folder: Path | None = None) -> list[Path]:
    """Files of vectors; transcripts and tables beside them are none."""
    root = vectors_folder() if folder is None else folder
    return sorted(p for p in root.glob("*/*.json") if not p.name.endswith(".transcript.json"))


def read_vectors(folder: Path | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every vector as its part (page) and its members; raises SuiteFault on an unreadable file."""
    for path in vector_files(folder):
        try:
            document = json.loads(path.read_bytes())
            for raw in document["vectors"]:
                yield document["part"], raw
        except (ValueError, KeyError, TypeError) as exc:
            raise SuiteFault(f"{path.name} is no file of vectors: {exc!r}") from exc


def case_of(part: str, raw: dict[str, Any]) -> Case:
    """The case that a vector is."""
    return Case(
        id=raw["id"],
        title=raw["title"],
        kind=raw["kind"],
        part=part,
        rules=tuple(raw["rules"]),
        results=raw["result"],
        source=raw["source"],
        digest=digest_of(raw),
        hunts=raw.get("hunts", ""),
        harm=raw.get("harm", ""),
        control=raw.get("control"),
        disputed=raw.get("disputed", False),
        body=Vector(raw),
    )


def load_cases() -> Iterator[Case]:
    """Every codec case, in the order of the files."""
    for part, raw in read_vectors():
        yield case_of(part, raw)
