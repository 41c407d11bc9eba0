"""Transcripts: socket cases written as data, a straight line of steps, read and checked here.

Theory of operation. A transcript names what it needs and lists steps. Each step has exactly one
verb (`send`, `barrier`, `read` ...) and a few options (`on` which connection, `stream` which
stream). What a step does is in `transcript_steps`; what texts like `$key` and `now-60s` stand for
is in `scope`. Documents are data too: an actor and edits, made by Automerge when the case runs.
The types below are the format: `schemas/transcript.json` is generated from them.
"""

# Longer than 300 lines: the steps of a transcript are one vocabulary, read as one table.

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec

from meshwire_conformance.catalogue.catalogue import (
    BOTH_VALID,
    SOCKET,
    STRICT_ONLY,
    Case,
    digest_of,
    vectors_folder,
)
from meshwire_conformance.catalogue.visible import RELEASE, SHOWS, STOP_AFTER_FIN
from meshwire_conformance.errors import SuiteFault
from meshwire_spec.numbers import VERDICT_LINGER_S

SUFFIX = ".transcript.json"

Hex = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})*$", description="bytes in hex")]


FIXED_S = {"verdict_linger_s": VERDICT_LINGER_S}
"""Deadlines of a target that it need not declare, because the rules fix them."""


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every object in a transcript: unknown members are errors."""


class DocumentSpec(Strict, frozen=True, kw_only=True):
    """A document as data: who wrote it and what; `merge` names documents it starts from.

    `fields` are its first change and each of `edits` is one more (see `documents.values`).
    """

    actor: Hex
    fields: dict[str, Any] | None = None
    edits: list[dict[str, Any]] = []
    merge: list[str] = []


class FrameSpec(Strict, frozen=True, kw_only=True):
    """A frame, entry or tombstone to be sent; members that a type does not have stay out.

    `cut` takes bytes off its end and `append` adds some, `payload_cut` takes them off the payload
    before its length is written; `extra` is added behind the last field of the payload. `wrong`
    says that the rules forbid this message, without which the suite refuses to send it.
    A snapshot holds `document` and behind it those of `more`; a delta brings `document` to a peer
    that has `known`, or only opens the exchange. `replace` swaps bytes of the payload.
    """

    type: str | int
    key: str = "$key"
    frame_key: str | None = None
    document: str | None = None
    more: list[str] = []
    known: str | None = None
    opening: bool = False
    hex: Hex | None = None
    replace: dict[Hex, Hex] = {}
    lamport: int | str = 258
    deleted_at: int | str = "now-1s"
    deleted_by: str = "node-a"
    reason: str = ""
    direction: int = 0
    batch_id: int | str = 772
    created_at: int | str = "now"
    ttl: int = 5
    entries: list[FrameSpec] = []
    tombstones: list[FrameSpec] = []
    count: int | None = None
    payload_length: int | None = None
    sent_at: int | str = "now"
    extra: Hex = ""
    payload_cut: int = 0
    cut: int = 0
    append: Hex = ""
    wrong: bool = False


class ContentSpec(Strict, frozen=True, kw_only=True):
    """What a frame or an answer has to say about a document."""

    type: str | int | None = None
    key: str = "$key"
    document: str | None = None
    documents: list[str] = []
    heads: list[Hex] = []
    empty: bool = False
    lamport: int | str | None = None
    deleted_at: int | str | None = None
    deleted_by: str | None = None
    reason: str | None = None
    direction: int | None = None
    extra: Hex | None = None


class ConnectSpec(Strict, frozen=True, kw_only=True):
    """How a connection of the case's own begins, where it is not the ordinary way."""

    handshake: bool = True
    alpn: str | None = None
    alpn_hex: Hex | None = None
    preamble: Hex | None = None
    magic: Hex | None = None
    version: int | None = None
    same_as: str | None = None


class HandshakeSpec(Strict, frozen=True, kw_only=True):
    """One run of the formation handshake, with what is wrong about it.

    `none` as answer stops after the challenge; `resume` goes on from there.
    """

    formation_id: str = "$formation_id"
    answer: Literal["right", "wrong", "short", "long", "none"] = "right"
    result: Literal["accepted", "rejected", "nothing"] = "accepted"
    resume: bool = False


class Step(Strict, frozen=True, kw_only=True):
    """One step: exactly one verb, and options."""

    # Verbs.
    connect: str | None = None
    open: Literal["bidi", "uni"] | None = None
    send: FrameSpec | None = None
    raw: list[Any] | None = None
    finish: Literal[True] | None = None
    reset: int | None = None
    stop: int | None = None
    barrier: Literal[True] | None = None
    released: Literal[True] | None = None
    answered: Hex | None = None
    refused: str | list[str] | None = None
    closed: str | list[str] | None = None
    close: int | None = None
    unfinished: Literal[True] | None = None
    idle: Literal["frame_stall_s"] | None = None
    expect: ContentSpec | None = None
    read: str | None = None
    watch: str | None = None
    sync: str | None = None
    ping: Hex | None = None
    record: dict[str, Any] | None = None
    overrun: Literal["stream"] | None = None
    handshake: HandshakeSpec | None = None
    probe: Literal[True] | None = None
    # Options.
    on: str = "A"
    stream: str = ""
    options: ConnectSpec = ConnectSpec()
    content: ContentSpec | None = None
    document: str = ""
    messages: int = 8
    types: list[str] = []
    within: Literal["", "handshake_s", "frame_stall_s", "verdict_linger_s"] = ""
    once: bool = False
    next: bool = False
    level: Literal["wire", "strict"] = "wire"
    note: str = ""

    @property
    def verb(self) -> str:
        """Name of the one verb of this step."""
        return next(name for name in VERBS if getattr(self, name) is not None)


VERBS = Step.__struct_fields__[: Step.__struct_fields__.index("on")]
"""Names of all verbs, in the order of the format."""


class Transcript(Strict, frozen=True, kw_only=True):
    """One socket case: what it needs, what it shows, and its steps."""

    id: Annotated[str, msgspec.Meta(pattern="^MW-[0-9]{4,}$")]
    title: str
    rules: list[str]
    level: Literal["wire", "strict"] = "strict"
    isolation: Literal["key", "peer", "process"] = "key"
    dialect: Literal["", "open", "H1"] = ""
    binding: Literal["", "tcp", "iroh"] = ""
    capabilities: list[str] = []
    serial: bool = False
    control: str | None = None
    hunts: str = ""
    harm: str = ""
    source: str = "hand"
    let: dict[str, str] = {}
    documents: dict[str, DocumentSpec] = {}
    steps: list[Step]

    @property
    def negative(self) -> bool:
        """Whether the target has to refuse something; such a case ends with a liveness probe."""
        return any(step.refused is not None or step.closed is not None for step in self.steps)


class TranscriptFile(Strict, frozen=True, kw_only=True):
    """A file of transcripts; `part` is the page whose rules they show."""

    part: str
    about: str
    transcripts: list[Transcript]


def read_file(path: Path) -> TranscriptFile:
    """The transcripts of a file; raises SuiteFault where it does not follow the format."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=TranscriptFile)
    except msgspec.DecodeError as exc:
        raise SuiteFault(f"{path.name}: {exc}") from exc
    for transcript in content.transcripts:
        _check(transcript, path.name)
    return content


def _check(transcript: Transcript, where: str) -> None:
    """What the types cannot say: one verb a step, names that exist, a control for a negative."""
    place = f"{where}: {transcript.id}"
    for number, step in enumerate(transcript.steps, 1):
        verbs = [name for name in VERBS if getattr(step, name) is not None]
        if len(verbs) != 1:
            raise SuiteFault(f"{place}, step {number}: {len(verbs)} verbs instead of one")
        for name in _documents_named(step):
            if name not in transcript.documents:
                raise SuiteFault(f"{place}, step {number}: no document {name!r}")
    if not transcript.rules:
        raise SuiteFault(f"{place}: a case without a rule")
    if transcript.negative and transcript.control is None:
        raise SuiteFault(f"{place}: a negative case without a positive control")


def _documents_named(step: Step) -> Iterator[str]:
    if step.sync is not None:
        yield step.document
    for content in (step.expect, step.content):
        if content is not None:
            yield from content.documents
            if content.document is not None:
                yield content.document
    if step.send is not None:
        yield from _frame_documents(step.send)


def _frame_documents(frame: FrameSpec) -> Iterator[str]:
    yield from (name for name in (frame.document, frame.known) if name is not None)
    yield from frame.more
    for entry in frame.entries:
        yield from _frame_documents(entry)


def transcript_files() -> list[Path]:
    """Every file of transcripts, in the order of their paths."""
    return sorted(vectors_folder().glob(f"*/*{SUFFIX}"))


def needs_of(transcript: Transcript) -> tuple[str, ...]:
    """What a target must offer for this case, in the words of the catalogue."""
    needs = list(transcript.capabilities)
    if transcript.dialect:
        needs.append(f"dialect:{transcript.dialect}")
    if transcript.binding:
        needs.append(f"binding:{transcript.binding}")
    needs += (f"{SHOWS}:{name}" for name in sorted(set(_looked_at(transcript))))
    if transcript.isolation == "process":
        needs.append("process")
    waits = {step.within or step.idle for step in transcript.steps}
    needs += sorted(f"deadline:{name}" for name in waits if name and name not in FIXED_S)
    if transcript.documents:
        needs.append("documents")
    return tuple(needs)


def _looked_at(transcript: Transcript) -> Iterator[str]:
    """Yield what the steps look at of that which not every binding shows."""
    uni: set[tuple[str, str]] = set()
    finished: set[tuple[str, str]] = set()
    for step in transcript.steps:
        half = (step.on, step.stream)
        if step.open == "uni":
            uni.add(half)
        elif step.finish is not None:
            finished.add(half)
        elif step.released is not None:
            yield RELEASE
        elif (step.unfinished or step.refused) and half in uni & finished:
            yield STOP_AFTER_FIN


RESULTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"wire": BOTH_VALID, "strict": STRICT_ONLY}
)


def case_of(transcript: Transcript, part: str) -> Case:
    """The catalogue's view of a transcript."""
    return Case(
        id=transcript.id,
        title=transcript.title,
        kind=SOCKET,
        part=part,
        rules=tuple(transcript.rules),
        results=RESULTS[transcript.level],
        source=transcript.source,
        digest=digest_of(msgspec.to_builtins(transcript)),
        needs=needs_of(transcript),
        hunts=transcript.hunts,
        harm=transcript.harm,
        control=transcript.control,
        body=transcript,
    )


@cache
def load_cases() -> tuple[Case, ...]:
    """Every transcript as a case; raises SuiteFault where a file is wrong."""
    return tuple(
        case_of(transcript, content.part)
        for path in transcript_files()
        for content in (read_file(path),)
        for transcript in content.transcripts
    )


def schema_text() -> str:
    """The JSON Schema of a file of transcripts, as it is published."""
    schema = msgspec.json.schema(TranscriptFile)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Transcripts of meshwire's conformance suite"
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"
