"""Apps that none of us wrote, made pools with nothing but the docs: `check`, then `create`.

Each test is the promise to the users of one app. Its client wakes the app, and does one thing that
takes longer than the pool may be idle. See docs/how-to/check-your-app.md.
"""

import asyncio
import shutil
import subprocess

import needs
import pytest
import yaml
from e2e.conftest import ROOT, served_by
from e2e.kit import App, demo_mode
from e2e.parked import restarts
from e2e.soak import CYCLES

from kotatsu_node import Node

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, pytest.mark.timeout(600)]

HERE = ROOT / "tests/apps"
QUICK = {"idleAfter": "5s"}
"""What the tests have shorter than `create` writes it."""
WINDOWS = {"mariadb": ("--window=office", "--at=2030-12-18T10:00")}
"""What `create` asks for: such an app is woken by no client."""
APPS = [
    (each["kind"].lower(), each["metadata"]["name"])
    for each in yaml.safe_load_all((HERE / "apps.yaml").read_text())
    if each["kind"] in ("Deployment", "StatefulSet")
]


@pytest.fixture(scope="module")
def kubectl(home, make_namespace, apps_image):
    """The apps' namespace, in which every app has run, is a pool, and sleeps."""
    kubectl = make_namespace("apps")
    kubectl("label", "namespace", kubectl.namespace, "pod-security.kubernetes.io/enforce-")
    served_by(home, kubectl)
    kubectl("apply", "-f", str(HERE / "apps.yaml"))
    kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=120s")
    for kind, name in APPS:
        kubectl("rollout", "status", f"{kind}/{name}", "--timeout=240s")
    asyncio.run(make_pools(kubectl))
    return kubectl


async def make_pools(kubectl):
    """Make each app a pool, as the docs say, and let it sleep."""
    for kind, name in APPS:
        await demo_mode(kubectl, "check", f"{kind}/{name}")
        more = WINDOWS.get(name, ())
        await demo_mode(kubectl, "create", f"{kind}/{name}", "--apply", "--yes", *more)
        kubectl.patch("warmpool", name, {"spec": QUICK})
    for kind, name in APPS:
        await App(name, kubectl, kind=kind).asleep(within=90)


@pytest.fixture(scope="module")
def apps_image(on_node):
    """The image of the apps and their clients."""
    if not on_node:
        needs.missing("the throwaway node", "the image of the apps is built for it alone")
    if shutil.which("mvn") is None:
        needs.missing("Maven", "`apt-get install maven` brings it")
    subprocess.run(["mvn", "-q", "-B", "package"], cwd=HERE / "spring-boot", check=True)
    Node.open().build("localhost/kotatsu-apps:dev", HERE / "Dockerfile", HERE)


async def run_client(kubectl, what, seconds):
    """Let a client do a thing; raises what it says if it was cut."""
    command = ("exec", "client", "--", "python3", "/apps/client.py", what, str(seconds))
    await asyncio.to_thread(kubectl, *command)


async def uncut(kubectl, name, what, seconds, *, past="pods"):
    """Let a client wake an app and do what takes so long: one pod answers all of it.

    At the end of that, none of the `past` is in the app's route. When the client has gone, the app
    sleeps.
    """
    kind = next(kind for kind, each in APPS if each == name)
    app = App(name, kubectl, kind=kind)
    client = asyncio.create_task(run_client(kubectl, what, seconds))
    route, pod = app.endpoints(), None
    while not client.done():
        pod = pod or next(iter(app.ready_pods()), None)
        route = app.endpoints()
        await asyncio.sleep(0.5)
    await client
    assert pod is not None
    assert route[past] == set()
    assert [each["metadata"]["uid"] for each in app.ready_pods()] == [pod["metadata"]["uid"]]
    await app.asleep()


async def test_a_jupyter_kernel_keeps_its_variables_while_a_cell_runs_longer_than_idle_after(
    kubectl,
):
    await uncut(kubectl, "jupyterlab", "kernel", 40)


async def test_a_transaction_of_60_quiet_seconds_commits(kubectl):
    await uncut(kubectl, "postgres", "transaction", 60)


async def test_a_blocking_read_of_60_quiet_seconds_gets_its_element(kubectl):
    await uncut(kubectl, "redis", "pop", 60)


async def test_a_subscriber_that_hears_nothing_for_40_seconds_gets_the_message_then(kubectl):
    await uncut(kubectl, "mqtt", "message", 40)


async def test_200_mb_arrive_whole_at_a_client_that_takes_30_seconds_for_them(kubectl):
    await uncut(kubectl, "nginx", "download", 30)


async def test_a_download_of_a_php_app_that_pauses_for_40_seconds_arrives_whole(kubectl):
    await uncut(kubectl, "php", "paused", 40)


async def test_events_40_seconds_apart_come_through_a_proxy_that_speaks_http_1_0(kubectl):
    await uncut(kubectl, "events", "events", 40)


async def test_an_app_that_loads_for_150_seconds_starts_once_though_clients_give_up_after_20(
    kubectl,
):
    await uncut(kubectl, "model", "again", 20)


async def test_a_stream_through_nginx_as_it_comes_is_kept_while_the_app_loads_for_150_seconds(
    kubectl,
):
    kubectl.patch("warmpool", "model", {"spec": {"holdTimeout": "5m", "holdKeepalive": "15s"}})
    await uncut(kubectl, "model", "kept", 25)


async def test_mariadb_answers_every_session_while_it_is_warm_and_is_woken_by_none(kubectl):
    app = App("mariadb", kubectl, kind="statefulset")
    await run_client(kubectl, "refused", 10)
    assert (app.replicas(), app.phase()) == (0, "Asleep")
    await demo_mode(kubectl, "on", "mariadb", "--for=10m", "--wait")
    await run_client(kubectl, "sessions", 40)
    await demo_mode(kubectl, "off", "mariadb")
    await app.asleep()


async def test_a_grpc_call_that_is_quiet_for_60_seconds_is_answered(kubectl):
    await uncut(kubectl, "grpc", "call", 60)


async def test_a_spring_boot_app_is_counted_by_its_own_gauge_and_reached_directly(kubectl):
    await uncut(kubectl, "spring-boot", "request", 40, past="activator")


@pytest.mark.timeout(5400)
async def test_a_preview_starts_in_order_and_keeps_every_row_that_was_ordered(kubectl):
    db, api, web = (
        App("postgres", kubectl, kind="statefulset"),
        App("api", kubectl),
        App("web", kubectl),
    )
    for app, needed in ((db, []), (api, ["postgres"]), (web, ["api"])):
        spec = {"dependsOn": needed, "idleAfter": "2s"}
        kubectl.patch("warmpool", app.name, {"spec": spec})
    for cycle in range(CYCLES):
        await run_client(kubectl, "orders", 5)
        for app in (db, api, web):
            assert not any(restarts(app.ready_pods()).values()), app.name
        if cycle % 2:  # otherwise requests come while they go to sleep
            await db.asleep(60)
            assert (api.phase(), web.phase()) == ("Asleep", "Asleep")
    await db.asleep(60)
