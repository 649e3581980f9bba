"""The history as the reconciler writes it: of whole evenings, and without a call of its own."""

from decimal import Decimal

import pytest

from kotatsu_operator.controller.feature import Feature
from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.report.episodes import Why, read_record, read_stored
from kotatsu_operator.core.report.usage import known_usage
from kotatsu_operator.features.history import Histories
from kotatsu_operator.kube.errors import NotFoundError
from tests.operator.core.values import MINUTE, SECOND, once, override, t
from tests.operator.features.day import FeaturedDay

PRICES = parse_table({"currency": "JPY", "cpuHour": "6.5000003"})
CORE = {"resources": {"requests": {"cpu": "1"}}}


async def evening(day: FeaturedDay) -> FeaturedDay:
    """A wake, a window, judges that come back, and operators that end."""
    await day.until(t("17:00"))
    await day.wake().until(t("17:10"))
    await day.restart().until(t("18:15:07"))
    day.edit(override=override("Warm", t("18:45"), reason="judges come back", replicas=3))
    await day.until(t("18:20"))
    await day.restart().until(t("19:30"))
    return day


def begun(kind=FeaturedDay, **spec) -> FeaturedDay:
    windows = [once("pitch", "18:00", "18:30", 2)]
    day = kind.begin(t("16:00"), windows=windows, idleAfter="1m", maxReplicas=5, **spec)
    day.prices, day.container = PRICES, CORE
    day.restart()
    return day


async def woken() -> FeaturedDay:
    """A day on which a request comes at five; it sleeps again a minute later."""
    day = begun()
    await day.until(t("17:00"))
    day.wake()
    return day


def recorded(day: FeaturedDay):
    """All that is known of the pool's past."""
    return read_stored(day.status, past(day))


def paid(day: FeaturedDay) -> bool:
    """Whether the episodes cost exactly what the ledger has."""
    record = recorded(day)
    episodes = [*record.finished, *([record.running] if record.running else [])]
    return sum(e.cost for e in episodes) == Decimal(day.status["cost"]["accrued"]) > 0


def past(day: FeaturedDay):
    """The WarmPoolHistory; None if there is none."""
    return next(iter(day.kube.all("WarmPoolHistory")), None)


def refuse(kind, _):
    if kind == "WarmPoolHistory":
        raise NotFoundError("the server could not find the requested resource")


class Unrecorded(FeaturedDay):
    """A day without a history."""

    def features(self):
        return [one for one in super().features() if not isinstance(one, Histories)]


async def test_the_history_costs_no_write_of_its_own():
    after, without = await evening(begun()), await evening(begun(Unrecorded))
    assert after.kube.writes == without.kube.writes
    calls = after.kube.called("create", "replace")
    # Once for each sleep.
    assert [verb for verb, kind, _ in calls if kind == "WarmPoolHistory"] == ["create", "replace"]


async def test_a_wake_writes_no_history():
    day = await woken()
    await day.until(t("17:00:40"))
    assert (day.phase, past(day)) == ("Warm", None)
    await day.until(t("17:20"))
    assert [e.cause.why for e in read_record(past(day)).finished] == [Why.REQUEST]


@pytest.mark.parametrize("dies", ["before", "after"])
async def test_an_operator_that_dies_around_the_append_loses_and_doubles_no_episode(dies):
    day = await woken()
    await day.until(t("17:00:40"))

    def killed(kind, obj):
        if kind == "WarmPoolHistory":
            if dies == "after":
                day.kube.put(obj)
            raise KeyboardInterrupt

    day.kube.on("create", killed)
    with pytest.raises(KeyboardInterrupt):
        await day.until(t("17:20"))
    assert (past(day) is None) == (dies == "before")
    assert len(recorded(day).finished) == 1
    day.kube.on("create", None)
    await day.restart().until(t("17:30"))
    assert len(read_record(past(day)).finished) == len(recorded(day).finished) == 1
    await day.until(t("19:00"))
    assert paid(day)


async def test_a_history_that_cannot_be_written_waits_in_the_status():
    day = await woken()
    day.kube.on("create", refuse)
    await day.until(t("17:20"))
    assert (day.phase, past(day)) == ("Asleep", None)
    assert len(day.status["internal"]["history"]["episodes"]) == 1
    day.kube.on("create", None)
    await day.until(t("17:25"))
    assert len(read_record(past(day)).finished) == 1


async def test_a_pool_that_is_created_again_has_a_record_of_its_own():
    day = await woken()
    former = {"name": "voice", "ownerReferences": [{"uid": "deleted"}]}
    record = {"since": "2026-11-01T00:00:00Z", "episodes": []}
    day.kube.put({"kind": "WarmPoolHistory", "metadata": former, "record": record})
    await day.until(t("17:20"))
    assert read_record(past(day)).since == t("16:00")
    [owner] = past(day)["metadata"]["ownerReferences"]
    assert owner["uid"] == day.kube.stored("WarmPool", "voice")["metadata"]["uid"]


class Watched(Feature):
    """Sees what the histories show."""

    def __init__(self):
        self.seen = []

    def see_history(self, _, history):
        self.seen.append(history["record"])


class Shown(FeaturedDay):
    """A day with a feature that shows histories."""

    def features(self):
        self.watched = Watched()
        return [Histories(is_shown=True), self.watched]


async def test_what_an_earlier_operator_has_written_is_shown_also_if_nothing_can_be_added():
    day = begun(Shown)
    record = {"since": "2026-11-01T00:00:00Z", "episodes": []}
    day.kube.put({"kind": "WarmPoolHistory", "metadata": {"name": "voice"}, "record": record})
    day.kube.on("replace", refuse)
    await day.until(t("17:00"))
    await day.wake().until(t("17:20"))
    assert day.status["internal"]["history"]["episodes"]
    await day.restart().until(t("17:25"))
    assert day.watched.seen[0] == record


@pytest.mark.slow
async def test_a_refused_pool_that_still_has_pods_keeps_its_history():
    day = begun()
    await day.until(t("18:10"))
    await day.edit(timeZone="Nowhere/Never").until(t("19:00"))
    assert paid(day)


async def test_a_window_in_which_nobody_came_is_not_used_and_one_request_is():
    day = begun()
    await day.until(t("16:20"))
    await day.wake().until(t("19:00"))
    known = known_usage(past(day), Memory(), day.now)
    # The last slot is that of 18:30, when the window had ended and the pool went to sleep.
    assert known.end == t("18:35")
    assert f"{known.known:b}" == "1" * 31
    assert known.used == 1 << 26  # 16:20
    assert known.busy == 30 * SECOND


@pytest.mark.slow
async def test_an_awake_pool_writes_its_use_once_an_hour():
    day = begun(override=override("Warm", t("23:00")))
    await day.restart().until(t("22:00"), late=MINUTE)
    calls = [verb for verb, kind, _ in day.kube.called("create", "replace")
             if kind == "WarmPoolHistory"]  # fmt: skip
    assert calls == ["create", *["replace"] * (len(calls) - 1)]
    assert 4 <= len(calls) <= 5
    known = known_usage(past(day), Memory(), day.now)
    assert known.used == 0
    assert known.known.bit_count() >= 48


async def test_what_an_operator_has_not_seen_is_not_known_and_a_sleep_is():
    day = begun(override=override("Warm", t("17:00")))
    await day.until(t("16:10"))
    day.now = t("16:40")
    await day.restart().until(t("17:30"))
    day.now = t("18:00")
    await day.restart().until(t("19:00"))
    known = known_usage(past(day), Memory(), day.now)
    assert known.end == t("18:35")
    # From 16:40 on, also while nobody looked at the sleeping pool.
    assert f"{known.known:b}" == "1" * 23
