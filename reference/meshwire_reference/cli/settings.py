"""The configuration file of `meshwire-node run`: TOML with the names of the options.

A name is that of the option with `_` for `-`. Paths are those from the folder of the file. What the
command line gives takes the place of what the file has. A table `[peer.ENDPOINT]` is of one peer, a
table `[collection.NAME]` of one collection.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, get_type_hints

from meshwire_reference.cli.collections import ENDPOINT
from meshwire_reference.cli.collections import TABLE as COLLECTION
from meshwire_reference.cli.config_file import ConfigFile
from meshwire_reference.node.config import ConfigError

NAMES: Final = {"is_open": "open", "connect": "peers"}
"""Names in a file that are not those of the fields of the options."""
LEFT_OUT: Final = frozenset(("config", "test_control"))
"""Options of the command line alone: a node is not started for tests by what lies in a file."""
PEER: Final = "peer"
"""The table whose members are tables by endpoint id."""
OF_PEER: Final = {
    "reconcile": {"heads": "reconcile_heads_with", "keys": "reconcile_with"},
    "role": {"parent": "parent", "child": "child", "lateral": "lateral"},
}
"""Member of such a table -> what it can be, and the option that the endpoint id is added to."""


def read_options(file: ConfigFile, options: type[Any]) -> dict[str, Any]:
    """Return the options in a file, by the names of their fields.

    Raises ConfigError with the place of a fault.
    """
    known = {
        NAMES.get(one.name, one.name): one.name
        for one in fields(options)
        if one.name not in LEFT_OUT
    }
    kinds = get_type_hints(options)
    given: dict[str, Any] = {}
    for name, value in file.members.items():
        if name in (PEER, COLLECTION):
            continue
        place = file.place(name)
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f": is it `{near[0]}`?" if near else f"; known are {', '.join(sorted(known))}"
            raise ConfigError(f"{place} is unknown{hint}")
        given[known[name]] = _checked(kinds[known[name]], value, place, file.path.parent)
    for option, endpoint in _read_peers(file):
        given[option] = [*given.get(option, ()), endpoint]
    return given


def check_texts(options: Any) -> None:
    """Raise ConfigError for an option of the command line whose bytes are not UTF-8.

    Python keeps them as halves of surrogate pairs, which nothing can write.
    """
    for one in fields(options):
        value = getattr(options, one.name)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
                raise ConfigError(f"--{one.name.replace('_', '-')} is not UTF-8")


def _read_peers(file: ConfigFile) -> Iterator[tuple[str, str]]:
    """Yield the options that each table of a peer adds to, and the endpoint id of the peer."""
    tables = file.members.get(PEER, {})
    if not isinstance(tables, dict):
        raise ConfigError(
            f"{file.place(PEER)} is tables, each [{PEER}.ENDPOINT]; "
            f"a list of addresses to dial is `{NAMES['connect']}`"
        )
    for endpoint, table in tables.items():
        where = file.place(PEER, endpoint)
        if not isinstance(table, dict) or not table or table.keys() - OF_PEER.keys():
            members = " or ".join(f"`{member}`" for member in OF_PEER)
            raise ConfigError(f"{where} is a table with {members}, and nothing else")
        for member, value in table.items():
            words = OF_PEER[member]
            if not isinstance(value, str) or value not in words:
                place = file.place(PEER, endpoint, member)
                raise ConfigError(f"{place} is one of {', '.join(words)}")
            if not ENDPOINT.fullmatch(endpoint):
                raise ConfigError(f"{where}: an endpoint id has 64 hex digits")
            yield words[value], endpoint


def _checked(kind: Any, value: object, place: str, folder: Path) -> object:
    """Return a value as an option of this type has it. Raises ConfigError for another one."""
    fits, wanted = KINDS[kind]
    if not fits(value):
        raise ConfigError(f"{place} is {wanted}")
    return folder / str(value) if kind == Path | None else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_float(value: object) -> bool:
    """Return True for a number that can be added to a time: an integer of TOML has no bound."""
    is_small = not isinstance(value, int) or abs(value) <= sys.float_info.max
    return _is_number(value) and is_small


def _is_path(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


KINDS: Final[dict[Any, tuple[Callable[[object], bool], str]]] = {
    list[str] | None: (
        lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
        'a list of texts, such as ["one", "two"]',
    ),
    Path | None: (_is_path, 'a text without a null character, such as "folder"'),
    str: (lambda value: isinstance(value, str), 'a text, such as "one"'),
    str | None: (lambda value: isinstance(value, str), 'a text, such as "one"'),
    float: (_is_float, "a number, such as 2.5"),
    int: (lambda value: _is_number(value) and isinstance(value, int), "a whole number, such as 10"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
}
"""Type of an option -> which values fit, and what is said of others."""
