"""Which options of `meshwire-node run` belong to which profile.

A node is one of signed operations (`oplog/1`) where it listens at a WebSocket or has a rendezvous,
and otherwise one of documents (`sync/1`). An option of the other profile would do nothing, and the
operator would take it for done: so it is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from typing import Final

from meshwire_reference.cli.collections import TABLE as COLLECTION
from meshwire_reference.cli.config_file import ConfigFile
from meshwire_reference.cli.run_options import SECRET_VARIABLE, RunOptions
from meshwire_reference.cli.settings import NAMES, PEER
from meshwire_reference.node.config import ConfigError

WEBSOCKET: Final = ("ws://", "wss://")
"""How the addresses of a node of signed operations begin."""
OF_BOTH: Final = frozenset(("listen", "data", "control", "test_control", "config"))
"""Options of every node, by the names of their fields."""
OF_OPERATIONS: Final = frozenset((
    "rendezvous", "level", "operation_version", "join_token_file", "join_bearer", "max_mesh_peers",
    "mesh_address", "mesh_loopback", "tls_certificate_file", "tls_key_file", "tls_ca_file",
))  # fmt: skip
"""Options of a node of signed operations alone."""
OF_DOCUMENTS: Final = frozenset(one.name for one in fields(RunOptions)) - OF_BOTH - OF_OPERATIONS
"""Options of a node of documents alone: all others."""
FLAGS: Final = {"connect": "--peer", "is_open": "--open"}
"""Options of the command line whose names are not those of their fields."""
INSTEAD: Final = {"connect": "its peers are those of --rendezvous"}
"""What a node of signed operations has in place of an option."""
DOCUMENTS: Final = "nodes of documents (sync/1)"
OPERATIONS: Final = "nodes of signed operations (oplog/1, --listen ws://.. or --rendezvous)"


def is_of_operations(options: RunOptions) -> bool:
    """Return True for the options of a node of signed operations."""
    return bool(options.rendezvous) or any(
        address.startswith(WEBSOCKET) for address in options.listen or ()
    )


def check_profile(
    options: RunOptions, given: frozenset[str], file: ConfigFile | None, read: frozenset[str]
) -> None:
    """Raise ConfigError for an option of the other profile.

    `given` are the names of the options of the command line, `read` of those that the file has.
    """
    if not (options.listen or options.rendezvous):
        # That is said first.
        return
    if is_of_operations(options):
        wanted, other, foreign = DOCUMENTS, OPERATIONS, OF_DOCUMENTS
    else:
        wanted, other, foreign = OPERATIONS, DOCUMENTS, OF_OPERATIONS
    for name, place in _places(options, given & foreign, file, read & foreign):
        raise ConfigError(
            f"{place} is for {wanted}, and this is one of {other.removeprefix('nodes of ')}: "
            f"{INSTEAD.get(name, 'leave it out')}"
        )


def _places(
    options: RunOptions, given: frozenset[str], file: ConfigFile | None, read: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """Yield the options that are given and where each of them is."""
    for name in sorted(given):
        if not _is_ambient(name, options):
            yield name, flag(name)
    if file is None:
        return
    for name in sorted(read):
        member = NAMES.get(name, name)
        yield name, file.place(member if member in file.members else PEER)
    if COLLECTION in file.members and is_of_operations(options):
        yield COLLECTION, file.place(COLLECTION)


def flag(name: str) -> str:
    """Return the name of an option on the command line."""
    return FLAGS.get(name, f"--{name.replace('_', '-')}")


def _is_ambient(name: str, options: RunOptions) -> bool:
    """Return True for what the environment says to each node that is started in it."""
    found = os.environ.get(SECRET_VARIABLE)
    return name == "formation_secret_file" and str(options.formation_secret_file) == found
