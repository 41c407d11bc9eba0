"""Every format of a report: whole and harmless whatever a target says, and true to the run."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from browser import Browser, browser_path
from jsonschema import Draft4Validator

from meshwire_conformance.errors import UsageError
from meshwire_conformance.report import badge, github, html, junit, markdown, sarif
from meshwire_conformance.report.formats import FORMS, WRITERS
from meshwire_conformance.report.record import Report, TargetRun
from meshwire_conformance.report.side_by_side import side_by_side, table_lines
from meshwire_conformance.report.text import failure_line, lines_of, painter
from meshwire_conformance.run.loading import load_listing
from meshwire_conformance.verdicts import ENDED, STALE, CaseResult, ExitCode, Moment, Verdict

HOSTILE = (
    "\x00 <script>alert(1)</script> ]]> --> \" ' ` | ::error:: %0A \x1b[31m \u202e \ud800 \r\n"
    "## x\n" + "x" * 2**20
)
SCHEMA = Path(__file__).parent / "schemas" / "sarif-2.1.0-rtm.5.json"
CASES = load_listing().cases
SIZE_MAX = 400_000
"""Bytes of a report with a hostile run: no megabyte of a target is repeated in it."""


def result(number: int, verdict: Verdict, text: str) -> CaseResult:
    """A result that says this text wherever a text can be."""
    lines = (text, text)
    return CaseResult(
        CASES[number].id,
        verdict,
        lines,
        text,
        lines,
        lines,
        lines,
        lines,
        variant="open",
        cause=text if verdict is Verdict.FAIL else "",
        circumstances=text,
        timeline=(
            Moment(0.25, "sent", text, lines),
            Moment(0.5, "received", text, lines),
            Moment(0.75, "malformed", text),
        ),
    )


def report_of(text: str, *, names: tuple[str, ...] = ("codec",)) -> Report:
    """A report with every verdict, in which a target says a text everywhere."""
    listing = load_listing()
    results = [result(number, verdict, text) for number, verdict in enumerate(Verdict)]
    runs = [
        TargetRun(f"{name} {text}", f"'{text}'", results, (), {"name": text, "version": text})
        for name in names
    ]
    runs = [replace(run, notes=(text,), contact=(text, text)) for run in runs]
    return Report(
        suite_version="1",
        spec_revision="sync/1",
        suite_digest=listing.digest,
        selection_digest="0" * 64,
        level="strict",
        seed=7,
        target=text,
        cases=listing.by_id,
        runs=runs,
        exit_code=ExitCode.VIOLATIONS,
        rules={"FR-001": "A sender MUST."},
        ledger=text,
        compares=len(runs) > 1,
    )


def written(name: str, report: Report, folder: Path) -> str:
    """The file that a format writes."""
    path = folder / f"report.{name}"
    WRITERS[name](report, path)
    return path.read_text(encoding="utf-8", errors="strict")


@pytest.mark.parametrize("name", ["html", "markdown", "github", "sarif", "badge"])
def test_nothing_of_a_target_gets_out_of_its_place(name: str, tmp_path: Path) -> None:
    """No control character, markup, command or megabyte comes through."""
    text = written(name, report_of(HOSTILE, names=("one", "other")), tmp_path)

    assert not set(text) & {"\x00", "\x1b", "\u202e", "\r"}
    # Code of Markdown, JSON and lines of a log have no markup.
    marked = re.sub("`[^`]*`", "", text) if name == "markdown" else text
    assert "<script>alert" not in marked or name in {"github", "sarif"}
    assert len(text) < SIZE_MAX
    assert name in FORMS


@pytest.mark.parametrize("name", WRITERS)
def test_a_report_that_cannot_be_written_is_a_usage_error(name: str, tmp_path: Path) -> None:
    """One line, no traceback."""
    with pytest.raises(UsageError):
        WRITERS[name](report_of("x"), tmp_path / "no folder" / "report")


class _Page(HTMLParser):
    """Counts what a page has, and fails on an element that is not closed."""

    VOID = frozenset({"meta", "input", "br", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")
            if name in {"src", "srcset", "action"}:
                self.loads.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which has to be this one."""
        assert self.open.pop() == tag


@pytest.mark.parametrize("text", ["plain", HOSTILE], ids=["plain", "hostile"])
def test_the_page_is_whole_and_loads_nothing(text: str) -> None:
    """Every element is closed, every link has its place, and only its own script may run."""
    document = html.document_of(report_of(text, names=("one", "other")))
    page = _Page()
    page.feed(document)

    assert page.open == []
    assert page.loads == []
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert "default-src 'none'" in document
    assert not {"iframe", "img", "link", "object", "base", "form"} & page.tags


def test_the_page_has_the_bytes_rules_and_command_of_a_failure() -> None:
    """What the text report shows of a failure, the page shows too."""
    document = html.document_of(report_of("0000  02 01"))

    assert document.count("0000  02 01") > 10
    assert "A sender MUST." in document
    assert "--only MW-1002" in document
    assert '<span class="at">0.250 s</span> <strong>sent</strong> 0000  02 01' in document
    assert '<span class="at">0.500 s</span> <strong>received</strong>' in document


def luminance(colour: str) -> float:
    """Relative luminance of a colour as `#rrggbb`."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast of two colours."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_colour_of_text_can_be_read() -> None:
    """At least 4.5 to 1 against both backgrounds, in the light and in the dark scheme."""
    schemes = re.findall(r":root\{[^}]*\}", html.STYLE)
    for scheme in schemes:
        found = dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})", scheme))
        full = {
            name: colour if len(colour) == 7 else "#" + "".join(one * 2 for one in colour[1:])
            for name, colour in found.items()
        }
        for name in ("ink", "faint", "good", "bad", "warn", "link"):
            assert contrast(full[name], full["paper"]) >= 4.5, name
            assert contrast(full[name], full["soft"]) >= 4.5, name

    assert len(schemes) == 2
    assert all(contrast(colour, "#ffffff") >= 4.5 for colour in badge.COLOURS.values())


@pytest.mark.process
def test_the_page_opens_in_a_browser(tmp_path: Path) -> None:
    """Its script runs under its policy and opens the page of a link."""
    browser = browser_path()
    if browser is None:
        pytest.skip("no Chromium: the page was not opened")
    report = report_of("plain")
    html.write(report, tmp_path / "report.html")
    place = f"run-0-{CASES[1].id}"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [*command, f"{(tmp_path / 'report.html').as_uri()}#{place}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )

    assert re.search(rf'<details id="{place}"[^>]* open', done.stdout), done.stderr[-400:]
    assert '<p id="filtering">' in done.stdout
    assert "Refused to" not in done.stderr


BROKEN_WORDS = """[...document.querySelectorAll('thead th:not(.name)')].flatMap(head =>
    [...head.firstChild.data.matchAll(/\\S+/g)].filter(word => {
        const range = document.createRange();
        range.setStart(head.firstChild, word.index);
        range.setEnd(head.firstChild, word.index + word[0].length);
        return range.getClientRects().length !== 1;
    }).map(word => word[0]))"""
"""Words of the heads of tables that take more than one line."""
CONTRASTS = """
(() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((one) => one / 255).map(
      (one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  for (const one of document.querySelectorAll("details")) one.open = true;
  const found = {};
  for (const element of document.body.querySelectorAll("*")) {
    const says = [...element.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    if (!says || element.tagName === "SCRIPT" || element.matches(".skip")) continue;
    const sides = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(...sides) + 0.05) / (Math.min(...sides) + 0.05);
    const name = element.tagName + "." + element.className;
    found[name] = Math.min(ratio, found[name] ?? 21);
  }
  return found;
})()
"""
"""The least contrast of text in a page, for each sort of element."""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Browser]:
    """A browser with the folder of a report, or one line that there is none."""
    path = browser_path()
    if path is None or shutil.which("bash") is None:
        pytest.skip("no Chromium: the page was not used")
    html.write(report_of("plain"), tmp_path / "report.html")
    with Browser(path, tmp_path / "profile") as browser:
        yield browser


@pytest.mark.process
def test_the_page_is_used_by_keys_alone(page: Browser, tmp_path: Path) -> None:
    """Tab reaches everything in the order of the page, Enter opens a case and its steps."""
    page.open((tmp_path / "report.html").as_uri(), 1280)
    reached: list[str] = []
    while "fail MW-" not in (reached or [""])[-1]:
        assert len(reached) < 200
        page.press("Tab", 9)
        reached.append(page.value("document.activeElement.textContent.trim()"))
    page.press("Enter", 13, "\r")
    is_open = page.value("document.activeElement.parentElement.open")
    outline = page.value("getComputedStyle(document.activeElement).outlineStyle")
    page.press("Tab", 9)
    step = page.value("document.activeElement.textContent")
    page.press("Enter", 13, "\r")
    is_step_open = page.value("document.activeElement.parentElement.open")
    page.value("document.getElementById('filter').focus()")
    page.call("Input.insertText", text="no such words")

    assert reached[0] == "Skip to the cases"
    assert (is_open, outline, is_step_open) == (True, "solid", True)
    assert step == "0.250 s sent plain"
    assert page.value("document.getElementById('count').textContent").startswith("0 of ")
    assert not page.value("[...document.querySelectorAll('[tabindex]')].some(o => o.tabIndex > 0)")


@pytest.mark.process
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_read_at_each_width_and_without_colours(
    page: Browser, tmp_path: Path, scheme: str, width: int
) -> None:
    """Contrast of 4.5 at least, nothing beyond the edge, and a word for whatever is coloured."""
    page.open((tmp_path / "report.html").as_uri(), width)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.call("Emulation.setEmulatedMedia", features=features)
    found = page.value(CONTRASTS)
    words = page.value(
        "[...document.querySelectorAll("
        + json.dumps(",".join(f".{verdict.value}" for verdict in Verdict))
        + ")].map(one => [one.className, one.textContent])"
    )
    ways = page.value("[...document.querySelectorAll('.timeline strong')].map(o => o.textContent)")

    assert len(found) > 10
    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}
    assert page.value("document.documentElement.scrollWidth <= innerWidth")
    assert page.value("document.querySelectorAll('thead th:not(.name)').length") > 5
    assert page.value(BROKEN_WORDS) == []
    assert {name for name, _ in words} == {verdict.value for verdict in Verdict}
    assert all(text.startswith(name) for name, text in words)
    assert set(ways) == {"sent", "received", "malformed"}


@pytest.mark.parametrize("text", ["plain", HOSTILE], ids=["plain", "hostile"])
def test_sarif_fits_its_schema(text: str, tmp_path: Path) -> None:
    """Known failures are suppressed, and each result names its rule."""
    log = json.loads(written("sarif", report_of(text, names=("one", "other")), tmp_path))
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    (first, _) = log["runs"]
    rules = [rule["id"] for rule in first["tool"]["driver"]["rules"]]

    assert [error.message for error in Draft4Validator(schema).iter_errors(log)] == []
    assert log["version"] == "2.1.0"
    assert len(first["results"]) == 3
    assert all(rules[one["ruleIndex"]] == one["ruleId"] for one in first["results"])
    assert [len(one.get("suppressions", ())) for one in first["results"]] == [0, 0, 1]
    for name in ("caseAndSymptom/v1", "primaryLocationLineHash"):
        assert len({one["partialFingerprints"][name] for one in first["results"]}) == 3


def test_sarif_has_what_viewers_ask_for_beyond_the_schema(tmp_path: Path) -> None:
    """The schema by its name, rules with help, whole regions, and prints that stay the same."""
    report = report_of("x")
    shown = [json.loads(written("sarif", one, tmp_path)) for one in (report, report)]
    (run,) = shown[0]["runs"]
    for rule in run["tool"]["driver"]["rules"]:
        sentence = report.rules.get(rule["id"], rule["id"])
        assert sentence in rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"] == f"{rule['id']}: {sentence}"
        assert f"meshwire explain {rule['id']}" in rule["help"]["text"]
        assert f"`meshwire explain {rule['id']}`" in rule["help"]["markdown"]
    for result in run["results"]:
        (place,) = result["locations"]
        assert place["physicalLocation"]["region"] == {
            "startLine": 1,
            "startColumn": 1,
            "endLine": 1,
            "endColumn": 2,
        }
        assert re.fullmatch(
            "[0-9a-f]{16}:1", result["partialFingerprints"]["primaryLocationLineHash"]
        )

    assert shown[0] == shown[1]
    assert shown[0]["$schema"] == json.loads(SCHEMA.read_text(encoding="utf-8"))["id"]


def test_sarif_says_of_every_result_whether_it_is_suppressed_or_of_none() -> None:
    """As the standard wants it: an empty list is a result that counts."""
    with_ledger = sarif.log_of(report_of("x"))["runs"][0]["results"]
    (run,) = report_of("x").runs
    counting = [one for one in run.results if one.verdict is not Verdict.KNOWN_FAILING]
    plain = replace(report_of("x"), ledger="", runs=[replace(run, results=counting)])

    assert all("suppressions" in one for one in with_ledger)
    assert not any("suppressions" in one for one in sarif.log_of(plain)["runs"][0]["results"])


def test_annotations_are_one_command_a_line() -> None:
    """No text of a target begins another one; each cause has one, and the whole has one."""
    lines = github.commands_of(report_of(HOSTILE)).splitlines()

    assert len(lines) == 2
    assert all(re.match(r"::(error|notice) title=[^:,]*::", line) for line in lines)
    assert github.commands_of(replace(report_of("x"), runs=[], exit_code=ExitCode.PASSED)) == (
        "::notice title=meshwire::0 passed, 0 known, 0 new, level strict\n"
    )


@pytest.mark.parametrize("name", ["html", "markdown", "github"])
def test_reports_end_with_the_counts_of_the_text(name: str, tmp_path: Path) -> None:
    """What passes although the ledger lists it has passed, and its removal is a command."""
    report = report_of("x")
    (run,) = report.runs
    stale = replace(run.results[1], symptom=STALE)
    alone = replace(run, results=[run.results[0], stale, run.results[4]], again="x")
    text = "\n".join(lines_of(replace(report, runs=[alone])))
    shown = written(name, replace(report, runs=[alone]), tmp_path)
    green = replace(report, exit_code=ExitCode.PASSED, runs=[replace(alone, again="'x' --open")])

    assert "2 passed, 1 known, 0 new" in text
    assert name == "markdown" or "2 passed, 1 known, 0 new" in shown
    assert "meshwire ledger prune x x" in text
    assert "meshwire ledger prune x x" in shown
    assert "meshwire ledger prune x TARGET" in "\n".join(lines_of(green))
    assert green.meaning == "every applicable case passed or is known to fail"


def test_the_tables_have_the_counts_of_the_closing_line(tmp_path: Path) -> None:
    """A case that passes although the ledger lists it is in no column of failures."""
    report = report_of("x", names=("one", "other"))
    runs = [
        replace(
            run,
            name=name,
            results=[run.results[0], replace(run.results[1], symptom=STALE), run.results[4]],
        )
        for run, name in zip(report.runs, ("one", "other"), strict=True)
    ]
    report = replace(report, runs=runs)
    cells = ["3/3", "2", "0", "1", "0", "0", "0"]
    text = [line.split() for line in lines_of(report)]
    page = re.findall(r"<strong>one</strong></th>(.*?)</tr>", written("html", report, tmp_path))
    beside = side_by_side(report)

    assert "4 passed, 2 known, 0 new" in "\n".join(lines_of(report))
    assert [line[1:] for line in text if line[:1] == ["all"]] == [cells, cells]
    assert f"| **one** | {' | '.join(cells)} |" in markdown.document_of(report)
    assert [re.findall(r">([^<]+)</td>", row) for row in page] == [cells]
    assert beside is not None
    assert [shares for _, shares in beside.parts] == [["2/3", "2/3"]]


@pytest.mark.parametrize("name", ["html", "markdown", "github", "quiet", "normal"])
def test_reports_warn_of_entries_that_expire(name: str, tmp_path: Path) -> None:
    """Those that expired and those that soon will, each with its cases and a day."""
    report = replace(
        report_of("x"),
        expired={"MW-1001": date(2027, 3, 2), "MW-1002": date(2027, 3, 1)},
        expiring={f"MW-{number}": date(2027, 3, number - 1093) for number in range(1100, 1106)},
    )
    if name in {"quiet", "normal"}:
        shown = "\n".join(lines_of(report, detail="quiet" if name == "quiet" else "normal"))
    else:
        shown = written(name, report, tmp_path)

    assert "expired in the ledger 2 (MW-1001, MW-1002) by 2027-03-02" in shown.replace("\\", "")
    assert "MW-1103, MW-1104, ...) from 2027-03-07" in shown.replace("\\", "")
    assert name != "github" or shown.count("::warning title=meshwire::") == 2


@pytest.mark.parametrize("name", ["html", "markdown", "github"])
def test_a_report_says_why_nothing_could_run(name: str, tmp_path: Path) -> None:
    """A target that cannot be started has a result for each case, and one reason."""
    (run,) = report_of("x").runs
    left = [replace(one, verdict=Verdict.COULD_NOT_RUN) for one in run.results]
    idle = replace(run, results=left, faults=("the target did not start",))
    report = replace(report_of("x"), runs=[idle], exit_code=ExitCode.INCOMPLETE)

    assert "the target did not start" in written(name, report, tmp_path)


def test_an_annotation_of_a_run_that_judged_nothing_begins_with_the_reason() -> None:
    """Counts of nothing say nothing."""
    idle = TargetRun("x", "", (), ("the ledger cannot be read",))
    report = replace(report_of("x"), runs=[idle], exit_code=ExitCode.FAULT)

    assert github.commands_of(report) == (
        "::error title=meshwire::the ledger cannot be read; nothing was judged\n"
    )


def test_markdown_has_counts_causes_and_commands() -> None:
    """And no line of a target begins a heading or a table."""
    text = markdown.document_of(report_of(HOSTILE, names=("one", "other")))
    plain = markdown.document_of(report_of("plain"))

    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "## meshwire: failed at level strict",
        "### Causes",
        "### Failures",
    ]
    assert "| **codec plain** | 4/6 | 1 | 1 | 1 | 1 | 1 | 1 |" in plain
    assert f"**{CASES[1].id}**" in plain
    assert "meshwire check 'plain' --only" in plain


def test_the_badge_is_svg_with_its_meaning_in_words() -> None:
    """Profile, level and counts; the digest of the suite is its description."""
    root = ET.fromstring(badge.badge_of(report_of(HOSTILE)))  # noqa: S314 - our own text
    green = badge.badge_of(replace(report_of("x"), runs=[], exit_code=ExitCode.PASSED))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]

    assert texts == ["meshwire sync/1 strict", "1/4, 1 failed, 1 known"]
    assert load_listing().digest in root.attrib["aria-label"]
    assert badge.COLOURS[ExitCode.PASSED] in green


def test_targets_are_shown_side_by_side() -> None:
    """Counts of each part, and the cases in which they differ alone."""
    report = report_of("x", names=("one", "other"))
    first, second = report.runs
    changed = [replace(second.results[0], verdict=Verdict.FAIL), *second.results[1:]]
    report = replace(report, runs=[first, replace(second, results=changed)])
    found = side_by_side(report)

    assert found is not None
    assert [case for case, _, _ in found.differing] == [CASES[0].id]
    assert any(CASES[0].id in line for line in table_lines(found))
    assert CASES[0].id in markdown.document_of(report).split("### Causes")[0]
    assert side_by_side(report_of("x")) is None


WRITES: dict[str, Callable[[Report, Path], None]] = {
    "html": html.write,
    "markdown": markdown.write,
    "github": github.write,
    "sarif": sarif.write,
    "badge": badge.write,
}


def test_a_case_is_shown_at_its_worst_beside_another_target() -> None:
    """In whatever order its variants ran."""
    report = report_of("x", names=("one", "other"))
    first, second = report.runs
    for order in (1, -1):
        ends = [replace(first.results[0], verdict=one) for one in (Verdict.PASS, Verdict.FAIL)]
        runs = [replace(first, results=ends[::order]), replace(second, results=ends[:1])]
        found = side_by_side(replace(report, runs=runs))

        assert found is not None
        assert [shown for _, _, shown in found.differing] == [["fail (x)", "pass (x)"]]


def test_a_target_that_lacks_a_case_does_not_differ_in_it() -> None:
    """What one target alone was asked is no difference."""
    report = report_of("x", names=("one", "other"))
    first, second = report.runs
    found = side_by_side(replace(report, runs=[first, replace(second, results=())]))

    assert found is not None
    assert found.differing == []


def said_by_a_target(text: str) -> Report:
    """A report in which the results and the name of the codec alone have this text."""
    run = replace(report_of(text).runs[0], name="codec", again="x", notes=(), contact=())
    return replace(report_of("x"), runs=[run])


def test_junit_repeats_no_megabyte_and_no_change_of_direction() -> None:
    """In its attributes neither; a viewer shows them as they are."""
    text = junit.document_of(said_by_a_target(HOSTILE))

    assert len(text) < SIZE_MAX
    assert "\u202e" not in text
    assert "\\u202e" in text


def test_no_line_on_the_terminal_is_a_megabyte() -> None:
    """Neither one of the report nor one that tells a failure at once."""
    report = said_by_a_target(HOSTILE)
    one = report.runs[0].results[1]
    line = failure_line(report.cases[one.case], one, painter(colour=False))

    assert max(map(len, [line, *lines_of(report)])) < 5000


def test_markup_of_a_target_has_no_meaning_in_markdown() -> None:
    """Each character that Markdown or GitHub reads follows a backslash."""
    marks = "\\`*_{}[]<>#|~!&@:"

    assert markdown.plain(marks) == "".join(f"\\{mark}" for mark in marks)
    assert markdown.plain("@team") == "\\@team"


def test_a_title_of_an_annotation_has_no_separator() -> None:
    """A comma would begin another property, a colon end them."""
    line = github.commands_of(report_of("a, file=b::c")).splitlines()[0]
    title = line.removeprefix("::error title=").split("::")[0]

    assert "a%2C file=b%3A%3Ac" in title
    assert "," not in title


def test_a_run_that_judged_nothing_is_shown_as_incomplete() -> None:
    """In SARIF as not successful, on the badge in words."""
    (run,) = report_of("x").runs
    idle = replace(run, faults=("no peer",))
    report = replace(report_of("x"), runs=[idle], exit_code=ExitCode.INCOMPLETE)
    (logged,) = sarif.log_of(report)["runs"]

    assert ">incomplete 1/4" in badge.badge_of(report)
    assert logged["invocations"][0]["executionSuccessful"] is False
    assert sarif.log_of(report_of("x"))["runs"][0]["invocations"][0]["executionSuccessful"] is True


def test_sarif_has_no_result_for_a_case_that_the_run_did_not_reach() -> None:
    """A target that does not start is reported once, and so is a run that has ended early."""
    (run,) = report_of("x").runs
    left = [replace(one, verdict=Verdict.COULD_NOT_RUN, symptom="") for one in run.results]
    idle = replace(run, results=[replace(one, reasons=("gone",)) for one in left], faults=("gone",))
    ended = replace(run, results=[replace(one, symptom=ENDED) for one in left])
    waiting = replace(run, results=left)

    for one, count in ((idle, 0), (ended, 0), (waiting, len(left))):
        (logged,) = sarif.log_of(replace(report_of("x"), runs=[one]))["runs"]
        assert len(logged["results"]) == count
    (logged,) = sarif.log_of(replace(report_of("x"), runs=[idle]))["runs"]
    (told,) = logged["invocations"][0]["toolExecutionNotifications"]
    assert told["message"]["text"] == "gone"


def test_every_format_is_a_row() -> None:
    """A module that is no row is no format."""
    assert set(WRITES) | {"junit", "json"} == set(WRITERS)
