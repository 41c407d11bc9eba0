"""A codec on the schemas that has bugs by number: started by tests as `buggy_codec.py 1 2 3`.

Each bug forgets one check, so that a message of one kind is refused for another reason, or not.
"""

import json
import sys
from typing import Any

from meshwire_spec.codec import Malformed, accept, decode, encode, from_value, to_value
from meshwire_spec.numbers import KINDS

BUGS = {
    "1": ("heartbeat", "bad-marker"),
    "2": ("tombstone", "bad-direction"),
    "3": ("stream_frame", "bad-key"),
    "4": ("lab_record", "bad-flag"),
    "5": ("tombstone", "bad-utf8"),
}
"""Kind and reason that a bug forgets."""


def answer(request: dict[str, Any], forgotten: set[tuple[str, str]]) -> dict[str, Any]:
    """Return the answer to a request."""
    if request["op"] == "hello":
        kinds = [kind for kind in KINDS if not kind.startswith("formation_response")]
        told = {"harness": 1, "name": "buggy", "version": "0", "kinds": kinds}
        return {"result": {**told, "profiles": ["sync/1"], "reasons": True}}
    kind = request["kind"]
    try:
        if request["op"] == "encode":
            return {"result": {"data": encode(from_value(kind, request["value"])).hex()}}
        message = decode(kind, bytes.fromhex(request["data"]))
    except Malformed as exc:
        reason = "truncated" if (kind, exc.reason) in forgotten else exc.reason
        return {"error": {"reason": reason}}
    refused = accept(kind, message)
    if (kind, refused) in forgotten:
        refused = None
    return {"result": {"value": to_value(message), "refused": refused}}


def main() -> None:
    """Answer one request a line until the end of the input."""
    forgotten = {BUGS[number] for number in sys.argv[1:]}
    for line in sys.stdin:
        request = json.loads(line)
        said = json.dumps({"id": request["id"], **answer(request, forgotten)})
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
