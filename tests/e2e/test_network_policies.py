"""The charts' NetworkPolicies enforced by a real agent: what must be connected is, nothing else."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from chart.flows import Peer, Policies
from e2e.conftest import (
    PET_SERVICES,
    add_recorder,
    cluster_ip,
    install_platform,
    served_by,
    start_app,
)
from e2e.kit import App, Kubectl, Object, acted_once, eventually, is_ending, sleep_now
from e2e.policy_agent import Agent, enforced
from e2e.stream import Stream, inside
from e2e.visit import play

from kotatsu_node.layout import HOST_IP
from kotatsu_operator.core.protocol import SHARED_ANNOTATION
from kotatsu_operator.kube.views import is_ours

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, pytest.mark.alone]

PORTS = (22, 443, 8080, 8081, 40000)
"""What pods and the outside are tried at. Where nothing listens, the connection is refused at once
when the policies let it through, and never answered when they do not."""
SILENCE = 3.0
"""Seconds after which a connection is taken to be dropped."""
PATIENCE = 20.0
"""Seconds that one may take which must not be."""
CYCLES = 2


@dataclass(frozen=True)
class Place:
    """One end of connections; a pod's network namespace is where its own begin."""

    peer: Peer
    addresses: tuple[str, ...]
    namespace: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.peer.namespace} {self.peer.name}".strip()


OUTSIDE = Place(Peer("the outside", ip=HOST_IP), (HOST_IP,))


@pytest.fixture(scope="module")
def agent(pet: Kubectl, on_node: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """The agent at work, until these tests are over."""
    if not on_node:
        pytest.skip("an agent is started on tools/node only")
    with enforced(pet, tmp_path_factory.mktemp("agent")) as made:
        yield made


@pytest.fixture
async def policed(agent: Agent, pet: Kubectl) -> AsyncIterator[App]:
    """A pooled app in the pet's namespace, and the recorder."""
    add_recorder(pet)
    app = await start_app(pet, f"policed-{uuid.uuid4().hex[:4]}", maxReplicas=1)
    yield app
    pet("delete", "warmpool,deployment,service", app.name, "--wait=false")


@pytest.fixture(scope="module")
def stranger(make_namespace: Callable[[str], Kubectl]) -> Kubectl:
    """A namespace that has nothing to do with the pet, with a pod in it."""
    kubectl = make_namespace("stranger")
    add_recorder(kubectl)
    return kubectl


async def test_a_whole_visit_wakes_the_sleeping_pet(agent: Agent, base: str, pet: Kubectl) -> None:
    await play(base, f"demo-{uuid.uuid4().hex[:6]}")
    assert [App(name, pet).replicas() for name in PET_SERVICES] == [1, 1, 1]


async def test_the_pet_wakes_by_activators_of_another_namespace(
    agent: Agent, guided: Kubectl
) -> None:
    for name in PET_SERVICES:
        await App(name, guided).asleep()
    await play(f"http://{cluster_ip(guided, 'gateway')}", f"demo-{uuid.uuid4().hex[:6]}")
    assert [App(name, guided).replicas() for name in PET_SERVICES] == [1, 1, 1]


async def test_no_request_is_lost_while_a_pool_sleeps_and_wakes(policed: App, pet: Kubectl) -> None:
    async with Stream(policed, clients=4, pause=0.1) as stream:
        for cycle in range(CYCLES):
            await eventually(f"{cycle}: warm", lambda: policed.phase() == "Warm")
            await sleep_now(policed)
    assert not stream.failures, stream.failures[:5]
    assert stream.done > 50
    await acted_once(policed, cluster_ip(pet, "recorder"))


async def test_a_real_agent_lets_through_what_the_policies_name_and_nothing_else(
    agent: Agent, base: str, pet: Kubectl, stranger: Kubectl
) -> None:
    await play(base, f"demo-{uuid.uuid4().hex[:6]}")
    before = agent.verdicts()
    places = [*pods(pet), *pods(stranger)]
    named = {place.peer.name for place in places}
    assert named >= {"auth", "feed", "gateway", "voice"}
    policies = Policies(pet.items("networkpolicies") + stranger.items("networkpolicies"))
    tried = await asyncio.gather(
        *(try_all(source, [*places, OUTSIDE], policies) for source in [*places, OUTSIDE])
    )
    said = {key: verdict for found in tried for key, verdict in found.items()}
    wrong = {key: verdict for key, verdict in said.items() if verdict[0] != verdict[1]}
    assert wrong == {}, "(as the policies say, as it was)"
    assert len(said) == sum(map(len, tried)), "two places of one name"
    counted = [expected for expected, _ in said.values()]
    assert counted.count(True) > 40
    assert counted.count(False) > 100
    assert agent.verdicts()["drop"] > before.get("drop", 0)


def limits(app: str, *more: Object) -> Object:
    """A policy of an app: pods labeled app=recorder, Kotatsu and `more` reach its pods."""
    peers = ({"app": "recorder"}, {"app.kubernetes.io/name": "kotatsu"})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": app},
        "spec": {
            "podSelector": {"matchLabels": {"app": app}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [*({"podSelector": {"matchLabels": p}} for p in peers), *more]}],
        },
    }


async def reaches(client: Kubectl, app: App, within: float) -> bool:
    """Whether the recorder's pod of a namespace reaches the activator of a sleeping pool."""
    [place] = [place for place in pods(client) if place.peer.name == "recorder"]
    assert place.namespace is not None
    labels = {"kubernetes.io/service-name": app.name}
    address, port = next(
        (endpoint["addresses"][0], obj["ports"][0]["port"])
        for obj in app.kubectl.items("endpointslices", **labels)
        if is_ours(obj) and obj["addressType"] == "IPv4"
        for endpoint in obj.get("endpoints") or ()
    )

    async def work() -> bool:
        return await is_answered(address, port, within)

    return bool(await inside(place.namespace, work))


async def test_a_policy_of_an_app_alone_does_not_limit_who_reaches_it_asleep(
    stranger: Kubectl, make_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = make_namespace("own")
    install_platform(
        kubectl, "activator.replicas=1", f"activator.own.{kubectl.namespace}.replicas=1"
    )
    app = await start_app(kubectl, "unlimited", recorder="", maxReplicas=1)
    kubectl.apply(limits(app.name))
    await sleep_now(app)
    await eventually("it is said", lambda: app.failed("SameClients"))
    assert await reaches(stranger, app, PATIENCE)
    kubectl("delete", "networkpolicy", app.name)
    await eventually("it is over", lambda: not app.failed("SameClients"))


async def test_a_sleeping_pool_is_reached_by_the_allowed_clients_alone(
    agent: Agent, stranger: Kubectl, make_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = make_namespace("allowed")
    own = f"activator.own.{kubectl.namespace}"
    client = f"{own}.allowedClients[0].podSelector.matchLabels.app=recorder"
    install_platform(kubectl, "activator.replicas=1", client)
    add_recorder(kubectl)
    app = await start_app(kubectl, "limited", maxReplicas=1)
    kubectl.apply(limits(app.name))
    await sleep_now(app)
    assert not await reaches(stranger, app, SILENCE)
    assert await reaches(kubectl, app, PATIENCE)
    assert not app.failed("SameClients")


async def test_shared_activators_serve_pods_behind_a_policy_only_if_their_owner_accepts_that(
    agent: Agent, make_namespace: Callable[[str], Kubectl], http: httpx.AsyncClient
) -> None:
    home, kubectl = make_namespace("home"), make_namespace("isolated")
    install_platform(home)
    app = await start_app(served_by(home, kubectl), "web", recorder="", idleAfter="4s")

    def says(reason: str) -> Callable[[], bool]:
        return lambda: app.conditions()["Accepted"].get("reason") == reason

    kubectl.apply(limits(app.name))
    await eventually("refused", says("Isolated"))
    await eventually("with its pod", app.ready_pods)
    kubectl("annotate", "namespace", kubectl.namespace, f"{SHARED_ANNOTATION}=true")
    said = "so they could not forward the request that wakes the pool"
    await eventually("why", lambda: said in app.conditions()["Accepted"]["message"])
    there = {"kubernetes.io/metadata.name": home.namespace}
    kubectl.apply(limits(app.name, {"namespaceSelector": {"matchLabels": there}}))
    await app.asleep()
    await app.send(http)
    kubectl("delete", "warmpool", app.name)


def pods(kubectl: Kubectl) -> Iterator[Place]:
    """The running pods of a namespace that stay, one of each kind."""
    seen = set()
    for pod in kubectl.items("pods"):
        labels = pod["metadata"]["labels"]
        name = labels.get("app.kubernetes.io/component") or labels.get("app.kubernetes.io/name")
        name = name or labels.get("app", "")
        if pod["status"]["phase"] == "Running" and not is_ending(pod) and name not in seen:
            seen.add(name)
            peer = Peer(name, kubectl.namespace, labels, pod["status"]["podIP"])
            addresses = tuple(entry["ip"] for entry in pod["status"]["podIPs"])
            yield Place(peer, addresses, network_of(pod))


def network_of(pod: Object) -> Path:
    """The network namespace of a pod, by one of its processes."""
    uid = pod["metadata"]["uid"]
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"pod{uid}" in (entry / "cgroup").read_text():
                return entry / "ns/net"
        except OSError:
            continue
    raise AssertionError(f"no process of {pod['metadata']['name']}")


async def try_all(
    source: Place, targets: list[Place], policies: Policies
) -> dict[tuple[str, str, int], tuple[bool, bool]]:
    """Every connection from one place: whether the policies let it through, and whether it was."""
    ways = [
        (target, address, port)
        for target in targets
        if target is not source
        for address in target.addresses
        for port in PORTS
    ]
    expected = [policies.passes(source.peer, target.peer, port) for target, _, port in ways]

    async def work() -> list[bool]:
        tries = zip(ways, expected, strict=True)
        return await asyncio.gather(
            *(
                is_answered(address, port, PATIENCE if let else SILENCE)
                for (_, address, port), let in tries
            )
        )

    found = await (work() if source.namespace is None else inside(source.namespace, work))
    return {
        (source.name, f"{target.name} {address}", port): verdict
        for (target, address, port), *verdict in zip(ways, expected, found, strict=True)
    }


async def is_answered(address: str, port: int, within: float) -> bool:
    """Whether a connection is accepted or refused by the other end, and not just dropped."""
    try:
        async with asyncio.timeout(within):
            _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        return False
    writer.close()
    return True
