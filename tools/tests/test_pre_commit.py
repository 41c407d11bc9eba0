"""The hooks of pre-commit call targets of the Makefile, and nothing from elsewhere."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = (ROOT / ".pre-commit-config.yaml").read_text()


def values(key: str) -> list[str]:
    """Return the values of a key, in their order."""
    return re.findall(rf"^ *(?:- )?{key}: (.*)$", CONFIGURATION, re.MULTILINE)


def test_hooks_are_local() -> None:
    """Nothing is fetched: what runs is what is installed."""
    assert values("repo") == ["local"]
    assert set(values("language")) == {"system"}


def test_hooks_call_targets_that_exist() -> None:
    """Each hook is `make` with a target of the Makefile, which is also the name of the hook."""
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)

    assert values("entry") == [f"make --no-print-directory {name}" for name in values("id")]
    assert set(values("id")) <= set(targets)
