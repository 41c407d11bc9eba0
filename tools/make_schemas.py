"""Write the published JSON Schemas, which are made from structs, or with --check compare them.

Usage: python tools/make_schemas.py [--check]. Exit status 1 if a file is stale.
"""

import argparse
import sys
from pathlib import Path

from meshwire_spec.schemas.publishing import PUBLICATIONS, schema_text

FOLDER = Path(__file__).parents[1] / "spec" / "meshwire_spec" / "schemas"


def main(arguments: list[str] | None = None) -> int:
    """Write or compare every schema; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, list stale parts")
    check = parser.parse_args(arguments).check
    wanted = {FOLDER / f"{one.name}.json": schema_text(one) for one in PUBLICATIONS}
    stale = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]
    for path in stale:
        if check:
            print(f"{path.name} is stale: run python tools/make_schemas.py")
        else:
            path.write_text(wanted[path], "utf-8")
            print(f"wrote {path.name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
