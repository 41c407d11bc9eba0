"""The catalogue: every case of the suite, how it is selected, and the digest over all of them."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.errors import Incomplete, SuiteFault


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


def _vectors() -> Iterable[Case]:
    from meshwire_conformance.catalogue import vectors  # noqa: PLC0415 - a row of LOADERS

    return vectors.load_cases()


def _reconciliations() -> Iterable[Case]:
    from meshwire_conformance.catalogue import reconciliations  # noqa: PLC0415 - a row of LOADERS

    return reconciliations.load_cases()


def _transcripts() -> Iterable[Case]:
    from meshwire_conformance.catalogue import transcripts  # noqa: PLC0415 - a row of LOADERS

    return transcripts.load_cases()


def _functions() -> Iterable[Case]:
    from meshwire_conformance.cases import (  # noqa: PLC0415 - a row of LOADERS
        binding,
        hostile,
        reconciliation,
        reconciliation_exact,
        reconciliation_runs,
        store,
        streams,
    )
    from meshwire_conformance.catalogue.python_cases import cases_of  # noqa: PLC0415 - as above

    return cases_of(
        streams,
        binding,
        store,
        hostile,
        reconciliation,
        reconciliation_runs,
        reconciliation_exact,
    )


def _harness() -> Iterable[Case]:
    from meshwire_conformance.cases import adapter  # noqa: PLC0415 - a row of LOADERS

    return adapter.CASES


LOADERS: Mapping[str, Callable[[], Iterable[Case]]] = {
    "vectors": _vectors,
    "reconciliations": _reconciliations,
    "transcripts": _transcripts,
    "functions": _functions,
    "harness": _harness,
}
"""Every home of cases, with the function that gives them."""


@cache
def load_catalogue() -> Catalogue:
    """Every case of the suite, read once; raises SuiteFault if they contradict each other."""
    cases = (case for load in LOADERS.values() for case in load())
    return Catalogue(tuple(sorted(cases, key=lambda case: case.id)))
