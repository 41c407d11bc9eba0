"""Files that their owner alone can use: written once and durably, and refused where others can.

What is written survives the end of the process and of the machine once the call has returned.
"""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from meshwire_reference.store.base import StoreError

UNNAMED: Final = ".new"
"""How the name of a file ends that is not whole."""
PRIVATE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
"""Bits of a mode that let others than the owner use a file."""


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that its owner alone can read. Raises OSError, also if it exists."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(number, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Write such a file that has its name once it is whole. Raises OSError, also if it exists.

    Of any number of processes that write one name, one succeeds, and a kill leaves no part of it.
    """
    number, name = tempfile.mkstemp(UNNAMED, f".{path.name}.", path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link replaces nothing.
        os.link(name, path)
    finally:
        Path(name).unlink()
    sync_folder(path.parent)


def read_private(path: Path, size_max: int) -> bytes:
    """Return a file of its owner alone, of at most `size_max` bytes. Raises StoreError."""
    return read_kept(path, size_max, OTHERS, "use it: chmod 600")


def read_kept(path: Path, size_max: int, forbidden: int, advice: str) -> bytes:
    """Return a file of at most `size_max` bytes, whose mode has none of the `forbidden` bits.

    `advice` says what others could do else, and what to do. Raises StoreError.
    """
    try:
        with path.open("rb") as file:
            content = file.read(size_max + 1)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as exc:
        raise StoreError(f"cannot read {path}: {exc.strerror or exc}") from exc
    if len(content) > size_max:
        raise StoreError(f"{path} has more than {size_max} bytes")
    # A named pipe or a descriptor of the shell has a mode that says nothing.
    if stat.S_ISREG(mode) and mode & forbidden:
        raise StoreError(f"{path} has mode {stat.S_IMODE(mode):04o}, so that others can {advice}")
    return content


def make_private_folder(path: Path) -> None:
    """Make a folder for its owner alone, unless it exists. Raises OSError."""
    with suppress(FileExistsError):
        path.mkdir(PRIVATE_FOLDER)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    number = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, for which other processes wait that would hold it too. Raises OSError."""
    number = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
