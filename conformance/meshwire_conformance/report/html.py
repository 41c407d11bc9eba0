"""The report as one HTML file, which loads nothing: no style, script or image of another place.

Every text of a target is escaped and without control characters, and the policy of the page allows
only its own style and script, by their hashes. Verdicts are words, so no meaning is in a colour
alone. Everything works without the script, which only filters and copies.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from meshwire_conformance.catalogue.case import Case
from meshwire_conformance.report.causes import groups_of
from meshwire_conformance.report.record import Report, Tally, TargetRun, tallies
from meshwire_conformance.report.saving import harmless, save
from meshwire_conformance.report.side_by_side import side_by_side
from meshwire_conformance.report.text import COLUMNS, HEADINGS
from meshwire_conformance.verdicts import CaseResult, ExitCode, Verdict

STYLE = """
:root{color-scheme:light dark;--ink:#1f2328;--paper:#fff;--faint:#57606a;--line:#d0d7de;
--soft:#f6f8fa;--good:#116329;--bad:#a40e26;--warn:#7d4e00;--link:#0550ae}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--faint:#9aa4af;
--line:#3d444d;--soft:#161b22;--good:#56d364;--bad:#ff8f87;--warn:#e3b341;--link:#79c0ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1rem;color:var(--ink);background:var(--paper);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem}
a{color:var(--link)}:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{border:1px solid var(--line);padding:.2rem .5rem;text-align:left;vertical-align:top}
td.n{text-align:right}thead th{min-width:4.6rem;background:var(--soft)}
.name{overflow-wrap:anywhere}
tbody th{font-weight:400;min-width:9rem}
h1,h2,h3,li,p,strong{overflow-wrap:anywhere}
.pass{color:var(--good)}.fail{color:var(--bad);font-weight:600}
.could-not-run,.known-failing{color:var(--warn)}.not-applicable,.informational{color:var(--faint)}
pre,code{font:13px/1.45 ui-monospace,monospace}
pre{background:var(--soft);border:1px solid var(--line);padding:.6rem;overflow-x:auto;
margin:.3rem 0}
details{border:1px solid var(--line);border-radius:4px;margin:.4rem 0;padding:.3rem .6rem}
summary{cursor:pointer;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:minmax(6rem,max-content) 1fr;gap:.2rem .8rem;margin:.5rem 0}
dt{color:var(--faint)}dd{margin:0;min-width:0;overflow-wrap:anywhere}
.faint,.at{color:var(--faint)}.at{font-variant-numeric:tabular-nums}
.timeline{padding-left:2rem}.timeline>li{margin:.2rem 0}.timeline details{margin:0}
button{font:inherit;padding:.1rem .6rem}input{font:inherit;padding:.2rem .4rem;max-width:100%}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem}
.rules{display:flex;flex-wrap:wrap;gap:.25rem}
.rules span,.rules a{border:1px solid var(--line);padding:0 .35rem;font-size:.85rem;
text-decoration:none}
@media (max-width:40rem){dl{grid-template-columns:1fr}body{padding:.6rem}}
"""
SCRIPT = """
"use strict";
const filter = document.getElementById("filter");
const count = document.getElementById("count");
const rows = [...document.querySelectorAll("[data-text]")];
function show() {
  const words = filter.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const fits = words.every((word) => row.dataset.text.includes(word));
    row.hidden = !fits;
    shown += fits;
  }
  count.textContent = shown + " of " + rows.length + " cases shown";
}
filter.addEventListener("input", show);
document.getElementById("filtering").hidden = false;
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(document.getElementById(button.dataset.copy));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected: copy it";
    }
  });
}
function open() {
  const found = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (found instanceof HTMLDetailsElement) found.open = true;
}
addEventListener("hashchange", open);
open();
"""
WORST: Sequence[Verdict] = (
    Verdict.FAIL,
    Verdict.COULD_NOT_RUN,
    Verdict.KNOWN_FAILING,
    Verdict.PASS,
    Verdict.INFORMATIONAL,
    Verdict.NOT_APPLICABLE,
)
"""Verdicts in the order in which one counts for a rule with several cases."""
OPENED = frozenset({Verdict.FAIL, Verdict.COULD_NOT_RUN, Verdict.KNOWN_FAILING})
"""Verdicts of cases that have a page of their own; the others have a row."""
CAUSES_MAX = 20


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _text(text: str) -> str:
    """Return a text of anyone as the content of an element or attribute."""
    return escape(harmless(text), quote=True)


def document_of(report: Report) -> str:
    """Return the report as an HTML document."""
    return "\n".join(_document(report)) + "\n"


def _document(report: Report) -> Iterator[str]:
    policy = f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}"
    title = f"meshwire: {_end(report)} at level {report.level}"
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>"
    yield '<a class="skip" href="#cases">Skip to the cases</a>'
    yield f"<header><h1>{_text(title)}</h1>"
    yield from _facts(report)
    yield "</header>\n<main>"
    yield from _summary(report)
    yield from _columns(report)
    yield from _causes(report)
    yield from _rules(report)
    yield from _cases(report)
    yield f"</main>\n<script>{SCRIPT}</script>\n</body>\n</html>"


def _end(report: Report) -> str:
    names = {ExitCode.PASSED: "passed", ExitCode.VIOLATIONS: "failed"}
    return names.get(report.exit_code, "incomplete")


def _facts(report: Report) -> Iterator[str]:
    facts = {
        "verdict": f"{report.meaning} (exit {int(report.exit_code)})",
        "target": report.target,
        "suite": f"{report.suite_version}, {report.spec_revision}, {report.suite_digest}",
        "cases": report.selection_digest if report.selection_digest != report.suite_digest else "",
        "seed": str(report.seed),
        "took": f"{report.duration_s:.1f} s",
        "ledger": report.ledger,
        "counts": report.closing.text,
        "pass now": ", ".join(report.stale),
        "remove them": report.prune_command if report.stale else "",
        "days": "; ".join(report.expiry_notes),
        "why": report.hindrance,
    }
    yield "<dl>"
    for name, value in facts.items():
        if value:
            yield f"<dt>{name}</dt><dd>{_text(value)}</dd>"
    yield "</dl>"


def _summary(report: Report) -> Iterator[str]:
    yield '<h2>Summary</h2>\n<div class="scroll" tabindex="0" role="region" aria-label="Summary">'
    heads = "".join(f'<th scope="col">{name}</th>' for name in HEADINGS)
    yield f'<table><thead><tr><th scope="col">part</th><th scope="col">applicable</th>{heads}</tr>'
    yield "</thead><tbody>"
    for run in report.runs:
        everything = Tally()
        for result in run.results:
            everything.add(result)
        yield _row(f"<strong>{_text(run.name)}</strong>", everything)
        for part, tally in tallies(run, report.cases).items():
            if tally.applicable:
                yield _row(_text(part), tally)
    yield "</tbody></table></div>"


def _row(name: str, tally: Tally) -> str:
    cells = "".join(f'<td class="n">{tally.shown(verdict)}</td>' for verdict in COLUMNS)
    share = f"{tally.applicable}/{tally.total}"
    return f'<tr><th scope="row">{name}</th><td class="n">{share}</td>{cells}</tr>'


def _columns(report: Report) -> Iterator[str]:
    found = side_by_side(report)
    if found is None:
        return
    label = "Side by side"
    yield f'<h2>{label}</h2><div class="scroll" tabindex="0" role="region" aria-label="{label}">'
    heads = "".join(f'<th scope="col" class="name">{_text(name)}</th>' for name in found.names)
    yield f'<table><thead><tr><th scope="col">passed of applicable</th>{heads}</tr></thead><tbody>'
    for part, shares in found.parts:
        cells = "".join(f'<td class="n">{share}</td>' for share in shares)
        yield f'<tr><th scope="row">{_text(part)}</th>{cells}</tr>'
    for case, title, ends in found.differing:
        cells = "".join(f"<td>{_text(end)}</td>" for end in ends)
        yield f'<tr><th scope="row">{case} {_text(title)}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _causes(report: Report) -> Iterator[str]:
    groups = groups_of(report)
    if not groups:
        return
    yield "<h2>Causes</h2><ol>"
    for group in groups[:CAUSES_MAX]:
        run, case, _ = group.failures[0]
        place = _anchor(report, run, case)
        yield (
            f"<li>{len(group.failures)} failed: {_text(group.says)}; "
            f'start with <a href="#{place}">{case.id}</a></li>'
        )
    yield "</ol>"


def _anchor(report: Report, run: TargetRun, case: Case) -> str:
    return f"run-{list(report.runs).index(run)}-{case.id}"


def _rules(report: Report) -> Iterator[str]:
    """Yield every rule with its worst verdict, those in order that have no case left out."""
    worst: dict[str, tuple[int, str]] = {}
    for number, run in enumerate(report.runs):
        for result in run.results:
            for rule in report.cases[result.case].rules:
                rank = WORST.index(result.verdict)
                found = (rank, f"run-{number}-{result.case}")
                worst[rule] = min(worst.get(rule, found), found)
    yield "<h2>Rules</h2><p>Each rule with the worst verdict of its cases.</p>"
    for verdict in WORST:
        rank = WORST.index(verdict)
        rules = {rule: place for rule, (at, place) in sorted(worst.items()) if at == rank}
        if rules:
            yield f'<h3 class="{verdict.value}">{verdict.value}: {len(rules)} rules</h3>'
            yield '<p class="rules">'
            yield from (_rule(report, rule, place, verdict) for rule, place in rules.items())
            yield "</p>"


def _rule(report: Report, rule: str, place: str, verdict: Verdict) -> str:
    says = _text(report.rules.get(rule, ""))
    if verdict in OPENED:
        return f'<a href="#{place}" title="{says}">{rule}</a>'
    return f'<span title="{says}">{rule}</span>'


def _cases(report: Report) -> Iterator[str]:
    yield '<h2 id="cases">Cases</h2><p id="filtering" hidden><label>Filter '
    yield '<input id="filter" type="search" placeholder="id, rule, verdict, word"></label> '
    yield '<span id="count" role="status"></span></p>'
    for number, run in enumerate(report.runs):
        yield f"<h3>{_text(run.name)}</h3>"
        if run.contact:
            lines = "\n".join(_text(line) for line in run.contact)
            yield f"<details><summary>first contact</summary><pre>{lines}</pre></details>"
        opened = [result for result in run.results if result.verdict in OPENED]
        for result in sorted(opened, key=lambda one: (WORST.index(one.verdict), one.case)):
            yield from _page(report, run, result, f"run-{number}-{result.case}")
        yield from _others(report, [one for one in run.results if one.verdict not in OPENED])


def _words(case: Case, result: CaseResult) -> str:
    words = (case.id, *case.rules, case.kind, case.part, case.title, result.verdict.value)
    return _text(" ".join((*words, result.symptom)).lower())


def _page(report: Report, run: TargetRun, result: CaseResult, place: str) -> Iterator[str]:
    """Yield a case with everything known of it: rules, bytes, and how it went, in order."""
    case = report.cases[result.case]
    variant = f"-{result.variant}" if result.variant else ""
    again = f"{place}{variant}-again"
    yield f'<details id="{place}" data-text="{_words(case, result)}">'
    word = result.verdict.value
    symptom = f": {_text(result.symptom)}" if result.symptom else ""
    yield (
        f'<summary><span class="{word}">{word}</span> {case.id} {_text(case.title)}{symptom}'
        "</summary>"
    )
    yield "<dl>"
    for line in report.rule_lines(case):
        rule, _, text = line.partition("  ")
        yield f"<dt>{rule}</dt><dd>{_text(text)}</dd>"
    facts: Mapping[str, Sequence[str]] = {
        "why": result.reasons,
        "cause": (result.cause,) if result.cause else (),
        "hunts": (case.hunts,) if case.hunts else (),
        "harm": (case.harm,) if case.harm else (),
        "under": (result.circumstances,) if result.circumstances else (),
        "dialect": (result.variant,) if result.variant else (),
        "rounds": (result.rates,) if result.rates else (),
    }
    for name, lines in facts.items():
        if lines:
            yield f"<dt>{name}</dt><dd>{'<br>'.join(_text(line) for line in lines)}</dd>"
    yield "</dl>"
    yield from _timeline(result)
    for name in ("sent", "expected", "received", "notes"):
        yield from _block(name, getattr(result, name))
    command = _text(report.again(run, case))
    yield f'<pre id="{again}">{command}</pre>'
    yield f'<button type="button" data-copy="{again}" hidden>Copy the command</button></details>'


def _timeline(result: CaseResult) -> Iterator[str]:
    """Yield what was sent and received in order; the way of each is a word, its bytes unfold."""
    if not result.timeline:
        return
    yield '<h4>timeline</h4><p class="faint">Seconds since the case began, for information.</p>'
    yield '<ol class="timeline">'
    for moment in result.timeline:
        head = (
            f'<span class="at">{moment.at_s:.3f} s</span> <strong>{_text(moment.way)}</strong> '
            f"{_text(moment.line)}"
        )
        if moment.rows:
            rows = "\n".join(_text(row) for row in moment.rows)
            yield f"<li><details><summary>{head}</summary><pre>{rows}</pre></details></li>"
        else:
            yield f"<li>{head}</li>"
    yield "</ol>"


def _block(name: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        text = "\n".join(_text(line) for line in lines)
        yield f"<h4>{name}</h4><pre>{text}</pre>"


def _others(report: Report, results: Sequence[CaseResult]) -> Iterator[str]:
    if not results:
        return
    yield f"<details><summary>{len(results)} other cases</summary>"
    yield '<div class="scroll"><table><thead><tr><th scope="col">verdict</th>'
    yield '<th scope="col">case</th><th scope="col">rules</th><th scope="col">title</th>'
    yield '<th scope="col">time</th></tr></thead><tbody>'
    for result in results:
        case = report.cases[result.case]
        word = result.verdict.value
        yield (
            f'<tr data-text="{_words(case, result)}"><td class="{word}">{word}</td>'
            f"<td>{case.id}</td><td>{', '.join(case.rules)}</td><td>{_text(case.title)}</td>"
            f'<td class="n">{result.duration_s:.3f} s</td></tr>'
        )
    yield "</tbody></table></div></details>"


def write(report: Report, path: Path) -> None:
    """Write the document; raises UsageError if that fails."""
    save(document_of(report), path)
