"""Reconciliations over the codec harness: sessions side by side, and senseless requests."""

import json
from typing import Any

import pytest

from meshwire_reference.harness.serve import CERTIFICATES, OPLOG, RECONCILIATION, answer

ITEM = ["1700000000000", "0ed32d3352f0cddd88b03a266c387e1a4683d5356ce381463b4b42cf9ccadfaf"]
FIRST = f"6100000201{ITEM[1]}"
EMPTY = "6100000200"
CAPITALS = ITEM[1].upper()
BLANKS = f"{ITEM[1][:60]}  {ITEM[1][62:]}"
BEYOND = str(2**64 - 1)
SHIFTED = [["0", ITEM[1][:62]], ["0", f"{ITEM[1][62:]}{ITEM[1]}"]]
"""Two ids of which one byte stands at the wrong one."""


def ask(op: str, session: object, **members: Any) -> dict[str, Any]:
    """One request, answered."""
    line = json.dumps({"id": 1, "op": op, "session": session, **members})
    return answer(line.encode())[0]


def opened(session: int, role: str, *items: list[str]) -> None:
    """An open session of a number that may have been used before."""
    ask("negentropy_close", session)
    reply = ask("negentropy_open", session, role=role, frame_limit=0, items=list(items))

    assert reply == {"id": 1, "result": {}}


def test_a_run_between_two_sessions() -> None:
    """The example of the page, and the other side of it."""
    opened(1, "client", ITEM)
    opened(2, "server")
    begun = ask("negentropy_initiate", 1)["result"]
    served = ask("negentropy_reconcile", 2, message=FIRST)["result"]
    ended = ask("negentropy_reconcile", 1, message=EMPTY)["result"]

    assert begun == {"message": FIRST}
    assert served == {"reply": EMPTY, "have": [], "need": []}
    assert ended == {"reply": None, "have": [ITEM[1]], "need": []}


def test_sessions_over_one_set_are_apart() -> None:
    """They share its items and nothing else, and a set that differs in one item is another."""
    other = [ITEM[0], f"{ITEM[1][:-1]}0"]
    opened(6, "client", ITEM)
    opened(7, "client", ITEM)
    opened(8, "client", other)
    begun = [ask("negentropy_initiate", session)["result"] for session in (6, 7, 8)]
    ask("negentropy_reconcile", 6, message=EMPTY)
    ended = ask("negentropy_reconcile", 7, message=EMPTY)["result"]

    assert begun == [{"message": f"6100000201{item[1]}"} for item in (ITEM, ITEM, other)]
    assert ended == {"reply": None, "have": [ITEM[1]], "need": []}


def test_a_refusal_has_its_reason_and_offset() -> None:
    """A fault in a message is reported in the form of a decode error, and the session stays."""
    opened(3, "server", ITEM)
    reply = ask("negentropy_reconcile", 3, message="61000003")

    assert reply == {"id": 1, "error": {"reason": "bad-mode", "field": "", "offset": 3}}
    assert ask("negentropy_close", 3) == {"id": 1, "result": {}}


@pytest.mark.parametrize(
    ("op", "session", "members"),
    [
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [["0", "aa"]]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [["x", ITEM[1]]]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [["+1", ITEM[1]]]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [["1_0", ITEM[1]]]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [["", ITEM[1]]]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [[0, ITEM[1]]]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [[BEYOND, ITEM[1]]]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [["0", CAPITALS]]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [["0", BLANKS]]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [["0", None]]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [[*ITEM, "0"]]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [ITEM, ["0"]]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": SHIFTED}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": [7]}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 0, "items": 7}),
        ("negentropy_open", 4, {"role": "client", "frame_limit": 4095, "items": []}),
        ("negentropy_open", 4, {"role": "both", "frame_limit": 0, "items": []}),
        ("negentropy_open", "4", {"role": "client", "frame_limit": 0, "items": []}),
        ("negentropy_open", 5, {"role": "server", "frame_limit": 0, "items": []}),
        ("negentropy_initiate", 5, {}),
        ("negentropy_initiate", 4, {}),
        ("negentropy_reconcile", 4, {"message": EMPTY}),
        ("negentropy_reconcile", 5, {"message": "6"}),
        ("negentropy_close", 4, {}),
    ],
)
def test_requests_without_sense_are_answered(
    op: str, session: object, members: dict[str, Any]
) -> None:
    """A wrong request raises an error, and nothing is opened."""
    opened(5, "server")
    reply = ask(op, session, **members)

    assert list(reply) == ["id", "error"]
    assert "reason" not in reply["error"]


def test_hello_names_the_operations() -> None:
    """A suite asks only what is declared."""
    reply = ask("hello", 0)

    assert reply["result"]["operations"] == [*RECONCILIATION, *OPLOG, *CERTIFICATES]
