"""Bytes explained: the fields found in them, up to the fault where there is one."""

from collections.abc import Iterator

from meshwire_conformance.report import Rule
from meshwire_conformance.report.text import printable
from meshwire_conformance.runner import load_rules
from meshwire_conformance.values import shown
from meshwire_spec.codec import accept, annotate, decode
from meshwire_spec.cursor import Span
from meshwire_spec.errors import Malformed
from meshwire_spec.numbers import KINDS

BYTES_SHOWN = 8
FITS = "fits"


def decode_lines(kind: str, data: bytes) -> tuple[list[str], bool]:
    """The fields of a message, and whether it stands; the last lines tell a fault."""
    spans, fault = annotate(kind, data)
    rules = load_rules()
    lines = [f"{kind}, {len(data)} bytes", *_table(spans, data)]
    if fault is not None:
        lines += _fault_lines(fault, data, rules)
        return lines, False
    refused = accept(kind, decode(kind, data))
    if refused is not None:
        lines.append(f"decodes, but a strict node refuses it: {refused}")
    return lines, True


def _table(spans: list[Span], data: bytes) -> Iterator[str]:
    path_width = max((len(span.path) for span in spans), default=0)
    for span in spans:
        found = data[span.offset : span.offset + span.size]
        bytes_text = found[:BYTES_SHOWN].hex(" ") + (" .." if len(found) > BYTES_SHOWN else "")
        rule = f"  [{span.rule}]" if span.rule else ""
        line = (
            f"{span.offset:04x}  {bytes_text:<{BYTES_SHOWN * 3 + 2}} "
            f"{span.path:<{path_width}}  {shown(span.value)}  -- {span.type}; {span.means}{rule}"
        )
        yield printable(line)


def _fault_lines(fault: Malformed, data: bytes, rules: dict[str, Rule]) -> Iterator[str]:
    rest = data[fault.offset :]
    bytes_text = rest[:BYTES_SHOWN].hex(" ") + (" .." if len(rest) > BYTES_SHOWN else "")
    yield f"{fault.offset:04x}  {bytes_text or '(end)'}"
    tail = f" ({fault.detail})" if fault.detail else ""
    yield printable(f"refused: {fault.reason} at {fault.field or 'the end of the message'}{tail}")
    if fault.rule:
        rule = rules.get(fault.rule)
        yield f"{fault.rule}  {rule.text if rule else ''}".rstrip()


def guess_lines(data: bytes) -> tuple[list[str], bool]:
    """Which kinds fit the bytes; the fields where only one does."""
    verdicts = {kind: _verdict(kind, data) for kind in KINDS}
    fitting = [kind for kind, verdict in verdicts.items() if verdict.startswith(FITS)]
    if len(fitting) == 1:
        return decode_lines(fitting[0], data)
    width = max(len(kind) for kind in verdicts)
    lines = [f"{kind:<{width}}  {verdict}" for kind, verdict in verdicts.items()]
    lines.append(f"{len(fitting)} kinds fit; --kind shows the fields of one")
    return lines, bool(fitting)


def _verdict(kind: str, data: bytes) -> str:
    try:
        message = decode(kind, data)
    except Malformed as exc:
        return f"no: {exc.reason} at byte {exc.offset}"
    refused = accept(kind, message)
    return FITS if refused is None else f"{FITS}, but a strict node refuses it: {refused}"
