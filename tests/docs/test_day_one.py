"""docs/how-to/production.md: every value is one of the charts, and every test is there."""

import re
from dataclasses import dataclass
from typing import Any

import yaml
from chart.kit import Object, default_values, values_validator
from docs.pages import ROOT
from rows import each

PAGE = (ROOT / "docs/how-to/production.md").read_text()
OF_THE_PET = "The pet"
"""The section whose values are those of the chart pet."""
WORDS = ("run", "rendered", "read", "unknown")
SHOWN = ("run", "rendered")
NAME = r"[a-z]\w*(?:\.[a-zA-Z]\w*)*"
FIRST = {chart: set(default_values(chart)) for chart in ("kotatsu", "pet")}


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    section: str
    what: str
    value: str
    how: str
    tests: str

    @property
    def chart(self) -> str:
        return "pet" if self.section == OF_THE_PET else "kotatsu"


def rows() -> list[Row]:
    found = []
    for part in PAGE.split("\n## ")[1:]:
        section, _, text = part.partition("\n")
        lines = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
        for line in lines[1:]:
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.append(Row(section, *cells))
    return found


ROWS = rows()


def values() -> list[tuple[str, str]]:
    """(chart, `name: value`) of every value in the page."""
    return [
        (row.chart, code)
        for row in ROWS
        for code in re.findall(r"`([^`]+)`", row.value)
        if (named := re.match(rf"({NAME})(?::|$)", code))
        and named[1].split(".")[0] in FIRST[row.chart]
    ]


def nested(setting: str) -> Any:
    """A setting as it stands in a values file; one without a value says what is the default."""
    name, given, value = setting.partition(":")
    made: Any = yaml.safe_load(value)
    if given:
        for part in reversed(name.split(".")):
            made = {part: made}
    return made


def has(chart: str, name: str) -> bool:
    """Whether values.yaml, and so the schema, has a value of this name."""
    place: Object = default_values(chart)
    for part in name.split("."):
        if part not in place:
            return False
        place = place[part]
    return True


def test_there_are_rows_and_values_to_look_at() -> None:
    assert len(ROWS) > 50
    assert len(values()) > 30


@each("row", ROWS, lambda row: f"{row.section}: {row.what}"[:80])
def test_a_row_says_how_it_is_known_and_which_test_shows_it(row: Row) -> None:
    word = re.split(r"[,: ]", row.how)[0]
    assert word in WORDS
    tests = re.findall(r"`(tests/[^`]+)`", row.tests)
    assert tests or word not in SHOWN
    for test in tests:
        path, _, function = test.partition("::")
        assert (ROOT / path).is_file(), path
        assert re.search(rf"def {function}\(", (ROOT / path).read_text()), test


@each("chart, setting", values())
def test_a_value_is_in_the_chart_and_its_schema_accepts_it(chart: str, setting: str) -> None:
    name = setting.partition(":")[0]
    if ".resources.limits." not in name:  # resources are as in a Pod
        assert has(chart, name), name
    if ":" in setting:
        values_validator(chart).validate(nested(setting))


def test_what_looks_like_a_value_is_one() -> None:
    for row in ROWS:
        for code in re.findall(r"`([^`]+)`", row.value):
            if named := re.fullmatch(rf"({NAME}): .+", code):
                assert (row.chart, code) in values() or named[1] == "condition", code
