"""A spec is read once: defaults are filled in, and what cannot be is refused with a sentence."""

from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from rows import each

from kotatsu_operator.core.pool.parse import SpecError, parse
from kotatsu_operator.core.pool.spec import (
    Budget,
    InFlightMetric,
    OnExhausted,
    Override,
    OverrideMode,
    Period,
)
from tests.operator.core.values import HOUR, MINUTE, TARGET, cron, pool_spec, utc


def test_a_pool_needs_no_more_than_a_target():
    spec = pool_spec()
    assert spec.target.name == spec.service == "voice"
    assert spec.zone == ZoneInfo("UTC")
    assert (spec.windows, spec.lead, spec.override) == ((), None, None)
    assert (spec.max_replicas, spec.requests_per_pod) == (10, 100)
    assert spec.idle_after == 2 * MINUTE
    assert spec.in_flight_metric == InFlightMetric("http", "/metrics", "kotatsu_requests_in_flight")
    assert not spec.suspend


def test_everything_that_is_given_is_read():
    dated = {"name": "pitch", "start": "2026-11-25T10:00", "end": "2026-11-25T12:00:30"}
    spec = pool_spec(
        service="front", timeZone="Asia/Tokyo", lead="2m", maxReplicas=7, requestsPerPod=3,
        idleAfter="90s", suspend=True,
        windows=[
            dated | {"replicas": 5},
            cron("0 18 * * 1-5", "90m") | {"excludeDates": ["2026-12-31"]},
        ],
        inFlightMetric={"port": 9090, "path": "/m", "name": "busy"},
        budget={"limit": "500", "period": "Week", "onExhausted": "Sleep"},
        override={"mode": "Warm", "replicas": 3, "until": "2026-11-25T12:30:00+09:00",
                  "by": "alice", "reason": "judges came back"},
    )  # fmt: skip
    once, repeating = spec.windows
    given = once.start, once.end, once.replicas
    assert given == (datetime(2026, 11, 25, 10), datetime(2026, 11, 25, 12, 0, 30), 5)
    assert repeating.duration == 1.5 * HOUR
    assert repeating.exclude == {date(2026, 12, 31)}
    assert (spec.service, spec.zone, spec.lead) == ("front", ZoneInfo("Asia/Tokyo"), 2 * MINUTE)
    assert (spec.max_replicas, spec.requests_per_pod) == (7, 3)
    assert spec.in_flight_metric == InFlightMetric("9090", "/m", "busy")
    assert spec.idle_after == 1.5 * MINUTE
    assert spec.budget == Budget(Decimal(500), Period.WEEK, OnExhausted.SLEEP)
    said = 3, "alice", "judges came back"
    assert spec.override == Override(OverrideMode.WARM, utc("2026-11-25T03:30"), *said)
    assert spec.suspend


def test_two_overrides_that_ask_for_different_things_have_different_keys():
    base = {"mode": "Warm", "until": "2026-11-25T12:00:00Z", "by": "alice"}
    edits = [{}, {"mode": "Asleep"}, {"until": "2026-11-25T13:00:00Z"}, {"replicas": 2}]
    keys = {pool_spec(override=base | edit).override.key for edit in edits}
    assert len(keys) == len(edits)


def test_the_same_instant_written_in_another_zone_is_the_same_override():
    one = pool_spec(override={"mode": "Warm", "until": "2026-11-25T12:30:00+09:00"})
    two = pool_spec(override={"mode": "Warm", "until": "2026-11-25T03:30:00Z"})
    assert one.override == two.override


ONCE = {"name": "w", "start": "2026-11-25T10:00", "end": "2026-11-25T12:00", "replicas": 1}
NO_ZONES = (
    "Asia/Tokio", "Asia", "localtime", "posixrules", "posix/Asia/Tokyo", "right/Asia/Tokyo",
    "Factory", "/usr/share/zoneinfo/UTC", "../etc/passwd",
)  # fmt: skip
NO_TIMES = (
    ("start", "soon"), ("start", "2026-11-25T10:00Z"), ("start", "2026-02-29T10:00"),
    ("end", "9999-12-31T23:59"),
)  # fmt: skip
NO_INSTANTS = "2026-11-25T12:30", "9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59Z"


@each("fields, sentence", [
    *(({"timeZone": zone}, f"spec.timeZone: '{zone}' is not an IANA time zone")
      for zone in NO_ZONES),
    ({"windows": [cron("0 25 * * *", "1h")]}, r"spec.windows\[w\].schedule: .*Bad hour"),
    ({"windows": [cron("0 18 * * *", "1d")]}, r"spec.windows\[w\].duration: '1d' is not a dur"),
    *(({"windows": [ONCE | {field: text}]}, f"'{text}' is not a wall-clock time")
      for field, text in NO_TIMES),
    *(({"windows": [{"name": "w", "replicas": 1} | times]}, r"windows\[w\]: give either start and")
      for times in ({}, {"start": "2026-11-25T10:00"}, ONCE | {"duration": "1h"})),
    ({"windows": [ONCE | {"end": "2026-11-25T10:00"}]}, "end .* is not after start"),
    ({"windows": [cron("0 18 * * *", "1h") | {"excludeDates": ["31.12.2026"]}]},
     "excludeDates: '31.12.2026' is not a date like 2030-12-31"),
    ({"lead": "early"}, "spec.lead: 'early' is not a duration"),
    ({"idleAfter": "99999999h"}, "spec.idleAfter: .* is too long"),
    ({"holdTimeout": "-1s"}, "spec.holdTimeout: '-1s' is not a duration"),
    ({"windows": [cron("*/2 * * * *", "1m", name=f"w{n}") for n in range(3)]},
     "spec.windows: the windows open up to 2160 times on one day, and the limit is 1440"),
    *(({"budget": {"limit": limit}}, f"spec.budget.limit: {limit!r} is not an amount")
      for limit in ("free", "-1", "Infinity", "1e999999999", True)),
    ({"override": {"mode": "Warm"}}, "spec.override.until: '' is not an instant"),
    *(({"override": {"mode": "Warm", "until": until}},
       f"spec.override.until: '{until}' is not an instant") for until in NO_INSTANTS),
])  # fmt: skip
def test_what_cannot_be_is_refused_with_a_sentence(fields, sentence):
    with pytest.raises(SpecError, match=sentence):
        parse({"targetRef": TARGET, **fields})
