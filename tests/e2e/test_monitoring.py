"""A real Prometheus scrapes the cluster by examples/monitoring/prometheus.yaml.

It runs beside the cluster with the example's scrape configuration and rights, over pools to which
everything happens that can be told (tests/e2e/story.py); then every query of every panel and every
alert must find data. What each panel showed is written to build/monitoring/panels.md.
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml
from e2e.conftest import ROOT, add_recorder, scale_ups
from e2e.kit import App, Kubectl, Object, eventually
from e2e.prometheus import (
    RIGHTS,
    Prometheus,
    Sample,
    filled,
    kubeconfig_for,
    legend,
    of_the_example,
    running,
    scrape_configuration,
)
from e2e.story import Story, pet_asleep

from kotatsu_monitoring.reference import names

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

RULES = ROOT / "charts/kotatsu/rules/kotatsu.yaml"
TABLE = ROOT / "build/monitoring/panels.md"
ALERTS: dict[str, Object] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}
SCRAPE = "2s"
RATE = "30s"
"""What Grafana would put in for $__rate_interval, at this pace."""

SCRAPES = 30
"""As many as 8 minutes bring with an interval of 15 s."""

SERVICES = ("service", "endpoints", "endpointslice")
"""Roles that find Services and what is behind them, as many Prometheus servers are set up."""

FINDS_SERVICES: Object = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "prometheus"},
    "rules": [
        {"apiGroups": [""], "resources": ["pods", "services", "endpoints"],
         "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
         "verbs": ["get", "list", "watch"]},
    ],
}  # fmt: skip


def scraping(role: str) -> Object:
    """A job that asks every target of a role for /metrics and keeps nothing but `up`."""
    job: Object = {
        "job_name": role,
        "kubernetes_sd_configs": [{"role": role}],
        "relabel_configs": [
            {"source_labels": ["__meta_kubernetes_service_name"], "target_label": "service"}
        ],
        "metric_relabel_configs": [{"source_labels": ["__name__"], "action": "drop"}],
    }
    if role == "service":
        # Names of the cluster's DNS mean nothing out here.
        address = [f"__meta_kubernetes_service_{part}" for part in ("cluster_ip", "port_number")]
        job["relabel_configs"].append(
            {"source_labels": address, "separator": ":", "target_label": "__address__"}
        )
    return job


@dataclass
class Day:
    """What was seen."""

    prometheus: Prometheus
    kubectl: Kubectl
    healthy: set[tuple[str, str, str]]
    """Alerts before anything happened."""
    began: float
    story: Story

    def since(self, expr: str) -> list[Sample]:
        """The series of an expression over the whole story."""
        return self.prometheus.since(self.began, expr)


@pytest.fixture(scope="module")
def prometheus(
    home: Kubectl, pet: Kubectl, on_node: bool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Prometheus as the example sets it up, faster, and with jobs of every other role beside."""
    if not on_node:
        pytest.skip("this machine cannot reach pods by their address (it can on tools/node)")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "kotatsu.yaml").write_text(RULES.read_text())
    _grant(home, pet, of_the_example(*RIGHTS))
    config = scrape_configuration()
    (folder / "kubeconfig").write_text(kubeconfig_for(pet, "prometheus"))
    config["global"] = {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE}
    # Finding pods needs only the example's rights; the other roles look with more.
    _grant(home, pet, _account("finds-services", FINDS_SERVICES))
    (folder / "finds-services").write_text(kubeconfig_for(pet, "finds-services"))
    others = [scraping(role) for role in SERVICES]
    for job, kubeconfig in (*((job, "kubeconfig") for job in config["scrape_configs"]),
                            *((job, "finds-services") for job in others)):  # fmt: skip
        for discovery in job["kubernetes_sd_configs"]:
            discovery["kubeconfig_file"] = kubeconfig
            discovery["namespaces"] = {"names": [home.namespace, pet.namespace]}
    config["scrape_configs"] += others
    with running(folder, config) as made:
        yield made


def _grant(home: Kubectl, pet: Kubectl, objects: list[Object]) -> None:
    """Let an account of the pet's namespace find what Kotatsu's has too, as the docs say."""
    pet.apply(*objects)
    _, role, binding = objects
    binding["subjects"][0]["namespace"] = pet.namespace
    home.apply(role, binding)


def _account(name: str, role: Object) -> list[Object]:
    objects = of_the_example(*RIGHTS)
    objects[1] = role
    for made in objects:
        made["metadata"] = {"name": name}
    objects[2]["roleRef"]["name"] = objects[2]["subjects"][0]["name"] = name
    return objects


@pytest.fixture(scope="module")
def day(prometheus: Prometheus, pet: Kubectl) -> Iterator[Day]:
    """Everything that can happen has happened."""
    add_recorder(pet)
    story = Story(pet, scraped=prometheus.now)

    async def live() -> Day:
        await pet_asleep(pet)
        await eventually(
            "scraped a few times",
            lambda: _scrapes(prometheus, 'up{job="kotatsu",pod=~"kotatsu-.+"}') >= 5,
        )
        healthy = prometheus.alerts()
        began = time.time()
        await story.play()
        return Day(prometheus, pet, healthy, began, story)

    yield asyncio.run(live())
    story.end()


def _scrapes(prometheus: Prometheus, selector: str) -> float:
    """How often the least often scraped of some targets has been scraped."""
    return min((n for _, n in prometheus.now(f"count_over_time({selector}[10m])")), default=0)


def lines() -> Iterator[tuple[str, Object, Object]]:
    """Each line of each panel: its dashboard, its panel, and what it asks for."""
    for path in sorted((ROOT / "charts/kotatsu/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield path.stem, panel, target


def test_every_line_of_every_panel_has_data(day: Day) -> None:
    table, empty = (
        ["| dashboard | panel | line | last value | unit |", "|---|---|---|---:|---|"],
        [],
    )
    for board, panel, target in lines():
        expr = filled(target["expr"], day.kubectl.namespace, RATE)
        found = day.since(expr)
        unit = panel["fieldConfig"]["defaults"]["unit"]
        for labels, values in found:
            line = legend(target["legendFormat"], labels)
            table.append(f"| {board} | {panel['title']} | {line} | {values[-1]:.4g} | {unit} |")
        empty += [] if found else [f"{board}: {panel['title']}: {expr}"]
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text("".join(f"{line}\n" for line in table))
    assert empty == []


def test_prometheus_has_all_alerts_and_can_evaluate_them(day: Day) -> None:
    rules = [r for g in day.prometheus.ask("/rules")["groups"] for r in g["rules"]]
    assert {rule["name"] for rule in rules} == set(ALERTS)
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules} == {("ok", "")}


OFF = {
    "kotatsu_notifications_total",
    "kotatsu_calendar_failed",
    "kotatsu_calendar_read_timestamp_seconds",
}
"""Series of features that are off by default."""


def test_every_series_that_an_alert_asks_for_is_there(day: Day) -> None:
    for alert, rule in ALERTS.items():
        selectors = re.findall(r"kotatsu_\w+(?:{[^}]*})?", rule["expr"])
        assert selectors, alert
        for selector in selectors:
            assert day.since(selector) or selector.partition("{")[0] in OFF, (alert, selector)


def test_no_alert_fires_while_nothing_is_wrong(day: Day) -> None:
    assert day.healthy == set()


async def test_what_went_wrong_is_told_and_nothing_else(day: Day) -> None:
    told = {
        ("KotatsuWindowOpenedCold", "gala"),
        ("KotatsuWarmUpLate", "gala"),
        ("KotatsuHoldsRefused", "crowd"),
        ("KotatsuBudgetExhausted", "spender"),
        ("KotatsuOverrideEndsDuringTraffic", "guests"),
    }

    def fired() -> set[tuple[str, str]]:
        return {
            (labels["alertname"], labels.get("name", ""))
            for labels, _ in day.since('ALERTS{alertstate="firing"}')
        }

    with contextlib.suppress(AssertionError):  # the comparison below says more
        await eventually("all of it told", lambda: told <= fired())
    # On its way to 1,000 a budget passes 800, and a scrape may or may not see that.
    assert fired() - {("KotatsuBudgetNearlySpent", "spender")} == told


def test_the_reference_names_what_there_is_and_nothing_else(day: Day) -> None:
    there = day.prometheus.ask("/label/__name__/values", start=day.began - 60)
    assert {name for name in there if name.startswith("kotatsu_")} == names() - OFF


def test_every_series_of_a_pool_says_which_pool_it_is(day: Day) -> None:
    found = day.since(
        'count by (__name__) ({__name__=~"kotatsu_(pool|cost|activator)_.+",name=""})'
    )
    assert found == []


@pytest.mark.parametrize("role", ["kotatsu", "apps", *SERVICES])
async def test_whatever_finds_and_scrapes_a_sleeping_pool_lets_it_sleep(
    day: Day, role: str
) -> None:
    """The pool fell asleep under these scrapes, and slept on under them."""
    scraped = f'up{{job="{role}"}}'
    if role in SERVICES:
        scraped = f'up{{job="{role}",service="quiet"}}'
    if role in ("service", "endpointslice"):
        # These find it asleep too: at its Service, or at the activator that stands in for its pods.
        await eventually(
            "minutes' worth of scrapes",
            lambda: day.prometheus.now(f"count_over_time({scraped}[10m]) >= {SCRAPES}"),
        )
        # A busy machine may fail a scrape: then the 20 s begin again.
        await eventually(
            "20 s in which no target is down",
            lambda: day.prometheus.now(f"min_over_time({scraped}[20s]) == 1"),
        )
    else:
        assert day.since(scraped), "it was never scraped"
    app = App("quiet", day.kubectl)
    assert (app.phase(), app.replicas(), scale_ups(day.kubectl, app.name)) == ("Asleep", 0, 1)
    wakes = day.since('kotatsu_activator_wakes_total{name="quiet"}')
    assert [max(values) for _, values in wakes] == [0]
