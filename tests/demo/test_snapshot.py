"""What is read from the API's objects."""

from typing import Any

from kotatsu_demo.snapshot import snapshot


def pod(*, ready: bool, ending: bool = False) -> dict[str, Any]:
    metadata = {"deletionTimestamp": "2026-11-24T17:00:00Z"} if ending else {}
    condition = {"type": "Ready", "status": str(ready)}
    return {"metadata": metadata, "status": {"conditions": [condition]}}


def pool(generation: int = 1, **status: Any) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "spec": {}, "status": status}


ZERO = {"spec": {"replicas": 0}}


def test_asleep_means_that_the_last_pod_is_gone():
    assert snapshot(pool(phase="Asleep"), ZERO, []).is_asleep
    assert not snapshot(pool(phase="Asleep"), ZERO, [pod(ready=True, ending=True)]).is_asleep
    assert not snapshot(pool(phase="Sleeping"), ZERO, []).is_asleep


def test_a_refusal_counts_only_for_the_spec_it_speaks_of():
    refused = {"type": "Accepted", "status": "False", "message": "end before start"}
    assert snapshot(pool(2, conditions=[refused | {"observedGeneration": 2}]), ZERO, []).refusal
    assert not snapshot(pool(2, conditions=[refused | {"observedGeneration": 1}]), ZERO, []).refusal
