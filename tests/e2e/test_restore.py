"""kubectl demo-mode restore on a cluster from which the chart was removed while a pool slept."""

import asyncio
import subprocess

import httpx
import pytest
from e2e.conftest import MakeNamespace, install_platform, start_app
from e2e.kit import App, Kubectl, Object, demo_mode, eventually

from kotatsu_operator.core.protocol import record_part
from kotatsu_operator.kube.views import is_ours

pytestmark = pytest.mark.e2e


async def test_after_an_uninstall_without_its_job_restore_gives_the_pods_back(
    make_namespace: MakeNamespace,
) -> None:
    kubectl = make_namespace("restore")
    install_platform(kubectl)
    app = await start_app(kubectl, "left", recorder="", idleAfter="4s")
    await app.asleep()
    refused = await demo_mode(kubectl, "restore", "--all", code=1)
    assert "watches it, and may undo it: uninstall Kotatsu" in refused

    words = ("helm", "uninstall", "kotatsu", "-n", kubectl.namespace, "--no-hooks", "--wait")
    await asyncio.to_thread(subprocess.run, words, check=True)
    record = record_part(kubectl.namespace)
    assert kubectl.get("configmap", record)["data"]
    assert app.replicas() == 0
    unserved = await demo_mode(kubectl, "on", app.name, "--wait", code=1)
    assert f"namespace {kubectl.namespace} is not served by Kotatsu" in unserved

    out = await demo_mode(kubectl, "restore", "--all")
    assert f"{app.name}: Deployment {app.name} has 1 replicas again" in out
    await eventually("a Ready pod", app.ready_pods)
    await eventually("no slice of an activator", lambda: not _slices(kubectl), within=120)
    await eventually("an answer of the pod", lambda: _answers(app))
    assert "stays as it is" in await demo_mode(kubectl, "restore", "--all")


def _answers(app: App) -> bool:
    """Whether a new connection gets an answer: kube-proxy may still name the removed activator."""
    params = {"request_id": "after", "ms": 0}
    try:
        return httpx.post(app.url, params=params, timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _slices(kubectl: Kubectl) -> list[Object]:
    found = kubectl.items("endpointslices")
    return [obj for obj in found if is_ours(obj)]
