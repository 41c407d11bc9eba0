"""Makes the JSON Schemas from the structs; `tools/make_schemas.py` writes what this returns."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from inspect import cleandoc
from typing import Any

import msgspec

from meshwire_spec.schemas import (
    certificates,
    control,
    listing,
    oplog,
    oplog_sessions,
    reconciliation,
    report,
    steps,
    targets,
    transcripts,
    vectors,
)
from meshwire_spec.schemas.base import Conditions, Schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Publication:
    """One published schema: its struct or union, and the conditions that types cannot express.

    `conditions` are keywords that are added to the schema of a struct, such as `if` and `then`;
    the struct's `__post_init__` checks the same. `implied` is the tag of a union that readers
    infer from the other members, so that files do not hold it.
    """

    name: str
    title: str
    struct: Any
    conditions: Conditions = field(default_factory=dict)
    implied: str = ""


PUBLICATIONS = (
    Publication("control-request", "Request to a node", control.ControlRequest),
    Publication("control-reply", "Reply of a node", control.ControlReply),
    Publication("ready", "Ready line", targets.ReadyLine, targets.READY_CONDITIONS),
    Publication("target", "Target file", targets.TargetFile, targets.TARGET_CONDITIONS),
    Publication("report", "Report of a run of the conformance suite", report.ReportFile),
    Publication("listing", "Cases of the conformance suite", listing.ListingFile),
    Publication(
        "transcript",
        "Transcripts of meshwire's conformance suite",
        transcripts.TranscriptFile,
        transcripts.CONDITIONS,
        implied=steps.TAG,
    ),
    Publication("vectors", "A file of codec vectors", vectors.VectorFile, vectors.CONDITIONS),
    Publication(
        "reconciliation",
        "A file of reconciliation vectors",
        reconciliation.ReconciliationFile,
        reconciliation.CONDITIONS,
    ),
    Publication(
        "certificates", "A file of vectors about certificates", certificates.CertificateFile
    ),
    Publication("oplog", "A file of vectors of signed operations", oplog.OplogFile),
    Publication(
        "oplog-sessions", "A file of transcripts of oplog/1", oplog_sessions.OplogSessionFile
    ),
    Publication("oplog-bulk", "A bulk of signed operations", oplog.BulkFrame),
    Publication("oplog-single", "A text message with one signed operation", oplog.SingleFrame),
    Publication("oplog-live", "A binary message with one signed operation", oplog.LiveFrame),
    Publication(
        "oplog-canonical",
        "The envelope of one signed operation of version 2",
        oplog.CanonicalFrame,
    ),
)


def schema_of(publication: Publication) -> Schema:
    """Return the JSON Schema of a publication.

    The struct is at the top, those that it contains are in `$defs` under the names of their
    classes. Raises KeyError for a condition of a struct that is not among them.
    """
    (top,), parts = msgspec.json.schema_components(
        [publication.struct], ref_template="#/$defs/{name}"
    )
    for struct, condition in publication.conditions.items():
        parts[struct.__name__] |= condition
    if publication.implied:
        _leave_out(parts, publication.implied)
    definitions = {name: _simplified(part) for name, part in parts.items()}
    # A union has no name of its own.
    own = definitions.pop(top["$ref"].rpartition("/")[2]) if "$ref" in top else _simplified(top)
    head = {
        "$schema": DIALECT,
        "$id": f"https://meshwire.invalid/schemas/{publication.name}.json",
        "title": publication.title,
    }
    return {**head, **own, **({"$defs": definitions} if definitions else {})}


def schema_text(publication: Publication) -> str:
    """Return the schema as its file holds it."""
    return json.dumps(schema_of(publication), indent=1, ensure_ascii=False) + "\n"


def _leave_out(schema: Any, tag: str) -> None:
    """Remove the tag of a union from a schema, in place: its alternatives are disjoint anyway."""
    for part in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(part, dict | list):
            _leave_out(part, tag)
    if isinstance(schema, dict) and schema.get("discriminator", {}).get("propertyName") == tag:
        del schema["discriminator"]
        schema["oneOf"] = schema.pop("anyOf")
    if isinstance(schema, dict) and tag in schema.get("properties", {}):
        del schema["properties"][tag]
        schema["required"].remove(tag)


def _simplified(schema: Any) -> Any:
    """Return the schema in the form that a person would write.

    Without titles that repeat the name of a class and without empty lists of required members; with
    `const` for a choice of one, and a list of types if a value may be null.
    """
    if isinstance(schema, list):
        return [_simplified(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {
        name: _simplified(value)
        for name, value in schema.items()
        # A member may be called so too; its value is a schema.
        if name != "title" or not isinstance(value, str)
    }
    if isinstance(plain.get("description"), str):
        plain["description"] = cleandoc(plain["description"])
    if plain.get("required") == []:
        del plain["required"]
    if isinstance(plain.get("enum"), list) and len(plain["enum"]) == 1:
        plain = {("const" if name == "enum" else name): value for name, value in plain.items()}
        plain["const"] = plain["const"][0]
    match plain.get("anyOf"):
        case [{"type": str(kind), **limits}, {"type": "null"}] if not limits.keys() & plain.keys():
            del plain["anyOf"]
            plain |= {"type": [kind, "null"], **limits}
    return plain
