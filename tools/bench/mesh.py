"""Measure how long three nodes as processes take to agree, over each transport.

The nodes have a formation, and each has dialled both others. In each turn a document is written on
each node, one after the other over its control socket; the time runs from the first write until
every node has reported all three.
"""

import argparse
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from process_mesh import ProcessMesh

SCHEMES: Final = ("tcp", "quic", "iroh")


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--scheme", choices=SCHEMES, action="append")
    arguments = parser.parse_args()
    for scheme in arguments.scheme or SCHEMES:
        with TemporaryDirectory() as folder:
            mesh = ProcessMesh(Path(folder), f"{scheme}://127.0.0.1:0")
            try:
                taken = [mesh.converge(turn) for turn in range(arguments.turns)]
            finally:
                mesh.close()
        first, median, longest = taken[0], statistics.median(taken), max(taken)
        print(f"{scheme}: first {first:.3f} s, median {median:.3f} s, longest {longest:.3f} s")


if __name__ == "__main__":
    main()
