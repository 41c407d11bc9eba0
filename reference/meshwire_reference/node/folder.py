"""Documents in a folder: one file each, as Automerge saves it, named by its key.

A file is called `KEY.automerge`, with characters that a file name cannot contain percent-encoded,
as in `nodes%3Anode-1.automerge` for `nodes:node-1`. Everything is checked before the node accepts
peers, which would treat a partly read folder as complete (D-147).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from meshwire_reference.wire.accept import document_key_fault

SUFFIX: Final = ".automerge"


class BadFolder(Exception):
    """The folder cannot be loaded; the text is one line that names the file."""


def list_documents(folder: Path) -> dict[str, Path]:
    """Return the file of each key, in the order of the names; raises BadFolder."""
    found: dict[str, Path] = {}
    for path in _list(folder):
        key = _key_of(path)
        if key in found:
            raise BadFolder(f"{path} and {found[key].name} are both documents of {key}")
        found[key] = path
    return found


def _list(folder: Path) -> Iterator[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as exc:
        raise BadFolder(f"cannot read {folder}: {exc.strerror or exc}") from exc
    for path in paths:
        # Files whose names begin with a dot belong to the system, unless they end as documents do.
        is_document = path.name.endswith(SUFFIX)
        if is_document and path.name.startswith("."):
            raise BadFolder(f"{path} begins with a dot, which must be written %2E in a key")
        if is_document or not path.name.startswith("."):
            yield path


def _key_of(path: Path) -> str:
    name = path.name.removesuffix(SUFFIX)
    if name == path.name or not path.is_file():
        raise BadFolder(f"{path} is no file named KEY{SUFFIX}: the folder may have nothing else")
    try:
        key = unquote(name, errors="strict")
        fault = document_key_fault(key)
    except UnicodeError as exc:
        raise BadFolder(f"the name of {path} is not UTF-8") from exc
    if fault is not None:
        raise BadFolder(f"the name of {path} gives no document key ({fault})")
    return key


def read_document(path: Path, size_max: int) -> bytes:
    """Return the bytes of one file, at most `size_max`; raises BadFolder."""
    try:
        with path.open("rb") as file:
            content = file.read(size_max + 1)
    except OSError as exc:
        raise BadFolder(f"cannot read {path}: {exc.strerror or exc}") from exc
    if len(content) > size_max:
        raise BadFolder(f"{path} has more than {size_max} bytes, which no frame carries")
    return content
