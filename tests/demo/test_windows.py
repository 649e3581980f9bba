"""When the demo's window is."""

from datetime import UTC, datetime, timedelta

from kotatsu_demo.windows import IDLE_AFTER, OPEN, ZONE_NAME, window_from
from kotatsu_operator.core.pool.parse import parse

NOW = datetime(2026, 11, 24, 17, 40, 12, 345678, UTC)


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


def test_nothing_but_the_window_keeps_the_pods_at_its_end():
    assert timedelta(seconds=3) + IDLE_AFTER < OPEN
