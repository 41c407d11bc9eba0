"""The file of peers of `meshwire-node run --peers-file`: addresses to dial, each in a table.

    [[peer]]
    address = "quic://192.0.2.7:4711"
    endpoint_id = "8139770e..."

`endpoint_id` may be left out. With it the peer has to prove that it has the key of this id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from meshwire_reference.cli.collections import ENDPOINT
from meshwire_reference.cli.config_file import ConfigFile, open_config
from meshwire_reference.node.config import ConfigError
from meshwire_reference.transport.base import TransportError
from meshwire_reference.transport.lab.tcp import parse_address
from meshwire_reference.transport.registry import check_dialled, check_offered

PEER: Final = "peer"
MEMBERS: Final = ("address", "endpoint_id")
PEERS_MAX: Final = 256
"""Greatest number of peers in a file: each of them costs a task and a connection."""
TABLE: Final = re.compile(r"\s*\[\[\s*[\"']?peer[\"']?\s*\]\]")
EXAMPLE: Final = '[[peer]] with address = "tcp://127.0.0.1:4711"'


def read_peers(path: Path, *, lab: bool) -> list[str]:
    """Return the addresses in a file, in their order; `lab` allows tcp:// off this machine.

    Raises ConfigError, which names the line of the peer at fault. Source: TR-060.
    """
    file = open_config(path)
    for name in file.members:
        if name != PEER:
            raise ConfigError(f"{file.place(name)} is unknown: a file of peers has {EXAMPLE}")
    tables = file.members.get(PEER, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise ConfigError(f"{file.place(PEER)} is tables, each {EXAMPLE}")
    # TR-060
    if len(tables) > PEERS_MAX:
        raise ConfigError(f"{path} has {len(tables)} peers, and {PEERS_MAX} are read at most")
    addresses = []
    taken: dict[tuple[str, str, int], int] = {}
    for number, table in enumerate(tables, 1):
        place = _place(file, number)
        address = _address_of(table, place, lab=lab)
        scheme, _, rest = address.partition("://")
        # With an endpoint id or without, and however the numbers are written.
        where = (scheme, *parse_address(f"{scheme}://{rest.rpartition('@')[2]}", scheme))
        if where in taken:
            raise ConfigError(f"{place}: `address` is that of peer {taken[where]} too")
        taken[where] = number
        addresses.append(address)
    return addresses


def _place(file: ConfigFile, number: int) -> str:
    """Return where the table of a peer begins, counted from 1."""
    lines = enumerate(file.text.splitlines(), 1)
    begins = [at for at, line in lines if TABLE.match(line)]
    line = f":{begins[number - 1]}" if number <= len(begins) else ""
    return f"{file.path}{line}: peer {number}"


def _address_of(table: Mapping[str, Any], place: str, *, lab: bool) -> str:
    """Return the address of a peer, with its endpoint id if it has one. Raises ConfigError."""
    for member, value in table.items():
        if member not in MEMBERS:
            raise ConfigError(f"{place}: `{member}` is unknown; known are {', '.join(MEMBERS)}")
        if not isinstance(value, str):
            raise ConfigError(f"{place}: `{member}` is a text")
    address, endpoint_id = table.get("address"), table.get("endpoint_id")
    if address is None:
        raise ConfigError(f"{place}: `address` is missing, such as tcp://127.0.0.1:4711")
    if endpoint_id is not None:
        address = _with_endpoint_id(address, endpoint_id, place)
    try:
        check_offered(address)
        check_dialled(address, lab=lab)
    except TransportError as exc:
        raise ConfigError(f"{place}: {exc}") from exc
    return address


def _with_endpoint_id(address: str, endpoint_id: str, place: str) -> str:
    """Return an address that names the endpoint id that has to be proven there."""
    if not ENDPOINT.fullmatch(endpoint_id):
        raise ConfigError(f"{place}: `endpoint_id` has 64 hex digits")
    endpoint_id = endpoint_id.lower()
    scheme, _, rest = address.partition("://")
    # TR-061
    if scheme == "tcp":
        raise ConfigError(f"{place}: nobody proves an `endpoint_id` over tcp://, leave it out")
    named, at, _ = rest.rpartition("@")
    if at and named.lower() != endpoint_id:
        raise ConfigError(f"{place}: `address` names another endpoint id than `endpoint_id`")
    return address if at else f"{scheme}://{endpoint_id}@{rest}"
