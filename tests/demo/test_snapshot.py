"""What is read from the API's objects."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from kotatsu_demo.snapshot import snapshot


def pod(*, ready: bool, ending: bool = False) -> dict[str, Any]:
    metadata = {"deletionTimestamp": "2026-11-24T17:00:00Z"} if ending else {}
    condition = {"type": "Ready", "status": str(ready)}
    return {"metadata": metadata, "status": {"conditions": [condition]}}


def pool(generation: int = 1, **status: Any) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "spec": {}, "status": status}


ZERO = {"spec": {"replicas": 0}}


def test_a_pool_the_operator_has_not_looked_at_has_no_phase():
    seen = snapshot({"metadata": {}, "spec": {}}, {"spec": {"replicas": 1}}, [])
    assert (seen.phase, seen.desired, seen.cost.currency) == ("", 1, "")
    assert not seen.is_asleep


def test_a_pod_that_ends_is_there_but_not_ready():
    pods = [pod(ready=True), pod(ready=True, ending=True), pod(ready=False)]
    seen = snapshot(pool(phase="Warm"), {"spec": {"replicas": 2}}, pods)
    assert (seen.ready, seen.pods) == (1, 3)


def test_asleep_means_that_the_last_pod_is_gone():
    assert snapshot(pool(phase="Asleep"), ZERO, []).is_asleep
    assert not snapshot(pool(phase="Asleep"), ZERO, [pod(ready=True, ending=True)]).is_asleep
    assert not snapshot(pool(phase="Sleeping"), ZERO, []).is_asleep


def test_the_status_is_read():
    seen = snapshot(
        pool(
            phase="Warm",
            lastOpening={"at": "2026-11-24T17:41:00Z", "early": "10s"},
            nextTransition={"at": "2026-11-24T17:40:40Z", "kind": "prewarm"},
            lastWake={"at": "2026-11-24T17:00:00Z", "duration": "1.234s"},
            internal={
                "opening": {"readyAt": "2026-11-24T17:40:50.5Z"},
                "warmUps": ["a1", [2.0, 2, 0]],
            },
            cost={"currency": "JPY", "accrued": "0.054", "ratePerHour": "3.6875"},
        ),
        {"spec": {"replicas": 2}},
        [],
    )
    assert seen.opens_at == datetime(2026, 11, 24, 17, 41, tzinfo=UTC)
    assert seen.ready_at == datetime(2026, 11, 24, 17, 40, 50, 500000, UTC)
    assert seen.prewarm_at == datetime(2026, 11, 24, 17, 40, 40, tzinfo=UTC)
    assert (seen.wake_seconds, seen.warm_ups) == (1.234, 1)
    assert (seen.cost.accrued, seen.cost.per_hour) == (Decimal("0.054"), Decimal("3.6875"))


def test_a_refusal_counts_only_for_the_spec_it_speaks_of():
    refused = {"type": "Accepted", "status": "False", "message": "end before start"}
    assert snapshot(pool(2, conditions=[refused | {"observedGeneration": 2}]), ZERO, []).refusal
    assert not snapshot(pool(2, conditions=[refused | {"observedGeneration": 1}]), ZERO, []).refusal
