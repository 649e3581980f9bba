"""The history as the reconciler writes it: of whole evenings, and without a call of its own."""

import asyncio
from decimal import Decimal

import pytest

from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.report.episodes import Why, read_stored
from kotatsu_operator.features.history import Histories
from tests.operator.core.values import once, override, t
from tests.operator.features.day import FeaturedDay

PRICES = parse_table({"currency": "JPY", "cpuHour": "6.5000003"})
CORE = {"resources": {"requests": {"cpu": "1"}}}


async def evening(day: FeaturedDay) -> FeaturedDay:
    """A wake, a window, judges that come back, and operators that end."""
    await day.until(t("17:00"))
    day.wake()
    await day.until(t("17:10"))
    day.restart()
    await day.until(t("18:15:07"))
    day.edit(override=override("Warm", t("18:45"), reason="judges come back", replicas=3))
    await day.until(t("18:20"))
    day.restart()
    await day.until(t("19:30"))
    return day


def begun(kind=FeaturedDay, **spec) -> FeaturedDay:
    windows = [once("pitch", "18:00", "18:30", 2)]
    scaling = {"idleAfter": "1m", "maxReplicas": 5}
    day = kind.begin(t("16:00"), windows=windows, **scaling, **spec)
    day.prices, day.container = PRICES, CORE
    day.restart()
    return day


@pytest.fixture(scope="module")
def after() -> FeaturedDay:
    """A day after its evening; nothing is changed any more."""
    return asyncio.run(evening(begun()))


@pytest.mark.slow
def test_the_episodes_of_an_evening_cost_exactly_what_the_ledger_has(after: FeaturedDay):
    record = read_stored(after.status)
    assert [(e.cause.why, e.cause.name) for e in record.finished] == [
        (Why.REQUEST, ""),
        (Why.WINDOW, "pitch"),
        (Why.OVERRIDE, "judges come back"),
    ]
    total = sum((e.cost for e in record.finished), Decimal(0))
    assert total == Decimal(after.status["cost"]["accrued"]) > 0
    assert record.running is None


def test_an_episode_s_pod_time_is_what_its_pods_cost(after: FeaturedDay):
    for episode in read_stored(after.status).finished:
        hours = episode.counts.pod_seconds / 3600
        assert abs(hours * Decimal("6.5000003") - episode.cost) < Decimal("0.02")


class Unrecorded(FeaturedDay):
    """A day without a history."""

    def features(self):
        return [one for one in super().features() if not isinstance(one, Histories)]


async def test_the_history_costs_no_write_of_its_own(after: FeaturedDay):
    without = begun(Unrecorded)
    await evening(without)
    assert after.kube.writes == without.kube.writes


@pytest.mark.slow
async def test_a_refused_pool_that_still_has_pods_keeps_its_history():
    day = begun()
    await day.until(t("18:10"))
    day.edit(timeZone="Nowhere/Never")
    await day.until(t("19:00"))
    record, cost = read_stored(day.status), day.status["cost"]
    episodes = [*record.finished, *([record.running] if record.running else [])]
    assert sum((e.cost for e in episodes), Decimal(0)) == Decimal(cost["accrued"]) > 0


async def test_with_an_older_crd_nothing_is_written_again_and_again():
    day = begun()
    patch = day.kube.patch_status

    async def pruned(namespace, name, status, version=None):
        known = {field: value for field, value in status.items() if field != "history"}
        return await patch(namespace, name, known, version)

    day.kube.patch_status = pruned
    await day.until(t("18:10"))
    day.kube.calls.clear()
    await day.until(t("18:14"))
    assert "history" not in day.status
    assert len(day.kube.writes) <= 5  # the cost, once a minute
