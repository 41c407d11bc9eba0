"""Draw the figures of the pages: a byte ruler for each kind, and sequence diagrams.

A ruler is read off the layout that the suite parses with. Figures are SVG with a title and a
description, without a script, a font or an image of their own. Usage: python tools/draw_figures.py
[--check]. Exit status 1 where a figure is stale, missing, or no longer drawn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from meshwire_spec.layouts import LAYOUTS
from meshwire_spec.render import layout_rows, offsets
from pages import SPEC

FOLDER: Final = SPEC / "assets" / "figures"
WIDTH: Final = 480
MARGIN: Final = 10
# Of a monospaced font of 12 pixels.
CHARACTER: Final = 7.3
ROW_HEIGHT: Final = 66
BOX_HEIGHT: Final = 42
STYLE: Final = (
    "text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
    "fill:#1b1f24}"
    ".s{font-size:10.5px;fill:#555c66}"
    ".m{text-anchor:middle}"
    "rect{stroke:#3f51b5;fill:#e8eaf6}"
    "rect.c{fill:#fff;stroke:none}"
    "rect.length{fill:#f4f4f5;stroke:#6b7280}"
    "rect.open{fill:#fff;stroke-dasharray:4 3}"
    "rect.n{fill:#fff8e1;stroke:#b26a00}"
    "line,path{stroke:#1b1f24;fill:none}"
    "line.l{stroke:#9aa0a9;stroke-dasharray:3 4}"
    "path.h{fill:#1b1f24;stroke:none}"
)


@dataclass(frozen=True, slots=True)
class Message:
    """An arrow of a sequence diagram from one lane to another; a note if both are the same."""

    source: int
    target: int
    text: str


@dataclass(frozen=True, slots=True)
class Diagram:
    """A sequence diagram: its title, its participants, and its messages in order."""

    title: str
    lanes: tuple[str, ...]
    messages: tuple[Message, ...]


SEQUENCES: Final = {
    "connect": Diagram(
        "Connect, in dialect H1",
        ("initiator", "acceptor"),
        (
            Message(0, 1, "connection, ALPN cap/automerge/1"),
            Message(0, 1, "stream 1: formation_id"),
            Message(1, 0, "stream 1: formation_challenge"),
            Message(0, 1, "stream 1: formation_response"),
            Message(1, 0, "stream 1: formation_result 1, FIN"),
            Message(0, 1, "0x05 tombstones, FIN"),
            Message(1, 0, "0x05 tombstones, FIN"),
            Message(0, 1, "0x00 or 0x01 each document, FIN"),
            Message(1, 0, "0x00 or 0x01 each document, FIN"),
        ),
    ),
    "exchange": Diagram(
        "Exchange of one document in full-history mode",
        ("node A", "node B", "node C"),
        (
            Message(0, 0, "a change is made"),
            Message(0, 1, "0x00 delta, FIN"),
            Message(1, 0, "FIN: has taken effect"),
            Message(1, 0, "0x00 answer, new stream"),
            Message(0, 1, "0x00 what B lacks"),
            Message(1, 0, "FIN: has taken effect"),
            Message(1, 2, "0x00 relay, new stream"),
            Message(2, 1, "0x00 answer"),
            Message(2, 2, "equal heads: silence"),
        ),
    ),
    "delete": Diagram(
        "Deletion of a document, and a late snapshot of it",
        ("node A", "node B", "node C"),
        (
            Message(0, 0, "deletes tracks:doc-1"),
            Message(0, 1, "0x04 tombstone, FIN"),
            Message(1, 1, "removes, stores"),
            Message(1, 0, "FIN: has taken effect"),
            Message(1, 2, "0x04 tombstone"),
            Message(2, 2, "removes, stores"),
            Message(0, 0, "an old copy comes back"),
            Message(0, 1, "0x01 snapshot, FIN"),
            Message(1, 1, "guard: ignored"),
            Message(1, 0, "FIN: was ignored"),
            Message(1, 0, "0x04 tombstone, new stream"),
        ),
    ),
}


def _document(name: str, title: str, description: str, height: float, body: Sequence[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    role = f'role="img" aria-labelledby="{name}-t {name}-d"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {role}>',
        f'<title id="{name}-t">{escape(title)}</title>',
        f'<desc id="{name}-d">{escape(description)}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="c" width="{WIDTH}" height="{height:.0f}" rx="4"/>',
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _text(x: float, y: float, text: str, marks: str = "") -> str:
    mark = f' class="{marks}"' if marks else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{mark}>{escape(text)}</text>'


def ruler_text(kind: str) -> str:
    """Return the fields of a kind in their order, each with its size, in words."""
    return "; ".join(f"{row.field}, {_size(row.size)}" for row in layout_rows(LAYOUTS[kind]))


def _size(size: str) -> str:
    if size.isdigit():
        return f"{size} byte{'' if size == '1' else 's'}"
    return f"{size} bytes"


def _label(size: str, type_text: str) -> str:
    order = next((o for o in ("big", "little") if f", {o} endian" in type_text), "")
    return f"{_size(size)}{f', {order}' if order else ''}"


def ruler(kind: str) -> str:
    """Return the byte ruler of a kind: one box per field, wide enough for its name."""
    rows = layout_rows(LAYOUTS[kind])
    body = []
    x, y = float(MARGIN), 26.0
    for row, offset in zip(rows, offsets(rows), strict=True):
        label = _label(row.size, row.type)
        width = max(len(row.field), len(label) * 0.88) * CHARACTER + 14
        if x + width > WIDTH - MARGIN:
            x, y = float(MARGIN), y + ROW_HEIGHT
        look = "length" if row.field.endswith("length") else ""
        look = look or ("" if row.size.isdigit() else "open")
        mark = f' class="{look}"' if look else ""
        body.append(
            f'<rect{mark} x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BOX_HEIGHT}"/>'
        )
        if offset.isdigit():
            body.append(_text(x, y - 6, offset, "s"))
        body.append(_text(x + width / 2, y + 18, row.field, "m"))
        body.append(_text(x + width / 2, y + 34, label, "s m"))
        x += width
    title = f"Byte ruler of {kind}"
    return _document(f"ruler-{kind}", title, ruler_text(kind), y + BOX_HEIGHT + MARGIN, body)


def sequence_text(name: str) -> str:
    """Return the messages of a sequence diagram in words."""
    diagram = SEQUENCES[name]
    return "; ".join(
        f"{diagram.lanes[m.source]}: {m.text}"
        if m.source == m.target
        else f"{diagram.lanes[m.source]} to {diagram.lanes[m.target]}: {m.text}"
        for m in diagram.messages
    )


def sequence(name: str) -> str:
    """Return a sequence diagram: one lane per node, time from top to bottom."""
    diagram = SEQUENCES[name]
    count = len(diagram.lanes)
    # Half the width of the widest name, or so.
    inset = 62.0
    lanes = [inset + (WIDTH - 2 * inset) * i / (count - 1) for i in range(count)]
    step, top = 34, 44
    bottom = top + step * len(diagram.messages) + 14
    body = [f'<line class="l" x1="{x:.1f}" y1="34" x2="{x:.1f}" y2="{bottom}"/>' for x in lanes]
    for x, lane in zip(lanes, diagram.lanes, strict=True):
        width = len(lane) * CHARACTER + 18
        body.append(f'<rect x="{x - width / 2:.1f}" y="8" width="{width:.1f}" height="26" rx="3"/>')
        body.append(_text(x, 25, lane, "m"))
    for number, message in enumerate(diagram.messages, 1):
        y = top + step * number - 6
        start, end = lanes[message.source], lanes[message.target]
        if message.source == message.target:
            width = len(message.text) * CHARACTER + 12
            left = min(max(start - width / 2, 4), WIDTH - width - 4)
            place = f'x="{left:.1f}" y="{y - 19}" width="{width:.1f}" height="24"'
            body.append(f'<rect class="n" {place} rx="3"/>')
            body.append(_text(left + width / 2, y - 3, message.text, "m"))
            continue
        way = 1 if end > start else -1
        body.append(_text((start + end) / 2, y - 5, message.text, "s m"))
        body.append(f'<line x1="{start:.1f}" y1="{y}" x2="{end - 7 * way:.1f}" y2="{y}"/>')
        body.append(f'<path class="h" d="M{end:.1f} {y}l{-9 * way} -4.5v9z"/>')
    return _document(f"sequence-{name}", diagram.title, sequence_text(name), bottom + 8, body)


def figures() -> dict[str, str]:
    """Return every figure by the name of its file."""
    drawn = {f"ruler-{kind}.svg": ruler(kind) for kind in LAYOUTS}
    return drawn | {f"sequence-{name}.svg": sequence(name) for name in SEQUENCES}


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, list stale files")
    options = parser.parse_args(arguments)
    drawn = figures()
    folder.mkdir(parents=True, exist_ok=True)
    there = {path.name: path.read_text() for path in folder.glob("*.svg")}
    wrong = [
        name for name in sorted(drawn.keys() | there.keys()) if drawn.get(name) != there.get(name)
    ]
    for name in wrong:
        if options.check:
            state = "stale" if name in drawn and name in there else "missing"
            state = state if name in drawn else "no longer drawn"
            print(f"{name} is {state}: run python tools/draw_figures.py")
        elif name in drawn:
            (folder / name).write_text(drawn[name])
        else:
            (folder / name).unlink()
    return 1 if wrong and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
