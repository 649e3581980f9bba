"""Scales: of a Deployment, a StatefulSet, and a kind of a CRD."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from apiserver.asked import namespaces
from apiserver.keeper import Plane
from apiserver.kit import Namespace
from e2e import rollouts
from e2e.kit import Object
from lightkube import KubeConfig

from kotatsu_operator.core.pool.spec import BUILT_IN, ScaledKind
from kotatsu_operator.kube.client import Kube, Scale
from kotatsu_operator.kube.connection import Connection
from kotatsu_operator.kube.errors import ConflictError, NotFoundError
from kotatsu_operator.kube.objects import parts, resource_of
from kotatsu_operator.kube.views import workload_view

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(300)]

KINDS = {**BUILT_IN, "Rollout": ScaledKind("argoproj.io/v1alpha1", "Rollout", "rollouts")}
WORKLOADS = ("web", "StatefulSet/web", "Rollout/web")


def workload(kind: str, **spec: object) -> Object:
    labels = {"app": "web"}
    container = {"name": "app", "image": "localhost/none:1"}
    return {
        "apiVersion": KINDS[kind].api_version,
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            **spec,
        },
    }


@pytest.fixture(scope="module")
def here(plane: Plane) -> Namespace:
    """A namespace with a workload of each kind."""
    kubectl = Namespace(namespaces(plane, "scales").here, plane)
    kubectl.apply(rollouts.CRD)
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/rollouts.argoproj.io")
    kubectl.apply(
        workload("Deployment"), workload("StatefulSet", serviceName="web"), workload("Rollout")
    )
    return kubectl


@pytest.fixture
async def kube(plane: Plane) -> AsyncIterator[Kube]:
    config = KubeConfig.from_file(plane.kubeconfig).get()
    kube = Kube(Connection(config, "scales"), scaled=KINDS)
    yield kube
    await kube.close()


@pytest.mark.parametrize("name", WORKLOADS)
async def test_a_scale_is_raised_and_set_at_the_version_that_was_read(
    kube: Kube, here: Namespace, name: str
) -> None:
    namespace = here.namespace
    asleep = await _at_rest(kube, namespace, name)
    assert asleep.replicas == 0
    raised = await kube.raise_scale(namespace, name, asleep.version)
    assert (raised.replicas, raised.version == asleep.version) == (1, False)
    with pytest.raises(ConflictError):
        await kube.raise_scale(namespace, name, asleep.version)
    with pytest.raises(ConflictError):
        await kube.put_scale(namespace, name, 5, asleep.version)
    awake = await kube.get_scale(namespace, name)
    assert awake.replicas == 1
    seen = await kube.get(resource_of(KINDS[parts(name)[0]]), namespace, "web")
    view = workload_view(seen)
    assert (view.replicas, view.selector["matchLabels"]) == (1, {"app": "web"})
    await _lower(kube, namespace, name)
    assert (await kube.get_scale(namespace, name)).replicas == 0


async def _at_rest(kube: Kube, namespace: str, name: str) -> Scale:
    """The scale once no controller writes what belongs to a new workload any more."""
    seen = await kube.get_scale(namespace, name)
    while True:
        await asyncio.sleep(0.5)
        before, seen = seen, await kube.get_scale(namespace, name)
        if seen.version == before.version:
            return seen


async def _lower(kube: Kube, namespace: str, name: str) -> None:
    """Set the scale to 0; a controller may write the status between the read and the write."""
    for _ in range(20):
        with contextlib.suppress(ConflictError):
            scale = await kube.get_scale(namespace, name)
            return await kube.put_scale(namespace, name, 0, scale.version)
    raise AssertionError("each write met a conflict")


async def test_a_custom_resource_without_replicas_has_one(kube: Kube, here: Namespace) -> None:
    """The API server shows no scale for it, until one is written."""
    namespace = here.namespace
    unset = workload("Rollout")
    unset["metadata"]["name"] = "unset"
    del unset["spec"]["replicas"]
    here.apply(unset)
    scale = await kube.get_scale(namespace, "Rollout/unset")
    assert scale.replicas == 1
    await kube.put_scale(namespace, "Rollout/unset", 0, scale.version)
    assert (await kube.get_scale(namespace, "Rollout/unset")).replicas == 0


async def test_a_workload_that_does_not_exist_has_no_scale(kube: Kube, here: Namespace) -> None:
    namespace = here.namespace
    for name in ("none", "StatefulSet/none", "Rollout/none"):
        with pytest.raises(NotFoundError):
            await kube.get_scale(namespace, name)
