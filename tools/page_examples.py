"""Generated parts of the pages beside tables: a whole reconciliation in hex, and figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from liar_rows import render_liars
from pages import ANCHOR, SPEC, page_paths

RUNS: Final = SPEC.parent / "vectors" / "reconciliation" / "runs"
MODES: Final = ("skip", "fingerprint", "ids")
SIDES: Final = ("client", "server")
GROUP: Final = 8
"""Bytes between two spaces of a long line of hex."""


def runs(folder: Path = RUNS) -> Iterator[dict[str, Any]]:
    """Yield every whole reconciliation among the vectors."""
    for path in sorted(folder.glob("*.json")):
        yield from json.loads(path.read_text())["runs"]


def _items_text(parts: list[dict[str, Any]]) -> str:
    return " and ".join(
        f"{part['count']} items, number n from {part['first']} on with the timestamp "
        f"{part['timestamp']} + n x {part['step']} and as id the SHA-256 of `{part['label']}:n`"
        for part in parts
    )


def _range_rows(data: bytes) -> list[list[str]]:
    from meshwire_spec.codec import annotate, decode, to_value  # noqa: PLC0415 - loads construct

    ranges = to_value(decode("negentropy_message", data))["ranges"]
    spans, _ = annotate("negentropy_message", data)
    starts = [
        next(span.offset for span in spans if span.path.startswith(f"ranges[{index}]."))
        for index in range(len(ranges))
    ]
    ends = [*starts[1:], len(data)]
    rows = [["0", f"`{data[:1].hex()}`", "version", ""]]
    for one, start, end in zip(ranges, starts, ends, strict=True):
        bound = one["upper"]["timestamp"] or "infinity"
        prefix = one["upper"]["prefix"]
        upper = f"{bound}, prefix `{prefix}`" if prefix else bound
        # In groups, so that a line can break between them.
        shown = data[start:end].hex(" ", -GROUP)
        rows.append([str(start), f"`{shown}`", f"to {upper}", MODES[one["mode"]]])
    return rows


def render_run(case_id: str) -> str:
    """Return every message of a run of the vectors, range by range; raises KeyError."""
    from meshwire_spec.render import table  # noqa: PLC0415 - as above

    by_id = {run["id"]: run for run in runs()}
    run = by_id[case_id]
    parts = [f"This is {case_id} of the [vectors](13-vectors.md#reconciliations)."]
    parts += [f"The {side} has {_items_text(run[side]['items'])}." for side in SIDES]
    blocks = ["\n".join(parts)]
    for number, message in enumerate(run["messages"]):
        data = bytes.fromhex(message)
        who = SIDES[number % 2]
        blocks.append(f"Message {number + 1}, from the {who}, {len(data)} bytes:")
        blocks.append(table(["Offset", "Bytes", "Range", "Mode"], _range_rows(data)))
    found = [f"`{name}`" for name in run["need"]]
    blocks.append(f"The client then needs {', '.join(found) or 'nothing'}, and sends no more.")
    return "\n\n".join(blocks)


def _homes() -> dict[str, str]:
    """Return page and anchor of the heading above the byte table of each kind."""
    found = {}
    for path in page_paths():
        anchor = ""
        for line in path.read_text().splitlines():
            if line.startswith("#") and (match := ANCHOR.search(line)):
                anchor = match[1]
            if line.startswith("<!-- layout: "):
                found[line[13:-4]] = f"{path.name}#{anchor}"
    return found


def render_rulers(_arguments: str) -> str:
    """Return the byte ruler of every kind, with a link to its table and the fields in words."""
    from draw_figures import ruler_text  # noqa: PLC0415 - loads construct
    from meshwire_spec.layouts import LAYOUTS  # noqa: PLC0415 - as above
    from meshwire_spec.render import UnknownTable  # noqa: PLC0415 - as above

    homes = _homes()
    blocks = []
    for kind, layout in LAYOUTS.items():
        if kind not in homes:
            raise UnknownTable(f"no page has the mark `layout: {kind}`")
        blocks.append(f"[`{kind}`]({homes[kind]}): {layout.title}.")
        blocks.append(f"![{kind}: {ruler_text(kind)}](assets/figures/ruler-{kind}.svg){{.figure}}")
    return "\n\n".join(blocks)


def render_sequence(name: str) -> str:
    """Return a sequence diagram with what passes in words."""
    from draw_figures import SEQUENCES, sequence_text  # noqa: PLC0415 - loads construct

    text = f"{SEQUENCES[name].title}: {sequence_text(name)}"
    return f"![{text}](assets/figures/sequence-{name}.svg){{.figure}}"


def render_operators(_arguments: str) -> str:
    """Return the scores of the mutants that operators make, and their survivors."""
    from operator_sample import page_text, read_reasons, read_sample  # noqa: PLC0415 - as above

    return page_text(read_sample(), read_reasons())


def render_cells(name: str) -> str:
    """Return the table of a machine: its states, what a peer causes there, and the cases."""
    from coverage_tables import render_machine  # noqa: PLC0415 - as above

    return render_machine(name)


def render_bounds(argument: str) -> str:
    """Return the table of the bounds with their scopes and cases."""
    from coverage_tables import render_bounds as rendered  # noqa: PLC0415 - as above

    return rendered(argument)


def render_connections(name: str) -> str:
    """Return a table about connections: the matrix of dialects, kinds of target, or defects."""
    import transport_tables  # noqa: PLC0415 - as above

    tables = {
        "dialects": transport_tables.render_dialects,
        "targets": transport_tables.render_targets,
        "defects": transport_tables.render_defects,
    }
    return tables[name]()


RENDERERS: Final[Mapping[str, Callable[[str], str]]] = {
    "bounds": render_bounds,
    "cells": render_cells,
    "connections": render_connections,
    "liars": render_liars,
    "run": render_run,
    "rulers": render_rulers,
    "sequence": render_sequence,
    "operators": render_operators,
}
"""Generators by the name of the marker; the text after its colon is the argument."""
