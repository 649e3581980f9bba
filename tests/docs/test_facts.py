"""Lists and figures in the pages that would grow old: each is compared with the code."""

import re
from pathlib import Path

import yaml
from docs.pages import ROOT, code, files, name, rows
from rows import each

from kotatsu_operator.controller.election import TIMES
from kotatsu_operator.core.plan.lead import MARGIN
from kotatsu_operator.core.pool.memory import FIRST_START

OPERATOR = sorted((ROOT / "operator/src/kotatsu_operator").rglob("*.py"))
FAR = 2030
"""No example holds a date before this year, so none of them asks for warmth in the past."""


def _in_code(pattern: str) -> set[str]:
    return {reason for path in OPERATOR for reason in re.findall(pattern, path.read_text())}


def test_the_table_of_refusals_has_each_reason_of_the_code_and_no_other() -> None:
    page = (ROOT / "docs/reference/conditions.md").read_text().partition("## Refused pools")[2]
    told = [reason for row in rows(page) for reason in re.findall(r"^`([A-Z]\w+)`$", row[0])]

    assert len(told) > 10
    assert sorted(told) == sorted(
        _in_code(r'\bRefus(?:al|ed)\(\s*"(\w+)"') | _in_code(r'(?m)^NAMESPACE_\w+ = "(\w+)"')
    )


def test_the_pages_say_how_long_a_takeover_takes() -> None:
    seconds = f"{TIMES.lease + TIMES.retry:.0f} s"
    for page in (
        "docs/how-to/production.md",
        "docs/protocol.md",
        "docs/decisions/0015-lease-without-comparing-clocks.md",
        "charts/kotatsu/README.md",
        "charts/kotatsu/values.yaml",
    ):
        assert f"within {seconds}" in (ROOT / page).read_text(), page


def test_the_lead_of_a_new_pool_is_the_one_of_the_code() -> None:
    settle = 5  # routeSettle by default
    lead = FIRST_START.total_seconds() + MARGIN.total_seconds() + settle
    assert f"{lead:.0f} s" in (ROOT / "docs/explanation/lead.md").read_text()


def test_the_chart_that_is_put_into_a_registry_has_the_version_of_the_chart() -> None:
    version = yaml.safe_load((ROOT / "charts/kotatsu/Chart.yaml").read_text())["version"]
    assert f"/kotatsu-{version}.tgz " in (ROOT / "docs/how-to/install.md").read_text()


def _with_examples() -> list[Path]:
    """What people copy from: pages, examples, values, notes and the plugin's texts."""
    past = ("docs/benchmarks/", "docs/decisions/", "tests/")
    shown = [path for path in files() if not name(path).startswith(past)]
    charts = [p for p in shown if p.parts[len(ROOT.parts)] == "charts" and "crds" not in p.parts]
    return [
        path
        for path in shown
        if path.suffix == ".md"
        or name(path).startswith(("examples/", "operator/plugin/src/"))
        or (path in charts and path.suffix in (".yaml", ".txt"))
    ]


@each("path", _with_examples(), name)
def test_no_example_lies_in_the_past(path: Path) -> None:
    text = path.read_text()
    shown = "\n".join(code(text)) if path.suffix == ".md" else text
    years = re.findall(r"\b(20\d\d)-\d\d-\d\d", shown)
    assert all(int(year) >= FAR for year in years), years
