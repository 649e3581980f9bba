"""The charts' NetworkPolicies enforced by a real agent: what must be connected is, nothing else."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from chart.flows import Peer, Policies
from e2e.conftest import PET_SERVICES, add_recorder, cluster_ip, start_app
from e2e.kit import App, Kubectl, Object, acted_once, eventually, is_ending, sleep_now
from e2e.policy_agent import Agent, enforced
from e2e.stream import Stream, inside
from e2e.visit import play

from kotatsu_node.layout import HOST_IP

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(300)]

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
    app = await start_app(
        pet, f"policed-{uuid.uuid4().hex[:4]}", scaling={"maxReplicas": 1}, drain={"timeout": "10s"}
    )
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


async def test_no_request_is_lost_while_a_pool_sleeps_and_wakes(policed: App, pet: Kubectl) -> None:
    async with Stream(policed, clients=4, pause=0.1) as stream:
        for cycle in range(CYCLES):
            await eventually(f"{cycle}: warm", lambda: policed.phase() == "Warm", within=60)
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
    assert named >= {"activator", "auth", "feed", "gateway", "operator", "voice"}
    policies = Policies(pet.items("networkpolicies") + stranger.items("networkpolicies"))
    tried = await asyncio.gather(
        *(try_all(source, [*places, OUTSIDE], policies) for source in [*places, OUTSIDE])
    )
    said = {key: verdict for found in tried for key, verdict in found.items()}
    wrong = {key: verdict for key, verdict in said.items() if verdict[0] != verdict[1]}
    assert wrong == {}, "(as the policies say, as it was)"
    assert len(said) == sum(map(len, tried)), "two places of one name"
    counted = [expected for expected, _ in said.values()]
    assert counted.count(True) > 100
    assert counted.count(False) > 100
    assert agent.verdicts()["drop"] > before.get("drop", 0)


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
