"""The Prometheus Operator with both charts, and the selectors of a stack."""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import httpx
import pytest
import yaml
from e2e import prometheus_operator as it
from e2e.conftest import ROOT, built, helm_install, install_platform
from e2e.kit import Kubectl, Object, eventually
from e2e.prometheus import RIGHTS, Prometheus, from_docs, of_the_example

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, pytest.mark.alone]

PAGE = ROOT / "docs/how-to/monitoring.md"
LABELS: dict[str, str] = yaml.safe_load(from_docs(PAGE, "release:"))["podMonitor"]["labels"]
GROUPS: list[Object] = yaml.safe_load((ROOT / "charts/kotatsu/rules/kotatsu.yaml").read_text())[
    "groups"
]
PARTS = ("auth", "feed", "gateway", "github-stub")
"""Of the pet."""


@dataclass(frozen=True)
class Stack:
    """The Operator, the Prometheus it has made, and what that watches."""

    operator: it.Operator
    prometheus: Prometheus
    monitoring: Kubectl
    """In the namespace of Prometheus."""
    pet: Kubectl
    """In the namespace of the platform and the pet."""

    def job(self, monitor: str) -> str:
        """The scrape job that the Operator makes of a PodMonitor."""
        return f"podMonitor/{self.pet.namespace}/{monitor}/0"


@pytest.fixture(scope="module")
def stack(
    make_namespace: Callable[[str], Kubectl],
    on_node: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Both charts installed where the Operator's API is, as the page says."""
    if not on_node:
        pytest.skip("this machine cannot reach pods by their address (it can on tools/node)")
    with it.operating(tmp_path_factory.mktemp("operator")) as operator:
        pet, monitoring = make_namespace("pet"), make_namespace("monitoring")
        _install(pet)
        rights = of_the_example(*RIGHTS)
        rights[-1]["subjects"][0]["namespace"] = monitoring.namespace
        monitoring.apply(rights[0], it.prometheus("stack", "kube-prometheus-stack"))
        monitoring.apply(it.prometheus("other", "other", replicas=0))
        pet.apply(*rights[1:])
        monitoring("wait", "--for=create", "secret/prometheus-other", "--timeout=60s")
        pod = "prometheus-stack-0"
        monitoring("wait", "--for=create", f"pod/{pod}", "--timeout=60s")
        monitoring("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s")
        address = monitoring.get("pod", pod)["status"]["podIP"]
        yield Stack(operator, Prometheus(f"http://{address}:9090"), monitoring, pet)


def _install(kubectl: Kubectl) -> None:
    labels = (*(f"podMonitor.labels.{k}={v}" for k, v in LABELS.items()), "podMonitor.interval=2s")
    rules = (f"prometheusRule.labels.{k}={v}" for k, v in LABELS.items())
    install_platform(kubectl, *labels, *rules)
    sets = ["githubStub.enabled=true", "voice.enabled=false", "auth.pool.enabled=false", *labels]
    # feed is a pool that is always warm.
    window = {"name": "all-day", "schedule": "0 * * * *", "duration": "90m", "replicas": "1"}
    sets += [f"feed.pool.windows[0].{key}={value}" for key, value in window.items()]
    for name in PARTS:
        key = "githubStub" if name == "github-stub" else name
        sets += built(f"{key}.image", name)
    helm_install(kubectl, "pet", "pet", *sets, wait=False)
    for name in PARTS:
        kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s")


def pods(kubectl: Kubectl, monitor: str) -> set[str]:
    """The names of the pods that a PodMonitor of ours is for, by its chart's labels."""
    if monitor != "pet":
        component = "activator" if monitor == "kotatsu-activator" else "operator"
        labels = {"app.kubernetes.io/name": "kotatsu", "app.kubernetes.io/component": component}
        found = kubectl.items("pods", **labels)
    else:
        found = kubectl.items("pods", **{"app.kubernetes.io/part-of": "pet"})
    labels = {pod["metadata"]["name"]: pod["metadata"]["labels"] for pod in found}
    return {n for n, own in labels.items() if own["app.kubernetes.io/name"] != "gateway"}


@pytest.mark.parametrize(
    ("monitor", "at_least"), [("kotatsu", 1), ("kotatsu-activator", 2), ("pet", 3)]
)
async def test_every_pod_of_a_chart_is_found_and_up(
    stack: Stack, monitor: str, at_least: int
) -> None:
    expected = pods(stack.pet, monitor)
    assert len(expected) >= at_least

    def up() -> set[str]:
        found = stack.prometheus.targets(stack.job(monitor))
        return {t["labels"]["pod"] for t in found if t["health"] == "up"}

    await eventually(f"{expected} up", lambda: up() == expected)


async def test_every_metric_that_our_pods_have_arrives_under_its_pools_name(stack: Stack) -> None:
    told: set[str] = set()
    async with httpx.AsyncClient(trust_env=False) as http:
        for pod in stack.pet.items("pods", **{"app.kubernetes.io/name": "kotatsu"}):
            page = await http.get(f"http://{pod['status']['podIP']}:8080/metrics")
            told |= set(re.findall(r"^(kotatsu_\w+)", page.text, re.MULTILINE))
    assert "kotatsu_pool_phase" in told

    def missing() -> set[str]:
        return told - set(stack.prometheus.ask("/label/__name__/values"))

    await eventually("all of them there", lambda: not missing())
    ready = f'kotatsu_pool_replicas_ready{{namespace="{stack.pet.namespace}",name="feed"}} == 1'
    await eventually("feed Ready", lambda: stack.prometheus.now(ready))


async def test_all_our_rules_are_loaded_and_evaluated(stack: Stack) -> None:
    ours = {(group["name"], rule["alert"]) for group in GROUPS for rule in group["rules"]}

    def healthy() -> set[tuple[str, str]]:
        groups = stack.prometheus.ask("/rules")["groups"]
        return {(g["name"], r["name"]) for g in groups for r in g["rules"] if r["health"] == "ok"}

    await eventually("all evaluated", lambda: healthy() == ours)


def test_the_operators_webhook_accepts_our_rules_and_refuses_a_broken_one(stack: Stack) -> None:
    rule = stack.pet.get("prometheusrule", "kotatsu")
    assert stack.operator.judge(rule)["allowed"] is True
    broken = deepcopy(rule)
    broken["spec"]["groups"][0]["rules"][0]["expr"] = "sum("
    assert stack.operator.judge(broken)["allowed"] is False


async def test_a_stack_of_another_release_finds_nothing_of_ours(stack: Stack) -> None:
    """So the label of the page is what it takes."""
    jobs = {stack.job(monitor) for monitor in ("kotatsu", "kotatsu-activator", "pet")}
    groups = {group["name"] for group in GROUPS}
    assert it.scrape_jobs(stack.monitoring, "stack") == jobs
    assert it.rule_groups(stack.monitoring, "stack") == groups
    assert it.scrape_jobs(stack.monitoring, "other") == set()
    assert it.rule_groups(stack.monitoring, "other") == set()
