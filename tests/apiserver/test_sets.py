"""WarmPoolSets on a real API server: one object makes the pools of many workloads."""

import asyncio
import json
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from apiserver.conftest import MakeNamespace, install_platform
from apiserver.kit import Namespace, eventually
from apiserver.test_demo_mode import demo_mode
from e2e.kit import App, pool, workload

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(300)]

ENV = "env"
"""The label of namespaces by which the sets of a test select them."""


@pytest.fixture(scope="module")
def home(make_namespace: MakeNamespace) -> Namespace:
    """An install that acts on sets."""
    made = make_namespace("home")
    asyncio.run(install_platform(made, "sets.enabled=true"))
    return made


class Sets:
    """Writes the sets of one test, and its namespaces."""

    def __init__(self, home: Namespace, make_namespace: MakeNamespace, name: str) -> None:
        self.home, self.name = home, name
        self._make = make_namespace

    def namespace(self, purpose: str = "preview") -> Namespace:
        """A namespace that the sets of the test select."""
        made = self._make(purpose, home=self.home)
        self.label(made, self.name)
        return made

    @staticmethod
    def label(namespace: Namespace, value: str | None) -> None:
        labels = {"metadata": {"labels": {ENV: value}}}
        namespace.patch("namespace", namespace.namespace, labels)

    def manifest(self, name: str = "", **spec: Any) -> dict[str, Any]:
        template = {"spec": {"idleAfter": "1s"}}
        given = {"namespaceSelector": {"matchLabels": {ENV: self.name}}, "template": template}
        labels = {"kotatsu.dev/install": self.home.namespace}
        return {
            "apiVersion": "kotatsu.dev/v1beta1",
            "kind": "WarmPoolSet",
            "metadata": {"name": f"{self.name}{name}", "labels": labels},
            "spec": given | spec,
        }

    def write(self, name: str = "", **spec: Any) -> str:
        """Create or replace a set; its name."""
        self.home.apply(self.manifest(name, **spec))
        return f"{self.name}{name}"

    def status(self, name: str = "") -> dict[str, Any]:
        """What the operator says of a set."""
        found = self.home.get("warmpoolset", f"{self.name}{name}")
        return dict(found.get("status") or {})

    def condition(self, kind: str, name: str = "") -> dict[str, Any]:
        found = {c["type"]: c for c in self.status(name).get("conditions", ())}
        return dict(found.get(kind, {}))


@pytest.fixture
def sets(home: Namespace, make_namespace: MakeNamespace) -> Sets:
    return Sets(home, make_namespace, f"previews-{uuid.uuid4().hex[:5]}")


def deploy(kubectl: Namespace, name: str = "web") -> App:
    kubectl.apply(*workload(name))
    return App(name, kubectl, address=f"{name}.{kubectl.namespace}")


async def asleep(app: App) -> None:
    """Wait until there is a pool, and it sleeps."""

    def sleeps() -> bool:
        made = pools(app.kubectl).get(app.name, {})
        return bool(made.get("status", {}).get("phase") == "Asleep" and app.replicas() == 0)

    await eventually(f"{app.name} asleep", sleeps)


def pools(kubectl: Namespace) -> dict[str, dict[str, Any]]:
    return {pool["metadata"]["name"]: pool for pool in kubectl.items("warmpools")}


async def test_each_workload_that_comes_gets_a_pool_and_gets_back_what_it_had_without_the_set(
    sets: Sets, http: httpx.AsyncClient
) -> None:
    first, second = sets.namespace(), sets.namespace()
    apps = [deploy(first), deploy(first, "api"), deploy(second)]
    name = sets.write()
    for app in apps:
        await asleep(app)
    made = pools(first)["web"]
    assert made["metadata"]["labels"] == {"kotatsu.dev/set": name}
    assert (made["spec"]["idleAfter"], made["metadata"]["generation"]) == ("1s", 1)
    assert made["spec"]["route"] in ("Auto", "Activator")  # whether a pod was Ready already
    await eventually("status", lambda: sets.status().get("asleep") == 3)
    assert sets.status()["selected"] == sets.status()["made"] == 3

    await apps[0].send(http)
    await asleep(apps[0])
    late = deploy(second, "late")
    await asleep(late)

    first.delete("deployment", "api")
    await eventually("gone", lambda: "api" not in pools(first))

    sets.home.delete("warmpoolset", name)
    await eventually("no pools", lambda: not pools(first) and not pools(second))
    for app in (apps[0], apps[2], late):
        await eventually("as it was", lambda app=app: app.replicas() == 1)


async def test_a_pool_written_by_hand_wins_and_a_note_on_an_object_keeps_it_out(
    sets: Sets,
) -> None:
    shop = sets.namespace()
    own, plain = deploy(shop, "own"), deploy(shop, "plain")
    shop.apply(pool("mine", targetRef={"name": "own"}, service="own"))
    sets.write()
    await eventually("pool", lambda: "plain" in pools(shop))
    await eventually("refused", lambda: sets.status().get("refused") == 1)
    (refusal,) = sets.status()["refusals"]
    assert (refusal["workload"], refusal["reason"]) == ("Deployment own", "HasPool")
    assert set(pools(shop)) == {"mine", "plain"}
    await asleep(plain)

    note = {"metadata": {"annotations": {"kotatsu.dev/sets": "off"}}}
    shop.patch("deployment", "plain", note)
    await eventually("kept out", lambda: set(pools(shop)) == {"mine"})
    await eventually("as it was", lambda: plain.replicas() == 1)

    shop.delete("warmpool", "mine")
    await eventually("made", lambda: set(pools(shop)) == {"own"})
    shop.patch("namespace", shop.namespace, note)
    await eventually("kept out", lambda: not pools(shop))
    await eventually("as it was", lambda: own.replicas() == 1)
    sets.write(optOut="Ignored")
    await eventually("made", lambda: set(pools(shop)) == {"own", "plain"})


async def test_an_edit_of_the_template_changes_the_pools_and_wakes_none(sets: Sets) -> None:
    shop = sets.namespace()
    apps = [deploy(shop), deploy(shop, "api")]
    sets.write()
    for app in apps:
        await eventually("pool", lambda app=app: app.name in pools(shop))
        await asleep(app)
    sets.write(template={"spec": {"idleAfter": "2s", "waitingPage": True}})
    await eventually(
        "changed",
        lambda: all(p["spec"].get("waitingPage") is True for p in pools(shop).values()),
    )
    sets.write(template={"spec": {"idleAfter": "2s"}})
    await eventually(
        "removed", lambda: not any(p["spec"].get("waitingPage") for p in pools(shop).values())
    )
    assert [app.replicas() for app in apps] == [0, 0]


async def test_a_field_that_somebody_has_changed_is_reported_and_left_as_it_is(sets: Sets) -> None:
    shop = sets.namespace()
    deploy(shop)
    sets.write()
    await eventually("pool", lambda: "web" in pools(shop))
    shop.patch("warmpool", "web", {"spec": {"idleAfter": "7s"}})
    deploy(shop, "late")  # the namespace is looked at again
    await eventually("refused", lambda: sets.status().get("refused") == 1)
    assert sets.status()["refusals"][0]["reason"] == "Conflict"
    assert "spec.idleAfter" in sets.status()["refusals"][0]["message"]
    sets.write(template={"spec": {"idleAfter": "3s"}})
    await eventually("late", lambda: pools(shop)["late"]["spec"]["idleAfter"] == "3s")
    assert pools(shop)["web"]["spec"]["idleAfter"] == "7s"


async def test_what_a_set_says_wrong_is_one_condition_and_its_pools_stay(sets: Sets) -> None:
    shop = sets.namespace()
    app = deploy(shop)
    sets.write()
    await eventually("pool", lambda: "web" in pools(shop))
    wrong = {
        "windows": ({"spec": {"noSuchField": []}}, "noSuchField"),
        "zone": ({"spec": {"timeZone": "Mars/Base"}}, "Mars/Base"),
        "target": ({"spec": {"targetRef": {"name": "web"}}}, "targetRef"),
        "value": ({"spec": {"idleAfter": "soon"}}, "idleAfter"),
    }
    for template, said in wrong.values():
        sets.write(template=template)
        await eventually(
            said, lambda said=said: said in sets.condition("Accepted").get("message", "")
        )
        assert sets.condition("Accepted")["status"] == "False"
        assert pools(shop)["web"]["spec"]["idleAfter"] == "1s"
    sets.write()
    await eventually("right", lambda: sets.condition("Accepted").get("status") == "True")
    await asleep(app)


async def test_the_older_of_two_sets_has_a_workload_and_both_say_it(sets: Sets) -> None:
    shop = sets.namespace()
    deploy(shop)
    first = sets.write("a")
    await eventually("pool", lambda: "web" in pools(shop))
    await asyncio.sleep(1)  # times of creation are whole seconds
    second = sets.write("b")
    for name in ("a", "b"):
        await eventually(
            name, lambda n=name: sets.condition("Exclusive", n).get("status") == "False"
        )
    assert second in sets.condition("Exclusive", "a")["message"]
    assert pools(shop)["web"]["metadata"]["labels"]["kotatsu.dev/set"] == first
    sets.home.delete("warmpoolset", first)
    await eventually(
        "the other one",
        lambda: (
            pools(shop).get("web", {"metadata": {"labels": {}}})["metadata"]["labels"]
            == {"kotatsu.dev/set": second}
        ),
    )


async def test_an_environment_wakes_in_its_order(sets: Sets, http: httpx.AsyncClient) -> None:
    shop = sets.namespace()
    tiers = ("web", "api", "db")
    apps = {}
    for tier in tiers:
        apps[tier] = deploy(shop, tier)
        shop.patch("deployment", tier, {"metadata": {"labels": {"tier": tier}}})
    order = [{"matchLabels": {"tier": tier}} for tier in tiers]
    sets.write(template={"spec": {"idleAfter": "1s", "dependsOn": order}})
    await eventually("pools", lambda: set(pools(shop)) == set(tiers))
    await eventually(
        "order",
        lambda: (
            [pools(shop)[tier]["spec"].get("dependsOn") for tier in tiers]
            == [["api", "db"], ["db"], None]
        ),
    )
    for app in apps.values():
        await asleep(app)
    await apps["web"].send(http)
    ready = {tier: _ready_at(apps[tier]) for tier in tiers}
    assert ready["db"] <= ready["api"] <= ready["web"]


def _ready_at(app: App) -> str:
    (found,) = [pod for pod in app.pods() if "deletionTimestamp" not in pod["metadata"]]
    conditions = {c["type"]: c for c in found["status"]["conditions"]}
    return str(conditions["Ready"]["lastTransitionTime"])


async def test_the_budget_of_a_set_stops_its_pools_together_also_with_deleted_ones(
    sets: Sets, http: httpx.AsyncClient
) -> None:
    shop = sets.namespace()
    for name in ("one", "two"):
        deploy(shop, name)
    # A pod costs 1,000 a second.
    sets.write(budget={"limit": "15000", "onExhausted": "Sleep"})
    for round_ in range(6):
        if sets.condition("BudgetAvailable").get("status") == "False":
            break
        preview = deploy(shop, f"preview-{round_}")
        await asleep(preview)
        shop.delete("deployment", preview.name)
        await eventually("gone", lambda n=preview.name: n not in pools(shop))
    await eventually(
        "spent", lambda: sets.condition("BudgetAvailable").get("reason") == "Exhausted", within=60
    )
    # What it spends in two looks beyond: two pods at most, and the status of the set after them.
    assert 15000 <= float(sets.status()["cost"]["accrued"]) < 30000
    living = [float(p["status"]["cost"]["accrued"]) for p in pools(shop).values()]
    assert sum(living) < 15000
    late = deploy(shop, "late")
    await asleep(late)
    response = await http.get(f"http://{late.address}/")
    assert response.status_code == 503
    assert "budget" in response.text
    sets.write(budget={"limit": "15000000", "onExhausted": "Sleep"})
    await eventually("again", lambda: sets.condition("BudgetAvailable").get("status") == "True")
    await late.send(http)


async def test_the_route_is_auto_where_a_ready_pod_reports_its_requests_in_flight(
    sets: Sets,
) -> None:
    shop = sets.namespace()
    deploy(shop)
    await eventually("Ready", lambda: shop.endpoints("web"))
    sets.write()
    await eventually("pool", lambda: "web" in pools(shop))
    assert pools(shop)["web"]["spec"]["route"] == "Auto"
    sets.write("other", selector={"matchLabels": {"no": "such"}})
    await eventually("none", lambda: sets.status("other").get("selected") == 0)


async def test_check_says_what_a_set_selects_before_there_is_one_and_the_set_makes_just_that(
    sets: Sets, tmp_path: Path
) -> None:
    shop = sets.namespace()
    for name in ("web", "own", "plain"):
        deploy(shop, name)
    shop.apply(pool("mine", targetRef={"name": "own"}, service="own"))
    file = tmp_path / "set.json"

    async def check(*words: str, code: int = 0, **spec: Any) -> str:
        file.write_text(json.dumps(sets.manifest(**spec)))
        return await demo_mode(sets.home, "check", "-f", str(file), *words, code=code)

    out = await check(
        selector={"matchExpressions": [{"key": "no-such", "operator": "Exists"}]}, code=1
    )
    assert "selects 0 workloads in 1 namespaces" in out
    out = await check()
    assert "Deployment web" in out
    assert "Deployment own: HasPool: WarmPool mine" in out
    assert "selects 3 workloads in 1 namespaces: 2 pools, 1 refused" in out
    (found,) = json.loads(await check("-o", "json"))
    assert not sets.home.items("warmpoolsets", no="such")

    out = await check(template={"spec": {"noSuchField": []}}, code=1)
    assert "noSuchField" in out
    out = await check(template={"spec": {"targetRef": {}}}, code=1)
    assert "spec.template.spec.targetRef differs between pools" in out
    out = await check(namespaceSelector=None, code=1)
    assert "namespaceSelector" in out

    sets.write()
    await eventually("pools", lambda: len(pools(shop)) == 3)
    assert {one["metadata"]["name"] for one in found["pools"]} == pools(shop).keys() - {"mine"}


async def test_a_pool_that_had_no_request_for_the_time_is_unused(
    sets: Sets, http: httpx.AsyncClient
) -> None:
    shop = sets.namespace()
    used, left = deploy(shop, "used"), deploy(shop, "left")
    sets.write(unusedAfter="4s")
    for app in (used, left):
        await asleep(app)

    def unused() -> list[str]:
        found = {c["type"]: c for c in left.status().get("conditions", ())}
        if found.get("Visited", {}).get("reason") != "Unused":
            # A sleeping pool is looked at again with each change.
            shop.patch("warmpool", "left", {"metadata": {"annotations": {"a": str(time.time())}}})
            return []
        return list(sets.status().get("unusedPools", ()))

    await eventually("unused", lambda: f"{shop.namespace}/left" in unused(), every=1)
    await left.send(http)
    await eventually(
        "used again",
        lambda: left.conditions().get("Visited", {}).get("reason") == "InUse",
    )
