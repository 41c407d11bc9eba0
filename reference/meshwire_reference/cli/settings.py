"""The configuration file of `meshwire-node run`: TOML with the names of the options.

A name is that of the option with `_` for `-`. Paths are those from the folder of the file. What the
command line gives takes the place of what the file has. A table `[peer.ENDPOINT]` is of one peer.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, get_type_hints

from meshwire_reference.node.config import ConfigError

NAMES: Final = {"is_open": "open", "connect": "peers"}
"""Names in a file that are not those of the fields of the options."""
LEFT_OUT: Final = frozenset(("config", "test_control"))
"""Options of the command line alone: a node is not started for tests by what lies in a file."""
PEER: Final = "peer"
"""The table whose members are tables by endpoint id."""
RECONCILE: Final = "reconcile"
"""The one name in the table of a peer."""
ENDPOINT: Final = re.compile(r"[0-9A-Fa-f]{64}")
"""The endpoint id that names such a table."""
RECONCILES: Final = {"heads": "reconcile_heads_with", "keys": "reconcile_with"}
"""What it can be, and the option that the endpoint id of the peer is added to."""


def read_options(path: Path, options: type[Any]) -> dict[str, Any]:
    """Return the options in a file, by the names of their fields.

    Raises ConfigError with the place of a fault.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 at byte {exc.start}") from exc
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: this is no TOML: {exc}") from exc
    known = {
        NAMES.get(one.name, one.name): one.name
        for one in fields(options)
        if one.name not in LEFT_OUT
    }
    kinds = get_type_hints(options)
    given: dict[str, Any] = {}
    for name, value in found.items():
        place = f"{path}:{line_of(text, name)}: `{name}`"
        if name == PEER:
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f": is it `{near[0]}`?" if near else f"; known are {', '.join(sorted(known))}"
            raise ConfigError(f"{place} is unknown{hint}")
        given[known[name]] = _checked(kinds[known[name]], value, place, path.parent)
    for option, endpoint in _read_peers(found.get(PEER, {}), f"{path}:{line_of(text, PEER)}"):
        given[option] = [*given.get(option, ()), endpoint]
    return given


def _read_peers(tables: object, place: str) -> Iterator[tuple[str, str]]:
    """Yield the option that each table of a peer adds to, and the endpoint id of the peer."""
    if not isinstance(tables, dict):
        raise ConfigError(
            f"{place}: `{PEER}` is tables, each [{PEER}.ENDPOINT]; "
            f"a list of addresses to dial is `{NAMES['connect']}`"
        )
    for endpoint, table in tables.items():
        where = f"{place}: `{PEER}.{endpoint}`"
        if not isinstance(table, dict) or table.keys() != {RECONCILE}:
            raise ConfigError(f"{where} is a table with `{RECONCILE}` and nothing else")
        how = table[RECONCILE]
        if not isinstance(how, str) or how not in RECONCILES:
            raise ConfigError(f"{where}: `{RECONCILE}` is one of {', '.join(RECONCILES)}")
        if not ENDPOINT.fullmatch(endpoint):
            raise ConfigError(f"{where}: an endpoint id has 64 hex digits")
        yield RECONCILES[how], endpoint


def line_of(text: str, name: str) -> int:
    """Return the number of the line where a name is given a value, or a table begins."""
    found = re.compile(rf"""^\s*\[?\s*(["']?){re.escape(name)}\1\s*[=.\]]""")
    for number, line in enumerate(text.splitlines(), 1):
        if found.match(line):
            return number
    return 1


def _checked(kind: Any, value: object, place: str, folder: Path) -> object:
    """Return a value as an option of this type has it. Raises ConfigError for another one."""
    fits, wanted = KINDS[kind]
    if not fits(value):
        raise ConfigError(f"{place} is {wanted}")
    return folder / str(value) if kind == Path | None else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


KINDS: Final[dict[Any, tuple[Callable[[object], bool], str]]] = {
    list[str] | None: (
        lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
        'a list of texts, such as ["one", "two"]',
    ),
    Path | None: (lambda value: isinstance(value, str), 'a text, such as "folder"'),
    str | None: (lambda value: isinstance(value, str), 'a text, such as "one"'),
    float: (_is_number, "a number, such as 2.5"),
    int: (lambda value: _is_number(value) and isinstance(value, int), "a whole number, such as 10"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
}
"""Type of an option -> which values fit, and what is said of others."""
