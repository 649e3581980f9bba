"""`python -m kotatsu_release`, and the entry point of the `kotatsu-release` script."""

from __future__ import annotations

import os
import sys

from kotatsu_release.cli import run


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
