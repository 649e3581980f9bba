"""docs/reference: the generated pages are up to date, and leave nothing out."""

import yaml
from rows import each

from kotatsu_docs.__main__ import CRD, ROOT, SET_CRD, stale

REFERENCE = ROOT / "docs/reference"


def test_every_generated_page_is_up_to_date() -> None:
    assert list(stale()) == [], "make pages"


@each("name, crd, least", [("warmpool", CRD, 10), ("warmpoolset", SET_CRD, 5)])
def test_every_field_of_the_spec_has_a_row(name: str, crd: str, least: int) -> None:
    page = (REFERENCE / f"{name}.md").read_text()
    version = yaml.safe_load((ROOT / crd).read_text())["spec"]["versions"][0]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert len(spec) > least
    assert [name for name in spec if f"| `{name}` |" not in page] == []


def test_each_value_of_the_chart_says_what_it_is() -> None:
    page = (REFERENCE / "values.md").read_text()
    assert [line for line in page.splitlines() if line.endswith("|  |")] == []
    assert "\n\n\n" not in page


def test_a_check_has_the_reasons_of_the_functions_that_it_calls() -> None:
    page = (REFERENCE / "demo-mode.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| `service` |"))
    assert "[refused pools](conditions.md#refused-pools)" in row
    assert "`TrafficPolicyLocal`" in row
