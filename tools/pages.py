"""The pages as text: rules, anchors and generated regions, and whether the prose keeps form."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from meshwire_spec.numbers import KINDS, REASONS

SPEC = Path(__file__).resolve().parents[1] / "spec"
LEVELS = ("wire", "strict", "withdrawn")
WAYS = ("codec", "socket", "harness", "every")
# A rule may be about any message kind, whole reconciliations, and operations.
RULE_KINDS = frozenset(
    (
        *KINDS,
        "negentropy_run",
        "oplog_text",
        "oplog_signature",
        "oplog_history",
        "oplog_join",
        "oplog_canonical",
        "certificate_check",
    )
)

ANCHOR = re.compile(r"\{#([A-Za-z0-9_-]+)\}")
RULE = re.compile(
    r"^\*\*(?P<id>[A-Z]{2}-\d{3})\*\*\{#(?P<anchor>[^}]*)\} \((?P<level>[a-z]+)\) "
    r"(?P<text>.*?)(?: <!-- (?P<mark>.*?) -->)?$"
)
LOOKS_LIKE_RULE = re.compile(r"^\*\*[A-Z]{2}-\d+")
KEYWORD = re.compile(r"\b(?:MUST|SHOULD|MAY|SHALL|REQUIRED|RECOMMENDED|OPTIONAL)\b")
RULE_WORDS_MAX = 40
# The sentence that defines the keywords.
BOILERPLATE = "are to be interpreted as described in BCP 14"
LINK = re.compile(r"\]\((?P<page>[a-z0-9-]+\.md)?(?:#(?P<anchor>[^)]+))?\)")
DEFECT = re.compile(r"93-deployed\.md#(D-\d+)")
SECOND_SENTENCE = re.compile(r"(?<![0-9A-Z.])[.!?] +[A-Z`]")
BEGIN = re.compile(r"^<!-- (?P<name>[a-z]+)(?:: (?P<arguments>[A-Za-z0-9_ -]+))? -->$")
END = "<!-- end -->"
NOTE = "> **Deployed.** "


@dataclass(frozen=True, slots=True)
class PageRule:
    """One rule of a page; `deployed` is the note below it, as plain text."""

    id: str
    page: str
    anchor: str
    level: str
    text: str
    deployed: str
    defects: tuple[str, ...]
    seen: tuple[str, ...]
    excluded: str
    kinds: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of form on a page, with its line."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def page_paths(folder: Path = SPEC) -> list[Path]:
    """Return the pages in order."""
    return sorted(folder.glob("*.md"))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _members(mark: str) -> dict[str, str]:
    name, _, rest = mark.partition(":")
    if name == "excluded":
        return {"excluded": rest.strip()}
    pairs = (item.partition(":") for item in mark.split(";"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def plain(text: str) -> str:
    """Return the text without the targets of its links, as a failure report prints it."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def _note_below(lines: list[str], index: int) -> list[str]:
    note = []
    for line in lines[index + 1 :]:
        if line.startswith(">"):
            note.append(line)
        elif line or note:
            break
    return note


def parse_rules(name: str, text: str) -> list[PageRule]:
    """Return the rules of one page, in order.

    Lines that only look like rules are reported by `page_problems`.
    """
    lines = text.splitlines()
    rules = []
    for index, line in enumerate(lines):
        match = RULE.match(line)
        if match is None:
            continue
        members = _members(match["mark"] or "")
        note = " ".join(part.lstrip("> ") for part in _note_below(lines, index))
        rules.append(
            PageRule(
                match["id"],
                name,
                match["anchor"],
                match["level"],
                plain(match["text"]),
                plain(note.removeprefix(NOTE.lstrip("> "))),
                tuple(dict.fromkeys(DEFECT.findall(note))),
                _listed(members.get("seen", "")),
                members.get("excluded", ""),
                _listed(members.get("kinds", "")),
                members.get("reason", ""),
            )
        )
    return rules


def all_rules(folder: Path = SPEC) -> list[PageRule]:
    """Return every rule of every page, in page order."""
    return [
        rule for path in page_paths(folder) for rule in parse_rules(path.name, path.read_text())
    ]


def _rule_problems(rule: PageRule) -> list[str]:
    found = []
    if rule.anchor != rule.id:
        found.append(f"{rule.id} has the anchor {rule.anchor!r}")
    if rule.level not in LEVELS:
        found.append(f"{rule.id} has the level {rule.level!r}")
    if rule.level != "withdrawn" and len(KEYWORD.findall(rule.text)) != 1:
        found.append(f"{rule.id} has not exactly one MUST, SHOULD or MAY")
    if rule.level != "withdrawn" and bool(rule.seen) == bool(rule.excluded):
        found.append(f"{rule.id} says neither or both of where it is seen and why it is excluded")
    found += [f"{rule.id} is seen by {way!r}" for way in rule.seen if way not in WAYS]
    found += [f"{rule.id} names no kind: {kind!r}" for kind in rule.kinds if kind not in RULE_KINDS]
    if rule.reason and rule.reason not in REASONS:
        found.append(f"{rule.id} names no reason: {rule.reason!r}")
    words = len(rule.text.split())
    if words > RULE_WORDS_MAX:
        found.append(f"{rule.id} has {words} words, more than {RULE_WORDS_MAX}: split it")
    if not rule.text.endswith("."):
        found.append(f"{rule.id} does not end with a full stop")
    return found


def _line_problems(line: str) -> list[str]:
    """Return what is wrong with one line of prose; of a table, keywords alone."""
    if line.startswith("<!--"):
        return []
    if LOOKS_LIKE_RULE.match(line) and not RULE.match(line):
        return ["looks like a rule and is none: **ID**{#ID} (level) Text. <!-- mark -->"]
    found = []
    bare = re.sub(r"`[^`]*`|<!--.*?-->", "x", line)
    is_prose = not line.startswith("|") and not RULE.match(line)
    if is_prose and SECOND_SENTENCE.search(bare.replace("**Deployed.** ", "")):
        found.append("more than one sentence in a line")
    if KEYWORD.search(bare) and not RULE.match(line) and BOILERPLATE not in line:
        found.append("MUST, SHOULD or MAY in a sentence without an id")
    return found


def page_problems(name: str, text: str) -> list[Problem]:
    """Return what breaks the form on one page: rules, keywords, sentences."""
    problems = []
    fenced = generated = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif BEGIN.match(line) and line != END:
            generated = True
        elif line == END:
            generated = False
        elif not fenced and not generated:
            found = _line_problems(line)
            found += [p for rule in parse_rules(name, line) for p in _rule_problems(rule)]
            problems += [Problem(name, number, text) for text in found]
    return problems


def anchors_of(text: str) -> Counter[str]:
    """Return the anchors of a page with the number of times that each occurs."""
    return Counter(ANCHOR.findall(re.sub(r"`[^`]*`", "", text)))


def link_problems(texts: dict[str, str]) -> list[Problem]:
    """Return links to pages and anchors that do not exist, and anchors given twice on a page."""
    anchors = {name: anchors_of(text) for name, text in texts.items()}
    problems = []
    for name, text in texts.items():
        problems += [
            Problem(name, 0, f"anchor {anchor} is given {count} times")
            for anchor, count in anchors[name].items()
            if count > 1
        ]
        for number, line in enumerate(text.splitlines(), 1):
            for match in LINK.finditer(line):
                page, anchor = match["page"] or name, match["anchor"]
                if page not in texts or (anchor and anchor not in anchors[page]):
                    problems.append(Problem(name, number, f"link to nothing: {match[0][2:-1]}"))
    return problems


def fill(text: str, tables: dict[str, str]) -> str:
    """Return the page with each generated region replaced; raises KeyError for an unknown one."""
    out: list[str] = []
    skipping = False
    for line in text.splitlines():
        match = BEGIN.match(line)
        if match and line != END:
            out += [line, "", tables[line[5:-4]], ""]
            skipping = True
        elif line == END:
            out.append(line)
            skipping = False
        elif not skipping:
            out.append(line)
    return "\n".join(out) + "\n"


def regions(text: str) -> list[str]:
    """Return the names of the generated regions of a page, such as `layout: tombstone`."""
    return [line[5:-4] for line in text.splitlines() if BEGIN.match(line) and line != END]
