"""The codec part against targets that are good, bad, dead, mute or mad."""

import asyncio
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.codec_suite import part
from meshwire_conformance.codec_suite.judge import vector_of
from meshwire_conformance.codec_suite.manners import UNSENT
from meshwire_conformance.codec_suite.part import run
from meshwire_conformance.codec_suite.requests import asks_of
from meshwire_conformance.codec_suite.session import HarnessSession
from meshwire_conformance.contracts import Attachment, Settings
from meshwire_conformance.errors import Incomplete, UsageError
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.progress import RunProgress
from meshwire_conformance.targets.base import parse_target
from meshwire_conformance.targets.bundle import bundled_codec
from meshwire_conformance.targets.hosts import is_loopback
from meshwire_conformance.targets.stdio import Ending, Harness, Replies
from meshwire_conformance.verdicts import (
    ENDED,
    TARGET_SILENT,
    TOO_SLOW,
    CaseResult,
    ExitCode,
    Verdict,
    exit_code,
)
from meshwire_spec.schemas.vectors import Vector

pytestmark = pytest.mark.process

PEER = Path(__file__).parents[1] / "programs" / "codec_peer.py"
CEILING = 0.02
"""The share of applicable cases that a peer which absorbs everything may pass."""
FAST = Settings(timeout_scale=0.2)
PATIENT = Settings(timeout_scale=0.4)
"""For peers that run the bundled codec, which takes a while to start."""
FAULTY_BYTES = "0102030405060708"
"""The bytes at which some of the peers stop."""


def codec_cases(*patterns: str) -> Sequence[Case]:
    """Codec cases that fit one of the patterns; all of them without one."""
    chosen = load_catalogue().select(patterns)
    return [case for case in chosen if isinstance(case.body, Vector)]


def attachment(mode: str) -> Attachment:
    """A badly behaved codec."""
    command = f"'{sys.executable}' '{PEER}' {mode}"
    return Attachment("stdio", command, f"stdio:{command}", command=f"stdio:{mode}")


def verdicts_of(
    target: Attachment, cases: Sequence[Case], settings: Settings = FAST
) -> list[CaseResult]:
    """The suite run against a target."""
    seen: list[CaseResult] = []
    results = asyncio.run(run(cases, load_catalogue(), target, settings, seen.append))

    assert [result.case for result in seen] == [case.id for case in cases]
    return results


def by_case(results: Sequence[CaseResult]) -> dict[str, CaseResult]:
    """Results by the id of their case."""
    return {result.case: result for result in results}


def test_the_bundled_codec_passes_everything() -> None:
    """The reference reads and writes every vector as it stands."""
    results = verdicts_of(bundled_codec(), codec_cases(), Settings())

    assert {r.case: r.symptom for r in results if r.verdict is not Verdict.PASS} == {}


@pytest.mark.parametrize(
    "mode",
    ["truncated", "first", "hello-again", "empty", "echo", "unreasoned", "goes", "garbage"],
)
def test_a_peer_that_absorbs_everything_passes_nearly_nothing(mode: str) -> None:
    """Refusing all, repeating one answer or echoing gains nothing, and ends."""
    results = verdicts_of(attachment(mode), codec_cases())
    counted = Counter(result.verdict for result in results)

    assert counted[Verdict.PASS] < CEILING * len(results)
    assert exit_code(results) == 1


@pytest.mark.parametrize("mode", ["silent", "flood"])
def test_a_peer_that_hangs_or_floods_passes_nothing(mode: str) -> None:
    """A few cases are waited for, the rest is not asked any more."""
    results = verdicts_of(attachment(mode), codec_cases("TS-*"))

    unjudged = {UNSENT, TOO_SLOW, TARGET_SILENT}
    assert {result.symptom for result in results} <= unjudged | {"no-answer"}
    assert {result.verdict for result in results} <= {Verdict.FAIL, Verdict.COULD_NOT_RUN}


KILLERS = {case.id for case in codec_cases("LV-001", "LV-002") if FAULTY_BYTES in case.body.hex}  # type: ignore[attr-defined]


ONE_KILLER = [
    *(case for case in codec_cases("LV-001", "LV-002") if case.id not in KILLERS),
    load_catalogue().by_id[min(KILLERS)],
]


@pytest.mark.parametrize("mode", ["dies-at-one", "hangs-at-one"])
def test_a_fault_lands_on_the_case_that_causes_it(mode: str) -> None:
    """A case that kills the target fails; later cases are sent to a fresh process.

    On a busy machine one that hangs the target could not be judged.
    """
    cases = codec_cases("LV-001", "LV-002")
    results = by_case(verdicts_of(attachment(mode), cases))
    open_symptoms = {"no-answer"} if mode == "dies-at-one" else {"no-answer", TOO_SLOW}
    dead = {name for name, result in results.items() if result.symptom in open_symptoms}

    assert dead == KILLERS != set()


@pytest.mark.parametrize("mode", ["dies-at-kind", "hangs-at-kind"])
def test_a_kind_at_which_the_codec_dies_or_hangs_fails_alone(mode: str) -> None:
    """Cases of other kinds get their answers, and those that were not sent are not judged."""
    cases = codec_cases("LV-*", "TS-001", "TS-002")
    settings = Settings(timeout_scale=0.1)
    results = by_case(verdicts_of(attachment(mode), cases, settings))
    of_kind = [results[case.id] for case in cases if case.kind == "heartbeat"]
    of_others = [results[case.id] for case in cases if case.kind != "heartbeat"]
    unsent = [result for result in of_kind if result.symptom == UNSENT]

    # On a busy machine one that hangs could not be judged.
    assert unsent or mode == "hangs-at-kind"
    assert {result.verdict for result in unsent} <= {Verdict.COULD_NOT_RUN}
    failed = sum(result.symptom == "no-answer" for result in of_kind)
    said = f"not sent: the codec died or hung at 5 requests of {failed} case"
    assert all(said in result.reasons[0] for result in unsent)
    unjudged = {UNSENT, TOO_SLOW, TARGET_SILENT}
    assert {result.symptom for result in of_kind} <= unjudged | {"no-answer"}
    assert {result.symptom for result in of_others}.isdisjoint({UNSENT, "no-answer"})


def test_a_request_that_is_answered_only_alone_passes_and_is_slow() -> None:
    """A codec that stalls in the pipeline is late, and lateness breaks no rule."""
    *others, found = verdicts_of(attachment("good-late"), ONE_KILLER, PATIENT)

    assert {result.verdict for result in others} == {Verdict.PASS}
    assert found.slow or found.symptom == TOO_SLOW


def test_a_codec_that_is_slow_in_every_respect_is_not_judged(tmp_path: Path) -> None:
    """Its answer to hello in another process is as late as the one that is missing."""
    target = attachment(f"good-slow {tmp_path / 'hung'}")
    *others, found = verdicts_of(target, ONE_KILLER, PATIENT)

    assert exit_code([*others, found]) is ExitCode.INCOMPLETE
    assert (found.verdict, found.symptom) == (Verdict.COULD_NOT_RUN, TOO_SLOW)
    assert "--timeout-scale" in found.reasons[0]


@pytest.mark.parametrize("target", [attachment("mute"), Attachment("stdio", "cat", "stdio:cat")])
def test_a_target_that_does_not_greet_was_never_reached(target: Attachment) -> None:
    """Without hello nothing was judged: incomplete, not a violation."""
    with pytest.raises(Incomplete, match="hello"):
        verdicts_of(target, codec_cases("LV-001"))


def test_a_command_that_cannot_be_started_is_incomplete() -> None:
    """A missing program is no verdict."""
    target = Attachment("stdio", "/no/such/program", "stdio:/no/such/program")

    with pytest.raises(Incomplete, match="cannot be started"):
        verdicts_of(target, codec_cases("LV-001"))


def test_a_negative_counts_only_with_its_control() -> None:
    """Refusals for the right reason are open where the positive was refused as well."""
    cases = codec_cases("LV-003")
    results = by_case(verdicts_of(attachment("truncated"), cases))
    negatives = [case for case in cases if case.control]

    assert negatives
    for case in negatives:
        assert results[case.id].verdict is Verdict.COULD_NOT_RUN
        assert case.control is not None
        assert case.control in results[case.id].reasons[0]


def test_reasons_that_are_not_given_are_counted_apart() -> None:
    """A harness without reasons passes negatives unbound, if its positives pass."""
    cases = codec_cases("LV-002")
    results = by_case(verdicts_of(attachment("good-unreasoned"), cases, Settings()))

    for case in cases:
        assert results[case.id].verdict is Verdict.PASS
        assert results[case.id].unbound == (case.control is not None)


def test_kinds_that_are_not_offered_are_not_applicable() -> None:
    """A codec for a few kinds is judged by those alone."""
    cases = codec_cases("LV-001", "TS-001")
    results = by_case(verdicts_of(attachment("good-heartbeats"), cases, Settings()))
    told = {case.kind: results[case.id].verdict for case in cases}

    assert told["heartbeat"] is Verdict.PASS
    assert told["tombstone"] is Verdict.NOT_APPLICABLE


def test_level_wire_demands_less() -> None:
    """Refusals of strict nodes only are informational at level wire, and never fail."""
    case = next(c for c in codec_cases() if dict(c.results) == {"wire": "any", "strict": "reject"})
    (result,) = verdicts_of(attachment("echo"), [case], replace(FAST, level="wire"))

    assert result.verdict is Verdict.INFORMATIONAL


@pytest.mark.parametrize(
    "text", ["", "stdio", "stdio:", "ftp://x:1", "tcp:127.0.0.1:1", "tcp://nowhere", "stdio:'"]
)
def test_what_is_no_target_is_a_usage_error(text: str) -> None:
    """One clear line instead of a run against nothing."""
    with pytest.raises(UsageError):
        verdicts_of(parse_target(text), codec_cases("LV-001"))


def test_loopback_is_told_from_elsewhere() -> None:
    """Tests write documents that a mesh spreads: elsewhere asks for permission."""
    near = ("127.0.0.1:1", "[::1]:1", "localhost:1", "ab@127.9.9.9:1")
    far = ("10.0.0.1:1", "example.test:1", "ab@192.0.2.1:1")

    assert [place for place in (*near, *far) if is_loopback(place)] == list(near)


def test_a_wrong_answer_counts_although_the_control_was_too_slow() -> None:
    """Only what hangs on the missing answer is left open."""
    negative = next(case for case in codec_cases("LV-002") if case.control in KILLERS)
    session = HarnessSession("codec", Settings())
    session.too_slow.add(str(negative.control))
    wrong = CaseResult(negative.id, Verdict.FAIL, symptom="accepted")
    uncontrolled = CaseResult(negative.id, Verdict.COULD_NOT_RUN, symptom="control-failed")

    assert session.timed(negative, wrong) == wrong
    assert session.timed(negative, uncontrolled).symptom == TOO_SLOW


def test_the_last_lines_on_stderr_of_a_dead_codec_are_shown() -> None:
    """The cause of a stack trace is above its frames."""
    (result,) = verdicts_of(attachment("fails"), codec_cases("MW-1001"), PATIENT)

    assert result.symptom == "no-answer"
    assert result.reasons == ("decode: died: it ended with 7, and wrote last on stderr:",)
    assert result.received[1].strip() == "Error: the cause"
    assert result.received[-1].strip() == "Node.js v20.20.2"


def test_an_answer_without_a_line_feed_is_described() -> None:
    """It was flushed, so the report does not ask for that."""
    (result,) = verdicts_of(attachment("unended"), codec_cases("MW-1001"))
    (said,) = result.received

    assert result.symptom == "no-answer"
    assert "bytes came without a line feed at their end" in said
    assert "flush" not in said


@pytest.mark.parametrize(("mode", "most"), [("truncated", 1), ("truncated", 3), ("goes", 3)])
def test_violations_end_a_run_over_a_codec(
    mode: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly that many fail, the rest could not run, and not every request is sent."""
    requests: list[object] = []
    progress = RunProgress(load_catalogue().by_id, {}, 0, violations_max=most)
    # These peers never hang, so that no deadline has to be short.
    settings = replace(
        Settings(),
        ends_early=True,
        ended=progress.ended,
        trace=lambda line: requests.append(line) if "sent" in line else None,
    )
    cases = codec_cases("FR-*", "TS-*")
    clock = iter((10.0, 17.5))
    monkeypatch.setattr(part, "time", SimpleNamespace(perf_counter=clock.__next__))
    raw = asyncio.run(run(cases, load_catalogue(), attachment(mode), settings, progress))
    counted = Counter(result.verdict for result in progress.over(raw))

    assert [result.case for result in raw] == [case.id for case in cases]
    assert {result.duration_s for result in raw if result.symptom == ENDED} == {0.0}
    assert all(
        result.duration_s > 0 for result in raw if result.verdict is not Verdict.COULD_NOT_RUN
    )
    # Controls that were not selected are asked too, and have no result.
    assert sum(result.duration_s for result in raw) <= 7.5
    assert counted[Verdict.FAIL] == most
    assert counted[Verdict.COULD_NOT_RUN] > len(cases) - 40
    assert len(requests) < len(cases) / 2


def test_kinds_that_are_not_offered_stay_so_in_an_early_end() -> None:
    """What cannot be asked at all is not left open by the end of the run."""
    progress = RunProgress(load_catalogue().by_id, {}, 0, violations_max=1)
    settings = replace(FAST, ends_early=True, ended=progress.ended)
    cases = codec_cases("LV-*", "TS-*")
    raw = asyncio.run(run(cases, load_catalogue(), attachment("few"), settings, progress))
    results = by_case(progress.over(raw))
    symptoms = {results[case.id].symptom for case in cases if case.kind == "heartbeat"}

    assert progress.ended()
    assert ENDED in symptoms
    assert {results[case.id].verdict for case in cases if case.kind != "heartbeat"} == {
        Verdict.NOT_APPLICABLE
    }


def test_a_run_that_may_end_early_judges_as_any_other() -> None:
    """A negative counts only beside its control, although it precedes it and batches are small."""
    cases = codec_cases("FR-*", "TS-*")[::-1]
    progress = RunProgress(load_catalogue().by_id, {}, 0, violations_max=len(cases))
    settings = replace(FAST, ends_early=True, ended=progress.ended)
    target = attachment("truncated")
    raw = asyncio.run(run(cases, load_catalogue(), target, settings, progress))
    plain = verdicts_of(target, cases)

    assert not progress.ended()
    assert [(one.case, one.verdict, one.symptom) for one in raw] == [
        (one.case, one.verdict, one.symptom) for one in plain
    ]
    assert "control-failed" in {one.symptom for one in plain}


class Stopped(Harness):
    """A process that answers nothing, in no time: one that is stopped takes no longer."""

    started = 0

    async def start(self) -> None:
        """Count it."""
        Stopped.started += 1

    async def converse(
        self, requests: Mapping[int, str], *, start_s: float | None = None
    ) -> Replies:
        """Say that the deadline has passed."""
        return Replies(ending=Ending.HUNG, detail="no answer")

    async def close(self) -> None:
        """Do nothing."""

    abort = close


def test_a_codec_that_is_stopped_for_ever_is_given_up_after_two_late_hellos(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No case can have caused that, so none fails, and the reason says what to do."""
    monkeypatch.setattr("meshwire_conformance.codec_suite.session.Harness", Stopped)
    monkeypatch.setattr(Stopped, "started", 0)
    said: list[str] = []
    cases = codec_cases("LV-*", "TS-001")
    session = HarnessSession("codec", Settings(said=said.append))

    async def ask() -> set[bool]:
        await session.start()
        asks = [ask for case in cases for ask in asks_of(case, vector_of(case), 2)]
        given = await session.ask([replace(ask, id=at) for at, ask in enumerate(asks, start=2)])
        return {one.unasked for one in given.values()}

    assert asyncio.run(ask()) == {False, True}
    results = [session.timed(case, CaseResult(case.id, Verdict.FAIL)) for case in cases]
    assert Stopped.started == 1 + 2
    assert said == [session.silence]
    assert "kill -CONT" in session.silence
    assert {result.symptom for result in results} == {TARGET_SILENT}
    assert exit_code(results) is ExitCode.INCOMPLETE
