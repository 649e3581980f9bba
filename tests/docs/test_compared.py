"""docs/explanation/compared.md says where each statement about another project was read."""

import re

import pytest
from docs.pages import ROOT

PAGE = (ROOT / "docs/explanation/compared.md").read_text()
TABLES = re.findall(r"^\| \| Kotatsu .*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)


@pytest.mark.parametrize("table", TABLES, ids=["on-request", "by-schedule"])
def test_each_cell_about_another_project_has_a_source(table: str) -> None:
    rows = [re.split(r" \| ", line.strip("| ")) for line in table.splitlines()]

    assert len(rows) > 5
    for what, _, *others in rows:
        assert len(others) == 4, what
        for cell in others:
            assert "](https://" in cell or cell == "–", (what, cell)
