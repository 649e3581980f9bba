"""Route Activator: it is in the path in every phase; the pool sleeps and wakes as any."""

from dataclasses import replace

import pytest

from kotatsu_operator.core.pool.memory import Phase, Route
from kotatsu_operator.core.pool.spec import PoolSpec, RouteMode
from tests.operator.core.values import SECOND, once, pool_spec, t
from tests.operator.core.walk import Walk, walk


def by_activator(**how: object) -> PoolSpec:
    return replace(pool_spec(**how), route=RouteMode.ACTIVATOR)


def routes(w: Walk) -> set[Route]:
    return {moment.route for moment in w.log}


def test_a_whole_day_of_it_never_leaves_the_activator():
    spec = by_activator(windows=(once("pitch", "10:00", "12:00", 2),))
    w = walk(spec, t("08:00"), [t("08:30"), t("10:30"), t("15:00")]).until(t("16:00"))
    assert routes(w) == {Route.ACTIVATOR}
    assert all(request.begun is not None for request in w.requests)
    assert w.times(Phase.WARM)
    assert (w.phase, w.pods) == (Phase.ASLEEP, [])


def test_a_sleep_waits_for_the_acknowledgement_of_its_own_epoch():
    w = walk(by_activator(), t("08:00"), [t("08:10")]).until(t("08:11"))
    before = w.memory.route.epoch
    w.acknowledges_after = None
    w.until(t("08:20"))
    assert (w.phase, w.replicas, w.memory.route.epoch) == (Phase.DRAINING, 1, before + 1)


@pytest.mark.parametrize("phase", [Phase.WARM, Phase.ASLEEP])
def test_a_pool_that_is_edited_to_it_gets_a_new_epoch_to_acknowledge(phase):
    w = walk(pool_spec(), t("08:00"), [t("08:10")])
    w.until(t("08:10:20") if phase is Phase.WARM else t("08:30"))
    assert w.phase is phase
    before = w.memory
    w.edit(by_activator())
    assert w.memory.route.target is Route.ACTIVATOR
    assert w.memory.route.epoch == before.route.epoch + (before.route.target is Route.NATIVE)


def test_a_pool_that_is_edited_back_leaves_the_activator_when_a_pod_is_ready():
    w = walk(by_activator(), t("08:00"), [t("08:10")]).until(t("08:10:20"))
    w.edit(pool_spec()).until(w.now + SECOND)
    assert w.memory.route.target is Route.NATIVE
