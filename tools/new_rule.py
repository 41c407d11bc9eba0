"""Add a rule to its page, and print the steps that must follow.

For example, in one line:

    python tools/new_rule.py TS --level strict --seen codec,socket --kinds tombstone
        --reason bad-key "A receiver MUST refuse a tombstone whose collection is `tombstones`
        with `bad-key`."

The next free id of the page is taken and the sentence is put after the last rule, after the one
that --after names, or into the section that --under names. Then the stubs are printed that the rule
needs: a vector, a transcript, the comment above the code. None of them is written, so
`tools/trace.py --check` and `tools/check_citations.py` are red until each is there. A vector or
transcript with TODO in it does not count. Exit status 2 for a sentence that is no rule, and for an
unknown kind or reason.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sync_spec
from pages import RULE, SPEC, PageRule, all_rules, page_problems, parse_rules
from vector_files import TODO, read_json

ROOT = SPEC.parent
WAYS = ("codec", "socket", "harness")
SNAPSHOT = {"type": "snapshot", "document": "base"}
BASE = {"actor": "0a0b0c0d", "fields": {"name": "alpha"}}
# Kind -> the frame that brings it, on a stream that the step opens.
FRAMES: Mapping[str, Mapping[str, Any]] = {
    "stream_frame": SNAPSHOT,
    "sync_entry": {"type": "batch", "entries": [SNAPSHOT]},
    "sync_batch": {"type": "batch", "entries": [SNAPSHOT]},
    "tombstone": {"type": "tombstone"},
    "tombstone_batch": {"type": "tombstone_batch", "tombstones": [{"type": "tombstone"}]},
}


class BadRule(Exception):
    """The rule cannot be added to a page; the text has the cause."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A new rule: its sentence and the ways to show it."""

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
    """Return the page with `line` after a rule and its note, or below the heading `#ANCHOR`."""
    lines = text.splitlines()
    ids = [m["id"] if (m := RULE.match(old)) else "" for old in lines]
    place = heading(lines, after[1:]) if after.startswith("#") else ids.index(after)
    end = place + 1
    for number in range(place + 1, len(lines)):
        if lines[number].startswith(">"):
            end = number + 1
        elif lines[number]:
            break
    return "\n".join([*lines[:end], "", line, *lines[end:]]) + "\n"


def heading(lines: Sequence[str], anchor: str) -> int:
    """Return the line of a heading by its anchor; raises BadRule if the page has none."""
    for number, line in enumerate(lines):
        if line.startswith("#") and line.endswith(f"{{#{anchor}}}"):
            return number
    raise BadRule(f"the page has no heading {{#{anchor}}}")


def last_under(text: str, anchor: str) -> str:
    """Return the place of a new rule in a section: its last rule, or `#ANCHOR`."""
    lines = text.splitlines()
    last = f"#{anchor}"
    for line in lines[heading(lines, anchor) + 1 :]:
        if re.match(r"#+ .*\{#", line):
            break
        if found := RULE.match(line):
            last = found["id"]
    return last


def add(folder: Path, draft: Draft, after: str | None = None, under: str = "") -> PageRule:
    """Write the rule into its page and return it; raises BadRule, and then nothing is written.

    It follows the rule `after`, else the last rule of the section `under`, else of the
    page.
    """
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
    place = last_under(path.read_text(), under) if under and not after else before.id
    path.write_text(insert(path.read_text(), place, line))
    return parse_rules(before.page, line)[0]


def free_case_id(vectors: Path, part: str) -> str:
    """Return an unused id after those of the transcripts of a part."""
    given = set(read_json(vectors / "ids.json"))
    own = [
        int(transcript["id"][3:])
        for path in (vectors / part).glob("*.transcript.json")
        for transcript in read_json(path)["transcripts"]
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
        valid = dict.fromkeys(("wire", "strict"), "valid")
        return {**stub, "value": {TODO: TODO}, "result": valid, "source": "hand"}
    wire = "reject" if rule.level == "wire" else "any"
    return {
        **stub,
        "at": TODO,
        "result": {"wire": wire, "strict": "reject"},
        "reasons": [rule.reason],
        "hunts": TODO,
        "harm": TODO,
        "control": "MW-TODO",
        "source": "hand",
    }


def first_steps(kind: str) -> list[dict[str, Any]]:
    """Return the steps that send a message of a kind on a stream as its kind has it."""
    steps: list[dict[str, Any]]
    if kind == "heartbeat":
        steps = [{"open": "uni", "stream": "s"}, {"send": {"type": "heartbeat"}, "stream": "s"}]
    elif kind.startswith("formation_"):
        fresh = {"connect": "X", "options": {"handshake": False}}
        steps = [fresh, {"open": "bidi", "stream": "s", "on": "X"}]
        steps += [{"raw": [TODO], "stream": "s", "on": "X"}]
    elif frame := FRAMES.get(kind):
        steps = [{"send": dict(frame)}]
    else:
        steps = [{"open": "bidi", "stream": "s"}, {"raw": [TODO], "stream": "s"}]
    return steps


def transcript_stub(rule: PageRule, case_id: str) -> dict[str, Any]:
    """Return a transcript to fill in, in the form that transcripts have."""
    steps = first_steps(rule.kinds[0] if rule.kinds else "stream_frame")
    last: dict[str, Any] = {"refused": rule.reason} if rule.reason else {"barrier": True}
    last |= {name: steps[-1][name] for name in ("stream", "on") if name in steps[-1]}
    # Where a heartbeat is right, nothing ends its stream.
    if rule.kinds[:1] == ("heartbeat",) and not rule.reason:
        last = {"unfinished": True, "stream": "s"}
    return {
        "id": case_id,
        "title": TODO,
        "rules": [rule.id],
        "level": rule.level,
        **({"control": "MW-TODO"} if rule.reason else {}),
        "let": {"key": "notes:$case"},
        "documents": {"base": BASE},
        "steps": [*steps, last],
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
            "A message that the suite would refuse to send has `wrong` true in `send`.\n"
            "Then: python tools/make_vectors.py; python tools/format_transcripts.py"
        )
    if "harness" in rule.seen:
        yield "A case in conformance/meshwire_conformance/cases/adapter.py that names the rule."
    yield f"The code, with `# {rule.id}` above the line that implements the rule:\n{homes(rule)}"
    if rule.reason:
        yield (
            "A pattern for the rule in tools/vector_rules.py, where another rule refuses the same\n"
            "kind for the same reason: it says which derived vectors show which of them."
        )
    sorts = [sort for sort in ("codec", "socket") if sort in rule.seen]
    if sorts:
        yield (
            "A mutant that breaks this line, a row in conformance/mutants/rows/ for the cases of\n"
            f"each sort ({', '.join(sorts)}; no row names both): conformance/mutants/README.md."
        )
    yield "A test of the reference, where the rule has more to it than its cases show."
    yield (
        "On the page, what the table of `accept` or the prose says of the field; a **Deployed**\n"
        "note where deployed peers do otherwise; a line in CHANGELOG.md."
    )


def homes(rule: PageRule) -> str:
    """Return where a rule of this level is implemented."""
    if "codec" not in rule.seen:
        return "reference/meshwire_reference/core/ or transport/."
    if rule.level == "strict":
        return (
            "reference/meshwire_reference/wire/accept.py, since it refuses what decodes; the same\n"
            "without the comment in spec/meshwire_spec/acceptance.py."
        )
    return (
        "reference/meshwire_reference/wire/, as the layout in spec/meshwire_spec/layouts/ has it."
    )


def prefixes(rules: Sequence[PageRule]) -> str:
    """Return a line for each page that has rules: the two letters of their ids, and the page."""
    pages = {rule.id[:2]: rule.page for rule in rules}
    return "\n".join(f"  {letters}  spec/{page}" for letters, page in pages.items())


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    found = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"prefixes:\n{prefixes(all_rules())}",
    )
    found.add_argument("prefix", help="the two letters of the page, listed below")
    found.add_argument("sentence", help="one sentence with one MUST, SHOULD or MAY")
    found.add_argument("--level", choices=("wire", "strict"), required=True)
    found.add_argument("--seen", default="socket", help=f"what shows it: {', '.join(WAYS)}")
    found.add_argument("--kinds", default="", help="kinds of message that the rule is about")
    found.add_argument("--reason", default="", help="reason for which it refuses them")
    found.add_argument("--under", default="", help="anchor of the section to put it in")
    found.add_argument("--after", help="id of the rule to put it after (default: the last)")
    return found


def draft_of(options: argparse.Namespace) -> Draft:
    """Return the rule of parsed options."""
    return Draft(
        options.prefix,
        options.level,
        options.sentence,
        _listed(options.seen),
        _listed(options.kinds),
        options.reason,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; returns the exit status."""
    options = parser().parse_args(arguments)
    draft = draft_of(options)
    try:
        rule = add(SPEC, draft, options.after, options.under)
    except BadRule as bad:
        print(f"new_rule: {bad}", file=sys.stderr)
        return 2
    status = sync_spec.main([])
    print(f"{rule.id} is on spec/{rule.page}. What has to follow:\n")
    for number, paragraph in enumerate(left_to_do(rule, ROOT / "vectors"), 1):
        print(f"{number}. {paragraph}\n")
    print("Red until then: python tools/trace.py --check; python tools/check_citations.py")
    print("To undo, where nothing else in spec is changed: git checkout spec")
    return status


if __name__ == "__main__":
    sys.exit(main())
