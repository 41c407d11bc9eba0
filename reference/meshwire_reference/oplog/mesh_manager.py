"""The mesh manager at level `wire`, and what it shares with the strict one: no input or output.

A manager reads the records of the document at each scan and says which connections to open and to
end. Its driver carries that out, calls `look` once `deadline` has passed, and reports each
connection that it has opened once that has ended.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from meshwire_reference.oplog.mesh_records import NodeRecord, RecordRules
from meshwire_spec.numbers import OPLOG_MESH_FIRST_SCAN_S, OPLOG_MESH_SCAN_S

# Codes of close frames: of a node that goes away, and private ones.
GOING_AWAY = 1001
MESH_FULL = 4004
WRONG_NODE = 4005
DUPLICATE = 4006

INELIGIBLE = "ineligible"


@dataclass(frozen=True, slots=True)
class OpenLink:
    """Dial a peer; the connection is known by this number from now on."""

    number: int
    peer: str
    address: str


@dataclass(frozen=True, slots=True)
class EndLink:
    """End a connection with a code and reason."""

    number: int
    peer: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class RecordSkipped:
    """A record is not dialled, for another reason than at the scan before; log it.

    All but the reason is text that anyone may have written.
    """

    peer: str
    reason: str
    address: str


MeshAction = OpenLink | EndLink | RecordSkipped


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """How a connection has ended: the code of its close frame, and seconds since it was up.

    `lasted_s` is None if it never was.
    """

    code: int
    lasted_s: float | None = None


@dataclass(slots=True)
class MeshLink:
    """A connection that the manager has opened."""

    number: int
    peer: str
    address: str
    has_ended: bool = False


class MeshManager(ABC):
    """Which nodes of the document are dialled, up to `cap` at once; 0 dials none.

    Times are those of a clock that never goes back, in seconds, but for `wall_ms`.
    """

    def __init__(self, rules: RecordRules, cap: int, now_s: float) -> None:
        self.rules = rules
        self.cap = cap
        self.scans = 0
        self._numbers = count(1)
        # OP-070, OP-071
        self._scan_s = now_s + OPLOG_MESH_FIRST_SCAN_S if cap else None
        self._skipped: dict[str, str] = {}

    @property
    def deadline(self) -> float | None:
        """When `look` is to be called, or None for never."""
        return self._scan_s

    def look(self, records: Iterable[NodeRecord], now_s: float, wall_ms: int) -> list[MeshAction]:
        """Return what to do after a look at the records, if it is time for one."""
        deadline = self.deadline
        if deadline is None or now_s < deadline or self._scan_s is None:
            return []
        is_scan = now_s >= self._scan_s
        if is_scan:
            # Scans that were missed are not made up for.
            missed = (now_s - self._scan_s) // OPLOG_MESH_SCAN_S
            self._scan_s += (missed + 1) * OPLOG_MESH_SCAN_S
            self.scans += 1
        eligible, actions = self._judge(records, wall_ms)
        return actions + self._decide(eligible, now_s, is_scan=is_scan)

    def stop(self) -> None:
        """Scan no more; the driver ends the connections."""
        # OP-084
        self._scan_s = None

    def _judge(
        self, records: Iterable[NodeRecord], wall_ms: int
    ) -> tuple[dict[str, NodeRecord], list[MeshAction]]:
        """Return the records that may be dialled by id, in order, and what to log of others."""
        eligible: dict[str, NodeRecord] = {}
        faults: dict[str, RecordSkipped] = {}
        for record in records:
            fault = self.rules.fault(record, wall_ms)
            if fault is not None:
                skip = RecordSkipped(record.node_id, fault, record.address)
                faults.setdefault(record.node_id, skip)
            elif (held := eligible.get(record.node_id)) is None or self._is_better(record, held):
                eligible[record.node_id] = record
        skipped = {peer: skip for peer, skip in faults.items() if peer not in eligible}
        news = [
            skip
            for peer, skip in skipped.items()
            if self._skipped.get(peer) != skip.reason and peer != self.rules.own_id
        ]
        self._skipped = {peer: skip.reason for peer, skip in skipped.items()}
        return eligible, list(news)

    def _is_better(self, record: NodeRecord, held: NodeRecord) -> bool:
        """Return True if a later record of a node counts instead of an earlier one."""
        return self.rules.is_strict and record.seen_ms > held.seen_ms

    @property
    def peers(self) -> set[str]:
        """The peers whose connections count."""
        return set()

    def take_session(self) -> int:
        """Return the number of a session that this manager has not opened; report its end too."""
        return next(self._numbers)

    def greeted(self, number: int, node: str | None, *, for_mesh: bool) -> list[MeshAction]:
        """Take whom a peer says that it is, None if it does not say; return what to do.

        `for_mesh` is True if it has dialled for the mesh.
        """
        return []

    @abstractmethod
    def _decide(
        self, eligible: dict[str, NodeRecord], now_s: float, *, is_scan: bool
    ) -> list[MeshAction]:
        """Return which connections to end and to open."""

    @abstractmethod
    def ended(self, number: int, end: LinkEnd, now_s: float) -> None:
        """Take the end of a connection."""


class DeployedMesh(MeshManager):
    """The manager of deployed peers: first come in the list, first dialled, once a scan."""

    def __init__(self, rules: RecordRules, cap: int, now_s: float) -> None:
        super().__init__(rules, cap, now_s)
        self.links: dict[str, MeshLink] = {}

    def _decide(
        self, eligible: dict[str, NodeRecord], now_s: float, *, is_scan: bool
    ) -> list[MeshAction]:
        # OP-073: those that may not be held, then those that are over, then new ones.
        actions: list[MeshAction] = []
        for peer, link in list(self.links.items()):
            if peer not in eligible:
                del self.links[peer]
                if not link.has_ended:
                    actions.append(EndLink(link.number, peer, GOING_AWAY, INELIGIBLE))
        for peer, link in list(self.links.items()):
            if link.has_ended:
                del self.links[peer]
        for peer, record in eligible.items():
            # OP-074
            if len(self.links) >= self.cap:
                break
            if peer not in self.links:
                link = self.links[peer] = MeshLink(next(self._numbers), peer, record.address)
                actions.append(OpenLink(link.number, peer, record.address))
        return actions

    @property
    def peers(self) -> set[str]:
        """The peers whose connections count, those that are over included (G-11)."""
        return set(self.links)

    def ended(self, number: int, end: LinkEnd, now_s: float) -> None:
        """Note that a connection is over; it keeps its place until the next scan (D-150)."""
        for link in self.links.values():
            if link.number == number:
                link.has_ended = True
