"""A configuration file as it is read, and the place of each of its members."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meshwire_reference.node.config import ConfigError

BYTES_MAX: Final = 2**20
"""Greatest size of a file."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The members of a file of TOML, and its text."""

    path: Path
    text: str
    members: Mapping[str, Any]

    def place(self, name: str, table: str = "", member: str = "") -> str:
        """Return the place of a member: of the file, of a table, or of a member of one."""
        line = self._line(rf"\[?\s*{_named(name)}\s*[=.\]]")
        if table:
            line = self._line(rf"\[\s*{_named(name)}\s*\.\s*{_named(table)}\s*\]", line)
        if member:
            line = self._line(rf"{_named(member)}\s*=", line)
        named = ".".join(filter(None, (name, table, member)))
        return f"{self.path}:{line}: `{named}`"

    def _line(self, begins: str, after: int = 1) -> int:
        """Return the number of the first line that begins so, not before another; or that."""
        found = re.compile(rf"\s*{begins}")
        for number, line in enumerate(self.text.splitlines(), 1):
            if number >= after and found.match(line):
                return number
        return after


def _named(name: str) -> str:
    """Return the pattern of a name, which may be in quotes."""
    return rf"""["']?{re.escape(name)}["']?"""


def open_config(path: Path) -> ConfigFile:
    """Read a file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
        if len(content) > BYTES_MAX:
            raise ConfigError(f"{path} has more than {BYTES_MAX} bytes")
        text = content.decode("utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 at byte {exc.start}") from exc
    try:
        return ConfigFile(path, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: this is no TOML: {exc}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{path}: values are nested too deep") from exc
    except ValueError as exc:
        # Python refuses to read an integer of thousands of digits.
        raise ConfigError(f"{path}: a number has too many digits") from exc
