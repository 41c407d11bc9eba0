"""Whether a target offers what a case needs, and what the suite itself has to offer for it."""

from __future__ import annotations

from collections.abc import Callable

from meshwire_conformance.catalogue.case import SHOWS, Case
from meshwire_conformance.documents.client import INSTALL_LINE, Unavailable
from meshwire_conformance.socket_suite.content import Documents
from meshwire_conformance.socket_suite.document_doorway import open_doorway
from meshwire_conformance.targets.attach import Target
from meshwire_conformance.verdicts import CaseResult, Verdict

INSTALL_DOCUMENTS = f"needs Automerge: {INSTALL_LINE}"


async def open_documents() -> Documents | None:
    """The doorway to Automerge, or None where it is not installed."""
    try:
        return await open_doorway()
    except Unavailable:
        return None


def unmet(case: Case, target: Target, documents: Documents | None) -> CaseResult | None:
    """The verdict of a case that cannot be asked of this target, or None where it can."""
    for need in case.needs:
        if need == "documents":
            if documents is None:
                return CaseResult(case.id, Verdict.COULD_NOT_RUN, (INSTALL_DOCUMENTS,))
            continue
        why_not = _why_not(need, target)
        if why_not is not None:
            return CaseResult(case.id, Verdict.NOT_APPLICABLE, (why_not,))
    return None


def _why_not(need: str, target: Target) -> str | None:
    kind, _, name = need.partition(":")
    check = _CHECKS.get(kind)
    return _check_capability(need, target) if check is None else check(name, target)


def _check_dialect(name: str, target: Target) -> str | None:
    spoken = target.facts.dialect
    return None if spoken == name else f"the target speaks dialect {spoken}"


def _check_binding(name: str, target: Target) -> str | None:
    return None if target.binding == name else f"the target is reached over {target.binding}"


def _check_shows(name: str, target: Target) -> str | None:
    shown = name in target.dialler.shows
    return None if shown else f"{target.binding} cannot show this: {name}"


def _check_deadline(name: str, target: Target) -> str | None:
    return None if name in target.facts.deadlines else f"the target declares no {name}"


def _check_process(_name: str, target: Target) -> str | None:
    return None if target.node is not None else "the suite did not start this target"


def _check_capability(name: str, target: Target) -> str | None:
    return None if name in target.facts.capabilities else f"the target does not offer {name}"


def _check_without(name: str, target: Target) -> str | None:
    return f"the target offers {name}" if name in target.facts.capabilities else None


_CHECKS: dict[str, Callable[[str, Target], str | None]] = {
    "dialect": _check_dialect,
    "binding": _check_binding,
    SHOWS: _check_shows,
    "deadline": _check_deadline,
    "process": _check_process,
    "without": _check_without,
}
"""What each kind of need asks of a target; any other need is a capability."""
