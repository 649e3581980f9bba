"""The event SleepAborted names what ended the way down."""

from dataclasses import replace

from rows import each

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.pool.decision import Demand, Observation
from kotatsu_operator.core.pool.memory import Memory, Phase, Route, Routing
from tests.operator.core.values import MINUTE, SECOND, once, pool_spec, t

NOW = t("09:00")
IDLE = pool_spec(idleAfter="2m")
GOING = Memory(
    phase=Phase.DRAINING,
    route=Routing(Route.ACTIVATOR, 1),
    since=NOW - 2 * SECOND,
    last_active=NOW - 2 * MINUTE,
)
SEEN = Observation(replicas=1, ready=1, pods=1, acknowledged=1)


def aborted(spec=IDLE, memory=GOING, **demand):
    notes = decide(spec, replace(SEEN, demand=Demand(**demand)), memory, NOW).notes
    return [note.message for note in notes if note.reason == "SleepAborted"]


def test_a_pool_that_goes_on_sleeping_has_no_such_event():
    assert aborted() == []


@each("demand", [{"in_flight": 1}, {"held": 1}, {"ticket": NOW}])
def test_a_request_in_a_pod_at_an_activator_or_announced(demand):
    assert aborted(**demand) == ["a request arrived while draining"]


def test_a_window_that_opens():
    spec = pool_spec(windows=[once("pitch", "08:59", "10:00")])
    assert aborted(spec) == ["pods were requested (Window) while draining"]


def test_a_pod_or_activator_that_is_silent_is_named_and_no_request_is_invented():
    [text] = aborted(known=False, silent="pod voice-1 does not respond")
    assert text == "the demand became unknown (pod voice-1 does not respond) while draining"


def test_a_request_that_was_answered_between_two_looks():
    [text] = aborted(last_request=NOW - SECOND)
    assert text.startswith("a request was answered")


def test_a_longer_idle_after():
    [text] = aborted(pool_spec(idleAfter="1h"))
    assert text.startswith("the spec was edited")
