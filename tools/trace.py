"""Command line of `tracing`, a module of its own because the standard library has a `trace`."""

import sys

from tracing import main

if __name__ == "__main__":
    sys.exit(main())
