"""Where a warm-up's seconds went, from the times on its slowest pod."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.core.pool.decision import PodStart, parts_of
from kotatsu_operator.core.pool.memory import Parts
from tests.operator.core.values import examples, t

CLOUD = PodStart(t("10:01:31"), t("10:01:33"), t("10:01:45"), t("10:01:50"))


def test_the_seconds_are_divided_at_what_scheduler_and_kubelet_write():
    assert parts_of(CLOUD, t("10:00"), t("10:01:50")) == Parts(91, 2, 12, 5)


def test_what_a_pod_does_not_show_takes_no_part():
    assert parts_of(PodStart(t("10:01")), t("10:00"), t("10:02")) == Parts(60, 0, 0, 60)
    assert parts_of(PodStart(), t("10:00"), t("10:02")) == Parts(0, 0, 0, 120)


_TIMES = st.none() | st.integers(-300, 300).map(lambda s: t("10:00") + timedelta(seconds=s))


@examples(100)
@given(st.builds(PodStart, _TIMES, _TIMES, _TIMES, _TIMES), st.integers(-60, 300))
def test_the_parts_are_never_negative_and_add_up_whatever_the_clocks_say(start, took):
    ended = t("10:00") + timedelta(seconds=took)
    parts = parts_of(start, t("10:00"), ended)
    each = (parts.node, parts.sandbox, parts.pull, parts.start)
    assert min(each) >= 0
    assert sum(each) == max(took, 0)
