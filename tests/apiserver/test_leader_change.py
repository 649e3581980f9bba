"""Two operators, of which one leads: what is left to the next one."""

import asyncio

import pytest
from apiserver.conftest import install_platform, start_app
from apiserver.kit import eventually

from kotatsu_operator.core.protocol import LEASE_NAME, record_part

pytestmark = pytest.mark.apiserver

QUICK = {"idleAfter": "1s"}


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
    return kubectl.items("pods", **labels)


async def test_a_pool_deleted_while_no_operator_runs_gives_its_target_back_later(two):
    app = await start_app(two, "unseen", **QUICK)
    await app.asleep()
    two.patch("deployment", "kotatsu-operator", {"spec": {"replicas": 0}})
    await eventually("no operator", lambda: not operators(two))
    await eventually("the Lease released", lambda: leader(two) == "")
    two.delete("warmpool", app.name)
    assert app.replicas() == 0
    two.patch("deployment", "kotatsu-operator", {"spec": {"replicas": 2}})
    await eventually("restored", lambda: app.replicas() == 1)

    def recorded():
        texts = (two.get("configmap", record_part(two.namespace)).get("data") or {}).values()
        return [t for t in texts if app.name in t]

    await eventually("struck out", lambda: not recorded())
