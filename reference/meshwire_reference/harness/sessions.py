"""Reconciliations over the codec harness: sessions by number, each over a sealed vector."""

from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from meshwire_reference.harness.shapes import (
    BadRequest,
    bytes_of,
    member_of,
    number_of,
)
from meshwire_reference.negentropy import Misused, Reconciliation, RunRefused, Vector
from meshwire_reference.wire.errors import Malformed
from meshwire_spec.numbers import NEGENTROPY_ID

ROLES: Final = ("client", "server")
SETS_KEPT: Final = 8
"""Number of latest sets that are kept: cases in a row are mostly about the same ones."""
KEPT_ITEMS_MAX: Final = 2000
"""Number of items beyond which a set is not kept: the memory would cost more than it saves."""
DIGITS: Final = 2 * NEGENTROPY_ID
"""Hex digits of an id."""
_sessions: Final[dict[int, tuple[str, Reconciliation]]] = {}
_sets: Final[deque[tuple[list[object], Vector]]] = deque(maxlen=SETS_KEPT)
"""Sealed vectors, which do not change, with the items that they were made from."""


def _open(request: dict[str, object]) -> dict[str, object]:
    number = number_of(request, "session")
    role = member_of(request, "role")
    if role not in ROLES:
        raise BadRequest("role is neither client nor server")
    if number in _sessions:
        raise BadRequest(f"session {number} is open")
    items = member_of(request, "items")
    if not isinstance(items, list):
        raise BadRequest("items is not a list")
    try:
        session = Reconciliation(_set_of(items), number_of(request, "frame_limit"))
    except (TypeError, ValueError, Misused) as fault:
        raise BadRequest(f"items or frame_limit: {fault}") from fault
    _sessions[number] = (str(role), session)
    return {}


def _set_of(items: list[object]) -> Vector:
    """Return the sealed vector of items as requests give them; sessions over one set share it.

    Raises TypeError, ValueError or Misused for what is no item.
    """
    for known, vector in _sets:
        if known == items:
            return vector
    vector = Vector()
    vector.extend(*_read_items(items))
    vector.seal()
    if len(items) <= KEPT_ITEMS_MAX:
        _sets.append((items, vector))
    return vector


def _read_items(items: list[Any]) -> tuple[list[int], list[bytes]]:
    """Return timestamps and ids; raises TypeError or ValueError for what is none.

    A run of the suite gives 200,000 items, so each step takes all of them at once.
    """
    if not items:
        return [], []
    timestamps, names = zip(*items, strict=True)
    digits = "".join(timestamps)
    text = "".join(names)
    # `int` and `fromhex` take signs, blanks and capitals besides.
    if not (digits.isdecimal() and digits.isascii()) or text != text.lower():
        raise ValueError("a timestamp is not decimal, or an id not in lower case")
    content = bytes.fromhex(text)
    if set(map(len, names)) != {DIGITS} or len(content) != NEGENTROPY_ID * len(names):
        raise ValueError(f"an id has {DIGITS} digits")
    # A fifth of the time of slices, and the cache of `struct` would keep the formats.
    identities = Struct(f"{NEGENTROPY_ID}s" * len(names)).unpack(content)
    return list(map(int, timestamps)), list(identities)


def _session(request: dict[str, object]) -> tuple[str, Reconciliation]:
    number = number_of(request, "session")
    if number not in _sessions:
        raise BadRequest(f"session {number} is not open")
    return _sessions[number]


def _initiate(request: dict[str, object]) -> dict[str, object]:
    role, session = _session(request)
    if role != "client":
        raise BadRequest("only a client initiates")
    try:
        return {"message": session.initiate().hex()}
    except Misused as fault:
        raise BadRequest(str(fault)) from fault


# CH-016
def _reconcile(request: dict[str, object]) -> dict[str, object]:
    role, session = _session(request)
    if role == "client" and not session.initiates:
        raise BadRequest("a client initiates before it reconciles")
    try:
        reply, have, need = session.reconcile(bytes_of(request, "message"))
    except Misused as fault:
        raise BadRequest(str(fault)) from fault
    except RunRefused as fault:
        raise Malformed(fault.reason, fault.offset, "") from fault
    return {
        "reply": None if reply is None else reply.hex(),
        "have": [identity.hex() for identity in have],
        "need": [identity.hex() for identity in need],
    }


def _close(request: dict[str, object]) -> dict[str, object]:
    _session(request)
    del _sessions[number_of(request, "session")]
    return {}


OPERATIONS: Final[dict[str, Callable[[dict[str, object]], dict[str, object]]]] = {
    "negentropy_open": _open,
    "negentropy_initiate": _initiate,
    "negentropy_reconcile": _reconcile,
    "negentropy_close": _close,
}
