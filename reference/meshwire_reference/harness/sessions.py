"""Reconciliations over the codec harness: sessions by number, each over a sealed vector."""

from collections.abc import Callable
from typing import Final

from meshwire_reference.harness.shapes import BadRequest, bytes_of, member_of, number_of
from meshwire_reference.negentropy import Misused, Reconciliation, RunRefused, Vector
from meshwire_reference.wire.errors import Malformed

ROLES: Final = ("client", "server")
_sessions: Final[dict[int, tuple[str, Reconciliation]]] = {}


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
    vector = Vector()
    # Looked up once: a run of the suite opens sessions over 200,000 items.
    insert, bytes_from = vector.insert, bytes.fromhex
    try:
        for timestamp, identity in items:
            insert(int(timestamp), bytes_from(identity))
        vector.seal()
        session = Reconciliation(vector, number_of(request, "frame_limit"))
    except (TypeError, ValueError, Misused) as fault:
        raise BadRequest(f"items or frame_limit: {fault}") from fault
    _sessions[number] = (str(role), session)
    return {}


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
