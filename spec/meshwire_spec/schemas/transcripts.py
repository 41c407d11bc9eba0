"""Files of transcripts: socket cases written as data, each a sequence of steps."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from meshwire_spec.schemas import steps
from meshwire_spec.schemas.base import CaseId, Conditions, Level, Strict

Parameter = Literal["dialler", "windows", "records", "interleaving", "frames", "payload"]
"""A parameter of the circumstances in which a case runs."""


class Transcript(Strict, frozen=True, kw_only=True):
    """One socket case: its needs, its rules, and its steps.

    It runs in circumstances that the suite selects; those in `fixes` stay ordinary. The dialect
    `secret` is either of those with a handshake.
    """

    id: CaseId
    title: str
    rules: Annotated[list[str], Meta(extra_json_schema={"minItems": 1})]
    level: Level = "strict"
    isolation: Literal["key", "peer", "process"] = "key"
    dialect: Literal["", "open", "H1", "H2", "secret"] = ""
    binding: Literal["", "tcp", "iroh"] = ""
    capabilities: list[str] = []
    serial: bool = False
    fixes: list[Parameter] = []
    control: CaseId | None = None
    hunts: str = ""
    harm: str = ""
    source: str = "hand"
    let: dict[str, str] = {}
    documents: dict[str, steps.DocumentSpec] = {}
    steps: list[steps.Step]

    def __post_init__(self) -> None:
        """Raise ValueError for a fault that the types do not exclude."""
        if not self.rules:
            raise ValueError(f"{self.id}: a case without a rule")
        if self.negative and self.control is None:
            raise ValueError(f"{self.id}: a negative case without a positive control")
        for number, step in enumerate(self.steps, 1):
            for name in _documents_named(step):
                if name not in self.documents:
                    raise ValueError(f"{self.id}, step {number}: no document {name!r}")

    @property
    def negative(self) -> bool:
        """True if the target has to refuse something; such a case ends with a liveness probe."""
        return any(isinstance(step, steps.Refused | steps.Closed) for step in self.steps)


class TranscriptFile(Strict, frozen=True, kw_only=True):
    """A file of transcripts; `part` is the page whose rules they show."""

    part: str
    about: str
    transcripts: list[Transcript]


CONDITIONS: Conditions = {
    Transcript: {
        "if": {
            "properties": {
                "steps": {
                    "contains": {"anyOf": [{"required": ["refused"]}, {"required": ["closed"]}]}
                }
            }
        },
        "then": {"required": ["control"], "properties": {"control": {"type": "string"}}},
    }
}


def _documents_named(step: steps.Step) -> Iterator[str]:
    match step:
        case steps.Send():
            yield from _frame_documents(step.send)
        case steps.Expect():
            yield from _content_documents(step.expect)
        case steps.Read():
            yield from _content_documents(step.content)
        case steps.Sync():
            yield step.document
            yield from _content_documents(step.content)


def _content_documents(content: steps.ContentSpec | None) -> Iterator[str]:
    if content is not None:
        yield from content.documents
        if content.document is not None:
            yield content.document


def _frame_documents(frame: steps.FrameSpec) -> Iterator[str]:
    yield from (name for name in (frame.document, frame.known) if name is not None)
    yield from frame.more
    for entry in frame.entries:
        yield from _frame_documents(entry)


def decode_file(data: bytes) -> TranscriptFile:
    """Return the content of a file; raises ValueError if it does not fit the format."""
    content = msgspec.json.decode(data)
    if isinstance(content, dict) and isinstance(content.get("transcripts"), list):
        content["transcripts"] = [_tagged(transcript) for transcript in content["transcripts"]]
    return msgspec.convert(content, TranscriptFile)


def _tagged(transcript: Any) -> Any:
    """Return the object of a transcript with the verb of each step as its tag."""
    if not isinstance(transcript, dict) or not isinstance(transcript.get("steps"), list):
        return transcript
    found = []
    for number, step in enumerate(transcript["steps"], 1):
        try:
            found.append(steps.tagged(step))
        except ValueError as exc:
            raise ValueError(f"{transcript.get('id')}, step {number}: {exc}") from exc
    return {**transcript, "steps": found}
