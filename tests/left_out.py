"""Say in one line what a run of `make test` has left out, and what runs it: `left_out.py FILE`.

FILE has a line for each reason, as tests/conftest.py notes it: the number of tests, and why.
"""

import sys
from collections import Counter
from pathlib import Path

_ALWAYS = "other end-to-end tests (make e2e) and everything else (make test-all)"


def line(noted: str) -> str:
    """The line for what was noted."""
    reasons: Counter[str] = Counter()
    for entry in noted.splitlines():
        number, _, reason = entry.partition(" ")
        reasons[reason] += int(number)
    parts = [f"{number} tests ({reason})" for reason, number in sorted(reasons.items())]
    return f"Left out: {', '.join([*parts, _ALWAYS])}."


if __name__ == "__main__":
    file = Path(sys.argv[1])
    sys.stdout.write(line(file.read_text() if file.exists() else "") + "\n")
