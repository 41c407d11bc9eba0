"""Transcripts of `oplog/1`, found and read here.

The format is `meshwire_spec.schemas.oplog_sessions`; what a step does is in `oplog_suite.steps`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from meshwire_conformance.catalogue.case import OPLOG_SESSION, Case, case_of_data
from meshwire_conformance.catalogue.data_files import vectors_folder
from meshwire_conformance.catalogue.oplog import PART
from meshwire_conformance.errors import SuiteFault
from meshwire_spec.schemas.oplog_sessions import OplogSession, OplogSessionFile, verb_of


def case_of(session: OplogSession) -> Case:
    """Return the case of a transcript; raises ValueError if a step is none."""
    for step in session.steps:
        verb_of(step)
    return case_of_data(session, OPLOG_SESSION, PART)


def load_cases() -> Iterator[Case]:
    """Yield every transcript; raises SuiteFault for a file of another format."""
    for path in sorted((vectors_folder() / PART / "sessions").glob("*.json")):
        try:
            file = msgspec.json.decode(path.read_bytes(), type=OplogSessionFile)
            yield from map(case_of, file.sessions)
        except (msgspec.DecodeError, ValueError) as exc:
            raise SuiteFault(f"{path.name} is no file of transcripts: {exc}") from exc
