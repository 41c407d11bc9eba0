"""A rule without a case says why, and what it says can be checked."""

from pathlib import Path

import pytest

import pages
from exclusions import exclusion_problems
from repository import Repository

SOURCES = {
    "conformance/meshwire_conformance/__init__.py": "",
    "conformance/meshwire_conformance/targets/__init__.py": "",
    "conformance/meshwire_conformance/targets/tcp.py": (
        '"""Some day tcp-wait:// too."""\nSCHEME = "tcp-listen://"\ndef listen(): ...\n'
    ),
    "reference/tests/test_node.py": "class TestNode:\n    def test_it(self): ...\n",
}


def problems(root: Path, reason: str) -> list[str]:
    """Return what is said of a rule that is excluded for a reason, beside one that is shown."""
    for name, source in SOURCES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(source, encoding="utf-8")
    rules = pages.parse_rules(
        "x.md",
        f"**FR-901**{{#FR-901}} (wire) A node MUST. <!-- excluded: {reason} -->\n\n"
        "**FR-902**{#FR-902} (wire) A node MUST. <!-- seen: socket -->\n",
    )
    return list(exclusion_problems(rules, Repository(root)))


WRONG = [
    ("a permission", "without anything to check: add test, code, rules or until"),
    (
        "so; until: tcp-listen",
        "targets/tcp.py has 'tcp-listen' now",
    ),
    ("so; until: meshwire_conformance.targets.tcp", "meshwire_conformance.targets.tcp exists now"),
    (
        "so; until: meshwire_conformance.targets.tcp.listen",
        "meshwire_conformance.targets.tcp.listen exists now",
    ),
    (
        "so; test: reference/tests/test_node.py::TestNode::test_that",
        "there is no test reference/tests/test_node.py::TestNode::test_that",
    ),
    ("so; code: tools/gone.py", "there is no code tools/gone.py"),
    ("so; rules: FR-902, FR-901", "no case shows FR-901"),
    ("so; until: udp-listen; rules: FR-999", "no case shows FR-999"),
]
RIGHT = [
    "so; until: tcp-wait",
    "so; until: meshwire_conformance.targets.quic",
    "so; and so; test: reference/tests/test_node.py::TestNode::test_it",
    "so; code: conformance/meshwire_conformance/targets/tcp.py::listen; until: udp-listen",
    "so; rules: FR-902",
]


@pytest.mark.parametrize(("reason", "expected"), WRONG)
def test_reason_that_does_not_hold_is_named(tmp_path: Path, reason: str, expected: str) -> None:
    """Nothing to check, something missing that exists now, something named that does not."""
    (problem,) = problems(tmp_path, reason)

    assert problem.startswith("x.md: FR-901 is excluded")
    assert problem.endswith(expected)


@pytest.mark.parametrize("reason", RIGHT)
def test_reason_that_holds_passes(tmp_path: Path, reason: str) -> None:
    """A missing name stays missing if only prose mentions it; a defined name exists."""
    assert problems(tmp_path, reason) == []
