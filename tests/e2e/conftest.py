"""The cluster the end-to-end tests run on, and the platform installed into it.

They only touch a cluster that Kotatsu made, or the one that CONTEXT names. Any other one is left
alone, also when it is the current context.
"""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import needs
import pytest
from e2e.kit import APP_IMAGE, App, Kubectl, config_map, eventually, pool, workload
from e2e.patience import MOST, PATIENCE, patience, stalled
from e2e.soak import Soak
from pages.kit import browser
from prometheus_client import CollectorRegistry
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from kotatsu_demo import choice
from kotatsu_operator.controller.app import Operator, Options
from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.formats import is_true
from kotatsu_operator.core.pool.spec import Platform
from kotatsu_operator.core.protocol import INSTALL_LABEL
from kotatsu_operator.core.scope import Scope
from kotatsu_operator.kube.client import Kube

__all__ = ["browser"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


SOAK = pytest.StashKey[Soak]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the tests that share the time of a soak."""
    soak = session.config.stash.setdefault(SOAK, Soak())
    soak.tests_left = sum("soak" in getattr(item, "fixturenames", ()) for item in session.items)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what was repeated, how often, and what was lost."""
    if table := config.stash.setdefault(SOAK, Soak()).table():
        terminalreporter.section("faults × repetitions × lost")
        terminalreporter.line("\n".join(table))


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> Soak:
    """How often things are repeated, and what has come of it so far."""
    return request.config.stash[SOAK]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def context() -> str:
    """Name of the cluster's context; skips where there is no cluster of ours."""
    if shutil.which("kubectl") is None:
        needs.missing("a cluster", "no kubectl; `make e2e` brings a cluster up")
    found = _run("kubectl", "config", "current-context").stdout.strip()
    if not choice.is_allowed(found, os.environ.get("CONTEXT", "")):
        made = " or ".join(choice.OWN_CONTEXTS)
        needs.missing("a cluster", f"{found!r} is not {made}, and CONTEXT does not name it")
    if _run("kubectl", "get", "nodes").returncode != 0:
        needs.missing("a cluster", f"{found} does not answer")
    return found


@pytest.fixture(scope="session")
def on_node(context: str) -> bool:
    """Whether the pods' processes are this machine's own (tools/node)."""
    return context == choice.NODE_CONTEXT


MakeNamespace = Callable[[str], Kubectl]


@pytest.fixture(scope="session")
def make_lasting_namespace(context: str) -> Iterator[MakeNamespace]:
    """Make namespaces that several files share; they go when the tests end."""
    with _namespaces() as make:
        yield make


@pytest.fixture(scope="module")
def make_namespace(context: str) -> Iterator[MakeNamespace]:
    """Make namespaces that go with the file's last test.

    Each has operators and activators that request CPU and use it: those of all files together fill
    a small node, and pods of later tests find no room.
    """
    with _namespaces() as make:
        yield make


@contextmanager
def _namespaces() -> Iterator[MakeNamespace]:
    made: list[str] = []

    def make(purpose: str) -> Kubectl:
        name = f"e2e-{purpose}-{uuid.uuid4().hex[:5]}"
        kubectl = Kubectl(name)
        kubectl("create", "namespace", name)
        kubectl("label", "namespace", name, RESTRICTED, f"{INSTALL_LABEL}={name}")
        made.append(name)
        return kubectl

    yield make
    for name in made:
        remove_namespace(name)


def remove_namespace(name: str) -> None:
    """Delete a namespace, and what the platform in it has that is cluster-wide."""
    _run("helm", "uninstall", "kotatsu", "-n", name, "--no-hooks", "--ignore-not-found")
    _run("kubectl", "delete", "namespace", name, "--wait=false")


SMALL_VOICE = "voice.resources.requests.cpu=20m"
"""Ten voice pods request more than the two cores of a small node: other tests' pods would wait."""


def helm_install(kubectl: Kubectl, release: str, chart: str, *settings: str, wait: bool) -> None:
    """`helm install` a chart of this checkout into a namespace."""
    more = ("--wait", f"--timeout={patience(180):.0f}s") if wait else ()
    done = _run(
        *("helm", "install", release, str(ROOT / "charts" / chart), "-n", kubectl.namespace),
        *more,
        *(s if s.startswith("--") else f"--set={s}" for s in settings),
    )
    assert done.returncode == 0, done.stderr


def built(key: str, name: str) -> tuple[str, str]:
    """The chart settings for an image of this checkout, where a chart may name another one."""
    return f"{key}.repository=localhost/kotatsu-{name}", f"{key}.tag=dev"


DNS = "networkPolicy.dnsPorts={53,1053}"
"""CoreDNS listens at 53 on most clusters, and at 1053 on tools/node."""


PRICES = {"currency": "JPY", "memoryGiBHour": "57600"}
"""The app requests 64 MiB, also while it is parked: a pod costs 1 a second, so the ledger counts
pod seconds."""


def install_platform(kubectl: Kubectl, *settings: str) -> None:
    """The platform, with the image that the chart names: `make images` has loaded it.

    It is the chart's default, but that it serves only the namespaces with its label unless
    `settings` say more: tests stand beside each other.
    """
    helm_install(kubectl, "kotatsu", "kotatsu", LABELED, *settings, wait=True)


LABELED, EVERY = "serveUnlabeled=false", "serveUnlabeled=true"
"""Settings: whether an install serves only the namespaces whose label names it, or the default."""


def served_by(home: Kubectl | None, kubectl: Kubectl) -> Kubectl:
    """Let the install of a namespace serve another one; None: that for namespaces without label."""
    label = f"{INSTALL_LABEL}={home.namespace}" if home else f"{INSTALL_LABEL}-"
    kubectl("label", "namespace", kubectl.namespace, label, "--overwrite")
    return kubectl


@pytest.fixture(scope="session")
def home(make_lasting_namespace: MakeNamespace) -> Kubectl:
    """The namespace of the release that all files share which need no values of their own.

    It has prices, without which no pool has a cost.
    """
    kubectl = make_lasting_namespace("home")
    install_platform(kubectl, f"--set-json=prices={json.dumps(PRICES)}")
    return kubectl


@pytest.fixture(scope="session")
def team(home: Kubectl, make_lasting_namespace: MakeNamespace) -> Kubectl:
    """A namespace that it serves."""
    return served_by(home, make_lasting_namespace("team"))


@pytest.fixture(scope="session")
def parking(make_lasting_namespace: MakeNamespace) -> Kubectl:
    """A namespace with an operator that may park pods, an activator and a recorder."""
    kubectl = make_lasting_namespace("parking")
    install_platform(kubectl, "parked.enabled=true")
    add_recorder(kubectl)
    return kubectl


PET_SERVICES = ("auth", "feed", "voice")


@pytest.fixture(scope="session")
def pet(home: Kubectl, make_lasting_namespace: MakeNamespace) -> Kubectl:
    """A namespace with the whole pet, GitHub stub included."""
    kubectl = served_by(home, make_lasting_namespace("pet"))
    sets = ["githubStub.enabled=true", "voice.anonymous=true", "idleAfter=12s", DNS, SMALL_VOICE]
    helm_install(kubectl, "pet", "pet", *sets, wait=False)
    kubectl("rollout", "status", "deployment/gateway", "--timeout=120s")
    kubectl("rollout", "status", "deployment/github-stub", "--timeout=120s")
    return kubectl


@pytest.fixture(scope="module")
def guided(home: Kubectl, make_namespace: MakeNamespace) -> Kubectl:
    """The pet as docs/pet/index.md installs it.

    Without the rehearsals, at which the voice would be warm on some evenings.
    """
    kubectl = served_by(home, make_namespace("guided"))
    demo = f"--values={ROOT / 'charts/pet/ci/demo.yaml'}"
    short = ("--set-json=voice.pool.windows=[]", "voice.pool.idleAfter=12s", "idleAfter=12s")
    helm_install(kubectl, "pet", "pet", demo, *short, DNS, SMALL_VOICE, wait=False)
    kubectl("rollout", "status", "deployment/gateway", "--timeout=120s")
    kubectl("rollout", "status", "deployment/github-stub", "--timeout=120s")
    return kubectl


@pytest.fixture
async def base(pet: Kubectl) -> str:
    """The pet's one base URL, with every pool asleep."""
    for name in PET_SERVICES:
        await App(name, pet).asleep()
    return f"http://{cluster_ip(pet, 'gateway')}"


@contextmanager
def forwarded_console(kubectl: Kubectl) -> Iterator[str]:
    """Where the console of a namespace is while kubectl forwards a port to it."""
    command = ["kubectl", "port-forward", "-n", kubectl.namespace, "service/kotatsu-console", ":80"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout is not None
        port = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
        assert port is not None
        try:
            yield f"http://127.0.0.1:{port[1]}"
        finally:
            forward.terminate()


def add_recorder(kubectl: Kubectl) -> None:
    """Start the recorder, which is never pooled."""
    kubectl.apply(config_map(), *workload("recorder", pooled=False))
    kubectl("rollout", "status", "deployment/recorder", "--timeout=120s")


@pytest.fixture(scope="session")
def recorder(team: Kubectl) -> str:
    """Address of the recorder in the team's namespace."""
    add_recorder(team)
    return cluster_ip(team, "recorder")


def cluster_ip(kubectl: Kubectl, service: str) -> str:
    """A Service's address; skips where this machine can't reach the cluster's network."""
    address = str(kubectl.get("service", service)["spec"]["clusterIP"])
    end = time.monotonic() + 20
    while not _answers(address):
        if time.monotonic() > end:
            what = "a route to the cluster's Services"
            needs.missing(what, "`kotatsu-demo reach` sets one on Linux")
    return address


def _answers(address: str) -> bool:
    """Whether a Service takes a connection now.

    A short attempt: one whose first packet came before kube-proxy knew the Service is never
    delivered, however long it waits.
    """
    try:
        socket.create_connection((address, 80), timeout=1).close()
    except OSError as error:
        if not isinstance(error, TimeoutError):
            time.sleep(0.2)
        return False
    return True


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client that makes as many connections as asked for."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=patience(60), limits=limits, trust_env=False) as client:
        yield client


async def start_app(
    kubectl: Kubectl,
    name: str,
    *,
    image: str = APP_IMAGE,
    recorder: str = "http://recorder",
    **spec: object,
) -> App:
    """Deploy an app with its pool, and wait until it is accepted."""
    kubectl.apply(config_map(), *workload(name, recorder, image=image), pool(name, **spec))
    app = App(name, kubectl)
    await eventually(
        f"{name} accepted",
        lambda: is_true(app.conditions().get("Accepted")),
    )
    app.address = cluster_ip(kubectl, name)
    return app


def install_bare(kubectl: Kubectl) -> Kubectl:
    """The platform without its operator, and the recorder."""
    install_platform(kubectl)
    kubectl("scale", "deployment/kotatsu-operator", "--replicas=0")
    add_recorder(kubectl)
    return kubectl


@pytest.fixture(scope="session")
def bare(make_lasting_namespace: MakeNamespace) -> Kubectl:
    """A namespace with activators only: operators are the test's own."""
    return install_bare(make_lasting_namespace("bare"))


@pytest.fixture
async def operator_with(bare: Kubectl) -> AsyncIterator[Callable[..., None]]:
    """Run an operator in a thread and loop of its own (kopf ends its loop's other tasks).

    What is given (hook, clock) is passed on to it.
    """
    stop, running = threading.Event(), []

    async def operate(**given: Any) -> None:
        kube = Kube.connect("e2e-operator")
        given.setdefault(
            "options",
            Options(platform=Platform(timedelta(seconds=2), prices=parse_table(PRICES))),
        )
        scope = Scope(bare.namespace, unlabeled=False)
        await Operator(kube, scope, CollectorRegistry(), **given).run(stop)
        await kube.close()

    def run(**given: Any) -> None:
        running.append(asyncio.create_task(asyncio.to_thread(asyncio.run, operate(**given))))

    yield run
    stop.set()
    await asyncio.gather(*running)


@asynccontextmanager
async def apps_of(kubectl: Kubectl) -> AsyncIterator[Callable[..., Awaitable[App]]]:
    """Start apps in a namespace; they go in the end."""
    made: list[str] = []

    async def make(name: str, **spec: object) -> App:
        name = f"{name}-{uuid.uuid4().hex[:4]}"
        made.append(name)
        return await start_app(kubectl, name, **spec)

    yield make
    for name in made:
        kubectl("delete", "warmpool", name, "--ignore-not-found", "--wait=false")
        kubectl("delete", "deployment,service", name, "--ignore-not-found", "--wait=false")


@pytest.fixture
async def make_app(team: Kubectl, recorder: str) -> AsyncIterator[Callable[..., Awaitable[App]]]:
    """Start apps in the team's namespace; they go with the test."""
    async with apps_of(team) as make:
        yield make


def scale_ups(kubectl: Kubectl, name: str) -> int:
    """How often a Deployment has been scaled up, by its events."""
    found = json.loads(
        kubectl(
            *("get", "events", "-o", "json"),
            f"--field-selector=involvedObject.kind=Deployment,involvedObject.name={name}",
        )
    )["items"]
    return sum(e.get("count") or 1 for e in found if "Scaled up" in e["message"])


# --- how long, and when ---

HUNG = 3 * MOST * PATIENCE
"""Seconds after which a test is ended that has no limit of its own. Its waits end earlier."""
CALM = 0.9
"""The share of time that may be stalled as a file begins. Its neighbors stall some of it too."""
CALM_WITHIN = 30.0
"""Seconds after which a file begins in any case."""


LONGEST = ("readme", "pet", "activator", "protocols", "rights", "knative", "cycles")
"""Files that take longest, the longest first: they begin first."""
EVERYWHERE = ("readme", "cluster", "restore")
"""Files that install Kotatsu for every namespace, or need that nobody does. One worker has them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of a cluster the time that their waits may take; the longest begin first."""
    order = {HERE / f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))
    for item in items:
        if item.get_closest_marker("e2e") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(HUNG))


class Files(LoadFileScheduling):
    """A file at a time for each worker; those that would meet each other's installs for one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "everywhere" if Path(file).stem.removeprefix("test_") in EVERYWHERE else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Files:
    """Several files side by side, where the folder is named: only then is this read in time."""
    return Files(config, log)


@pytest.fixture(scope="module", autouse=True)
def calm() -> None:
    """Let what a file before has left come to an end, and whatever else uses both cores."""
    end = time.monotonic() + CALM_WITHIN
    while stalled() > CALM and time.monotonic() < end:
        time.sleep(1)
