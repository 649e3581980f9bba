"""Wakes of one namespace, over one client of the API server, and a wake of another."""

import asyncio
import json

import pytest

from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.connection import MOST
from tests.operator.activator.in_process import ActivatorFixture
from tests.operator.cluster import deployment, eventually
from tests.operator.kube.test_client import connected

pytestmark = pytest.mark.timeout(60)


async def test_a_wake_does_not_wait_behind_the_wakes_of_another_namespace():
    came, gate = [], asyncio.Event()

    async def answer(request):
        came.append(request.path.split("/")[5])
        await gate.wait()
        meta = {"name": "any", "resourceVersion": "8"}
        return 200, json.dumps({"metadata": meta, "spec": {"replicas": 1}}).encode()

    async with connected(answer) as connection:
        kube = Kube(connection)
        crowd = [
            asyncio.create_task(kube.raise_scale("crowd", f"pool-{n}", "7")) for n in range(1200)
        ]
        await eventually(lambda: len(came) == MOST)
        async with ActivatorFixture(kube=kube) as activator:
            activator.see("Deployment", deployment(replicas=0))
            activator.hold()
            await activator.held(1)
            await eventually(lambda: "demo" in connection.turns._waiting[0])
            gate.set()
            await eventually(lambda: "demo" in came)
        for call in crowd:
            call.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
    assert came.index("demo") <= MOST + 1
