"""What a namespace holds ends no program of another one, with the memory limits of the chart.

The programs are processes of their own, and each starts twice. Their pods are pretended to be
elsewhere.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from apiserver.keeper import Plane
from apiserver.kit import Namespace, eventually
from chart.kit import render
from e2e import api
from e2e.kit import pool, workload

from kotatsu_operator.core.formats import parse_quantity
from kotatsu_operator.core.protocol import (
    ACTIVATOR_LABELS,
    SERVICE_LABEL,
    SHARD_LABEL,
    pool_of_slice,
    shared_set,
)
from kotatsu_operator.kube.views import is_ours, slice_view

pytestmark = [pytest.mark.apiserver, pytest.mark.nightly, pytest.mark.timeout(1800)]

STRAYS, REPLICAS, LABELS = 900, 1_400, 2_250
SLICES, ENDPOINTS = 1_500, 1_000
STARTS = ["first", "second"]
HOLD = 300.0
"""Seconds for which they have to live."""

WITHIN = 120.0
"""Seconds for a program to read all that, on a machine that does much else."""


def labels_of(number: int) -> dict[str, str]:
    """So many labels that no two pods have one alike, in 27 KiB."""
    return {f"a{at:x}": f"{number:x}" for at in range(LABELS)}


def fill(namespace: Namespace, count: int, **labels: str) -> None:
    """Make pods that wait for a node, as anyone may who may make pods there."""
    spec = {
        "containers": [{"name": "app", "image": "localhost/none:1"}],
        "nodeSelector": {"of": "none"},
    }
    path = f"api/v1/namespaces/{namespace.namespace}/pods"
    admin = api.Api(namespace.plane.kubeconfig, timeout=60.0)

    def make(number: int) -> None:
        meta = {"name": f"web-{number}", "labels": labels_of(number) | labels}
        admin.change("POST", path, {"metadata": meta, "spec": spec})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, range(count)))
    admin.close()


def fill_slices(namespace: Namespace) -> None:
    """Make EndpointSlices of the Service of a pool, as large as they may be."""
    path = f"apis/discovery.k8s.io/v1/namespaces/{namespace.namespace}/endpointslices"
    admin = api.Api(namespace.plane.kubeconfig, timeout=60.0)

    def make(number: int) -> None:
        endpoints = [
            {
                "addresses": [f"10.{number % 250}.{at // 250}.{at % 250}"],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": f"web-{number}-{at}", "uid": f"{number}-{at}"},
            }
            for at in range(ENDPOINTS)
        ]
        labels = {SERVICE_LABEL: "web"}
        meta = {"name": f"web-{number}", "labels": labels}
        obj = {"metadata": meta, "addressType": "IPv4", "endpoints": endpoints}
        admin.change("POST", path, obj)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, range(SLICES)))
    admin.close()


class Places:
    """The namespace of the release, two that it serves, and one that it does not serve."""

    def __init__(self, plane: Plane, make_namespace: Any) -> None:
        self.plane = plane
        self.home = make_namespace("home", has_node=False)
        self.full, self.other = (
            make_namespace(name, home=self.home, has_node=False) for name in ("full", "other")
        )
        self.stray = make_namespace("stray", home=self.full, has_node=False)
        for served, name in ((self.full, "web"), *((self.other, start) for start in STARTS)):
            deployment, *others = workload(name)
            deployment["spec"]["replicas"] = 0
            served.apply(deployment, *others, pool(name))
        self.name = self.home.namespace


@pytest.fixture(scope="module")
def places(plane: Plane, make_namespace: Any) -> Places:
    made = Places(plane, make_namespace)
    fill(made.stray, STRAYS, **ACTIVATOR_LABELS, **{SHARD_LABEL: "0"})
    fill(made.full, REPLICAS, app="web")
    fill_slices(made.full)
    return made


class Program:
    """A program of the chart."""

    def __init__(self, kubeconfig: str, module: str, **settings: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        given = {"KOTATSU_HOST": "127.0.0.1", "KOTATSU_PORT": str(self.port), **settings}
        environment = os.environ | {"KUBECONFIG": kubeconfig, **given}
        self._process = subprocess.Popen([sys.executable, "-m", module], env=environment)

    def is_ready(self) -> bool:
        assert self._process.poll() is None
        with contextlib.suppress(httpx.HTTPError):
            page = f"http://127.0.0.1:{self.port}/readyz"
            return httpx.get(page, trust_env=False, timeout=10.0).is_success
        return False

    @property
    def peak(self) -> int:
        """The most memory that it has had, in bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(of.split()[1]) for of in status.splitlines() if "VmHWM" in of) * 1024

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def running(*programs: Program) -> Iterator[None]:
    try:
        yield
    finally:
        for program in programs:
            program.end()


def limit(name: str) -> int:
    """The chart's memory limit of a Deployment, in bytes."""
    (deployment,) = (
        obj for obj in render("kotatsu").of("Deployment") if obj["metadata"]["name"] == name
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return int(parse_quantity(container["resources"]["limits"]["memory"]))


def own_address() -> str:
    """An address of this machine that an endpoint may have: none of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect(("192.0.2.1", 9))  # sends nothing
        return str(asked.getsockname()[0])


def endpoint_of(name: str, of: Namespace, uid: str) -> tuple[str, int] | None:
    """Where an activator listens for a pool, once it is published."""
    ours = filter(is_ours, of.items("endpointslices"))
    found = [obj for obj in ours if slice_view(obj).pod_uid == uid]
    ready = [obj for obj in found if pool_of_slice(obj) == name and obj["endpoints"]]
    places = [(obj["endpoints"][0]["addresses"][0], obj["ports"][0]["port"]) for obj in ready]
    return places[-1] if places else None


def is_woken(name: str, of: Namespace) -> bool:
    return of("get", "deployment", name, "-o", "jsonpath={.spec.replicas}") == "1"


@pytest.mark.parametrize("start", STARTS)
async def test_objects_of_any_size_and_number_end_no_program(places: Places, start: str) -> None:
    """And a request in another namespace wakes its pool meanwhile."""
    home, file, other = places.name, places.plane.kubeconfig, places.other
    memory, uid = limit("kotatsu-activator-0"), f"uid-{start}"
    operator = Program(
        *(file, "kotatsu_operator"),
        KOTATSU_POD_NAMESPACE=home,
        KOTATSU_POD_NAME=f"operator-{start}",
        KOTATSU_SERVE_UNLABELED="false",
        KOTATSU_CONSOLE_PORT="0",
        KOTATSU_RUNTIME="native",
        KOTATSU_MEMORY=str(limit("kotatsu-operator")),
    )
    activator = Program(
        *(file, "kotatsu_operator.activator"),
        KOTATSU_NAMESPACE=home,
        KOTATSU_ACTIVATORS=shared_set(home, 0),
        KOTATSU_POD_NAME="activator-1",
        KOTATSU_POD_UID=uid,
        KOTATSU_POD_IPS=own_address(),
        KOTATSU_NODE_NAME="node",
        KOTATSU_MEMORY=str(memory),
    )
    with running(operator, activator):
        for name, program in (("operator", operator), ("activator", activator)):
            await eventually(f"the {name} is ready", program.is_ready, within=WITHIN)
        for of, name in ((places.full, "web"), (other, start)):
            find = partial(endpoint_of, name, of, uid)
            at = await eventually(f"{name} is published", find, within=WITHIN)
        with socket.create_connection(at) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            await eventually("it is awake", lambda: is_woken(start, other), within=WITHIN)
        await asyncio.sleep(HOLD)
        assert operator.is_ready()
        assert activator.is_ready()
        assert operator.peak < limit("kotatsu-operator")
        assert activator.peak < memory
