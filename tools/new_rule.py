"""Add a rule to its page, and say what has to follow until everything is green.

For example, in one line:

    python tools/new_rule.py FR --level strict --seen codec,socket --kinds stream_frame
        --reason bad-key "A receiver MUST refuse a key that begins with a slash."

The next free id of the page is taken and the sentence is put behind the last rule, or behind the
one that --after names. Then the stubs are printed that the rule needs: a vector, a transcript, the
comment above the code. None of them is written, so `tools/trace.py --check` and
`tools/check_citations.py` are red until each is there. Exit status 2 for a sentence that is none.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sync_spec
from pages import RULE, SPEC, PageRule, all_rules, page_problems, parse_rules

ROOT = SPEC.parent
WAYS = ("codec", "socket", "harness")
TODO = "TODO"


class BadRule(Exception):
    """The rule cannot be added to a page; the text says why."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A new rule: its sentence and what shows it."""

    prefix: str
    level: str
    sentence: str
    seen: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    reason: str = ""

    def line(self, rule_id: str) -> str:
        """Return the line of the page."""
        members = [f"seen: {', '.join(self.seen)}"]
        members += [f"kinds: {', '.join(self.kinds)}"] if self.kinds else []
        members += [f"reason: {self.reason}"] if self.reason else []
        mark = "; ".join(members)
        return f"**{rule_id}**{{#{rule_id}}} ({self.level}) {self.sentence} <!-- {mark} -->"


def next_id(prefix: str, rules: Sequence[PageRule]) -> str:
    """Return the first id above all ids ever assigned; raises BadRule for an unknown prefix."""
    numbers = [int(rule.id[3:]) for rule in rules if rule.id.startswith(f"{prefix}-")]
    if not numbers:
        known = ", ".join(sorted({rule.id[:2] for rule in rules}))
        raise BadRule(f"no page has rules {prefix}-...: choose one of {known}")
    return f"{prefix}-{max(numbers) + 1:03}"


def insert(text: str, after: str, line: str) -> str:
    """Return the page with `line` after the rule `after` and the note below that rule."""
    lines = text.splitlines()
    place = next(
        number for number, old in enumerate(lines) if (m := RULE.match(old)) and m["id"] == after
    )
    end = place + 1
    for number in range(place + 1, len(lines)):
        if lines[number].startswith(">"):
            end = number + 1
        elif lines[number]:
            break
    return "\n".join([*lines[:end], "", line, *lines[end:]]) + "\n"


def add(folder: Path, draft: Draft, after: str | None) -> PageRule:
    """Write the rule into its page and return it; raises BadRule, and then nothing is written."""
    rules = all_rules(folder)
    rule_id = next_id(draft.prefix, rules)
    own = [rule for rule in rules if rule.id.startswith(f"{draft.prefix}-")]
    before = next((rule for rule in own if rule.id == after), None) if after else own[-1]
    if before is None:
        raise BadRule(f"no rule {after} of {draft.prefix}")
    line = draft.line(rule_id)
    problems = page_problems(before.page, line)
    if problems or not parse_rules(before.page, line):
        raise BadRule("; ".join(problem.text for problem in problems) or "not one line of text")
    path = folder / before.page
    path.write_text(insert(path.read_text(), before.id, line))
    return parse_rules(before.page, line)[0]


def free_case_id(vectors: Path, part: str) -> str:
    """Return an unused id after those of the transcripts of a part."""
    given = set(json.loads((vectors / "ids.json").read_text()))
    own = [
        int(transcript["id"][3:])
        for path in (vectors / part).glob("*.transcript.json")
        for transcript in json.loads(path.read_text())["transcripts"]
    ]
    number = max(own, default=5000) + 1
    while f"MW-{number:04}" in given:
        number += 1
    return f"MW-{number:04}"


def part_of(rule: PageRule) -> str:
    """Return the folder of vectors of the page of a rule."""
    return re.sub(r"^\d+-(.*)\.md$", r"\1", rule.page)


def vector_stub(rule: PageRule, kind: str) -> dict[str, Any]:
    """Return a vector to fill in; it has no id, which tools/make_vectors.py gives."""
    stub: dict[str, Any] = {
        "kind": kind,
        "title": TODO,
        "rules": [rule.id],
        "field": TODO,
        "fault": TODO if rule.reason else "",
        "hex": TODO,
    }
    if not rule.reason:
        return {**stub, "value": TODO, "result": dict.fromkeys(("wire", "strict"), "valid")}
    wire = "reject" if rule.level == "wire" else "any"
    return {
        **stub,
        "result": {"wire": wire, "strict": "reject"},
        "reasons": [rule.reason],
        "hunts": TODO,
        "harm": TODO,
        "control": "MW-TODO",
        "source": "hand",
    }


def transcript_stub(rule: PageRule, case_id: str) -> dict[str, Any]:
    """Return a transcript to fill in."""
    last = {"refused": rule.reason} if rule.reason else {"barrier": True}
    return {
        "id": case_id,
        "title": TODO,
        "rules": [rule.id],
        "level": rule.level,
        **({"control": "MW-TODO"} if rule.reason else {}),
        "let": {"key": "notes:$case"},
        "steps": [{"send": TODO}, last],
    }


def left_to_do(rule: PageRule, vectors: Path) -> Iterator[str]:
    """Yield the remaining steps, one paragraph per place."""
    part = part_of(rule)
    kinds = rule.kinds or (TODO,)
    if "codec" in rule.seen:
        for kind in kinds:
            stub = json.dumps(vector_stub(rule, kind), indent=1)
            yield (
                f"A vector, and the positive that is its control, in vectors/{part}/{kind}.json:\n"
                f"{stub}\nThen: python tools/make_vectors.py"
            )
    if "socket" in rule.seen:
        stub = json.dumps(transcript_stub(rule, free_case_id(vectors, part)), indent=1)
        yield (
            f"A transcript in a file vectors/{part}/NAME.transcript.json:\n{stub}\n"
            "Then: python tools/make_vectors.py; python tools/format_transcripts.py"
        )
    if "harness" in rule.seen:
        yield "A case in conformance/meshwire_conformance/cases/adapter.py that names the rule."
    yield (
        f"The code, with `# {rule.id}` above the line that implements the rule, in\n"
        "spec/meshwire_spec/layouts/ (bytes) and reference/meshwire_reference/."
    )
    yield (
        "A row in conformance/mutants/rows/ that breaks this line and names the new case, which\n"
        "shows that the case can fail: see conformance/mutants/README.md."
    )
    yield "A line in CHANGELOG.md, and a **Deployed** note where deployed peers do otherwise."


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prefix", help="the two letters of the page, as in FR-004")
    parser.add_argument("sentence", help="one sentence with one MUST, SHOULD or MAY")
    parser.add_argument("--level", choices=("wire", "strict"), required=True)
    parser.add_argument("--seen", default="socket", help=f"what shows it: {', '.join(WAYS)}")
    parser.add_argument("--kinds", default="", help="kinds of message it speaks of")
    parser.add_argument("--reason", default="", help="reason for which it refuses them")
    parser.add_argument("--after", help="id of the rule to put it behind (default: the last)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    options = _parser().parse_args(arguments)
    draft = Draft(
        options.prefix,
        options.level,
        options.sentence,
        _listed(options.seen),
        _listed(options.kinds),
        options.reason,
    )
    try:
        rule = add(SPEC, draft, options.after)
    except BadRule as bad:
        print(f"new_rule: {bad}", file=sys.stderr)
        return 2
    status = sync_spec.main([])
    print(f"{rule.id} is on spec/{rule.page}. What has to follow:\n")
    for number, paragraph in enumerate(left_to_do(rule, ROOT / "vectors"), 1):
        print(f"{number}. {paragraph}\n")
    print("Red until then: python tools/trace.py --check; python tools/check_citations.py")
    return status


if __name__ == "__main__":
    sys.exit(main())
