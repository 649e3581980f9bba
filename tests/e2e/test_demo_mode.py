"""kubectl demo-mode on a cluster: rehearsals, whose requests come from a pod."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from e2e.kit import demo_mode, is_ending, wall

pytestmark = pytest.mark.e2e


async def test_a_rehearsal_sleeps_wakes_warms_and_gives_the_pool_back(make_app, team):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    window = {"name": "demo", "start": wall(tomorrow), "replicas": 2}
    window["end"] = wall(tomorrow + timedelta(hours=1))
    app = await make_app("rehearsal", windows=[window], idleAfter="4s")
    await app.asleep()
    load = ("--path", "/echo?request_id=rehearsal", "--data", "", "--requests", "20")
    out = await demo_mode(team, "rehearse", app.name, *load, "--concurrency", "4", "-o", "json")
    report = json.loads(out)
    assert report["passed"], report
    assert (report["window"], report["replicas"]) == ("demo", 2)
    assert report["cold"]["status"] == 200
    assert 0 < report["cold"]["seconds"] < 15
    assert report["load"]["errors"] == 0
    assert report["load"]["p95"] > 0
    assert "override" not in app.pool()["spec"]
    left = team.items("pods", **{"app.kubernetes.io/managed-by": "kubectl-demo-mode"})
    assert all(is_ending(pod) for pod in left)
