"""The byte tables are faithful: each attribute of a field that changes changes its row."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from construct import FormatField

from meshwire_spec import numbers, render, states
from meshwire_spec.fields import Block
from meshwire_spec.layouts import LAYOUTS, PARTS
from meshwire_spec.layouts.compound import Elements, Frame, Layout, When
from meshwire_spec.schemas.validation import load_schema

SPEC = Path(__file__).resolve().parents[1]
EVERY = {**LAYOUTS, **PARTS}
FLIPPED_ORDER = {"<": ">", ">": "<"}
WIDER = {"B": "H", "H": "L", "L": "Q", "Q": "L"}


def wires(wire: FormatField) -> Iterator[tuple[str, FormatField]]:
    """The same number with another byte order, sign and width."""
    order, letter = wire.fmtstr
    if wire.length > 1:
        yield "byte order", FormatField(FLIPPED_ORDER[order], letter)
    yield "sign", FormatField(order, letter.lower())
    yield "width", FormatField(order, WIDER[letter])


def changed(value: Any) -> Any:
    """Another value of the same sort."""
    if isinstance(value, str):
        return f"{value} changed"
    return not value if isinstance(value, bool) else (value or 0) + 1


ATTRIBUTES = ("means", "unit", "minimum", "limit", "ceiling", "size", "minimum_element", "lenient")


def mutants(block: Block) -> Iterator[tuple[str, Block]]:
    """Copies of a block, each with one attribute changed."""
    for name in ("wire", "length"):
        wire = getattr(block, name, None)
        if isinstance(wire, FormatField):
            for what, other in wires(wire):
                yield f"{name} {what}", with_attribute(block, name, other)
    for name in ATTRIBUTES:
        if getattr(block, name, None) is not None:
            yield name, with_attribute(block, name, changed(getattr(block, name)))
    value = getattr(block, "value", None)
    if value is not None:
        other = bytes([*value[:-1], value[-1] ^ 1]) if isinstance(value, bytes) else value + 1
        yield "value", with_attribute(block, "value", other)
    if getattr(block, "legal", None):
        yield "registry", with_attribute(block, "legal", frozenset(block.legal | {77}))


def with_attribute(block: Block, name: str, value: Any) -> Block:
    """A copy of a block with one attribute replaced."""
    other = copy.copy(block)
    setattr(other, name, value)
    return other


FIELDS = [(kind, name) for kind, layout in EVERY.items() for name in layout.blocks]


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_every_attribute_of_a_field_shows_in_its_row(kind: str, name: str) -> None:
    """No attribute of any field can change without its row changing."""
    block = EVERY[kind].blocks[name]
    if isinstance(block, When):
        block = block.block
    before = block.rows(name)

    silent = [what for what, mutant in mutants(block) if mutant.rows(name) == before]

    assert silent == []


def test_byte_order_shows_in_the_page_table() -> None:
    """The flip that a table of class names would not show: big endian to little."""
    layout = LAYOUTS["stream_frame"]
    blocks = dict(layout.blocks)
    blocks["payload"] = with_attribute(blocks["payload"], "length", FormatField("<", "L"))
    before = render.layout_rows(layout)

    after = render.layout_rows(Layout(layout.kind, layout.title, blocks))

    assert [a for a, b in zip(after, before, strict=True) if a != b] == [
        render.Row("payload.length", "4", "u32, little endian", "bytes of `payload`")
    ]


@pytest.mark.parametrize("change", ["minimum", "maximum", "wire"])
def test_the_length_in_front_of_a_message_shows(change: str) -> None:
    """Each attribute of the outer length of an H2 message changes its row."""
    layout = LAYOUTS["formation_response_h2"]
    frame = layout.frame
    assert frame is not None
    values = {"wire": frame.wire, "minimum": frame.minimum, "maximum": frame.maximum}
    values[change] = FormatField(">", "L") if change == "wire" else values[change] + 1

    mutant = Layout(layout.kind, layout.title, layout.blocks, frame=Frame(**values))

    assert render.layout_rows(mutant)[0] != render.layout_rows(layout)[0]


def test_the_length_of_each_element_shows() -> None:
    """The width and order of the length before each tombstone of a batch stand in its row."""
    block = LAYOUTS["tombstone_batch"].blocks["tombstones"]
    assert isinstance(block, Elements)

    rows = block.rows("tombstones")

    assert rows[0].type == "`tombstone_count` x (u32, big endian length, then tombstone)"


def test_offsets_are_sums_until_a_field_may_be_absent() -> None:
    """Offsets name the fields they depend on, and end in dots behind an optional field."""
    rows = render.layout_rows(LAYOUTS["enrollment_response"])

    found = dict(zip([row.field for row in rows], render.offsets(rows), strict=True))

    assert found["status"] == "0"
    assert found["has_certificate"] == "3 + reason"
    assert found["timestamp"] == "..."


def test_every_kind_has_a_table() -> None:
    """Each kind renders with one line per field at least."""
    for kind in numbers.KINDS:
        lines = render.render(f"layout: {kind}").splitlines()

        assert len(lines) >= 4 + len(LAYOUTS[kind].blocks)


def test_every_registered_reason_and_collection_is_shown() -> None:
    """The generated registries leave nothing out."""
    reasons, collections = render.render("reasons"), render.render("collections")

    assert [name for name in numbers.REASONS if f"`{name}`" not in reasons] == []
    assert [name for name in numbers.COLLECTIONS if f"`{name}`" not in collections] == []


def test_every_capability_is_shown_with_its_presence() -> None:
    """The table of capabilities leaves nothing out and says which of them are optional."""
    lines = render.render("capabilities").splitlines()[2:]

    shown = [line.split(" | ")[:2] for line in lines]

    assert shown == [
        *([f"| `{name}`", "required"] for name in numbers.CAPABILITIES),
        *([f"| `{name}`", "optional"] for name in numbers.OPTIONAL_CAPABILITIES),
    ]


def test_transitions_show_every_pair() -> None:
    """A transition table has one line for each pair that is listed."""
    lines = render.render("transitions: SEND_HALF").splitlines()

    assert len(lines) == 2 + len(states.SEND_HALF)
    assert "| finishing | DATA with FIN sent | finished |" in lines


def test_every_transition_table_stands_on_a_page() -> None:
    """No table of `states.py` is left out of the pages."""
    pages = "".join(path.read_text() for path in SPEC.glob("*.md"))
    tables = [name for name, value in vars(states).items() if isinstance(value, MappingProxyType)]

    assert [name for name in tables if f"<!-- transitions: {name} -->" not in pages] == []


@pytest.mark.parametrize(
    "marker",
    ["layout: nothing", "registry: nothing", "nothing", "times: NO_SUCH", "transitions: X"],
)
def test_unknown_markers_are_errors(marker: str) -> None:
    """A marker that names nothing raises instead of leaving an empty table."""
    with pytest.raises(render.UnknownTable):
        render.render(marker)


def test_bars_in_cells_are_escaped() -> None:
    """A bar inside a cell does not end it."""
    assert render.table(["a"], [["x|y"]]).splitlines()[-1] == "| x\\|y |"


def test_signedness_is_told_apart() -> None:
    """A signed number is not shown as an unsigned one."""
    assert render.number_type(FormatField(">", "h")) == "i16, big endian"


NO_TIMER = re.compile(r"DOCUMENT_|DEFAULT_TOMBSTONE_TTL_S$|HISTORY_WINDOW_S$|TOMBSTONE_RESERVE_")
"""Constants that bound work on a message or places, or are a lifetime or the span of a mode."""


def test_every_time_is_a_row_of_the_table_of_timers() -> None:
    """Page Time promises every deadline, interval and age; each states its unit."""
    times = {name for name in vars(numbers) if re.search(r"_(S|MS|PERCENT)$", name)}
    rows = {row.constant for row in numbers.TIMER_ROWS}
    lines = render.render("timers").splitlines()

    assert {name for name in times if not NO_TIMER.match(name)} == rows
    assert len(lines) == len(numbers.TIMER_ROWS) + 2
    assert "| `CLOCK_AHEAD_MAX_MS` | 5 min |" in render.render("timers")
    assert "| `FRAME_STALL_S` | 30 s |" in render.render("timers")


OWN_CHOICES = {"redial_s"}
"""Members of `deadlines` that each node chooses, so that the protocol has no number for them."""


def test_what_a_timer_may_be_stated_in_is_a_fact() -> None:
    """A row that names a member of `deadlines` names one that the ready line has."""
    stated = load_schema("ready")["$defs"]["Deadlines"]["properties"]

    assert {row.fact for row in numbers.TIMER_ROWS if row.fact} == set(stated) - OWN_CHOICES
