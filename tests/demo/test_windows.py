"""When the demo's window is."""

from datetime import UTC, datetime, timedelta

from kotatsu_demo.windows import IDLE_AFTER, OPEN, ZONE_NAME, window_from
from kotatsu_operator.core.pool.parse import parse

NOW = datetime(2026, 11, 24, 17, 40, 12, 345678, UTC)


def test_it_opens_eighteen_seconds_from_now_on_a_whole_second():
    window = window_from(NOW, {})
    assert window.start == datetime(2026, 11, 24, 17, 40, 31, tzinfo=UTC)
    assert window.end == window.start + OPEN


def test_a_time_on_a_whole_second_gets_exactly_eighteen():
    whole = NOW.replace(microsecond=0)
    assert window_from(whole, {}).start == whole + timedelta(seconds=18)


def test_its_times_are_wall_clock_times_in_tokyo():
    value = window_from(NOW, {}).as_value()
    assert value["start"] == "2026-11-25T02:40:31"
    assert value["end"] == "2026-11-25T02:40:40"


def test_the_operator_reads_the_same_instants():
    window = window_from(NOW, {})
    spec = parse(
        {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "voice"},
            "timeZone": ZONE_NAME,
            "windows": [window.as_value()],
            "lead": window.lead,
        }
    )
    assert spec.windows[0].start is not None
    assert spec.windows[0].start.replace(tzinfo=spec.zone) == window.start
    assert spec.lead == timedelta(seconds=12)


def test_the_lead_is_set_until_the_pool_has_learned_one():
    def lead(**internal):
        return window_from(NOW, {"internal": internal}).lead

    assert window_from(NOW, {}).lead == lead() == lead(warmUps=[]) == "12s"
    assert lead(template={"hash": "a1"}, warmUps=["a1", [2.1, 2, 0]]) == ""


def test_a_new_template_has_learned_nothing_yet():
    internal = {"template": {"hash": "b2"}, "warmUps": ["a1", [2.1, 2, 0]]}
    assert window_from(NOW, {"internal": internal}).lead == "12s"


def test_nothing_but_the_window_keeps_the_pods_at_its_end():
    assert timedelta(seconds=3) + IDLE_AFTER < OPEN
