"""Objects as large as the API server takes them: what reading them costs in memory."""

import gc
import json
import tracemalloc

import pytest
from apiserver.keeper import Plane
from apiserver.kit import Namespace
from e2e import api
from lightkube import KubeConfig

from kotatsu_operator.kube.client import MOST_READ, Kube
from kotatsu_operator.kube.connection import Connection
from kotatsu_operator.kube.objects import Pod

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(300)]

PODS = 8
NAMES = 195_000
"""Variables of a container with names of one letter: 2.4 MiB of JSON, 40 MiB of Python objects."""
PATIENCE = 60.0
"""Seconds for one of them, on a machine that does much else."""


@pytest.fixture(scope="module")
def hostile(plane: Plane) -> Namespace:
    """A namespace with pods that stay Pending, made by somebody who may make pods there."""
    made = Namespace("large-objects", plane)
    made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.namespace}})
    admin = api.Api(plane.kubeconfig, timeout=PATIENCE)
    env = [{"name": "a"}] * NAMES
    container = {"name": "app", "image": "localhost/none:1", "env": env}
    for number in range(PODS):
        meta = {"name": f"web-{number}", "labels": {"app": "web"}}
        spec = {"containers": [container], "nodeSelector": {"of": "nobody"}}
        path = f"api/v1/namespaces/{made.namespace}/pods"
        admin.change("POST", path, {"metadata": meta, "spec": spec})
    admin.close()
    return made


async def test_a_list_of_them_costs_no_more_than_an_answer(
    hostile: Namespace, plane: Plane
) -> None:
    kube = Kube(Connection(KubeConfig.from_file(plane.kubeconfig).get(), "tester"))
    path = f"/api/v1/namespaces/{hostile.namespace}/pods/web-0"
    assert len(hostile("get", "--raw", path)) > MOST_READ / 2
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        found = await kube.find(Pod, hostile.namespace)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        one = await kube.get(Pod, hostile.namespace, "web-1")
        _, peak_of_one = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        await kube.close()
    assert len(found) == PODS
    assert len(json.dumps([found, one])) < 20_000
    assert max(peak, peak_of_one) - before < 4 * MOST_READ
