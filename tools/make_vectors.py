"""Write the derived vectors, assign ids, and format every vector file; `--check` compares.

Files `<kind>.json` are written by hand and `<kind>.captured.json` are recorded: in these the tool
orders the members and adds missing ids. Files `<kind>.derived.json` are written by the tool.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.run.loading import LOADERS
from meshwire_conformance.self_check.field_table import FieldRow, fields_of, generic
from meshwire_spec.codec import accept, annotate, decode, from_value, to_value
from meshwire_spec.errors import Malformed
from meshwire_spec.numbers import KINDS
from meshwire_spec.rules import Rule
from meshwire_spec.schemas.vectors import expand
from value_mutations import CLASSES as VALUE_CLASSES
from value_mutations import Changed, changed_values
from vector_files import (
    LEDGER,
    ROOT,
    VECTORS,
    Ledger,
    canonical,
    fault_text,
    read_files,
    read_ledger,
    schema_faults,
    shorten,
    title_fault,
    written_faults,
)
from vector_mutations import (
    CLASSES,
    MUTATORS,
    VALID,
    Base,
    Mutated,
    Place,
    base_of,
    fits,
    places,
    wire_path,
)
from vector_rules import rules_for, wire_result

DERIVED = ".derived.json"
NO_VECTORS = ("transcripts", "functions", "harness")
"""Sources of cases that are not vectors."""


class Disagreement(Exception):
    """A vector, its class and the schema disagree: one of them is wrong."""


@dataclass(frozen=True, slots=True)
class SchemaOutcome:
    """The result of the schema codec for some bytes."""

    reason: str | None
    value: Any


def outcome_of(kind: str, data: bytes) -> SchemaOutcome:
    """Decode and accept bytes; `value` is present whenever they decode."""
    try:
        message = decode(kind, data)
    except Malformed as exc:
        return SchemaOutcome(exc.reason, None)
    return SchemaOutcome(accept(kind, message), to_value(message))


def by_hand(files: dict[Path, dict[str, Any]]) -> dict[Path, dict[str, Any]]:
    """Return the files that are not derived."""
    return {path: file for path, file in files.items() if not path.name.endswith(DERIVED)}


def plain_positives(files: dict[Path, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the handwritten positives of a kind; those without extreme values first."""
    found = [
        vector
        for path, document in files.items()
        if not path.name.endswith((DERIVED, ".captured.json"))
        for vector in document["vectors"]
        if vector["kind"] == kind and vector["result"]["strict"] == VALID
    ]
    short = [vector for vector in found if len(expand(vector["hex"])) < SHORT]
    return sorted(short, key=lambda vector: bool(vector["fault"]))


SHORT = 1200
"""Greatest length in hex digits of a base from which vectors are derived."""


def derive(kind: str, positives: list[dict[str, Any]], ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Yield the derived vectors of a kind: one per field and class, for elements also per place."""
    bases = [(v["id"], base_of(kind, bytes.fromhex(expand(v["hex"])))) for v in positives]
    gaps = []
    for row in fields_of(kind):
        for fault in row.classes:
            try:
                yield from _derive_class(row, fault, bases, ledger)
            except Disagreement as gap:
                gaps.append(str(gap))
    if gaps:
        raise Disagreement("\n".join(dict.fromkeys(gaps)))


def _derive_class(
    row: FieldRow, fault: str, bases: list[tuple[str, Base]], ledger: Ledger
) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for control, base in bases:
        if not fits(base, row):
            continue
        for place in places(base, row):
            where = _where(row, place)
            key = generic(where) if fault == "truncated" else where.replace("[2]", "[1]")
            mutated = MUTATORS[fault](base, row, place)
            if key in seen or mutated is None:
                continue
            vector = _vector(row, where, fault, mutated, control, ledger)
            if vector is not None:
                seen.add(key)
                yield vector


def derive_values(
    kind: str, positives: list[dict[str, Any]], ledger: Ledger
) -> Iterator[dict[str, Any]]:
    """Yield the values of a kind that cannot be encoded: one per member and class."""
    seen: set[str] = set()
    for vector in positives:
        base = base_of(kind, bytes.fromhex(expand(vector["hex"])))
        for changed in changed_values(kind, base, outcome_of(kind, base.data).value):
            key = f"{generic(changed.where)}|{changed.fault}"
            if key in seen:
                continue
            reason = _refusal_of(kind, changed)
            if reason is not None:
                seen.add(key)
                yield _value_vector(kind, changed, reason, vector["id"], ledger)


def _refusal_of(kind: str, changed: Changed) -> str | None:
    """Return the reason of the schema to refuse a value, or None if its member is free.

    Raises Disagreement if the class of the change has another reason.
    """
    value_class = VALUE_CLASSES[changed.fault]
    try:
        from_value(kind, changed.value)
    except Malformed as exc:
        if exc.reason in value_class.reasons:
            return exc.reason
        raise Disagreement(f"{kind} {changed.where} {changed.fault}: for {exc.reason}") from exc
    if value_class.free:
        return None
    raise Disagreement(f"{kind} {changed.where} {changed.fault}: the schema encodes it")


def _value_vector(
    kind: str, changed: Changed, reason: str, control: str, ledger: Ledger
) -> dict[str, Any]:
    value_class = VALUE_CLASSES[changed.fault]
    reasons = {reason} if reason == "length-limit" else {reason, "bad-value", *value_class.always}
    reasons |= {changed.reason} - {""}
    vector = {
        "id": ledger.id_of(f"derived|{kind}|{changed.where}|{changed.fault}"),
        "kind": kind,
        "title": value_class.title.format(f"`{changed.where}`"),
        "rules": list(value_class.rules),
        "field": changed.where,
        "fault": changed.fault,
        "value": changed.value,
        "result": {"wire": "any", "strict": "reject"},
        "reasons": sorted(reasons),
        "hunts": value_class.hunts,
        "harm": value_class.harm,
        "control": control,
        "source": f"derived: {changed.fault} on {control}",
    }
    return {name: shorten(value) for name, value in vector.items()}


def _where(row: FieldRow, place: Place) -> str:
    """Return the field path with the index of the element, without the record type."""
    index = place.path[place.path.find("[") : place.path.find("]") + 1]
    return row.path.replace("[]", index, 1) if index else row.path


def _rules_shown(row: FieldRow, where: str, fault: str, reason: str | None) -> list[Rule]:
    """Return the rules that a derived vector shows; raises Disagreement if there are none."""
    rejected = reason is not None
    rules = rules_for(row.kind, where, fault, rejected=rejected, reasons=[reason or VALID])
    if not rules:
        marks = f"kinds: {row.kind}" + (f"; reason: {reason}" if rejected else "")
        raise Disagreement(f"{row.kind} {where} {fault}: no rule of the pages has `{marks}`")
    return rules


def _vector(
    row: FieldRow, where: str, fault: str, mutated: Mutated, control: str, ledger: Ledger
) -> dict[str, Any] | None:
    """Return the derived vector, or None if these bytes do not show the fault."""
    found = outcome_of(row.kind, mutated.data)
    fault_class = CLASSES[fault]
    says = found.reason or VALID
    if says not in fault_class.expects:
        # A length that is off by one may make another message of the same bytes: no fault then.
        if says == VALID:
            return None
        raise Disagreement(
            f"{row.kind} {where} {fault}: the schema says {says} of {mutated.data.hex()}"
        )
    rejected = found.reason is not None
    rules = _rules_shown(row, where, fault, found.reason)
    strict = "reject" if rejected else VALID
    named = f"`{where}`" if where else "the message"
    vector: dict[str, Any] = {
        "id": ledger.id_of(f"derived|{row.kind}|{where}|{fault}"),
        "kind": row.kind,
        "title": fault_class.title.format(named),
        "rules": [rule.id for rule in rules],
        "field": where,
        "fault": fault,
        "hex": mutated.data.hex(),
        "result": {"wire": wire_result(strict, rules), "strict": strict},
        "source": f"derived: {fault} on {control}",
    }
    if found.value is not None:
        vector["value"] = found.value
    if rejected:
        vector |= {
            "at": [mutated.start, mutated.end],
            "reasons": [says],
            "hunts": fault_class.hunts.format(named),
            "harm": fault_class.harm,
            "control": control,
        }
    return {name: shorten(value) for name, value in vector.items()}


def complete(files: dict[Path, dict[str, Any]], ledger: Ledger) -> Iterator[tuple[Path, str]]:
    """Yield every vector file with its canonical text; assigns missing ids."""
    parts: dict[str, str] = {}
    for path, document in files.items():
        if path.name.endswith(DERIVED):
            continue
        for vector in document["vectors"]:
            parts.setdefault(vector["kind"], document["part"])
            if "id" not in vector:
                vector["id"] = ledger.id_of(f"hand|{vector['kind']}|{vector['title']}")
            vector.update(agree(vector))
        yield path, canonical(document["part"], document["vectors"])
    for kind in KINDS:
        positives = plain_positives(files, kind)
        vectors = [
            *derive(kind, positives, ledger),
            *derive_values(kind, positives, ledger),
        ]
        if kind not in parts:
            raise Disagreement(f"no file of vectors has one of the kind {kind}")
        path = VECTORS / parts[kind] / f"{kind}{DERIVED}"
        yield path, canonical(parts[kind], _without_known(vectors, files))


def _without_known(
    vectors: list[dict[str, Any]], files: dict[Path, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the derived vectors whose bytes or value no handwritten vector has."""
    known = {
        _content_of(vector)
        for path, document in files.items()
        if not path.name.endswith(DERIVED)
        for vector in document["vectors"]
        if vector["fault"]
    }
    return [vector for vector in vectors if _content_of(vector) not in known]


def _content_of(vector: dict[str, Any]) -> tuple[str, str]:
    """Return the kind and bytes of a vector, or its value if it has no bytes."""
    if "hex" in vector:
        return vector["kind"], expand(vector["hex"])
    return vector["kind"], json.dumps(expand(vector["value"]), sort_keys=True)


def agree(vector: dict[str, Any]) -> dict[str, Any]:
    """Return the members that a vector lacks: the value of one that decodes.

    Raises Disagreement unless it agrees with the schema codec.
    """
    if "hex" not in vector:
        _refuse_to_encode(vector)
        return {}
    found = outcome_of(vector["kind"], bytes.fromhex(expand(vector["hex"])))
    says = "reject" if found.reason else VALID
    if says != vector["result"]["strict"] or (found.reason or "") not in vector.get(
        "reasons", [""]
    ):
        wanted = " or ".join(vector.get("reasons", ["valid"]))
        said = f"refuses them for {found.reason}" if found.reason else "takes the bytes"
        raise Disagreement(
            f"{vector['id']} {vector['title']}: the vector says {wanted}, and the schema {said}: "
            "mend the layout, acceptance.py or the vector"
        )
    if "value" in vector and expand(vector["value"]) != found.value:
        raise Disagreement(f"{vector['id']} {vector['title']}: the schema reads {found.value}")
    if "value" in vector and found.value is None:
        raise Disagreement(f"{vector['id']} {vector['title']}: the bytes do not decode")
    if says == "reject":
        _agree_on_place(vector)
    is_open = "value" not in vector and found.value is not None
    return {"value": shorten(found.value)} if is_open else {}


def _agree_on_place(vector: dict[str, Any]) -> None:
    """Raise Disagreement unless the offset at which the schema fails is within `at`.

    A field that is wrong as a whole, such as a magic, may have its fault anywhere inside. Of what
    only `accept` refuses, the schema names no offset.
    """
    start, end = vector["at"]
    fault = annotate(vector["kind"], bytes.fromhex(expand(vector["hex"])))[1]
    found_first_varies = len(vector["reasons"]) > 1
    if fault is None or found_first_varies or fault.field == wire_path(vector["field"]):
        return
    if not start <= fault.offset <= end:
        raise Disagreement(
            f"{vector['id']} {vector['title']}: `at` is [{start}, {end}], and the schema fails at "
            f"{fault.offset}, in {fault.field or 'the message'}"
        )


def _refuse_to_encode(vector: dict[str, Any]) -> None:
    """Raise Disagreement unless the schema refuses to encode a value without bytes."""
    try:
        from_value(vector["kind"], expand(vector["value"]))
    except Malformed as exc:
        if exc.reason in vector["reasons"]:
            return
        raise Disagreement(f"{vector['id']} {vector['title']}: for {exc.reason}") from exc
    raise Disagreement(f"{vector['id']} {vector['title']}: the schema encodes it")


def _repeated_ids(texts: dict[Path, str]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for path, text in texts.items():
        for vector in json.loads(text)["vectors"]:
            if vector["id"] in seen:
                yield f"{vector['id']} stands in {seen[vector['id']]} and in {path.name}"
            seen[vector["id"]] = path.name


def socket_cases() -> list[Case]:
    """Return the cases that are not vectors; their ids are recorded so that none is reused."""
    return [case for home in NO_VECTORS for case in LOADERS[home]()]


def note_ids(ledger: Ledger, cases: Iterable[Case]) -> None:
    """Note the ids of socket cases; raises Disagreement for a title with a fault."""
    for case in cases:
        if fault := title_fault(case.title):
            raise Disagreement(f"{case.id}: {fault}")
        ledger.note(case.id, case.title)


def main() -> int:
    """Write or compare the files, and print the problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    files = read_files()
    wrong = list(written_faults(by_hand(files)))
    ledger = read_ledger()
    texts: dict[Path, str] = {}
    if not wrong:
        try:
            note_ids(ledger, socket_cases())
            texts = dict(complete(files, ledger))
        except Disagreement as exc:
            wrong += str(exc).splitlines()
        except SuiteFault as exc:
            wrong.append(fault_text(exc))
    if wrong:
        print(*(f"make_vectors: {line}" for line in wrong), sep="\n", file=sys.stderr)
        return 1
    derived = {path: text for path, text in texts.items() if path.name.endswith(DERIVED)}
    wrong = [*schema_faults("vectors", derived), *_repeated_ids(texts)]
    wanted = {**texts, LEDGER: ledger.text()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    wrong += [f"{path.relative_to(ROOT)} is not up to date" for path in stale if check]
    for line in wrong:
        print(f"make_vectors: {line}", file=sys.stderr)
    if not check and not wrong:
        for path in stale:
            path.write_text(wanted[path])
    count = sum(len(json.loads(text)["vectors"]) for text in texts.values())
    print(f"{count} vectors in {len(texts)} files, {len(stale)} changed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
