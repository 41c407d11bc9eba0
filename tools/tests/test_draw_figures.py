"""Figures are drawn from the layouts, say in words what they show, and fetch nothing."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import draw_figures
from meshwire_spec.layouts import LAYOUTS
from meshwire_spec.render import layout_rows

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_ruler_has_every_field_in_its_order(kind: str) -> None:
    """Each field of the layout has a box with its name, one after the other."""
    root = ET.fromstring(draw_figures.ruler(kind))  # noqa: S314 - drawn by us
    names = [row.field for row in layout_rows(LAYOUTS[kind])]

    words = [node.text for node in root.iter(f"{SVG}text") if node.get("class") == "m"]

    assert words == names
    assert len(list(root.iter(f"{SVG}rect"))) == len(names) + 1


@pytest.mark.parametrize("name", draw_figures.figures())
def test_a_figure_is_described_and_fits(name: str) -> None:
    """It has a title and a description, no box leaves it, and it fetches nothing."""
    text = draw_figures.figures()[name]
    root = ET.fromstring(text)  # noqa: S314 - drawn by us
    described = {node.get("id") for tag in ("title", "desc") for node in root.iter(f"{SVG}{tag}")}
    edges = [
        float(node.get("x", "0")) + float(node.get("width", "0"))
        for node in root.iter(f"{SVG}rect")
    ]

    assert root.get("role") == "img"
    assert set(root.get("aria-labelledby", "").split()) == described
    assert max(edges) <= draw_figures.WIDTH
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_check_finds_what_is_stale_missing_or_nobodys(tmp_path: Path) -> None:
    """A figure that was changed, taken away or left over is found, and writing mends it."""
    assert draw_figures.main([], tmp_path) == 0
    assert draw_figures.main(["--check"], tmp_path) == 0

    for name, text in (("ruler-heartbeat.svg", "x"), ("ruler-nothing.svg", "x")):
        (tmp_path / name).write_text(text)
        assert draw_figures.main(["--check"], tmp_path) == 1
        assert draw_figures.main([], tmp_path) == 0
        assert draw_figures.main(["--check"], tmp_path) == 0
