"""The control plane of the run, namespaces in it, and the platform installed into one."""

import asyncio
import gc
import os
import threading
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar

import httpx
import kopf
import needs
import pytest
from aiohttp import web
from apiserver import app, keeper
from apiserver.asked import Api, Place
from apiserver.keeper import Plane
from apiserver.kit import Namespace, Services, eventually, in_namespace
from apiserver.kubelet import Kubelet
from apiserver.network import PodLoop, Subnet
from apiserver.programs import CLOSING_SECONDS, Clock, Fate, Programs, login, real_time
from chart import kit as chart
from e2e import api
from e2e.kit import App, pool, workload
from e2e.rights import OPERATOR
from lightkube import AsyncClient, KubeConfig

from kotatsu_operator.core.formats import is_true
from kotatsu_operator.core.protocol import INSTALL_LABEL

T = TypeVar("T")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the sockets of a killed program to the garbage collector: it has not closed them."""
    for item in items:
        if item.get_closest_marker("apiserver"):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


@contextmanager
def killed_programs() -> Iterator[None]:
    """Forgive the sockets that killed programs have left, inside and before."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
        yield
        gc.collect()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Generator[None]:
    """Collect what killed programs have left before a test runs that knows nothing of them."""
    if nextitem is not None and nextitem.get_closest_marker("apiserver"):
        return (yield)
    with killed_programs():
        return (yield)


@pytest.fixture(scope="session")
def plane(testrun_uid: str, worker_id: str) -> Iterator[Plane]:
    """The control plane, which all workers share."""
    needs.kubernetes()
    run = os.getpid() if worker_id == "master" else os.getppid()
    made = keeper.shared(testrun_uid, run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kopf, "login_with_kubeconfig", login)
        yield made
    api.connect(made.kubeconfig).close()


class Node:
    """The pretended node: a thread in which the pods of this worker's namespaces run."""

    def __init__(self, plane: Plane, subnet: Subnet) -> None:
        self._plane, self._subnet = plane, subnet
        self._loop = PodLoop()
        self._loop.set_default_executor(ThreadPoolExecutor(64))
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the node's event loop; what comes of it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @contextmanager
    def running(self, namespace: str, clock: Clock, fate: Fate) -> Iterator[None]:
        """Run the pods of a namespace; `clock` and `fate` are those of its operators."""

        async def start() -> "asyncio.Task[None]":
            return asyncio.create_task(self._run(namespace, clock, fate))

        async def end() -> None:
            kubelet.cancel()
            await asyncio.gather(kubelet, return_exceptions=True)

        kubelet = self.do(start())
        yield
        self.do(end())

    async def _run(self, namespace: str, clock: Clock, fate: Fate) -> None:
        config = KubeConfig.from_file(self._plane.kubeconfig)
        client = AsyncClient(config, trust_env=False)
        cluster = config.get()
        assert cluster is not None
        programs = Programs(client, cluster.cluster, clock, fate)
        try:
            await Kubelet(client, namespace, programs, self._subnet.address).run()
        finally:
            await client.close()

    def end(self) -> None:
        """End the thread."""
        self.do(asyncio.sleep(CLOSING_SECONDS))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@pytest.fixture(scope="session")
def node(plane: Plane) -> Iterator[Node]:
    """The node of this worker."""
    with Subnet() as subnet:
        made = Node(plane, subnet)
        yield made
        # The session may end in the teardown of a test that killed nothing.
        with killed_programs():
            made.end()


MakeNamespace = Callable[..., Namespace]
MakeApp = Callable[..., Awaitable[App]]


@pytest.fixture(scope="module")
def make_namespace(plane: Plane, node: Node) -> Iterator[MakeNamespace]:
    """Make namespaces whose pods run until the file's last test has ended.

    Nothing removes them: they go with the control plane. Without a node their pods wait forever.
    What is installed in `home`, or else there, serves it.
    """

    def make(
        purpose: str,
        clock: Clock = real_time,
        *,
        fate: Fate | None = None,
        has_node: bool = True,
        home: Namespace | None = None,
    ) -> Namespace:
        made = Namespace(f"{purpose}-{uuid.uuid4().hex[:5]}", plane)
        labels = {INSTALL_LABEL: (home or made).namespace}
        meta = {"name": made.namespace, "labels": labels}
        made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        if has_node:
            stack.enter_context(node.running(made.namespace, clock, fate or Fate()))
        return made

    with ExitStack() as stack:
        yield make


@pytest.fixture(scope="session")
def namespace(plane: Plane) -> Namespace:
    """A namespace in which nothing runs, for questions to the API server alone."""
    return Namespace("default", plane)


PLATFORM = (
    *("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ConfigMap"),
    *("Service", "Deployment"),
)
"""What is installed of the chart: its policies and its hooks have tests of their own."""

WITHOUT = ("knative.enabled=false", "console.enabled=false", "dashboards.enabled=false")
"""What is left out of it."""

SMALL = ("activator.replicas=1", "routeSettle=1s")
"""Short times make short tests."""

PRICES = '--set-json=prices={"currency": "JPY", "cpuHour": "72000000"}'
"""A pod costs 1,000 a second."""


async def install_platform(kubectl: Namespace, *settings: str) -> None:
    """The chart's operator and activators, for labeled namespaces; waits until they are ready."""
    settings = ("serveUnlabeled=false", *settings)
    sets = (f"--set={setting}" for setting in (*WITHOUT, *SMALL, *settings))
    for obj in chart.render("kotatsu", None, PRICES, *sets).of(*PLATFORM):
        kubectl.apply(in_namespace(obj, chart.NAMESPACE, kubectl.namespace))
    await eventually("the platform is ready", lambda: are_ready(kubectl), every=0.02)


def are_ready(kubectl: Namespace) -> bool:
    """Whether all pods of the platform are Ready."""
    found = kubectl.items("deployments", **{"app.kubernetes.io/name": "kotatsu"})
    return all(d["status"].get("readyReplicas", 0) == d["spec"]["replicas"] for d in found)


@pytest.fixture
def admin(place: Place) -> Api:
    """An administrator in the namespaces of a file, its fixture `place`."""
    return Api(place)


@pytest.fixture
def operator(place: Place) -> Api:
    """The operator of the release there."""
    return Api(place, OPERATOR)


@pytest.fixture(scope="module")
def platform(make_namespace: MakeNamespace) -> Namespace:
    """A namespace with operator and activator, for the tests of one file."""
    kubectl = make_namespace("main")
    asyncio.run(install_platform(kubectl))
    return kubectl


@pytest.fixture(scope="session")
def recorder(node: Node) -> Iterator[str]:
    """The address that says which requests the pods have acted on."""

    async def serve() -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(web.Server(app.tell_hits), "127.0.0.1", 0)

    async def end() -> None:
        server.close()

    server = node.do(serve())
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    node.do(end())


@pytest.fixture
async def http(plane: Plane) -> AsyncIterator[httpx.AsyncClient]:
    """A client of Services, with a connection for each request."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    inner = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
    async with httpx.AsyncClient(timeout=60, transport=Services(plane, inner)) as client:
        yield client


async def start_app(kubectl: Namespace, name: str, **spec: object) -> App:
    """Deploy an app with its pool; wait until it is accepted and its Service leads somewhere."""
    kubectl.apply(*workload(name), pool(name, **spec))
    made = App(name, kubectl, address=f"{name}.{kubectl.namespace}")
    await eventually(f"{name} accepted", lambda: is_true(made.conditions().get("Accepted")))
    await eventually(f"{name} reachable", lambda: kubectl.endpoints(name))
    return made


@asynccontextmanager
async def apps_of(kubectl: Namespace) -> AsyncIterator[MakeApp]:
    """Start apps in a namespace; they go in the end."""
    made: list[str] = []

    async def make(name: str, **spec: object) -> App:
        name = f"{name}-{uuid.uuid4().hex[:4]}"
        made.append(name)
        return await start_app(kubectl, name, **spec)

    yield make
    for name in made:
        for kind in ("warmpool", "deployment", "service"):
            kubectl.delete(kind, name)


@pytest.fixture
async def make_app(platform: Namespace) -> AsyncIterator[MakeApp]:
    """Start apps in the platform's namespace; they go with the test."""
    async with apps_of(platform) as make:
        yield make
