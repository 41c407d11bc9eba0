"""The form of the pages: rules are read off them, and each break of form is found."""

import pytest

import pages

RULE = (
    "**FR-901**{#FR-901} (strict) A receiver MUST refuse it, see [TR-001](02-transport.md#TR-001)."
    " <!-- seen: codec, socket; kinds: stream_frame, sync_entry; reason: bad-key -->"
)
PAGE = f"""# A page

{RULE}

> **Deployed.** It is stored ([D-11](93-deployed.md#D-11)).
> Also otherwise ([D-10](93-deployed.md#D-10)).

Nothing more.
"""


def test_a_rule_is_read_with_everything_around_it() -> None:
    """Id, level, plain text, note, defects, marks: all of a rule is read off its page."""
    rule = pages.parse_rules("03-frames.md", PAGE)[0]

    assert rule == pages.PageRule(
        id="FR-901",
        page="03-frames.md",
        anchor="FR-901",
        level="strict",
        text="A receiver MUST refuse it, see TR-001.",
        deployed="It is stored (D-11). Also otherwise (D-10).",
        defects=("D-11", "D-10"),
        seen=("codec", "socket"),
        excluded="",
        kinds=("stream_frame", "sync_entry"),
        reason="bad-key",
    )


def test_an_exclusion_may_hold_any_text() -> None:
    """The reason of an exclusion is taken whole, also with commas, colons and semicolons."""
    line = "**FR-902**{#FR-902} (wire) A node MAY. <!-- excluded: why: this; that, too -->"

    rule = pages.parse_rules("x.md", line)[0]

    assert (rule.excluded, rule.seen) == ("why: this; that, too", ())


LONG = "**FR-901**{{#FR-901}} (wire) A node MUST {}it. <!-- seen: codec -->"
"""A rule of four words and what is put into it."""

BROKEN = {
    "space before the anchor": "**FR-901** {#FR-901} (wire) A node MUST. <!-- seen: codec -->",
    "another anchor": "**FR-901**{#FR-902} (wire) A node MUST. <!-- seen: codec -->",
    "unknown level": "**FR-901**{#FR-901} (often) A node MUST. <!-- seen: codec -->",
    "no keyword": "**FR-901**{#FR-901} (wire) A node does. <!-- seen: codec -->",
    "two keywords": "**FR-901**{#FR-901} (wire) It MUST and SHOULD. <!-- seen: codec -->",
    "no mark": "**FR-901**{#FR-901} (wire) A node MUST.",
    "unknown mark": "**FR-901**{#FR-901} (wire) A node MUST. <!-- seen: nowhere -->",
    "no full stop": "**FR-901**{#FR-901} (wire) A node MUST <!-- seen: codec -->",
    "too many words": LONG.format("do " * 37),
    "a keyword without an id": "A node MUST do it.",
    "a keyword in a table": "| a | It is RECOMMENDED. |",
    "two sentences": "It does. It does not.",
    "a keyword in a note": "> **Deployed.** It MUST not.",
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN.keys())
def test_each_break_of_form_is_found(line: str) -> None:
    """A page that breaks the form in one way has exactly that problem."""
    problems = pages.page_problems("x.md", f"# T\n\n{line}\n")

    assert [problem.line for problem in problems] == [3]


SOUND = {
    "a rule": RULE,
    "a table": "| a | It does. It does not. |",
    "a rule of 40 words": LONG.format("do " * 36),
    "a number with a point": "It is version 0.8.2 of it.",
    "an abbreviated code span": "It reads `A. B MUST` there.",
    "a note": "> **Deployed.** It is stored.",
    "a withdrawn rule": "**FR-903**{#FR-903} (withdrawn) It was so.",
    "code": "```\nA MUST. B MUST.\n```",
    "generated text": "<!-- reasons -->\nA MUST. B.\n<!-- end -->",
}


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND.keys())
def test_sound_text_has_no_problem(text: str) -> None:
    """Conforming text, and text that is no prose, is accepted."""
    assert pages.page_problems("x.md", f"{text}\n") == []


def test_links_and_anchors_are_followed() -> None:
    """A link to a page or anchor that is not there is found, and so is an anchor given twice."""
    texts = {
        "a.md": "# A {#a}\n\n[x](b.md#b) [y](#a) [z](b.md) [out](https://example.org/#q)\n",
        "b.md": "# B {#b}\n\n[x](a.md#no) [y](c.md) {#b}\n",
    }

    found = [str(problem) for problem in pages.link_problems(texts)]

    assert found == [
        "b.md:0: anchor b is given 2 times",
        "b.md:3: link to nothing: a.md#no",
        "b.md:3: link to nothing: c.md",
    ]


def test_filling_replaces_only_what_is_generated() -> None:
    """Regions get their tables, everything else stays, and filling twice changes nothing."""
    text = "a\n\n<!-- layout: x -->\nold\n<!-- end -->\n\nb\n"

    once = pages.fill(text, {"layout: x": "new"})

    assert once == "a\n\n<!-- layout: x -->\n\nnew\n\n<!-- end -->\n\nb\n"
    assert pages.fill(once, {"layout: x": "new"}) == once
    assert pages.regions(once) == ["layout: x"]


def test_every_mark_is_explained() -> None:
    """CONTRIBUTING has each mark that stands on a page, and each member of a rule's mark."""
    told = (pages.SPEC.parent / "CONTRIBUTING.md").read_text()
    texts = [path.read_text() for path in pages.page_paths()]
    marks = {name.split(":")[0] for text in texts for name in pages.regions(text)}
    members = {
        member.partition(":")[0].strip()
        for text in texts
        for line in text.splitlines()
        if (match := pages.RULE.match(line)) and (match["mark"] or "").startswith("seen")
        for member in match["mark"].split(";")
    }

    assert members == {"seen", "kinds", "reason"}
    assert [
        mark for mark in sorted(marks | {"seen", "excluded", "end"}) if f"<!-- {mark}" not in told
    ] == []
    assert [member for member in sorted(members) if f"{member}:" not in told] == []
