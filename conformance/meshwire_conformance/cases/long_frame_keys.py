"""Cases about the longest key of frames whose key names no document."""

from __future__ import annotations

from collections.abc import Mapping

from meshwire_conformance.cases.planting import NOTHING
from meshwire_conformance.catalogue.python_cases import case
from meshwire_conformance.socket_suite.case_run import CaseRun
from meshwire_conformance.socket_suite.content import Wanted
from meshwire_conformance.socket_suite.reconciling import EMPTY_RANGE, take_answer
from meshwire_spec.numbers import FRAME_KEY_MAX, FrameType
from meshwire_spec.schemas.steps import FrameSpec

LONGEST = "b" * FRAME_KEY_MAX
BEYOND = LONGEST + "b"
RUNS = ("documents", "reconciliation")
FIRST, LATER = "negentropy-init", "negentropy-response"


def _frames(key: str, about: str, *, wrong: bool) -> Mapping[str, FrameSpec]:
    """Return a frame of each type that is no message of a run, with a key and about a document."""
    tombstone = FrameSpec(type="tombstone", key=about)
    return {
        "type 0x02": FrameSpec(type="windowed-history", hex="5aa5", frame_key=key, wrong=wrong),
        "type 0x04": FrameSpec(type="tombstone", key=about, frame_key=key, wrong=wrong),
        "type 0x05": FrameSpec(
            type="tombstone-batch", tombstones=[tombstone], frame_key=key, wrong=wrong
        ),
        "type 0x06": FrameSpec(type="tombstone-ack", hex="5aa5", frame_key=key, wrong=wrong),
        "type 0x07": FrameSpec(type="batch", entries=[tombstone], frame_key=key, wrong=wrong),
    }


@case(
    "MW-6971",
    "a frame of any type with a key of 1036 bytes must be refused, an ignored type included",
    part="frames",
    rules=("FR-021", "FR-012"),
    negative=True,
    control="MW-6972",
)
async def keys_that_are_too_long(run: CaseRun) -> None:
    """A frame that is ignored, or that names its document inside, is taken whatever its key."""
    for number, name in enumerate(_frames(BEYOND, "", wrong=True)):
        about = f"nodes:{run.scope.names['case']}-{number}"
        await run.send(_frames(BEYOND, about, wrong=True)[name], "A", name)
        await run.refused(["length-limit"], "A", name)
        await run.read(Wanted(about, heads=NOTHING))


@case(
    "MW-6972",
    "a key of 1035 bytes must not keep a frame of any type from its effect",
    part="frames",
    rules=("FR-021", "FR-012", "TS-012"),
)
async def longest_keys(run: CaseRun) -> None:
    """The limit of document keys, 1024 bytes, is taken for that of every frame."""
    for number, name in enumerate(_frames(LONGEST, "", wrong=False)):
        about = f"nodes:{run.scope.names['case']}-{number}"
        frame = _frames(LONGEST, about, wrong=False)[name]
        await run.send(frame, "A", name)
        await run.barrier("A", name)
        is_ignored = frame.hex is not None
        wanted = Wanted(about, heads=NOTHING) if is_ignored else Wanted(about, FrameType.TOMBSTONE)
        await run.read(wanted)


@case(
    "MW-6974",
    "a message of a run with a key of 1036 bytes must be refused, one of 1035 bytes be answered",
    part="reconciliation",
    rules=("FR-021", "FR-010", "NG-014"),
    needs=RUNS,
)
async def keys_of_messages(run: CaseRun) -> None:
    """A message of a run has no other key than `_negentropy` for its receiver."""
    for beyond in (FIRST, LATER):
        stream = await run.send(_message(FIRST, LONGEST), "A", beyond)
        await take_answer(run, stream)
        if beyond == LATER:
            await run.send(_message(LATER, LONGEST), "A", beyond)
            await take_answer(run, stream)
            await run.send(_message(LATER, BEYOND), "A", beyond)
        else:
            await run.finish("A", beyond)
            stream = await run.send(_message(FIRST, BEYOND), "A", beyond)
        await run.refused(["length-limit"], "A", beyond)


def _message(frame_type: str, key: str) -> FrameSpec:
    is_wrong = len(key) > FRAME_KEY_MAX
    return FrameSpec(type=frame_type, hex=EMPTY_RANGE, frame_key=key, wrong=is_wrong)
