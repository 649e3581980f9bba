"""docs/how-to/check-your-app.md: each kind of app has a test that is there."""

import re

from docs.pages import ROOT

ROWS = re.findall(
    r"^\| ([^|]+) \|.*\| `(tests/[^`]+)` \|$",
    (ROOT / "docs/how-to/check-your-app.md").read_text(),
    re.MULTILINE,
)


def test_each_row_names_a_test_that_is_there():
    rows = re.findall(
        r"^\| (?!app \|)", (ROOT / "docs/how-to/check-your-app.md").read_text(), re.MULTILINE
    )
    assert len(ROWS) == len(rows) > 10
    for kind, test in ROWS:
        path, _, function = test.partition("::")
        assert f"def {function}(" in (ROOT / path).read_text(), kind
