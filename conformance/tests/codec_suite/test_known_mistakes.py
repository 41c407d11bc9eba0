"""Mistakes made in one direction of a codec or in both: each is the first cause that is named."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import pytest
from faulty_codec import KINDS, Codec

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.codec_suite.judge import Given, Hello, vector_of
from meshwire_conformance.codec_suite.part import judged
from meshwire_conformance.codec_suite.requests import Ask, asks_of
from meshwire_conformance.contracts import Settings
from meshwire_conformance.report.causes import Group, cause_lines, groups_of
from meshwire_conformance.report.record import TargetRun
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.run.runner import Options, unfinished
from meshwire_conformance.verdicts import CaseResult, ExitCode
from meshwire_spec.schemas.vectors import Vector

HELLO = Hello("faulty", "1", frozenset(KINDS), reasons=True)
DECODE, ENCODE = ", in decode only", ", in encode only"
LINE_MAX = 2**20
"""Characters of the longest request that is sent: those of 32 MB take a second each."""
READ = {
    "order-sent": "`sent_at` is read in the other byte order",
    "order-lamport": "`lamport` is read in the other byte order",
    "order-payload": "`payload.length` is read in the other byte order",
    "order-16": "16-bit numbers are read in the other byte order",
    "signed-8": "64-bit numbers are read as signed",
    "characters": "lengths",
    "length-plus": "16-bit lengths are taken for one more",
    "length-minus": "16-bit lengths are taken for one less",
    "bom": "a U+FEFF at the start of a text is dropped",
    "latin": "texts are read as Latin-1",
    "double": "64-bit numbers are held as floating-point",
    "swap": "`deleted_at` and `lamport` are exchanged",
}
"""Mistakes that show in both directions."""
DECODED = {
    "full-is-short": "a message that ends with a field is taken for truncated",
    "bare": "64-bit integers are JSON numbers",
    "limits": "limits count characters",
    **{
        f"collection-{limit}": f"the limit of 128 bytes (COLLECTION_MAX) is {word} than"
        for limit, word in ((100, "lower"), (127, "lower"), (129, "higher"), (200, "higher"))
    },
    **{
        f"id-{limit}": f"the limit of 895 bytes (DOCUMENT_ID_MAX) is {word} than"
        for limit, word in ((800, "lower"), (894, "lower"), (896, "higher"))
    },
    "key-1023": "the limit of 1024 bytes (DOCUMENT_KEY_MAX) is lower than",
    "no-key-check": "document keys are not checked",
    "trailing": "bytes after the end of stream_frame are ignored",
    "extra": "bytes after the last field, `extra`, are refused",
}
ENCODED = {
    "wrapped": "16-bit lengths too large for their fields are written without",
    "wrapped-number": "numbers too large for their fields are written without",
    "cut": "content too long for its 16-bit length is cut",
}
CODECS = {
    **{f"{name}-both": (Codec(name, name), (says, "")) for name, says in READ.items()},
    **{f"{name}-decode": (Codec(name), (says, DECODE)) for name, says in READ.items()},
    **{
        f"{name}-encode": (Codec("", name), (says.replace(" read ", " written "), ENCODE))
        for name, says in READ.items()
    },
    "upper-both": (Codec("upper", "upper"), ("hex is in upper case", "")),
    "upper-decode": (Codec("upper"), ("hex is in upper case", "")),
    "upper-encode": (Codec("", "upper"), ("hex is in upper case", ENCODE)),
    "direction": (Codec("direction"), ("`direction` may be one more", DECODE)),
    "lossy": (Codec("lossy"), ("bytes that are not UTF-8 are replaced", DECODE)),
    "marker": (Codec("marker"), ("any value of `marker` is taken", DECODE)),
    **{name: (Codec(name), (says, "")) for name, says in DECODED.items()},
    **{name: (Codec("", name), (says, "")) for name, says in ENCODED.items()},
}
"""Each codec, with the words that the first cause begins with and how it ends."""


@cache
def asked() -> tuple[list[Case], list[Ask], Mapping[int, dict[str, object]]]:
    """The cases of the kinds of the codec, with their requests."""
    cases = [
        case
        for case in load_catalogue().cases
        if case.kind in KINDS and isinstance(case.body, Vector)
    ]
    asks: list[Ask] = []
    for case in cases:
        asks += asks_of(case, vector_of(case), len(asks))
    short = [ask for ask in asks if len(ask.line) < LINE_MAX]
    names = {ask.case.id for ask in asks} - {ask.case.id for ask in asks if ask not in short}
    kept = [ask for ask in short if ask.case.id in names]
    return [c for c in cases if c.id in names], kept, {a.id: json.loads(a.line) for a in kept}


def results_of(codec: Codec, hello: Hello = HELLO) -> list[CaseResult]:
    """The verdicts of a codec, which runs in this process."""
    cases, asks, requests = asked()
    given = {ask.id: Given(codec.answer(requests[ask.id])) for ask in asks}
    return [result for _, result in judged(cases, asks, given, hello, Settings())]


def groups(results: list[CaseResult]) -> list[Group]:
    """The causes that a report of these results names."""
    empty = unfinished("stdio:x", Options(), "", ExitCode.VIOLATIONS)
    report = replace(empty, runs=[TargetRun("codec", "stdio:x", results)])
    return groups_of(report)


def test_the_codec_itself_is_correct() -> None:
    """Whatever fails below is the mistake."""
    assert not groups(results_of(Codec()))


@pytest.mark.parametrize("name", CODECS)
def test_the_first_cause_is_the_mistake_and_its_direction(name: str) -> None:
    """No failure of it is left without this cause, and no other is named."""
    codec, (says, direction) = CODECS[name]
    found = groups(results_of(codec))

    assert [one.says for one in found[1:]] == []
    assert found[0].says.startswith(says)
    assert found[0].says.endswith(direction) if direction else " only" not in found[0].says


def test_a_bug_of_a_shared_helper_is_one_cause_with_its_kinds() -> None:
    """It is not listed once for each kind."""
    listed = list(cause_lines(groups(results_of(Codec("order-16", "order-16")))))

    assert "(stream_frame, tombstone); start with" in listed[1]


def test_without_reasons_the_cause_is_the_same() -> None:
    """A codec that gives no reasons is compared in what it refuses alone."""
    (found,) = groups(results_of(Codec("order-16"), replace(HELLO, reasons=False)))

    assert found.says.startswith(READ["order-16"])


def test_an_unknown_mistake_has_no_cause() -> None:
    """One that resembles a known one is not taken for it: its answers contradict that."""
    found = groups(results_of(Codec("length-plus-two")))

    assert found
    assert not any(one.known for one in found), [one.says for one in found]


def test_two_mistakes_are_two_causes() -> None:
    """The rest is looked at without the failures that the first explains."""
    found = groups(results_of(Codec("order-payload", "order-sent")))

    assert [one.says for one in found] == [
        READ["order-payload"] + DECODE,
        READ["order-sent"].replace(" read ", " written ") + ENCODE,
    ]


def test_two_limits_that_are_too_low_are_two_causes() -> None:
    """The longest collection name and the longest id are each in a key of their own too."""
    found = groups(results_of(Codec("collection-100-id-800")))

    assert {one.says.partition(")")[0] for one in found} == {
        "the limit of 128 bytes (COLLECTION_MAX",
        "the limit of 895 bytes (DOCUMENT_ID_MAX",
    }
