"""A WarmPool that cannot be right is refused with a sentence that says what to change."""

from datetime import UTC, datetime, timedelta

import pytest
from apiserver.kit import eventually
from e2e.kit import pool, stamp

pytestmark = pytest.mark.apiserver

_ONCE = {"name": "w", "start": "2026-11-25T10:00", "end": "2026-11-25T12:00", "replicas": 1}
_CRON = {"name": "w", "schedule": "0 18 * * 1-5", "duration": "90m", "replicas": 1}

_DATES = [f"20{n // 12 + 30}-{n % 12 + 1:02}-01" for n in range(334)]
_EXCLUDING_TOO_MUCH = [_CRON | {"name": f"w{n}", "excludeDates": _DATES} for n in range(3)]
"""1,002 dates in three windows."""


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"windows": [_ONCE | {"end": "2026-11-25T09:00"}]}, "put end after start"),
        ({"windows": [_ONCE | {"duration": "1h"}]}, "either start and end"),
        ({"windows": [_ONCE | {"replicas": 11}]}, "raise maxReplicas"),
        ({"windows": [_ONCE | {"start": "tomorrow"}]}, "should match"),
        ({"windows": [_ONCE, _CRON]}, "Duplicate value"),
        ({"windows": [_CRON | {"duration": "0s"}]}, "must be above 0"),
        ({"windows": [_ONCE | {"excludeDates": ["2026-12-31"]}]}, "repeating window"),
        ({"windows": _EXCLUDING_TOO_MUCH}, "more than 1000 excludeDates"),
        ({"lead": "-5s"}, "should match"),
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


@pytest.mark.parametrize(
    ("spec", "reason", "sentence"),
    [
        ({"timeZone": "Mars/Olympus"}, "InvalidSpec", "write it like Asia/Tokyo"),
        ({"windows": [_CRON | {"schedule": "61 * * * *"}]}, "InvalidSpec", "not a five-field cron"),
        ({"windows": [_ONCE | {"start": "2026-02-30T10:00"}]}, "InvalidSpec", "wall-clock time"),
        ({}, "TargetNotFound", "create it or correct spec.targetRef.name"),
    ],
    ids=["zone", "cron", "date", "target"],
)
async def test_the_operator_reports(platform, spec, reason, sentence):
    name = f"bad-{reason.lower()}-{abs(hash(sentence)) % 10_000}"
    platform.apply(pool(name, **spec))
    try:

        def refused():
            conditions = platform.get("warmpool", name).get("status", {}).get("conditions", ())
            return {c["type"]: c for c in conditions}.get("Accepted")

        accepted = await eventually("judged", refused)
        assert (accepted["status"], accepted["reason"]) == ("False", reason)
        assert sentence in accepted["message"]
    finally:
        platform.delete("warmpool", name)


async def test_the_older_of_two_pools_keeps_the_target(platform, make_app):
    app = await make_app("claimed")
    platform.apply(pool(f"{app.name}-two", targetRef={"name": app.name}))
    try:

        def judged():
            conditions = platform.get("warmpool", f"{app.name}-two").get("status", {})
            return {c["type"]: c for c in conditions.get("conditions", ())}.get("Accepted")

        accepted = await eventually("judged", judged)
        assert accepted["reason"] == "TargetClaimed"
        assert app.name in accepted["message"]
        assert app.conditions()["Accepted"]["status"] == "True"
    finally:
        platform.delete("warmpool", f"{app.name}-two")


async def test_an_override_is_clamped_to_a_day_after_it_was_first_seen(platform, make_app):
    app = await make_app("clamped", idleAfter="1s")
    until = datetime.now(UTC) + timedelta(days=30)
    override = {"mode": "Asleep", "until": stamp(until)}
    platform.patch("warmpool", app.name, {"spec": {"override": override}})
    ends = await eventually("seen", lambda: app.status().get("overrideEndsAt"))
    assert datetime.fromisoformat(ends) < datetime.now(UTC) + timedelta(hours=24)
