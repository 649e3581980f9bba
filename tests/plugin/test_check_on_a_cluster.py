"""The broken set-ups on a real API server: what it fills in and refuses changes no finding."""

import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from plugin.apiserver import Api as Server
from plugin.broken import BROKEN
from plugin.kit import demo_mode
from plugin.setups import Object, Objects, Setup, good, warm_pool
from plugin.test_check import bad, finding

from kotatsu_demo_mode.api import APPLY, MERGE, Api
from kotatsu_demo_mode.installs import UNLABELED
from kotatsu_demo_mode.objects import path_of
from kotatsu_operator.core.protocol import INSTALL_LABEL

pytestmark = pytest.mark.slow

SETUPS = [
    Setup(good()),
    Setup([*good(), warm_pool()]),
    *(setup for setup in BROKEN if not setup.recorded_only),
]
NO_PAGE = ("metrics", "NoGauge")
"""No kubelet runs the pods, so they have no page."""
LATER = ("ResourceQuota", "LimitRange")
"""They would keep the pods out that are there before them."""


class Cluster:
    """The namespaces of all set-ups on one server."""

    def __init__(self, server: Server, api: Api) -> None:
        self.server, self._api = server, api

    def namespace(self, setup: Setup) -> str:
        return f"set-up-{SETUPS.index(setup)}"

    def make(self, setup: Setup) -> None:
        """Make the objects of a set-up, but for what would reject its pods."""
        name = self.namespace(setup)
        labels = {INSTALL_LABEL: name}  # each has an operator of its own
        meta = {"name": name, "labels": labels}
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
        self._api.create("/api/v1/namespaces", made)
        self._write(name, [o for o in setup.objects if o["kind"] not in LATER])

    def finish(self, setup: Setup) -> None:
        """Say of the pods that controllers have made what a kubelet would; then make the rest."""
        name = self.namespace(setup)
        self._write(name, [o for o in setup.objects if o["kind"] in LATER])

    def start_pods(self) -> int:
        """Make the controllers' pods Ready, as kubelets do; returns how many were not."""
        started = 0
        for pod in self._api.get("/api/v1/pods")["items"]:
            meta = pod["metadata"]
            if meta.get("ownerReferences") and pod["status"]["phase"] == "Pending":
                ready = good()[2]["status"]
                self._status(path_of("v1", "pods", meta["namespace"], meta["name"]), ready)
                started += 1
        return started

    def operators(self) -> list[Object]:
        """The Deployments of the operators that are to be Ready."""
        found = self._api.get("/apis/apps/v1/deployments")["items"]
        return [o for o in found if o["metadata"]["name"] == "kotatsu-operator"]

    def _status(self, path: str, status: Object) -> None:
        self._api.patch(f"{path}/status", {"status": status}, MERGE, {})

    def _write(self, namespace: str, objects: Objects) -> None:
        for given in deepcopy(objects):
            o: dict[str, Any] = given
            status = o.pop("status", None)
            owners = o["metadata"].pop("managedFields", [])
            kind = o["kind"]
            plural = {"HorizontalPodAutoscaler": "horizontalpodautoscalers"}.get(kind)
            place = path_of(o["apiVersion"], plural or f"{kind.lower()}s", namespace)
            path = f"{place}/{o['metadata']['name']}"
            if o["metadata"]["name"] == "kotatsu-operator":  # leaves other tests' namespaces alone
                (container,) = o["spec"]["template"]["spec"]["containers"]
                container["env"].append({"name": UNLABELED, "value": "false"})
            if owners:
                query = {"fieldManager": owners[0]["manager"]}
                self._api.patch(path, o, APPLY, query)
            else:
                self._api.create(place, o)
            if status is not None and kind != "Deployment":
                self._status(path, status)


@pytest.fixture(scope="session")  # the server's: a worker may come back to this file
def cluster(server: Server) -> Iterator[Cluster]:
    """The server with all set-ups."""
    flags = [f"--kubeconfig={server.kubeconfig()}"]
    with Api(flags, str(server.plane.kubectl)) as api:
        made = Cluster(server, api)
        for setup in SETUPS:
            made.make(setup)
        until = time.monotonic() + 120
        while (
            any(not o.get("status", {}).get("readyReplicas") for o in made.operators())
            and time.monotonic() < until
        ):
            made.start_pods()
        for setup in SETUPS:
            made.finish(setup)
        yield made


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.reason)
def test_what_is_broken_is_named_and_nothing_else_is(cluster: Cluster, setup: Setup):
    plane = cluster.server.plane
    flags = ("-n", cluster.namespace(setup), f"--kubeconfig={cluster.server.kubeconfig()}")
    words = ("check", *setup.words, "-o", "json", *flags)
    answer = demo_mode(*words, kubectl=str(plane.kubectl)).json
    wanted = [(setup.check, setup.reason)] if setup.reason else []
    found = [one for one in bad(answer) if one in wanted or one != NO_PAGE]
    assert found == wanted
    if setup.reason:
        assert setup.remedy in finding(answer, setup.reason)["message"]


def test_without_any_permission_it_says_so_and_does_not_fail(cluster: Cluster):
    config = cluster.server.kubeconfig("reader")
    flags = ("-n", cluster.namespace(SETUPS[0]), f"--kubeconfig={config}", "-o", "json")
    ran = demo_mode("check", "deployment/web", *flags, kubectl=str(cluster.server.plane.kubectl))
    assert (ran.code, ran.err) == (0, "")
    assert bad(ran.json) == []
    unknown = {f["check"] for f in ran.json["findings"] if f["level"] == "unknown"}
    assert {"workload", "operator", "activator"} <= unknown


def test_a_pool_is_created_and_the_api_server_stores_what_was_printed(cluster: Cluster):
    namespace = cluster.namespace(SETUPS[0])
    flags = ("-n", namespace, f"--kubeconfig={cluster.server.kubeconfig()}")
    words = (
        "create",
        "web",
        "--window",
        "pitch",
        "--at",
        "2030-12-18T10:00",
        "--for",
        "2h",
        *flags,
    )
    kubectl = str(cluster.server.plane.kubectl)
    printed = demo_mode(*words, "-o", "json", kubectl=kubectl).json
    tried = demo_mode(*words, "--apply", "--dry-run=server", kubectl=kubectl)
    assert tried.out.endswith("warmpool.kotatsu.dev/web created (server dry run)\n")
    made = demo_mode(*words, "--apply", "-o", "json", kubectl=kubectl).json
    try:
        assert made["spec"]["windows"] == printed["spec"]["windows"]
        assert made["metadata"]["managedFields"][0]["manager"] == "demo-mode"
        again = demo_mode(*words, "--apply", kubectl=kubectl)
        assert again.code == 1
        assert "has the WarmPool web; add windows to it" in again.err
    finally:
        with Api([flags[2]], kubectl) as api:
            api.delete(path_of("kotatsu.dev/v1beta1", "warmpools", namespace, "web"))
