"""Answers written down in a JSON file beside the test, so that a change is a choice.

`UPDATE_SNAPSHOTS=1 pytest …` writes the file anew; read the difference before you commit it.
"""

import json
import os
from pathlib import Path
from typing import Any

import httpx


class Snapshots:
    """The answers of one file, by name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._update = bool(os.environ.get("UPDATE_SNAPSHOTS"))

    def check(self, name: str, answer: httpx.Response) -> None:
        """Compare the status, the headers that matter, and the problem's own words."""
        headers = {
            key: answer.headers[key]
            for key in ("retry-after", "www-authenticate", "allow")
            if key in answer.headers
        }
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert (problem.pop("type"), problem.pop("status")) == ("about:blank", answer.status_code)
        actual = {"status": answer.status_code, **headers, **problem}
        known: dict[str, Any] = {}
        if self._path.exists():
            known = json.loads(self._path.read_text())
        if self._update:
            known[name] = actual
            text = json.dumps(dict(sorted(known.items())), indent=2, ensure_ascii=False)
            self._path.write_text(text + "\n")
        assert known.get(name) == actual
