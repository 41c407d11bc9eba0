"""What `numbers.py` repeats; its other numbers are held by `vectors/numbers.json`."""

import tomllib
from pathlib import Path

from meshwire_spec.numbers import VERSION

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_that_of_the_distribution() -> None:
    """It is written twice, since reading the metadata takes longer than a codec takes to start."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["version"] == VERSION
