"""Transcripts: socket cases written as data, found and read here, and what each of them needs.

The format is `meshwire_spec.schemas.transcripts`. What a step does is in
`socket_suite.transcript_steps`; what texts like `$key` and `now-60s` mean is in
`socket_suite.composing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from meshwire_conformance.catalogue.case import (
    ACCEPTS,
    BOTH_VALID,
    RELEASE,
    SHOWS,
    SOCKET,
    STOP_AFTER_FIN,
    STRICT_ONLY,
    Case,
    digest_of,
)
from meshwire_conformance.catalogue.data_files import vectors_folder
from meshwire_conformance.errors import SuiteFault
from meshwire_spec.numbers import VERDICT_LINGER_S
from meshwire_spec.schemas import steps
from meshwire_spec.schemas.transcripts import Transcript, TranscriptFile, decode_file

SUFFIX = ".transcript.json"

FIXED_S = {"verdict_linger_s": VERDICT_LINGER_S}
"""Deadlines of a target in seconds that it need not declare, because a rule fixes them."""

FLAT_STEP: Mapping[str, Any] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                *("connect", "open", "send", "raw", "finish", "reset", "stop", "barrier"),
                *("released", "answered", "refused", "closed", "close", "unfinished", "idle"),
                *("expect", "read", "watch", "sync", "ping", "record", "overrun"),
                *("handshake", "probe"),
            )
        ),
        "on": "A",
        "stream": "",
        "options": msgspec.to_builtins(steps.ConnectSpec()),
        "content": None,
        "document": "",
        "messages": 8,
        "types": [],
        "within": "",
        "once": False,
        "next": False,
        "level": "wire",
        "note": "",
    }
)
"""Members of every step in `digest_form`, which keep digests equal: later verbs are not added, and
`overrun`, which is no verb any more, is not removed."""
LATER_MEMBERS: Mapping[str, Any] = MappingProxyType({"hex": None})
"""Members that steps were given later; `digest_form` leaves out those that have their default."""
LATER_OF_ALL: Mapping[str, Any] = MappingProxyType({"fixes": []})
"""The same of whole transcripts."""


def read_file(path: Path) -> TranscriptFile:
    """Return the transcripts of a file; raises SuiteFault if it does not fit the format."""
    try:
        return decode_file(path.read_bytes())
    except ValueError as exc:
        raise SuiteFault(f"{path.name}: {exc}") from exc


def digest_form(transcript: Transcript) -> dict[str, Any]:
    """Return the members of a transcript that its digest covers.

    Each step has the members of `FLAT_STEP` and of `LATER_MEMBERS` those that it uses, as the
    transcript has of `LATER_OF_ALL`, so that a change of the format leaves the digests of
    transcripts that do not use it as they are.
    """
    form: dict[str, Any] = msgspec.to_builtins(transcript)
    form = {name: value for name, value in form.items() if value != LATER_OF_ALL.get(name, ())}
    form["steps"] = [{**FLAT_STEP, **step} for step in form["steps"]]
    for step in form["steps"]:
        del step[steps.TAG]
        for name, value in LATER_MEMBERS.items():
            if name in step and step[name] == value:
                del step[name]
    return form


def transcript_files() -> list[Path]:
    """Return every file of transcripts, in the order of their paths."""
    return sorted(vectors_folder().glob(f"*/*{SUFFIX}"))


def needs_of(transcript: Transcript) -> tuple[str, ...]:
    """Return what a target must offer for this case, as `Case.needs` states it."""
    needs = list(transcript.capabilities)
    if transcript.dialect:
        needs.append(f"dialect:{transcript.dialect}")
    if transcript.binding:
        needs.append(f"binding:{transcript.binding}")
    if any(isinstance(step, steps.Handshake) or _is_halved(step) for step in transcript.steps):
        needs.append(ACCEPTS)
    needs += (f"{SHOWS}:{name}" for name in sorted(set(_looked_at(transcript))))
    if transcript.isolation == "process":
        needs.append("process")
    waits = {_deadline_of(step) for step in transcript.steps}
    needs += sorted(f"deadline:{name}" for name in waits if name and name not in FIXED_S)
    if transcript.documents:
        needs.append("documents")
    return tuple(needs)


def _is_halved(step: steps.Step) -> bool:
    """Return True if a step connects, and leaves out the handshake of an initiator."""
    return isinstance(step, steps.Connect) and not step.options.handshake


def _looked_at(transcript: Transcript) -> Iterator[str]:
    """Yield the observations of the steps that some bindings cannot show."""
    uni: set[tuple[str, str]] = set()
    finished: set[tuple[str, str]] = set()
    for step in transcript.steps:
        match step:
            case steps.Open(open="uni"):
                uni.add((step.on, step.stream))
            case steps.Finish():
                finished.add((step.on, step.stream))
            case steps.Released():
                yield RELEASE
            case steps.Unfinished() | steps.Refused():
                if (step.on, step.stream) in uni & finished:
                    yield STOP_AFTER_FIN


def _deadline_of(step: steps.Step) -> str:
    if isinstance(step, steps.Idle):
        return step.idle
    return step.within if isinstance(step, steps.Refused | steps.Closed) else ""


RESULTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"wire": BOTH_VALID, "strict": STRICT_ONLY}
)


def case_of(transcript: Transcript, part: str) -> Case:
    """Return the case for a transcript."""
    return Case(
        id=transcript.id,
        title=transcript.title,
        kind=SOCKET,
        part=part,
        rules=tuple(transcript.rules),
        results=RESULTS[transcript.level],
        source=transcript.source,
        digest=digest_of(digest_form(transcript)),
        needs=needs_of(transcript),
        hunts=transcript.hunts,
        harm=transcript.harm,
        control=transcript.control,
        body=transcript,
    )


@cache
def load_cases() -> tuple[Case, ...]:
    """Return every transcript as a case; raises SuiteFault if a file does not fit the format."""
    return tuple(
        case_of(transcript, content.part)
        for path in transcript_files()
        for content in (read_file(path),)
        for transcript in content.transcripts
    )
