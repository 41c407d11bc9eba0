"""The mesh manager at level `strict`.

Theory of operation. A link is a peer with a session that either side has dialled for the mesh; both
count, so a node never has more links than its cap. Random choice alone cannot connect a mesh of
which each node has few links: with a cap of two, two rings of five nodes are full. So the ids of
the nodes, as numbers, are taken for a ring. A node first dials its successor, the next id on the
ring, and then others at random, up to half its cap; the other half is for those that dial it. What
nobody has taken by the next scan it uses too. A node that is full takes the one that is nearest
before or after it of those that it is linked with, and ends another link. So the links of a mesh
whose nodes know each other contain the ring, and are connected.

A peer that could not be reached, or was full, is marked for a while and comes after all others.
Passes between scans are spread by the waits of a rendezvous (OP-047, OP-048), and each dials at
most `cap` peers, however many records there are.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from meshwire_reference.oplog.mesh_manager import (
    DUPLICATE,
    GOING_AWAY,
    INELIGIBLE,
    MESH_FULL,
    WRONG_NODE,
    EndLink,
    LinkEnd,
    MeshAction,
    MeshManager,
    OpenLink,
)
from meshwire_reference.oplog.mesh_records import NodeRecord, RecordRules
from meshwire_reference.oplog.operations import KEY_SIZE
from meshwire_reference.oplog.rendezvous import SESSION_MIN_S, RendezvousBackoff
from meshwire_spec.numbers import OPLOG_MESH_FRESH_S, OPLOG_MESH_SCAN_S

RING: Final = 1 << (8 * KEY_SIZE)
# A node with one link is no part of a ring.
RING_CAP_MIN = 2
# Exponent at which the mark of a failed peer has its longest time.
DOUBLINGS_MAX = 10


def distance(one: str, other: str) -> int:
    """Return how far it is on the ring from one id to another."""
    return (int(other, 16) - int(one, 16)) % RING


@dataclass(slots=True)
class PeerLink:
    """One session: dialled by the manager, or by a peer or the driver, which then is not `ours`.

    `peer` is empty while it is not known; `is_mesh` is True if it counts.
    """

    number: int
    peer: str = ""
    address: str = ""
    is_ours: bool = False
    is_mesh: bool = False
    is_up: bool = False
    # True if another link gives way once this one is up.
    replaces: bool = False
    # True once its end was ordered for no fault of the peer.
    is_ending: bool = False


@dataclass(slots=True)
class Mark:
    """How often a peer has failed in a row at an address, when at last, how long that counts."""

    address: str
    failures: int
    at_s: float
    until_s: float


class StrictMesh(MeshManager):
    """A manager that counts links of both directions.

    `chance` returns a number from 0 to below 1.
    """

    def __init__(
        self, rules: RecordRules, cap: int, now_s: float, chance: Callable[[], float]
    ) -> None:
        super().__init__(rules, cap, now_s)
        self._own = rules.own_id
        self._chance = chance
        self._links: dict[int, PeerLink] = {}
        self._marks: dict[str, Mark] = {}
        self._backoff = RendezvousBackoff(lambda: 2 * chance() - 1)
        self._retry_s: float | None = None
        # True if places were free at the last scan, once everything wanted was dialled.
        self._had_room = False

    @property
    def deadline(self) -> float | None:
        """When `look` is to be called: a scan, or a pass after something has ended."""
        if self._scan_s is None or self._retry_s is None:
            return self._scan_s
        return min(self._scan_s, self._retry_s)

    @property
    def peers(self) -> set[str]:
        """The peers of all links that are up."""
        return {
            one.peer
            for one in self._links.values()
            if one.is_mesh and one.is_up and not one.is_ending
        }

    # --- sessions ----------------------------------------------------------------------------

    def take_session(self) -> int:
        """Return the number of a session that this manager has not opened; report its end too."""
        link = PeerLink(next(self._numbers))
        self._links[link.number] = link
        return link.number

    def greeted(self, number: int, node: str | None, *, for_mesh: bool) -> list[MeshAction]:
        """Take whom a peer says that it is, None if it does not say; return what to do.

        `for_mesh` is True if it has dialled for the mesh.
        """
        link = self._links.get(number)
        if link is None or link.is_ending or link.is_up:
            return []
        if node is not None and (len(node) != 2 * KEY_SIZE or node == self._own):
            # OP-078
            return [self._fail(link, WRONG_NODE, "own-node")]
        if link.is_ours:
            return self._greeted_by_dialled(link, node)
        link.peer, link.is_up = node or "", True
        if node is None or not self.cap:
            return []
        if not for_mesh:
            return self._end_own_duplicates(node)
        return self._admit(link, node)

    def _greeted_by_dialled(self, link: PeerLink, node: str | None) -> list[MeshAction]:
        if node is not None and node != link.peer:
            return [self._fail(link, WRONG_NODE, "other-node")]
        others = [one for one in self._others(link) if one.is_up]
        # OP-079: the lower id keeps its link; a link that is not of the mesh stays.
        if any(not one.is_ours and (not one.is_mesh or link.peer < self._own) for one in others):
            return [self._end(link, DUPLICATE, "duplicate")]
        link.is_up = True
        # OP-082
        actions: list[MeshAction] = [
            self._end(one, GOING_AWAY, "moved") for one in others if one.is_ours
        ]
        return actions + self._make_room(link.peer)

    def _admit(self, link: PeerLink, node: str) -> list[MeshAction]:
        """Take a link that a peer has dialled, if there is room for it."""
        actions: list[MeshAction] = []
        if node < self._own:
            actions += self._end_own_duplicates(node)
        taken = self._taken()
        # OP-080
        if node not in taken and len(taken) >= self.cap and not self._is_neighbour(node):
            return [*actions, self._end(link, MESH_FULL, "mesh-full")]
        link.is_mesh = True
        return actions + self._make_room(node)

    def _end_own_duplicates(self, node: str) -> list[MeshAction]:
        return [
            self._end(one, DUPLICATE, "duplicate")
            for one in list(self._links.values())
            if one.is_ours and one.peer == node and not one.is_ending
        ]

    def _others(self, link: PeerLink) -> list[PeerLink]:
        """Return the other sessions with the peer of a link."""
        return [
            one
            for one in self._links.values()
            if one is not link and one.peer == link.peer and not one.is_ending
        ]

    def _taken(self) -> set[str]:
        """Return the peers that have a place: links, and dials that need one."""
        dials = {
            one.peer
            for one in self._links.values()
            if one.is_ours and not one.is_up and not one.replaces and not one.is_ending
        }
        return self.peers | dials

    def _is_neighbour(self, node: str) -> bool:
        """Return True if a peer is nearer before or after this node than any that it has."""
        if self.cap < RING_CAP_MIN:
            return False
        return node in self._neighbours(self.peers | {node})

    def _neighbours(self, peers: Iterable[str]) -> set[str]:
        """Return the peers that are nearest after and before this node on the ring."""
        peers = set(peers)
        after = min(peers, key=lambda peer: distance(self._own, peer), default="")
        before = min(peers, key=lambda peer: distance(peer, self._own), default="")
        return {after, before}

    def _make_room(self, new: str) -> list[MeshAction]:
        """End links until no more are up than the cap allows, the new one stays."""
        actions: list[MeshAction] = []
        while len(peers := self.peers) > self.cap:
            kept = self._neighbours(peers) | {new}
            choice = sorted(peers - kept) or sorted(peers - {new})
            victim = self._one_of(choice)
            actions += [
                self._end(one, MESH_FULL, "mesh-full")
                for one in list(self._links.values())
                if one.peer == victim and one.is_mesh and one.is_up and not one.is_ending
            ]
        return actions

    def _end(self, link: PeerLink, code: int, reason: str) -> EndLink:
        link.is_ending = True
        return EndLink(link.number, link.peer, code, reason)

    def _fail(self, link: PeerLink, code: int, reason: str) -> EndLink:
        """End a session for a fault of its peer."""
        if not link.is_ours:
            return self._end(link, code, reason)
        # `ended` marks the peer.
        link.is_mesh = False
        return EndLink(link.number, link.peer, code, reason)

    def _one_of(self, choice: list[str]) -> str:
        return choice[int(self._chance() * len(choice))]

    # --- ends --------------------------------------------------------------------------------

    def ended(self, number: int, end: LinkEnd, now_s: float) -> None:
        """Take the end of a session; its place is free, and is given away after a while."""
        # OP-081
        link = self._links.pop(number, None)
        if link is None or link.is_ending or not (link.is_ours or link.is_mesh):
            return
        lasted_s = 0.0 if end.lasted_s is None else end.lasted_s
        if link.is_ours:
            if lasted_s >= SESSION_MIN_S:
                self._marks.pop(link.peer, None)
            else:
                self._mark(link, now_s)
        if end.code == MESH_FULL and link.is_up and link.is_mesh:
            # Another one is between the two of them, so that those between are there.
            far = distance(self._own, link.peer)
            nearer = [peer for peer in self._marks if distance(self._own, peer) < far]
            for peer in nearer:
                del self._marks[peer]
        if self._retry_s is None:
            self._retry_s = now_s + self._backoff.ended(lasted_s)[1]

    def _mark(self, link: PeerLink, now_s: float) -> None:
        held = self._marks.get(link.peer)
        failures = 1 if held is None else held.failures + 1
        doubled_s = OPLOG_MESH_SCAN_S * 2 ** min(failures - 1, DOUBLINGS_MAX)
        until_s = now_s + min(doubled_s, OPLOG_MESH_FRESH_S)
        self._marks[link.peer] = Mark(link.address, failures, now_s, until_s)

    # --- passes ------------------------------------------------------------------------------

    def _decide(
        self, eligible: dict[str, NodeRecord], now_s: float, *, is_scan: bool
    ) -> list[MeshAction]:
        if self._retry_s is not None and now_s >= self._retry_s:
            self._retry_s = None
        self._marks = {
            peer: mark
            for peer, mark in self._marks.items()
            if peer in eligible and eligible[peer].address == mark.address
        }
        # OP-073
        actions: list[MeshAction] = [
            self._end(link, GOING_AWAY, INELIGIBLE)
            for link in list(self._links.values())
            if link.is_ours and not link.is_ending and link.peer not in eligible
        ]
        budget = self.cap
        for link in list(self._links.values()):
            if budget and self._has_moved(link, eligible, now_s):
                # OP-082
                actions.append(self._dial(eligible[link.peer], replaces=True))
                budget -= 1
        actions += self._fill(eligible, now_s, budget, is_scan=is_scan)
        if is_scan:
            self._had_room = len(self._taken()) < self.cap
        return actions

    def _has_moved(self, link: PeerLink, eligible: dict[str, NodeRecord], now_s: float) -> bool:
        is_held = link.is_ours and link.is_up and not link.is_ending
        if not is_held or self._is_marked(link.peer, now_s):
            return False
        is_dialled = any(one.is_ours and not one.is_up for one in self._others(link))
        return eligible[link.peer].address != link.address and not is_dialled

    def _fill(
        self, eligible: dict[str, NodeRecord], now_s: float, budget: int, *, is_scan: bool
    ) -> list[MeshAction]:
        """Dial the successor, and others at random while there is room."""
        actions: list[MeshAction] = []
        held = {one.peer for one in self._links.values() if one.peer and not one.is_ending}
        free = [peer for peer in eligible if peer not in held]
        fresh = [peer for peer in free if not self._is_marked(peer, now_s)]
        successor = self._successor(free, fresh, held & eligible.keys(), is_scan=is_scan)
        if successor is not None and budget:
            is_full = len(self._taken()) >= self.cap
            if not is_full or self.cap >= RING_CAP_MIN:
                actions.append(self._dial(eligible[successor], replaces=is_full))
                budget -= 1
        free = [peer for peer in free if peer != successor]
        while budget and free and self._has_place(is_scan=is_scan):
            peer = self._next(free, now_s)
            free.remove(peer)
            actions.append(self._dial(eligible[peer], replaces=False))
            budget -= 1
        return actions

    def _successor(
        self, free: list[str], fresh: list[str], held: set[str], *, is_scan: bool
    ) -> str | None:
        """Return the peer to dial as successor, or None if it is held or there is none.

        At a scan a node without a link tries the nearest again, whatever has failed: perhaps it was
        cut off itself.
        """
        # OP-085
        choice = free if is_scan and not self.peers else fresh
        nearest = min({*choice, *held}, key=lambda peer: distance(self._own, peer), default=None)
        return nearest if nearest in choice else None

    def _has_place(self, *, is_scan: bool) -> bool:
        """Return True if this node is to dial one more peer."""
        taken = len(self._taken())
        if taken >= self.cap:
            return False
        dialled = sum(one.is_ours and not one.is_ending for one in self._links.values())
        return dialled < max(1, self.cap // 2) or (is_scan and self._had_room)

    def _is_marked(self, peer: str, now_s: float) -> bool:
        mark = self._marks.get(peer)
        return mark is not None and now_s < mark.until_s

    def _next(self, free: list[str], now_s: float) -> str:
        """Return a random peer of those that have not failed, else the one that did longest ago."""
        # OP-081, OP-085
        fresh = sorted(peer for peer in free if not self._is_marked(peer, now_s))
        if fresh:
            return self._one_of(fresh)
        return min(free, key=lambda peer: (self._marks[peer].at_s, peer))

    def _dial(self, record: NodeRecord, *, replaces: bool) -> OpenLink:
        link = PeerLink(
            next(self._numbers),
            record.node_id,
            record.address,
            is_ours=True,
            is_mesh=True,
            replaces=replaces,
        )
        self._links[link.number] = link
        return OpenLink(link.number, link.peer, link.address)
