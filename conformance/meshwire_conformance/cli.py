"""The console script `meshwire`."""

import sys

INTERRUPTED = 2
"""Exit code where an interrupt came before it could be said otherwise; `interrupts.EXIT`."""


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    # Imported here, so that an interrupt while the rest is loaded is told like any other.
    try:
        from meshwire_conformance import interrupts  # noqa: PLC0415 - see above

        interrupts.prepare()
        from meshwire_conformance.ending import run  # noqa: PLC0415 - see above

        code = run()
        interrupts.ignore()
    except KeyboardInterrupt:
        print("meshwire: interrupted", file=sys.stderr)  # noqa: T201 - the command line
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
