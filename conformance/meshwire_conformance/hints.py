"""Suggestions for a mistyped word, and whether it may be the path of a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path


def did_you_mean(word: str, known: Mapping[str, str] | Sequence[str]) -> str:
    """Return "did you mean X?" for the known word that is closest, or an empty text.

    X is the word itself, or its entry in a mapping.
    """
    # Only a mistake needs the module, and every command pays for what is imported above.
    from difflib import get_close_matches  # noqa: PLC0415 - see above

    found = get_close_matches(word, list(known), n=1)
    if not found:
        return ""
    return f"did you mean {known[found[0]] if isinstance(known, Mapping) else found[0]}?"


def is_file(path: str | Path) -> bool:
    """Return True if a file of this name exists; any text is allowed."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Return True if a folder of this name exists; any text is allowed."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False
