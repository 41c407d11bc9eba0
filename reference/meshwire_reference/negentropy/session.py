"""One reconciliation between two sets, message by message, and the limits of a run with a peer.

`Reconciliation` is the V1 algorithm without any cap on rounds; `Run` is a reconciliation with a
peer that may lie, repeat itself or never end.
"""

from hashlib import sha256
from typing import Final, NamedTuple

from meshwire_reference.negentropy.storage import Misused, RunRefused, Storage
from meshwire_reference.wire.errors import Malformed
from meshwire_reference.wire.reconciliation import (
    CONTINUES,
    FINGERPRINT,
    FINGERPRINT_MODE,
    ID_LIST_MODE,
    INFINITY,
    SKIP,
    SKIP_MODE,
    VARINTS,
    RangeWriter,
    encode_varint,
    read_ranges,
    split_ids,
)
from meshwire_spec.numbers import (
    NEGENTROPY_FINGERPRINT,
    NEGENTROPY_FRAME_LIMIT,
    NEGENTROPY_ID,
    NEGENTROPY_MESSAGE_MAX,
    NEGENTROPY_ROUND_BYTES,
    NEGENTROPY_ROUNDS_MIN,
    NEGENTROPY_VERSION,
)

PARTS: Final = 16
"""Parts into which a range is split whose fingerprint differs."""
LISTED: Final = 2 * PARTS
"""A range with fewer items than this is answered with its ids."""
FRAME_SIZE_LIMIT_MIN: Final = 4096
"""The smallest limit of a message, in bytes, that a session accepts."""
FRAME_RESERVE: Final = 200
"""Bytes below the frame limit where a reply stops, so that its last range always fits."""
VERSIONS: Final = range(0x60, 0x70)
"""Version bytes of this protocol; a server answers the ones it lacks with its own."""
VERSION: Final = NEGENTROPY_VERSION.to_bytes(1, "big")
SUM_MASK: Final = (1 << 8 * NEGENTROPY_ID) - 1
IDLE_MAX: Final = 2
"""Greatest number of successive messages that leave the same range first."""


def fingerprint(total: int, count: int) -> bytes:
    """Return the fingerprint of a range from the sum of its ids and their number."""
    number = VARINTS[count] if count < CONTINUES else encode_varint(count)
    content = (total & SUM_MASK).to_bytes(NEGENTROPY_ID, "little") + number
    return sha256(content).digest()[:NEGENTROPY_FINGERPRINT]


class Step(NamedTuple):
    """The result of a message; the ids are those of this message alone.

    `reply` goes to the peer; None ends the run, which only the initiator can. `have` are ids that
    the peer lacks, `need` ids that only the peer holds; both stay empty at the passive side. An id
    may be repeated in a later step, if frame limits made the run compare a range twice.
    """

    reply: bytes | None
    have: list[bytes]
    need: list[bytes]


class Reconciliation:
    """One side of a reconciliation over a storage, which may change between messages.

    The side that begins calls `initiate` once and sends what it returns; both feed every message
    received to `reconcile`, and the one that began is through once that gives no reply:

        client, server = Reconciliation(ours), Reconciliation(theirs)
        message = client.initiate()
        while message is not None:
            reply = server.reconcile(message).reply
            message, have, need = client.reconcile(reply)

    `initiates` says that this side began. `front` is the first range that the last message sent
    left open, as the keys of its two bounds, None where it left none.
    """

    __slots__ = ("_is_over", "_room", "_serves", "_storage", "front", "initiates")

    def __init__(self, storage: Storage, frame_size_limit: int = 0) -> None:
        """Raise Misused for a frame limit that is neither 0 (none) nor at least 4096 bytes."""
        if frame_size_limit and frame_size_limit < FRAME_SIZE_LIMIT_MIN:
            raise Misused("a frame size limit is 0 or at least 4096 bytes")
        self._storage = storage
        self._room = frame_size_limit - FRAME_RESERVE if frame_size_limit else None
        self.initiates = False
        self._serves = self._is_over = False
        self.front: tuple[bytes, bytes] | None = None

    def initiate(self) -> bytes:
        """Return the first message to send; raises Misused if the session has begun."""
        if self.initiates or self._serves:
            raise Misused("this session has begun")
        self.initiates = True
        answer = _Answer(self._storage, self._room)
        answer.open()
        self.front = answer.front
        return VERSION + bytes(answer.written.buffer)

    def reconcile(self, message: bytes) -> Step:
        """Answer a message; raises RunRefused if it breaks a rule.

        Raises Misused after the answer that ended the run.
        """
        if self._is_over:
            raise Misused("this run is over")
        self._serves = not self.initiates
        if not message:
            raise RunRefused("truncated", 0)
        if message[0] != NEGENTROPY_VERSION:
            # NG-002: a server names its own version to a client of another one.
            if self.initiates or message[0] not in VERSIONS:
                raise RunRefused("bad-version", 0)
            # NG-020: an answer without ranges leaves none.
            self.front = None
            return Step(VERSION, [], [])
        answer = _Answer(self._storage, self._room, initiates=self.initiates)
        try:
            answer.take(message)
        except Malformed as fault:
            raise RunRefused(fault.reason, fault.offset) from fault
        self.front = answer.front
        if self.initiates and not answer.written.buffer:
            self._is_over = True
            return Step(None, answer.have, answer.need)
        return Step(VERSION + bytes(answer.written.buffer), answer.have, answer.need)


class _Answer:
    """The answer to one message, in the making.

    `lower` is the rank where the next range begins, `lower_sum` the sum of ids before it and
    `bound` the key of that bound. Equal ranges are joined into one skip (`is_skipping`), written
    before the next range that is not equal. `_told` is the rank, and the sum of ids before
    it, up to which the reply is written.
    """

    __slots__ = (
        "_initiates",
        "_room",
        "_storage",
        "_told",
        "bound",
        "front",
        "have",
        "is_skipping",
        "lower",
        "lower_sum",
        "need",
        "written",
    )

    def __init__(self, storage: Storage, room: int | None, *, initiates: bool = True) -> None:
        self._storage = storage
        self._room = room
        self._initiates = initiates
        self._told = (0, 0)
        self.written = RangeWriter()
        self.have: list[bytes] = []
        self.need: list[bytes] = []
        self.front: tuple[bytes, bytes] | None = None
        self.bound = b""
        self.is_skipping = False
        self.lower = 0
        self.lower_sum = 0

    def open(self) -> None:
        """Describe all items, in the first message of a run."""
        size = self._storage.size
        self._split(INFINITY, *self._storage.locate(INFINITY, 0, size))

    def take(self, message: bytes) -> None:
        """Answer every range of a message until the frame is full, and check the others."""
        size = self._storage.size
        locate = self._storage.locate
        ranges = read_ranges(message)
        lower = lower_sum = length = 0
        previous = b""
        for bound, mode, payload in ranges:
            # Adjacent fingerprints mostly cover ranges of equal length.
            expected = length if mode == FINGERPRINT else len(payload) // NEGENTROPY_ID
            upper, upper_sum = locate(bound, lower, lower + expected)
            if mode == FINGERPRINT:
                length = upper - lower
                if fingerprint(upper_sum - lower_sum, length) == payload:
                    self.is_skipping = True
                else:
                    self.lower, self.lower_sum, self.bound = lower, lower_sum, previous
                    if not self._answer_fingerprint(bound, upper, upper_sum):
                        break
            elif mode == SKIP:
                self.is_skipping = True
            elif self._initiates:
                self._compare(self._storage.ids(lower, upper), payload)
                self.is_skipping = True
            else:
                self.lower, self.lower_sum, self.bound = lower, lower_sum, previous
                if not self._answer_ids(bound, upper, upper_sum):
                    break
            lower, lower_sum, previous = upper, upper_sum, bound
        else:
            return
        self._close(*locate(INFINITY, lower, size))
        for _ in ranges:
            """Later ranges are not answered, but the whole message must be well-formed."""

    def _pass_over(self) -> None:
        if self.is_skipping:
            self.is_skipping = False
            self.written.range(self.bound, SKIP_MODE)

    def _exceeds(self) -> bool:
        # The version byte is not in the buffer.
        return self._room is not None and len(self.written.buffer) + 1 > self._room

    def _answer_fingerprint(self, bound: bytes, upper: int, upper_sum: int) -> bool:
        """Describe a range that differs; return False if the frame has no room for it."""
        size_before = len(self.written.buffer)
        front_before = self.front
        self._pass_over()
        self._split(bound, upper, upper_sum)
        if self._exceeds():
            del self.written.buffer[size_before:]
            self.front = front_before
            return False
        self._told = (upper, upper_sum)
        return True

    def _answer_ids(self, bound: bytes, upper: int, upper_sum: int) -> bool:
        """Answer ids with as many own ids as the frame has room for; return False if it is full."""
        size_before = len(self.written.buffer) + 1
        self._pass_over()
        if self._room is not None:
            fitting = self.lower + (self._room - size_before) // NEGENTROPY_ID + 1
            if fitting < upper:
                upper, bound = fitting, self._storage.key(fitting)
                upper_sum = self._storage.cut(fitting)[0]
        self._lead(bound)
        self.written.range(bound, ID_LIST_MODE)
        self.written.ids(self._storage.ids(self.lower, upper))
        self._told = (upper, upper_sum)
        return not self._exceeds()

    def _close(self, size: int, total: int) -> None:
        """Cover all that the reply does not describe with one fingerprint."""
        told, told_sum = self._told
        if self.front is None:
            self.front = (b"", INFINITY)
        own = fingerprint(total - told_sum, size - told)
        self.written.range(INFINITY, FINGERPRINT_MODE + own)

    def _lead(self, upper: bytes) -> None:
        if self.front is None:
            self.front = (self.bound, upper)

    def _split(self, bound: bytes, upper: int, upper_sum: int) -> None:
        """Describe the range up to a bound: by its ids where they are few, else by fingerprints."""
        lower, lower_sum = self.lower, self.lower_sum
        size, longer = divmod(upper - lower, PARTS)
        if upper - lower < LISTED:
            self._lead(bound)
            self.written.range(bound, ID_LIST_MODE)
            self.written.ids(self._storage.ids(lower, upper))
            return
        put, cut = self.written.range, self._storage.cut
        rank = lower
        for part in range(PARTS):
            rank += size + 1 if part < longer else size
            if rank == upper:
                rank_sum, separator = upper_sum, bound
            else:
                rank_sum, separator = cut(rank)
            if part == 0:
                self._lead(separator)
            own = fingerprint(rank_sum - lower_sum, rank - lower)
            put(separator, FINGERPRINT_MODE + own)
            lower, lower_sum = rank, rank_sum

    def _compare(self, ours: list[bytes], payload: bytes) -> None:
        """Record which side lacks which ids of a range that the peer listed."""
        theirs = dict.fromkeys(split_ids(payload))
        for identity in ours:
            if identity in theirs:
                del theirs[identity]
            else:
                self.have.append(identity)
        self.need += theirs


def rounds_allowed(items: int, frame_limit: int) -> int:
    """Return how many messages a run over `items` items of this node may receive."""
    return NEGENTROPY_ROUNDS_MIN - (-NEGENTROPY_ROUND_BYTES * items // frame_limit)


class Run:
    """One run with one peer, on one stream; dropped with it.

    The active side sends what `initiate` returns; both sides feed every message received to
    `receive` and send its reply. A reply of None means that the run is complete. After RunRefused
    the run is over: the caller refuses the stream with the reason, and keeps what earlier steps
    found.
    """

    __slots__ = ("_front", "_idle", "_is_over", "_limit", "_session", "_storage", "rounds")

    def __init__(self, storage: Storage, frame_limit: int = NEGENTROPY_FRAME_LIMIT) -> None:
        """Raise Misused for a frame limit under 4096 bytes."""
        if not frame_limit:
            raise Misused("a run has a frame limit; a session may have none")
        self._session = Reconciliation(storage, frame_limit)
        self._storage = storage
        self._limit = frame_limit
        self._front: tuple[bytes, bytes] | None = None
        self._idle = 0
        self._is_over = False
        self.rounds = 0

    def initiate(self) -> bytes:
        """Return the first message to send; raises Misused on a second call."""
        message = self._session.initiate()
        self._front = self._session.front
        return message

    def receive(self, message: bytes) -> Step:
        """Answer a message; raises RunRefused with the reason that ends the run.

        Beyond the reasons of a session these are `length-limit`, `too-many-rounds` and
        `no-progress`. Raises Misused when the run was over before.
        """
        if self._is_over:
            raise Misused("this run is over")
        # Stays set if anything below raises.
        self._is_over = True
        if len(message) > NEGENTROPY_MESSAGE_MAX:
            raise RunRefused("length-limit")
        self._count()
        step = self._session.reconcile(message)
        self._watch()
        self._is_over = step.reply is None
        return step

    def _count(self) -> None:
        """Count a message against the allowance, which follows the set as it grows."""
        self.rounds += 1
        # NG-021
        if self.rounds > rounds_allowed(self._storage.size, self._limit):
            raise RunRefused("too-many-rounds")

    def _watch(self) -> None:
        """Compare the first open range of the last reply with the one before it."""
        front = self._session.front
        self._idle = self._idle + 1 if front is not None and front == self._front else 0
        self._front = front
        # NG-020
        if self._idle >= IDLE_MAX:
            raise RunRefused("no-progress")
