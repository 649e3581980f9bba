"""A spec is read once: defaults are filled in, and what cannot be is refused with a sentence."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rows import each

from kotatsu_operator.core.pool.parse import SpecError, parse
from kotatsu_operator.core.pool.spec import (
    Budget,
    Metrics,
    OnDelete,
    OnExhausted,
    Override,
    OverrideMode,
    Period,
)
from tests.operator.core.values import HOUR, TARGET, cron, pool_spec, utc


def test_a_pool_needs_no_more_than_a_target() -> None:
    spec = pool_spec()
    assert spec.target.name == spec.service == "voice"
    assert spec.zone == ZoneInfo("UTC")
    assert (spec.windows, spec.lead, spec.override) == ((), None, None)
    assert (spec.max_replicas, spec.target_concurrency) == (10, 100)
    assert (spec.idle_after, spec.drain_timeout) == (timedelta(minutes=2), timedelta(seconds=60))
    assert spec.metrics == Metrics("http", "/metrics", "kotatsu_requests_in_flight")
    assert (spec.on_delete, spec.suspend) == (OnDelete.RESTORE, False)


def test_everything_that_is_given_is_read() -> None:
    spec = pool_spec(
        service="front",
        timeZone="Asia/Tokyo",
        windows=[
            {
                "name": "pitch",
                "start": "2026-11-25T10:00",
                "end": "2026-11-25T12:00:30",
                "replicas": 5,
            },
            cron("0 18 * * 1-5", "90m") | {"excludeDates": ["2026-12-31"]},
        ],
        lead="2m",
        maxReplicas=7,
        targetConcurrency=3,
        idleAfter="90s",
        metrics={"port": 9090, "path": "/m", "name": "busy"},
        drainTimeout="2m",
        budget={"limit": "500", "period": "Week", "onExhausted": "Sleep"},
        override={
            "mode": "Warm",
            "replicas": 3,
            "until": "2026-11-25T12:30:00+09:00",
            "by": "alice",
            "reason": "judges came back",
        },
        onDelete="Keep",
        suspend=True,
    )
    once, repeating = spec.windows
    assert (once.start, once.end) == (
        datetime.fromisoformat("2026-11-25T10:00"),
        datetime.fromisoformat("2026-11-25T12:00:30"),
    )
    assert repeating.duration == 1.5 * HOUR
    assert repeating.exclude == {date(2026, 12, 31)}
    assert (spec.service, spec.zone, spec.lead) == (
        "front",
        ZoneInfo("Asia/Tokyo"),
        timedelta(minutes=2),
    )
    assert (spec.max_replicas, spec.target_concurrency) == (7, 3)
    assert spec.metrics == Metrics("9090", "/m", "busy")
    assert (spec.idle_after, spec.drain_timeout) == (timedelta(seconds=90), timedelta(minutes=2))
    assert spec.budget == Budget(Decimal(500), Period.WEEK, OnExhausted.SLEEP)
    assert spec.override == Override(
        OverrideMode.WARM, utc("2026-11-25T03:30"), 3, "alice", "judges came back"
    )
    assert (spec.on_delete, spec.suspend) == (OnDelete.KEEP, True)


def test_two_overrides_that_ask_for_different_things_have_different_keys() -> None:
    base = {"mode": "Warm", "until": "2026-11-25T12:00:00Z", "by": "alice"}
    edits = [{}, {"mode": "Asleep"}, {"until": "2026-11-25T13:00:00Z"}, {"replicas": 2}]
    keys = {pool_spec(override=base | edit).override.key for edit in edits}
    assert len(keys) == len(edits)


def test_the_same_instant_written_in_another_zone_is_the_same_override() -> None:
    one = pool_spec(override={"mode": "Warm", "until": "2026-11-25T12:30:00+09:00"})
    two = pool_spec(override={"mode": "Warm", "until": "2026-11-25T03:30:00Z"})
    assert one.override == two.override


ONCE = {"name": "w", "start": "2026-11-25T10:00", "end": "2026-11-25T12:00", "replicas": 1}


@each(
    "fields, sentence",
    [
        ({"timeZone": "Asia/Tokio"}, "spec.timeZone: 'Asia/Tokio' is not an IANA time zone"),
        ({"timeZone": "Asia"}, "spec.timeZone: 'Asia' is not an IANA time zone"),
        ({"timeZone": "localtime"}, "spec.timeZone: 'localtime' is not an IANA time zone"),
        ({"timeZone": "posixrules"}, "spec.timeZone: 'posixrules' is not an IANA time zone"),
        ({"timeZone": "posix/Asia/Tokyo"}, "spec.timeZone: .* is not an IANA time zone"),
        ({"timeZone": "right/Asia/Tokyo"}, "spec.timeZone: .* is not an IANA time zone"),
        ({"timeZone": "Factory"}, "spec.timeZone: 'Factory' is not an IANA time zone"),
        ({"timeZone": "/usr/share/zoneinfo/UTC"}, "spec.timeZone: .* is not an IANA time zone"),
        ({"timeZone": "../etc/passwd"}, "spec.timeZone: .* is not an IANA time zone"),
        ({"windows": [cron("0 25 * * *", "1h")]}, r"spec.windows\[w\].schedule: .*Bad hour"),
        ({"windows": [cron("0 18 * * *", "1d")]}, r"spec.windows\[w\].duration: '1d' is not a dur"),
        ({"windows": [cron("0 18 * * *", "0s")]}, r"windows\[w\].duration: must be longer than 0"),
        ({"windows": [cron("0 18 * * *", "745h")]}, "duration: 745h is too long: at most 744h"),
        ({"windows": [ONCE | {"start": "soon"}]}, "'soon' is not a wall-clock time"),
        ({"windows": [ONCE | {"start": "2026-11-25T10:00Z"}]}, "is not a wall-clock time"),
        ({"windows": [ONCE | {"start": "2026-02-29T10:00"}]}, "is not a wall-clock time"),
        ({"windows": [ONCE | {"end": "9999-12-31T23:59"}]}, "is not a wall-clock time"),
        ({"windows": [{"name": "w", "replicas": 1}]}, r"windows\[w\].start: '' is not a wall-cl"),
        ({"windows": [ONCE | {"end": "2026-11-25T10:00"}]}, "end .* is not after start"),
        (
            {"windows": [cron("0 18 * * *", "1h") | {"excludeDates": ["31.12.2026"]}]},
            "excludeDates: '31.12.2026' is not a date like 2030-12-31",
        ),
        ({"lead": "early"}, "spec.lead: 'early' is not a duration"),
        ({"lead": "25h"}, "spec.lead: 25h is too long: at most 24h"),
        ({"idleAfter": "99999999h"}, "spec.idleAfter: .* is too long"),
        ({"drainTimeout": "-1s"}, "spec.drainTimeout: '-1s' is not a duration"),
        (
            {"windows": [cron("*/2 * * * *", "1m", name=f"w{n}") for n in range(3)]},
            "spec.windows: the windows open up to 2160 times on one day, and the limit is 1440",
        ),
        ({"budget": {"limit": "free"}}, "spec.budget.limit: 'free' is not an amount"),
        ({"budget": {"limit": "-1"}}, "spec.budget.limit: '-1' is not an amount"),
        ({"budget": {"limit": "Infinity"}}, "spec.budget.limit: .* is not an amount"),
        ({"budget": {"limit": "1e999999999"}}, "spec.budget.limit: .* is not an amount"),
        ({"budget": {"limit": True}}, "spec.budget.limit: True is not an amount"),
        ({"override": {"mode": "Warm"}}, "spec.override.until: '' is not an instant"),
        (
            {"override": {"mode": "Warm", "until": "2026-11-25T12:30"}},
            "spec.override.until: '2026-11-25T12:30' is not an instant",
        ),
        (
            {"override": {"mode": "Warm", "until": "9999-12-31T23:59:59-05:00"}},
            "spec.override.until: .* is not an instant",
        ),
        (
            {"override": {"mode": "Warm", "until": "9999-12-31T23:59:59Z"}},
            "spec.override.until: .* is not an instant",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        parse({"targetRef": TARGET, **fields})
