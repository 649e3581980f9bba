"""Each object of a release is deleted, one by one and all at once: nobody else notices.

The controller of EndpointSlices is the real one. An admission policy whose parameters are missing
once kept it from writing any slice of the cluster.
"""

import asyncio
import json
from typing import Any

import httpx
import pytest
from apiserver.asked import Place
from apiserver.conftest import SMALL, WITHOUT, MakeNamespace, are_ready
from apiserver.kit import SINGLETON, Namespace, eventually
from chart import kit as chart
from e2e.kit import App, Object, is_ending, pool, workload
from e2e.rights import POLICIES

from kotatsu_operator.core.protocol import ACTIVATOR_LABELS

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(600)]

HOOK = "helm.sh/hook"
SLICE = "EndpointSlice"


class Release:
    """A release with its policies, for the namespaces of this test alone."""

    def __init__(self, home: Namespace) -> None:
        self.home = home
        self.label = f"team-{home.namespace}"
        selector = json.dumps({"matchLabels": {self.label: "yes"}})
        sets = (f"--set={setting}" for setting in (*WITHOUT, *SMALL, "sets.enabled=true"))
        rendered = chart.render("kotatsu", None, f"--set-json=namespaceSelector={selector}", *sets)
        place = Place(home.plane, home.namespace, f"{home.namespace}-other")
        self.objects: list[Object] = [
            json.loads(place(json.dumps(obj)))
            for obj in rendered.objects
            if HOOK not in obj["metadata"].get("annotations", {})
            and obj["kind"] not in ("CustomResourceDefinition", "NetworkPolicy")
        ]

    def select(self, kubectl: Namespace) -> None:
        """Let the release serve a namespace."""
        meta = {"name": kubectl.namespace, "labels": {self.label: "yes"}}
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})

    async def repair(self) -> None:
        """Apply all objects again, as `helm upgrade` does."""
        self.home.apply(*self.objects)
        await eventually("the platform is ready", lambda: are_ready(self.home))

    def delete(self, *objects: Object) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.home("delete", "--wait=false", "--ignore-not-found", "-f", "-", stdin=text)

    def slices(self) -> list[Object]:
        """The EndpointSlices of the activators' Service: the parameters of a policy."""
        found = self.home.items(
            "endpointslices", **{"kubernetes.io/service-name": "kotatsu-activators"}
        )
        return [obj | {"apiVersion": "discovery.k8s.io/v1", "kind": SLICE} for obj in found]

    async def answers(self, app: App, http: httpx.AsyncClient) -> None:
        """Wake an app, once no slice leads to an activator that ended without its account."""

        def leads_to_living_ones() -> bool:
            pods = self.home.items("pods", **ACTIVATOR_LABELS)
            living = {pod["status"].get("podIP") for pod in pods if not is_ending(pod)}
            found = {address for address, _ in app.kubectl.endpoints(app.name)}
            return bool(found) and found <= living

        await eventually("only living activators", leads_to_living_ones)
        await app.send(http)
        await asleep(app)


class Bystander:
    """A namespace that no Kotatsu serves, with a Service whose pods come and go."""

    def __init__(self, kubectl: Namespace) -> None:
        self.kubectl = kubectl
        self.count = 0

    async def goes_on(self) -> None:
        """Make an app with two pods, and one more; its Service has to follow."""
        self.count += 1
        name = f"app-{self.count}"
        deployment, *others = workload(name)
        self.kubectl.apply(deployment, *others)
        for wanted in (1, 2, 0):
            deployment["spec"]["replicas"] = wanted
            self.kubectl.apply(deployment)
            await eventually(
                f"{wanted} endpoints",
                lambda wanted=wanted: len(self.kubectl.endpoints(name)) == wanted,
            )
        for kind in ("deployment", "service"):
            self.kubectl.delete(kind, name)


def called(obj: Object) -> str:
    return f"{obj['kind']} {obj['metadata']['name']}"


async def asleep(app: App) -> None:
    await eventually(f"{app.name} asleep", lambda: app.phase() == "Asleep" and not app.pods())


@pytest.fixture(scope="module")
def release(make_namespace: MakeNamespace) -> Release:
    made = Release(make_namespace("home"))
    asyncio.run(made.repair())
    return made


@pytest.fixture(scope="module")
def bystander(make_namespace: MakeNamespace) -> Bystander:
    return Bystander(make_namespace("bystander"))


async def sleeping_app(release: Release, kubectl: Namespace) -> App:
    release.select(kubectl)
    kubectl.apply(*workload("web"), pool("web", idleAfter="1s"))
    app = App("web", kubectl, address=f"web.{kubectl.namespace}")
    await asleep(app)
    return app


async def test_the_deletion_of_any_object_concerns_nobody_else_and_applying_it_again_heals(
    release: Release, bystander: Bystander, make_namespace: MakeNamespace, http: httpx.AsyncClient
) -> None:
    app = await sleeping_app(release, make_namespace("shop"))
    kinds = {obj["kind"] for obj in release.objects}
    assert {"Service", "Deployment", "ClusterRole", *POLICIES} <= kinds
    assert any(SINGLETON in called(obj) for obj in release.objects)
    for obj in release.objects:
        release.delete(obj)
        try:
            await bystander.goes_on()
        except AssertionError as error:
            raise AssertionError(f"without {called(obj)}: {error}") from None
        finally:
            await release.repair()
    await release.answers(app, http)


async def test_the_slices_of_the_activators_service_come_back_by_themselves(
    release: Release, bystander: Bystander, make_namespace: MakeNamespace, http: httpx.AsyncClient
) -> None:
    app = await sleeping_app(release, make_namespace("shop"))
    before = release.slices()
    assert before
    release.delete(*before)
    await eventually("the slices are back", release.slices)
    await bystander.goes_on()
    await release.answers(app, http)


async def test_without_the_whole_release_everybody_else_goes_on_and_it_can_be_installed_again(
    release: Release, bystander: Bystander, make_namespace: MakeNamespace, http: httpx.AsyncClient
) -> None:
    app = await sleeping_app(release, make_namespace("shop"))
    # As when the release's namespace is deleted: what is of the cluster stays.
    of_cluster = (*POLICIES, "ClusterRole", "ClusterRoleBinding", "PriorityClass")
    inside = [obj for obj in release.objects if obj["kind"] not in of_cluster]
    for gone in (inside, release.objects):
        release.delete(*gone, *release.slices())
        try:
            await bystander.goes_on()
        finally:
            await release.repair()
        await release.answers(app, http)


async def test_the_policies_of_a_release_whose_namespace_is_gone_stop_no_other_release(
    release: Release, make_namespace: MakeNamespace
) -> None:
    home, gone = release.home.namespace, f"gone-{release.home.namespace}"
    left = [
        json.loads(json.dumps(obj).replace(home, gone))
        for obj in release.objects
        if obj["kind"] in POLICIES
    ]
    release.home.apply(*left)
    try:
        await asyncio.sleep(2)  # until the API server has read them
        await sleeping_app(release, make_namespace("shop"))
    finally:
        release.delete(*left)


def test_a_policy_with_parameters_matches_only_the_slices_of_activators() -> None:
    """Otherwise the API server denies all that it matches while a parameter is missing."""
    found: dict[str, Any] = {
        policy["metadata"]["name"]: policy["spec"]["matchConstraints"]["objectSelector"]
        for policy in chart.render("kotatsu").of(POLICIES[0])
        if "paramKind" in policy["spec"]
    }
    assert len(found) == 2
    label = {"endpointslice.kubernetes.io/managed-by": "activator.kotatsu.dev"}
    assert all(selector == {"matchLabels": label} for selector in found.values())
