"""The peers that must fail, what they did when last run, and the table of both for the page."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from meshwire_conformance.catalogue.case import SOCKET
from meshwire_conformance.run.loading import load_listing

FOLDER: Final = Path(__file__).parents[1] / "conformance" / "liars"
PEERS_FILE: Final = FOLDER / "peers.toml"
MEASURED_FILE: Final = FOLDER / "measured.json"
CEILING: Final = 0.02
"""The share of the cases that a peer can be expected to fail, of which it may pass no more."""


@dataclass(frozen=True, slots=True)
class Rightly:
    """Cases that a peer may pass, and why.

    `rules` is the area of rules, such as `LB`, if they are all cases over connections that show
    rules of this area alone.
    """

    ids: tuple[str, ...]
    why: str
    rules: str = ""

    @property
    def named(self) -> str:
        """The cases in words of the page."""
        if self.rules:
            return f"Cases over connections that show rules {self.rules} alone"
        return ", ".join(self.ids)


@dataclass(frozen=True, slots=True)
class Liar:
    """One peer that must fail: the mode of its program, and what it does in words.

    `common` holds for every peer of the kind, `rightly` for this one alone.
    """

    name: str
    kind: str
    how: str
    what: str
    dialect: str
    timeout_scale: float
    common: tuple[Rightly, ...]
    rightly: tuple[Rightly, ...]

    def excused(self) -> frozenset[str]:
        """Return the ids of all cases that it may pass."""
        return frozenset(name for one in (*self.common, *self.rightly) for name in one.ids)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run showed: numbers of cases that it can be expected to fail, and ids of passes."""

    expected_to_fail: int
    passed: tuple[str, ...]
    rightly: tuple[str, ...]

    @property
    def share(self) -> float:
        """The share of passes among the cases that the peer can be expected to fail."""
        return len(self.passed) / max(1, self.expected_to_fail)


def _rightly(rows: Sequence[Mapping[str, Any]]) -> tuple[Rightly, ...]:
    return tuple(
        Rightly(_of_area(row["rules"]), row["why"], row["rules"])
        if "rules" in row
        else Rightly(tuple(row["ids"]), row["why"])
        for row in rows
    )


@cache
def _of_area(area: str) -> tuple[str, ...]:
    """Return the ids of the cases over connections whose rules are all of an area."""
    return tuple(
        case.id
        for case in load_listing().cases
        if case.kind == SOCKET and all(rule.startswith(f"{area}-") for rule in case.rules)
    )


def read_liars(path: Path = PEERS_FILE) -> dict[str, Liar]:
    """Return every peer of the table by its name; raises ValueError for a name given twice."""
    content = tomllib.loads(path.read_text("utf-8"))
    liars: dict[str, Liar] = {}
    for row in content["peer"]:
        if row["name"] in liars:
            raise ValueError(f"two peers have the name {row['name']!r}")
        common = _rightly([one for one in content["rightly"] if one["kind"] == row["kind"]])
        liars[row["name"]] = Liar(
            row["name"],
            row["kind"],
            row["how"],
            row["what"],
            row.get("dialect", "open"),
            row.get("timeout_scale", 1.0),
            common,
            _rightly(row.get("rightly", [])),
        )
    return liars


def read_measured(path: Path = MEASURED_FILE) -> dict[str, Measured]:
    """Return what the last run showed, by the name of the peer."""
    rows = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {
        name: Measured(row["expected_to_fail"], tuple(row["passed"]), tuple(row["rightly"]))
        for name, row in rows.items()
    }


def problems_of(liar: Liar, found: Measured) -> list[str]:
    """Return in lines why a peer passes too much, or what its row excuses without need."""
    lines = []
    if found.share > CEILING:
        lines.append(
            f"{liar.name}: passes {len(found.passed)} of the {found.expected_to_fail} cases that "
            f"it can be expected to fail, more than {CEILING:.0%}: {', '.join(found.passed)}"
        )
    lines += [
        f"{liar.name}: it passes none of the cases that its row excuses: {one.named}"
        for one in liar.rightly
        if not set(one.ids) & set(found.rightly)
    ]
    return lines


def render_liars(_argument: str = "") -> str:
    """Return the table of the page, and below it the passes that are right."""
    from meshwire_spec.render import table  # noqa: PLC0415 - loads construct

    liars, measured = read_liars(), read_measured()
    rows = []
    for name, found in measured.items():
        liar = liars[name]
        passed = ", ".join(found.passed) or "-"
        rightly = ", ".join(found.rightly) or "-"
        share = f"{found.share:.1%} of {found.expected_to_fail}"
        rows.append([liar.name, liar.what, share, passed, rightly])
    heads = ["Peer", "What it does", "Passed", "Which", "Rightly"]
    reasons = [
        f"- {one.named}: {one.why}"
        for one in dict.fromkeys(
            one for name in measured for one in (*liars[name].common, *liars[name].rightly)
        )
    ]
    return "\n".join([table(heads, rows), "", "What a peer passes rightly:", "", *reasons])
