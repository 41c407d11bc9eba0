"""What the texts of a transcript stand for: `$names`, and times as `now` plus an offset."""

from __future__ import annotations

import re
from collections.abc import Mapping

from meshwire_conformance.errors import SuiteFault

_NAME = re.compile(r"\$([a-z_][a-z0-9_]*)")
_TIME = re.compile(r"now(?:([+-])(\d+)(ms|s|m|h|d))?")
_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Scope:
    """Names of one run of one case; `now_ms` is read once, when the case starts."""

    def __init__(self, names: Mapping[str, str], now_ms: int) -> None:
        self.names = dict(names)
        self.now_ms = now_ms

    def define(self, let: Mapping[str, str]) -> None:
        """Add names whose values may use the ones before them."""
        for name, value in let.items():
            self.names[name] = self.text(value)

    def text(self, text: str) -> str:
        """The text with every `$name` replaced; raises SuiteFault for an unknown one."""

        def replace(match: re.Match[str]) -> str:
            try:
                return self.names[match[1]]
            except KeyError:
                raise SuiteFault(f"no name ${match[1]} in this transcript") from None

        return _NAME.sub(replace, text)

    def integer(self, value: int | str) -> int:
        """A number as it is, in decimal, or a time in ms since 1970 as `now-60s`."""
        if isinstance(value, int):
            return value
        value = self.text(value)
        match = _TIME.fullmatch(value)
        if match is None:
            try:
                return int(value)
            except ValueError:
                raise SuiteFault(f"{value!r} is neither a number nor a time") from None
        if match[1] is None:
            return self.now_ms
        offset = int(match[2]) * _MS[match[3]]
        return self.now_ms + (offset if match[1] == "+" else -offset)
