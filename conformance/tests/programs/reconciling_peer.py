"""The bundled implementation behind a peer that spoils its answers: `reconciling_peer.py MODE`."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

Answer = dict[str, Any]
RECONCILE = "negentropy_reconcile"
DEADLY = "6f00000200"
REFUSED = {"error": {"reason": "truncated"}}


def changed(answer: Answer, **members: Any) -> Answer:
    """The answer with other members in its result, where it has one."""
    if "result" not in answer:
        return answer
    return {**answer, "result": {**answer["result"], **members}}


def flip(answer: Answer) -> Answer:
    """Another last byte in the reply."""
    reply = answer.get("result", {}).get("reply")
    return changed(answer, reply=f"{reply[:-2]}7e") if reply else answer


def taken(answer: Answer) -> Answer:
    """An answer where there was a refusal."""
    fine = {"result": {"reply": "61", "have": [], "need": []}}
    return {"id": answer["id"], **fine} if "error" in answer else answer


def other_reason(answer: Answer) -> Answer:
    """A refusal for a reason that never fits."""
    return {**answer, "error": {"reason": "bad-value"}} if "error" in answer else answer


def invent(answer: Answer) -> Answer:
    """One more id that is needed."""
    need = answer.get("result", {}).get("need", [])
    return changed(answer, need=[*need, "ab" * 32])


def without_reply(answer: Answer) -> Answer:
    """An answer that forgets the reply."""
    result = {k: v for k, v in answer.get("result", {}).items() if k != "reply"}
    return {"id": answer["id"], "result": result} if "result" in answer else answer


SPOILS: dict[str, Callable[[Answer], Answer]] = {
    "flips-a-byte": flip,
    "never-done": lambda answer: changed(answer, reply="61000000"),
    "forgets-have": lambda answer: changed(answer, have=[]),
    "invents-need": invent,
    "lists-nothing": lambda answer: changed(answer, have=None),
    "takes-all": taken,
    "other-reason": other_reason,
    "no-reply": without_reply,
    "refuses-all": lambda answer: {"id": answer["id"], **REFUSED},
}


def spoil(mode: str, op: str, answer: Answer) -> Answer:
    """The answer as this peer gives it."""
    if mode == "without" and op == "hello":
        result = {k: v for k, v in answer["result"].items() if k != "operations"}
        return {**answer, "result": result}
    if mode == "silent-begin" and op == "negentropy_initiate":
        return changed(answer, message=None)
    if mode in SPOILS and op == RECONCILE:
        return SPOILS[mode](answer)
    return answer


def main() -> None:
    """Pass every line on to the bundled implementation, and its answers back, spoilt."""
    mode = sys.argv[1]
    words = [sys.executable, "-m", "meshwire_reference.cli", "codec"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as codec:
        assert codec.stdin is not None
        assert codec.stdout is not None
        for line in sys.stdin:
            request = json.loads(line)
            if mode == "dies-at-one" and request.get("message") == DEADLY:
                codec.kill()
                sys.exit(7)
            codec.stdin.write(line)
            codec.stdin.flush()
            answer = json.loads(codec.stdout.readline())
            sys.stdout.write(json.dumps(spoil(mode, request["op"], answer)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
