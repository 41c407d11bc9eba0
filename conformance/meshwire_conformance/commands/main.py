"""The console script `meshwire`."""

import gc
import sys

ALLOCATIONS = 50_000
"""So many objects more, and Python looks for cycles. Cases and answers are many, have none, and
live to the end, so looking often would take a tenth of a run over a codec."""
INTERRUPTED = 2
"""Exit code where an interrupt came before it could be said otherwise; `interrupts.EXIT`."""


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    # Imported here, so that an interrupt while the rest is loaded is told like any other.
    try:
        from meshwire_conformance.commands import interrupts  # noqa: PLC0415 - see above

        interrupts.prepare()
        gc.set_threshold(ALLOCATIONS)
        from meshwire_conformance.commands.ending import run  # noqa: PLC0415 - see above

        code = run()
        interrupts.ignore()
        # Nor are they looked through once more on the way out.
        gc.freeze()
    except KeyboardInterrupt:
        print("meshwire: interrupted", file=sys.stderr)  # noqa: T201 - the command line
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
