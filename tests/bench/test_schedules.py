"""Many openings at one minute: what the audit log says of each app."""

from datetime import UTC, datetime, timedelta

import schedules
from simulation.measure import Request

AT = datetime(2026, 1, 5, 9, 45, tzinfo=UTC)


def request(user: str, what: str, name: str, after: float, *, verb="patch", code=200) -> Request:
    moment = AT + timedelta(seconds=after)
    return Request(user, verb, what, name, moment - timedelta(seconds=1), moment, code)


def test_of_an_app_the_first_write_of_its_scale_and_its_first_ready_pod_count():
    found = schedules.opened(
        [
            request("operator", "deployments/scale", "pool-0001", -2, code=409),
            request("operator", "deployments/scale", "pool-0001", -1, verb="update"),
            request("operator", "deployments/scale", "pool-0001", 5),
            request("operator", "deployments/scale", "pool-0002", 3, verb="get"),
            request("kubelet", "pods/status", "pool-0001-abc-x", 2.5),
            request("kubelet", "pods/status", "pool-0001-abc-y", 9),
            request("editor", "warmpools", "pool-0001", -60),
        ],
        AT,
    )
    assert (found.scaled, found.ready) == ({"pool-0001": -1}, {"pool-0001": 2.5})


def test_a_row_says_how_many_were_there_at_the_minute_within_one_and_never():
    found = schedules.Opened(
        scaled={"a": -5, "b": 1}, ready={"a": -2, "b": 61}, cpu=3.2, known="2 of 3 were Ready"
    )
    row = schedules.judged("X", 3, found)
    assert row.median == "1 of 3 Ready at the minute"
    assert row.spread == (
        "1 within a minute, 1 never, scale written -5.0 s to +1.0 s, median -5.0 s,"
        " Ready -2.0 s to +61.0 s, median -2.0 s"
    )
    assert row.ratio == 1 / 3
    assert "3 s of the operator's CPU" in row.how
    assert row.how.endswith("2 of 3 were Ready")
