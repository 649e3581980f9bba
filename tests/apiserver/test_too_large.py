"""A namespace whose objects need more memory than one namespace has: nothing is decided there."""

import asyncio

import httpx
import pytest
from apiserver.conftest import MakeNamespace, install_platform, start_app
from apiserver.kit import Namespace, eventually
from apiserver.test_full_caches import fill
from e2e.kit import App

from kotatsu_operator.core.formats import is_false, is_true
from kotatsu_operator.kube import retained

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(180)]

SMALL = [
    "namespaceMemory=1",
    *(f"{part}.resources.limits.memory=96Mi" for part in ("operator", "activator")),
]
PODS = 40
"""Pods with 27 KiB of labels each: more than a namespace has of so little memory."""


def accepted(app: App) -> dict[str, str]:
    return dict(app.conditions().get("Accepted", {}))


def events_of(namespace: Namespace) -> list[str]:
    """The reasons of the events of a namespace itself."""
    found = namespace.items("events")
    return [of["reason"] for of in found if of["involvedObject"]["kind"] == "Namespace"]


async def test_nothing_is_decided_in_it_until_it_has_fewer_objects(
    make_namespace: MakeNamespace, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retained, "FIRST_TRY", 2.0)
    monkeypatch.setattr(retained, "LONGEST_PAUSE", 8.0)
    home = make_namespace("home")
    await install_platform(home, *SMALL)
    full, other = make_namespace("full", home=home), make_namespace("other", home=home)
    asleep, awake = [
        await start_app(full, name, idleAfter=after) for name, after in (("a", "1s"), ("b", "8s"))
    ]
    beside = await start_app(other, "c", idleAfter="1s")
    await eventually("asleep", lambda: asleep.phase() == beside.phase() == "Asleep")
    await awake.send(http)

    await asyncio.to_thread(fill, full, PODS)
    for app in (asleep, awake):
        await eventually("refused", lambda app=app: is_false(accepted(app)))
        assert accepted(app)["reason"] == "NamespaceTooLarge"
        assert "objects of kind Pod" in accepted(app)["message"]
    assert events_of(full) == ["NamespaceTooLarge"]
    refused = await http.get(asleep.url)
    assert refused.status_code == 503
    assert "objects of kind Pod" in refused.json()["detail"]
    await beside.send(http)
    await asyncio.sleep(10)  # longer than it may be idle
    assert (asleep.replicas(), awake.replicas()) == (0, 1)
    assert asleep.endpoints()["activator"]
    await awake.send(http)

    await asyncio.to_thread(full, "delete", "pods", "--selector=a0", "--grace-period=0", "--force")
    for app in (asleep, awake):
        await eventually("accepted", lambda app=app: is_true(accepted(app)), within=120)
    while (await http.get(asleep.url)).status_code == 503:  # the activator lists it later
        await asyncio.sleep(0.5)
    await asleep.send(http)
    await eventually("asleep", lambda: asleep.phase() == awake.phase() == "Asleep")
