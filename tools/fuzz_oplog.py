"""Compare the reference with the second model of `oplog/1` over random histories.

Usage: python tools/fuzz_oplog.py [--histories 2000] [--seed 1].

Operations of a few signers on any part of a document, at times with wrong content, a wrong path or
another author, with dependencies that come late or never, changed after they were signed, signed
again, or far ahead. The second model says what is in the document so far.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meshwire_reference.oplog.outcomes import Level
from meshwire_reference.oplog.tagged import read_tagged, write_tree
from meshwire_reference.testing.oplog_recordings import new_replica, orders
from oplog_model import DOCUMENTS, ROOT, apply, elements_of, lists, new_state, view
from oplog_model_texts import digest_text, hash_of, id_text

SIGNERS = 3
LENGTH = 40
# How often, of a hundred operations.
AGAIN, CHANGED, ODD_CONTENT, ODD_AUTHOR, ODD_PATH, FAR, LATE = 10, 8, 6, 4, 3, 3, 3
NUMBERS = ("3ff0000000000000", "4008000000000000", "c000000000000000")
ODD: tuple[Any, ...] = (
    ["null"], ["str", "x"], ["str", "xy"], ["num", NUMBERS[1]], ["bool", True], ["arr", []],
    ["obj", []], ["num", "7ff0000000000000"], ["num", "3fe0000000000000"],
)  # fmt: skip
FAR_AHEAD = (0, 2**20 + 1, 2**20 + 9, 2**53 - 1, 2**53)
STRANGE = "cd" * 32
UNKNOWN_SIGNATURE = "00" * 64


class HistoryMaker:
    """The operations made so far, and a document that has applied what could be."""

    def __init__(self, random: Random, document: str) -> None:
        self.made: list[Any] = []
        self._random = random
        self._kind = DOCUMENTS[document]
        self._known = new_state(document)
        keys = [Ed25519PrivateKey.from_private_bytes(bytes([n + 1]) * 32) for n in range(SIGNERS)]
        self._keys = {key.public_key().public_bytes_raw().hex(): key for key in keys}

    def make(self) -> Any:
        """Return one more operation."""
        signer = self._random.choice(list(self._keys))
        if self.made and self._in_hundred(AGAIN):
            operation = copy.deepcopy(self._random.choice(self.made))
            operation["depends_on"] = self._dependencies()
            self._sign(operation, signer)
        elif self.made and self._in_hundred(CHANGED):
            operation = copy.deepcopy(self._random.choice(self.made))
            self._random.choice(CHANGES)(operation)
        else:
            operation = self._new(signer)
        self.made.append(operation)
        apply(self._known, copy.deepcopy(operation))
        return operation

    def _in_hundred(self, count: int) -> bool:
        return self._random.randrange(100) < count

    def _sign(self, operation: Any, signer: str) -> None:
        operation["author"] = signer
        digest = bytes.fromhex(hash_of(digest_text(operation)))
        operation["signed_digest"] = self._keys[signer].sign(digest).hex()

    def _dependencies(self) -> list[str]:
        if not self.made or self._in_hundred(60):
            return []
        found = [self._random.choice(self.made)["signed_digest"] for _ in range(2)]
        never = [UNKNOWN_SIGNATURE] if self._in_hundred(LATE) else []
        return [*found[self._random.randrange(2) :], *never]

    def _places(self, kind: Any, path: list[Any], content: Any, owner: str) -> Iterator[Any]:
        """Yield path, type and ids of elements of each list, register and bare value."""
        if isinstance(kind, dict):
            members = dict(content[1]) if content else {}
            for name, inner in kind.items():
                yield from self._places(inner, [*path, {"field": name}], members.get(name), owner)
        elif isinstance(kind, list):
            elements = elements_of(self._known, path, content, owner)
            yield path, kind, [one["id"] for one in elements]
            for one in elements:
                inside = [*path, {"index": one["id"]}]
                yield from self._places(kind[0], inside, one["content"], one["id"])
        else:
            yield path, kind, []

    def _new(self, signer: str) -> Any:
        random = self._random
        places = list(self._places(self._kind, [], None, ""))
        deep = [place for place in places if len(place[0]) > 1]
        path, kind, elements = random.choice(deep if deep and self._in_hundred(60) else places)
        around = [part["index"] for part in path if "index" in part]
        author = around[-1] if around and self._in_hundred(50) else signer
        if self._in_hundred(ODD_AUTHOR):
            author = random.choice([*self._keys, *elements, STRANGE])
        deletes, is_list = self._in_hundred(20), isinstance(kind, list)
        inner: dict[str, Any] = {
            "origin": random.choice([*elements, ROOT]) if is_list else ROOT,
            "author": author,
            "seq": str(random.choice(FAR_AHEAD) if self._in_hundred(FAR) else random.randint(1, 4)),
            "is_deleted": deletes,
            "content": None if deletes else self._content(kind[0] if is_list else kind),
        }
        # Once in a while a deletion with content, or an insertion without.
        if self._in_hundred(1):
            inner["content"] = ["str", "x"] if deletes else None
        inner["id"] = hash_of(id_text(inner))
        last = inner["origin"] if deletes and is_list else inner["id"]
        inner["path"] = self._path(path, last)
        operation = {"inner": inner, "depends_on": self._dependencies()}
        self._sign(operation, signer)
        return operation

    def _path(self, path: list[Any], last: str) -> list[Any]:
        right = [*path, {"index": last}]
        if not self._in_hundred(2 * ODD_PATH):
            return right
        strange = [{"index": ROOT}, {"index": STRANGE}, {"field": "x"}]
        odd = [[*path, self._random.choice(strange)], right[:-1], [*right, {"field": "x"}]]
        odd += [[*right, {"index": last}], [{"field": "x"}], [], [*path, strange[0], *right[-1:]]]
        return self._random.choice(odd)

    def _content(self, kind: Any) -> Any:
        random = self._random
        if self._in_hundred(ODD_CONTENT):
            return random.choice(ODD)
        if isinstance(kind, dict):
            members = [[name, self._content(inner)] for name, inner in kind.items()]
            random.shuffle(members)
            return ["obj", members]
        if isinstance(kind, list):
            return ["arr", [self._content(kind[0]) for _ in range(random.randrange(3))]]
        number = ["num", random.choice(NUMBERS)]
        ways: dict[str, Any] = {
            "any": random.choice(ODD[:-2]),
            "bool": ["bool", self._in_hundred(50)],
            "text": ["str", random.choice("abc")],
            "character": ["str", random.choice("abc")],
            "numbers": ["arr", [number]],
            "number or null": random.choice([number, ["null"]]),
        }
        return ways.get(kind.removeprefix("="), number)


def _change_sequence(operation: Any) -> None:
    operation["inner"]["seq"] = str(int(operation["inner"]["seq"]) + 1)


def _change_content(operation: Any) -> None:
    operation["inner"]["content"] = ["str", "changed"]


def _change_author(operation: Any) -> None:
    operation["inner"]["author"] = STRANGE


def _shorten_path(operation: Any) -> None:
    del operation["inner"]["path"][-1:]


def _change_last(operation: Any) -> None:
    """Change what the signature does not cover of the last segment."""
    for part in operation["inner"]["path"][-1:]:
        if "index" in part:
            part["index"] = part["index"][:6] + "ab" * 29


def _leave_out_dependencies(operation: Any) -> None:
    operation["depends_on"] = []


CHANGES: tuple[Callable[[Any], None], ...] = (
    _change_sequence, _change_content, _change_author, _shorten_path, _change_last,
    _leave_out_dependencies,
)  # fmt: skip


def history(seed: int) -> tuple[str, list[Any]]:
    """Return a document and operations on it, in some order and a few of them twice."""
    random = Random(seed)  # noqa: S311 - a history that can be made again
    document = random.choice(("types", "types", "pipeline"))
    maker = HistoryMaker(random, document)
    operations = [maker.make() for _ in range(LENGTH)]
    operations += random.sample(operations, LENGTH // 5)
    if seed % 3:
        random.shuffle(operations)
    return document, operations


def in_order(content: Any) -> Any:
    """Return content with the members of objects in the order of their names."""
    name, *value = content
    if name == "obj":
        return [name, sorted([key, in_order(part)] for key, part in value[0])]
    return [name, [in_order(part) for part in value[0]]] if name == "arr" else content


def compare(seed: int, states: set[str]) -> str:
    """Return where the two differ over one history, or an empty text; add to the states found."""
    document, operations = history(seed)
    state, replica = new_state(document), new_replica(document, Level.STRICT)
    for number, operation in enumerate(operations):
        outcome = apply(state, copy.deepcopy(operation))
        states.add(outcome)
        found = replica.apply(read_tagged(operation)).state.value
        if found != outcome:
            return f"history {seed}, operation {number}: {found} in place of {outcome}"
        if len(replica.queue) != len(state["waiting"]):
            return f"history {seed}, operation {number}: the queues differ"
    if in_order(write_tree(replica.view())) != in_order(view(state)):
        return f"history {seed}: the documents differ"
    return "" if orders(replica) == lists(state) else f"history {seed}: the orders differ"


def main() -> int:
    """Run the tool; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    states: set[str] = set()
    seeds = range(options.seed, options.seed + options.histories)
    faults = [fault for seed in seeds if (fault := compare(seed, states))]
    for fault in faults:
        print(f"fuzz_oplog: {fault}", file=sys.stderr)
    print(f"{options.histories} histories with {len(states)} states, {len(faults)} differ")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
