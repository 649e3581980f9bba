"""Values of the chart in the how-tos are its values, and production.md names the test of each."""

import re
from pathlib import Path
from typing import Any

import yaml
from chart.kit import Object, default_values, values_validator
from docs.pages import ROOT, blocks, code, name, rows
from rows import each

PAGE = (ROOT / "docs/how-to/production.md").read_text()
PAGES = sorted((ROOT / "docs/how-to").glob("*.md"))
VALUES = default_values("kotatsu")
ROWS = [row for row in rows(PAGE) if row[0].startswith("`")]


def test_each_row_says_why_and_names_a_test_that_is_there() -> None:
    assert len(ROWS) > 8
    for value, why, test in ROWS:
        assert why, value
        path, _, function = test.strip("` ").partition("::")
        assert f"def {function}(" in (ROOT / path).read_text(), value


def _settings() -> list[tuple[str, str]]:
    """(page, `name.of.a.value` or `name: value`) of what looks like a value of the chart."""
    return [
        (name(page), text)
        for page in PAGES
        for text in code(page.read_text())
        if (named := re.match(r"([a-z]\w+)\.[a-z][\w.]*\w(: [^\n]+)?$", text))
        and named[1] in VALUES
        and not text.endswith(".yaml")
    ]


def _nested(setting: str) -> Any:
    """A setting as it stands in a values file."""
    path, _, value = setting.partition(": ")
    made: Any = yaml.safe_load(value)
    for part in reversed(path.split(".")):
        made = {part: made}
    return made


def _has(path: str) -> bool:
    """Whether values.yaml has a value of this name."""
    place: Object = VALUES
    for part in path.split("."):
        if not isinstance(place, dict) or part not in place:
            return False
        place = place[part]
    return True


@each("page, setting", _settings())
def test_a_value_is_in_the_chart_and_its_schema_accepts_it(page: str, setting: str) -> None:
    path = setting.partition(": ")[0]
    assert _has(path) or ".resources." in path, setting  # resources are as in a Pod
    if ": " in setting:
        values_validator("kotatsu").validate(_nested(setting))


@each("page", PAGES, name=name)
def test_the_chart_accepts_each_values_file_of_a_page(page: Path) -> None:
    for block in blocks(page.read_text(), "yaml"):
        for document in yaml.safe_load_all(block):
            if set(document) <= set(VALUES):
                values_validator("kotatsu").validate(document)
