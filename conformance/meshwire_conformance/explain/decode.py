"""Decoding for a person: the fields of a message as lines, up to its fault if it has one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from meshwire_conformance.explain.counted import Rest
from meshwire_conformance.explain.dissect import (
    ELEMENTS_SHOWN,
    Dissection,
    Fault,
    Field,
    as_json,
    dissect,
    types_text,
)
from meshwire_conformance.explain.guess import SEQUENCES, Guess, Piece, Row, guess, row_of
from meshwire_conformance.explain.parts import InputPart
from meshwire_conformance.explain.values import printable
from meshwire_spec.rules import refusals, rules_by_id

BYTES_SHOWN = 8
"""Greatest number of bytes shown per field."""
NEAR = 3
"""Fields that a kind must find in bytes that fit no kind, to be shown as the nearest."""
LISTED = 5
"""Most entries that one line lists."""
FAULTS_SHOWN = 20
"""Greatest number of faults shown of a message."""
COLOURS = ("\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m")
"""Colours of fields in turn: neighbours differ, and each has its name beside its bytes."""
RED, PLAIN = "\x1b[31m", "\x1b[0m"
JSON_VERSION = 1
"""Version of the members that `--json` prints."""
LinesAndVerdict = tuple[list[str], bool]


class View:
    """How messages are shown: bytes in full or cut, in colour or not, all elements or the first."""

    def __init__(
        self, *, full: bool = False, colour: bool = False, elements_max: int | None = ELEMENTS_SHOWN
    ) -> None:
        self.full = full
        self.colour = colour
        self.elements_max = elements_max

    def paint(self, text: str, colour: str) -> str:
        """Return the text in a colour, if there is colour."""
        return f"{colour}{text}{PLAIN}" if self.colour and text else text


def decode_lines(
    kind: str, data: bytes, *, full: bool = False, view: View | None = None
) -> LinesAndVerdict:
    """Return the fields of a message as lines, and whether it is accepted.

    The last lines describe a fault, if there is one. With `full` every byte of a field is shown.
    Of kinds that follow each other in a row, each message is shown.
    """
    view = view or View(full=full)
    if kind in SEQUENCES:
        row = row_of(kind, data)
        if len(row.pieces) > 1 or (row.pieces and row.rest < len(data)):
            return _row_lines(row, data, view)
    found = dissect(kind, data, view.elements_max)
    return list(_lines_of(found, view)), found.is_accepted


def guess_lines(data: bytes, *, full: bool = False, view: View | None = None) -> LinesAndVerdict:
    """Return what the bytes are as lines, and whether a reading of them is accepted.

    If only one reading fits, its fields are shown, else the verdict of every kind.
    """
    view = view or View(full=full)
    found = guess(data)
    if not found.readings or not found.is_sure:
        return _verdict_lines(found, data, view)
    reading, *others = found.readings
    if isinstance(reading, Row):
        lines, accepted = _row_lines(reading, data, view)
    else:
        dissection = dissect(reading, data, view.elements_max)
        lines, accepted = list(_lines_of(dissection, view)), dissection.is_accepted
    fits = [name for name, verdict in found.verdicts.items() if verdict.fits and name != reading]
    names = sorted({*fits, *(one for one in others if isinstance(one, str))})
    if names:
        lines.append(f"also fits: {', '.join(names)}; --kind shows the fields of one")
    return lines, accepted


def _verdict_lines(found: Guess, data: bytes, view: View) -> LinesAndVerdict:
    fitting = [kind for kind, verdict in found.verdicts.items() if verdict.fits]
    lines = [] if fitting else list(_nearest_lines(found, data, view))
    width = max(len(kind) for kind in found.verdicts)
    lines += [f"{kind:<{width}}  {verdict.text}" for kind, verdict in found.verdicts.items()]
    lines += [f"{one.name}: fits" for one in found.readings if isinstance(one, Row)]
    accepted = any(verdict.is_accepted for verdict in found.verdicts.values())
    each = ", each refused by a strict node" if fitting and not accepted else ""
    lines.append(f"{len(fitting)} kinds fit{each}; --kind shows the fields of one")
    return lines, accepted


def _nearest_lines(found: Guess, data: bytes, view: View) -> Iterator[str]:
    """Yield the fields of the kind that finds most of them in bytes that fit no kind."""
    tried = [dissect(kind, data, view.elements_max) for kind in found.verdicts]
    best = max(tried, key=lambda one: one.faults[0].offset if one.faults else 0)
    if len(best.fields) >= NEAR:
        yield f"no kind fits; the one that goes furthest is {best.kind}:"
        yield from _lines_of(best, view)
        yield ""


def part_lines(part: InputPart, view: View) -> LinesAndVerdict:
    """Return a part of an input as lines, under its name, and whether it is accepted."""
    lines = [f"--- {printable(part.name)}", *(f"    {printable(note)}" for note in part.notes)]
    if part.name and not part.data:
        return lines, not part.is_broken
    inner, accepted = (
        guess_lines(part.data, view=view)
        if part.kind is None
        else decode_lines(part.kind, part.data, view=view)
    )
    return [*lines, *inner], accepted and not part.is_broken


def _row_lines(row: Row, data: bytes, view: View) -> LinesAndVerdict:
    """Return messages in a row as lines, what is left after them as the beginning of one."""
    lines = [f"{row.name}: {len(row.pieces)} whole, {len(data)} bytes"]
    accepted = True
    for piece in _with_rest(row, data):
        found = dissect(piece.kind, data[piece.start : piece.end], view.elements_max)
        accepted = accepted and found.is_accepted
        lines += ["", f"from byte {piece.start:#06x}:", *_lines_of(found, view)]
    return lines, accepted


def _with_rest(row: Row, data: bytes) -> list[Piece]:
    rest = [Piece(row.rest_kind, row.rest, len(data))] if row.rest < len(data) else []
    return [*row.pieces, *rest]


def _lines_of(found: Dissection, view: View) -> Iterator[str]:
    size = f"{len(found.data)} byte" + ("" if len(found.data) == 1 else "s")
    yield f"{found.kind}, {size}"
    width = max((len(one.span.path) for one in found.fields), default=0)
    omitted = dict(found.omitted)
    after = ""
    for number, one in enumerate(found.fields):
        path = next((path for path in omitted if one.span.path.startswith(f"{path}[")), "")
        if after and path != after:
            yield from _omitted_lines(after, omitted.pop(after))
        after = path
        yield _field_line(found.data, one, width, view, COLOURS[number % len(COLOURS)])
    for path, rest in omitted.items():
        yield from _omitted_lines(path, rest)
    if found.opaque:
        paths = list(found.opaque)
        told = ", ".join(paths[:LISTED]) + (", ..." if paths[LISTED:] else "")
        total = sum(found.opaque.values())
        yield f"opaque, {total} bytes that only Automerge's library opens: {told}"
    for fault in found.faults[:FAULTS_SHOWN]:
        yield from _fault_lines(fault, found.data, view)
    if len(found.faults) > FAULTS_SHOWN:
        yield f"... {len(found.faults) - FAULTS_SHOWN} more faults"
    if found.skipped:
        told = ", ".join(found.skipped[:LISTED]) + (", ..." if found.skipped[LISTED:] else "")
        yield f"skipped by readers, being of a type that no entry has: {told}"
    for refusal in found.refusals[:FAULTS_SHOWN]:
        where = f" ({refusal.path})" if refusal.path else ""
        yield f"decodes, but a strict node refuses it{where}: {refusal.reason}"
        rules = refusals().get((refusal.kind, refusal.reason), ())
        yield from (printable(f"{rule.id}  {rule.text}") for rule in rules)
    if len(found.refusals) > FAULTS_SHOWN:
        yield f"... {len(found.refusals) - FAULTS_SHOWN} more refusals"


def _omitted_lines(path: str, rest: Rest) -> Iterator[str]:
    types = f": {types_text(rest.types)}" if rest.types else ""
    yield f"...   {rest.count} more of {path}, whole and not opened{types}; --all shows them"
    for reason, count in sorted(rest.refused.items()):
        does = "skipped by readers" if reason == "unknown-type" else "refused by a strict node"
        yield f"...   {count} of them {does}: {reason}"


def _field_line(data: bytes, one: Field, width: int, view: View, colour: str) -> str:
    span = one.span
    size = span.size if view.full else min(span.size, BYTES_SHOWN)
    cut = " .." if size < span.size else ""
    text = data[span.offset : span.offset + size].hex(" ") + cut
    padding = " " * max(0, BYTES_SHOWN * 3 + 2 - len(text))
    rule = f"  [{one.rule}]" if one.rule else ""
    says = printable(f"{one.text}  -- {span.type}; {span.means}{rule}")
    path = printable(span.path)
    name = view.paint(path, colour) + " " * max(0, width - len(path))
    return f"{span.offset:04x}  {view.paint(text, colour)}{padding} {name}  {says}"


def _fault_lines(fault: Fault, data: bytes, view: View) -> Iterator[str]:
    rest = data[fault.offset : fault.offset + BYTES_SHOWN + 1]
    bytes_text = rest[:BYTES_SHOWN].hex(" ") + (" .." if len(rest) > BYTES_SHOWN else "")
    yield f"{fault.offset:04x}  {bytes_text or '(end)'}"
    tail = f" ({fault.detail})" if fault.detail else ""
    where = fault.field or "the end of the message"
    refused = view.paint("refused", RED)
    yield f"{refused}: {printable(f'{fault.reason} at {where}{tail}')}"
    if fault.rule:
        rule = rules_by_id().get(fault.rule)
        yield f"{fault.rule}  {rule.text if rule else ''}".rstrip()


def json_of(parts: Sequence[InputPart], spelling: str, elements_max: int | None) -> dict[str, Any]:
    """Return everything in an input as JSON values; `accepted` is that of the whole."""
    shown = [_part_json(part, elements_max) for part in parts]
    return {
        "decode": JSON_VERSION,
        "read_as": spelling,
        "accepted": all(one["accepted"] for one in shown),
        "parts": shown,
    }


def _part_json(part: InputPart, elements_max: int | None) -> dict[str, Any]:
    pieces, verdicts, accepted = _pieces_of(part)
    found = [
        (piece, dissect(piece.kind, part.data[piece.start : piece.end], elements_max))
        for piece in pieces
    ]
    accepted = all(one.is_accepted for _, one in found) if found else accepted
    return {
        "name": part.name,
        "notes": list(part.notes),
        "size": len(part.data),
        "accepted": accepted and not part.is_broken,
        "verdicts": verdicts,
        "messages": [{"offset": piece.start, **as_json(one)} for piece, one in found],
    }


def _pieces_of(part: InputPart) -> tuple[list[Piece], dict[str, str], bool]:
    """Return the messages of a part, the verdict of each kind tried, and that of the part."""
    whole = len(part.data)
    if part.kind is not None:
        row = row_of(part.kind, part.data) if part.kind in SEQUENCES else None
        pieces = _with_rest(row, part.data) if row is not None and row.pieces else []
        return pieces or [Piece(part.kind, 0, whole)], {}, True
    if part.name and not part.data:
        return [], {}, True
    found = guess(part.data)
    verdicts = {kind: verdict.text for kind, verdict in found.verdicts.items()}
    if not found.is_sure:
        return [], verdicts, any(verdict.is_accepted for verdict in found.verdicts.values())
    reading = found.readings[0]
    if isinstance(reading, Row):
        return _with_rest(reading, part.data), verdicts, True
    return [Piece(reading, 0, whole)], verdicts, True
