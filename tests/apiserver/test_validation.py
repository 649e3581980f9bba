"""A WarmPool that cannot be right is refused with a sentence that says what to change."""

import pytest
from e2e.kit import pool
from plugin.ends import ACCEPTED, REFUSED

pytestmark = pytest.mark.apiserver

_ONCE = {"name": "w", "start": "2026-11-25T10:00", "end": "2026-11-25T12:00", "replicas": 1}
_CRON = {"name": "w", "schedule": "0 18 * * 1-5", "duration": "90m", "replicas": 1}

_DATES = [f"20{n // 12 + 30}-{n % 12 + 1:02}-01" for n in range(334)]
_EXCLUDING_TOO_MUCH = [_CRON | {"name": f"w{n}", "excludeDates": _DATES} for n in range(3)]
"""1,002 dates in three windows."""


@pytest.mark.parametrize("until", [*ACCEPTED, *REFUSED])
def test_the_api_server_accepts_the_times_that_operator_and_plugin_accept(namespace, until):
    said = namespace.judged(pool("timed", override={"mode": "Warm", "until": until}))
    assert (said == []) is (until in ACCEPTED), said


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"windows": [_ONCE | {"end": "2026-11-25T09:00"}]}, "put end after start"),
        ({"windows": [_ONCE | {"duration": "1h"}]}, "either start and end"),
        ({"windows": [_ONCE | {"replicas": 11}]}, "raise maxReplicas"),
        ({"windows": [_ONCE | {"start": "tomorrow"}]}, "should match"),
        ({"windows": [_ONCE | {"end": "9999-12-31T23:59"}]}, "should match"),
        ({"windows": [_CRON | {"excludeDates": ["2026-02-30"]}]}, "of type date"),
        ({"windows": [_ONCE, _CRON]}, "Duplicate value"),
        ({"windows": [_CRON | {"duration": "0s"}]}, "must be above 0"),
        ({"windows": [_ONCE | {"excludeDates": ["2026-12-31"]}]}, "repeating window"),
        ({"windows": _EXCLUDING_TOO_MUCH}, "more than 1000 excludeDates"),
        ({"lead": "-5s"}, "should match"),
        ({"lead": "25h"}, "at most 24h"),
        ({"capacityAhead": "61m"}, "at most 1h"),
        ({"parkedFor": "0s"}, "must be above 0"),
        ({"budget": {}}, "spec.budget.limit: Required value"),
        ({"override": {"mode": "Warm"}}, "spec.override.until: Required value"),
        ({"override": {"mode": "Hot", "until": "2026-11-25T10:00:00Z"}}, "supported values"),
        (
            {"override": {"mode": "Asleep", "until": "2026-11-25T10:00:00Z", "replicas": 2}},
            "belongs to mode Warm",
        ),
        ({"override": {"mode": "Warm", "until": "soon"}}, "date-time"),
        ({"maxReplicas": 0}, "greater than or equal to 1"),
        ({"targetRef": {"name": "x", "kind": "Job"}}, "must name a Deployment"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value.replace(" ", "-"),
)
def test_the_api_server_rejects(namespace, spec, sentence):
    (said, *_) = namespace.judged(pool("refused", **spec))
    assert sentence in said
