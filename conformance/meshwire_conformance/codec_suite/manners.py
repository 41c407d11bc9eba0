"""Checks of an adapter against the harness protocol: lines, form of answers, answer to hello."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from meshwire_conformance.cases.adapter import (
    HELLO,
    LINES,
    OFFSETS,
    OUTPUT_PLACES,
    PLACES,
    SHAPE,
    STRICT,
    Demand,
)
from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.catalogue.reconciliations import KIND
from meshwire_conformance.codec_suite.certificate_judge import (
    OPERATIONS_BY_KIND as CERTIFICATE_OPERATIONS,
)
from meshwire_conformance.codec_suite.judge import Hello
from meshwire_conformance.codec_suite.oplog_judge import OPERATIONS as OPLOG_OPERATIONS
from meshwire_conformance.codec_suite.oplog_judge import OPERATIONS_BY_KIND
from meshwire_conformance.codec_suite.oplog_judge import PREFIX as OPLOG_PREFIX
from meshwire_conformance.codec_suite.requests import OPERATIONS, RUN_PREFIX, Ask
from meshwire_conformance.errors import Incomplete
from meshwire_conformance.explain.values import shown
from meshwire_conformance.targets.stdio import Replies
from meshwire_conformance.verdicts import CaseResult, Verdict
from meshwire_spec.codec import Malformed, decode, encode, from_value
from meshwire_spec.numbers import KINDS, PROFILE
from meshwire_spec.schemas.vectors import Vector

HARNESS_VERSION = 1
DECODE, ENCODE = "decode", "encode"
UNSENT = "not-sent"
"""Symptom of a case that was not sent, since the codec died or hung at too many before it."""
UNFIT = "unfit-hello"
"""Symptom of a case that was not sent, since the answer to hello cannot be used."""
UNANSWERED = frozenset({UNSENT, UNFIT, "no-answer"})
"""Symptoms of cases without an answer."""
TEXT_IDS = "ids of requests are given back as texts (CH-003)"
"""The cause where answers come whose ids are numbers in a text."""
SHOWN_MAX = 5
"""Greatest number of malformed lines shown."""
NEEDED_OPERATIONS: Mapping[str, frozenset[str]] = {
    KIND: OPERATIONS,
    **OPERATIONS_BY_KIND,
    **CERTIFICATE_OPERATIONS,
}
"""Operations that a harness has to offer for a case of a kind that needs some."""


class UnfitHello(Incomplete):
    """The answer to hello cannot be used; it breaks CH-010."""


@dataclass(slots=True)
class Manners:
    """Observations of an adapter over all its processes; call `notice` for each conversation."""

    answered: int = 0
    strays: list[str] = field(default_factory=list)
    disorder: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    hello: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    cause: str = ""
    """The mistake of the adapter for which requests have no answer, if it is a known one."""
    offsets: int = 0
    """Number of errors of decode that have a reason and an offset."""
    unplaced: list[str] = field(default_factory=list)
    """Errors of decode that have a reason and no offset."""
    placed: Counter[str] = field(default_factory=Counter)
    """Number of offsets that could be compared, by operation."""
    misplaced: dict[str, list[str]] = field(default_factory=lambda: {DECODE: [], ENCODE: []})
    """Errors with an offset that is not that of the field at fault, by operation."""

    def notice(self, spoken: Replies) -> None:
        """Record what a conversation contains besides its answers."""
        self.answered += len(spoken.answers)
        self.strays += spoken.garbage
        self.disorder += spoken.disorder
        self.loose += spoken.loose
        self.misshapen += [
            shown(answer)
            for number, answer in spoken.answers.items()
            if ("result" in answer) is ("error" in answer) and number not in spoken.void
        ]
        self.misshapen += [line for line, _ in spoken.foreign]
        if any(isinstance(name, str) and name.isdecimal() for _, name in spoken.foreign):
            self.cause = TEXT_IDS

    def silence(self, symptom: str) -> str:
        """Return the known mistake for which a case with this symptom has no answer, or nothing."""
        return self.cause if symptom in UNANSWERED else ""

    def notice_offset(self, ask: Ask, answer: Mapping[str, Any] | None) -> None:
        """Count an error with a reason by its offset, and record a missing or wrong offset."""
        error = (answer or {}).get("error")
        if not isinstance(error, dict) or not _is_text(error.get("reason")):
            return
        is_number = type(error.get("offset")) is int
        if is_number:
            self.offsets += ask.op == DECODE
        elif ask.op == DECODE:
            # CH-023
            self.unplaced.append(shown(answer))
        if is_number or (ask.op == ENCODE and error.get("offset") is not None):
            self._compare(ask, error)

    # CH-024, CH-025
    def _compare(self, ask: Ask, error: Mapping[str, Any]) -> None:
        """Record an offset other than that of the same fault in the schema."""
        assert isinstance(ask.case.body, Vector)
        fault = _fault_of(ask.op, ask.case.body)
        same = ("reason",) if ask.op == DECODE else ("reason", "field")
        if fault is None or any(error.get(name) != getattr(fault, name) for name in same):
            return
        self.placed[ask.op] += 1
        if type(error["offset"]) is not int or error["offset"] != fault.offset:
            right = f"{fault.offset} is the offset of {fault.field or 'the first byte too many'}"
            self.misplaced[ask.op].append(f"{ask.case.id}: {shown(error)}, but {right}")


def _fault_of(op: str, vector: Vector) -> Malformed | None:
    """Return the fault that the schema finds where an adapter has found one."""
    try:
        if op == DECODE:
            decode(vector.kind, vector.data)
        else:
            encode(from_value(vector.kind, vector.value))
    except Malformed as fault:
        return fault
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_version(value: object) -> bool:
    return type(value) is int and value == HARNESS_VERSION


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


MEMBERS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "harness": (f"{HARNESS_VERSION}", _is_version),
    "name": ("a text", _is_text),
    "version": ("a text", _is_text),
    "kinds": ("a list of kinds", _is_texts),
    "profiles": (f'["{PROFILE}"]', _is_texts),
    "reasons": ("true or false", _is_flag),
}


# CH-010
def hello_faults(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield the faults of an answer to hello, one sentence each."""
    result = answer.get("result")
    if not isinstance(result, dict):
        yield f"the answer has no result: {shown(answer)}"
        return
    for name, (wanted, fits) in MEMBERS.items():
        if name not in result:
            yield f"{name} is missing, expected {wanted}"
        elif not fits(result[name]):
            yield f"{name} is {shown(result[name])}, expected {wanted}"
    kinds = result.get("kinds")
    for kind in kinds if isinstance(kinds, list) else ():
        if isinstance(kind, str) and kind not in KINDS:
            yield f"kinds names {shown(kind)}, which is no kind"
    yield from _operation_faults(result.get("operations", []))


def _operation_faults(operations: object) -> Iterator[str]:
    """Yield the faults of the operations: those of a run must be all offered or none."""
    if not isinstance(operations, list) or not _is_texts(operations):
        yield f"operations is {shown(operations)}, expected a list of texts"
        return
    for prefix, together in ((RUN_PREFIX, OPERATIONS), (OPLOG_PREFIX, OPLOG_OPERATIONS)):
        of_runs = [name for name in operations if name.startswith(prefix)]
        missing = sorted(together.difference(of_runs))
        if of_runs and missing:
            yield f"operations names {of_runs[0]} and not {', '.join(missing)}: all go together"


def require_profile(answer: Mapping[str, Any]) -> None:
    """Raise Incomplete if a codec does not speak the profile of this suite."""
    result = answer.get("result")
    profiles = result.get("profiles") if isinstance(result, dict) else None
    if isinstance(profiles, list) and _is_texts(profiles) and PROFILE not in profiles:
        spoken = ", ".join(profiles) or "no profile"
        raise Incomplete(f"the codec supports {spoken}, this suite {PROFILE}")


def stated_by(answer: Mapping[str, Any]) -> Hello:
    """Return what an answer to hello states; raises UnfitHello if it names no kinds."""
    result = answer.get("result")
    if not isinstance(result, dict) or not isinstance(result.get("kinds"), list):
        raise UnfitHello(f"the answer to hello names no kinds: {shown(answer)}")
    operations = result.get("operations")
    offered = frozenset(map(str, operations)) if isinstance(operations, list) else frozenset()
    runs = {kind for kind, needed in NEEDED_OPERATIONS.items() if offered >= needed}
    return Hello(
        name=str(result.get("name", "")),
        version=str(result.get("version", "")),
        kinds=frozenset({*map(str, result["kinds"]), *runs}),
        reasons=result.get("reasons") is True,
    )


def adapter_results(
    cases: Sequence[Case], manners: Manners, *, asked: bool
) -> Iterator[CaseResult]:
    """Yield the results of the harness cases; `asked` is True if any request followed hello."""
    for case in cases:
        assert isinstance(case.body, Demand)
        symptom, reason, expected, lines = _BROKEN[case.body.name](manners)
        if lines:
            yield CaseResult(
                case.id,
                Verdict.FAIL,
                (reason,),
                symptom=symptom,
                expected=(expected,),
                received=tuple(_few(lines)),
                cause=manners.cause,
            )
        elif not asked:
            reason = "nothing was asked: no case of an offered kind is selected"
            yield CaseResult(case.id, Verdict.NOT_APPLICABLE, (reason,))
        elif not manners.answered:
            yield CaseResult(case.id, Verdict.COULD_NOT_RUN, ("no answer came",), "no-answer")
        elif not _OFFSETS_SEEN.get(case.body.name, _always)(manners):
            yield CaseResult(case.id, Verdict.NOT_APPLICABLE, ("no error has an offset",))
        else:
            yield CaseResult(case.id, Verdict.PASS)


def _few(lines: Sequence[str]) -> Iterable[str]:
    more = len(lines) - SHOWN_MAX
    return (*lines[:SHOWN_MAX], f"and {more} more") if more > 0 else lines


def _lines(manners: Manners) -> tuple[str, str, str, list[str]]:
    if manners.strays:
        count = len(manners.strays)
        said = f"{count} {'line answers' if count == 1 else 'lines answer'} no open request"
        wanted = "one line per request, and nothing else on standard output"
        return "stray-line", said, wanted, manners.strays
    wanted = "answers in the order of the requests"
    return "wrong-order", "answers came out of order", wanted, manners.disorder


def _shape(manners: Manners) -> tuple[str, str, str, list[str]]:
    wanted = "the id of the request as it was given, and either result or error"
    return "wrong-shape", "an answer has another shape", wanted, manners.misshapen


def _hello(manners: Manners) -> tuple[str, str, str, list[str]]:
    reason = "; ".join(manners.hello)
    return "wrong-hello", reason, "the members of the table of hello", manners.hello


def _strict(manners: Manners) -> tuple[str, str, str, list[str]]:
    count = len(manners.loose)
    reason = f"{count} {'answer is' if count == 1 else 'answers are'} no strict JSON"
    wanted = "one JSON object in UTF-8, without a byte order mark and with each member once"
    return "loose-json", reason, wanted, manners.loose


def _offsets(manners: Manners) -> tuple[str, str, str, list[str]]:
    lines = manners.unplaced if manners.offsets else []
    reason = f"{manners.offsets} errors of decode have an offset, and {len(lines)} have none"
    return "no-offset", reason, "an offset in each error of decode, 0 included", lines


def _places(manners: Manners, op: str) -> tuple[str, str, str, list[str]]:
    lines = manners.misplaced[op]
    reason = f"{len(lines)} of {manners.placed[op]} errors of {op} have the offset of another byte"
    return "wrong-offset", reason, "the offset at which the field at fault begins", lines


def _always(_manners: Manners) -> bool:
    return True


_OFFSETS_SEEN: Mapping[str, Callable[[Manners], bool]] = {
    OFFSETS.name: lambda manners: manners.offsets > 0,
    PLACES.name: lambda manners: manners.placed[DECODE] > 0,
    OUTPUT_PLACES.name: lambda manners: manners.placed[ENCODE] > 0,
}
"""What a case about offsets needs to be judged."""
_BROKEN: Mapping[str, Callable[[Manners], tuple[str, str, str, list[str]]]] = {
    LINES.name: _lines,
    SHAPE.name: _shape,
    HELLO.name: _hello,
    STRICT.name: _strict,
    OFFSETS.name: _offsets,
    PLACES.name: partial(_places, op=DECODE),
    OUTPUT_PLACES.name: partial(_places, op=ENCODE),
}
"""Functions that return symptom, reason, expectation and offending lines; no lines mean a pass."""
