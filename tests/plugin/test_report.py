"""The verdict of a rehearsal, and when one is refused."""

from typing import Any

from plugin.kit import NOW, PITCH, pool
from rows import each

from kotatsu_demo_mode.rehearse import refusal, text
from kotatsu_demo_mode.stages import Answer, Report, has_failed, parking_state, rehearsed

GOOD = Report(
    pool="voice",
    route="Service voice, from a pod in demo",
    window="final-pitch",
    replicas=5,
    cold=Answer(1.82, 200),
    ready=14.2,
    lead=18.0,
    load=[Answer(0.1 + n / 100, 200) for n in range(20)],
    load_seconds=0.9,
    concurrency=4,
)


def test_a_good_rehearsal_in_words():
    assert not GOOD.failures
    assert list(text({"voice": GOOD}, passed=True, many=False)) == [
        "voice: rehearsal of final-pitch",
        "  route      Service voice, from a pod in demo",
        "  cold wake  1.82 s",
        "  5 Ready    14.2 s (pods start 18 s before a window)",
        "  requests   20, 4 at once, in 0.90 s",
        "  p50        190.0 ms",
        "  p95        280.0 ms",
        "  errors     0",
        "The demo would have succeeded. The pool follows its schedule again.",
    ]


@each(
    "change, failure",
    [
        ({"cold": Answer(45.0, 503)}, "the request to the sleeping pool was not answered: status"),
        ({"cold": Answer(1.0, 0, "ConnectionRefusedError: x")}, "not answered: ConnectionRefused"),
        ({"ready": 30.0}, "final-pitch would have opened cold: the pods took 30.0 s"),
        ({"load": [Answer(0.1, 200), Answer(0.1, 500)]}, "1 of 2 requests failed, the first with"),
        ({"max_p95": 0.2}, "p95 was 0.280 s, above the limit of 0.2 s"),
    ],
)
def test_each_thing_that_would_have_gone_wrong_is_named(change: dict[str, Any], failure: str):
    report = GOOD._replace(**change)
    (named,) = report.failures
    assert failure in named
    assert list(text({"voice": report}, passed=False, many=False))[-1] == f"  - {named}"
    assert report.record()["passed"] is False


def test_slow_pods_matter_only_to_a_window():
    assert not GOOD._replace(window="", ready=30.0).failures


IDLE = {"phase": "Asleep", "lastActive": "2026-11-24T20:59:30Z"}


@each(
    "status, spec, why",
    [
        (IDLE, {"windows": [PITCH]}, ""),
        (IDLE | {"phase": "Warm"}, {}, "its last request was 30s ago"),
        (
            IDLE,
            {"override": {"mode": "Warm", "until": "2026-11-24T22:00:00Z", "by": "ann"}},
            "an override by ann is in effect until 07:00",
        ),
        (
            IDLE,
            {"windows": [PITCH | {"start": "2026-11-25T05:00"}]},
            "window final-pitch is open or warming up",
        ),
        (
            IDLE,
            {"windows": [PITCH | {"start": "2026-11-25T06:10"}]},
            "window final-pitch starts to warm up in 8m 52s",
        ),
    ],
)
def test_a_pool_that_somebody_needs_is_not_rehearsed(
    status: dict[str, Any], spec: dict[str, Any], why: str
):
    assert refusal(pool(status=status, **spec), NOW) == why


def test_the_rehearsal_is_for_the_next_window():
    coming = rehearsed(pool(windows=[PITCH]), NOW)
    assert coming is not None
    assert (coming.window, coming.replicas) == ("final-pitch", 5)
    assert rehearsed(pool(), NOW) is None


# --- parked pods ---


def test_a_rehearsal_of_a_parked_pool_says_how_long_its_requests_took():
    report = GOOD._replace(cold=None, restored=0.61)
    assert "  restored  0.6 s to full requests" in report.figures()
    assert report.record()["restored"] == {"seconds": 0.6}
    assert GOOD.record()["restored"] is None


@each(
    "conditions, state, failed",
    [
        ([], "NotParked", False),
        ([{"type": "Parked", "status": "True", "reason": "Parked"}], "Parked", False),
        (
            [
                {"type": "Parked", "status": "False", "reason": "Restoring"},
                {"type": "ParkingWorks", "status": "False", "reason": "NotRestored"},
            ],
            "Restoring",
            True,
        ),
    ],
)
def test_the_conditions_say_whether_pods_have_their_requests(
    conditions: list[dict[str, str]], state: str, failed: bool
):
    seen = pool(status={"conditions": conditions})
    assert (parking_state(seen), has_failed(seen)) == (state, failed)
