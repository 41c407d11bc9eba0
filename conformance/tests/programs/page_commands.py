"""The shell blocks of the README and of the pages, as lines of commands."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "spec").glob("*.md")))
BLOCK = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(?:^|\s+)#\s.*$")


def blocks() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield every block with its page: its lines, those with a backslash at the end joined."""
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            yield page, tuple(block.replace("\\\n", " ").splitlines())


def without_comment(line: str) -> str:
    """Return a line of a block without the remark at its end."""
    return COMMENT.sub("", line).strip()
