"""Tables about connections: the matrix of dialects, kinds of target, and defects with their cases.

`conformance/coverage/dialects.toml` has a cell of the matrix in each `[[cell]]`, `defects.toml` why
a defect of connections or identity has no case. What each kind of target can show follows from what
the cases need. `tools/sync_spec.py` writes the tables into the pages, and `coverage_tables.py
--check` says what is missing.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from meshwire_spec.rules import Rule, rules_by_id

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "conformance" / "coverage"
INDEX: Final = ROOT / "conformance" / "meshwire_conformance" / "catalogue" / "index.json"
DIALECTS: Final = ("open", "H1", "H2")
KEYS: Final = ("right", "wrong", "absent")
ANY: Final = "any"
"""The key of a cell in which no side asks for it, so that each key ends alike."""
ROLES: Final = ("accepting", "dialling")
SHOWN: Final = 6
"""Cases that a row names; of more the number is said."""
DEFECTS: Final = (
    *(f"D-{number}" for number in range(15, 45)),
    "D-98", "D-99", "D-100", "D-101", "D-102", "D-103", "D-169", "D-170", "D-171",
)  # fmt: skip
"""The defects of streams, connections, handshakes, identity, certificates, enrollment
and encryption."""


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of target: its binding, and what the suite has there beside the connection.

    `dials` is the binding over which it dials the suite, if it does.
    """

    form: str
    binding: str
    has: frozenset[str]
    dials: str = ""

    def shows(self, needs: Sequence[str]) -> bool:
        """Return True if a case with these needs can be judged over it."""
        return all(self._meets(need) for need in needs)

    def _meets(self, need: str) -> bool:
        kind, _, name = need.partition(":")
        if kind == "binding":
            return name == self.binding
        if kind == "dials-over":
            return name == self.dials
        if kind == "shows":
            return self.binding == "tcp"
        return kind not in BESIDE or kind in self.has


BESIDE: Final = frozenset({"accepts", "dials", "dials-named", "process", "control"})
"""Needs that depend on the kind of target; what else a case needs is for the target to offer."""
TARGETS: Final = (
    Target("`node:` with `{dial}` and `{control}`", "tcp", BESIDE, "tcp"),
    Target("`node:` over QUIC with `{dial-quic}` and `{control}`", "quic", BESIDE, "quic"),
    Target("`tcp://`", "tcp", frozenset({"accepts", "control"})),
    Target("`quic://`", "quic", frozenset({"accepts", "control"})),
    Target("`iroh://`", "iroh", frozenset({"accepts", "control"})),
    Target("`tcp-listen://`", "tcp", frozenset({"dials", "control"}), "tcp"),
    Target("`quic-listen://`", "quic", frozenset({"dials", "control"}), "quic"),
)


def socket_cases() -> list[Mapping[str, Any]]:
    """Return the cases over connections, from the index."""
    content = json.loads(INDEX.read_text("utf-8"))
    rows: list[Mapping[str, Any]] = content if isinstance(content, list) else content["cases"]
    return [row for row in rows if row["kind"] == "socket"]


def read_cells() -> list[dict[str, Any]]:
    """Return the cells of the matrix, in their order."""
    cells: list[dict[str, Any]] = tomllib.loads((FOLDER / "dialects.toml").read_text())["cell"]
    return cells


def read_reasons() -> dict[str, str]:
    """Return why a defect has no case, by its id."""
    reasons: dict[str, str] = tomllib.loads((FOLDER / "defects.toml").read_text())
    return reasons


# --- Problems ----------------------------------------------------------------------------------


def cell_problems(cells: Sequence[Mapping[str, Any]], cases: Collection[str]) -> Iterator[str]:
    """Yield what is missing or wrong in the matrix, one line each."""
    found: dict[tuple[str, str, str], int] = {}
    for cell in cells:
        place = f"{cell['initiator']} at {cell['acceptor']}, key {cell['key']}"
        for key in KEYS if cell["key"] == ANY else (cell["key"],):
            where = (cell["initiator"], cell["acceptor"], key)
            found[where] = found.get(where, 0) + 1
        if not cell["outcome"]:
            yield f"dialects, {place}: no outcome"
        for role in ROLES:
            if not cell[role]:
                yield f"dialects, {place}, {role}: no case"
            for name in cell[role]:
                if name not in cases:
                    yield f"dialects, {place}, {role}: no case {name} over connections"
    for where in product(DIALECTS, DIALECTS, KEYS):
        if found.get(where, 0) != 1:
            yield f"dialects, {' at '.join(where[:2])}, key {where[2]}: {found.get(where, 0)} cells"


def rules_of(defect: str, rules: Mapping[str, Rule]) -> list[Rule]:
    """Return the rules whose notes name a defect."""
    return [rule for rule in rules.values() if defect in rule.defects]


def defect_problems(
    rules: Mapping[str, Rule], cases: Sequence[Mapping[str, Any]], reasons: Mapping[str, str]
) -> Iterator[str]:
    """Yield the defects with neither a case nor a reason, and reasons that are not needed."""
    for defect in DEFECTS:
        has_case = bool(cases_of(defect, rules, cases))
        excluded = any(rule.excluded for rule in rules_of(defect, rules))
        if not (has_case or excluded or defect in reasons):
            yield f"defects, {defect}: neither a case nor a reason"
        if has_case and defect in reasons:
            yield f"defects, {defect}: has a case, so that its reason says nothing"


def cases_of(
    defect: str, rules: Mapping[str, Rule], cases: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return the cases over connections that show a rule about a defect."""
    named = {rule.id for rule in rules_of(defect, rules)}
    return [row["id"] for row in cases if named & {*row["rules"]}]


def problems() -> list[str]:
    """Return everything that is missing or wrong, one line each."""
    cases = socket_cases()
    ids = {row["id"] for row in cases}
    return [
        *cell_problems(read_cells(), ids),
        *defect_problems(rules_by_id(), cases, read_reasons()),
    ]


# --- The pages ---------------------------------------------------------------------------------


def render_dialects(_argument: str = "") -> str:
    """Return the matrix of dialects: what each cell ends in, and its cases."""
    from meshwire_spec.render import table  # noqa: PLC0415 - loads construct

    heads = ["Initiator", "Acceptor", "Key", "Ends in", "Target accepts", "Target dials"]
    return table(
        heads,
        [
            [
                cell["initiator"],
                cell["acceptor"],
                cell["key"],
                cell["outcome"],
                *(", ".join(cell[role]) for role in ROLES),
            ]
            for cell in read_cells()
        ],
    )


def render_targets(_argument: str = "") -> str:
    """Return how many cases of each page a kind of target can show."""
    from meshwire_spec.render import table  # noqa: PLC0415 - loads construct

    cases = socket_cases()
    parts = list(dict.fromkeys(row["part"] for row in cases))
    rows = [
        [
            part,
            *(
                str(sum(row["part"] == part and target.shows(row["needs"]) for row in cases))
                for target in TARGETS
            ),
        ]
        for part in parts
    ]
    sums = [str(sum(target.shows(row["needs"]) for row in cases)) for target in TARGETS]
    return table(["Cases about", *(target.form for target in TARGETS)], [*rows, ["all", *sums]])


def render_defects(_argument: str = "") -> str:
    """Return the defects of connections with their rules, and the cases or the reason."""
    from meshwire_spec.render import table  # noqa: PLC0415 - loads construct

    rules, cases, reasons = rules_by_id(), socket_cases(), read_reasons()
    rows = []
    for defect in DEFECTS:
        named = rules_of(defect, rules)
        links = ", ".join(f"[{rule.id}]({rule.page}#{rule.anchor})" for rule in named)
        found = cases_of(defect, rules, cases)
        shown = ", ".join(found[:SHOWN])
        if len(found) > SHOWN:
            shown += f" and {len(found) - SHOWN} more"
        why = [reasons[defect]] if defect in reasons else []
        why += [f"{rule.id}: {rule.excluded}" for rule in named if rule.excluded and not found]
        rows.append([f"[{defect}](93-deployed.md#{defect})", links or "-", shown or "; ".join(why)])
    return table(["Defect", "Rules that name it", "Cases, or why none"], rows)
