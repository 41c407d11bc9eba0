"""Makes the operations of a transcript: keys, ids, signatures, and what a forger changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from msgspec import UNSET

from meshwire_conformance.catalogue.data_files import vectors_folder
from meshwire_conformance.errors import SuiteFault
from meshwire_conformance.protocol.signed_operations import (
    ROOT,
    SECOND,
    Escapes,
    canonical_digest_of,
    canonical_envelope,
    canonical_id_of,
    digest_of,
    id_of,
    normal_form_in_bulk,
    public_of,
    signature_of,
    signer_of,
)
from meshwire_spec.schemas.oplog_sessions import MeshRecord, OplogOperation

ITEM: Mapping[str, Any] = {
    "story_id": "s", "stage": "todo", "name": "n", "agent": "", "retry_count": 0.0,
    "blocked": False, "depends_on": "", "claimed_by": "", "claimed_at": 0.0,
}  # fmt: skip
"""An item of the deployed document."""
LISTED, NODES = "items", "nodes"
OWN, ID_OF = "@", "@"
# Members of a forgery that belong to the signed operation, and not to the inner one.
OUTER = {"signer": "author", "signature": "signed_digest", "depends_on": "depends_on"}
KEYS = frozenset({"author", "signer"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is, and its id in hexadecimal."""

    node: str
    port: int

    @property
    def address(self) -> str:
        """The address that it listens on."""
        return f"ws://127.0.0.1:{self.port}/crdt-sync"


NOWHERE: Mapping[str, Place] = {}
TARGET = "target"
UPPER = "upper"


class OperationComposer:
    """The operations of one run of a transcript; `seed` makes its keys differ from all others."""

    def __init__(
        self,
        operations: Mapping[str, OplogOperation],
        seed: str,
        places: Mapping[str, Place] = NOWHERE,
        now_ms: float = 0.0,
    ) -> None:
        self._seed = seed
        self._places = places
        self._now_ms = now_ms
        self._escapes = Escapes(vectors_folder() / "oplog" / "recorded" / "escapes.json")
        self._operations = operations
        self._made: dict[str, dict[str, Any]] = {}
        self.texts: dict[str, str] = {}
        for place, (name, described) in enumerate(operations.items(), 1):
            made = self._make(name, described, place)
            self._made[name] = made
            self.texts[name] = self._text(name, described, made)
        self._markers = 0

    def value(self, name: str) -> dict[str, Any]:
        """Return an operation as the JSON value that peers send, without the edits of its text."""
        return self._made[name]

    def form(self, name: str) -> str:
        """Return the normal form of an operation, without the edits of its text."""
        form = normal_form_in_bulk(self._spelled(self._operations[name], self.value(name)))
        assert form is not None, name
        return form

    def live(self, name: str, version: Any) -> str:
        """Return the message of one operation alone; `version` is that of an operation of 1."""
        text = self.texts[name]
        is_second = self._operations[name].v == SECOND
        return text if is_second else f'{{"v":{json.dumps(version)},"op":{text}}}'

    def marker(self) -> dict[str, Any]:
        """Return a new insertion that no transcript names, to see what was read before it."""
        self._markers += 1
        described = OplogOperation(do="insert", author="marker", value={"name": "marker"})
        return self._make(f"marker {self._markers}", described, self._markers)

    def _key(self, letter: str) -> Any:
        return signer_of(sha256(f"{self._seed}/{letter}".encode()).digest())

    def _id(self, name: str) -> list[int]:
        if name not in self._made:
            raise SuiteFault(f"{name} is no earlier operation")
        found: list[int] = self._made[name]["inner"]["id"]
        return found

    def _make(self, name: str, described: OplogOperation, place: int) -> dict[str, Any]:
        signer = self._key(described.author)
        deletes = described.do == "delete"
        item = self._id(described.of) if described.of else ROOT
        inner: dict[str, Any] = {
            "origin": self._origin(described, item),
            "author": self._inner_author(described, item),
            "seq": place if described.seq is UNSET else described.seq,
            "content": None if deletes else self._content(described),
            "path": [],
            "is_deleted": deletes,
        }
        depends_on = [self._signature(one) for one in self._dependencies(described)]
        if described.v == SECOND:
            if deletes:
                del inner["content"]
            around = {**inner, "path": self._path(described, item, ROOT)[:-1]}
            inner["id"] = canonical_id_of(around)
            inner["path"] = self._path(described, item, inner["id"])
            digest = canonical_digest_of(public_of(signer), inner, depends_on)
        else:
            inner["id"] = id_of(inner, self._escapes)
            inner["path"] = self._path(described, item, inner["id"])
            digest = digest_of(inner, depends_on)
        made = {
            "inner": inner,
            "author": public_of(signer),
            "signed_digest": signature_of(signer, digest),
            "depends_on": depends_on,
        }
        return self._forged(made, described.forge)

    def _origin(self, described: OplogOperation, item: list[int]) -> list[int]:
        if described.do == "set" or described.origin == "root":
            return ROOT
        if described.do == "delete":
            return item
        return self._id(described.after) if described.after else ROOT

    def _inner_author(self, described: OplogOperation, item: list[int]) -> list[int]:
        if described.inner == "item":
            return item
        return public_of(self._key(described.inner or described.author))

    def _content(self, described: OplogOperation) -> Any:
        if described.content is not UNSET:
            return described.content
        if described.do == "set" and described.address_of is not UNSET:
            return self._places[described.address_of].address
        if described.do == "set":
            return described.value
        if described.record is not UNSET:
            return self._record(described.record)
        item = {**ITEM, **(described.value or {})}
        if described.long:
            item["name"] = "n" * described.long
        item.pop(described.leave_out, None)
        return item

    def _record(self, said: MeshRecord) -> dict[str, Any]:
        """Return the record of a listener."""
        place = self._places[said.at]
        node = self._places[TARGET].node if said.node == TARGET else place.node
        of_ms = said.age_of_ms_s
        return {
            "node_id": node.upper() if said.node == UPPER else node,
            "address": said.address.replace("{port}", str(place.port)) or place.address,
            "last_seen": self._now_ms / 1000 - said.age_s,
            "last_seen_ms": None if of_ms is UNSET else self._now_ms - of_ms * 1000,
            "alive": said.alive,
        }

    def _listed(self, described: OplogOperation) -> str:
        """Return the list that an operation changes."""
        first = self._operations[described.of] if described.of else described
        return LISTED if first.record is UNSET else NODES

    def _path(
        self, described: OplogOperation, item: list[int], own: list[int]
    ) -> list[dict[str, Any]]:
        if described.path is not UNSET:
            return [self._segment(one, own) for one in described.path]
        listed = {"Field": self._listed(described)}
        ways: dict[str, list[dict[str, Any]]] = {
            "insert": [listed, {"Index": own}],
            "delete": [listed, {"Index": item}],
            "set": [listed, {"Index": item}, {"Field": described.field}, {"Index": own}],
        }
        return ways[described.do]

    def _segment(self, text: str, own: list[int]) -> dict[str, Any]:
        if text == OWN:
            return {"Index": own}
        if text == "@root":
            return {"Index": ROOT}
        if text.startswith(ID_OF):
            return {"Index": self._id(text[1:])}
        return {"Field": text}

    def _dependencies(self, described: OplogOperation) -> Sequence[str]:
        if described.depends_on is not UNSET:
            return described.depends_on
        return [described.of] if described.of else []

    def _signature(self, name: str) -> list[int]:
        if name not in self._made:
            raise SuiteFault(f"{name} is no earlier operation")
        found: list[int] = self._made[name]["signed_digest"]
        return found

    def _forged(self, made: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return an operation as a relay may change it: nothing is signed again."""
        forged = copy.deepcopy(made)
        for name, value in changes.items():
            outer = OUTER.get(name)
            place = forged["inner"] if outer is None else forged
            place[outer or name] = self._changed(name, value, made["inner"]["id"])
        return forged

    def _changed(self, name: str, value: Any, own: list[int]) -> Any:
        """Return a member as peers send it: keys by their letter, other bytes as hexadecimal."""
        if name == "path":
            return [self._segment(one, own) for one in value]
        if name == "depends_on":
            return [self._signature(one) for one in value]
        if name == "content" or not isinstance(value, str):
            return value
        if name in KEYS and len(value) < len(ROOT):
            return public_of(self._key(value))
        return list(bytes.fromhex(value))

    @staticmethod
    def _spelled(described: OplogOperation, made: Mapping[str, Any]) -> Mapping[str, Any]:
        return canonical_envelope(made) if described.v == SECOND else made

    def _text(self, name: str, described: OplogOperation, made: Mapping[str, Any]) -> str:
        spelled = self._spelled(described, made)
        text = json.dumps(spelled, ensure_ascii=False, separators=(",", ":"))
        for find, put in described.edit:
            if text.count(find) < 1:
                raise SuiteFault(f"{name}: {find} is not in its text")
            text = text.replace(find, put * described.repeat, 1)
        return text
