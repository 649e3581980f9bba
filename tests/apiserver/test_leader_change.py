"""Two operators, of which one leads: what each shows, and what is left to the next one."""

import asyncio

import httpx
import pytest
from apiserver.conftest import install_platform, start_app
from apiserver.kit import eventually
from apiserver.network import real
from e2e.kit import is_ending

from kotatsu_operator.core.protocol import LEASE_NAME, RECORD

pytestmark = pytest.mark.apiserver

QUICK = {"idleAfter": "1s"}
AT_ONCE = 7.0
"""Seconds: fewer than those until a Lease expires that the operator has not released."""


@pytest.fixture(scope="module")
def two(make_namespace):
    """A namespace with two operators."""
    kubectl = make_namespace("ha")
    asyncio.run(install_platform(kubectl, "operator.replicas=2"))
    return kubectl


def leader(kubectl):
    return kubectl.get("lease", LEASE_NAME)["spec"].get("holderIdentity") or ""


def operators(kubectl):
    labels = {"app.kubernetes.io/component": "operator"}
    return {p["metadata"]["name"]: p for p in kubectl.items("pods", **labels) if not is_ending(p)}


async def settled(kubectl):
    """Two operators, one of which leads."""
    kubectl("rollout", "status", "deployment/kotatsu-operator", "--timeout=30s")
    await eventually("a leader", lambda: leader(kubectl) in operators(kubectl))
    return leader(kubectl)


async def test_a_leader_that_ends_lets_the_other_act_at_once(two):
    former = await settled(two)
    two.delete("pod", former)
    async with asyncio.timeout(AT_ONCE):
        await eventually("another leads", lambda: leader(two) not in ("", former), every=0.05)


async def test_only_the_leader_shows_pools_and_says_that_it_leads(two):
    former = await settled(two)
    app = await start_app(two, "shown")
    shown = f'kotatsu_pool_phase{{name="{app.name}"'

    async def said():
        found = {}
        async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
            for name, pod in operators(two).items():
                host, port = real(pod["status"]["podIP"], 8080)
                page = (await http.get(f"http://{host}:{port}/metrics")).text
                found[name] = ("kotatsu_operator_leader 1.0" in page, shown in page)
        return found

    found = await said()
    assert len(found) == 2
    assert found.pop(former) == (True, True)
    assert set(found.values()) == {(False, False)}


async def test_a_pool_deleted_while_no_operator_runs_gives_its_target_back_later(two):
    app = await start_app(two, "unseen", **QUICK)
    kept = await start_app(two, "kept", onDelete="Keep", **QUICK)
    await app.asleep()
    await kept.asleep()
    two.patch("deployment", "kotatsu-operator", {"spec": {"replicas": 0}})
    await eventually("no operator", lambda: not operators(two))
    await eventually("the Lease released", lambda: leader(two) == "")
    for pool in (app, kept):
        two.delete("warmpool", pool.name)
    assert app.replicas() == 0
    two.patch("deployment", "kotatsu-operator", {"spec": {"replicas": 2}})
    await eventually("restored", lambda: app.replicas() == 1)

    def recorded():
        texts = (two.get("configmap", RECORD).get("data") or {}).values()
        return [t for t in texts if app.name in t or kept.name in t]

    await eventually("struck out", lambda: not recorded())
    assert kept.replicas() == 0
