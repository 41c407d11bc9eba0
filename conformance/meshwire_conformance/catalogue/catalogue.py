"""The catalogue: cases by id, how they are selected, and the digest over all of them."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.errors import Incomplete, SuiteFault


@dataclass(frozen=True)
class Catalogue:
    """All cases in the order of their ids; ids are unique, controls exist and are positive."""

    cases: tuple[Case, ...]
    by_id: Mapping[str, Case] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Index the cases; raises SuiteFault if an id occurs twice or a control is missing."""
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
        """Return a suggestion for a pattern that matches no case, or an empty text."""
        if any(case.matches(pattern.upper()) for case in self.cases):
            return f": ids are in capitals, try {pattern.upper()!r}"
        several = [word for word in re.split(r"[,\s]+", pattern) if word]
        if len(several) > 1:
            return ": one pattern an option, repeat the option for more"
        return ""

    def select(self, only: Sequence[str] = (), skip: Sequence[str] = ()) -> tuple[Case, ...]:
        """Return the cases that match a pattern of `only` (all if it is empty) and none of `skip`.

        Raises Incomplete if a pattern matches no case or no case is left.
        """
        for pattern in (*only, *skip):
            if not any(case.matches(pattern) for case in self.cases):
                hint = self._hint(pattern)
                raise Incomplete(f"pattern {pattern!r} matches no case and no rule{hint}")
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
    """Return SHA-256 over ids and digests of the given cases, in the order of their ids."""
    lines = sorted(f"{case.id} {case.digest}\n" for case in cases)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
