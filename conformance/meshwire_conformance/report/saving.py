"""Reports saved as files, and text of a target made harmless for them."""

import errno
import os
import stat
import sys
from pathlib import Path
from typing import TextIO

from meshwire_conformance.errors import UsageError
from meshwire_conformance.explain.values import printable

CUT = 1200
"""Characters of a text of a target that a report shows; its length follows."""


_NO_NEIGHBOUR = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.ENAMETOOLONG})
"""Errors of a folder that takes no other file, or of a file that cannot be replaced."""


def save(text: str, path: Path, encoding: str = "utf-8") -> None:
    """Write a report; raises UsageError if that fails, BrokenPipeError if its reader has gone."""
    try:
        replace_file(path, text.encode(encoding))
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise UsageError(f"the report {path} cannot be written: {exc}") from exc


def replace_file(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all, so that nothing reads a part; raises OSError.

    A pipe, device or link is written as it is, since something else holds it. What is standard
    output or error already, by whatever name, is written after what stands there.
    """
    stream = _standard_stream(path)
    if stream is not None:
        stream.flush()
        with open(stream.fileno(), "wb", closefd=False) as file:
            file.write(content)
        return
    try:
        found = path.lstat()
    except FileNotFoundError:
        found = None
    if found is not None and (not stat.S_ISREG(found.st_mode) or found.st_nlink > 1):
        path.write_bytes(content)
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        if found is not None:
            part.chmod(stat.S_IMODE(found.st_mode))
        part.replace(path)
    except OSError as exc:
        _remove(part)
        if exc.errno not in _NO_NEIGHBOUR:
            raise
        path.write_bytes(content)


def _standard_stream(path: Path) -> TextIO | None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if os.path.samestat(path.stat(), os.fstat(stream.fileno())):
                return stream
        except (OSError, ValueError, AttributeError):
            # No such file yet, or a stream that is closed or no file.
            continue
    return None


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:
        # Its folder takes no file, so there is none.
        return


def harmless(text: str) -> str:
    """Return a text without control characters and changes of direction, cut if it is long."""
    more = f"... ({len(text)} characters)" if len(text) > CUT else ""
    return printable(text[:CUT]) + more
