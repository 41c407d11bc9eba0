"""Reports stay whole whatever a target says."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator

from meshwire_conformance.catalogue.data_files import vectors_folder
from meshwire_conformance.errors import UsageError
from meshwire_conformance.report import json as json_report
from meshwire_conformance.report import junit
from meshwire_conformance.report.causes import SAYS_MAX
from meshwire_conformance.report.record import Report, TargetRun
from meshwire_conformance.report.text import IN_FULL, LINE_MAX, REASONS_MAX, WIDTH, lines_of
from meshwire_conformance.run.loading import load_catalogue
from meshwire_conformance.verdicts import ENDED, CaseResult, ExitCode, Verdict

HOSTILE = "\x00 <b>&amp;]]> \x1b[31mred \ud800 \uffff \r\n" + "x" * 2**20
SCHEMA = "spec/meshwire_spec/schemas/report.json"
CASE = "MW-1001"


def report_of(*results: CaseResult, level: str = "strict", seed: int = 0) -> Report:
    """A report over these results of one run."""
    catalogue = load_catalogue()
    return Report(
        suite_version="1",
        spec_revision="sync/1",
        suite_digest=catalogue.digest,
        selection_digest="0" * 64,
        level=level,
        seed=seed,
        target="stdio:x",
        cases=catalogue.by_id,
        runs=[TargetRun("codec", "stdio:x", results)],
        exit_code=ExitCode.VIOLATIONS,
        rules={"FR-001": "A sender MUST."},
    )


def failed(text: str) -> CaseResult:
    """A failure that says this text wherever a text can be."""
    lines = (text,)
    return CaseResult(
        CASE,
        Verdict.FAIL,
        lines,
        text,
        lines,
        lines,
        lines,
        lines,
        variant=text,
        duration_s=0.25,
        circumstances=text,
    )


EVERY = tuple(
    CaseResult(case.id, verdict, ("why",), symptom="s")
    for case, verdict in zip(load_catalogue().cases, Verdict, strict=False)
)


@pytest.mark.parametrize("results", [(failed(HOSTILE),), EVERY], ids=["hostile", "every verdict"])
def test_json_parses_and_fits_its_schema(results: tuple[CaseResult, ...], tmp_path: Path) -> None:
    """NUL, markup, escape codes and a megabyte are text like any other."""
    path = tmp_path / "report.json"
    json_report.write(report_of(*results), path)
    document = json.loads(path.read_text(encoding="ascii"))
    schema = json.loads((vectors_folder().parent / SCHEMA).read_text(encoding="utf-8"))

    assert [e.message for e in Draft202012Validator(schema).iter_errors(document)] == []
    assert "\x1b" not in path.read_text(encoding="ascii")


def test_members_of_a_run_keep_their_order(tmp_path: Path) -> None:
    """Two reports can be compared line by line."""
    path = tmp_path / "report.json"
    report = report_of(failed("x"))
    run = replace(report.runs[0], codec={"name": "n", "version": "1"})
    json_report.write(replace(report, runs=[run]), path)
    (written,) = json.loads(path.read_text(encoding="ascii"))["runs"]

    assert list(written) == ["name", "faults", "codec", "parts", "cases"]


def test_every_report_shows_the_first_contact(tmp_path: Path) -> None:
    """What a target does on its first connection explains failures in whatever report."""
    report = report_of(failed("x"))
    contact = ("PING:         its 8 bytes came back", f"barrier:      {HOSTILE[:40]}")
    report = replace(report, runs=[replace(report.runs[0], contact=contact), report.runs[0]])
    json_report.write(report, tmp_path / "report.json")
    junit.write(report, tmp_path / "report.xml")
    runs = json.loads((tmp_path / "report.json").read_text(encoding="ascii"))["runs"]
    suites = ET.fromstring((tmp_path / "report.xml").read_bytes())  # noqa: S314 - our own file
    shown, none = ([out.text for out in suite.findall("system-out")] for suite in suites)

    assert [run.get("contact") for run in runs] == [list(contact), None]
    assert shown == [junit.legal("\n".join(("first contact", *contact))).replace("\r\n", "\n")]
    assert none == []


def test_json_keeps_the_hostile_text(tmp_path: Path) -> None:
    """Nothing is cut or replaced on the way to a program."""
    path = tmp_path / "report.json"
    json_report.write(report_of(failed(HOSTILE)), path)
    (case,) = json.loads(path.read_text(encoding="ascii"))["runs"][0]["cases"]

    assert case["reasons"] == [HOSTILE]


@pytest.mark.parametrize("results", [(failed(HOSTILE),), EVERY], ids=["hostile", "every verdict"])
def test_junit_parses(results: tuple[CaseResult, ...], tmp_path: Path) -> None:
    """XML 1.0 cannot hold some characters at all: they are written as their numbers."""
    path = tmp_path / "report.xml"
    junit.write(report_of(*results), path)
    root = ET.fromstring(path.read_bytes())  # noqa: S314 - our own file
    suite = root[0]

    assert root.tag == "testsuites"
    assert len(suite.findall("testcase")) == len(results) == int(suite.attrib["tests"])
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
    assert int(suite.attrib["errors"]) == len(suite.findall("testcase/error"))
    assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))


def test_the_text_report_drives_no_terminal() -> None:
    """Control characters of a target are shown, not sent."""
    lines = list(lines_of(report_of(failed(HOSTILE))))

    assert lines
    assert all(char.isprintable() for line in lines for char in line)


def test_colour_only_where_it_is_asked_for() -> None:
    """Plain when piped."""
    assert any("\x1b[31m" in line for line in lines_of(report_of(failed("x")), colour=True))


def test_a_failure_tells_rule_bytes_and_how_to_see_it_again() -> None:
    """Everything that mending needs, and the command with what differs from the default."""
    text = "\n".join(lines_of(report_of(failed("wrong"), level="wire", seed=7)))

    assert "FR-001  A sender MUST." in text
    for label in ("sent", "expected", "received", "note", "again"):
        assert f"\n  {label}" in text
    assert f"meshwire check stdio:x --only {CASE} --level wire --seed 7" in text


def test_many_failures_are_told_shortly() -> None:
    """The first ones in full, the rest in a line each."""
    results = [CaseResult(c.id, Verdict.FAIL, ("no",)) for c in load_catalogue().cases[:100]]
    lines = list(lines_of(report_of(*results)))

    assert sum(line.startswith("FAIL") for line in lines) == 100
    assert sum("again" in line for line in lines) == IN_FULL


def test_the_summary_counts_by_part() -> None:
    """Applicable and total of each part; what is excused, open or predicted is named."""
    text = "\n".join(lines_of(report_of(*EVERY)))

    assert f"4/{len(EVERY)}" in text
    assert "could not run 1" in text
    assert "known failing" in text
    assert load_catalogue().digest in text


def test_every_report_marks_a_case_that_passed_only_when_repeated(tmp_path: Path) -> None:
    """The text counts such cases, the files mark each of them, and no other case has the mark."""
    others = [case.id for case in load_catalogue().cases[1:3]]
    slow = CaseResult(CASE, Verdict.PASS, slow=True)
    report = report_of(slow, *(CaseResult(other, Verdict.PASS) for other in others))
    json_report.write(report, tmp_path / "report.json")
    junit.write(report, tmp_path / "report.xml")
    cases = json.loads((tmp_path / "report.json").read_text())["runs"][0]["cases"]
    suite = ET.fromstring((tmp_path / "report.xml").read_bytes())[0]  # noqa: S314 - our own file
    marks = {
        case.attrib["name"][: len(CASE)]: [mark.attrib for mark in case.iter("property")]
        for case in suite.findall("testcase")
    }
    lines = list(lines_of(report))

    assert f"  1 case passed only when run alone: the machine is busy ({CASE})" in lines
    assert [case["slow"] for case in cases] == [True, False, False]
    assert marks[CASE] == [{"name": "slow", "value": "true"}]
    assert [marks[other] for other in others] == [[], []]


def test_a_slow_case_that_fails_keeps_its_failure(tmp_path: Path) -> None:
    """A ledger that does not hold turns it into a failure; no line says that it passed."""
    report = report_of(CaseResult(CASE, Verdict.FAIL, ("stale",), symptom="stale", slow=True))
    junit.write(report, tmp_path / "report.xml")
    suite = ET.fromstring((tmp_path / "report.xml").read_bytes())[0]  # noqa: S314 - our own file

    assert len(suite.findall("testcase/failure")) == 1
    assert not any("passed only" in line for line in lines_of(report))


@pytest.mark.parametrize("write", [json_report.write, junit.write])
def test_a_report_that_cannot_be_written_is_a_usage_error(write: Any, tmp_path: Path) -> None:
    """One clear line, not a traceback."""
    with pytest.raises(UsageError, match="cannot be written"):
        write(report_of(failed("x")), tmp_path / "none" / "report")


def test_a_long_rule_is_told_whole_and_a_long_line_is_capped() -> None:
    """Rules are folded, never cut; a text of the target is cut, and its length is stated."""
    report = report_of(failed("y" * 100_000))
    rule = "A sender MUST " + "say so again and again " * 20 + "for ever."
    text = "\n".join(lines_of(replace(report, rules={"FR-001": rule})))

    assert " ".join(rule.split()) in " ".join(text.split())
    assert "(100000 characters)" in text
    assert len(text) < 10 * LINE_MAX
    assert max(map(len, text.splitlines()[2:8])) <= WIDTH


def test_the_command_is_in_one_line() -> None:
    """It is copied."""
    report = report_of(failed("x"))
    run = replace(report.runs[0], again="node:'" + "a long command " * 20 + "'")
    lines = list(lines_of(replace(report, runs=[run])))

    assert any(line.endswith(f"--only {CASE}") and "node:'" in line for line in lines)


def groups_text(*results: CaseResult) -> str:
    """The text report of these results."""
    return "\n".join(lines_of(report_of(*results)))


def test_failures_are_grouped_by_cause_before_they_are_shown() -> None:
    """Most failures first, and with each cause the simplest case and what waits for it."""
    order = "`payload.length` is read in the other byte order"
    ids = ["MW-1003", "MW-1001", "MW-1002"]
    failures = [CaseResult(one, Verdict.FAIL, symptom="refused", cause=order) for one in ids]
    other = CaseResult("MW-1158", Verdict.FAIL, symptom="refused")
    waiting = CaseResult("MW-1008", Verdict.COULD_NOT_RUN, symptom="control-failed", cause=order)
    lines = groups_text(other, *failures, waiting).splitlines()

    assert lines[0] == "4 failures, by cause:"
    assert lines[1].strip() == f"3  {order} (stream_frame); start with MW-1002"
    assert lines[2].strip().startswith("1 negative was not judged, since its control fails for it")
    assert lines[3].strip() == "1  LV-001: refused (heartbeat); start with MW-1158"
    shown = [line.split()[1] for line in lines if line.startswith("FAIL ")]
    assert shown == ["MW-1002", "MW-1158", "MW-1003", "MW-1001"]


def test_a_single_failure_without_a_cause_is_not_listed_twice() -> None:
    """With more than one failure the causes are always listed, even if no two are alike."""
    one = CaseResult("MW-1001", Verdict.FAIL, symptom="refused")
    hostile = [replace(one, case=case, symptom=HOSTILE) for case in ("MW-1001", "MW-1002")]
    listed = groups_text(*hostile).splitlines()[1]

    assert listed.isprintable()
    assert len(listed) < SAYS_MAX * 4
    assert "by cause" not in groups_text(one)
    assert "2 failures, by cause:" in groups_text(one, replace(one, case="MW-1002"))
    assert "2 failures, by cause:" in groups_text(one, replace(one, case="MW-1158"))


def test_a_cause_in_several_kinds_is_one_group() -> None:
    """One bug of a shared helper is listed once, with its kinds and what could not run for it."""
    cause = "ids of requests are given back as texts (CH-003)"
    failures = [
        CaseResult(one, Verdict.FAIL, symptom="refused", cause=cause)
        for one in ("MW-1001", "MW-1158")
    ]
    silent = CaseResult("MW-1002", Verdict.COULD_NOT_RUN, symptom="unfit-hello", cause=cause)
    lines = groups_text(*failures, silent).splitlines()

    assert lines[1].strip() == f"2  {cause} (heartbeat, stream_frame); start with MW-1158"
    assert lines[2].strip() == "1 case could not run because of it"


def test_a_cause_that_hinders_more_cases_comes_first() -> None:
    """Those that could not run because of it count like its failures."""
    cause = "ids of requests are given back as texts (CH-003)"
    alone = CaseResult("MW-1158", Verdict.FAIL, symptom="refused", cause=cause)
    others = [
        CaseResult(one, Verdict.FAIL, symptom="s", cause="b") for one in ("MW-1001", "MW-1002")
    ]
    hindered = [
        CaseResult(one, Verdict.COULD_NOT_RUN, symptom="unfit-hello", cause=cause)
        for one in ("MW-1003", "MW-1004")
    ]
    lines = groups_text(*others, alone, *hindered).splitlines()

    assert cause in lines[1]


def test_an_early_end_is_one_error_in_junit() -> None:
    """Cases that did not run are skipped, with the reason; the text says what it shows."""
    why = ("the run ended after 1 violation",)
    ids = [case.id for case in load_catalogue().cases[:9]]
    left = [CaseResult(name, Verdict.COULD_NOT_RUN, why, ENDED) for name in ids[3:]]
    own = CaseResult(ids[0], Verdict.COULD_NOT_RUN, ("its control failed",), "control-failed")
    fails = [CaseResult(name, Verdict.FAIL, ("no",), "s") for name in ids[1:3]]
    report = report_of(own, *fails, *left)
    (suite,) = ET.fromstring(junit.document_of(report).encode())  # noqa: S314 - our own file
    errors = [error.attrib["message"] for error in suite.iter("error")]
    (line,) = [line for line in lines_of(report) if line.startswith("the run ended")]

    assert errors == [f"{why[0]}; 6 cases did not run", "its control failed"]
    assert [skipped.attrib["message"] for skipped in suite.iter("skipped")] == [*why] * 6
    assert (suite.attrib["errors"], suite.attrib["skipped"]) == ("2", "6")
    assert suite.attrib["tests"] == str(len(list(suite.iter("testcase"))))
    assert line == f"{why[0]}: 6 cases did not run; 2 failures are shown"


def test_quiet_shows_violations_in_a_line_each_and_the_verdict() -> None:
    """A run without a violation has one line."""
    others = [replace(result, case=f"MW-100{n}") for n, result in enumerate(EVERY, start=2)]
    unfailed = [result for result in others if result.verdict is not Verdict.FAIL]
    red = list(
        lines_of(report_of(replace(failed("x"), symptom="accepted"), *unfailed), detail="quiet")
    )

    assert len(red) == 2
    assert red[0].startswith(f"FAIL {CASE}  ")
    assert red[0].endswith(": accepted")
    assert "exit 1" in red[1]
    assert len(list(lines_of(report_of(*unfailed), detail="quiet"))) == 1


def test_verbose_shows_every_case_with_its_time_and_why() -> None:
    """In one line, also what is not applicable, slow or hostile; the rest of the report follows."""
    results = (
        replace(EVERY[0], verdict=Verdict.NOT_APPLICABLE, reasons=("needs a link",)),
        replace(
            EVERY[1], verdict=Verdict.PASS, reasons=(), symptom="", duration_s=0.125, slow=True
        ),
        replace(failed(HOSTILE), case=EVERY[2].case),
    )
    lines = list(lines_of(report_of(*results), detail="verbose"))
    titles = [load_catalogue().by_id[result.case].title for result in results]

    assert lines[1].split()[:3] == ["not-applicable", results[0].case, "-"]
    assert lines[1].endswith(f"{titles[0]}: needs a link")
    assert lines[2].split()[:4] == ["pass", results[1].case, "0.125", "s"]
    assert lines[2].endswith(f"{titles[1]}: slow")
    assert lines[3].split()[:4] == ["fail", results[2].case, "0.250", "s"]
    assert lines[3].isprintable()
    assert set(lines_of(report_of(*results))) <= set(lines)


def test_the_summary_says_why_cases_are_not_applicable() -> None:
    """Each reason once, the most frequent first, beside cases that are applicable too."""
    cases = [case.id for case in load_catalogue().cases]
    many = [
        CaseResult(case, Verdict.NOT_APPLICABLE, ("needs a link" if n % 3 else "speaks H1",))
        for n, case in enumerate(cases[:30])
    ]
    lines = list(lines_of(report_of(CaseResult(cases[30], Verdict.PASS), *many)))
    said = [line.strip() for line in lines if line.startswith("  not applicable")]

    assert said[0].startswith(
        f"not applicable 20: needs a link ({cases[1]}, {cases[2]}, {cases[4]}, "
    )
    assert said[1].startswith(f"not applicable 10: speaks H1 ({cases[0]}, {cases[3]}, ")
    assert len(said) == 2


def test_rare_reasons_are_counted_together() -> None:
    """A target with a reason for each case does not fill the screen."""
    cases = load_catalogue().cases[:30]
    each = [CaseResult(case.id, Verdict.NOT_APPLICABLE, (f"for {case.id}",)) for case in cases]
    said = [line for line in lines_of(report_of(*each)) if line.startswith("  not applicable")]

    assert len(said) == REASONS_MAX + 1
    assert said[-1].strip() == "not applicable 20: for 20 further reasons"
