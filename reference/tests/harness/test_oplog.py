"""Signed operations over the codec harness."""

import json
from typing import Any

from meshwire_reference.harness.serve import answer
from meshwire_reference.testing.oplog_recordings import lines

SEED = "33" * 32


def ask(name: str, **request: object) -> dict[str, Any]:
    """Return the answer to one request without its id."""
    reply, _ = answer(json.dumps({"id": 1, "op": f"oplog_{name}", **request}).encode())
    del reply["id"]
    return reply


def test_texts_are_those_of_the_recording() -> None:
    """The texts that are hashed, their hashes, and both verdicts."""
    line = next(lines("ids"))
    result = ask("texts", operation=line["op"])["result"]

    assert result == {
        "content_text": line["content_debug"],
        "id_text": line["id_text"],
        "id": line["id_computed"],
        "path_text": line["path_text"],
        "digest_text": line["digest_text"],
        "digest": line["digest"],
        "valid_id": True,
        "valid_signature": True,
    }


def test_what_is_signed_verifies() -> None:
    """A seed signs a digest, and the signature is valid for that digest alone."""
    made = ask("sign", seed=SEED, digest="ab" * 32)["result"]

    for digest, valid in (("ab" * 32, True), ("ac" * 32, False)):
        assert ask("verify", digest=digest, **made) == {"result": {"valid": valid}}


def test_an_operation_is_spelled_as_peers_do_and_back() -> None:
    """JSON text out, the same operation in; a bad text has a reason."""
    operation = next(lines("ids"))["op"]
    text = ask("write", operation=operation)["result"]["text"]

    assert ask("read", text=text) == {"result": {"operation": operation}}
    assert ask("read", text="{")["error"]["reason"] == "bad-json"


def test_a_replica_is_opened_changed_seen_and_closed() -> None:
    """An author makes two operations, which another replica takes in reverse."""
    for session in (1, 2):
        ask("open", session=session, document="types", level="strict", queue=3)
    first = ask(
        "author", session=1, seed=SEED, call="insert",
        path=[{"field": "ls"}], after="00" * 32, value=["str", "A"],
    )["result"]["operation"]  # fmt: skip
    second = ask(
        "author", session=1, seed=SEED, call="delete",
        path=[{"field": "ls"}], element=first["inner"]["id"],
    )["result"]["operation"]  # fmt: skip
    waits, releases = (
        ask("apply", session=2, operation=operation)["result"] for operation in (second, first)
    )

    assert waits["outcome"] == "MissingCausalDependencies"
    assert (waits["waiting"], releases["waiting"]) == (1, 0)
    assert releases["applied"] == [first["signed_digest"], second["signed_digest"]]
    seen = ask("view", session=2)["result"]
    assert seen == ask("view", session=1)["result"]
    assert seen["lists"]["ls"][1] == [first["inner"]["id"], True, True]
    for session in (1, 2):
        assert ask("close", session=session) == {"result": {}}


def test_a_refusal_has_its_reason() -> None:
    """State and reason of a deletion of the root, and of a call without a target."""
    ask("open", session=3, document="pipeline", level="strict", members=["aa" * 32])
    operation = next(lines("ids"))["op"]

    assert ask("apply", session=3, operation=operation)["result"]["reason"] == "not-a-member"
    refused = ask("author", session=3, seed=SEED, call="set", path=[], value=["null"])
    assert refused["error"]["reason"] == "unauthored"
    ask("close", session=3)


def test_bad_requests_are_answered() -> None:
    """Sessions that are not open, documents and members that are none."""
    for request in (
        ("view", {"session": 9}),
        ("open", {"session": 9, "document": "x", "level": "strict"}),
        ("open", {"session": 9, "document": "types", "level": "strict", "members": 7}),
        ("open", {"session": 9, "document": "types", "level": "strict", "members": ["a"]}),
        ("texts", {"operation": {"inner": 7}}),
        ("sign", {"seed": "00", "digest": "00"}),
        ("read", {"text": 7}),
    ):
        assert "message" in ask(request[0], **request[1])["error"], request
