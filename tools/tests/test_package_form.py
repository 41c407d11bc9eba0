"""Size of packages, names of classes, place of tests."""

from pathlib import Path

import package_form
from modules import read_modules


def plant(root: Path, sources: dict[str, str]) -> None:
    """Write modules below `root`."""
    for name, source in sources.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")


def package_of(count: int, reason: str) -> dict[str, str]:
    """Return a package of `count` modules, with a text in its `__init__`."""
    home = "reference/meshwire_reference/core"
    modules = {f"{home}/m{number}.py": "" for number in range(count)}
    return {f"{home}/__init__.py": f'"""Core. {reason}"""', **modules}


def test_package_over_20_modules_says_why(tmp_path: Path) -> None:
    """21 modules are a problem, unless the `__init__` gives a reason."""
    plant(tmp_path, package_of(21, ""))
    without = list(package_form.size_problems(tmp_path, read_modules(tmp_path)))
    plant(tmp_path, package_of(21, "More than 20 modules: each is one codec."))
    reasoned = list(package_form.size_problems(tmp_path, read_modules(tmp_path)))

    assert len(without) == 1
    assert reasoned == []


def test_package_of_20_modules_passes(tmp_path: Path) -> None:
    """20 modules need no reason; those of a package inside do not count."""
    plant(tmp_path, package_of(20, ""))
    plant(tmp_path, {"reference/meshwire_reference/core/peer/session.py": ""})

    assert list(package_form.size_problems(tmp_path, read_modules(tmp_path))) == []


def test_name_of_a_type_used_twice_is_found(tmp_path: Path) -> None:
    """A class or alias that a top package, or the tools, define twice is named with its places."""
    plant(
        tmp_path,
        {
            "reference/meshwire_reference/core/a.py": "class Session: ...\nclass _Own: ...",
            "reference/meshwire_reference/wire/b.py": "X = 1\nclass Session: ...\nclass _Own: ...",
            "conformance/meshwire_conformance/c.py": "class Session: ...",
            "conformance/meshwire_conformance/d.py": "Item = tuple[int]\nMAX = 1",
            "conformance/meshwire_conformance/e.py": "Item: TypeAlias = int\nMAX = 2",
            "spec/meshwire_spec/f.py": 'Answer = TypeVar("Answer")',
            "spec/meshwire_spec/g.py": "class Answer: ...",
            "tools/h.py": "class Row: ...",
            "tools/bench/i.py": "class Row: ...",
        },
    )

    assert list(package_form.name_problems(tmp_path, read_modules(tmp_path))) == [
        (
            "conformance/meshwire_conformance/d.py:1: Item is also defined at"
            " conformance/meshwire_conformance/e.py:1"
        ),
        (
            "reference/meshwire_reference/core/a.py:1: Session is also defined at"
            " reference/meshwire_reference/wire/b.py:2"
        ),
        "spec/meshwire_spec/f.py:1: Answer is also defined at spec/meshwire_spec/g.py:1",
        "tools/h.py:1: Row is also defined at tools/bench/i.py:1",
    ]


def test_tests_mirror_the_tree(tmp_path: Path) -> None:
    """A test is in the folder of its package, and one of a module beside no other module."""
    plant(
        tmp_path,
        {
            "reference/meshwire_reference/__init__.py": "",
            "reference/meshwire_reference/core/__init__.py": "",
            "reference/meshwire_reference/core/node.py": "",
            "reference/meshwire_reference/wire/__init__.py": "",
            "reference/meshwire_reference/wire/frames.py": "",
            "reference/tests/core/test_node.py": "",
            "reference/tests/core/test_frames.py": "",
            "reference/tests/wire/test_wire.py": "",
            "reference/tests/wire/test_round_trips.py": "",
            "reference/tests/gone/test_thing.py": "",
            "reference/tests/programs/test_thing.py": "",
        },
    )

    assert list(package_form.mirror_problems(tmp_path, read_modules(tmp_path))) == [
        "reference/tests/core/test_frames.py: the module frames is tested in reference/tests/wire",
        "reference/tests/gone/test_thing.py: meshwire_reference has no package gone",
    ]


def test_a_test_asserts_something_itself(tmp_path: Path) -> None:
    """What a helper asserts is seen by nobody who reads the test."""
    asserting = "def test_one():\n    assert 1\n\ndef check():\n    assert 2\n"
    raising = "import pytest\n\ndef test_two():\n    with pytest.raises(ValueError):\n        f()\n"
    nested = "def test_three():\n    def run():\n        assert 3\n    run()\n"
    bare = "class TestD:\n    def test_four(self):\n        check()\n"
    plant(
        tmp_path,
        {
            "spec/tests/test_a.py": asserting,
            "reference/tests/core/test_b.py": raising,
            "tools/tests/test_c.py": nested,
            "conformance/tests/run/test_d.py": bare,
            "conformance/tests/run/helper.py": bare,
        },
    )

    assert list(package_form.assertion_problems(tmp_path)) == [
        "conformance/tests/run/test_d.py:2: test_four asserts nothing"
    ]
