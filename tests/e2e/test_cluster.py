"""One install serves many namespaces, also ones made later, with activators in sets."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from e2e.conftest import (
    EVERY,
    LABELED,
    ROOT,
    MakeNamespace,
    add_recorder,
    cluster_ip,
    install_platform,
    served_by,
    start_app,
)
from e2e.kit import App, Kubectl, acted_once, eventually, sleep_again_and_again
from e2e.stream import Stream

from kotatsu_operator.core.protocol import INSTALL_LABEL

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture
def home(make_namespace: MakeNamespace) -> Iterator[Kubectl]:
    """The namespace of the release, which goes first: it gives back what other namespaces lent."""
    kubectl = make_namespace("home")
    yield kubectl
    subprocess.run(
        ["helm", "uninstall", "kotatsu", "-n", kubectl.namespace, "--ignore-not-found", "--wait"],
        check=False,
        capture_output=True,
    )


async def test_a_pool_works_where_it_is_created_and_nothing_else_is_asked_for(
    home: Kubectl, make_namespace: MakeNamespace, http: httpx.AsyncClient
) -> None:
    install_platform(home, EVERY)
    made_later = served_by(None, make_namespace("later"))
    app = await start_app(made_later, "web", recorder="", idleAfter="15s")
    await app.asleep()
    await app.send(http)
    await eventually("Warm", lambda: app.phase() == "Warm")
    assert not made_later.items("deployments", **{"app.kubernetes.io/name": "kotatsu"})


async def test_a_namespace_that_is_not_served_any_more_gets_its_replicas_back(
    home: Kubectl, make_namespace: MakeNamespace, http: httpx.AsyncClient
) -> None:
    install_platform(home)
    kubectl = served_by(home, make_namespace("team"))
    app = await start_app(kubectl, "web", recorder="", idleAfter="4s")
    await app.asleep()
    async with asleep_but_asked(app) as stream:
        kubectl("label", "namespace", kubectl.namespace, f"{INSTALL_LABEL}=nobody", "--overwrite")
        await eventually("its pod again", app.ready_pods)
        await eventually(
            "NamespaceNotSelected",
            lambda: app.conditions()["Accepted"].get("reason") == "NamespaceNotSelected",
            within=120,
        )
        await eventually("no activator in front", lambda: not app.endpoints()["activator"], 120)
    assert not stream.failures
    served_by(home, kubectl)
    await app.asleep()
    await app.send(http)


@contextlib.asynccontextmanager
async def asleep_but_asked(app: App) -> AsyncIterator[Stream]:
    """Requests all the time to an app that has slept."""
    async with Stream(app, pause=0.2, timeout=120) as stream:
        yield stream


async def upgrade(home: Kubectl, *settings: str) -> str:
    """Run helm upgrade; returns what it says when it fails."""
    done = await asyncio.to_thread(
        subprocess.run,
        [
            *("helm", "upgrade", "kotatsu", str(ROOT / "charts/kotatsu"), "-n", home.namespace),
            *("--wait", "--timeout=4m"),
            *(s if s.startswith("--") else f"--set={s}" for s in (LABELED, *settings)),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stderr if done.returncode else ""


@pytest.mark.nightly
async def test_a_namespace_gets_activators_of_its_own_and_shared_ones_again_under_load(
    home: Kubectl, make_namespace: MakeNamespace
) -> None:
    teams = [served_by(home, make_namespace(name)) for name in ("one", "two")]
    install_platform(home)
    add_recorder(home)
    recorder = cluster_ip(home, "recorder")
    busy, cycling = [
        await start_app(kubectl, name, recorder=f"http://{recorder}", idleAfter="60s")
        for kubectl, name in zip(teams, ("busy", "cycling"), strict=True)
    ]
    quiet = await start_app(teams[0], "quiet", recorder=f"http://{recorder}", idleAfter="4s")
    await quiet.asleep()
    shared, own = f"{home.namespace}/0", f"{home.namespace}/own/{teams[0].namespace}"
    of_own = [f"activator.own.{kubectl.namespace}" for kubectl in teams]

    async with (
        Stream(busy, pause=0.2, timeout=180) as stream,
        Stream(cycling, pause=0.2, timeout=180) as woken,
    ):
        sleeping = asyncio.create_task(sleep_again_and_again(cycling))
        changes = [await upgrade(home, *(f"{of}.replicas=2" for of in of_own))]
        await eventually("its own", lambda: set_of(quiet) == own, 120)
        await eventually("others in front", lambda: in_front(quiet) == activators(teams[0]), 120)
        changes.append(await upgrade(home, *(f"{of}.leaving=true" for of in of_own)))
        await eventually("shared", lambda: set_of(quiet) == shared, 120)
        await eventually("others in front", lambda: in_front(quiet) == activators(home), 120)
        changes.append(await upgrade(home))
        await gone(teams)
        sleeping.cancel()
    async with httpx.AsyncClient(timeout=120, trust_env=False) as http:
        await quiet.send(http)

    assert not any(changes)
    assert not stream.failures
    assert not woken.failures
    for app in (busy, cycling, quiet):
        await acted_once(app, recorder)


def set_of(app: App) -> str:
    """The set of activators that serves a pool."""
    return str(app.inner().get("activators") or "")


OURS = {"app.kubernetes.io/component": "activator"}


def activators(kubectl: Kubectl) -> set[str]:
    """The addresses of the activators in a namespace."""
    return {str(pod["status"].get("podIP")) for pod in kubectl.items("pods", **OURS)}


def in_front(app: App) -> set[str]:
    return app.endpoints()["activator"]


async def gone(namespaces: list[Kubectl]) -> None:
    await eventually("no activators there", lambda: not any(map(activators, namespaces)), 180)
