"""Socket cases that need a loop or a branch: functions of a `CaseRun`, in `cases`."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from meshwire_conformance.catalogue.case import BOTH_VALID, SOCKET, STRICT_ONLY, Case, digest_of

CaseFunction = Callable[[Any], Awaitable[None]]
"""A function of a `socket_suite.case_run.CaseRun`."""


@dataclass(frozen=True, slots=True)
class PythonCase:
    """The properties of a Python case that the runner uses.

    `final` cases run after all others and judge everything that the target has sent in the run.
    `hostile` ones attack the target, which may end it, so they run after all but the final ones.
    """

    run: CaseFunction
    isolation: str = "key"
    serial: bool = False
    final: bool = False
    hostile: bool = False
    negative: bool = False
    let: Mapping[str, str] = field(default_factory=dict)


_REGISTRY: dict[str, Case] = {}


def case(  # noqa: PLR0913 - a case has these facts
    case_id: str,
    title: str,
    *,
    part: str,
    rules: Iterable[str],
    level: str = "strict",
    needs: Iterable[str] = ("documents",),
    isolation: str = "key",
    serial: bool = False,
    final: bool = False,
    hostile: bool = False,
    negative: bool = False,
    control: str | None = None,
    let: Mapping[str, str] | None = None,
) -> Callable[[CaseFunction], CaseFunction]:
    """Register a function as a case; the first line of its docstring is the mistake it hunts."""

    def register(body: CaseFunction) -> CaseFunction:
        facts = PythonCase(body, isolation, serial, final, hostile, negative, let or {})
        extra = (*needs, *(("process",) if isolation == "process" else ()))
        _REGISTRY[case_id] = Case(
            id=case_id,
            title=title,
            kind=SOCKET,
            part=part,
            rules=tuple(rules),
            results=BOTH_VALID if level == "wire" else STRICT_ONLY,
            source="hand",
            digest=digest_of([case_id, title, level, sorted(extra), inspect.getsource(body)]),
            needs=extra,
            hunts=(inspect.getdoc(body) or "").partition("\n")[0],
            control=control,
            body=facts,
        )
        return body

    return register


def cases_of(*modules: ModuleType) -> Iterator[Case]:
    """Yield the cases registered in these modules."""
    names = [module.__name__ for module in modules]
    for found in _REGISTRY.values():
        assert isinstance(found.body, PythonCase)
        if found.body.run.__module__ in names:
            yield found
