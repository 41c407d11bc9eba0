"""Layouts, registries, limits, collections, transitions and schemas as Markdown tables.

Every table is generated from the object that parses, decides or runs: a change of an attribute
changes its row. `render` takes the text of a generated marker and returns the text between it and
`<!-- end -->`; `tools/sync_spec.py` writes it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

from meshwire_spec import numbers, states
from meshwire_spec.classes import CLASSES
from meshwire_spec.errors import SpecError
from meshwire_spec.fields import Row, number_type
from meshwire_spec.layouts import LAYOUTS, PARTS, Layout
from meshwire_spec.rules import Rule, load_rules, refusals
from meshwire_spec.schema_tables import members
from meshwire_spec.schemas.validation import load_schema


class UnknownTable(SpecError):
    """No renderer knows this generated marker of a page."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; a bar inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


# --- Layouts ---------------------------------------------------------------------------------


def layout_rows(layout: Layout) -> list[Row]:
    """Return the rows of the byte table of a layout, with the length before it."""
    rows = []
    if layout.frame is not None:
        limits = f"{layout.frame.minimum}..{layout.frame.maximum}"
        kind = f"{number_type(layout.frame.wire)}, {limits}"
        rows.append(Row("length", str(layout.frame.wire.length), kind, "bytes that follow"))
    for name, block in layout.fields:
        rows += block.rows(name)
    return rows


def offsets(rows: Sequence[Row]) -> list[str]:
    """Return the offset of each row: a number, a sum with names of fields, or dots if neither."""
    found: list[str] = []
    names: list[str] = []
    fixed, known = 0, True
    for row in rows:
        start = [str(fixed)] if fixed or not names else []
        found.append(" + ".join([*start, *names]) if known else "...")
        if " if `" in row.type:
            known = False
        elif row.size.isdigit():
            fixed += int(row.size)
        elif row.size == "n":
            names.append(row.field)
        else:
            known = False
    return found


def render_layout(name: str) -> str:
    """Return the byte table of a kind, or of a part of one."""
    layout = LAYOUTS.get(name) or PARTS[name]
    rows = layout_rows(layout)
    cells = [
        [offset, row.size, f"`{row.field}`", row.type, row.means]
        for offset, row in zip(offsets(rows), rows, strict=True)
    ]
    return f"{layout.title}.\n\n" + table(["Offset", "Size", "Field", "Type", "Meaning"], cells)


# --- Registries ------------------------------------------------------------------------------

REGISTRIES: Final[Mapping[str, type[IntEnum]]] = {
    "direction": numbers.Direction,
    "tier": numbers.Tier,
    "enrollment-status": numbers.EnrollmentStatus,
    "mesh-policy": numbers.MeshPolicy,
    "negentropy-mode": numbers.NegentropyMode,
    "lab-record-type": numbers.LabRecordType,
}


def _words(member: IntEnum) -> str:
    return member.name.lower().replace("_", " ")


def _frame_types() -> str:
    rows = [
        [
            f"0x{row.type:02x}",
            row.name,
            row.key if row.key in {"-", "document key"} else f"`{row.key}`",
            row.payload,
            "yes" if row.sent else "no",
            "yes" if row.in_entry else "skipped",
        ]
        for row in numbers.FRAME_TYPES
    ]
    return table(["Type", "Name", "Key", "Payload", "Sent", "As entry"], rows)


def render_registry(name: str) -> str:
    """Return the values of a registry with their names."""
    if name == "frame-types":
        return _frame_types()
    if name == "certificate-fault":
        means = numbers.FAULT_MEANINGS
        return table(["Reason", "Meaning"], [[f"`{one}`", means[one]] for one in means])
    rows = [[str(int(member)), _words(member)] for member in REGISTRIES[name]]
    return table(["Value", "Name"], rows)


def render_denials(_arguments: str) -> str:
    """Return why an authority denies requests, in the order of its checks."""
    rows = [[f"`{denial}`", means] for denial, means in numbers.DENIAL_ROWS]
    return table(["Reason", "Means"], rows)


def render_limits(arguments: str) -> str:
    """Return the limits of the named kinds, with their last legal values."""
    kinds = set(arguments.split())
    rows = [
        [row.name, str(row.minimum), str(row.maximum), row.unit, row.refused_by, f"`{row.reason}`"]
        for row in numbers.LIMITS
        if kinds & set(row.kinds)
    ]
    return table(["Limit", "Least", "Most", "Unit", "Checked by", "Reason"], rows)


def render_kinds(_arguments: str) -> str:
    """Return the table of all kinds with their meanings."""
    rows = [[f"`{kind}`", LAYOUTS[kind].title] for kind in numbers.KINDS]
    return table(["Kind", "What it is"], rows)


def render_reasons(_arguments: str) -> str:
    """Return the registry of reasons with their codes."""
    rows = [
        [f"`{row.name}`", f"0x{row.code:08x}", row.scope, row.means] for row in numbers.REASON_ROWS
    ]
    return table(["Reason", "Code", "Refuses at least", "Meaning"], rows)


def render_collections(_arguments: str) -> str:
    """Return the collection table, the row for all others last."""
    yes_no = {True: "yes", False: "no", None: "-"}
    rows = [
        [
            f"`{row.name}`" if row is not numbers.DEFAULT_COLLECTION else row.name,
            row.mode,
            row.deletion,
            "-" if row.ttl_s is None else str(row.ttl_s),
            yes_no[row.delete_wins],
            row.resurrection,
            _words(row.tombstone_direction),
            row.batch_direction,
        ]
        for row in (*numbers.COLLECTION_ROWS, numbers.DEFAULT_COLLECTION)
    ]
    head = ["Collection", "Sync mode", "Deletion policy", "Lifetime (s)", "Delete wins"]
    return table([*head, "Resurrection", "Tombstones go", "Documents go"], rows)


def render_urgencies(_arguments: str) -> str:
    """Return the table of classes of urgency, the most urgent first."""
    rows = dict(numbers.URGENCY_ROWS)
    lines = [
        [
            str(int(one)),
            one.name.lower(),
            ", ".join(f"`{name}`" for name in rows[one]) if one in rows else "anything else",
        ]
        for one in numbers.Urgency
    ]
    return table(["Class", "Name", "Collections"], lines)


def render_capabilities(_arguments: str) -> str:
    """Return the table of capabilities, the optional ones last."""
    rows = [
        [
            f"`{row.name}`",
            "required" if row.is_required else "optional",
            row.means,
            f"[{row.page}]({row.page})",
        ]
        for row in sorted(numbers.CAPABILITY_ROWS, key=lambda row: not row.is_required)
    ]
    return table(["Capability", "Of every node", "A node that states it", "Page"], rows)


def render_numbers(arguments: str) -> str:
    """Return single numbers by their names in `numbers.py`."""
    rows = [[f"`{name}`", str(getattr(numbers, name))] for name in arguments.split()]
    return table(["Name", "Value"], rows)


def render_timers(_arguments: str) -> str:
    """Return every deadline, interval and age: its value, who keeps it, and what follows."""
    pages = {rule.id: f"[{rule.id}]({rule.page}#{rule.anchor})" for rule in load_rules()}
    rows = [
        [
            f"`{row.constant}`",
            _with_unit(row.constant),
            row.keeper,
            row.since,
            row.then,
            pages[row.rule],
            f"`deadlines.{row.fact}`" if row.fact else "-",
        ]
        for row in numbers.TIMER_ROWS
    ]
    head = ["Name", "Value", "Who keeps it", "Counted since", "What follows", "Rule", "Stated in"]
    return table(head, rows)


def _with_unit(constant: str) -> str:
    """Return a number with the unit that its name ends with; hours and minutes beside ms."""
    value = getattr(numbers, constant)
    if constant.endswith("_PERCENT"):
        return f"{value} %"
    seconds = value / 1000 if constant.endswith("_MS") else value
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds > size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


# --- Transitions and rules -------------------------------------------------------------------


def render_transitions(name: str) -> str:
    """Return a transition table of `states.py`: one row for each pair it lists."""
    transitions: Mapping[tuple[Any, Any], Any] = getattr(states, name)
    rows = [[str(state), str(event), str(after)] for (state, event), after in transitions.items()]
    return table(["State", "What happens", "Next state"], rows)


def render_refusals(_arguments: str) -> str:
    """Return the table of rules by kind of message and reason."""
    rows = [
        [f"`{kind}`", f"`{reason}`", ", ".join(f"[{r.id}]({r.page}#{r.anchor})" for r in rules)]
        for (kind, reason), rules in refusals().items()
    ]
    return table(["Kind", "Reason", "Rules"], rows)


def _spans(rules: Sequence[Rule]) -> list[tuple[Rule, Rule]]:
    """Return the first and last rule of each series of consecutive ids."""
    places = {name: number for number, name in enumerate(sorted(rule.id for rule in load_rules()))}
    spans: list[tuple[Rule, Rule]] = []
    for rule in sorted(rules, key=lambda rule: rule.id):
        if spans:
            first, last = spans[-1]
            if places[rule.id] == places[last.id] + 1 and rule.id[:2] == last.id[:2]:
                spans[-1] = (first, rule)
                continue
        spans.append((rule, rule))
    return spans


def render_classes(_arguments: str) -> str:
    """Return the conformance classes with their rules, consecutive ids as a range."""

    def link(rule: Rule) -> str:
        return f"[{rule.id}]({rule.page}#{rule.anchor})"

    rows = []
    for row in CLASSES:
        spans = [
            link(first) if first == last else f"{link(first)} to {link(last)}"
            for first, last in _spans(row.rules())
        ]
        rows.append([row.name, row.means, str(len(row.rules())), ", ".join(spans) or "-"])
    return table(["Class", "What it is", "Rules", "Which"], rows)


# --- Schemas ---------------------------------------------------------------------------------


def render_schema(arguments: str) -> str:
    """Return the members of the named schemas, and which of the schemas require each."""
    schemas = [load_schema(name) for name in arguments.split()]
    found = {schema["title"]: {row.path: row for row in members(schema)} for schema in schemas}
    every = {path: row for rows in reversed(found.values()) for path, row in rows.items()}
    order = dict.fromkeys(path for rows in found.values() for path in rows)
    lines = [
        [
            f"`{path}`",
            every[path].type,
            *(rows[path].presence if path in rows else "-" for rows in found.values()),
            every[path].means,
        ]
        for path in order
    ]
    heads = ["Presence"] if len(found) == 1 else list(found)
    return table(["Member", "Type", *heads, "Meaning"], lines)


def render_operations(name: str) -> str:
    """Return the requests of a schema that is a union: what each is called, has, and does."""
    schema = load_schema(name)
    tag = schema["discriminator"]["propertyName"]
    lines = []
    for called, reference in schema["discriminator"]["mapping"].items():
        part = schema["$defs"][reference.rpartition("/")[2]]
        own = [one for one in part["properties"] if one not in (tag, "id")]
        shown = [f"`{one}`" if one in part["required"] else f"(`{one}`)" for one in own]
        lines.append([f"`{called}`", ", ".join(shown) or "-", part["description"]])
    return table([f"`{tag}`", "Members", "What it asks for"], lines)


RENDERERS: Final[Mapping[str, Callable[[str], str]]] = {
    "layout": render_layout,
    "registry": render_registry,
    "denials": render_denials,
    "limits": render_limits,
    "kinds": render_kinds,
    "reasons": render_reasons,
    "collections": render_collections,
    "capabilities": render_capabilities,
    "urgencies": render_urgencies,
    "times": render_numbers,
    "timers": render_timers,
    "transitions": render_transitions,
    "refusals": render_refusals,
    "classes": render_classes,
    "schema": render_schema,
    "operations": render_operations,
}


def render(marker: str) -> str:
    """Return the text between a generated marker such as `layout: tombstone` and its end.

    Raises UnknownTable for a marker, kind, registry or table that does not exist.
    """
    name, _, arguments = marker.partition(":")
    try:
        return RENDERERS[name](arguments.strip())
    except (KeyError, AttributeError) as exc:
        raise UnknownTable(f"nothing renders {marker!r}: {exc!r}") from exc
