"""Loads every case of the suite from vectors, transcripts and Python modules."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.catalogue import Catalogue
from meshwire_conformance.catalogue.index import indexed_cases


def _vectors() -> Iterable[Case]:
    from meshwire_conformance.catalogue import vectors  # noqa: PLC0415 - a row of LOADERS

    return vectors.load_cases()


def _reconciliations() -> Iterable[Case]:
    from meshwire_conformance.catalogue import reconciliations  # noqa: PLC0415 - a row of LOADERS

    return reconciliations.load_cases()


def _oplog() -> Iterable[Case]:
    from meshwire_conformance.catalogue import oplog  # noqa: PLC0415 - a row of LOADERS

    return oplog.load_cases()


def _oplog_sessions() -> Iterable[Case]:
    from meshwire_conformance.catalogue import oplog_sessions  # noqa: PLC0415 - a row of LOADERS

    return oplog_sessions.load_cases()


def _certificates() -> Iterable[Case]:
    from meshwire_conformance.catalogue import certificates  # noqa: PLC0415 - a row of LOADERS

    return certificates.load_cases()


def _transcripts() -> Iterable[Case]:
    from meshwire_conformance.catalogue import transcripts  # noqa: PLC0415 - a row of LOADERS

    return transcripts.load_cases()


def _functions() -> Iterable[Case]:
    from meshwire_conformance.catalogue.python_cases import cases_of  # noqa: PLC0415 - a row of LOADERS
    from meshwire_conformance.run.case_modules import CASE_MODULES  # noqa: PLC0415 - as above

    return cases_of(*CASE_MODULES)


def _harness() -> Iterable[Case]:
    from meshwire_conformance.cases import adapter  # noqa: PLC0415 - a row of LOADERS

    return adapter.CASES


LOADERS: Mapping[str, Callable[[], Iterable[Case]]] = {
    "vectors": _vectors,
    "reconciliations": _reconciliations,
    "oplog": _oplog,
    "oplog sessions": _oplog_sessions,
    "certificates": _certificates,
    "transcripts": _transcripts,
    "functions": _functions,
    "harness": _harness,
}
"""Functions that load cases, by the source of the cases."""


OVER_CONNECTIONS = frozenset({"transcripts", "functions"})
"""Sources whose cases are in the index."""


@cache
def load_listing() -> Catalogue:
    """Return the catalogue for callers that run no case over connections: such cases have no body.

    Raises SuiteFault if two cases conflict.
    """
    indexed = indexed_cases()
    if indexed is None:
        return load_catalogue()
    loaded = (
        case for name, load in LOADERS.items() if name not in OVER_CONNECTIONS for case in load()
    )
    return Catalogue(tuple(sorted((*indexed, *loaded), key=lambda case: case.id)))


@cache
def load_catalogue() -> Catalogue:
    """Return the catalogue of all cases, read once; raises SuiteFault if two of them conflict."""
    cases = (case for load in LOADERS.values() for case in load())
    return Catalogue(tuple(sorted(cases, key=lambda case: case.id)))
