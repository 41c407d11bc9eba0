"""Write the index of the suite: its digest, and the facts of every case over connections.

Run it after every change of a case, a vector or their schemas. The suite goes by the index only
while it is fresh, so a stale one costs time and changes no result.
"""

import argparse
import sys

from meshwire_conformance.catalogue.case import SOCKET
from meshwire_conformance.catalogue.index import INDEX_FILE, index_text
from meshwire_conformance.run.loading import load_catalogue


def main(arguments: list[str] | None = None) -> int:
    """Write the index, or with --check return 1, after one line, if it is not what it would be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args(arguments)
    catalogue = load_catalogue()
    cases = [case for case in catalogue.cases if case.kind == SOCKET]
    text = index_text(cases, catalogue.digest)
    found = INDEX_FILE.read_text("ascii") if INDEX_FILE.exists() else ""
    if found == text:
        return 0
    if options.check:
        print("the index of the suite is stale: run python tools/make_index.py")
        return 1
    INDEX_FILE.write_text(text, "ascii")
    print(f"wrote {INDEX_FILE.name}, {len(cases)} cases over connections")
    return 0


if __name__ == "__main__":
    sys.exit(main())
