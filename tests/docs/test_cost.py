"""What docs/explanation/cost.md calculates follows from its prices and from the charts."""

import re

import yaml
from docs.pages import ROOT

PAGE = (ROOT / "docs/explanation/cost.md").read_text()


def test_the_yen_in_the_table_follow_from_the_prices_of_the_page_and_the_charts_requests():
    voice = yaml.safe_load((ROOT / "charts/pet/values.yaml").read_text())["voice"]
    assert voice["resources"]["requests"] == {"cpu": "250m", "memory": "320Mi"}
    hourly = 0.25 * 6.5 + 320 / 1024 * 0.7
    assert f"{hourly:.2f} yen" in PAGE
    rows = re.findall(r"^\| .* \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 3
    for hours, yen in ((int(a.replace(",", "")), int(b.replace(",", ""))) for a, b in rows):
        assert round(hours * hourly) == yen


def test_what_the_platform_itself_requests_is_what_the_chart_says():
    values = yaml.safe_load((ROOT / "charts/kotatsu/values.yaml").read_text())
    operator, activator = (
        values[name]["resources"]["requests"] for name in ("operator", "activator")
    )
    copies = values["activator"]["replicas"]
    cpu = int(operator["cpu"][:-1]) + copies * int(activator["cpu"][:-1])
    memory = int(operator["memory"][:-2]) + copies * int(activator["memory"][:-2])
    assert f"{cpu / 1000:.2f} cores and {memory} MiB" in PAGE
