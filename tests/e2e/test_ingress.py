"""Pools behind an Ingress controller and a Gateway: asleep, woken, put to sleep under a stream.

Traefik runs beside the cluster as it was published. It follows the EndpointSlices of a Service by
itself and connects to the addresses in them; kube-proxy has no part in it.
"""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from e2e.conftest import (
    PET_SERVICES,
    ROOT,
    SMALL_VOICE,
    add_recorder,
    built,
    cluster_ip,
    helm_install,
    served_by,
    start_app,
)
from e2e.foreign import applied
from e2e.kit import App, Kubectl, Object, acted_once, eventually, sleep_now
from e2e.prometheus import from_docs
from e2e.stream import (
    Stream,
    over_a_kept_connection,
    over_a_websocket,
    over_connections_of_its_own,
    over_http,
)
from e2e.traefik import Traefik, traefik
from e2e.visit import play

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

FORWARD_AUTH = ROOT / "services/auth/README.md"
CLAIM = "pets"
TOKEN = {"Authorization": "demo-ingress"}
WAYS = ("ingress", "gateway", "forward-auth")


@dataclass(frozen=True)
class Fronts:
    """The pet and a pooled app in one namespace, and the addresses that lead to them."""

    kubectl: Kubectl
    app: App
    traefik: Traefik

    def address(self, way: str) -> str:
        """Where clients come in."""
        return {
            "ingress": self.traefik.ingress,
            "gateway": self.traefik.gateway,
            "forward-auth": self.traefik.guarded,
        }[way]


@pytest.fixture(scope="module")
def fronts(
    home: Kubectl,
    make_namespace: Callable[[str], Kubectl],
    on_node: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fronts]:
    """Everything installed, with routes to the app and the pet by every way."""
    if not on_node:
        pytest.skip("this machine cannot reach pods by their address (it can on tools/node)")
    kubectl = make_namespace("ingress")
    folder: Path = tmp_path_factory.mktemp("ingress")
    with ExitStack() as stack:
        first = stack.enter_context(traefik(kubectl, folder))
        served_by(home, kubectl)
        add_recorder(kubectl)
        stack.enter_context(applied(kubectl, volume(kubectl, folder / "pets")))
        install_pet(kubectl, first)
        app = asyncio.run(start_app(kubectl, "behind", maxReplicas=1))
        auth = cluster_ip(kubectl, "auth")
        kubectl.apply(*routes(first), forward_auth(auth), *guarded(kubectl, first))
        made = Fronts(kubectl, app, first)
        asyncio.run(are_served(made))
        yield made


def volume(kubectl: Kubectl, folder: Path) -> list[Object]:
    """A volume for the pet's feed, and its claim: the node has few, and each is given out once."""
    folder.mkdir()
    folder.chmod(0o777)
    name = f"{kubectl.namespace}-pets"
    same: Object = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": same | {"capacity": {"storage": "1Gi"}, "hostPath": {"path": str(folder)}},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM},
            "spec": same | {"volumeName": name, "resources": {"requests": {"storage": "1Gi"}}},
        },
    ]


def install_pet(kubectl: Kubectl, front: Traefik) -> None:
    """The pet without its own gateway: an Ingress and an HTTPRoute lead to its services."""
    sets = ["gateway.enabled=false", "githubStub.enabled=true", "voice.anonymous=true", SMALL_VOICE]
    sets += ["ingress.enabled=true", f"ingress.className={front.ingress_class}"]
    sets += [f"feed.storage.existingClaim={CLAIM}", "httpRoute.enabled=true"]
    sets += [f"httpRoute.parentRefs[0].name={front.gateway_name}"]
    for name in (*PET_SERVICES, "github-stub"):
        sets += built(f"{'githubStub' if name == 'github-stub' else name}.image", name)
    helm_install(kubectl, "pet", "pet", *sets, wait=False)
    kubectl("rollout", "status", "deployment/github-stub", "--timeout=120s")


def ingress(name: str, class_name: str, *paths: str, **annotations: str) -> Object:
    """An Ingress of some paths to the app, for whatever host."""
    backend = {"service": {"name": "behind", "port": {"name": "http"}}}
    rules = [{"path": path, "pathType": "Prefix", "backend": backend} for path in paths]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"ingressClassName": class_name, "rules": [{"http": {"paths": rules}}]},
    }


def routes(first: Traefik) -> list[Object]:
    """The app by Ingress and HTTPRoute."""
    http_route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "behind"},
        "spec": {
            "parentRefs": [{"name": first.gateway_name}],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/echo"}}],
                    "backendRefs": [{"name": "behind", "port": 80}],
                }
            ],
        },
    }
    return [http_route, ingress("behind", first.ingress_class, "/echo")]


def forward_auth(auth: str) -> Object:
    """The Middleware of auth's page, with auth's cluster IP: cluster DNS does not resolve here."""
    made = dict(yaml.safe_load(from_docs(FORWARD_AUTH, "kind: Middleware")))
    assert made["spec"]["forwardAuth"]["address"] == "http://auth:8080/authorize"
    made["spec"]["forwardAuth"]["address"] = f"http://{auth}/authorize"
    return made


def guarded(kubectl: Kubectl, first: Traefik) -> list[Object]:
    """The app once more, behind the pet's auth."""
    prefix = "traefik.ingress.kubernetes.io/router"
    middleware = f"{kubectl.namespace}-github-user@kubernetescrd"
    asks = {f"{prefix}.entrypoints": "guarded", f"{prefix}.middlewares": middleware}
    paths = ("/echo", "/headers")
    return [ingress("guarded", first.ingress_class, *paths, **asks)]


async def are_served(fronts: Fronts) -> None:
    """Wait until every way leads to the app."""
    async with httpx.AsyncClient(timeout=60, headers=TOKEN, trust_env=False) as http:
        for way in WAYS:
            url = f"http://{fronts.address(way)}/echo"

            async def leads_there(url: str = url) -> bool:
                return (await http.post(url, params={"request_id": "first"})).status_code == 200

            for _ in range(100):
                if await leads_there():
                    break
                await asyncio.sleep(0.2)
            else:
                raise AssertionError(f"{way} does not lead to the app")


async def with_a_token(stream: Stream) -> None:
    """HTTP/1.1, keep-alive, as somebody whom auth lets in."""
    await over_http(stream, "token", headers=TOKEN)


@pytest.fixture(scope="module")
def streams(fronts: Fronts) -> dict[str, Stream]:
    """Clients came by every way while the app and auth slept and woke, and slept again."""
    app, auth = fronts.app, App("auth", fronts.kubectl)
    plain = (over_a_kept_connection, over_connections_of_its_own, over_a_websocket)

    async def live() -> dict[str, Stream]:
        made = {}
        async with AsyncExitStack() as running:
            for way in WAYS:
                ways = (with_a_token,) if "auth" in way else plain
                stream = Stream(app, clients=3, pause=0.1, address=fronts.address(way), ways=ways)
                made[way] = await running.enter_async_context(stream)
            # Not both at once: Traefik lets a request that has waited for auth go on to the
            # endpoints of the moment in which it came.
            for sleeper in (app, auth, app):
                await asyncio.gather(is_warm(app), is_warm(auth))
                await sleep_now(sleeper)
            await asyncio.gather(is_warm(app), is_warm(auth))
        return made

    return asyncio.run(live())


async def is_warm(app: App) -> None:
    """Wait until the pods are the only ones in the way."""
    await eventually(
        f"{app.name} warm",
        lambda: (
            app.phase() == "Warm" and app.endpoints()["pods"] and not app.endpoints()["activator"]
        ),
    )


async def put_to_sleep(*apps: App) -> None:
    """Have pools at zero; their pods may be on their way out."""
    await asyncio.gather(*(sleep_now(app) for app in apps if app.replicas() > 0))
    # The status says that they have slept just before the scale is written.
    await eventually("all at 0", lambda: not any(app.replicas() for app in apps))


@pytest.mark.parametrize("way", WAYS)
def test_no_request_is_lost_while_pools_sleep_and_wake(
    streams: dict[str, Stream], way: str
) -> None:
    assert not streams[way].failures, streams[way].failures[:5]
    assert streams[way].done > 30


async def test_every_request_is_acted_on_once(streams: dict[str, Stream], fronts: Fronts) -> None:
    assert len(fronts.app.sent) > 120
    await acted_once(fronts.app, cluster_ip(fronts.kubectl, "recorder"))


async def test_a_caller_whom_auth_refuses_wakes_auth_and_nobody_else(fronts: Fronts) -> None:
    app, auth = fronts.app, App("auth", fronts.kubectl)
    await put_to_sleep(app, auth)
    # Over a connection that Traefik has kept, a pod on its way out would still answer.
    await auth.asleep()
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        answer = await http.get(f"http://{fronts.traefik.guarded}/headers")
    assert answer.status_code == 401
    assert (auth.replicas(), app.replicas()) == (1, 0)


async def test_a_caller_whom_auth_knows_wakes_the_app_and_cannot_be_somebody_else(
    fronts: Fronts,
) -> None:
    await put_to_sleep(fronts.app)
    forged = {"X-User-Id": "1", "X-User-Login": "somebody-else", "X-User-Avatar": "none"}
    async with httpx.AsyncClient(timeout=60, headers=TOKEN | forged, trust_env=False) as http:
        answer = await http.get(f"http://{fronts.traefik.guarded}/headers")
    assert answer.status_code == 200, answer.text
    told = {name: answer.json().get(name.lower()) for name in forged}
    assert told["X-User-Login"] == "ingress"
    assert not set(told.values()) & set(forged.values())


@pytest.mark.parametrize("way", [way for way in WAYS if "auth" not in way])
async def test_a_whole_visit_wakes_the_sleeping_pet(fronts: Fronts, way: str) -> None:
    services = [App(name, fronts.kubectl) for name in PET_SERVICES]
    await put_to_sleep(*services)
    await play(f"http://{fronts.address(way)}", f"demo-{uuid.uuid4().hex[:6]}")
    assert [app.replicas() for app in services] == [1, 1, 1]
