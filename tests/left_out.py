"""Say in one line what a run of `make test` has left out, and what runs it: `left_out.py FILE …`.

FILE has a line for each reason: the number of tests and why, as tests/conftest.py notes it, or
words alone. What follows it was left out too.
"""

import sys
from collections import Counter
from pathlib import Path

_ALWAYS = "what takes long (make test-all)"


def line(noted: str, *more: str) -> str:
    """The line for what was noted."""
    reasons: Counter[str] = Counter()
    others = list(more)
    for entry in noted.splitlines():
        number, _, reason = entry.partition(" ")
        if number.isdigit():
            reasons[reason] += int(number)
        else:
            others.append(entry)
    parts = [f"{number} tests ({reason})" for reason, number in sorted(reasons.items())]
    return f"Left out: {', '.join([*parts, *others, _ALWAYS])}."


if __name__ == "__main__":
    file = Path(sys.argv[1])
    sys.stdout.write(line(file.read_text() if file.exists() else "", *sys.argv[2:]) + "\n")
