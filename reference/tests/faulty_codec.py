"""The codec harness of the bundled node with one fault of `codec_faults` planted in it.

`python faulty_codec.py NAME` serves stdin and stdout; `--list` prints the table as JSON. A suite
that is run against it has to turn red.
"""

import json
import sys

from codec_faults import FAULTS

COLUMNS = ("name", "kind", "limit", "breaks", "field")


def main(argument: str) -> int:
    """Print the table, or plant a fault and serve until the caller says bye."""
    if argument == "--list":
        rows = [{column: getattr(row, column) for column in COLUMNS} for row in FAULTS.values()]
        sys.stdout.write(json.dumps(rows) + "\n")
        return 0
    FAULTS[argument].plant()
    from meshwire_reference.harness import serve as harness  # noqa: PLC0415 - numbers were moved before

    return harness.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
