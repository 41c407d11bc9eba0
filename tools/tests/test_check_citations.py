"""Citations name rules, cases, files, modules and classes that exist."""

from pathlib import Path

import pytest

import check_citations
import pages
from repository import Repository

RULES = pages.parse_rules(
    "x.md",
    "**FR-901**{#FR-901} (wire) A node MUST. <!-- seen: socket -->\n\n"
    "**FR-902**{#FR-902} (wire) A node MUST. <!-- seen: socket -->\n\n"
    "**FR-903**{#FR-903} (withdrawn) A node had to.\n",
)
CASES = {"MW-9001"}
NODE = "reference/meshwire_reference/core/node.py"
SOURCES = {
    "reference/meshwire_reference/__init__.py": "",
    "reference/meshwire_reference/core/__init__.py": "",
    NODE: (
        "import asyncio\n"
        "class Node:\n"
        "    size: int\n"
        "    def handle(self):\n"
        "        self.count = 1\n"
        "class Child(Node):\n"
        "    pass\n"
        "class Number(asyncio.IntEnum):\n"
        "    ONE = 1\n"
    ),
    "reference/meshwire_reference/core/use.py": ("from meshwire_reference.core.node import Node\n"),
    "Makefile": "BIN := x\nlint: lint-style\nlint-style: $(BIN)\n\techo gone:\n",
    "spec/meshwire_spec/layouts/frames.py": "FRAME = 1\n",
    "spec/93-deployed.md": "**D-01**{#D-01} It.\n",
    "spec/94-inventory.md": "| A-01 | a fact |\n",
    "tools/check.py": "",
    "CHANGELOG.md": "FR-999 and `meshwire_reference.gone` went.\n",
}
CODE = "reference/meshwire_reference/code.py"

WRONG = [
    (CODE, "# FR-999: why\n", "no rule FR-999"),
    (CODE, "# FR-903\n", "no rule FR-903"),
    (CODE, '"""MW-9002 shows it."""\n', "no case MW-9002"),
    (CODE, "# see tools/gone.py\n", "no file or folder tools/gone.py"),
    (CODE, '"""As meshwire_reference.core.gone does."""\n', "no meshwire_reference.core.gone"),
    (
        CODE,
        "class A:\n    # meshwire_reference.core.node.Gone\n    x = 1\n",
        "no meshwire_reference.core.node.Gone",
    ),
    (CODE, '"""Raises `Gone`."""\n', "no class Gone"),
    (CODE, 'LIMIT = 1\n"""Raises `Gone`."""\n', "no class Gone"),
    (CODE, "# `node.Gone`\n", "no node.Gone"),
    (CODE, "# `Node.gone`\n", "no class Node.gone"),
    (CODE, "# `Child.gone`\n", "no class Child.gone"),
    (CODE, "# `gone.Node`\n", "no module gone"),
    (CODE, "# `gone.py` does it\n", "no file or folder gone.py"),
    (CODE, '"""As `core/gone.py` does."""\n', "no file or folder core/gone.py"),
    (CODE, "# see core/gone.py\n", "no file or folder core/gone.py"),
    (CODE, "# see core/node.py::gone\n", "core/node.py defines no gone"),
    (CODE, "# `make gone`\n", "no target gone in the Makefile"),
    ("pyproject.toml", "x = 1  # FR-999\n", "no rule FR-999"),
    ("pyproject.toml", "# see tools/gone.py\n", "no file or folder tools/gone.py"),
    ("conformance/mutants/rows/x.toml", "# as `Node.gone`\n", "no class Node.gone"),
    ("ARCHITECTURE.md", "`make gone` does.\n", "no target gone in the Makefile"),
    ("ARCHITECTURE.md", "`Node.gone` does.\n", "no class Node.gone"),
    (CODE, "# as D-02 did\n", "no defect D-02"),
    (CODE, '"""Repairs D-1."""\n', "no defect D-1"),
    (CODE, "# `gone.md` 2.2\n", "no file or folder gone.md"),
    (CODE, "# a read (F2)\n", "nothing is called F2"),
    (CODE, '"""As A-02 has it."""\n', "nothing is called A-02"),
    ("spec/01-x.md", "As T-002 has it.\n", "nothing is called T-002"),
    ("spec/01-x.md", "It does ([D-02](93-deployed.md#D-02)).\n", "no defect D-02"),
    ("vectors/x/y.json", '{"harm": "D-02"}\n', "no defect D-02"),
    ("conformance/ledgers/x.toml", 'reason = "D-02"\n', "no defect D-02"),
    ("ARCHITECTURE.md", "Rule FR-999.\n", "no rule FR-999"),
    ("ARCHITECTURE.md", "In `core/gone.py`.\n", "no file or folder core/gone.py"),
    ("ARCHITECTURE.md", "In `gone/`.\n", "no file or folder gone/"),
    ("ARCHITECTURE.md", "Run `python tools/gone.py --check`.\n", "no file or folder tools/gone.py"),
    ("ARCHITECTURE.md", f"`{NODE}::Node.gone` does.\n", f"{NODE} defines no Node.gone"),
    ("ARCHITECTURE.md", "`node.py::gone` does.\n", "node.py defines no gone"),
    ("spec/01-x.md", "`meshwire_reference.core.gone`\n", "no meshwire_reference.core.gone"),
    ("conformance/adapters/README.md", "`node.Gone`\n", "no node.Gone"),
]

RIGHT = [
    (CODE, "# FR-901: why\n"),
    (CODE, "X = 'FR-999, tools/gone.py'\n"),
    (CODE, "# `Child.handle`, `Node.size.real`, `Number.ONE`, `Number.from_bytes`\n"),
    (CODE, "# `core/node.py`, core/node.py::Node.handle, `make lint-style`, `make lint X=1`\n"),
    ("pyproject.toml", "x = 'FR-999'  # FR-901\n"),
    ("ARCHITECTURE.md", "`make lint`, or make sure; `Other.gone`, `Node.handle`\n"),
    (CODE, "# D-01, `CHANGELOG.md`\n"),
    (CODE, "# A-01 under H1\n"),
    ("ARCHITECTURE.md", "`U8` is A-01.\n"),
    ("vectors/x/y.json", '{"harm": "D-01"}\n'),
    (
        CODE,
        '"""MW-9001, tools/check.py, meshwire_reference.core.node.Node, `Node.size`."""\n',
    ),
    (CODE, '"""Raises `ValueError`, `asyncio.CancelledError` and `node.Node.count`."""\n'),
    ("ARCHITECTURE.md", f"FR-903 was; `{NODE}::Node.handle`, `layouts/`, `frames.py::FRAME`.\n"),
    ("ARCHITECTURE.md", "`NAME.transcript.json`, `application/json`, `sync/1`, a `Heading`.\n"),
    ("spec/01-x.md", "<!-- excluded: why; until: meshwire_reference.core.gone -->\n"),
]


def problems(root: Path, name: str, text: str) -> list[str]:
    """Return what is said of one file beside the sources."""
    for path, content in {**SOURCES, name: text}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content, encoding="utf-8")
    return check_citations.problems_of(Repository(root), RULES, CASES)


@pytest.mark.parametrize(("name", "text", "expected"), WRONG)
def test_citation_of_nothing_is_named(tmp_path: Path, name: str, text: str, expected: str) -> None:
    """A citation of something that does not exist is reported with file and line."""
    (problem,) = problems(tmp_path, name, text)

    place, _, said = problem.partition(": ")
    assert (place.rpartition(":")[0], said) == (name, expected)


@pytest.mark.parametrize(("name", "text"), RIGHT)
def test_right_citation_passes(tmp_path: Path, name: str, text: str) -> None:
    """What exists, foreign names, strings of code and the changelog are no problems."""
    assert problems(tmp_path, name, text) == []


def test_socket_rule_without_a_comment_is_named(tmp_path: Path) -> None:
    """A rule that a socket can show is cited by the reference, unless it is on the list."""
    problems(tmp_path, CODE, "# FR-901\n")

    assert list(check_citations.uncited(Repository(tmp_path), RULES)) == [
        "x.md: no comment of the reference cites FR-902: A node MUST."
    ]


def test_list_of_uncited_rules_does_not_rot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule of the list that is cited after all is named."""
    monkeypatch.setattr(check_citations, "UNCITED", frozenset(("FR-901", "FR-902")))
    problems(tmp_path, CODE, "# FR-901\n")

    assert list(check_citations.uncited(Repository(tmp_path), RULES)) == [
        "FR-901 is cited: take it off UNCITED"
    ]


ROWS = [
    f"| **D-{number:02d}**{{#D-{number:02d}}} read | It does. | So. | It does not. | {status} |"
    for number in range(1, check_citations.DEFECTS + 1)
    for status in [
        ("[FR-901](x.md#FR-901)", "part not written yet (routing)", "no rule: why")[number % 3]
    ]
]


def test_ledger_with_a_row_for_each_defect_passes() -> None:
    """The three kinds of status are taken."""
    assert list(check_citations.ledger_problems("\n".join(ROWS))) == []


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("", "no row for D-170"),
        ("| **D-170**{#D-17} | a | b | c | no rule: d |", "no row for D-170"),
        (
            "| **D-170**{#D-170} | a | | c | no rule: d |",
            "D-170 has an empty cell, or not four after its id",
        ),
        (
            "| **D-170**{#D-170} | a | b | no rule: d |",
            "D-170 has an empty cell, or not four after its id",
        ),
        (
            "| **D-170**{#D-170} | a | b | c | later |",
            "D-170 names no rule, no missing part, and not why there is no rule",
        ),
    ],
)
def test_ledger_with_a_gap_is_named(row: str, expected: str) -> None:
    """A defect without a row, with an empty cell or without a status is named."""
    page = "\n".join([*ROWS[:169], row, *ROWS[170:]])

    assert list(check_citations.ledger_problems(page)) == [f"spec/93-deployed.md: {expected}"]


def test_every_sort_of_problem_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tool prints the problems of every check that it has."""
    excluded = "**FR-904**{#FR-904} (wire) A node MUST. <!-- excluded: nobody sees it -->\n"
    rules = [*RULES, *pages.parse_rules("x.md", excluded)]
    problems(tmp_path, CODE, "# FR-999 and FR-901\n")
    monkeypatch.setattr(check_citations, "ROOT", tmp_path)
    monkeypatch.setattr(check_citations, "all_rules", lambda: rules)

    assert check_citations.main([]) == 1
    said = capsys.readouterr().out
    for words in (
        "no rule FR-999",
        "no comment of the reference cites FR-902",
        "no row for D-170",
        "FR-904 is excluded",
    ):
        assert words in said
