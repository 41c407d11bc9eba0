"""Reports saved as files, and text of a target made harmless for them."""

from pathlib import Path

from meshwire_conformance.errors import UsageError
from meshwire_conformance.explain.values import printable

CUT = 1200
"""Characters of a text of a target that a report shows; its length follows."""


def save(text: str, path: Path, encoding: str = "utf-8") -> None:
    """Write a report; raises UsageError if that fails, BrokenPipeError if its reader has gone."""
    try:
        path.write_text(text, encoding=encoding)
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise UsageError(f"the report {path} cannot be written: {exc}") from exc


def harmless(text: str) -> str:
    """Return a text without control characters and changes of direction, cut if it is long."""
    more = f"... ({len(text)} characters)" if len(text) > CUT else ""
    return printable(text[:CUT]) + more
