"""The sample of mutants that operators make: its file, the reasons of survivors, and its page.

`conformance/mutants/operators/sample.json` has the mutants and what became of them, one per line,
written by `operators.py`; `reasons.toml` beside it says by hand why a survivor survives.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "conformance" / "mutants" / "operators"
SAMPLE: Final = FOLDER / "sample.json"
REASONS: Final = FOLDER / "reasons.toml"
PACKAGES: Final = ("wire", "core", "negentropy", "transport/lab")
"""Packages of the reference whose modules are mutated, with the packages below them."""
NOTICED: Final = "noticed"
SURVIVED: Final = "survived"
COULD_NOT_RUN: Final = "could-not-run"
UNFINISHED: Final = "unfinished"
"""State of a mutant that some stages did not notice, and for which others are to run."""
EQUAL: Final = "equal"
UNSEEN: Final = "unseen"
OPEN: Final = "open"
SORTS: Final = {
    EQUAL: "it behaves as the node does",
    UNSEEN: "no peer can observe the difference",
    OPEN: "a peer could observe it, and no case does",
}
"""What a survivor is."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One mutant of the sample, and what became of it.

    `find` and `put` are lines of the module, as in a row of the table. `state` is NOTICED,
    SURVIVED, COULD_NOT_RUN, UNFINISHED, or empty before it was run; `case` noticed with `symptom`.
    """

    id: str
    module: str
    operator: str
    line: int
    find: str
    put: str
    state: str = ""
    case: str = ""
    symptom: str = ""

    @property
    def package(self) -> str:
        """The package of PACKAGES that the module belongs to."""
        place = self.module.split(".", 1)[1].replace(".", "/")
        return next(name for name in PACKAGES if place.startswith(f"{name}/") or place == name)


@dataclass(frozen=True, slots=True)
class Draw:
    """A drawn sample: the number of all mutants, and that of those which do not count."""

    seed: int
    mutants: tuple[Drawn, ...]
    total: int
    redrawn: int


# --- Files -----------------------------------------------------------------------------------


def read_sample(path: Path = SAMPLE) -> Draw:
    """Return the committed sample."""
    content = json.loads(path.read_text("utf-8"))
    mutants = tuple(Drawn(**one) for one in content.pop("mutants"))
    return Draw(mutants=mutants, **content)


def sample_text(sample: Draw) -> str:
    """Return the file of a sample, one mutant per line; empty members are left out."""
    head = {key: value for key, value in asdict(sample).items() if key != "mutants"}
    lines = (
        json.dumps({key: value for key, value in asdict(one).items() if value}, ensure_ascii=False)
        for one in sample.mutants
    )
    begin = json.dumps(head)[:-1]
    return f'{begin}, "mutants": [\n' + ",\n".join(lines) + "\n]}\n"


class MalformedReason(Exception):
    """A reason that cannot be read."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why survivors survive: one of SORTS, in words, and the unit test that notices, if any."""

    ids: tuple[str, ...]
    sort: str
    why: str
    test: str = ""


def read_reasons(path: Path = REASONS) -> list[Reason]:
    """Return the reasons in their order. Raises MalformedReason for a malformed one."""
    found = []
    for table in tomllib.loads(path.read_text("utf-8")).get("reason", ()):
        known = {member.name for member in fields(Reason)}
        if set(table) - known or table.get("sort") not in SORTS or not table.get("why"):
            raise MalformedReason(
                f"{path.name}: a reason has ids, sort, why and perhaps test: {table}"
            )
        found.append(Reason(**{**table, "ids": tuple(table["ids"])}))
    return found


def reason_problems(sample: Draw, reasons: Iterable[Reason]) -> Iterator[str]:
    """Yield each survivor without a reason, each reason without a survivor, and each lost test."""
    survivors = {one.id for one in sample.mutants if one.state in (SURVIVED, COULD_NOT_RUN)}
    # One that has no result yet may be read before.
    wanted = {one.id for one in sample.mutants if one.state != NOTICED}
    given: list[str] = []
    for reason in reasons:
        given += reason.ids
        path, _, name = reason.test.partition("::")
        if reason.test and (
            not (ROOT / path).is_file()
            or not re.search(rf"def {name.split('::')[-1]}\b", (ROOT / path).read_text("utf-8"))
        ):
            yield f"{REASONS.name}: no test {reason.test}"
    yield from (f"{one}: two reasons" for one in sorted({x for x in given if given.count(x) > 1}))
    yield from (f"{one}: a reason, but it does not survive" for one in given if one not in wanted)
    yield from (f"{one}: survives without a reason" for one in sorted(survivors - set(given)))


# --- Page ------------------------------------------------------------------------------------

HEAD: Final = (
    "Package",
    "Noticed of the unequal",
    "Run",
    "Noticed",
    "Equal",
    "Unseen",
    "Open",
    "Could not run",
    "Unfinished",
)


def page_text(sample: Draw, reasons: Iterable[Reason]) -> str:
    """Return the figures of a sample and the table of its survivors."""
    from meshwire_spec.render import table  # noqa: PLC0415 - loads construct

    by_id = {one: reason for reason in reasons for one in reason.ids}
    ran = [one for one in sample.mutants if one.state]
    said = (
        f"The operators make {sample.total} mutants of these packages.\n"
        f"The sample has {len(sample.mutants)} of them, drawn with the seed {sample.seed}; "
        f"{sample.redrawn} were redrawn.\n"
        f"Of the sample {len(ran)} were run."
    )
    scores = [_score_row(name, [one for one in ran if one.package == name], by_id)
              for name in PACKAGES]  # fmt: skip
    scores.append(_score_row("all", ran, by_id))
    survivors = [_survivor_row(one, by_id) for one in _in_order(ran) if one.state != NOTICED]
    rows = table(["Mutant", "Change", "What it is", "Reason"], survivors)
    return "\n\n".join((said, table(HEAD, scores), "### Survivors {#survivors}", rows))


def _in_order(mutants: Iterable[Drawn]) -> list[Drawn]:
    return sorted(mutants, key=lambda one: (PACKAGES.index(one.package), one.module, one.line))


def _score_row(name: str, mutants: Sequence[Drawn], reasons: dict[str, Reason]) -> list[str]:
    kinds = (NOTICED, EQUAL, UNSEEN, OPEN, COULD_NOT_RUN, UNFINISHED)
    counts = dict.fromkeys(kinds, 0)
    for one in mutants:
        counts[kind_of(one, reasons)] += 1
    unequal = len(mutants) - counts[EQUAL]
    least, most = counts[NOTICED], counts[NOTICED] + counts[UNFINISHED]
    shares = dict.fromkeys(f"{100 * number / unequal:.1f} %" for number in (least, most) if unequal)
    return [f"`{name}`", " to ".join(shares), str(len(mutants)), *map(str, counts.values())]


def kind_of(drawn: Drawn, reasons: dict[str, Reason]) -> str:
    """Return the state of a mutant, or what a survivor is; OPEN without a reason."""
    if drawn.state == NOTICED:
        return NOTICED
    if drawn.id in reasons:
        return reasons[drawn.id].sort
    return OPEN if drawn.state == SURVIVED else drawn.state


def _survivor_row(drawn: Drawn, reasons: dict[str, Reason]) -> list[str]:
    reason = reasons.get(drawn.id)
    kind = kind_of(drawn, reasons)
    sort = SORTS.get(kind, kind)
    why = "" if reason is None else reason.why
    if reason is not None and reason.test:
        why += f" Noticed by `{reason.test}`."
    place = f"`{drawn.module.split('.', 1)[1]}`, line {drawn.line}"
    return [place, change_of(drawn), sort, why]


def change_of(drawn: Drawn) -> str:
    """Return the lines that differ, before and after."""
    find, put = drawn.find.split("\n"), drawn.put.split("\n")
    old = [line.strip() for line in find if line not in put]
    new = [line.strip() for line in put if line not in find]
    before, after = ("".join(f"`{line}` " for line in lines) or "nothing " for lines in (old, new))
    return f"{before}to {after}".strip()
