"""SECURITY.md promises nothing that no test tries."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()


@pytest.mark.parametrize("title", ["Namespaces that share activators", "Guarantees"])
def test_every_promise_names_tests_and_every_test_is_there(title: str) -> None:
    section = PAGE.split(f"## {title}")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 7
    for row in rows:
        named = re.findall(r"`(tests/[^`]+)`", row.rsplit(" | ", 1)[1])
        assert named, row
        for name in named:
            path, _, test = name.partition("::")
            assert (ROOT / path).is_file(), name
            assert not test or f"def {test}(" in (ROOT / path).read_text(), name


def test_a_cell_is_read_at_a_glance() -> None:
    """Without the names of tests."""
    cells = (cell for line in PAGE.splitlines() if line[:1] == "|" for cell in line.split("|"))
    said = [re.sub(r"`tests/[^`]+`", "", cell) for cell in cells]
    assert len(said) > 300
    assert [cell for cell in said if len(re.findall(r"\S*\w\S*", cell)) > 40] == []


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (ROOT / target).exists(), target
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text()
