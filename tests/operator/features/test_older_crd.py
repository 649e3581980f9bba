"""An operator that is newer than the CRD: the API server drops fields of the status."""

from collections import Counter

from tests.operator.core.values import HOUR, MINUTE, once, override, t
from tests.operator.day import PUNCTUAL
from tests.operator.features.day import FeaturedDay

FIELDS = {"reported", "history", "target", "template", "override.reported", "notices"}
"""What this test's CRD does not have."""


def begun(lacks=FIELDS):
    """A warm pool that no request has reached for three hours."""
    day = FeaturedDay.begin(
        t("10:00"), replicas=1, ready=True, windows=[once("all-day", "09:00", "16:00", 1)]
    )
    day.kube.lacks = set(lacks)
    return day


async def forgotten(lacks=FIELDS):
    day = begun(lacks)
    await day.until(t("10:00") + 3 * HOUR + MINUTE, late=30 * MINUTE)
    return day


async def test_nothing_is_reported_twice():
    day = await forgotten()
    before = Counter(day.events)
    assert before["ForgottenWarmth"] == 1
    await day.until(day.now + 4 * MINUTE, late=PUNCTUAL)
    assert Counter(day.events) == before


async def test_it_costs_no_more_writes_than_a_crd_with_all_fields():
    writes = []
    for lacks in ((), FIELDS):
        day = await forgotten(lacks)
        day.kube.calls.clear()
        await day.until(day.now + 4 * MINUTE, late=PUNCTUAL)
        writes.append(len(day.kube.called("patch_status")))
    assert writes[0] == writes[1]


async def test_the_log_says_once_what_is_dropped_and_what_to_do(caplog):
    day = await forgotten()
    await day.until(day.now + HOUR, late=20 * MINUTE)
    [said] = [r.getMessage() for r in caplog.records if "CRD" in r.getMessage()]
    assert "drops fields of each status (such as history, target, template)" in said
    assert "upgrade the CRD" in said


async def test_the_next_operator_reports_it_once_more():
    day = await forgotten()
    day.restart()
    await day.until(day.now + 4 * MINUTE, late=PUNCTUAL)
    assert day.events.count("ForgottenWarmth") == 2


async def test_an_upgraded_crd_has_everything_from_the_next_write_on():
    day = await forgotten()
    day.kube.lacks = set()
    day.edit(override=override("Warm", t("14:00"), replicas=2))
    await day.until(day.now + MINUTE)
    assert day.status["target"]["name"] == "voice"
    assert day.events.count("ForgottenWarmth") == 1


async def test_a_pool_of_the_same_name_does_not_get_what_another_one_had():
    day = await forgotten()
    pool = day.kube.stored("WarmPool", "voice")
    pool["metadata"]["uid"] = "another"
    assert day.reconciler.reporter.completed(pool) == pool
