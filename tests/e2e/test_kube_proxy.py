"""Other nodes and kube-proxies: both modes, two nodes, ClusterIP and NodePort, affinity, local.

The second node is a network namespace with a kube-proxy of its own (tools/node). What ran here is
what docs/reference/support.md says was run.
"""

import asyncio
import contextlib
import re

import httpx
import pytest
from e2e.kit import acted_once, eventually, sleep_again_and_again, sleep_now
from e2e.stream import Stream, inside

from kotatsu_node import Node
from kotatsu_node.cluster import second
from kotatsu_node.components.configuration import PROXY_MODES
from kotatsu_node.layout import NODE_IP, SECOND_IP

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, pytest.mark.alone]

SETTLED = 3.0
"""Seconds after which every kube-proxy has followed a slice: it writes once a second."""


@pytest.fixture(scope="module")
def two_nodes(on_node):
    """Bring kube-proxies into the modes asked for; in the end all is as it was."""
    if not on_node:
        pytest.skip("a second node and a change of kube-proxy's mode need tools/node")
    node = Node.open()

    def bring(first: str) -> None:
        """The first node's kube-proxy in this mode, the second node's in the other one."""
        [other] = set(PROXY_MODES) - {first}
        node.up(proxy_mode=first)
        node.second_up(proxy_mode=other)

    yield bring
    node.second_down()
    node.up(proxy_mode="iptables")


@pytest.fixture
async def make_service(make_app, team):
    """An app whose Service has a NodePort and more; returns it with the NodePort."""

    async def make(name, **service):
        app = await make_app(
            name,
            idleAfter="60s",
            maxReplicas=1,
        )
        team.patch("service", app.name, {"spec": {"type": "NodePort", **service}})
        return app, team.get("service", app.name)["spec"]["ports"][0]["nodePort"]

    return make


async def answers(app, address, namespace=None):
    """Whether a new connection to an address of the Service is answered within 5 s."""

    async def ask():
        async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
            response = await http.get(f"http://{address}/readyz")
            return response.status_code == 200

    try:
        return await (ask() if namespace is None else inside(namespace, ask))
    except httpx.TransportError:
        return False


def bytes_passed(home):
    """How many bytes the activators have passed on so far."""
    total = 0.0
    for pod in activators(home):
        ports = pod["spec"]["containers"][0]["ports"]
        port = next(p["containerPort"] for p in ports if p["name"] == "metrics")
        page = httpx.get(f"http://{pod['status']['podIP']}:{port}/metrics", trust_env=False).text
        found = re.findall(
            r"^kotatsu_activator_splice_bytes_total\{.*\} (\S+)$", page, re.MULTILINE
        )
        total += sum(map(float, found))
    return total


@pytest.mark.parametrize("affinity", ["None", "ClientIP"])
@pytest.mark.parametrize("first", PROXY_MODES)
async def test_sleeps_and_wakes_lose_nothing_whichever_kube_proxy_leads_to_the_service(
    two_nodes, make_service, home, team, recorder, first, affinity
):
    await asyncio.to_thread(two_nodes, first)
    app, port = await make_service(
        f"{first}-{affinity.lower()}", sessionAffinity=affinity, ipFamilyPolicy="PreferDualStack"
    )
    # Where the cluster has two address families the Service has an address of each.
    _, *others = team.get("service", app.name)["spec"]["clusterIPs"]
    ways = [
        *((None, f"[{address}]") for address in others),
        (None, app.address),
        (None, f"{NODE_IP}:{port}"),
        (second.PATH, app.address),
        (second.PATH, f"{SECOND_IP}:{port}"),
    ]
    # The Service is new to both kube-proxies, and so is its node port.
    for namespace, address in ways:
        while not await answers(app, address, namespace):
            await asyncio.sleep(0.2)
    await asyncio.sleep(SETTLED)
    async with contextlib.AsyncExitStack() as running:
        streams = [
            await running.enter_async_context(
                Stream(app, clients=2, pause=0.2, address=address, namespace=namespace)
            )
            for namespace, address in ways
        ]
        for cycle in range(2):
            await eventually(f"{cycle}: awake", lambda: app.phase() == "Warm")
            await sleep_now(app)
        await eventually("awake", lambda: app.phase() == "Warm")
        await eventually("pods only", lambda: not app.endpoints()["activator"])
        await asyncio.sleep(SETTLED)
    for stream in streams:
        assert not stream.failures, (stream.address, stream.failures[:5])
        assert stream.done > 30
    await acted_once(app, recorder)

    # Nobody is led to the activator any more, by an entry of the affinity or otherwise.
    before = bytes_passed(home)
    for namespace, address in ways:
        assert await answers(app, address, namespace)
    assert bytes_passed(home) == before


async def test_clients_on_another_node_lose_nothing_while_both_activators_are_replaced(
    two_nodes, make_app, home, recorder
):
    await asyncio.to_thread(two_nodes, PROXY_MODES[0])
    app = await make_app("elsewhere", idleAfter="60s", maxReplicas=1)
    while not await answers(app, app.address, second.PATH):
        await asyncio.sleep(0.2)
    await asyncio.sleep(SETTLED)
    before = uids(activators(home))
    async with Stream(app, pause=0.2, timeout=180, namespace=second.PATH) as stream:
        sleeping = asyncio.create_task(sleep_again_and_again(app))
        home("rollout", "restart", "deployment/kotatsu-activator-0")
        await asyncio.to_thread(
            home, "rollout", "status", "deployment/kotatsu-activator-0", "--timeout=180s"
        )
        await eventually("others", lambda: len(uids(activators(home)) - before) == 2, 60)
        woken = stream.done
        await eventually("woken by them too", lambda: stream.done > woken + 30, 120)
        sleeping.cancel()
    assert not stream.failures, stream.failures[:5]
    await acted_once(app, recorder)


def activators(home):
    """The activators' pods."""
    return home.items("pods", **{"app.kubernetes.io/component": "activator"})


def uids(pods):
    return {pod["metadata"]["uid"] for pod in pods}


@pytest.mark.parametrize("first", PROXY_MODES)
async def test_local_policies_lead_to_the_activator_only_on_its_own_node(
    two_nodes, make_service, team, first
):
    await asyncio.to_thread(two_nodes, first)
    app, port = await make_service(
        f"local-{first}", internalTrafficPolicy="Local", externalTrafficPolicy="Local"
    )
    await sleep_now(app)
    await app.asleep()
    await asyncio.sleep(SETTLED)
    # Pods and activators are on the first node: there a sleeping pool answers (a probe, here) …
    assert await answers(app, app.address)
    assert await answers(app, f"{NODE_IP}:{port}")
    # … and on another one nobody does, as Kubernetes says of a node without endpoints.
    assert not await answers(app, app.address, second.PATH)
    assert not await answers(app, f"{SECOND_IP}:{port}")
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        await app.send(http, address=f"{NODE_IP}:{port}")
    await eventually("awake", lambda: app.phase() == "Warm")
    await eventually("pods only", lambda: not app.endpoints()["activator"])
    assert await answers(app, app.address)
    assert not await answers(app, app.address, second.PATH)
