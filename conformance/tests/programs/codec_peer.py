"""Programs that speak the codec harness badly: started by tests as `codec_peer.py MODE`."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from meshwire_spec.numbers import KINDS

Request = dict[str, Any]
Answer = dict[str, Any]

VECTORS = Path(__file__).parents[3] / "vectors"
FRAME = {"value": {"key": "a:b", "type": 1, "payload": ""}, "refused": None}
TRUNCATED = {"error": {"reason": "truncated"}}
SLOW_S = 1.0
"""Least time in seconds that a slow codec takes for an answer; no test fails if it takes longer."""
FAULTY_BYTES = "0102030405060708"


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape") + b"\n")
    sys.stdout.flush()


def hello(*, reasons: bool = True) -> Answer:
    """A correct answer to hello."""
    return {
        "result": {
            "harness": 1,
            "name": "peer",
            "version": "0",
            "kinds": list(KINDS),
            "profiles": ["sync/1"],
            "reasons": reasons,
        }
    }


def echo(request: Request) -> Answer:
    """The request's own members as the result."""
    return {
        "result": {
            "value": request.get("value"),
            "data": request.get("data"),
            "refused": None,
        }
    }


@cache
def plausible() -> dict[str, Request]:
    """The valid message of each kind with the lowest id among the vectors."""
    found: dict[str, Request] = {}
    for path in sorted(VECTORS.glob("*/*.json")):
        content = json.loads(path.read_text("utf-8"))
        for vector in content.get("vectors", ()) if isinstance(content, dict) else ():
            is_valid = vector["result"]["strict"] == "valid"
            if is_valid and isinstance(vector.get("hex"), str) and "value" in vector:
                known = found.setdefault(vector["kind"], vector)
                found[vector["kind"]] = min(known, vector, key=lambda one: one["id"])
    return found


def accepts_all(request: Request) -> Answer:
    """A valid message of the kind, whatever was asked."""
    message = plausible().get(request.get("kind", ""), {"value": None, "hex": ""})
    result = {"value": message["value"], "refused": None, "data": message["hex"]}
    reply = {"message": "6100000200", "reply": "61", "have": [], "need": []}
    return {"result": {**result, **reply, "hmac": "00" * 32}}


def dies_at_one(request: Request) -> Answer:
    """An answer, or the end of the process at certain bytes."""
    if FAULTY_BYTES in str(request.get("data", "")):
        sys.exit(7)
    return TRUNCATED


def hangs_at_one(request: Request) -> Answer:
    """An answer, or silence at certain bytes."""
    if FAULTY_BYTES in str(request.get("data", "")):
        signal.pause()
    return TRUNCATED


KIND = "heartbeat"
"""A kind at which some peers die or hang."""


def dies_at_kind(request: Request) -> Answer:
    """An answer, or the end of the process at one kind."""
    if request.get("kind") == KIND:
        sys.exit(7)
    return TRUNCATED


def hangs_at_kind(request: Request) -> Answer:
    """An answer, or silence at one kind."""
    if request.get("kind") == KIND:
        signal.pause()
    return TRUNCATED


def silent(_request: Request) -> Answer:
    """Never an answer."""
    signal.pause()
    return {}


def flood(_request: Request) -> Answer:
    """Bytes without end and without a line."""
    while True:
        sys.stdout.write("x" * 65536)


def goes(_request: Request) -> Answer:
    """The end of the process."""
    sys.exit(0)


def fails(_request: Request) -> Answer:
    """The end of the process with a stack trace, as an interpreter writes one."""
    frames = [f"    at step{number} (codec.js:{number}:1)" for number in range(10)]
    sys.stderr.write("\n".join(["Error: the cause", *frames, "", "Node.js v20.20.2", ""]))
    sys.exit(7)


def unended(request: Request) -> Answer:
    """An answer without a line feed, and nothing after it."""
    sys.stdout.write(json.dumps({"id": request["id"], **TRUNCATED}))
    sys.stdout.flush()
    signal.pause()
    return {}


def garbage(_request: Request) -> Answer:
    """A line that is no JSON."""
    say("no json \x00<&\x1b[31m")
    return {}


RELAYED: dict[str, Answer] = {
    "good-unreasoned": {"reasons": False},
    "good-heartbeats": {"kinds": ["heartbeat"]},
    "good-unrefusing": {},
    "good-late": {},
    "good-slow": {},
    "good-unread": {},
    "hello-harness": {"harness": 2},
    "hello-kinds": {"kinds": [*KINDS, "telegram"]},
    "hello-version": {"version": 3},
    "hello-no-kinds": {"kinds": None},
    "hello-no-list": {"kinds": "heartbeat"},
    "hello-profile": {"profiles": ["sync/9"]},
    "hello-id": {},
    "rude-debug": {},
    "rude-banner": {},
    "rude-log": {},
    "rude-twice": {},
    "rude-farewell": {},
    "rude-order": {},
    "rude-both": {},
    "rude-zero": {},
    "rude-place": {},
    "rude-half": {},
    "strict-bom": {},
    "strict-nan": {},
    "strict-infinity": {},
    "strict-twice": {},
    "strict-latin": {},
    "shapes": {},
}
LOOSE = {
    "strict-bom": ('{"id"', '\ufeff{"id"'),
    "strict-nan": ('"refused": null', '"refused": NaN'),
    "strict-infinity": ('"refused": null', '"refused": -Infinity'),
    "strict-twice": ('"refused": null', '"refused": null, "refused": null'),
    "strict-latin": ('"refused": null', '"refused": "\udcff"'),
}
"""What to put in place of what, so that a line is no strict JSON."""


SHIFTS = {"rude-place": 1, "rude-half": 0.5}
"""What is added to the offset of each error."""


def reshaped(value: Any) -> Any:
    """A value with numbers as text, hex in capital letters, and a further member in each object."""
    if isinstance(value, dict):
        return {name: reshaped(one) for name, one in value.items()} | {"more": 1}
    if isinstance(value, list):
        return [reshaped(one) for one in value]
    if isinstance(value, str) and HEX.fullmatch(value):
        return value.upper()
    return str(value) if type(value) is int else value


HEX = re.compile(r"(?:[0-9a-f]{2})+")
SHAPES = "shapes"
"""The mode that gives right values in wrong shapes."""
UNREFUSING = "good-unrefusing"
"""The mode that encodes every value in some bytes."""
MODES: dict[str, Callable[[Request], Answer]] = {
    "few": lambda _request: TRUNCATED,
    "truncated": lambda _request: TRUNCATED,
    "first": lambda _request: {"result": FRAME},
    "hello-again": lambda _request: hello(),
    "empty": lambda _request: {"result": {}},
    "echo": echo,
    "accepts-all": accepts_all,
    "unreasoned": lambda _request: {"error": {"message": "no"}},
    "dies-at-one": dies_at_one,
    "hangs-at-one": hangs_at_one,
    "dies-at-kind": dies_at_kind,
    "hangs-at-kind": hangs_at_kind,
    "silent": silent,
    "flood": flood,
    "goes": goes,
    "fails": fails,
    "unended": unended,
    "garbage": garbage,
}


def misplaced(mode: str, answer: Answer) -> Answer:
    """An answer; in some modes an error has another offset, or none in place of 0."""
    offset = answer.get("error", {}).get("offset")
    if mode == "rude-zero" and offset == 0:
        offset = None
    elif mode in SHIFTS and offset is not None:
        offset += SHIFTS[mode]
    else:
        return answer
    return {**answer, "error": {**answer["error"], "offset": offset}}


def rudely(mode: str, answer: Answer, held: list[str]) -> None:
    """A right answer, said in a way that breaks a rule of the harness."""
    # The answer to hello keeps its shape, or nothing else would be asked.
    if mode == SHAPES and "kinds" not in answer.get("result", {"kinds": []}):
        answer = {**answer, "result": reshaped(answer["result"])}
    line = json.dumps(misplaced(mode, answer)).replace(*LOOSE.get(mode, ("", "")))
    if mode == "rude-debug":
        say("debug: hello")
    if mode == "rude-both":
        line = json.dumps({**answer, "result": answer.get("result"), "error": answer.get("error")})
    if mode == "good-unread" and answer.get("error", {}).get("reason") == "bad-utf8":
        # A reader that refuses the escape of half a pair never learns the id.
        line = json.dumps({"id": None, "error": {"message": "no JSON"}})
    if mode == "hello-id":
        line = json.dumps({**answer, "id": str(answer["id"])})
    # Every second answer waits for the next one.
    if mode == "rude-order" and answer["id"] % 2 == 0 and answer["id"] > 1:
        held.append(line)
        return
    say(line)
    if mode == "rude-twice":
        say(line)
    for late in held:
        say(late)
    held.clear()


def hangs(line: str, asked: int) -> bool:
    """Return True at certain bytes, unless they are the first that the process is asked for."""
    return FAULTY_BYTES in line and asked > 0


def relay(mode: str, changes: Answer, *, refuses: bool, hung: Path | None) -> None:
    """The bundled codec behind a hello of our own.

    Mode `good-slow` hangs at certain bytes and counts that in the file `hung`. From the second time
    on every other answer is late.
    """
    asked = 0
    command = [sys.executable, "-m", "meshwire_reference.cli", "codec"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as codec:
        assert codec.stdin is not None
        assert codec.stdout is not None
        held: list[str] = []
        if mode == "rude-banner":
            say("my codec, at your service")
        if mode == "rude-log":
            say('{"level": "info", "message": "my codec, at your service"}')
        for line in sys.stdin:
            codec.stdin.write(line)
            codec.stdin.flush()
            answer = json.loads(codec.stdout.readline())
            op = json.loads(line)["op"]
            if mode == "good-late" and hangs(line, asked):
                signal.pause()
            if hung is not None and FAULTY_BYTES in line:
                with hung.open("a") as file:
                    file.write("x")
                signal.pause()
            if hung is not None and hung.exists() and len(hung.read_text()) > 1:
                time.sleep(SLOW_S)
            asked += op != "hello"
            if op == "hello":
                answer["result"] |= changes
            if op == "encode" and not refuses and "error" in answer:
                answer = {"id": answer["id"], "result": {"data": "000061"}}
            rudely(mode, answer, held)
        if held or mode == "rude-farewell":
            say(held[0] if held else "farewell")


def main(mode: str, hung: str = "") -> None:
    """Answer hello correctly and everything else by the mode."""
    if mode == "mute":
        sys.exit(0)
    if mode in RELAYED:
        file = Path(hung) if hung else None
        relay(mode, RELAYED[mode], refuses=mode != UNREFUSING, hung=file)
        return
    for line in sys.stdin:
        request = json.loads(line)
        if request["op"] == "hello" and mode == "silent-hello":
            answer = silent(request)
        elif request["op"] == "hello" and mode == "hello-text":
            answer = garbage(request)
        elif request["op"] == "hello":
            answer = hello(reasons=mode != "unreasoned")
            if mode == "few":
                answer["result"]["kinds"] = [KIND]
        else:
            answer = MODES[mode](request)
        if answer:
            say(json.dumps({"id": request["id"], **answer}))


if __name__ == "__main__":
    main(*sys.argv[1:])
