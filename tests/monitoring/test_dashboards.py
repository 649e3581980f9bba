"""Dashboards and the reference: made from the code, complete, and about metrics that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any

from rows import each

from kotatsu_monitoring.__main__ import ROOT, stale
from kotatsu_monitoring.reference import names

FILES = sorted((ROOT / "charts/kotatsu/dashboards").glob("*.json"))


def panels() -> Iterator[Any]:
    for path in FILES:
        for panel in json.loads(path.read_text())["panels"]:
            yield panel | {"name": f"{path.stem}: {panel['title']}"}


each_panel = each("panel", panels(), lambda panel: str(panel["name"]))


def test_what_is_made_from_the_code_is_up_to_date() -> None:
    assert list(stale()) == [], "make monitoring"


@each_panel
def test_a_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]


@each_panel
def test_a_panel_asks_for_metrics_that_exist(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert set(re.findall(r"kotatsu_\w+", target["expr"])) <= names(), target["expr"]
