"""What route Auto decides of pods with a gauge and without, and days of pools without one."""

from dataclasses import replace

from rows import each

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.pool.decision import Decision, Demand, Observation
from kotatsu_operator.core.pool.memory import Memory, Phase, Route, Template
from kotatsu_operator.core.pool.spec import RouteMode
from tests.operator.core.values import SECOND, once, override, pool_spec, t
from tests.operator.core.walk import Walk, walk

SPEC = pool_spec(idleAfter="2m")
DECIDED = replace(SPEC, route=RouteMode.ACTIVATOR, decided=True)
LACKS = Demand(known=False, silent="pod web-1 has no port named http", metered=False)
ANSWERS = Demand(metered=True)
TIMES_OUT = Demand(known=False, silent="pod web-1 does not respond")
AWAKE = Observation(replicas=1, ready=1, pods=1, acknowledged=9, template="a", updated=1)


def unmetered(*requests: str, spec=SPEC, tick=2, **how):
    return walk(spec, t("08:00"), [t(at) for at in requests], unmetered=True, tick=tick, **how)


def looked(demand: Demand, memory: Memory, at: str, spec=SPEC, **seen) -> Decision:
    """One more look at an awake pool."""
    return decide(spec, replace(AWAKE, demand=demand, **seen), memory, t(at))


def after(*looks: tuple[str, Demand], memory: Memory | None = None, spec=SPEC, **seen) -> Memory:
    """The memory after some looks at an awake pool, each with its time."""
    memory = Memory() if memory is None else memory
    for at, demand in looks:
        memory = looked(demand, memory, at, spec, **seen).memory
    return memory


def lacking(*at: str) -> list[tuple[str, Demand]]:
    return [(one, LACKS) for one in at]


WITHOUT = after(*lacking("09:00:00", "09:00:02", "09:00:04"))
WITH = after(("09:00", ANSWERS))


def test_three_looks_in_which_no_pod_has_a_gauge_decide_for_the_activators():
    assert after(*lacking("09:00:00", "09:00:02")).template.metered is None
    assert WITHOUT.template.metered is False


def test_looks_of_one_moment_count_once():
    looks = lacking("09:00:00", "09:00:01", "09:00:01", "09:00:02", "09:00:03")
    assert after(*looks).template.metered is None


def test_one_gauge_that_is_seen_decides_for_the_pods():
    memory = after(*lacking("09:00:00", "09:00:02"), ("09:00:04", ANSWERS))
    assert memory.template.metered is True
    assert memory.route.target is Route.NATIVE


def test_an_answer_that_shows_nothing_begins_the_count_again():
    looks = [*lacking("09:00:00", "09:00:02"), ("09:00:04", TIMES_OUT), *lacking("09:00:06")]
    assert after(*looks).template.metered is None


def test_the_decision_is_told_with_what_changes_it():
    before = after(*lacking("09:00:00", "09:00:02"))
    (told,) = [n for n in looked(LACKS, before, "09:00:04").notes if n.reason == "RouteDecided"]
    assert "all connections to Service voice pass the activators" in told.message
    assert "spec.inFlightMetric" in told.message


def test_a_pool_that_was_just_decided_on_gets_one_idle_after():
    assert WITHOUT.last_active == t("09:00:04")


def test_the_pool_is_busy_until_it_is_decided():
    memory = after(("09:00:00", TIMES_OUT), ("09:20", TIMES_OUT))
    assert (memory.phase, memory.template.metered) == (Phase.WARM, None)


def test_half_an_hour_in_which_pods_show_nothing_decides_for_the_activators():
    assert after(("09:00", TIMES_OUT), ("09:29", TIMES_OUT)).template.metered is None
    assert after(("09:00", TIMES_OUT), ("09:31", TIMES_OUT)).template.metered is False


def test_the_silence_of_an_activator_shows_nothing_of_the_pods():
    silent = replace(TIMES_OUT, silent_activator="activator a does not respond")
    assert after(("09:00", silent), ("10:00", silent)).template.metered is None


@each("demand", [LACKS, TIMES_OUT])
def test_a_gauge_that_falls_silent_means_busy_for_as_long_as_it_lasts(demand):
    memory = after(("09:01", demand), ("09:03", demand), ("09:05", demand), memory=WITH)
    memory = after(("21:00", demand), memory=memory)
    assert memory.template.metered is True
    assert (memory.phase, memory.route.target) == (Phase.WARM, Route.NATIVE)


def test_pods_of_a_former_template_show_nothing_of_the_new_one():
    rolling = after(("09:01", ANSWERS), memory=WITH, template="b", updated=0)
    assert rolling.template.metered is None
    looks = lacking("09:02:00", "09:02:02", "09:02:04")
    assert after(*looks, memory=rolling, template="b", updated=0).template.metered is None
    assert after(*looks, memory=rolling, template="b", updated=1).template.metered is False


def test_a_new_template_stays_with_the_activators_and_is_asked_for_a_gauge():
    rolled = after(("09:01", Demand()), memory=WITHOUT, spec=DECIDED, template="b")
    assert (rolled.template.metered, rolled.template.asked) == (False, False)
    assert rolled.route.target is Route.ACTIVATOR
    looks = [(at, Demand(metered=False)) for at in ("09:02:00", "09:02:02", "09:02:04")]
    asked = after(*looks, memory=rolled, spec=DECIDED, template="b")
    assert (asked.template.metered, asked.template.asked) == (False, True)


def test_a_gauge_of_a_new_template_leads_connections_to_the_pods_again():
    rolled = after(("09:01", Demand()), memory=WITHOUT, spec=DECIDED, template="b")
    decision = looked(ANSWERS, rolled, "09:02", DECIDED, template="b")
    assert "RouteDecided" in [note.reason for note in decision.notes]
    assert decision.memory.template.metered is True
    assert after(("09:02:02", ANSWERS), memory=decision.memory).route.target is Route.NATIVE


def test_an_edit_may_name_a_gauge_so_the_pods_are_asked_again():
    assert WITHOUT.template.asked
    edited = after(("09:01", Demand()), memory=WITHOUT, spec=DECIDED, edited=True)
    assert (edited.template.metered, edited.template.asked) == (False, False)


def test_route_activator_decides_by_itself():
    spec = pool_spec(route="Activator")
    memory = after(*lacking("09:00:00", "09:00:02", "09:00:04"), spec=spec)
    assert memory.template.metered is None
    assert memory.route.target is Route.ACTIVATOR


def test_a_knative_service_decides_by_itself():
    target = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "web"}
    memory = after(("09:00", TIMES_OUT), ("10:00", TIMES_OUT), spec=pool_spec(targetRef=target))
    assert memory.template == Template("a", proven=True)


def test_it_is_asleep_idle_after_its_last_request():
    w = unmetered("08:30", "08:31").until(t("09:00"))
    assert t("08:33") <= w.reached(0, after=t("08:31")) <= t("08:33:20")


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


def test_a_request_turns_the_way_down_around():
    w = unmetered("08:30", "08:32:10").until(t("08:33"))
    assert w.told("SleepAborted") == ["SleepAborted"]
    assert w.lowest(t("08:31"), t("08:33")) == 1


def test_a_connection_of_before_the_decision_is_not_seen():
    w = Walk(SPEC, t("08:00"), unmetered=True, tick=2)
    w.scale(1)
    w.ask(t("08:00:10"), seconds=3600).until(t("08:05"))
    assert w.requests[0].begun == t("08:00:10")
    assert w.reached(0, after=t("08:01")) <= t("08:02:40")
