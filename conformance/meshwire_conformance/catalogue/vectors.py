"""Codec vectors: found and read here, each of them a case.

The format is `meshwire_spec.schemas.vectors` and described in `vectors/README.md`.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from meshwire_conformance.catalogue.case import Case, case_of_data
from meshwire_conformance.catalogue.data_files import vectors_folder
from meshwire_conformance.errors import SuiteFault
from meshwire_spec.schemas.vectors import Vector, VectorFile


def vector_files(folder: Path | None = None) -> list[Path]:
    """Return the files of vectors, without transcripts and tables."""
    root = vectors_folder() if folder is None else folder
    return sorted(p for p in root.glob("*/*.json") if not p.name.endswith(".transcript.json"))


def read_vectors(folder: Path | None = None) -> Iterator[tuple[str, Vector]]:
    """Yield every vector with its part (page); raises SuiteFault for a file of another format."""
    for path in vector_files(folder):
        try:
            file = msgspec.json.decode(path.read_bytes(), type=VectorFile)
        except msgspec.DecodeError as exc:
            raise SuiteFault(f"{path.name} is no file of vectors: {exc}") from exc
        for vector in file.vectors:
            yield file.part, vector


def case_of(part: str, vector: Vector) -> Case:
    """Return the case for a vector of a part (page)."""
    return case_of_data(vector, vector.kind, part)


def load_cases() -> Iterator[Case]:
    """Yield every codec case, in the order of the files."""
    for part, vector in read_vectors():
        yield case_of(part, vector)
