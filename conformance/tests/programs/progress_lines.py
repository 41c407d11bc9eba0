"""What a command has said on standard error, without the lines about its progress.

A run that is not on a terminal says about every ten seconds how far it is, so that on a busy
machine such a line may come in any run.
"""

import re

COUNT = re.compile(
    r"no case is over yet(; waiting for .*)?$|\d+/\d+ cases, \d+ failed(; waiting for .*)?$"
)


def said(stderr: str) -> str:
    """Return the text without the lines about progress."""
    return "".join(line for line in stderr.splitlines(keepends=True) if not COUNT.match(line))
