"""The tables of a configuration file that give a collection a row of its own.

A table `[collection.NAME]` changes members of the row that the page on documents has for it. A name
without a row there is a new collection, which has to say how it is sent and deleted: so a name that
was mistyped is noticed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from meshwire_reference.cli.config_file import ConfigFile
from meshwire_reference.core.state.hierarchy import DOCUMENTS_GO, DOWNWARD
from meshwire_reference.core.state.policy import ANYONE, Collections
from meshwire_reference.node.config import ConfigError
from meshwire_spec.numbers import (
    BATCH_KEY,
    CLOSED_COLLECTIONS,
    COLLECTION_MAX,
    COLLECTIONS,
    DEFAULT_COLLECTION,
    NEGENTROPY_KEY,
    TOMBSTONE_COLLECTION,
    URGENCIES,
    DeletionPolicy,
    Direction,
    PolicyRow,
    SyncMode,
    Urgency,
)

TABLE: Final = "collection"
ENDPOINT: Final = re.compile(r"[0-9A-Fa-f]{64}")
"""An endpoint id."""
NAME: Final = re.compile(rf"[A-Za-z0-9_.-]{{1,{COLLECTION_MAX}}}")
RESERVED: Final = frozenset((BATCH_KEY, NEGENTROPY_KEY, TOMBSTONE_COLLECTION))
LIFETIME_MAX_S: Final = 100 * 365 * 86400
NEW: Final = frozenset(("sync_mode", "deletion"))
"""Members that a collection without a row on the page has to give."""
LIFETIME: Final = "lifetime_s"
URGENCY: Final = "urgency"
CLASSES: Final = {one.name.lower(): one for one in Urgency}
"""Member with the class of urgency, and its words."""
SENDERS: Final = "accept_from"
"""Member with the endpoint ids of the peers from which a collection is taken."""

WORDS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "sync_mode": ("mode", {str(one): one for one in SyncMode}),
    "deletion": ("deletion", {str(one): one for one in DeletionPolicy}),
    "resurrection": ("resurrection", {one: one for one in ("allow", "re-delete", "reject")}),
    "tombstones_go": (
        "tombstone_direction",
        {one.name.lower().replace("_", "-"): one for one in Direction},
    ),
    "documents_go": ("batch_direction", {one: one for one in DOCUMENTS_GO}),
}
"""Member of a table -> the field of a row, and the words that it takes."""
MEETS_NONE: Final = {("upward", Direction.DOWN_ONLY), (DOWNWARD, Direction.UP_ONLY)}
"""Directions of documents and tombstones that no node but the author of both is reached by."""


def read_collections(file: ConfigFile) -> Collections:
    """Return the collections as the tables of a file change them. Raises ConfigError."""
    tables = file.members.get(TABLE, {})
    if not isinstance(tables, dict):
        raise ConfigError(f"{file.place(TABLE)} is tables, each [{TABLE}.NAME]")
    rows = {name: _row(file, name, table) for name, table in tables.items()}
    urgencies = {
        name: _word(file, name, URGENCY, CLASSES)(tables[name][URGENCY])
        for name in rows
        if URGENCY in tables[name]
    }
    senders = {name: _senders(file, name) for name in rows if SENDERS in tables[name]}
    return Collections(rows, urgencies, senders)


def _senders(file: ConfigFile, name: str) -> frozenset[str]:
    """Return from whom a collection is taken."""
    given = file.members[TABLE][name][SENDERS]
    if isinstance(given, str) and given in ANYONE:
        return ANYONE
    if isinstance(given, list) and all(isinstance(one, str) for one in given):
        wrong = [one for one in given if not ENDPOINT.fullmatch(one)]
        if not wrong:
            return frozenset(one.lower() for one in given)
        raise ConfigError(
            f"{file.place(TABLE, name, SENDERS)}: {wrong[0]} is no endpoint id of 64 hex digits"
        )
    raise ConfigError(
        f"{file.place(TABLE, name, SENDERS)} is a list of endpoint ids, or `{min(ANYONE)}`"
    )


def _row(file: ConfigFile, name: str, table: object) -> PolicyRow:
    """Return the row of one collection."""
    place = file.place(TABLE, name)
    if not isinstance(table, dict):
        raise ConfigError(f"{place} is a table")
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ConfigError(f"{place}: no document can have a key in this collection")
    known = (*WORDS, LIFETIME, URGENCY, SENDERS)
    for member in table:
        if member not in known:
            near = difflib.get_close_matches(member, known, 1)
            hint = f": is it `{near[0]}`?" if near else f"; known are {', '.join(sorted(known))}"
            raise ConfigError(f"{file.place(TABLE, name, member)} is unknown{hint}")
    if name not in (*COLLECTIONS, *CLOSED_COLLECTIONS, *URGENCIES) and not table.keys() >= NEW:
        near = difflib.get_close_matches(name, COLLECTIONS, 1)
        hint = f"is it `{near[0]}`?" if near else f"known are {', '.join(sorted(COLLECTIONS))};"
        raise ConfigError(f"{place} is unknown: {hint} a new one needs {' and '.join(sorted(NEW))}")
    row = replace(COLLECTIONS.get(name, DEFAULT_COLLECTION), name=name)
    for member, (field, words) in WORDS.items():
        if member in table:
            row = replace(row, **{field: _word(file, name, member, words)(table[member])})
    row = replace(row, ttl_s=_lifetime_s(file, row, table))
    # CT-036
    if name in CLOSED_COLLECTIONS and row.deletion is not DeletionPolicy.SOFT_DELETE:
        place = file.place(TABLE, name, "deletion")
        raise ConfigError(f"{place}: documents of `{name}` are not deleted and do not expire")
    if (row.batch_direction, row.tombstone_direction) in MEETS_NONE:
        where = "tombstones_go" if "tombstones_go" in table else "documents_go"
        raise ConfigError(
            f"{file.place(TABLE, name, where)} contradicts the other direction: documents would go "
            f"{row.batch_direction}, and what deletes them the other way"
        )
    return row


def _word(
    file: ConfigFile, name: str, member: str, words: Mapping[str, Any]
) -> Callable[[object], Any]:
    """Return what reads the value of a member."""

    def read(value: object) -> Any:
        if not isinstance(value, str) or value not in words:
            raise ConfigError(f"{file.place(TABLE, name, member)} is one of {', '.join(words)}")
        return words[value]

    return read


def _lifetime_s(file: ConfigFile, row: PolicyRow, table: Mapping[str, object]) -> int | None:
    """Return the lifetime of a row, which its deletion policy has or has not."""
    place = file.place(TABLE, row.name, LIFETIME if LIFETIME in table else "")
    has_lifetime = row.deletion is not DeletionPolicy.SOFT_DELETE
    given = table.get(LIFETIME)
    if given is None:
        if row.deletion is DeletionPolicy.IMPLICIT_TTL and row.ttl_s is None:
            raise ConfigError(f"{place} needs `{LIFETIME}`, since its documents expire")
        return row.ttl_s if has_lifetime else None
    if not has_lifetime:
        raise ConfigError(f"{place} contradicts `deletion`: with {row.deletion} nothing expires")
    is_whole = isinstance(given, int) and not isinstance(given, bool)
    if not is_whole or not isinstance(given, int) or not 0 < given <= LIFETIME_MAX_S:
        raise ConfigError(f"{place} is a whole number of seconds from 1 to {LIFETIME_MAX_S}")
    return given
