"""Line charts as SVG, without a script, a font or an image of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 560
PANEL: Final = 150
LEFT: Final = 86
RIGHT: Final = 16
TOP: Final = 34
GAP: Final = 46
LEGEND: Final = 18
COLOURS: Final = ("#1f6feb", "#bc4c00", "#1a7f37", "#8250df", "#57606a", "#bf3989")
"""Colours of the lines, in turn."""
DASHES: Final = ("", "6 3", "2 3")
"""Strokes of the lines, for those who see no colours; in turn once the colours are used up."""
STYLE: Final = (
    "text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
    "fill:#1b1f24}text.e{text-anchor:end}text.m{text-anchor:middle}"
    "rect.c{fill:#fff}line.g{stroke:#d0d7de}polyline{fill:none;stroke-width:2}"
)


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, and a point for each place on the axis, None for no point."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: what its values are, and its lines."""

    title: str
    series: tuple[Series, ...]


def chart(title: str, axis: str, places: Sequence[str], panels: Sequence[Panel]) -> str:
    """Return panels one below the other, over the same places of one axis."""
    names = list(dict.fromkeys(one.name for panel in panels for one in panel.series))
    height = TOP + len(panels) * (PANEL + GAP) + LEGEND * (len(names) + 1)
    body: list[str] = [_text(LEFT, 20, title)]
    for number, panel in enumerate(panels):
        body += _panel(panel, *heights(number), places, names)
    legend_y = TOP + len(panels) * (PANEL + GAP) + 4
    body.append(_text(LEFT, legend_y, f"over {axis}"))
    for number, name in enumerate(names):
        y = legend_y + LEGEND * (number + 1)
        body.append(f'<polyline {_stroke(number)} points="{LEFT},{y - 4} {LEFT + 28},{y - 4}"/>')
        body.append(_text(LEFT + 36, y, name))
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="t d">',
        f'<title id="t">{escape(title)}</title>',
        f'<desc id="d">{escape(_words(axis, places, panels))}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="c" width="{WIDTH}" height="{height}" rx="4"/>',
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def heights(number: int) -> tuple[float, float]:
    """Return where the greatest value of a panel is, and where 0 is."""
    bottom = TOP + number * (PANEL + GAP) + 14 + PANEL
    return bottom - PANEL + 16, float(bottom)


def _panel(
    panel: Panel, top: float, bottom: float, places: Sequence[str], names: Sequence[str]
) -> Iterator[str]:
    values = [value for one in panel.series for value in one.values if value is not None]
    most = max(values, default=0.0) or 1.0
    yield _text(LEFT, top - 22, panel.title)
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - top)
        yield f'<line class="g" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
        yield _text(LEFT - 6, y + 4, _shown(most * share), "e")
    step = (WIDTH - LEFT - RIGHT - 40) / max(1, len(places) - 1)
    for at, place in enumerate(places):
        yield _text(LEFT + 20 + at * step, bottom + 15, place, "m")
    for one in panel.series:
        points = [
            (LEFT + 20 + at * step, bottom - value / most * (bottom - top))
            for at, value in enumerate(one.values)
            if value is not None
        ]
        stroke = _stroke(names.index(one.name))
        shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline {stroke} points="{shown}"/>'
        for x, y in points:
            fill = _colour(names.index(one.name))
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{fill}"/>'


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _stroke(number: int) -> str:
    dash = DASHES[number // len(COLOURS) % len(DASHES)]
    return f'stroke="{_colour(number)}"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"  # noqa: PLR2004 - three digits


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{mark}>{escape(text)}</text>'


def _words(axis: str, places: Sequence[str], panels: Sequence[Panel]) -> str:
    """Return every number of a chart in words, for those who do not see it."""
    return "; ".join(
        f"{panel.title}, {one.name}: "
        + ", ".join(
            f"{axis} {place} {'-' if value is None else _shown(value)}"
            for place, value in zip(places, one.values, strict=True)
        )
        for panel in panels
        for one in panel.series
    )
