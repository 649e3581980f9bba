"""Days of pools whose pods do not report their requests in flight."""

from dataclasses import replace

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.pool.decision import Demand, Observation
from kotatsu_operator.core.pool.memory import Memory, Phase, Route, Routing, Template
from tests.operator.core.values import SECOND, once, override, pool_spec, t
from tests.operator.core.walk import walk

SPEC = pool_spec(idleAfter="2m")
LACKS = Demand(known=False, silent="pod web-1 has no port named http", metered=False)
ANSWERS = Demand(metered=True)
TIMES_OUT = Demand(known=False, silent="pod web-1 does not respond")
AWAKE = Observation(replicas=1, ready=1, pods=1, acknowledged=9, template="a", updated=1)


def unmetered(*requests: str, spec=SPEC, tick=2, **how):
    return walk(spec, t("08:00"), [t(at) for at in requests], unmetered=True, tick=tick, **how)


def awake(demand: Demand, memory: Memory | None = None, at: str = "09:00", **seen) -> Memory:
    """The memory after one more look at an awake pool."""
    memory = Memory() if memory is None else memory
    return decide(SPEC, replace(AWAKE, demand=demand, **seen), memory, t(at)).memory


def metering(memory: Memory) -> tuple[Route, bool, bool | None]:
    """The route, whether the activators' connections count, and whether the pods have a gauge."""
    return memory.route.target, memory.route.counted, memory.template.metered


def test_a_pool_without_a_gauge_is_asleep_idle_after_its_last_request_and_not_half_an_hour_later():
    w = unmetered("08:30").until(t("09:00"))
    assert t("08:32") <= w.reached(0, after=t("08:31")) <= t("08:32:20")


def test_a_window_and_an_override_hold_it():
    spec = pool_spec(
        windows=[once("pitch", "08:20", "08:50")], override=override("Warm", t("09:30"))
    )
    w = unmetered(spec=spec, tick=10).until(t("10:00"))
    assert w.lowest(t("08:50"), t("09:30"), "ready") >= 1
    assert w.phase is Phase.ASLEEP


def test_a_connection_in_use_holds_it_however_long_it_lasts():
    w = unmetered(tick=10).ask(t("08:30"), seconds=2 * 3600).until(t("10:30"))
    assert w.lowest(t("08:31"), t("10:29"), "ready") == 1


def test_it_goes_down_by_the_acknowledged_route_without_waiting_for_the_drain_timeout():
    w = unmetered("08:30").until(t("08:33"))
    (draining,) = w.times(Phase.DRAINING)
    settled = 5.5 * SECOND  # the acknowledgement and routeSettle
    assert draining + settled <= w.reached(0, after=draining) <= draining + settled + 2 * SECOND


def test_a_request_through_an_activator_turns_the_way_down_around():
    w = unmetered("08:30", "08:32:04").until(t("08:33"))
    assert w.told("SleepAborted") == ["SleepAborted"]
    assert w.lowest(t("08:31"), t("08:33")) == 1


def test_what_goes_straight_to_a_pod_is_not_seen_and_the_next_request_wakes_it_again():
    first = t("08:30")
    w = unmetered("08:30", "08:31:30", "08:40", passes=lambda r: r.at == first).until(t("08:41"))
    assert w.reached(0, after=t("08:31")) <= t("08:32:20")
    assert w.requests[-1].begun == t("08:40:08")


def test_an_answer_with_a_gauge_makes_the_pods_the_only_endpoints_again():
    memory = awake(LACKS)
    assert metering(memory) == (Route.ACTIVATOR, True, False)
    assert metering(awake(ANSWERS, memory)) == (Route.NATIVE, False, True)


def test_a_page_that_fails_later_is_no_missing_gauge():
    memory = awake(LACKS, awake(ANSWERS))
    assert (memory.template.metered, memory.route.counted) == (True, False)
    assert memory.unknown_since == t("09:00")


def test_a_pod_that_does_not_respond_shows_nothing():
    assert metering(awake(TIMES_OUT)) == (Route.NATIVE, False, None)


def test_after_half_an_hour_of_silence_the_activators_connections_count():
    memory = awake(TIMES_OUT, awake(ANSWERS))
    memory = awake(TIMES_OUT, memory, "09:29")
    assert not memory.route.counted
    memory = awake(TIMES_OUT, memory, "09:31")
    assert metering(memory) == (Route.ACTIVATOR, True, True)
    assert memory.phase is Phase.WARM
    in_use = awake(replace(TIMES_OUT, passing=1), memory, "09:32:59")
    assert awake(replace(TIMES_OUT, passing=1), in_use, "11:00").phase is Phase.WARM
    later = awake(TIMES_OUT, memory, "09:33")
    assert later.phase is Phase.DRAINING, "no connection in idleAfter since the activators joined"
    assert later.unknown_since == t("09:00"), "the pods are as silent as before"


def test_an_activator_that_is_silent_stands_in_for_nobody():
    silent = replace(TIMES_OUT, metered=True, silent_activator="activator a does not respond")
    memory = awake(silent, awake(silent), "10:00")
    assert not memory.route.counted


def test_a_new_template_is_asked_anew_once_all_pods_have_it():
    memory = awake(ANSWERS)
    rolling = awake(ANSWERS, memory, template="b", updated=0)
    assert rolling.template.metered is None
    assert awake(LACKS, rolling, template="b", updated=1).template.metered is False


def test_a_template_of_an_unmetered_pool_changes_nothing_until_it_answers():
    memory = awake(LACKS, awake(LACKS), template="b", updated=0)
    assert (memory.template.metered, memory.route.counted) == (False, True)


def test_pods_follow_the_connections_that_pass_the_activators():
    spec = pool_spec(maxReplicas=10, requestsPerPod=1)
    seen = replace(AWAKE, replicas=2, ready=2, demand=replace(LACKS, passing=4))
    memory = awake(LACKS)
    for second in range(8):
        decision = decide(spec, seen, memory, t("09:00") + second * SECOND)
        memory = decision.memory
    assert decision.replicas == 4


def test_route_activator_counts_all_connections_and_asks_no_pod():
    spec = pool_spec(route="Activator")
    seen = replace(AWAKE, demand=Demand(in_flight=3))
    memory = Memory(template=Template(metered=False), route=Routing(counted=True))
    decision = decide(spec, seen, memory, t("09:00"))
    assert not decision.memory.route.counted
    assert decision.memory.route.target is Route.ACTIVATOR
