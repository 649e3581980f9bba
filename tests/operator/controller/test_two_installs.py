"""Two installs in one cluster never write one pool, whatever happens to labels and to them."""

import asyncio
import random
from datetime import timedelta

import pytest

from kotatsu_operator.controller import app as operator_module
from kotatsu_operator.controller import pool_watch, unserved
from kotatsu_operator.controller import restore as restore_module
from kotatsu_operator.core.objects import activators_of
from kotatsu_operator.core.protocol import INSTALL_LABEL, LEASE_NAME, home_of
from tests.operator.cluster import FakeKube, eventually
from tests.operator.controller.test_cluster import Running, activator, app_in, named, record

pytestmark = pytest.mark.timeout(120)

HOMES = ("first", "second")
POOL = "shop/voice"
STEPS = 25


class Client:
    """The API server as one install asks it: what it writes to the pool of another is noted."""

    def __init__(self, kube, home, wrong):
        self._kube, self._home, self._wrong = kube, home, wrong

    def __getattr__(self, name):
        return getattr(self._kube, name)

    def guarded(self, _):
        return self

    def separate(self):
        return self

    async def patch_status(self, namespace, name, status, version):
        wrong = self._judge(f"status {status}")
        written = await self._kube.patch_status(namespace, name, status, version)
        self._wrong += wrong
        return written

    async def put_scale(self, *how):
        wrong = self._judge(f"scale {how}")
        await self._kube.put_scale(*how)
        self._wrong += wrong

    def _judge(self, what):
        found = [obj for obj in self._kube.all("WarmPool") if obj["metadata"]["name"] == "voice"]
        holder = home_of(activators_of(found[0])) if found else ""
        leases = {obj["metadata"]["namespace"] for obj in self._kube.all("Lease")}
        if holder not in ("", self._home) and holder in leases:
            return [f"{self._home} writes the pool of {holder}: {what}"]
        return []


class Walk:
    """Both installs, a namespace that goes from one to the other, and what may happen."""

    def __init__(self, seed):
        self.random, self.wrong = random.Random(seed), []
        self.kube = FakeKube(*(named(home) for home in HOMES), named("shop"), *app_in("shop"))
        for home in HOMES:
            for obj in (*record(home), activator(home)):
                self.kube.put(obj)
        self.running = {}

    async def start(self, home):
        client = Client(self.kube, home, self.wrong)
        made = Running(kube=client, home=home, unlabeled=home == "first")
        self.running[home] = made, asyncio.create_task(made.operator.run(made.stop))
        await eventually(lambda: made.operator._term is not None)

    async def stop(self, home):
        made, task = self.running.pop(home)
        await made.end(task)

    async def step(self):
        home = self.random.choice(HOMES)
        act = self.random.choice((self.label, self.label, self.restart, self.go, self.make_anew))
        await act(home)
        await asyncio.sleep(self.random.choice((0.0, 0.05, 0.3)))

    async def label(self, home):
        labels = self.random.choice(({}, {INSTALL_LABEL: home}))
        self.kube.put(named("shop", **labels))

    async def restart(self, home):
        await self.stop(home)
        await self.start(home)

    async def go(self, home):
        """An install goes for good, and one comes there."""
        await self.stop(home)
        self.kube.remove("Lease", f"{home}/{LEASE_NAME}")
        self.kube.put(named("shop", **{INSTALL_LABEL: next(h for h in HOMES if h != home)}))
        await asyncio.sleep(self.random.choice((0.0, 0.3)))
        await self.start(home)

    async def make_anew(self, _):
        self.kube.remove("WarmPool", POOL)
        *_, pool, _ = app_in("shop")
        pool["metadata"]["uid"] = f"pool-{self.random.random()}"
        self.kube.put(pool)

    def holder(self):
        return home_of(activators_of(self.kube.stored("WarmPool", POOL)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_on_a_random_walk_no_install_writes_a_pool_that_another_one_has(monkeypatch, seed):
    monkeypatch.setattr(restore_module, "_PAUSE", 0.001)
    monkeypatch.setattr(operator_module, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(pool_watch, "LIST_AGAIN_SECONDS", 0.001)
    monkeypatch.setattr(unserved, "ASK_AGAIN", timedelta(seconds=0.02))
    monkeypatch.setattr(unserved, "GONE_AFTER", timedelta(seconds=0.1))
    walk = Walk(seed)
    for home in HOMES:
        await walk.start(home)
    try:
        for _ in range(STEPS):
            await walk.step()
        for home in HOMES:
            walk.kube.put(named("shop", **{INSTALL_LABEL: home}))
            await eventually(lambda of=home: walk.holder() == of)
    finally:
        for home in list(walk.running):
            await walk.stop(home)
    assert walk.wrong == []
