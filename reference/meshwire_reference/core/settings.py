"""The settings of a node core, and the moment that each input carries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from meshwire_reference.core.inputs import PeerRole
from meshwire_reference.core.state.document_index import Identify, identify_key
from meshwire_reference.core.state.hierarchy import Admits
from meshwire_reference.core.state.policy import PUBLISHED, Collections
from meshwire_reference.core.trust.store import TrustSettings
from meshwire_spec.numbers import (
    DEAD_PEER_S,
    EXPIRY_SWEEP_S,
    FRAME_STALL_S,
    HANDSHAKE_S,
    HEARTBEAT_INTERVAL_S,
    INBOUND_BYTES_MAX,
    PAYLOAD_MAX,
    RUN_ANSWER_S,
    SNAPSHOT_ANSWER_INTERVAL_S,
    TOMBSTONE_ANSWER_INTERVAL_S,
    TOMBSTONE_BYTES_MAX,
    TOMBSTONES_MAX,
    VERDICT_LINGER_S,
)


class Dialect(StrEnum):
    """The way in which a peer proves its membership in the formation."""

    OPEN = "open"
    H1 = "H1"
    H2 = "H2"


@dataclass(frozen=True, slots=True)
class Moment:
    """The time of an input: a clock that never jumps, and the calendar's in ms since 1970."""

    monotonic_s: float
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits and deadlines of a node. Sizes are in bytes, times in seconds."""

    dialect: Dialect
    detects: bool = False
    """True serves initiators of both H1 and H2, and dials again in the other where one fails."""
    refuses_unproven: bool = False
    """True refuses an acceptor that does not prove itself too; False warns of it."""
    proves: bool = False
    """True proves itself to every initiator that it has accepted, else to `own_peers` alone."""
    collections: Collections = PUBLISHED
    """How documents of each collection are sent and deleted."""
    roles: Mapping[str, PeerRole] = field(default_factory=dict)
    """The roles of peers at the start, by endpoint id in hex; without any there is no hierarchy."""
    admits: Admits | None = None
    """Returns whether frames of a collection and type are taken from a peer; None asks the table of
    collections."""
    payload_cap: int = PAYLOAD_MAX
    """The largest payload that the node sends or takes."""
    handshake_s: float = HANDSHAKE_S
    """Deadline of a whole handshake; a connection that exceeds it is closed."""
    frame_stall_s: float = FRAME_STALL_S
    """A frame is refused if no byte of it arrives for this long."""
    heartbeat_s: float = HEARTBEAT_INTERVAL_S
    """Time between heartbeats; 0 sends none."""
    dead_peer_s: float = DEAD_PEER_S
    """A dialled peer that is silent so long, two probes included, is left; 0 never does so."""
    verdict_linger_s: float = VERDICT_LINGER_S
    """How long a connection lives on after a handshake has failed, so that the verdict arrives."""
    tombstone_answer_s: float = TOMBSTONE_ANSWER_INTERVAL_S
    """Minimum time between two answers to one peer with the same tombstone."""
    snapshot_answer_s: float = SNAPSHOT_ANSWER_INTERVAL_S
    """A snapshot of a key is answered to one peer once in this time."""
    own_peers: frozenset[str] = frozenset()
    """Endpoint ids, in hex, of nodes of one's own: their polls need no answer, and as acceptor this
    node proves itself to them."""
    allowed_peers: frozenset[str] | None = None
    """Endpoint ids, in hex, of the only peers that are served; None serves every one."""
    trust: TrustSettings | None = None
    """The roots of the certificates of peers; None asks for no certificate."""
    heads_peers: frozenset[str] = frozenset()
    """Endpoint ids, in hex, of own nodes with which this one reconciles by heads."""
    skip_event_s: float = 60.0
    """Minimum time between two events about skipped entries of one key."""
    graveyard_s: float = 0.0
    """Expired tombstones are remembered for this long, against documents that return."""
    sweep_s: float = EXPIRY_SWEEP_S
    """Time between removals of expired tombstones, and of documents whose lifetime has passed."""
    tombstones_max: int = TOMBSTONES_MAX
    """Tombstones that are stored at most, but for the reserve of own deletions (TS-054)."""
    tombstone_bytes_max: int = TOMBSTONE_BYTES_MAX
    """Bytes of all stored tombstones at most, but for that reserve."""
    full_event_s: float = 60.0
    """Minimum time between two events about tombstones that exceed these bounds."""
    room_sweep_s: float = 10.0
    """Minimum time between two removals of the oldest tombstones to make room."""
    answer_bytes_max: int = 4 * 2**20
    """Bytes made for one peer and not sent yet; a single message may be larger."""
    all_answer_bytes_max: int = 64 * 2**20
    """Bytes made for all peers and not sent yet; beyond it each peer may have one message."""
    inbound_bytes_max: int = INBOUND_BYTES_MAX
    """Bytes of all peers' frames that are not over; beyond it `inbound_share_bytes` applies."""
    inbound_share_bytes: int = 2**18
    """At that limit a peer with more bytes than this waits, unless its stream is the oldest."""
    batch_entries: int = 20
    """Greatest number of entries in a batch that the node sends."""
    sends_max: int = 16
    """Streams that are open toward one peer at a time."""
    run_answer_s: float = RUN_ANSWER_S
    """How long a reconciliation run of this node waits for each answer."""
    run_s: float = 120.0
    """How long a reconciliation run of this node takes at most."""
    second_run_s: float = 1.0
    """How long the side that was dialled waits with its run by heads, and again if one goes on."""
    held_by_both_s: float = 10.0
    """Documents that both sides hold are offered this long after those that the peer lacks."""
    identify: Identify = identify_key
    """Returns the id of a document in reconciliation runs, from its key."""
    serves_reconciliation: bool = True
    """False refuses frames of types 0x08 and 0x09 as unsupported."""
