"""The catalogue: every case of the suite, how it is selected, and the digest over all of them."""

import hashlib
import importlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import MappingProxyType

from meshwire_conformance.catalogue.data_files import data_folder
from meshwire_conformance.errors import Incomplete, SuiteFault

LEVELS = ("wire", "strict")
RESULTS = ("valid", "reject", "any")
SOCKET = "socket"
"""Kind of every case that needs a connection; all other kinds are message kinds."""

LOADERS = (
    "meshwire_conformance.catalogue.vectors",
    "meshwire_conformance.catalogue.reconciliations",
    "meshwire_conformance.catalogue.transcripts",
    "meshwire_conformance.catalogue.python_cases",
    "meshwire_conformance.cases.adapter",
)
"""Modules with a function `load_cases() -> Iterable[Case]`; a new home of cases adds itself."""


def digest_of(content: object) -> str:
    """SHA-256 over the canonical JSON of what a case is made of."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Case:
    """One thing the suite demands of a target.

    `part` is the page its rules stand on, `results` what each level demands ("any" demands
    nothing), `needs` what a target must offer for it ("deltas", "binding:tcp", "dialect:H1",
    "documents") or must not ("without:reconciliation"), `control` the positive case without
    which a negative does not count, `body` what the part that runs it made of it (a vector, a
    transcript, a function), and `digest` the SHA-256 of its content (`digest_of`).
    """

    id: str
    title: str
    kind: str
    part: str
    rules: tuple[str, ...]
    results: Mapping[str, str]
    source: str
    digest: str
    needs: tuple[str, ...] = ()
    hunts: str = ""
    harm: str = ""
    control: str | None = None
    disputed: bool = False
    body: object = None

    def demanded(self, level: str) -> str:
        """What `level` demands: `valid`, `reject` or `any`; a disputed case demands nothing."""
        return "any" if self.disputed else self.results[level]

    def matches(self, pattern: str) -> bool:
        """Whether a shell pattern fits the id of this case or of one of its rules."""
        return any(fnmatchcase(name, pattern) for name in (self.id, *self.rules))


BOTH_VALID = MappingProxyType({"wire": "valid", "strict": "valid"})
STRICT_ONLY = MappingProxyType({"wire": "any", "strict": "valid"})


@dataclass(frozen=True)
class Catalogue:
    """All cases in the order of their ids; ids are unique, controls exist and are positive."""

    cases: tuple[Case, ...]
    by_id: Mapping[str, Case] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Index the cases; raises SuiteFault where they contradict each other."""
        index: dict[str, Case] = {}
        for case in self.cases:
            if case.id in index:
                raise SuiteFault(f"{case.id} is the id of two cases")
            index[case.id] = case
        for case in self.cases:
            if case.control is not None and case.control not in index:
                raise SuiteFault(f"{case.id} names the control {case.control}, which is no case")
        object.__setattr__(self, "by_id", MappingProxyType(index))

    @property
    def digest(self) -> str:
        """SHA-256 over all cases of the suite."""
        return selection_digest(self.cases)

    def _hint(self, pattern: str) -> str:
        """What may have been meant by a pattern that fits nothing."""
        if any(case.matches(pattern.upper()) for case in self.cases):
            return f": ids are in capitals, try {pattern.upper()!r}"
        several = [word for word in re.split(r"[,\s]+", pattern) if word]
        if len(several) > 1:
            return ": one pattern an option, repeat the option for more"
        return ""

    def select(self, only: Sequence[str] = (), skip: Sequence[str] = ()) -> tuple[Case, ...]:
        """Cases that fit a pattern of `only` (all without one) and none of `skip`.

        Raises Incomplete where a pattern fits no case at all or nothing is left.
        """
        for pattern in (*only, *skip):
            if not any(case.matches(pattern) for case in self.cases):
                hint = self._hint(pattern)
                raise Incomplete(f"pattern {pattern!r} fits no case and no rule{hint}")
        chosen = tuple(
            case
            for case in self.cases
            if (not only or any(case.matches(pattern) for pattern in only))
            and not any(case.matches(pattern) for pattern in skip)
        )
        if not chosen:
            raise Incomplete("no case is selected")
        return chosen


def selection_digest(cases: Iterable[Case]) -> str:
    """SHA-256 over ids and digests of the given cases, in the order of their ids."""
    lines = sorted(f"{case.id} {case.digest}\n" for case in cases)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def vectors_folder() -> Path:
    """Folder of the vectors; raises SuiteFault where there is none."""
    return data_folder("_vectors", "vectors")


def _load() -> Iterator[Case]:
    for name in LOADERS:
        yield from importlib.import_module(name).load_cases()


@cache
def load_catalogue() -> Catalogue:
    """Every case of the suite, read once; raises SuiteFault where they do not fit together."""
    return Catalogue(tuple(sorted(_load(), key=lambda case: case.id)))
