"""The console script `meshwire`."""

import gc
import os
import sys

ALLOCATIONS = 50_000
"""Allocations between two runs of the garbage collector.

Cases and answers are many, have no cycles, and live to the end; the default threshold would cost a
tenth of a run over a codec.
"""
UNSUPPORTED = 2
"""Exit code on a system that has no processes as the suite starts them."""
INTERRUPTED = 2
"""Exit code of an interrupt that comes before handlers are installed; equals `process.EXIT`."""


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    if os.name != "posix" or sys.platform in {"emscripten", "wasi"}:
        said = f"{sys.platform} is not supported; Linux and macOS are, and on Windows WSL is"
        print(f"meshwire: {said}", file=sys.stderr)  # noqa: T201 - the command line
        sys.exit(UNSUPPORTED)
    # Imported here, so that an interrupt while the rest is loaded prints one line like any other.
    try:
        from meshwire_conformance.commands import process  # noqa: PLC0415 - see above

        process.take_interrupts()
        process.withdraw_reports(sys.argv)
        gc.set_threshold(ALLOCATIONS)
        code = 0 if _shows_version() else _run()
        process.ignore_interrupts()
        # The garbage collector does not run at the exit either.
        gc.freeze()
    except KeyboardInterrupt:
        print("meshwire: interrupted", file=sys.stderr)  # noqa: T201 - the command line
        code = INTERRUPTED
    sys.exit(code)


def _shows_version() -> bool:
    """Return True if only the version was asked for and is printed."""
    if sys.argv[1:] != ["--version"]:
        return False
    from meshwire_conformance.catalogue.version import show_version  # noqa: PLC0415 - see above

    return show_version()


def _run() -> int:
    from meshwire_conformance.commands.app import run  # noqa: PLC0415 - see above

    return run()


if __name__ == "__main__":
    main()
