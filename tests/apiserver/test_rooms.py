"""One activator for many namespaces on a real API server. What the operator writes is written here.

The activator has more rights than the chart gives it: tests/apiserver/test_shared_policies.py is
about those.
"""

import asyncio
import contextlib
import socket

import httpx
import pytest
from apiserver.kit import PATIENCE, Namespace, eventually
from apiserver.kubelet import NO_IMAGE
from apiserver.network import real
from e2e import api
from e2e.kit import pool, workload

from kotatsu_operator.core.protocol import ACTIVATOR_LABELS, SHARD_LABEL, shared_set
from kotatsu_operator.kube.views import is_ours, slice_view

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(180)]

MAX_HELD = 100
FIELDS = {
    "NAMESPACE": "metadata.namespace",
    "POD_NAME": "metadata.name",
    "POD_UID": "metadata.uid",
    "POD_IPS": "status.podIPs",
    "NODE_NAME": "spec.nodeName",
}


def shared_activator(home):
    """The pod of the shared activator, with its account."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "activator"}}
    subject = {"kind": "ServiceAccount", "name": "activator", "namespace": home}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"activator-{home}"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [subject],
    }
    env = [
        {"name": f"KOTATSU_{name}", "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in FIELDS.items()
    ]
    env += [
        {"name": "KOTATSU_ACTIVATORS", "value": shared_set(home, 0)},
        {"name": "KOTATSU_ROUTE_SETTLE", "value": "1s"},
        {"name": "KOTATSU_MAX_HELD", "value": str(MAX_HELD)},
    ]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "activator-1", "labels": ACTIVATOR_LABELS | {SHARD_LABEL: "0"}},
        "spec": {
            "serviceAccountName": "activator",
            "containers": [{"name": "activator", "image": "localhost/kotatsu:1", "env": env}],
        },
    }
    return [account, binding, pod]


class Tenant:
    """A namespace with the sleeping app `web`."""

    def __init__(self, kubectl: Namespace, home: str) -> None:
        self.kubectl, self.home = kubectl, home
        self.name = kubectl.namespace
        self.server = api.connect(kubectl.plane.kubeconfig)

    def sleeps(self, *, image=None, assigned=True, **spec):
        """Make its app and pool, with the status that the operator would write."""
        deployment, *others = workload("web")
        deployment["spec"]["replicas"] = 0
        if image is not None:
            deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image
        self.kubectl.apply(deployment, *others, pool("web", **spec))
        self.assign(shared_set(self.home, 0) if assigned else None)

    def assign(self, activators):
        now = "2030-01-01T00:00:00Z"
        accepted = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "yes"}
        status = {
            "phase": "Asleep",
            "route": {"target": "Activator", "epoch": 1},
            "conditions": [accepted | {"lastTransitionTime": now}],
            "internal": {"activators": activators} if activators else {},
        }
        path = f"{api.path_of('warmpool', self.name)}/web/status"
        merge = "application/merge-patch+json"
        response = self.server.send("PATCH", path, {"status": status}, merge)
        assert response.is_success, response.text

    @property
    def slices(self):
        """What activators have published."""
        found = filter(is_ours, self.kubectl.items("endpointslices"))
        return [slice_view(obj) for obj in found]

    @property
    def address(self):
        """Where on this machine the activator listens for it."""
        [obj] = filter(is_ours, self.kubectl.items("endpointslices"))
        return real(obj["endpoints"][0]["addresses"][0], obj["ports"][0]["port"])

    async def published(self):
        await eventually(f"{self.name} published", lambda: any(s.ready for s in self.slices))

    async def ask(self):
        """The status code of a request through the activator."""
        host, port = self.address
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            answer = await client.post(f"http://{host}:{port}/echo?request_id=1")
        return answer.status_code

    def is_deleted(self):
        """Delete the namespace and, in the place of its controller, all that is in it."""
        slices = f"apis/discovery.k8s.io/v1/namespaces/{self.name}/endpointslices"
        self.server.send("DELETE", f"api/v1/namespaces/{self.name}")
        for kind in ("warmpool", "service", "deployment"):
            self.kubectl.delete(kind, "web")
        assert self.server.send("DELETE", slices).is_success

    def hold(self, number):
        """Let clients wait for a pod, or be rejected; returns what closes them."""
        closing, address = contextlib.ExitStack(), self.address
        for _ in range(number):
            made = closing.enter_context(socket.create_connection(address))
            made.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        return closing


@pytest.fixture(scope="module")
def home(make_namespace):
    kubectl = make_namespace("home")
    kubectl.apply(*shared_activator(kubectl.namespace))
    return kubectl


@pytest.fixture
def tenant(make_namespace, home):
    return lambda purpose: Tenant(make_namespace(purpose), home.namespace)


def replicas_of(one):
    return one.kubectl.get("deployment", "web")["spec"]["replicas"]


def is_ready(home):
    [pod] = home.items("pods")
    conditions = pod["status"].get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def test_one_activator_serves_the_namespaces_whose_pools_are_assigned_to_it(home, tenant):
    served = [tenant("red"), tenant("green"), tenant("blue")]
    other = tenant("other")
    other.sleeps(assigned=False)
    for one in served:
        one.sleeps()
    for one in served:
        await one.published()
    assert await asyncio.gather(*(one.ask() for one in served)) == [200, 200, 200]
    for one in served:
        [view] = one.slices
        assert (view.pod_namespace, view.pod_name) == (home.namespace, "activator-1")
        assert view.set == shared_set(home.namespace, 0)
    assert other.slices == []
    await eventually("ready", lambda: is_ready(home))


async def test_a_namespace_that_is_deleted_in_the_middle_of_a_wake_harms_no_other(home, tenant):
    doomed, red = tenant("doomed"), tenant("red")
    doomed.sleeps(image=NO_IMAGE)
    await doomed.published()
    with doomed.hold(3):
        await eventually("woken", lambda: replicas_of(doomed) == 1)
        red.sleeps()
        doomed.is_deleted()
        await red.published()
        assert await red.ask() == 200
        await eventually("its slices are gone", lambda: doomed.slices == [])
    await eventually("ready", lambda: is_ready(home))


async def test_a_flood_of_one_namespaces_pool_leaves_the_clients_of_another_served(home, tenant):
    hostile, red = tenant("hostile"), tenant("red")
    hostile.sleeps(image=NO_IMAGE)
    red.sleeps()
    await hostile.published()
    await red.published()
    with hostile.hold(3 * MAX_HELD):
        assert [await red.ask() for _ in range(5)] == [200] * 5
        await eventually("ready", lambda: is_ready(home))


async def test_a_pool_that_is_assigned_later_is_served_and_one_that_is_taken_away_is_left(tenant):
    late = tenant("late")
    late.sleeps(assigned=False)
    await asyncio.sleep(0.3)
    assert late.slices == []
    late.assign(shared_set(late.home, 0))
    await late.published()
    assert await late.ask() == 200
    late.assign(shared_set(late.home, 1))
    await asyncio.sleep(1.5)
    assert any(s.ready for s in late.slices), "until the other ones are there"
    [obj] = filter(is_ours, late.kubectl.items("endpointslices"))
    obj["metadata"] = {
        "name": "of-another",
        "labels": obj["metadata"]["labels"],
        "annotations": obj["metadata"]["annotations"]
        | {
            "kotatsu.dev/activators": shared_set(late.home, 1),
            "kotatsu.dev/activator": f"{late.home}/activator-9/uid-9",
        },
    }
    kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
    late.kubectl.apply(obj | kind)
    await eventually("left", lambda: [s.set[-1] for s in late.slices if s.ready] == ["1"])
