"""Charts: what they show, and that hostile names stay text."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from meshwire_reference.cli.line_chart import LEFT, WIDTH, Panel, Series, chart, heights

NAMESPACE = "{http://www.w3.org/2000/svg}"


def test_every_value_is_a_point_within_its_panel() -> None:
    """The greatest one at its top, 0 at its bottom; a value that is absent has no point."""
    series = Series("a", (0.0, None, 4.0))
    root = ET.fromstring(chart("Title", "peers", ("2", "4", "8"), [Panel("bytes", (series,))]))  # noqa: S314 - our own
    points = [
        (float(one.attrib["cx"]), float(one.attrib["cy"]))
        for one in root.iter(f"{NAMESPACE}circle")
    ]
    texts = [one.text for one in root.iter(f"{NAMESPACE}text")]
    described = root.find(f"{NAMESPACE}desc")

    top, bottom = heights(0)
    assert [y for _, y in points] == [bottom, top]
    assert all(LEFT < x < WIDTH for x, _ in points)
    assert {"Title", "bytes", "over peers", "2", "4", "8", "a"} <= set(texts)
    assert described is not None
    assert described.text == "bytes, a: peers 2 0, peers 4 -, peers 8 4"


def test_no_text_is_markup() -> None:
    """Also where a name has the signs of it; and there may be no values at all."""
    name = "<script>&\"'"
    text = chart(name, name, (name,), [Panel(name, (Series(name, (None,)),))])
    root = ET.fromstring(text)  # noqa: S314 - our own

    assert "<script" not in text
    assert name in [one.text for one in root.iter(f"{NAMESPACE}text")]


def test_many_lines_differ_by_stroke_too() -> None:
    """Once the colours are used up."""
    series = tuple(Series(f"s{number}", (1.0, 2.0)) for number in range(8))
    root = ET.fromstring(chart("t", "x", ("1", "2"), [Panel("p", series)]))  # noqa: S314 - our own
    strokes = [
        (one.attrib["stroke"], one.attrib.get("stroke-dasharray"))
        for one in root.iter(f"{NAMESPACE}polyline")
    ]
    # Each line is in the panel and in the legend.
    assert len(strokes) == 16
    assert len(set(strokes)) == 8
