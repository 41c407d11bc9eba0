"""Write the index of the suite, and the map of the cases in Python.

The index has the digest of the suite, and the facts of every case over connections. Run this after
every change of a case, a vector or their schemas. The suite goes by the index only while it is
fresh, so a stale one costs time and changes no result.
"""

import argparse
import sys

from case_map import MAP_FILE, map_text
from meshwire_conformance.catalogue.case import SOCKET
from meshwire_conformance.catalogue.index import INDEX_FILE, index_text
from meshwire_conformance.run.loading import load_catalogue


def main(arguments: list[str] | None = None) -> int:
    """Write index and map, or with --check return 1, with a line for each that is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args(arguments)
    catalogue = load_catalogue()
    cases = [case for case in catalogue.cases if case.kind == SOCKET]
    made = (
        ("index of the suite", INDEX_FILE, index_text(cases, catalogue.digest)),
        ("map of the cases", MAP_FILE, map_text(catalogue.cases)),
    )
    stale = [
        (name, path, text)
        for name, path, text in made
        if not path.exists() or path.read_text("utf-8") != text
    ]
    for name, path, text in stale:
        if options.check:
            print(f"the {name} is stale: run python tools/make_index.py")
        else:
            path.write_text(text, "utf-8")
            print(f"wrote {path.name}, the {name}: {len(cases)} cases over connections")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
