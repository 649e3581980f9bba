"""Alerts: tried by promtool itself, and each with a page that says what to do."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import needs
import pytest
import yaml
from packages import CannotInstallError, install
from rows import each

from kotatsu_monitoring.reference import names

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts/kotatsu/rules/kotatsu.yaml"
RUNBOOKS = ROOT / "docs/runbooks"
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
each_alert = each("alert", ALERTS, lambda alert: str(alert["alert"]))


def promtool(*arguments: str) -> str:
    """Run Debian's promtool; it is installed where that is possible."""
    if shutil.which("promtool") is None:
        try:
            install("prometheus")
        except CannotInstallError as error:
            needs.missing("promtool", f"none here, and {error}")
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_alert_fires_when_it_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", "tests/monitoring/alerts.yaml")


def test_every_alert_is_tried() -> None:
    tried = yaml.safe_load((Path(__file__).parent / "alerts.yaml").read_text())["tests"]
    fired = {
        case["alertname"]
        for test in tried
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert fired == {alert["alert"] for alert in ALERTS}


@each_alert
def test_every_alert_has_a_runbook_that_says_what_to_do(alert: dict[str, Any]) -> None:
    page = RUNBOOKS / f"{alert['alert']}.md"
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    assert headings == [alert["alert"], "Meaning", "Impact", "Diagnosis", "Mitigation"]


@each_alert
def test_every_alert_says_by_convention_what_it_is(alert: dict[str, Any]) -> None:
    told = alert["annotations"]
    assert set(told) == {"summary", "description", "runbook_url"}
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert "{{" not in told["summary"], "a summary is the same for all pools"
    assert told["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"


def test_every_runbook_has_its_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {alert["alert"] for alert in ALERTS}


@each_alert
def test_every_alert_asks_for_metrics_that_exist(alert: dict[str, Any]) -> None:
    assert set(re.findall(r"kotatsu_\w+", alert["expr"])) <= names()
