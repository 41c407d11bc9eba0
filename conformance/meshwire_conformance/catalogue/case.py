"""A case: a requirement on a target, the capabilities that it needs, and its digest."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

SOCKET = "socket"
"""Kind of the cases that need a connection."""
OPLOG_SESSION = "oplog_session"
"""Kind of the cases of `oplog/1` that need WebSockets."""
HARNESS = "harness"
"""Kind of the cases of the codec harness itself.

A further kind is that of `catalogue.reconciliations`; all others are kinds of messages.
"""

ACCEPTS = "accepts"
"""Need of a case in which the suite has to dial: it is about the side that was dialled."""
SHOWS = "shows"
"""Prefix of the needs below: events that some bindings cannot report.

A case that depends on an event that the binding cannot report is not applicable: it would pass
without evidence.
"""
STOP_AFTER_FIN = "stop-after-fin"
"""A STOP received after our FIN. On a bidi stream the RESET beside it is visible anyway."""
RELEASE = "release"
"""The way in which the target ends its half after a STOP of the suite."""
DIALS_OVER = "dials-over"
"""Prefix of the need of a case about a target that dials over one transport, such as QUIC."""
EVERYTHING = frozenset({STOP_AFTER_FIN, RELEASE})


def digest_of(content: object) -> str:
    """Return the SHA-256 of the canonical JSON of a case's content."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Case:
    """One requirement of the suite on a target.

    `part` is the page with its rules, `results` the result that each level requires ("any" requires
    nothing), `needs` what a target must offer for it ("deltas", "binding:tcp", "dialect:H1",
    "documents") or must not ("without:reconciliation"), `control` the positive case without which a
    negative does not count, `body` the vector, transcript or function that its part runs, and
    `digest` the SHA-256 of its content (`digest_of`).
    """

    id: str
    title: str
    kind: str
    part: str
    rules: tuple[str, ...]
    results: Mapping[str, str]
    source: str
    digest: str
    needs: tuple[str, ...] = ()
    hunts: str = ""
    harm: str = ""
    control: str | None = None
    disputed: bool = False
    body: object = None

    def demanded(self, level: str) -> str:
        """Return the result that `level` requires: `valid`, `reject` or `any`.

        A disputed case requires `any`.
        """
        return "any" if self.disputed else self.results[level]

    def matches(self, pattern: str) -> bool:
        """Return True if a shell pattern fits the id of this case or of one of its rules."""
        return any(fnmatchcase(name, pattern) for name in (self.id, *self.rules))

    def is_of_kind(self, pattern: str) -> bool:
        """Return True if a shell pattern fits the kind of this case."""
        return fnmatchcase(self.kind, pattern)

    def is_titled(self, pattern: str) -> bool:
        """Return True if the title contains this text, or a shell pattern fits the whole title.

        Capital and small letters are the same.
        """
        title, text = self.title.casefold(), pattern.casefold()
        return bool(text) and (text in title or fnmatchcase(title, text))


class Data(Protocol):
    """What a file of vectors, runs or transcripts says of each case."""

    @property
    def id(self) -> str:
        """The id of the case."""

    @property
    def title(self) -> str:
        """What the case demands."""

    @property
    def rules(self) -> Sequence[str]:
        """The ids of its rules."""

    @property
    def result(self) -> Any:
        """A struct with the result that each level requires."""

    @property
    def source(self) -> str:
        """Where its bytes are from."""


def case_of_data(data: Data, kind: str, part: str) -> Case:
    """Return the case for an entry of a data file; `part` is the page with its rules."""
    return Case(
        id=data.id,
        title=data.title,
        kind=kind,
        part=part,
        rules=tuple(data.rules),
        results=msgspec.structs.asdict(data.result),
        source=data.source,
        digest=digest_of(msgspec.to_builtins(data)),
        hunts=getattr(data, "hunts", None) or "",
        harm=getattr(data, "harm", None) or "",
        control=getattr(data, "control", None) or None,
        disputed=bool(getattr(data, "disputed", False)),
        body=data,
    )


BOTH_VALID = MappingProxyType({"wire": "valid", "strict": "valid"})
STRICT_ONLY = MappingProxyType({"wire": "any", "strict": "valid"})
