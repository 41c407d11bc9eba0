"""What `meshwire --version` prints, without the command line and the cases."""

import sys

from meshwire_conformance.catalogue.index import read_index
from meshwire_spec.numbers import SPEC_REVISION, VERSION


def version_line(digest: str) -> str:
    """Return version, spec revision and digest of the suite."""
    return f"meshwire {VERSION} ({SPEC_REVISION}), suite {digest}"


def show_version() -> bool:
    """Print the version; False if the digest has to be computed or nothing can be written."""
    index = read_index()
    if index is None:
        return False
    try:
        print(version_line(index["digest"]), flush=True)  # noqa: T201 - the command line
    except (OSError, AttributeError, ValueError):
        # The code that prints the line afterwards reports what is wrong with the output.
        return False
    return sys.stdout is not None
