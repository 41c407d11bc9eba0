"""The second model of `oplog/1`: what vectors demand at level strict, and what the node does."""

import copy
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import UNSET, UnsetType

import oplog_model
from fuzz_oplog import compare
from make_oplog import FOLDER, strict_finals
from meshwire_conformance.catalogue import oplog, oplog_sessions
from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.codec_suite.judge import Given
from meshwire_conformance.codec_suite.oplog_judge import asks_of_oplog, finding_of_oplog
from meshwire_conformance.codec_suite.requests import Ask
from meshwire_conformance.oplog_suite.composing import OperationComposer
from meshwire_reference.oplog.outcomes import State
from meshwire_reference.oplog.tagged import write_tree
from meshwire_spec.schemas.oplog_sessions import OplogSession
from oplog_model import apply, lists, new_state, view
from oplog_model_canonical import canonical_digest_text, canonical_id_text
from oplog_model_texts import (
    content_text,
    digest_text,
    hash_of,
    id_text,
    is_signed,
    path_text,
)

WITHOUT_MODEL = (oplog.JOIN, oplog.CANONICAL)
CASES = [case for case in oplog.load_cases() if case.kind not in WITHOUT_MODEL]


def texts(request: Any) -> Any:
    """Answer `oplog_texts`."""
    operation = request["operation"]
    inner, text = operation["inner"], digest_text(operation)
    found = hash_of(id_text(inner))
    digest = hash_of(text)
    return {
        "content_text": content_text(inner["content"]),
        "id_text": id_text(inner),
        "id": found,
        "path_text": path_text(inner["path"]),
        "digest_text": text,
        "digest": digest,
        "valid_id": found == inner["id"] and bool(inner["content"] or inner["is_deleted"]),
        "valid_signature": is_signed(operation["author"], digest, operation["signed_digest"]),
    }


class ModelCodec:
    """The model behind the requests of a codec."""

    def __init__(self) -> None:
        self._states: dict[int, Any] = {}
        self._answers: dict[str, Callable[[Any], Any]] = {
            "oplog_texts": texts,
            "oplog_verify": lambda request: {
                "valid": is_signed(request["author"], request["digest"], request["signature"])
            },
            "oplog_open": self._open,
            "oplog_apply": self._apply,
            "oplog_view": self._view,
            "oplog_close": lambda _: {},
        }

    def answer(self, ask: Ask) -> Given:
        """Return the answer to a request."""
        request = json.loads(ask.line)
        return Given({"id": ask.id, "result": self._answers[ask.op](request)})

    def _open(self, request: Any) -> Any:
        assert request["level"] == "strict"
        self._states[request["session"]] = new_state(request["document"])
        return {}

    def _apply(self, request: Any) -> Any:
        state = self._states[request["session"]]
        outcome = apply(state, request["operation"])
        return {"outcome": outcome, "waiting": len(state["waiting"])}

    def _view(self, request: Any) -> Any:
        state = self._states[request["session"]]
        return {"view": view(state), "lists": lists(state)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_strict_expectation_is_the_model_s(case: Case) -> None:
    """The judge of the suite finds no fault in the answers of the model."""
    codec = ModelCodec()
    assert isinstance(case.body, oplog.OplogRun)
    pairs = [(ask, codec.answer(ask)) for ask in asks_of_oplog(case, case.body, 0, "strict")]

    assert finding_of_oplog(pairs, case.results["strict"], "strict").finding.symptom == ""


def test_the_proofs_of_a_token_are_the_model_s() -> None:
    """Each is the HMAC over the bytes of the table of the page."""
    for case in oplog.load_cases():
        if case.kind == oplog.JOIN:
            assert isinstance(case.body, oplog.OplogRun)
            for ask in asks_of_oplog(case, case.body, 0, "strict"):
                one = json.loads(ask.line)
                text = b"meshwire oplog/1 join"
                text += b"\x01" if one["role"] == "dialler" else b"\x02"
                names = ("dialler_nonce", "listener_nonce", "dialler_id", "listener_id")
                text += bytes.fromhex("".join(one[name] for name in (*names, "certificate")))
                proof = hmac.new(bytes.fromhex(one["token"]), text, "sha256").hexdigest()
                given = Given({"id": ask.id, "result": {"proof": proof}})
                assert finding_of_oplog([(ask, given)], "valid", "strict").finding.symptom == ""


def test_the_texts_of_version_2_are_the_model_s() -> None:
    """Canonical JSON, written twice without a common library."""
    for case in oplog.load_cases():
        if case.kind == oplog.CANONICAL:
            assert isinstance(case.body, oplog.OplogRun)
            for line in case.body.lines:
                operation = line["op"]
                inner, text = operation["inner"], canonical_id_text(operation["inner"])
                signed = canonical_digest_text(operation)
                has_content = inner["content"] is not None or inner["is_deleted"]
                assert line == {
                    "n": line["n"],
                    "name": line["name"],
                    "op": operation,
                    "id_text": text,
                    "id": hash_of(text),
                    "digest_text": signed,
                    "digest": hash_of(signed),
                    "valid_id": has_content and hash_of(text) == inner["id"],
                    "valid_signature": is_signed(
                        operation["author"], hash_of(signed), operation["signed_digest"]
                    ),
                }


def test_the_strict_documents_of_the_vectors_are_the_model_s() -> None:
    """The file is what the model gives now."""
    written = json.loads((FOLDER / "levels" / "views.json").read_text())["views"]

    assert written == strict_finals()


# --- Transcripts ---


def tree(value: Any) -> Any:
    """Return a JSON value as the model has it."""
    if isinstance(value, dict):
        return ["obj", [[name, tree(part)] for name, part in value.items()]]
    if isinstance(value, list):
        return ["arr", [tree(part) for part in value]]
    if isinstance(value, bool) or value is None:
        return ["null"] if value is None else ["bool", value]
    return ["str", value] if isinstance(value, str) else write_tree(float(value))


def tagged(value: Any) -> Any:
    """Return an operation that the suite sends as the model has it."""
    inner = value["inner"]
    found = {name: bytes(inner[name]).hex() for name in ("origin", "author", "id")}
    path = [
        {"field": one["Field"]} if "Field" in one else {"index": bytes(one["Index"]).hex()}
        for one in inner["path"]
    ]
    content = None if inner["is_deleted"] else tree(inner["content"])
    return {
        "author": bytes(value["author"]).hex(),
        "signed_digest": bytes(value["signed_digest"]).hex(),
        "depends_on": [bytes(one).hex() for one in value["depends_on"]],
        "inner": {
            **found,
            "seq": str(inner["seq"]),
            "is_deleted": inner["is_deleted"],
            "content": content,
            "path": path,
        },
    }


SESSIONS = [case.body for case in oplog_sessions.load_cases()]
# Transcripts whose operations are all spelled as the suite spells them.
PLAIN = [
    session
    for session in SESSIONS
    if isinstance(session, OplogSession)
    and session.operations
    # Records of nodes are made of what a run knows.
    and session.listeners is UNSET
    # The model of a document knows version 1 alone.
    and not any(one.edit or one.long or one.v == 2 for one in session.operations.values())
]


@pytest.mark.parametrize("session", PLAIN, ids=lambda session: session.id)
def test_transcripts_demand_what_the_model_applies(session: OplogSession) -> None:
    """What must come is applied, once and in that order; what must not come is not."""
    composer = OperationComposer(session.operations, "model")
    known = {name: tagged(composer.value(name)) for name in session.operations}
    state = new_state("pipeline")
    for step in session.steps:
        if step.send is not UNSET and step.version == 1:
            for name in step.send:
                apply(state, copy.deepcopy(known[name]))
        places = [state["applied"].index(known[name]) for name in demanded(step, "applied")]
        places += [state["applied"].index(known[name]) for name in demanded(step, "once")]
        ordered = [state["applied"].index(known[name]) for name in demanded(step, "ordered")]
        assert ordered == sorted(ordered)
        assert not [name for name in demanded(step, "absent") if known[name] in state["applied"]]


def demanded(step: Any, verb: str) -> list[str]:
    """Return the operations that a step names."""
    found: list[str] | UnsetType = getattr(step, verb)
    return [] if isinstance(found, UnsetType) else found


# --- The reference ---


def test_the_reference_does_what_the_model_does() -> None:
    """Histories with every sort of fault have the same states, documents and queues on both."""
    states: set[str] = set()
    for seed in range(200):
        assert compare(seed, states) == ""
    # The comparison means nothing for a state that never occurs.
    assert states == set(State)


def test_another_rule_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison fails for a model whose order of siblings is another one."""
    monkeypatch.setattr(oplog_model, "in_order", iter)

    assert any(compare(seed, set()) for seed in range(20))
