"""Policy Sleep is a hard stop: an operator and an activator at work on one pool, in real time."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from kotatsu_operator.activator import wake
from kotatsu_operator.core.decide import decide, phases
from tests.operator import day as days
from tests.operator.activator.in_process import GET, READYZ, ActivatorFixture
from tests.operator.cluster import VOICE
from tests.operator.core.values import SECOND, override, t
from tests.operator.day import Day

pytestmark = pytest.mark.timeout(120)

LONG = b"GET /long HTTP/1.1\r\nHost: voice\r\n\r\n"
ONE_A_SECOND = {"currency": "JPY", "cpuHour": "3600"}


@dataclass
class Rig:
    """A Day with the real clock, and an activator that sees the same cluster."""

    house: ActivatorFixture
    day: Day
    answers: list[bytes] = field(default_factory=list)
    seen: dict = field(default_factory=dict)

    @classmethod
    async def begin(cls, monkeypatch, **spec):
        monkeypatch.setattr(wake, "LOOK_EVERY", 0.05)
        monkeypatch.setattr(days, "READY_AFTER", timedelta(seconds=0.2))
        monkeypatch.setattr(days, "GONE_AFTER", timedelta(seconds=0.3))
        began = Day.begin(datetime.now(UTC), replicas=1, ready=True, **spec)
        house = ActivatorFixture(kube=began.kube)
        await house.start()
        made = await house.new_pod("voice")
        began.container = {
            "port": made.port,
            "resources": {"requests": {"cpu": "1"}},
            "readinessProbe": READYZ,
        }
        return cls(house, began)

    async def run(self, seconds):
        """Let the operator look and the activator see what it does, and requests come."""
        end = time.monotonic() + seconds
        clients = [
            self.house.keep(asyncio.create_task(self._ask(LONG))),
            self.house.keep(asyncio.create_task(self._keep_asking(end))),
        ]
        operator = self.house.keep(asyncio.create_task(self._operate()))
        while time.monotonic() < end:
            assert not operator.done(), operator.exception()
            self._show()
            await asyncio.sleep(0.01)
        for task in (*clients, operator):
            task.cancel()

    async def _operate(self):
        day = self.day
        day.due = datetime.now(UTC)
        version = None
        while True:
            day.now = datetime.now(UTC)
            day.watch()
            news = (day.kube.version, [(p.name, p.ended) for p in day.pods])
            if day.now >= day.due or news != version:
                version = news
                day.due = await day.reconciler.reconcile(VOICE)
            await asyncio.sleep(0.01)

    def _show(self):
        """What the activator's watches tell it."""
        day = self.day
        day._pods_follow()
        now = datetime.now(UTC)
        objects = {("WarmPool", "voice"): day.kube.stored("WarmPool", "voice")}
        objects["Deployment", "voice"] = day.kube.stored("Deployment", "voice")
        for made in day.pods:
            objects["Pod", made.name] = made.seen(now, **day.container)
        for key, obj in objects.items():
            if self.seen.get(key) != obj:
                self.house.see(key[0], obj)
        for key in self.seen.keys() - objects.keys():
            self.house.see(key[0], self.seen[key], "DELETED")
        self.seen = objects
        day.scraper.held_now = self.house.connections.held
        day.scraper.in_flight = 1 if day.pods else 0

    async def _keep_asking(self, end):
        while time.monotonic() < end:
            self.house.keep(asyncio.create_task(self._ask(GET)))
            await asyncio.sleep(0.2)

    async def _ask(self, data):
        self.answers.append(await self.house.ask(data))

    @property
    def raises(self):
        return len(self.day.kube.called("raise_scale"))


@pytest.mark.slow
async def test_steady_requests_beside_a_long_one_do_not_outlast_a_spent_budget(monkeypatch):
    for module in (phases, decide):
        monkeypatch.setattr(module, "DRAIN_TIMEOUT", 2 * SECOND)
    rig = await Rig.begin(
        monkeypatch,
        prices=ONE_A_SECOND,
        budget={"limit": "2", "onExhausted": "Sleep"},
        settle=0.2,
        idleAfter="10s",
    )
    await rig.run(12)
    await rig.house.close()
    assert (rig.day.phase, rig.raises, rig.day._born) == ("Asleep", 0, 1)
    assert rig.day.kube.called("put_scale") == [("put_scale", "voice", 0)]
    assert {a[9:12] for a in rig.answers} <= {b"200", b"503", b""}
    assert any(a.startswith(b"HTTP/1.1 503") for a in rig.answers)


# --- announcements do not put off what the budget or a person has ended ---


def announce_at_every_question(day):
    """What activators together can do while a slow pod is asked: one is never late."""
    asked = day.scraper.passing

    async def passing(activators, key, **how):
        day.now += timedelta(milliseconds=1)
        if day.phase in ("Draining", "Sleeping"):
            day.ticket()
        return await asked(activators, key, **how)

    day.scraper.passing = passing


async def live(day, until):
    """Look as often as the operator does, not only until it has come to rest."""
    while day.now < until and day.replicas:
        due = await day.look()
        day.now = max(min(due, day.now + SECOND), day.now + SECOND / 5)
    return day.now


SPENT = {"prices": ONE_A_SECOND, "budget": {"limit": "0.001", "onExhausted": "Sleep"}}
"""The limit is reached at once."""


@pytest.mark.slow
@pytest.mark.parametrize("spec", [SPENT, {"override": override("Asleep", t("12:00"))}])
async def test_announcements_during_every_look_do_not_put_off_a_hard_stop(spec):
    day = Day.begin(t("10:00"), replicas=1, ready=True, **spec)
    day.container = {"resources": {"requests": {"cpu": "1"}}}
    announce_at_every_question(day)
    slept = await live(day, t("10:05"))
    # DRAIN_TIMEOUT is 60 s and the settle time 5 s; the operator notices within a beat.
    assert t("10:01") <= slept <= t("10:01:10")
