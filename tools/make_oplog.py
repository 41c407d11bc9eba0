"""Write the vectors of signed operations, one for each recorded line; `--check` compares.

Their ids, and those of the transcripts, are noted in the ledger of all ids.

An id is fixed by the line: its number, counted from the first id of its sort. The rules of a
vector are read off the recording: which forms a text has, which group a history belongs to.

The documents in which histories end at level strict come from the second model, where they are not
the recorded ones. `--check` does not make them again: `tools/tests/test_oplog_model.py` does.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from meshwire_spec.schemas.oplog import OplogFile
from oplog_model import apply, lists, new_state, view
from oplog_model_canonical import canonical_digest_text, canonical_id_text
from oplog_model_texts import plain
from vector_files import LEDGER, read_ledger

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "oplog"
SOURCE = "bft-json-crdt 8fd35eb1"

# The first id of each sort; the number of the line is added.
TEXTS, SIGNATURES, HISTORIES, ORDERS, PANICS, JOINS = 8000, 8360, 8400, 8900, 8920, 8940
BOTH = {"wire": "valid", "strict": "valid"}
NEITHER = {"wire": "reject", "strict": "reject"}

# The rules that the histories of a group show.
GROUPS: dict[str, tuple[str, ...]] = {
    "in_order": ("OP-014",),
    "perm_nodep": ("OP-021",),
    "perm_dep_target": ("OP-014",),
    "perm_dep_chain": ("OP-014",),
    "perm_list": ("OP-010",),
    "perm_lww": ("OP-011",),
    "nested_lww": ("OP-012", "OP-028", "OP-032"),
    "delete": ("OP-013",),
    "deleted_item": ("OP-013",),
    "duplicate": ("OP-025",),
    "deps": ("OP-014", "OP-020"),
    "tampered_set": ("OP-020",),
    "tampered_insert": ("OP-020", "OP-026"),
    "authors": ("OP-022",),
    "seq": ("OP-024",),
    "local": ("OP-014",),
    "path": ("OP-026",),
    "path_types": ("OP-026",),
    "content_type": ("OP-023",),
    "key_order": ("OP-005",),
}
# Histories that have an operation with several faults: the first counts.
ORDERED = frozenset({359, 360, 427, 428, 459, 461})
# Words in the title of a history, and the rule that it shows besides.
WORDS = {
    "delete root": "OP-027",
    "equivocation": "OP-029",
    "inner": "OP-022",
    "wrong type": "OP-023",
}
# Scenarios with the same operations in several orders: their views must be alike at `strict`.
ALIKE = {
    8915: ("two of one author", [187, 188]),
    8916: ("two of one author, and one of another", [190, 192, 193, 194]),
}


def lines(name: str, folder: str = "recorded") -> list[dict[str, Any]]:
    """Return the objects of a recording, or of a file that was made by hand."""
    text = (FOLDER / folder / f"{name}.jsonl").read_text()
    return [json.loads(line) for line in text.split("\n") if line]


def vector(
    number: int, kind: str, title: str, rules: list[str], recorded: str, n: list[int]
) -> dict[str, Any]:
    """Return one row of a file."""
    return {
        "id": f"MW-{number}",
        "kind": f"oplog_{kind}",
        "title": title,
        "rules": sorted(set(rules)),
        "recorded": recorded,
        "n": n,
        "result": BOTH,
        "source": SOURCE,
    }


def texts() -> Iterator[dict[str, Any]]:
    """Yield a vector for each operation whose texts are recorded."""
    for line in lines("ids"):
        text = line["id_text"]
        rules = ["OP-001", "OP-002", "OP-006", "OP-007"]
        rules += ["OP-003"] if "Number(" in text else []
        rules += ["OP-004"] if "String(" in text or "Object({" in text else []
        rules += ["OP-005"] if "Object({" in text else []
        title = f"the texts of an operation: {line['name']}"
        yield vector(TEXTS + line["n"], "text", title, rules, "ids", [line["n"]])


def signatures() -> Iterator[dict[str, Any]]:
    """Yield a vector for each signature whose verdict is recorded."""
    table = json.loads((FOLDER / "levels" / "differences.json").read_text())
    refused = set(table["signatures"]["n"])
    for line in lines("ed25519"):
        n = line["n"]
        rule = "OP-008" if n in refused else "OP-007"
        title = f"a signature: {line['name']}"
        row = vector(SIGNATURES + n, "signature", title, [rule], "ed25519", [n])
        yield row | {"result": BOTH if line["valid"] and n not in refused else NEITHER}


def histories() -> Iterator[dict[str, Any]]:
    """Yield a vector for each short history, one for all orders of a long one, one for a crash."""
    orders: dict[str, list[int]] = {}
    for line in lines("apply"):
        if line["kind"] != "scenario":
            continue
        if "ops_ref" in line:
            orders.setdefault(line["ops_ref"], []).append(line["n"])
            continue
        title = f"{line['group'].replace('_', ' ')}: {line['name']}"
        rules = [*GROUPS[line["group"]], *(r for word, r in WORDS.items() if word in title)]
        rules += ["OP-033"] if line["n"] in ORDERED else []
        yield vector(HISTORIES + line["n"], "history", title, rules, "apply", [line["n"]])
    for number, (name, found) in enumerate(orders.items()):
        title = f"a random history in {len(found)} orders: {name.removeprefix('h:')}"
        rules = ["OP-010", "OP-011", "OP-021", "OP-028", "OP-032"]
        yield vector(ORDERS + number, "history", title, rules, "apply", found)
    for number, (which, n) in ALIKE.items():
        rules = ["OP-010", "OP-029"]
        title = f"equal siblings in every order: {which}"
        yield vector(number, "history", title, rules, "apply", n)
    for line in lines("panics"):
        if line.get("ops") and line["verdict"] == "panic" and line["build"] == "release":
            title = f"what crashed the ancestor: {line['case'].replace('_', ' ')}"
            yield vector(PANICS + line["n"], "history", title, ["OP-016"], "panics", [line["n"]])


# The histories that were made by hand: id and rules, by the number of the line.
MADE = {
    1: (8893, "OP-024"),
    2: (8894, "OP-033"),
    3: (8895, "OP-033"),
    4: (8896, "OP-013"),
    5: (8897, "OP-013"),
    6: (8898, "OP-013"),
    7: (8899, "OP-025"),
    8: (8882, "OP-012"),
}


def made_histories() -> Iterator[dict[str, Any]]:
    """Yield the vectors of histories made by hand, whose outcomes and documents are the model's."""
    for line in lines("histories", "hand"):
        n, state = line["n"], new_state(line["doc"])
        outcomes = [apply(state, operation) for operation in line["ops"]]
        if (outcomes, plain(view(state)), lists(state)) != tuple(
            line[name] for name in ("outcomes", "view", "lists")
        ):
            raise SystemExit(f"make_oplog: line {n} of histories.jsonl ends otherwise")
        number, rule = MADE[n]
        row = vector(number, "history", line["name"], [rule], "histories", [n])
        yield row | {"source": "hand", "result": {"wire": "any", "strict": "valid"}}


def joins() -> Iterator[dict[str, Any]]:
    """Yield a vector for each proof of a join token."""
    for line in lines("joins", "hand"):
        n = line["n"]
        title = f"a proof of the join token: {line['name']}"
        row = vector(JOINS + n, "join", title, ["OP-054"], "joins", [n])
        yield row | {"source": "hand", "result": {"wire": "any", "strict": "valid"}}


# The vectors of version 2: id, title, rules, lines.
CANONICAL = (
    (
        7011,
        "the texts of version 2: insertions, writes and deletions",
        ["OP-062", "OP-063"],
        range(1, 7),
    ),
    (7012, "members of an object in any order have one id", ["OP-062"], range(7, 9)),
    (7013, "numbers of version 2", ["OP-062"], range(9, 12)),
    (7014, "texts and the order of members in version 2", ["OP-062"], range(12, 16)),
    (
        7015,
        "a path that was changed, also where six digits are the same",
        ["OP-062", "OP-063"],
        range(16, 18),
    ),
    (7016, "dependencies or the last segment that were changed", ["OP-063"], range(18, 21)),
    (7017, "the signer is part of what is signed", ["OP-063"], range(21, 23)),
    (7018, "what was changed in version 2 changes the id", ["OP-062"], range(23, 29)),
    (7019, "an operation that is valid in version 1 alone", ["OP-062", "OP-063"], range(29, 30)),
    (8940, "dependencies of version 2 keep their order", ["OP-063"], range(30, 31)),
)


def canonical() -> Iterator[dict[str, Any]]:
    """Yield the vectors of version 2, whose texts are the model's."""
    for line in lines("canonical", "hand"):
        made = canonical_id_text(line["op"]["inner"]), canonical_digest_text(line["op"])
        if made != (line["id_text"], line["digest_text"]):
            raise SystemExit(f"make_oplog: line {line['n']} of canonical.jsonl has other texts")
    for number, title, rules, n in CANONICAL:
        row = vector(number, "canonical", title, rules, "canonical", list(n))
        yield row | {"source": "hand", "result": {"wire": "any", "strict": "valid"}}


FILES = {
    "texts": texts,
    "signatures": signatures,
    "histories": histories,
    "made": made_histories,
    "joins": joins,
    "canonical": canonical,
}


def strict_finals() -> list[dict[str, Any]]:
    """Return the documents at `strict` that differ, each with the numbers of its histories."""
    rows: dict[str, dict[str, Any]] = {}
    shared = {line["ref"]: line["ops"] for line in lines("apply") if line["kind"] == "ops"}
    for line in lines("apply"):
        if line["kind"] != "scenario":
            continue
        operations = line["ops"] if "ops" in line else shared[line["ops_ref"]]
        state = new_state(line["doc"])
        for index in line["order"]:
            apply(state, operations[index])
        final = {"view": plain(view(state))} | ({"lists": lists(state)} if "lists" in line else {})
        if any(final[name] != line[name] for name in final):
            row = rows.setdefault(json.dumps(final, sort_keys=True), {"n": [], **final})
            row["n"].append(line["n"])
    return list(rows.values())


def write_finals() -> None:
    """Write `levels/views.json`."""
    body = ",\n".join(json.dumps(row, sort_keys=True) for row in strict_finals())
    (FOLDER / "levels" / "views.json").write_text(f'{{\n"views": [\n{body}\n]\n}}\n')


def text_of(rows: list[dict[str, Any]]) -> str:
    """Return the text of a file, which its format must fit."""
    body = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    text = f'{{\n"part": "oplog",\n"vectors": [\n{body}\n]\n}}\n'
    msgspec.json.decode(text, type=OplogFile)
    return text


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, say what is stale")
    options = parser.parse_args(arguments)
    if not options.check:
        write_finals()
    stale, count = 0, 0
    ledger = read_ledger()
    known = ledger.text()
    for name, make in FILES.items():
        rows = list(make())
        count += len(rows)
        path = FOLDER / "cases" / f"{name}.json"
        text = text_of(rows)
        for row in rows:
            ledger.note(row["id"], row["title"])
        if not path.exists() or path.read_text() != text:
            stale += 1
            print(f"make_oplog: {path.name} is stale", file=sys.stderr)
            if not options.check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    for path in sorted((FOLDER / "sessions").glob("*.json")):
        for session in json.loads(path.read_text())["sessions"]:
            ledger.note(session["id"], session["title"])
    if ledger.text() != known:
        stale += 1
        print("make_oplog: ids.json is stale", file=sys.stderr)
        if not options.check:
            LEDGER.write_text(ledger.text())
    print(f"{count} vectors of operations, {stale} files changed")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
