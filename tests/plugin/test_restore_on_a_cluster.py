"""`restore` on a real API server: it accepts each write, at the versions and under the names."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import needs
import pytest
from plugin.apiserver import Api, serve
from plugin.kit import Ran, demo_mode
from plugin.setups import Object, autoscaler, deployment, service, warm_pool
from plugin.test_restore import record, without_selector

from kotatsu_operator.core.protocol import INSTALL_LABEL, OPERATOR

pytestmark = pytest.mark.slow

_numbers = itertools.count()


class Left:
    """What an uninstall has left in a namespace that the server's operator does not watch."""

    def __init__(self, server: Api) -> None:
        self._server, self.namespace = server, f"left-{next(_numbers)}"
        server.kubectl("create", "namespace", self.namespace)
        label = f"{INSTALL_LABEL}={self.namespace}"  # of an install that is gone
        server.kubectl("label", "namespace", self.namespace, label)

    def apply(self, *objects: Object, manager: str = "kubectl") -> None:
        words = ("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}")
        for o in objects:
            self._server.kubectl(*words, "-n", self.namespace, "-f", "-", stdin=json.dumps(o))

    def patch(self, kind: str, name: str, change: Object, *words: str) -> None:
        more = ("--type=merge", "-p", json.dumps(change), f"--field-manager={OPERATOR}", *words)
        self._server.kubectl("patch", kind, name, "-n", self.namespace, *more)

    def get(self, kind: str, name: str = "web") -> Object:
        found: Object = json.loads(
            self._server.kubectl("get", kind, name, "-n", self.namespace, "-o", "json")
        )
        return found

    def kubectl(self, *words: str) -> str:
        return self._server.kubectl(*words, "-n", self.namespace)

    def sleeping(self, **status: Any) -> None:
        """A Deployment that an operator has put to sleep; with a status, its pool too."""
        self.apply(deployment(replicas=2), service())
        if status:
            self.apply(warm_pool())
            self.patch("warmpool", "web", {"status": status}, "--subresource=status")
        self.patch("deployment", "web", {"spec": {"replicas": 0}}, "--subresource=scale")

    def restore(self, *words: str, user: str = "admin") -> Ran:
        config = f"--kubeconfig={self._server.kubeconfig(user)}"
        words = (*words, config, "-n", self.namespace, "--home", self.namespace)
        return demo_mode("restore", *words, kubectl=str(self._server.plane.kubectl))


@pytest.fixture
def left(server: Api) -> Left:
    return Left(server)


@pytest.fixture(scope="module")
def without_crd() -> Iterator[Api]:
    """A server of its own whose CRD was deleted: all WarmPools go with it, also those of others."""
    needs.kubernetes()
    with serve() as server:
        server.kubectl("delete", "crd", "warmpools.kotatsu.dev")
        yield server


def replicas(left: Left) -> int:
    found: int = left.get("deployment")["spec"]["replicas"]
    return found


def test_a_pool_without_its_chart(left: Left):
    hpa = {"name": "web", "minReplicas": 2}
    left.sleeping(phase="Asleep", foundReplicas=3, internal={"hpa": hpa})
    left.apply(autoscaler(minReplicas=2))
    left.patch("hpa", "web", {"spec": {"minReplicas": 5}})

    tried = left.restore("web", "--dry-run")
    assert (tried.code, tried.err) == (0, "")
    assert replicas(left) == 0

    ran = left.restore("web")
    assert (ran.code, ran.err) == (0, "")
    assert replicas(left) == 2  # its autoscaler raises it from there
    assert left.get("hpa")["spec"]["minReplicas"] == 2
    version = left.get("hpa")["metadata"]["resourceVersion"]
    again = left.restore("web")
    assert (again.code, again.err) == (0, "")
    assert left.get("hpa")["metadata"]["resourceVersion"] == version


def test_a_service_whose_pool_went_with_the_crd_gets_its_selector(left: Left):
    left.apply(deployment(replicas=2), without_selector())
    left.patch("deployment", "web", {"spec": {"replicas": 1}}, "--subresource=scale")
    ran = left.restore("--all")
    assert (ran.code, ran.err) == (0, "")
    assert left.get("service")["spec"]["selector"] == {"app": "web"}


def test_a_pod_gets_its_requests_back(left: Left):
    left.sleeping(phase="Parked", reduced=True)
    small = deployment()["spec"]["template"]
    container = small["spec"]["containers"][0]
    container["resources"]["requests"] = {"cpu": "5m", "memory": "64Mi"}
    small["metadata"]["name"] = "web-1"
    left.apply({"apiVersion": "v1", "kind": "Pod", **small})
    ran = left.restore("web", "--replicas", "1")
    assert (ran.code, ran.err) == (0, "")
    assert "Pod web-1 has its full requests again" in ran.out
    [now] = left.get("pod", "web-1")["spec"]["containers"]
    assert now["resources"]["requests"]["cpu"] == "100m"


def test_targets_after_the_crd_was_deleted(without_crd: Api):
    left = Left(without_crd)
    left.sleeping()
    kept = record(namespaces=[left.namespace], home=left.namespace, foundReplicas=3)
    left.apply(kept)
    ran = left.restore("--all")
    assert (ran.code, ran.err) == (0, "")
    assert replicas(left) == 3
    assert not left.get("configmap", kept["metadata"]["name"]).get("data")
    assert left.restore("--all").code == 0


def test_a_cluster_without_the_crd_is_told_from_one_without_pools(without_crd: Api):
    config = f"--kubeconfig={without_crd.kubeconfig()}"
    ran = demo_mode("status", config, kubectl=str(without_crd.plane.kubectl))
    assert "this cluster has no CRD warmpools.kotatsu.dev; install the chart kotatsu" in ran.err


def test_without_permissions_each_read_is_named(left: Left):
    left.sleeping(phase="Asleep", foundReplicas=3)
    ran = left.restore("--all", user="reader")
    assert (ran.code, replicas(left)) == (1, 0)
    for verb, kind in (("list", "warmpools"), ("get", "configmaps"), ("list", "services")):
        assert f'User "reader" cannot {verb} resource "{kind}"' in ran.err
