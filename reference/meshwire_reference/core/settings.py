"""The settings of a node core, and the moment that each input carries."""

from dataclasses import dataclass
from enum import StrEnum

from meshwire_reference.core.state.document_index import Identify, identify_key
from meshwire_spec.numbers import (
    FRAME_STALL_S,
    HANDSHAKE_S,
    HEARTBEAT_INTERVAL_S,
    PAYLOAD_MAX,
    TOMBSTONE_ANSWER_INTERVAL_S,
    VERDICT_LINGER_S,
)


class Dialect(StrEnum):
    """How a peer proves that it belongs to the formation."""

    OPEN = "open"
    H1 = "H1"


@dataclass(frozen=True, slots=True)
class Moment:
    """The time of an input: a clock that never jumps, and the calendar's in ms since 1970."""

    monotonic_s: float
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits and deadlines of a node.

    `heartbeat_s` 0 sends none. Expired tombstones are dropped every `sweep_s`. What is made for
    one peer and has not left takes `answer_bytes_max`, or is a single message; for all peers it
    takes `all_answer_bytes_max` and one message a peer. The rest is made when its turn comes.
    Unfinished frames of one peer take `inbound_bytes_max`; beyond, only its oldest stream is read.
    Those of all peers take `all_inbound_bytes_max`; beyond, a peer with more than
    `inbound_share_bytes` waits unless its stream is the oldest of all.
    `sends_max` streams are opened toward one peer at a time.
    A run of this node waits `run_answer_s` for each answer and takes `run_s` at most. What both
    sides of it hold is offered `held_by_both_s` after what the peer lacks, so that the missing
    comes first. In runs `identify` gives a document its id. Without `serves_reconciliation` the
    node refuses frames of types 0x08 and 0x09 as unsupported.
    """

    dialect: Dialect
    payload_cap: int = PAYLOAD_MAX
    handshake_s: float = HANDSHAKE_S
    frame_stall_s: float = FRAME_STALL_S
    heartbeat_s: float = HEARTBEAT_INTERVAL_S
    verdict_linger_s: float = VERDICT_LINGER_S
    tombstone_answer_s: float = TOMBSTONE_ANSWER_INTERVAL_S
    snapshot_answer_s: float = 1.0
    sweep_s: float = 300.0
    answer_bytes_max: int = 4 * 2**20
    all_answer_bytes_max: int = 64 * 2**20
    inbound_bytes_max: int = 2 * PAYLOAD_MAX
    all_inbound_bytes_max: int = 16 * PAYLOAD_MAX
    inbound_share_bytes: int = 2**20
    batch_entries: int = 20
    sends_max: int = 16
    run_answer_s: float = 10.0
    run_s: float = 120.0
    held_by_both_s: float = 10.0
    identify: Identify = identify_key
    serves_reconciliation: bool = True
