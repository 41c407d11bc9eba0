"""What a target did in place of what was wanted: faults, STOPs, RESETs, lost connections.

A missing answer alone says little. What else came until the deadline often says why it is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from meshwire_conformance.explain.field_rows import rows_of
from meshwire_conformance.explain.hexdump import Mark
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.inbox import TargetFault
from meshwire_conformance.targets.lab_records import PeerFault
from meshwire_conformance.targets.transport import Closed, Stream
from meshwire_spec.numbers import REASON_ROWS

CODE_NAMES = {row.code: row.name for row in REASON_ROWS}
LINES_MAX = 8
"""Greatest number of faults, and of streams, that are listed of one wait."""


def code_name(code: int) -> str:
    """Return a code as text, with its reason if it has one."""
    name = CODE_NAMES.get(code)
    return f"0x{code:08x}" if name is None else f"{name} (0x{code:08x})"


def ends_of(stream: Stream) -> tuple[str, ...]:
    """Return how the target ended the halves of a stream, one text for each."""
    signs = (
        stream.stop_code is not None and f"STOP with {code_name(stream.stop_code)}",
        stream.reset_code is not None and f"RESET with {code_name(stream.reset_code)}",
        stream.finished and "FIN",
    )
    return tuple(sign for sign in signs if sign)


def came_meanwhile(faults: Sequence[TargetFault], streams: Iterable[Stream]) -> tuple[str, ...]:
    """Return lines about these faults, the first field by field, and about refused streams."""
    lines: list[str] = []
    for number, fault in enumerate(faults[:LINES_MAX]):
        lines.append(f"meanwhile came on {fault.line()}")
        if number == 0 and fault.data:
            lines += rows_of(fault.kind, fault.data)
    refused = list(_refused(streams))
    lines += refused[:LINES_MAX]
    left = max(0, len(faults) - LINES_MAX) + max(0, len(refused) - LINES_MAX)
    return (*lines, f"and {left} more") if left else tuple(lines)


def _refused(streams: Iterable[Stream]) -> Iterator[str]:
    for stream in streams:
        if stream.stop_code is not None or stream.reset_code is not None:
            whose = "" if stream.ours else " of the target"
            yield f"meanwhile stream {stream.number}{whose}: {' and '.join(ends_of(stream))}"


def fault_lines(fault: PeerFault) -> tuple[str, ...]:
    """Return the preamble or record that breaks the lab binding, its fault marked."""
    if not fault.data:
        return ()
    return rows_of(fault.kind, fault.data, Mark(fault.at, 1, f"{fault.reason}: {fault.detail}"))


def connection_end(closed: Closed) -> CaseFailed:
    """Return the failure of a case whose connection is closed, with who closed it and why."""
    if closed.fault is not None:
        rule = closed.fault.rule
        return CaseFailed(
            "connection-lost",
            f"the suite closed the connection, for {closed.text}",
            expected=(f"preambles and records as {rule} demands",) if rule else (),
            received=fault_lines(closed.fault),
        )
    if closed.code is None:
        return CaseFailed("connection-lost", f"the connection ended without a code: {closed.text}")
    who = "suite" if closed.by_suite else "target"
    said = f"the {who} closed the connection with {code_name(closed.code)} {closed.text}"
    return CaseFailed("connection-lost", said.rstrip())
