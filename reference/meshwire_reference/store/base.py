"""The port of a store: what a node keeps, how it reads it at the start, and how it adds to it.

A node opens its store once, hands over groups of writes in the order of their numbers, and reads
documents by their keys. A group takes effect as a whole and is durable when `write` returns. A key
without a document reads as None; a document that cannot be read raises, since a peer would take an
absent one for removed or never written.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from meshwire_reference.core.document_calls import Heads, KeptTombstone, Life
from meshwire_reference.core.effects import WriteStore
from meshwire_spec.numbers import ENDPOINT_ID

ACTOR: Final = 16
"""Bytes of an Automerge actor id."""


class StoreError(OSError):
    """The store cannot be opened, read or written; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays the same from one start of a node on a store to the next.

    `actor` signs the changes of the node (D-47). `endpoint_secret` is the seed of its proven
    endpoint id, `endpoint_id` the unproven one of the lab binding.
    """

    actor: bytes
    endpoint_id: bytes
    endpoint_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a store holds when it is opened: the stored size of each document, not its bytes.

    `heads` are those of the documents of which they are kept, `lives` those of documents with a
    lifetime.
    """

    identity: Identity
    """Who the node is."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    tombstones: Sequence[KeptTombstone] = ()
    lamport: int = 0
    heads: Mapping[str, Heads] = field(default_factory=dict)
    lives: Mapping[str, Life] = field(default_factory=dict)


def new_identity(entropy: Callable[[int], bytes]) -> Identity:
    """Return the identity of a node that has none yet, from random bytes."""
    return Identity(entropy(ACTOR), entropy(ENDPOINT_ID), entropy(ENDPOINT_ID))


class Store(Protocol):
    """A store of one node. Every method raises StoreError."""

    async def open(self) -> Contents:
        """Open the store and return what it holds. Called once, before everything else."""

    async def load(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of each document, None for one that does not exist.

        Sees every group whose `write` has returned.
        """

    async def write(self, group: Sequence[WriteStore], expired: Sequence[str] = ()) -> None:
        """Make the writes durable, all of them or none; an empty group tries whether it could.

        Before them the tombstones of the keys in `expired` are removed.
        """

    async def find(self, keys: Collection[str]) -> Contents:
        """Return what is stored of some documents, as `open` returns it of all."""

    async def close(self) -> None:
        """End the use of the store, which may be opened again by another object."""
