"""The examples on a real cluster: accepted, and slept and woken under a stream without a loss.

The small app of the tests is in the place of each image, and reports no requests in flight.
"""

import pytest
from e2e import rollouts
from e2e.conftest import ROOT, add_recorder, cluster_ip, install_platform
from e2e.example import of
from e2e.kit import App, acted_once, config_map, eventually, sleep_now
from e2e.stream import (
    Stream,
    over_a_websocket,
    over_connections_of_its_own,
    over_http2,
)

from kotatsu_operator.core.protocol import ROUTE_LABEL

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

EXAMPLES = ROOT / "examples"
HTTP = (over_connections_of_its_own,)
RUN = {
    "web": HTTP,
    "slow-start": HTTP,
    "parked": HTTP,
    "statefulset": HTTP,
    "voicevox": HTTP,
    "grpc": (over_http2,),
    "websocket": (over_a_websocket,),
}
"""The ways in which the clients of each example come."""


async def run(kubectl, name, ways, recorder, **how):
    """Install an example, let it sleep and wake under a stream, and then sleep by itself."""
    made, service, pool = of(EXAMPLES / f"{name}.yaml", **how)
    kubectl.apply(config_map(), made, service, pool)
    app = App(pool["metadata"]["name"], kubectl, kind=made["kind"].lower())
    await app.asleep()
    app.address = cluster_ip(kubectl, app.name)
    async with Stream(app, ways=ways) as stream:
        await eventually(f"{app.name} warm", lambda: app.phase() == "Warm", within=60)
        for _ in range(2):
            await sleep_now(app)
            await eventually(f"{app.name} warm", lambda: app.phase() == "Warm", within=90)
    assert stream.failures == []
    assert stream.done > 0
    await acted_once(app, recorder)
    await app.asleep(within=90)
    return app


@pytest.mark.parametrize("name", RUN)
async def test_it_sleeps_and_wakes_under_a_stream_and_loses_nothing(team, recorder, name):
    slow = {"start": 8} if name == "slow-start" else {}
    app = await run(team, name, RUN[name], recorder, windows=[], **slow)
    assert ROUTE_LABEL in team.get("service", app.name)["spec"]["selector"]
    team("delete", f"warmpool,service,{app.kind}", app.name, "--wait=false")


@pytest.mark.alone
async def test_a_rollout_sleeps_and_wakes_under_a_stream_and_loses_nothing(make_namespace):
    """Argo's CRD is cluster-wide; its controller is played."""
    kubectl = make_namespace("rollout")
    kubectl.apply(rollouts.CRD)
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/rollouts.argoproj.io")
    kind = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "resource": "rollouts"}
    install_platform(kubectl, *(f"targets[0].{name}={value}" for name, value in kind.items()))
    add_recorder(kubectl)
    try:
        kubectl.apply(config_map(), of(EXAMPLES / "rollout.yaml")[0])
        async with rollouts.played(kubectl, "canary"):
            await run(kubectl, "rollout", HTTP, cluster_ip(kubectl, "recorder"))
    finally:
        kubectl("delete", "crd/rollouts.argoproj.io", "--ignore-not-found", "--wait=false")
