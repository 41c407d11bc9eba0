"""The codec harness, line by line and as a process."""

import io
import json
import subprocess
import sys
from typing import Any

import pytest

from meshwire_reference.harness.serve import answer, serve
from meshwire_spec.numbers import KINDS


def ask(**request: object) -> dict[str, Any]:
    """Return the answer to one request."""
    reply, _ = answer(json.dumps(request).encode())
    return reply


def test_hello_says_what_is_offered() -> None:
    """Every kind of the profile, with reasons."""
    reply = ask(id=1, op="hello")

    assert list(KINDS) == reply["result"]["kinds"]
    assert {"harness": 1, "profiles": ["sync/1", "oplog/1"], "reasons": True}.items() <= (
        reply["result"].items()
    )


def test_decode_gives_value_and_refusal() -> None:
    """Structure and acceptance are reported separately."""
    reply = ask(id="x", op="decode", kind="stream_frame", data="0001780100000000")

    expected = {"value": {"key": "x", "type": 1, "payload": ""}, "refused": "bad-key"}
    assert {"id": "x", "result": expected} == reply


def test_decode_names_the_fault() -> None:
    """A fault has reason, offset and field."""
    reply = ask(id=2, op="decode", kind="heartbeat", data="0200000000000000aa")

    assert reply == {"id": 2, "error": {"reason": "bad-marker", "field": "marker", "offset": 0}}


def test_encode_gives_the_bytes() -> None:
    """A value becomes the hex of its bytes."""
    value = {"marker": 1, "sent_at": "1700000000000", "extra": "ab"}

    assert ask(id=3, op="encode", kind="heartbeat", value=value) == {
        "id": 3,
        "result": {"data": "010000018bcfe56800ab"},
    }


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (
            {"key": "k" * 65536, "type": 1, "payload": ""},
            {"reason": "length-limit", "field": "key.length", "offset": 0},
        ),
        (
            {"key": "\ud800", "type": 1, "payload": ""},
            {"reason": "bad-utf8", "field": "key", "offset": 0},
        ),
        (
            {"key": "a:b", "type": 1},
            {"reason": "bad-value", "field": "payload", "message": "missing"},
        ),
    ],
)
def test_encode_names_the_fault(value: object, error: dict[str, object]) -> None:
    """Values that cannot be encoded are never truncated."""
    assert {"id": 4, "error": error} == ask(id=4, op="encode", kind="sync_entry", value=value)


def test_formation_respond_proves_the_key() -> None:
    """The response to the worked example of the page."""
    reply = ask(
        id=5,
        op="formation_respond",
        formation_id="test-formation",
        secret="42" * 32,
        nonce="ab" * 32,
    )

    expected = "beb732d4b9ddc90ce7012f3ece524489d1181e69ee748d6221871508c2b120f1"
    assert {"id": 5, "result": {"hmac": expected}} == reply


BAD_LINES = (
    b"",
    b"\n",
    b"garbage",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"{}",
    b'{"op": 7}',
    b'{"op": "explode"}',
    b'{"op": []}',
    b'{"op": "decode"}',
    b'{"op": "decode", "kind": "nothing", "data": ""}',
    b'{"op": "decode", "kind": [], "data": ""}',
    b'{"op": "decode", "kind": "heartbeat"}',
    b'{"op": "decode", "kind": "heartbeat", "data": 7}',
    b'{"op": "decode", "kind": "heartbeat", "data": "AB"}',
    b'{"op": "encode", "kind": "heartbeat"}',
    b'{"op": "formation_respond", "formation_id": 1, "secret": "", "nonce": ""}',
    b'{"op": "formation_respond", "formation_id": "\\ud800", "secret": "", "nonce": ""}',
    b"9" * 5000,
    b"[" * 100_000,
    b'\xef\xbb\xbf{"id": 1, "op": "hello"}',
    '{"id": 1, "op": "hello"}'.encode("utf-16"),
    b'{"id": 1, "op": "hello", "op": "hello"}',
    b'{"id": 1, "op": "encode", "kind": "heartbeat", "value": {"extra": "", "extra": ""}}',
    b'{"id": 1, "op": "hello", "more": NaN}',
    b'{"id": 1, "op": "hello", "more": -Infinity}',
    b'{"id": 1, "op": "hello", "more": "\xed\xa0\x80"}',
)


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: repr(line[:40]))
def test_a_bad_line_gets_a_message_and_nothing_ends(line: bytes) -> None:
    """A line that is no request is answered, and the next one is served."""
    reply, is_last = answer(line)

    assert reply["id"] is None
    assert reply["error"]
    assert not is_last


def test_the_id_comes_back_as_it_was() -> None:
    """Also with an error, and whatever JSON it is."""
    assert ask(id={"a": [1]}, op="explode")["id"] == {"a": [1]}


def test_serves_until_bye() -> None:
    """Each line is answered in order; what follows `bye` is not read."""
    source = io.BytesIO(b'{"id":1,"op":"explode"}\n{"id":2,"op":"bye"}\n{"id":3,"op":"hello"}\n')
    sink = io.BytesIO()

    serve(source, sink)

    replies = [json.loads(line) for line in sink.getvalue().splitlines()]
    assert [reply["id"] for reply in replies] == [1, 2]


@pytest.mark.process
def test_runs_as_a_process() -> None:
    """The console command answers on stdout alone and ends with 0 at `bye`."""
    done = subprocess.run(
        [sys.executable, "-m", "meshwire_reference.cli", "codec"],
        input=b'nonsense\n{"id":7,"op":"bye"}\n',
        capture_output=True,
        check=True,
        timeout=600,
    )

    assert done.stdout.splitlines()[-1] == b'{"id":7,"result":{}}'
    assert done.stderr == b""


@pytest.mark.process
def test_starts_without_what_it_does_not_need() -> None:
    """The harness loads neither the command line nor the transports nor cryptography."""
    script = (
        "import sys, meshwire_reference.harness.serve;"
        "print([name for name in ('typer', 'asyncio', 'automerge', 'cryptography', 'msgspec')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, timeout=600
    )

    assert done.stdout.strip() == b"[]"
