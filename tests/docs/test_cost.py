"""What docs/explanation/cost.md calculates follows from its prices and from the charts."""

import re

import yaml
from chart.kit import containers, render
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
    requests = [
        (owner["spec"]["replicas"], container["resources"]["requests"])
        for owner in render("kotatsu").of("Deployment")
        for container in containers(owner["spec"]["template"])
    ]
    cpu = sum(copies * int(one["cpu"][:-1]) for copies, one in requests)
    memory = sum(copies * int(one["memory"][:-2]) for copies, one in requests)
    assert f"{cpu / 1000:.2f} cores and {memory} MiB" in PAGE
