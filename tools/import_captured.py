"""Turn recorded vectors of the deployed implementation into vector files, once per recording.

    python tools/import_captured.py PATH/vectors.jsonl

Of a negative, `at` is then added by hand; afterwards `make_vectors.py` keeps the files canonical
and checks them with the schema codec.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captured_values import VALUES, Record, formation_secret, is_stub
from make_vectors import outcome_of
from meshwire_spec.numbers import (
    AUTHOR_MAX,
    COLLECTION_MAX,
    DOCUMENT_ID_MAX,
    DOCUMENT_KEY_MAX,
    NONCE,
    REASON_MAX,
)
from meshwire_spec.schemas.vectors import expand
from vector_files import LEDGER, VECTORS, Ledger, canonical, read_files, read_ledger, shorten
from vector_rules import rules_for, wire_result

CAPTURED = ".captured.json"
COLLECTION = re.compile(r"[A-Za-z0-9_.-]+")
TEXT_LIMITS = {
    "collection": COLLECTION_MAX,
    "document_id": DOCUMENT_ID_MAX,
    "deleted_by": AUTHOR_MAX,
    "reason": REASON_MAX,
}
"""Greatest length in bytes of each text of a tombstone."""
RESPONDING = ("formation_response", "FormationKeyFromBase64")

MISTAKES = {
    "unknown-type": (
        "an entry whose type has no meaning in a batch is processed",
        "input that no rule defines takes effect",
    ),
    "bad-key": (
        "the key grammar is not checked, as in the deployed implementation",
        "nodes disagree about which document the key names",
    ),
    "length-limit": (
        "a length is not limited, as in the deployed implementation",
        "data that other nodes refuse is stored and relayed",
    ),
}
"""The mistake and the harm, by the reason for which a strict node refuses recorded bytes."""


def place_of(kind: str, value: dict[str, Any], reason: str) -> tuple[str, str]:
    """Return field and fault class of recorded bytes that a strict node refuses."""
    if reason == "unknown-type":
        return "type", f"type-{value['type']:02x}"
    if kind.startswith("formation"):
        return "formation_id", "over-limit"
    if kind == "tombstone":
        return _place_in_tombstone(value, reason)
    key = value["key"]
    if reason == "length-limit":
        return "key", "over-limit" if len(key) > DOCUMENT_KEY_MAX else "under-limit"
    return "key", "bad-key-no-colon" if ":" not in key else "bad-key-collection"


def _place_in_tombstone(value: dict[str, Any], reason: str) -> tuple[str, str]:
    empty = next((name for name in ("collection", "document_id") if not value[name]), None)
    if empty:
        return empty, "under-limit"
    if reason == "bad-key":
        legal = COLLECTION.fullmatch(value["collection"])
        return ("document_id" if legal else "collection"), "bad-key"
    long = (name for name, most in TEXT_LIMITS.items() if len(value[name].encode()) > most)
    return next(long), "over-limit"


def vector_of(record: Record, number: int, ledger: Ledger) -> dict[str, Any]:
    """Return the vector of one record, without its control."""
    kind, value_of = VALUES[record["kind"]]
    found = outcome_of(kind, bytes.fromhex(record["hex"]))
    stated = value_of(record["inputs"])
    assert found.value is not None, record["name"]
    assert all(found.value[name] == item for name, item in stated.items()), record["name"]
    value = {**found.value, **stated}
    field, fault = place_of(kind, value, found.reason) if found.reason else ("", "")
    rules = rules_for(kind, field, fault, rejected=bool(found.reason), reasons=[found.reason or ""])
    strict = "reject" if found.reason else "valid"
    suffix = f" ({number})" if number else ""
    vector: dict[str, Any] = {
        "id": ledger.id_of(f"captured|{record['kind']}|{record['name']}|{number}"),
        "kind": kind,
        "title": f"recorded: {record['name']}{suffix}",
        "rules": [rule.id for rule in rules],
        "field": field,
        "fault": fault,
        "hex": record["hex"],
        "value": value,
        "result": {"wire": wire_result(strict, rules), "strict": strict},
        "source": record["source"],
    }
    if record["kind"] in RESPONDING and len(record["inputs"]["nonce"]) == 2 * NONCE:
        vector["respond"] = {
            "formation_id": record["inputs"]["formation_id"],
            "secret": formation_secret(record["inputs"]).hex(),
            "nonce": record["inputs"]["nonce"],
        }
    if found.reason:
        vector["reasons"] = [found.reason]
        vector["hunts"], vector["harm"] = MISTAKES[found.reason]
    return vector


def vectors_of(records: list[Record], ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Yield the vectors of records of a listed kind; negatives with a recorded control."""
    seen: Counter[tuple[str, str]] = Counter()
    vectors = []
    for record in records:
        if record["kind"] in VALUES and not is_stub(record):
            name = (record["kind"], record["name"])
            vectors.append(vector_of(record, seen[name], ledger))
            seen[name] += 1
    controls: dict[str, str] = {}
    for vector in vectors:
        if vector["result"]["strict"] == "valid":
            controls.setdefault(vector["kind"], vector["id"])
    for vector in vectors:
        if "reasons" in vector:
            vector["control"] = controls[vector["kind"]]
        yield {name: shorten(member) for name, member in vector.items()}


def main() -> int:
    """Read the records and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("records", type=Path)
    records = [json.loads(line) for line in parser.parse_args().records.read_text().splitlines()]
    ledger = read_ledger()
    parts = {
        vector["kind"]: document["part"]
        for document in read_files().values()
        for vector in document["vectors"]
    }
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for vector in vectors_of(records, ledger):
        assert expand(vector["hex"])
        by_kind.setdefault(vector["kind"], []).append(vector)
    for kind, vectors in by_kind.items():
        (VECTORS / parts[kind] / f"{kind}{CAPTURED}").write_text(canonical(parts[kind], vectors))
    LEDGER.write_text(ledger.text())
    print(f"{sum(map(len, by_kind.values()))} vectors of {len(by_kind)} kinds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
