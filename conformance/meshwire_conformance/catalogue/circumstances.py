"""Circumstances: the settings that rules permit for one story, combined by pairs.

Theory of operation. A transcript says what is sent and what must come of it. The rules let the same
frames come in records of any size, over either dialect, beside other streams, and so on, and a
target must do the same in all these circumstances. `PARAMETERS` has each of them with its values,
of which the first is the ordinary one. All combinations would be too many, so `rows_of` returns a
few rows in which every two values of different parameters occur together. Each case runs in one
row, which its id, its dialect and the seed select: two runs with equal seeds agree, also where a
case runs alone.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from types import MappingProxyType

from allpairspy import AllPairs

from meshwire_spec.numbers import FrameType
from meshwire_spec.schemas import steps
from meshwire_spec.schemas.transcripts import Transcript

SUITE, TARGET = "suite", "target"
"""Values of `dialler`."""
WIDE, NARROW = "wide", "narrow"
"""Values of `windows`."""
ANY, WHOLE, TINY = "any", "whole", "tiny"
"""Values of `records`."""
BY_CHANCE, AMID = "by-chance", "amid"
"""Values of `interleaving`."""
ALONE, FIRST, SECOND = "alone", "first", "second"
"""Values of `frames`."""
ANYWHERE, APART, SPLIT = "anywhere", "apart", "split"
"""Values of `payload`."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """One setting; the page on running says what each value means, and which rule permits it."""

    dialect: str = ""
    dialler: str = SUITE
    windows: str = WIDE
    records: str = ANY
    interleaving: str = BY_CHANCE
    frames: str = ALONE
    payload: str = ANYWHERE

    def fixed_at(self, parameters: Iterable[str]) -> Circumstances:
        """Return these circumstances with the ordinary value of some parameters."""
        return replace(self, **{name: PARAMETERS[name][0] for name in parameters})

    def text(self) -> str:
        """Return every parameter with its value, as a line for a person."""
        told = ((one.name, getattr(self, one.name)) for one in fields(self))
        return ", ".join(f"{name} {value}" for name, value in told if value)


ORDINARY = Circumstances()


PARAMETERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "dialler": (SUITE, TARGET),
        "windows": (WIDE, NARROW),
        "records": (ANY, WHOLE, TINY),
        "interleaving": (BY_CHANCE, AMID),
        "frames": (ALONE, FIRST, SECOND),
        "payload": (ANYWHERE, APART, SPLIT),
    }
)
"""Values of each parameter that the suite selects; the dialect is that of the target."""
OF_LAB_BINDING = ("dialler", "windows", "records", "interleaving", "payload")
"""Parameters that exist over the lab binding alone."""


DIALLED = 8
"""One case in this number runs over a connection that the target dials, since each costs a dial."""


def permitted(
    *, level: str, over_lab: bool, dials: bool, is_called: bool, reads_on: bool
) -> dict[str, tuple[str, ...]]:
    """Return the values of each parameter that apply to a target.

    With `over_lab` it is reached over the lab binding, with `dials` it dials the suite too, with
    `is_called` it dials every connection, of which there are few, and with `reads_on` nobody has
    declared that it reads one frame of a stream alone.
    """
    found = dict(PARAMETERS)
    ordinary = set() if over_lab else set(OF_LAB_BINDING)
    if not dials:
        ordinary.add("dialler")
    if is_called:
        ordinary.add("windows")
    # At level wire a receiver need not read a second frame (TR-005).
    if level != "strict" or not reads_on:
        ordinary.add("frames")
    return found | {name: found[name][:1] for name in ordinary}


def rows_of(
    values: Mapping[str, Sequence[str]], dialect: str, seed: int
) -> tuple[Circumstances, ...]:
    """Return rows in which every two of these values of different parameters occur together."""
    return _rows(tuple((name, tuple(found)) for name, found in values.items()), dialect, seed)


@cache
def _rows(
    values: tuple[tuple[str, tuple[str, ...]], ...], dialect: str, seed: int
) -> tuple[Circumstances, ...]:
    generator = random.Random(f"{seed}:pairs:{dialect}")
    # The library combines in the order in which it gets parameters and values.
    names = [name for name, _ in values]
    generator.shuffle(names)
    listed = [generator.sample(dict(values)[name], len(dict(values)[name])) for name in names]
    return tuple(
        Circumstances(dialect, **dict(zip(names, row, strict=True))) for row in AllPairs(listed)
    )


def circumstances_of(
    case: str, transcript: Transcript, rows: Sequence[Circumstances], seed: int
) -> Circumstances:
    """Return the row of a case, with the ordinary value of the parameters that it fixes."""
    wanted = TARGET if is_dialled(case, transcript, seed) else SUITE
    fitting = [row for row in rows if row.dialler == wanted] or rows
    row = random.Random(f"{seed}:row:{rows[0].dialect}:{case}").choice(fitting)
    return row.fixed_at(fixed_by(transcript))


def is_dialled(case: str, transcript: Transcript, seed: int) -> bool:
    """Return True if the target dials the connection of a case, where it dials at all."""
    if "dialler" in fixed_by(transcript):
        return False
    return random.Random(f"{seed}:dialler:{case}").randrange(DIALLED) == 0


def fixed_by(transcript: Transcript) -> Collection[str]:
    """Return the parameters that a transcript fixes, by its own word or by what it does."""
    fixed = set(transcript.fixes)
    if any(_reconciles(step) for step in transcript.steps):
        # The stream of a run carries the messages of the run alone (NG-062).
        fixed.add("frames")
    if transcript.isolation == "process" or transcript.serial or transcript.binding:
        fixed.add("dialler")
    if any(isinstance(step, steps.Ping | steps.Record) for step in transcript.steps):
        # They count PINGs, or break the connection.
        fixed.add("payload")
    if any(isinstance(step, _OF_ITS_ROLE) for step in transcript.steps):
        fixed.add("dialler")
    return fixed


_OF_ITS_ROLE = (steps.Connect, steps.Handshake, steps.Record)
"""Steps in which the suite does what the side does that dials, or numbers streams as that side."""


_OF_RUNS = frozenset({"negentropy-init", "negentropy-response"})
_RUN_TYPES = frozenset({int(FrameType.NEGENTROPY_INIT), int(FrameType.NEGENTROPY_RESPONSE)})


def _reconciles(step: steps.Step) -> bool:
    """Return True if a step belongs to a reconciliation."""
    match step:
        case steps.Answered():
            return True
        case steps.Send():
            return step.send.type in _OF_RUNS or step.send.type in _RUN_TYPES
        case _:
            return False
