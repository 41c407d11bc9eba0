"""The catalogue: cases by id, how they are selected, and the digest over all of them."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.errors import Incomplete, SuiteFault, UsageError
from meshwire_conformance.hints import did_you_mean

READINGS = (Case.matches, Case.is_of_kind, Case.is_titled)
"""What a pattern can name: ids and rules, else kinds, else titles; the first that fits counts."""
TITLE = "title:"
"""Prefix of a pattern that names titles only."""


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

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the cases, in alphabetical order."""
        return tuple(sorted({case.kind for case in self.cases}))

    def named(self, patterns: Iterable[str]) -> frozenset[str]:
        """Return the ids of the cases that patterns name (`READINGS`).

        Raises Incomplete if a pattern names none.
        """
        found: set[str] = set()
        for pattern in patterns:
            cases = self._named_by(pattern)
            if not cases:
                hint = self._hint(pattern)
                raise Incomplete(
                    f"pattern {pattern!r} matches no case, by id, rule, kind or title{hint}"
                )
            found |= cases
        return frozenset(found)

    def _named_by(self, pattern: str) -> set[str]:
        title = pattern.removeprefix(TITLE)
        readings = READINGS if title == pattern else (Case.is_titled,)
        for fits in readings:
            if found := {case.id for case in self.cases if fits(case, title)}:
                return found
        return set()

    def _is_named(self, word: str) -> bool:
        """Return True if a word names cases by id, rule or kind."""
        return any(case.matches(word) or case.is_of_kind(word) for case in self.cases)

    def _hint(self, pattern: str) -> str:
        """Return a suggestion for a pattern that matches no case, or an empty text."""
        if any(case.matches(pattern.upper()) for case in self.cases):
            return f": ids are in capitals, try {pattern.upper()!r}"
        several = [word for word in re.split(r"[,\s]+", pattern) if word]
        if len(several) > 1 and all(map(self._is_named, several)):
            return ": one pattern an option, repeat the option for more"
        rules = {rule for case in self.cases for rule in case.rules}
        pages = {f"{rule.partition('-')[0]}-*" for rule in rules}
        words = [*self.kinds, *sorted(pages | rules), *self.by_id]
        suggestion = did_you_mean(pattern.upper(), {word.upper(): word for word in words})
        return suggestion and f"; {suggestion}"

    def select(
        self, only: Sequence[str] = (), skip: Sequence[str] = (), kinds: Sequence[str] = ()
    ) -> tuple[Case, ...]:
        """Return the cases of these kinds that `only` names, without those that `skip` names.

        Without kinds those of all kinds, with an empty `only` all. Raises Incomplete if a pattern
        names no case or no case is left, UsageError for an unknown kind.
        """
        for kind in kinds:
            if kind not in self.kinds:
                hint = did_you_mean(kind, self.kinds) or f"kinds are {', '.join(self.kinds)}"
                raise UsageError(f"--kind {kind!r}: there is no such kind; {hint}")
        wanted = self.named(only) if only else frozenset(self.by_id)
        wanted -= self.named(skip)
        chosen = tuple(
            case for case in self.cases if case.id in wanted and (not kinds or case.kind in kinds)
        )
        if not chosen:
            raise Incomplete("no case is selected")
        return chosen


def selection_digest(cases: Iterable[Case]) -> str:
    """Return SHA-256 over ids and digests of the given cases, in the order of their ids."""
    lines = sorted(f"{case.id} {case.digest}\n" for case in cases)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
