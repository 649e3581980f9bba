"""What on and off say of a pool whose target is a Knative Service."""

from dataclasses import replace
from datetime import timedelta

from plugin.kit import pool

from kotatsu_demo_mode.off import when_idle
from kotatsu_demo_mode.on import warm_line
from kotatsu_operator.core.pool.memory import Memory

KNATIVE = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "voice"}


def test_off_names_knatives_own_rules_and_not_idle_after_which_means_nothing_there() -> None:
    said = when_idle(pool(targetRef=KNATIVE, idleAfter="7m"))
    assert "7m" not in said
    assert "sleeps" not in said
    assert "stable window" in said
    assert "scale-to-zero-grace-period" in said


def test_off_names_idle_after_for_a_deployment() -> None:
    said = when_idle(pool(idleAfter="7m"))
    assert said == "it sleeps 7m after its last request"


def test_off_names_the_longer_time_of_a_pool_that_flaps() -> None:
    flapping = replace(pool(idleAfter="7m"), memory=Memory(woken_soon=3))
    assert when_idle(flapping) == "it sleeps 28m after its last request"


def test_on_says_both_numbers_where_fewer_pods_can_be_had() -> None:
    limited = {"type": "ReplicasKept", "status": "False", "message": "5 are asked for"}
    status = {"readyReplicas": 3, "conditions": [limited]}
    line = warm_line("voice", status, timedelta(seconds=9))
    assert line.startswith("warmpool.kotatsu.dev/voice is Warm: 3 pods Ready after ")
    assert line.endswith("; 5 are asked for")
    assert (
        warm_line("voice", {"readyReplicas": 3}, timedelta(seconds=9)) + "; 5 are asked for" == line
    )
