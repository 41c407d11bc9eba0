"""The operation of a step calls the run as its members say."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from meshwire_conformance.socket_suite.composing import Scope
from meshwire_conformance.socket_suite.content import Made, Wanted
from meshwire_conformance.socket_suite.evidence import CaseFailed
from meshwire_conformance.socket_suite.inbox import Arrival
from meshwire_conformance.socket_suite.transcript_steps import run_transcript, synchronise
from meshwire_spec.numbers import FrameType
from meshwire_spec.schemas import steps
from meshwire_spec.schemas.steps import ContentSpec
from meshwire_spec.schemas.transcripts import Transcript

KEY = "tracks:t-1"
PLACE = 3


class Run:
    """A run that records its calls; PLACE arrivals of KEY came from the peer B before."""

    def __init__(self, *, strict: bool = True) -> None:
        self.strict = strict
        self.scope = Scope({"key": KEY}, 0)
        self.marks = {(KEY, "B"): PLACE}
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def begin(self, let: dict[str, str]) -> None:
        """Begin."""

    async def documents(self, documents: dict[str, Any]) -> None:
        """Make no documents."""

    async def connection(self, name: str) -> None:
        """Have every connection."""

    def subscription(self, key: str) -> SimpleNamespace:
        """Return the one arrival for a key."""
        return SimpleNamespace(arrivals=["arrival"])

    async def expect(self, *arguments: Any, **options: Any) -> str:
        """Note what is expected, and return the one arrival."""
        self.asked.append(("expect", arguments, options))
        return "arrival"

    async def read(self, *arguments: Any, **options: Any) -> str:
        """Note what is read, and return the one arrival."""
        self.asked.append(("read", arguments, options))
        return "arrival"

    def watch(self, *arguments: Any, **options: Any) -> None:
        """Note what is watched."""
        self.asked.append(("watch", arguments, options))

    def __getattr__(self, name: str) -> Any:
        """Return what notes any other operation."""

        async def note(*arguments: Any, **options: Any) -> None:
            self.asked.append((name, arguments, options))

        return note


def asked(step: steps.Step, *, strict: bool = True) -> list[tuple[str, tuple[Any, ...], Any]]:
    """Return the calls that a transcript of one step makes."""
    run = Run(strict=strict)
    transcript = Transcript(
        id="MW-0901", title="one", rules=["FR-001"], control="MW-0902", steps=[step]
    )
    asyncio.run(run_transcript(run, transcript))  # type: ignore[arg-type]  # a fake of the run
    return run.asked


WANTED = Wanted(KEY)
ROWS: list[tuple[steps.Step, dict[str, Any], tuple[str, tuple[Any, ...], dict[str, Any]]]] = [
    (
        steps.Refused(refused="bad-key"),
        {"on": "B", "stream": "s", "within": "frame_stall_s"},
        ("refused", (["bad-key"], "B", "s", "frame_stall_s"), {}),
    ),
    (
        steps.Closed(closed="shutdown"),
        {"on": "B", "within": "handshake_s"},
        ("closed", (["shutdown"], "B", "handshake_s"), {}),
    ),
    (
        steps.Expect(expect=ContentSpec(key=KEY), on="B"),
        {"next": True},
        ("expect", (WANTED, "B"), {"after": PLACE}),
    ),
    (
        steps.Read(read=KEY),
        {"on": "B", "once": True, "content": ContentSpec(empty=True), "hex": "4300"},
        ("read", (Wanted(KEY, heads=frozenset()), "B"), {"once": True, "message": "4300"}),
    ),
    (
        steps.Watch(watch=KEY),
        {"on": "B", "types": ["snapshot"]},
        ("watch", (KEY, "B", ["snapshot"]), {"pushes": False}),
    ),
]


@pytest.mark.parametrize(("step", "options", "call"), ROWS)
def test_every_option_of_a_step_reaches_the_run(
    step: steps.Step, options: dict[str, Any], call: tuple[str, tuple[Any, ...], Any]
) -> None:
    """All of them do, and each alone changes what is asked; a negative is probed after it."""
    plain = asked(step)
    after = plain[1:]

    assert asked(msgspec.structs.replace(step, **options)) == [call, *after]
    for name, value in options.items():
        assert asked(msgspec.structs.replace(step, **{name: value})) != plain


def test_a_watch_that_leaves_pushes_out_waits_for_those_under_way() -> None:
    """A push of the whole store that has begun is over before the watch begins."""
    step = steps.Watch(watch=KEY, on="B", pushes=True)

    settled, watched, *_ = asked(step)
    assert settled == ("settle", ("B",), {})
    assert watched == ("watch", (KEY, "B", []), {"pushes": True})


def test_a_read_is_made_once_at_level_strict_alone() -> None:
    """At level wire the target may answer late."""
    step = steps.Read(read=KEY, once=True)

    assert [asked(step, strict=strict)[0][2]["once"] for strict in (True, False)] == [True, False]


def test_a_strict_step_is_left_out_at_level_wire() -> None:
    """A step without a level is made in both."""
    step = steps.Barrier(barrier=True)
    strict = steps.Barrier(barrier=True, level="strict")

    assert [len(asked(step, strict=level)) for level in (True, False)] == [1, 1]
    assert [len(asked(strict, strict=level)) for level in (True, False)] == [1, 0]


def test_an_answer_counts_once_for_a_read_and_for_what_comes_next() -> None:
    """A step with `next` after a read takes only frames after the answer to it."""
    run = Run()
    transcript = Transcript(
        id="MW-0901",
        title="one",
        rules=["FR-001"],
        steps=[
            steps.Read(read=KEY, on="C"),
            steps.Expect(expect=ContentSpec(key=KEY), on="C", next=True),
        ],
    )
    asyncio.run(run_transcript(run, transcript))  # type: ignore[arg-type]  # a fake of the run

    assert run.asked[-1] == ("expect", (WANTED, "C"), {"after": 1})


class Refusing:
    """An exchange that can use no frame."""

    async def generate(self) -> bytes | None:
        """Have nothing to send."""

    async def heads(self) -> frozenset[str]:
        """Hold nothing."""
        return frozenset()

    async def receive(self, frame_type: int, payload: bytes) -> None:
        """Refuse it."""
        raise ValueError("duplicate seq 1")

    async def close(self) -> None:
        """Close."""


def test_a_document_that_the_library_refuses_in_an_exchange_is_a_failure_of_the_target() -> None:
    """It is no fault of the suite, which would leave the target without a verdict."""
    arrival = Arrival("p", 1, 1, FrameType.SNAPSHOT, KEY, b"", FrameType.SNAPSHOT)

    async def open_exchange(_saved: bytes) -> Refusing:
        return Refusing()

    async def at_once(_condition: Any, _deadline_s: float) -> bool:
        return True

    def subscription(_key: str) -> SimpleNamespace:
        # The arrival comes after the exchange has begun.
        arrivals = [[], [arrival]][bool(asked_for)]
        asked_for.append(KEY)
        return SimpleNamespace(arrivals=arrivals, signal=SimpleNamespace(wait_for=at_once))

    asked_for: list[str] = []
    run: Any = SimpleNamespace(
        subscription=subscription,
        contents=SimpleNamespace(
            made={"base": Made(b"", frozenset())},
            documents=SimpleNamespace(open_exchange=open_exchange),
        ),
        peer=lambda _on: SimpleNamespace(name="p", last=None),
        deadline_s=1.0,
    )

    with pytest.raises(CaseFailed, match="duplicate seq 1") as failed:
        asyncio.run(synchronise(run, "base", Wanted(KEY, heads=frozenset({"00"})), "A", 2))
    assert failed.value.symptom == "wrong-content document"
