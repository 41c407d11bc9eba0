"""Cases in which the bytes of a message end with the field that is wrong, and nothing follows.

A side that judges a message only when the whole of it has come waits here until its deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from meshwire_conformance.cases.binding import fault_case
from meshwire_conformance.cases.dialling import spoiled_case
from meshwire_conformance.cases.planting import send_snapshot
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.calls import accept_call, take_call
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.connecting import connect, lab_connection
from meshwire_conformance.socket_suite.content import BASE
from meshwire_conformance.targets.lab_records import Preamble
from meshwire_conformance.targets.tcp import TcpConnection
from meshwire_spec.numbers import (
    ALPN,
    ENDPOINT_ID,
    FORMATION_ID_MAX,
    FRAME_TYPES,
    LAB_MAGIC,
    LAB_RECORD_MAX,
    NEGENTROPY_MESSAGE_MAX,
    FrameType,
    LabRecordType,
)
from meshwire_spec.schemas.steps import ConnectSpec, FrameSpec

_OWN = Preamble(bytes(ENDPOINT_ID)).encode()
_VERSION_AT = len(LAB_MAGIC)
_UNTIL_ALPN = _OWN[: _VERSION_AT + 1]
_NAMES = ALPN.encode()
WRONG_MAGICS = (b"NWLB", b"MWLC")
WRONG_ALPNS = (_NAMES[:-1] + b"9", b"", _NAMES[:-1], _NAMES + b"1")
"""One that is wrong in its last byte, and three of other lengths, none among them."""
MARKERS = (0x00, 0x02, 0x81, 0xFF)
BOUNDED = {
    FrameType.NEGENTROPY_INIT: NEGENTROPY_MESSAGE_MAX,
    FrameType.NEGENTROPY_RESPONSE: NEGENTROPY_MESSAGE_MAX,
}
"""Types whose payloads have a lower limit than the payload cap, in bytes."""


def _naming(alpn: bytes) -> bytes:
    """Return the beginning of a preamble that ends with this ALPN."""
    return _UNTIL_ALPN + bytes((len(alpn),)) + alpn


async def _check_refused(run: CaseRun, beginnings: Sequence[bytes], *reasons: str) -> None:
    """Fail unless each beginning of a preamble is refused, each on a connection of its own."""
    for number, beginning in enumerate(beginnings):
        on = f"beginning {number}"
        await connect(run, on, ConnectSpec(preamble=beginning.hex()))
        await run.closed(reasons, on)


@fault_case(
    "MW-6800",
    "a preamble that ends with a wrong magic",
    rules=("LB-009", "LB-002"),
    needs=("accepts", "binding:tcp"),
)
async def magic_alone(run: CaseRun) -> None:
    """The magic is compared when the whole preamble is there."""
    await _check_refused(run, WRONG_MAGICS, "bad-magic")


@fault_case(
    "MW-6801",
    "a preamble that ends with an ALPN which is another one, none, shorter or longer",
    rules=("LB-009", "LB-005"),
    needs=("accepts", "binding:tcp"),
)
async def alpn_alone(run: CaseRun) -> None:
    """The ALPN is compared when the whole preamble is there, or as far as both have bytes."""
    await _check_refused(run, [_naming(alpn) for alpn in WRONG_ALPNS], "wrong-alpn")


@fault_case(
    "MW-6802",
    "a preamble that ends with an ALPN which is not UTF-8",
    rules=("LB-009", "LB-004"),
    needs=("accepts", "binding:tcp"),
)
async def alpn_without_meaning(run: CaseRun) -> None:
    """The ALPN is decoded when the whole preamble is there."""
    await _check_refused(run, [_naming(_NAMES[:-1] + b"\xff")], "bad-utf8", "wrong-alpn")


def _refuses_dialled(
    case_id: str, field: str, rules: tuple[str, ...], beginning: bytes, reason: str
) -> None:
    """Register a case in which a target that has dialled gets the beginning of a preamble."""

    async def is_refused(run: CaseRun) -> None:
        await take_call(run, preamble=beginning)
        await run.closed([reason])

    is_refused.__doc__ = f"The side that dials compares the {field} when the preamble is whole."
    spoiled_case(
        case_id,
        f"a preamble of the other side that ends with a wrong {field}",
        part="lab-binding",
        rules=rules,
        level="wire",
    )(is_refused)


_refuses_dialled("MW-6803", "magic", ("LB-009", "LB-002"), WRONG_MAGICS[1], "bad-magic")
_refuses_dialled("MW-6804", "version", ("LB-009", "LB-003"), LAB_MAGIC + b"\x02", "bad-version")
_refuses_dialled("MW-6805", "ALPN", ("LB-009", "LB-005"), _naming(WRONG_ALPNS[0]), "wrong-alpn")


# --- Headers -----------------------------------------------------------------------------------


async def _announce(connection: TcpConnection, record_type: int) -> None:
    """Write the header of a record whose body is one byte too long, and nothing of the body."""
    size = LAB_RECORD_MAX + 1
    await connection.raw(bytes((record_type,)) + size.to_bytes(4, "big"))


@fault_case(
    "MW-6806",
    "a header of a record of each type that announces 65537 bytes, and no byte of them",
    rules=("LB-022",),
    needs=("accepts", "binding:tcp"),
)
async def record_headers(run: CaseRun) -> None:
    """The length is checked for DATA alone, or when the body is there."""
    for record_type in LabRecordType:
        on = f"type {int(record_type)}"
        await run.own_peer(on).connection()
        await _announce(await lab_connection(run, on), record_type)
        await run.closed(["length-limit"], on)


@case(
    "MW-6807",
    "a header of a record from the side that was dialled that announces 65537 bytes, and no more",
    part="lab-binding",
    rules=("LB-022",),
    level="wire",
    needs=("dials",),
    isolation="peer",
    negative=True,
    control="MW-6010",
)
async def record_header_where_it_dialled(run: CaseRun) -> None:
    """The side that dials waits for the body that a header announces."""
    await _announce(await accept_call(run, "A"), LabRecordType.PING)
    await run.closed(["length-limit"])


async def _check_headers(run: CaseRun) -> None:
    """Fail unless the header alone is refused of each type, with a payload that is too long."""
    cap = run.session.target.facts.payload_cap
    for row in FRAME_TYPES:
        name = f"type {int(row.type)}"
        length = min(cap, BOUNDED.get(row.type, cap)) + 1
        header = FrameSpec(type=int(row.type), hex="", payload_length=length)
        await run.send(header, "A", name)
        await run.refused(["length-limit"], "A", name)
    await run.documents(BASE)
    await run.read(await send_snapshot(run, "A"), "A")


headers_case = partial(
    case,
    part="frames",
    isolation="peer",
    negative=True,
    let={"key": "tracks:$case"},
)
"""Registers a case about headers of frames that no payload follows."""


@headers_case(
    "MW-6808",
    "a header of each type that announces a payload above its limit, and no byte of it",
    rules=("FR-004", "NG-018", "ER-016"),
    needs=("documents", "reconciliation"),
    control="MW-5001",
)
async def frame_headers(run: CaseRun) -> None:
    """The length is checked for some types alone, or when the payload is there."""
    await _check_headers(run)


@headers_case(
    "MW-6809",
    "a header of each type, from the side that was dialled, that announces too long a payload",
    rules=("FR-004", "NG-018"),
    needs=("documents", "reconciliation", "dials"),
    control="MW-6010",
)
async def frame_headers_where_it_dialled(run: CaseRun) -> None:
    """The side that dials waits for the payload that a header announces."""
    await _check_headers(run)


@case(
    "MW-6810",
    "a formation id whose length says 256 bytes, and no byte of it",
    part="handshake",
    rules=("HS-017", "HS-040"),
    needs=("accepts", "dialect:H1"),
    isolation="peer",
    negative=True,
    control="MW-5601",
)
async def formation_id_header(run: CaseRun) -> None:
    """The limit of the id is checked when the id has come."""
    await connect(run, "X", ConnectSpec(handshake=False))
    size = FORMATION_ID_MAX + 1
    stream = await run.stream("X", "hs")
    await run.write(stream, size.to_bytes(2, "little"), f"a length of {size}", "X")
    await run.closed(["length-limit", "authentication-failed"], "X")


@case(
    "MW-6811",
    "a unidirectional stream with one byte, which is not 0x01",
    part="liveness",
    rules=("LV-002", "ER-010"),
    level="wire",
    isolation="peer",
    negative=True,
    control="MW-5551",
    let={"key": "tracks:$case"},
)
async def marker_alone(run: CaseRun) -> None:
    """The marker is checked when nine bytes or FIN have come."""
    for marker in MARKERS:
        name = f"marker {marker}"
        stream = await run.open("A", name, uni=True)
        await run.write(stream, bytes((marker,)), f"a marker of {marker}")
        await run.refused(["bad-marker"], "A", name)
    await run.documents(BASE)
    await run.read(await send_snapshot(run, "A"), "A")
