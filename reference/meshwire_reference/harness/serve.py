"""The codec harness: one JSON object per line on stdin, one answer per line on stdout.

A suite can test the codec through it without a network. Imports are light:
the process is started for every run of a suite and its start is part of the run's time.
"""

import gc
import json
import sys
from collections.abc import Callable
from typing import BinaryIO, Final

from meshwire_reference.harness import kinds
from meshwire_reference.harness.shapes import BadRequest, bytes_of, member_of
from meshwire_reference.oplog.values import Unreadable
from meshwire_reference.wire.accept import accept
from meshwire_reference.wire.errors import FieldError
from meshwire_spec.numbers import HARNESS_VERSION, OPLOG_PROFILE, PROFILE, VERSION

NAME: Final = "meshwire-node"
USAGE: Final = 2
ALLOCATIONS: Final = 1_000_000
"""Allocations between two runs of the garbage collector.

Requests are many, and values have no cycles; the default takes a third of a run of the suite.
"""
READ_BYTES: Final = 1 << 18
"""Bytes that one read takes: a run of the suite sends 23 MB, mostly in lines of many kilobytes."""


# CH-010
def _hello(_request: dict[str, object]) -> dict[str, object]:
    return {
        "harness": HARNESS_VERSION,
        "name": NAME,
        "version": VERSION,
        "kinds": list(kinds.KINDS),
        "profiles": [PROFILE, OPLOG_PROFILE],
        "operations": [*RECONCILIATION, *OPLOG, *CERTIFICATES],
        "reasons": True,
    }


# CH-011
def _decode(request: dict[str, object]) -> dict[str, object]:
    kind = _kind(request)
    message = kinds.decode(kind, bytes_of(request, "data"))
    return {"value": kinds.to_value(kind, message), "refused": accept(kind, message)}


# CH-012
def _encode(request: dict[str, object]) -> dict[str, object]:
    kind = _kind(request)
    message = kinds.from_value(kind, member_of(request, "value"))
    return {"data": kinds.encode(kind, message).hex()}


# CH-013
def _formation_respond(request: dict[str, object]) -> dict[str, object]:
    from meshwire_reference.core.formation import FormationKey  # noqa: PLC0415 - loads cryptography

    formation_id = member_of(request, "formation_id")
    if not isinstance(formation_id, str):
        raise BadRequest("formation_id is not a string")
    secret = bytes_of(request, "secret")
    nonce = bytes_of(request, "nonce")
    return {"hmac": FormationKey.derive(formation_id, secret).respond(nonce).hex()}


# CH-014
def _bye(_request: dict[str, object]) -> dict[str, object]:
    return {}


# CH-015
def _reconciliation(request: dict[str, object]) -> dict[str, object]:
    from meshwire_reference.harness import sessions as harness_sessions  # noqa: PLC0415 - plain codec runs need none

    return harness_sessions.OPERATIONS[str(request["op"])](request)


def _oplog(request: dict[str, object]) -> dict[str, object]:
    from meshwire_reference.harness import oplog  # noqa: PLC0415 - loads PyNaCl

    return oplog.OPERATIONS[str(request["op"])](request)


def _certificates(request: dict[str, object]) -> dict[str, object]:
    from meshwire_reference.harness import certificates  # noqa: PLC0415 - loads cryptography

    return certificates.OPERATIONS[str(request["op"])](request)


CERTIFICATES: Final = ("certificate_check",)

RECONCILIATION: Final = (
    "negentropy_open",
    "negentropy_initiate",
    "negentropy_reconcile",
    "negentropy_close",
)

OPLOG: Final = (
    "oplog_texts",
    "oplog_sign",
    "oplog_verify",
    "oplog_read",
    "oplog_write",
    "oplog_open",
    "oplog_apply",
    "oplog_author",
    "oplog_view",
    "oplog_close",
    "oplog_canonical",
    "oplog_join",
)

OPERATIONS: Final[dict[str, Callable[[dict[str, object]], dict[str, object]]]] = {
    "hello": _hello,
    "decode": _decode,
    "encode": _encode,
    "formation_respond": _formation_respond,
    "bye": _bye,
    **dict.fromkeys(RECONCILIATION, _reconciliation),
    **dict.fromkeys(OPLOG, _oplog),
    **dict.fromkeys(CERTIFICATES, _certificates),
}


def _kind(request: dict[str, object]) -> str:
    kind = member_of(request, "kind")
    if not isinstance(kind, str) or kind not in kinds.KINDS:
        raise BadRequest(f"unknown kind {kind!r}")
    return kind


def _error_of(fault: FieldError) -> dict[str, object]:
    error: dict[str, object] = {"reason": fault.reason, "field": fault.field}
    if fault.offset is not None:
        error["offset"] = fault.offset
    if fault.problem:
        error["message"] = fault.problem
    return error


def _object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object with these members; raises ValueError if two have one name."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has two members of one name")
    return members


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


# JSON as in RFC 8259: the library takes more by default.
STRICT: Final = json.JSONDecoder(object_pairs_hook=_object_of, parse_constant=_refuse_constant)

COMPACT: Final = json.JSONEncoder(separators=(",", ":"))


def answer(line: bytes) -> tuple[dict[str, object], bool]:
    """Answer one line; the second part says whether it was the last (`bye`).

    Whatever the line holds, the answer is an object to be written as one line.
    """
    identity: object = None
    try:
        request = STRICT.decode(line.decode())
        identity = request.get("id") if isinstance(request, dict) else None
        result, is_last = _perform(request)
    except FieldError as fault:
        return {"id": identity, "error": _error_of(fault)}, False
    except Unreadable as fault:
        error = {"reason": fault.reason, "message": str(fault)}
        return {"id": identity, "error": error}, False
    except BadRequest as fault:
        return {"id": identity, "error": {"message": str(fault)}}, False
    except (ValueError, RecursionError) as fault:
        # Text that is no JSON (bad UTF-8, bad grammar, too deeply nested), or that has no UTF-8
        # form. CH-004, CH-006
        return {"id": identity, "error": {"message": f"unreadable: {fault}"}}, False
    return {"id": identity, "result": result}, is_last


def _perform(request: object) -> tuple[dict[str, object], bool]:
    if not isinstance(request, dict):
        raise BadRequest("not a JSON object")
    name = member_of(request, "op")
    if not isinstance(name, str) or name not in OPERATIONS:
        raise BadRequest(f"unknown op {name!r}")
    return OPERATIONS[name](request), name == "bye"


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer every line of `source` on `sink` until `bye` or its end, each at once."""
    # CH-001, CH-002
    for line in source:
        reply, is_last = answer(line)
        sink.write(COMPACT.encode(reply).encode() + b"\n")
        sink.flush()
        if is_last:
            return


def main() -> int:
    """Serve stdin and stdout; return the exit code of the process."""
    if getattr(sys, "stdin", None) is None or getattr(sys, "stdout", None) is None:
        sys.stderr.write("meshwire-node: the harness needs standard input and output\n")
        return USAGE
    gc.set_threshold(ALLOCATIONS)
    try:
        with open(sys.stdin.fileno(), "rb", READ_BYTES, closefd=False) as source:
            serve(source, sys.stdout.buffer)
    except (BrokenPipeError, KeyboardInterrupt):
        # The reader has closed the pipe: no answer can be delivered.
        sys.stderr.close()
    return 0
