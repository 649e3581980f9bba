"""`python -m kotatsu_demo`, and the entry point of the `kotatsu-demo` script."""

from __future__ import annotations

import sys

from kotatsu_demo.cli import run


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
