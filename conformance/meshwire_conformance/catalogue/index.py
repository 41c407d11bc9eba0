"""The index: the digest of the suite, and the facts of the cases over connections.

Loading a case over connections imports the modules that run it. That takes a third of the time of a
run over a codec, which lists these cases and runs none. `tools/make_index.py` writes the index. It
is used only while the files from which it was made are unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import meshwire_spec
from meshwire_conformance.catalogue.data_files import PACKAGE, vectors_folder

if TYPE_CHECKING:
    from meshwire_conformance.catalogue.case import Case

INDEX_FILE = PACKAGE / "catalogue" / "index.json"
NOT_INDEXED = frozenset({"body"})
"""Members of a case that the index leaves out."""


def sources_digest() -> str:
    """Return SHA-256 over names and bytes of all files on which the index depends."""
    spec = Path(meshwire_spec.__file__).parent
    folders = {
        "vectors": (vectors_folder(), "**/*.json"),
        "cases": (PACKAGE / "cases", "*.py"),
        "catalogue": (PACKAGE / "catalogue", "*.py"),
        "schemas": (spec / "schemas", "*.py"),
    }
    digest = sha256()
    for name, (folder, pattern) in folders.items():
        for path in sorted(folder.glob(pattern)):
            content = path.read_bytes()
            digest.update(f"{name}/{path.relative_to(folder)} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


@cache
def read_index() -> dict[str, Any] | None:
    """Return the index, or None if it is missing or the suite has changed since it was made."""
    try:
        index = json.loads(INDEX_FILE.read_bytes())
    except (OSError, ValueError):
        return None
    is_fresh = isinstance(index, dict) and index.get("sources") == sources_digest()
    return index if is_fresh else None


def indexed_cases() -> list[Case] | None:
    """Return the cases over connections without what runs them, or None without an index."""
    from meshwire_conformance.catalogue.case import Case  # noqa: PLC0415 - `--version` needs none

    index = read_index()
    if index is None:
        return None
    return [_case(Case, row) for row in index["cases"]]


def _case(make: type[Case], row: dict[str, Any]) -> Case:
    return make(**{**row, "rules": tuple(row["rules"]), "needs": tuple(row["needs"])})


def index_text(cases: Iterable[Case], digest: str) -> str:
    """Return the content of the index for these cases over connections."""
    lines = ",\n".join(json.dumps(_row(case), ensure_ascii=True) for case in cases)
    head = json.dumps({"sources": sources_digest(), "digest": digest}, indent=0)
    return f'{head.removesuffix("}").rstrip()},\n"cases": [\n{lines}\n]\n}}\n'


def _row(case: Case) -> dict[str, Any]:
    values = {field.name: getattr(case, field.name) for field in fields(case)}
    values["results"] = dict(case.results)
    return {name: value for name, value in values.items() if name not in NOT_INDEXED}
