"""A set over the previews of a vendor's chart, none of which has a WarmPool: the whole life."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from e2e.conftest import (
    PRICES,
    MakeNamespace,
    cluster_ip,
    install_platform,
    remove_namespace,
    served_by,
)
from e2e.kit import App, Kubectl, config_map, eventually, workload
from e2e.stream import Stream

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, pytest.mark.timeout(1800)]

TIERS = ("web", "api", "db")
PREVIEWS = 10
ENV = "env"
WITHIN = 240.0
"""Seconds for what concerns all previews."""


@pytest.fixture(scope="module")
def home(make_namespace: MakeNamespace) -> Kubectl:
    """The release, which may act on sets."""
    kubectl = make_namespace("sets")
    install_platform(kubectl, "sets.enabled=true", f"--set-json=prices={json.dumps(PRICES)}")
    return kubectl


class Previews:
    """The set, and the namespaces that it selects."""

    def __init__(self, home: Kubectl, make_namespace: MakeNamespace) -> None:
        self.home, self._make = home, make_namespace
        self.name = home.namespace
        self.order = [{"matchLabels": {"tier": tier}} for tier in TIERS]

    def deploy(self) -> dict[str, App]:
        """One more preview: three tiers, with a pod each."""
        kubectl = served_by(self.home, self._make("preview"))
        kubectl("label", "namespace", kubectl.namespace, f"{ENV}={self.name}")
        objects = [config_map()]
        for tier in TIERS:
            app, service = workload(tier, recorder="")
            app["metadata"]["labels"]["tier"] = tier
            (container,) = app["spec"]["template"]["spec"]["containers"]
            container["resources"]["requests"]["cpu"] = "5m"  # thirty fit on a small node
            objects += [app, service]
        kubectl.apply(*objects)
        return {tier: App(tier, kubectl) for tier in TIERS}

    def write(self, **spec: Any) -> None:
        template = {"spec": {"idleAfter": "20s", "holdTimeout": "3m", "dependsOn": self.order}}
        given = {"namespaceSelector": {"matchLabels": {ENV: self.name}}, "template": template}
        labels = {"kotatsu.dev/install": self.home.namespace}
        self.home.apply(
            {
                "apiVersion": "kotatsu.dev/v1beta1",
                "kind": "WarmPoolSet",
                "metadata": {"name": self.name, "labels": labels},
                "spec": given | spec,
            }
        )

    def status(self) -> dict[str, Any]:
        found = self.home.get("warmpoolset", self.name)
        return dict(found.get("status") or {})

    def condition(self, kind: str) -> dict[str, Any]:
        found = {c["type"]: c for c in self.status().get("conditions", ())}
        return dict(found.get(kind, {}))


@pytest.fixture
def previews(home: Kubectl, make_namespace: MakeNamespace) -> Iterator[Previews]:
    made = Previews(home, make_namespace)
    yield made
    home("delete", "warmpoolset", made.name, "--ignore-not-found")


async def wake(web: App, http: httpx.AsyncClient) -> dict[str, tuple[str, str]]:
    """Send a request; returns when each tier's pod was created, and when its container started.

    Not when it was Ready: the activators ask a pod themselves, and are faster than the kubelet.
    """
    web.address = cluster_ip(web.kubectl, web.name)
    await web.send(http)
    found = {}
    for pod in await asyncio.to_thread(web.kubectl.items, "pods"):
        (container,) = pod["status"]["containerStatuses"]
        started = (container["state"].get("running") or {}).get("startedAt", "")
        found[pod["metadata"]["labels"]["app"]] = pod["metadata"]["creationTimestamp"], started
    return found


async def asleep(app: App) -> None:
    await eventually(f"pool of {app.name}", lambda: has_pool(app), WITHIN)
    await app.asleep(WITHIN)


def has_pool(app: App) -> bool:
    return any(pool["metadata"]["name"] == app.name for pool in app.kubectl.items("warmpools"))


async def test_previews_sleep_wake_in_order_cost_together_and_are_as_they_were_without_the_set(
    previews: Previews, http: httpx.AsyncClient
) -> None:
    environments = [previews.deploy() for _ in range(PREVIEWS)]
    apps = [app for one in environments for app in one.values()]
    previews.write()
    for app in apps:
        await asleep(app)
    await eventually("counted", lambda: previews.status().get("asleep") == len(apps), WITHIN)
    assert (previews.status()["selected"], previews.status()["refused"]) == (len(apps), 0)

    # All environments are asked at once: each wakes from its database on.
    for pods in await asyncio.gather(*(wake(one["web"], http) for one in environments)):
        (_, db), (api_created, api), (web_created, _) = (pods[tier] for tier in reversed(TIERS))
        assert db <= api_created, pods
        assert api <= web_created, pods

    # A preview comes, another one goes.
    late = previews.deploy()
    for app in late.values():
        await asleep(app)
    gone = environments.pop()
    remove_namespace(gone["web"].kubectl.namespace)
    there = 3 * (len(environments) + 1)
    await eventually("gone", lambda: previews.status().get("made") == there, WITHIN)

    # The template is edited, and a new version is rolled out under requests.
    asked = environments[0]["web"]
    async with Stream(asked, pause=0.2, timeout=180) as stream:
        previews.write(template={"spec": {"idleAfter": "15s", "holdTimeout": "3m"}})
        await eventually("edited", lambda: asked.pool()["spec"]["idleAfter"] == "15s", WITHIN)
        asked.kubectl("rollout", "restart", "deployment/web")
        asked.kubectl("rollout", "status", "deployment/web", "--timeout=180s")
    assert not stream.failures

    # What they cost together is limited: a pod costs 1 a second.
    spent = float(asked.status()["cost"]["accrued"])
    previews.write(
        template={"spec": {"idleAfter": "15s", "holdTimeout": "3m"}},
        budget={"limit": f"{max(spent, 1):.0f}", "onExhausted": "Sleep"},
    )
    await eventually(
        "spent", lambda: previews.condition("BudgetAvailable").get("reason") == "Exhausted", WITHIN
    )
    late["web"].address = cluster_ip(late["web"].kubectl, "web")
    await asleep(late["web"])
    await eventually("told", lambda: late["web"].failed("BudgetAvailable"), WITHIN)
    response = await http.get(f"http://{late['web'].address}/")
    assert (response.status_code, "budget" in response.text) == (503, True)
    previews.write(template={"spec": {"idleAfter": "15s", "holdTimeout": "3m"}})
    await eventually("again", lambda: not late["web"].failed("BudgetAvailable"), WITHIN)
    await late["web"].send(http)

    # The set is deleted under requests: each workload is as it was.
    async with Stream(asked, pause=0.2, timeout=180) as stream:
        previews.home("delete", "warmpoolset", previews.name)
        rest = [app for one in (*environments, late) for app in one.values()]
        for app in rest:
            await eventually(
                f"{app.name} without a pool", lambda app=app: not has_pool(app), WITHIN
            )
            await eventually(f"{app.name} with a pod", app.ready_pods, WITHIN)
    assert not stream.failures
    assert {app.replicas() for app in rest} == {1}
