"""Records of nodes in the document of `oplog/1`, and which of them a node may dial.

A record is a claim: any author can write any of them. So at `strict` an address is looked at before
it is dialled, and a peer is asked who it is once it is connected.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from meshwire_reference.hosts import HostAddress, HostClass, class_of, is_number
from meshwire_reference.oplog.authoring import OperationAuthor
from meshwire_reference.oplog.nodes import ListNode, StructNode
from meshwire_reference.oplog.operations import KEY_SIZE, SignedOperation
from meshwire_reference.oplog.values import JsonValue
from meshwire_spec.numbers import (
    OPLOG_MESH_ADDRESS_MAX,
    OPLOG_MESH_AHEAD_MAX_S,
    OPLOG_MESH_FRESH_S,
    OPLOG_MESH_RENEWAL_S,
)

MS_PER_S = 1000
NODES = "nodes"
ENDPOINT = "/crdt-sync"
SCHEMES = ("ws", "wss")
HEX_DIGITS = frozenset("0123456789abcdef")
LOCAL_NAME = "localhost"
PORT_MAX = 0xFFFF
# Records of a node itself that others wrote, and that it deletes at once.
COPIES_MAX = 16

# Why a record is not dialled.
OWN_RECORD = "own-record"
NOT_ALIVE = "not-alive"
NO_ADDRESS = "no-address"
STALE = "stale"
FUTURE = "future"
BAD_ID = "bad-id"
BAD_ADDRESS = "bad-address"
LOCAL_ADDRESS = "local-address"
RENDEZVOUS = "rendezvous"


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What the document says of a node; times in seconds and in milliseconds since 1970."""

    node_id: str
    address: str
    last_seen: float
    last_seen_ms: float | None = None
    alive: bool = True

    @property
    def seen_ms(self) -> float:
        """When it was last seen, in milliseconds."""
        return self.last_seen * MS_PER_S if self.last_seen_ms is None else self.last_seen_ms


@dataclass(frozen=True, slots=True)
class RecordRules:
    """What a node knows that judges records.

    `own_id` is its id in hexadecimal, `rendezvous` the addresses that it dials anyway. With
    `allows_loopback` addresses of this machine may be dialled, as in a laboratory.
    """

    own_id: str
    is_strict: bool = True
    rendezvous: tuple[str, ...] = ()
    allows_loopback: bool = False

    def fault(self, record: NodeRecord, wall_ms: int) -> str | None:
        """Return why a record is not dialled at a time of the calendar, or None if it is."""
        # OP-072
        if record.node_id == self.own_id:
            return OWN_RECORD
        if not record.alive:
            return NOT_ALIVE
        if not record.address:
            return NO_ADDRESS
        now_ms = wall_ms if self.is_strict else wall_ms // MS_PER_S * MS_PER_S
        age_s = (now_ms - record.seen_ms) / MS_PER_S
        # What is not a number is never fresh.
        if not age_s < OPLOG_MESH_FRESH_S:
            return STALE
        return self._strict_fault(record, age_s) if self.is_strict else None

    def _strict_fault(self, record: NodeRecord, age_s: float) -> str | None:
        # OP-075
        if age_s < -OPLOG_MESH_AHEAD_MAX_S:
            return FUTURE
        if len(record.node_id) != 2 * KEY_SIZE or not HEX_DIGITS.issuperset(record.node_id):
            return BAD_ID
        # OP-086
        if any(is_same_place(record.address, url) for url in self.rendezvous):
            return RENDEZVOUS
        return address_fault(record.address, allows_loopback=self.allows_loopback)


# Every scan asks for all addresses again.
@lru_cache(maxsize=4096)
def address_fault(address: str, *, allows_loopback: bool) -> str | None:
    """Return why the address of a record is not dialled, or None if it is."""
    # OP-076
    parts = split_address(address)
    if parts is None:
        return BAD_ADDRESS
    host = parts.hostname or ""
    name = host.rstrip(".")
    if name == LOCAL_NAME or name.endswith(f".{LOCAL_NAME}"):
        return None if allows_loopback else LOCAL_ADDRESS
    try:
        found = ip_address(host)
    except ValueError:
        # A resolver reads `0`, `127.1` and `0x7f000001` as addresses too.
        return BAD_ADDRESS if is_number(name) or not name.isascii() or "%" in host else None
    if "%" in host:
        # A zone says which link of this machine is meant, which no other machine knows.
        return BAD_ADDRESS
    return host_fault(found, allows_loopback=allows_loopback)


def host_fault(host: HostAddress, *, allows_loopback: bool) -> str | None:
    """Return why an address of the network is not dialled, or None if it is."""
    kind = class_of(host)
    if kind is HostClass.LOOPBACK:
        return None if allows_loopback else LOCAL_ADDRESS
    return None if kind is None else BAD_ADDRESS


def split_address(address: str) -> SplitResult | None:
    """Return the parts of `ws://HOST:PORT/crdt-sync`, or None if it is no such address."""
    if len(address) > OPLOG_MESH_ADDRESS_MAX or not address.isprintable() or " " in address:
        return None
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    is_plain = not (parts.query or parts.fragment or "@" in parts.netloc or "?" in address)
    if parts.scheme not in SCHEMES or parts.path != ENDPOINT or not is_plain:
        return None
    return parts if parts.hostname and (port is None or 0 < port <= PORT_MAX) else None


def is_same_place(one: str, other: str) -> bool:
    """Return True if two addresses have the same host and port."""
    places = []
    for address in (one, other):
        try:
            parts = urlsplit(address)
            port = parts.port or {"ws": 80, "wss": 443}.get(parts.scheme)
        except ValueError:
            return False
        places.append((parts.hostname, port))
    return places[0] == places[1] and places[0][0] is not None


def read_records(document: StructNode) -> Iterator[NodeRecord]:
    """Yield the records of a document in the order of their list."""
    nodes = document.fields.get(NODES)
    if not isinstance(nodes, ListNode):
        return
    for node in nodes.shown():
        if isinstance(node, StructNode):
            yield record_of(node)


def record_of(node: StructNode) -> NodeRecord:
    """Return the record in an element of the list; a value of another type counts as none."""
    values = {name: field.view() for name, field in node.fields.items()}
    seen_ms = values.get("last_seen_ms")
    return NodeRecord(
        _text(values.get("node_id")),
        _text(values.get("address")),
        _number(values.get("last_seen")),
        None if seen_ms is None else _number(seen_ms),
        alive=values.get("alive") is True,
    )


class OwnRecord:
    """The record of a node itself; `renew` it now and then every `interval_s` seconds."""

    interval_s = OPLOG_MESH_RENEWAL_S

    def __init__(self, author: OperationAuthor, address: str) -> None:
        self._author = author
        self._node_id = author.signer.author.hex()
        self._address = address

    def renew(self, wall_ms: int) -> Iterator[SignedOperation]:
        """Yield the operations that say that this node is there, each of them already applied.

        Raise Unauthored.
        """
        # OP-083
        seen = {"last_seen": wall_ms / MS_PER_S, "last_seen_ms": float(wall_ms)}
        said: dict[str, JsonValue] = {
            "node_id": self._node_id, "address": self._address, **seen, "alive": True,
        }  # fmt: skip
        held = self._elements()
        if not held:
            yield self._author.append((NODES,), said)
            return
        first, *others = held
        for name, value in said.items():
            path = (NODES, first, name)
            register = self._author.find(path)
            if register is None or register.view() != value:
                yield self._author.set(path, value)
        for other in others[:COPIES_MAX]:
            yield self._author.delete((NODES,), other)

    def _elements(self) -> list[bytes]:
        """Return the elements that name this node, in the order of the list."""
        nodes = self._author.replica.document.fields.get(NODES)
        if not isinstance(nodes, ListNode):
            return []
        return [
            element.id
            for element in nodes.walk()
            if isinstance(element.node, StructNode)
            and not element.is_deleted
            and element.node.fields["node_id"].view() == self._node_id
        ]


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def _number(value: JsonValue) -> float:
    return value if isinstance(value, float) else math.nan
