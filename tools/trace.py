"""Command of `tracing`; apart from it because the standard library has a module of this name."""

import sys

from tracing import main

if __name__ == "__main__":
    sys.exit(main())
