"""Days on which writes fail: the history, the status and the events say the same of them."""

import contextlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from rows import each

from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.pool.decision import Demand, Wake
from kotatsu_operator.core.pool.memory import Memory, Outcome
from kotatsu_operator.core.report.episodes import read_stored
from kotatsu_operator.kube.errors import ConflictError
from tests.operator.cluster import VOICE, FakeKube
from tests.operator.core.values import MINUTE, SECOND, once, t
from tests.operator.features.day import FeaturedDay
from tests.operator.features.notices.test_days import Courier

PRICE = Decimal("6.5000003")
"""Of an hour of one pod."""
CORE = {"resources": {"requests": {"cpu": "1"}}}

CONFLICTS, LOST, UNANSWERED, LATE = FATES = (
    *("conflicts", "is lost", "is not answered"),
    "is done after the next look has read",
)


class Lossy(FakeKube):
    """An API server whose writes fail; events apart, which are posted once or not at all."""

    fate = staticmethod(lambda _verb, _details: "")
    """What becomes of a write: one of `FATES`, or it is done."""
    late = ()
    """The write that comes before the next one."""

    async def _write(self, verb, *details):
        (before, *had), self.late = self.late or ("",), ()
        if before:
            with contextlib.suppress(ConflictError):
                await getattr(FakeKube, before)(self, *had)
        fate = self.fate(verb, details)
        if fate == CONFLICTS:
            raise ConflictError("it has been modified")
        if fate == LATE:
            self.late = (verb, *details)
        if fate in (LOST, LATE):
            raise OSError("it has not come")
        done = await getattr(FakeKube, verb)(self, *details)
        if fate == UNANSWERED:
            raise OSError("no answer came")
        return done

    async def patch_status(self, *details):
        return await self._write("patch_status", *details)

    async def put_scale(self, *details):
        return await self._write("put_scale", *details)

    async def replace(self, *details):
        return await self._write("replace", *details)

    async def create(self, kind, *details):
        if kind.__name__ == "Event":
            return await super().create(kind, *details)
        return await self._write("create", kind, *details)

    def fails_once(self, fate, verb, is_it):
        """Let the next such write of which `is_it` is true have this fate; returns those so far."""
        failed = []

        def decide(of, details):
            if failed or of != verb or not is_it(*details):
                return ""
            failed.append(details)
            return fate

        self.fate = decide
        return failed


@dataclass
class Lossful(FeaturedDay):
    """Such a day, and what a bystander counts of it."""

    kube: FakeKube = field(default_factory=Lossy)
    born: dict[str, datetime] = field(default_factory=dict)
    """The pods that the watch shows."""
    lasted: timedelta = timedelta()
    """How long all pods together have lasted that are gone."""
    woken: int = 0

    @classmethod
    def priced(cls, since="08:00", **spec):
        day = cls.begin(t(since), idleAfter="1m", maxReplicas=5, **spec)
        day.prices, day.container = parse_table({"currency": "JPY", "cpuHour": str(PRICE)}), CORE
        day.notifier = Courier()
        day.restart()
        return day

    def watch(self):
        super().watch()
        there = {pod.name: pod.born for pod in self.pods}
        for name in self.born.keys() - there.keys():
            self.lasted += self.now - self.born[name]
        self.born = there

    async def look(self):
        try:
            return await super().look()
        except OSError:
            self.due = self.now + SECOND
            return self.due

    async def settle(self):
        """Look again until nothing is written any more, or the writes go on failing."""
        await self.is_settled()

    async def woken_up(self):
        """A request that waits until a pod answers, and another one that times out meanwhile."""
        self.woken += 1
        began = self.wake().now
        while self.now < began + 5 * SECOND:
            self.now += SECOND
            await self.look()
        # What an activator had counted before an operator first asked it is not known to be new.
        process = self.reconciler._known[VOICE].of(Memory).process
        if process.counted.get("uid-activator-1") == self.scraper.timed_out:
            self.scraper.timed_out += 1
        await self.until(began + 9 * SECOND)
        self.scraper.passing_now = Demand(last_wake=Wake(began, 8 * SECOND))
        await self.until(self.now + 4 * MINUTE)

    @property
    def episodes(self):
        record = read_stored(self.status, next(iter(self.kube.all("WarmPoolHistory")), None))
        return [*record.finished, *([record.running] if record.running else [])]

    @property
    def cost(self):
        """That of all pods so far that are gone."""
        return PRICE * (self.lasted // timedelta(microseconds=1)) / Decimal(3_600_000_000)

    def check(self, windows=0):
        """The pool sleeps, and all say the same of its openings, wakes, timeouts and costs."""
        assert (self.phase, self.born) == ("Asleep", {})
        tally = self.status["internal"]["windows"]
        assert tally["ready"] + tally["cold"] == windows
        notices = [reason for _, reason in self.notifier.sent].count("WindowReady")
        events = [self.events.count(reason) for reason in ("WindowCold", "WindowLate")]
        assert (notices, *events) == (tally["ready"], tally["cold"], tally["late"])
        counts = [episode.counts for episode in self.episodes]
        assert sum(c.opened for c in counts) == tally["ready"]
        assert sum(c.cold for c in counts) == tally["cold"]
        assert sum(c.wakes for c in counts) == self.woken
        for outcome in Outcome:
            shown = self.metric("kotatsu_pool_windows_total", outcome=outcome.value)
            assert shown == tally[outcome.value]
        told = sum(int(message.split()[0]) for message in self.messages("RequestsTimedOut"))
        assert told == self.scraper.timed_out
        self.check_costs()

    def check_costs(self):
        """The episodes cost what the pods did, and those of this period what the ledger says."""
        assert abs(sum(episode.cost for episode in self.episodes) - self.cost) < Decimal("0.00001")
        begin = datetime.fromisoformat(self.status["cost"]["periodStart"])
        now = [episode for episode in self.episodes if episode.period.start == begin]
        assert sum(e.cost for e in now) == Decimal(self.status["cost"]["accrued"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
async def test_whatever_writes_fail_history_status_and_events_say_the_same(seed):
    die = Random(seed)
    windows, at = [], t("20:20")
    for n in range(5):
        at += die.randrange(10 * 60, 50 * 60) * SECOND
        start, at = at, at + die.randrange(4, 40) * MINUTE
        windows.append(once(f"w{n}", f"{start:%H:%M:%S}", f"{at:%H:%M:%S}", die.randrange(1, 4)))
        windows[-1] |= {"start": f"{start:%Y-%m-%dT%H:%M:%S}", "end": f"{at:%Y-%m-%dT%H:%M:%S}"}
        at += 10 * MINUTE
    day = Lossful.priced("20:00", windows=windows, budget={"period": "Day"})
    await day.until(t("20:01"))
    often, end, edit = die.choice([0.1, 0.3, 0.6]), at, t("20:00") + die.randrange(400) * MINUTE
    day.kube.fate = lambda *_: die.choice(FATES) if die.random() < often else ""
    while day.now < end:
        if day.now > edit:
            day.edit(budget={"period": die.choice(["Week", "Month"])})
            edit = end
        if day.phase == "Asleep" and die.random() < 0.3:
            await day.woken_up()
        await day.until(day.now + die.randrange(1, 12) * MINUTE)
    day.kube.fate = lambda *_: ""
    await day.until(day.now + 20 * MINUTE)
    day.check(len(windows))


# --- one write ---


def opens(_namespace, _name, status, _version):
    return bool(status["internal"].get("windows", {}).get("ready"))


@each("fate", FATES)
async def test_an_opening_whose_write_fails_counts_once(fate):
    day = Lossful.priced(windows=[once("pitch", "08:30", "08:40", 2)])
    failed = day.kube.fails_once(fate, "patch_status", opens)
    await day.until(t("09:00"))
    assert len(failed) == 1
    day.check(1)


def times_out(_namespace, _name, status, _version):
    return "RequestsTimedOut" in [c["reason"] for c in status["conditions"]]


@each("fate", FATES)
async def test_requests_that_time_out_before_a_write_that_fails_are_told_once(fate):
    day = Lossful.priced(holdTimeout="5s")
    await day.until(t("08:10"))
    failed = day.kube.fails_once(fate, "patch_status", times_out)
    await day.woken_up()
    await day.until(t("08:20"))
    assert (len(failed), day.scraper.timed_out) == (1, 1)
    day.check()


def sleeps(_namespace, _name, status, _version):
    return status["phase"] == "Asleep" and bool(status["internal"].get("windows", {}).get("ready"))


@each("fate", FATES)
async def test_pods_that_went_before_a_write_that_fails_are_paid_once(fate):
    day = Lossful.priced(windows=[once("pitch", "08:30", "08:40", 2)])
    await day.until(t("08:35"))
    failed = day.kube.fails_once(fate, "patch_status", sleeps)
    await day.until(t("09:00"))
    assert len(failed) == 1
    day.check(1)


@each("verb, fate", [(verb, fate) for verb in ("put_scale", "patch_status") for fate in FATES])
@pytest.mark.slow
async def test_an_edit_in_the_look_of_a_periods_end_that_fails_loses_no_cost(verb, fate):
    evening = once("evening", "23:50", "23:59") | {"end": "2026-11-26T00:30"}
    night = once("night", "23:50", "23:59", 3)
    night |= {"start": "2026-11-26T00:00", "end": "2026-11-26T00:30"}
    day = Lossful.priced("23:40", windows=[evening], budget={"period": "Day"})
    await day.until(t("23:59:30"))
    day.now = t("23:59:30") + 31 * SECOND
    day.edit(windows=[evening, night], budget={"period": "Week"})
    failed = day.kube.fails_once(fate, verb, lambda *_: True)
    await day.until(day.now + 40 * MINUTE)
    assert len(failed) == 1
    assert [e.period.start.day for e in day.episodes if e.cost][:2] == [25, 26]
    day.check_costs()
