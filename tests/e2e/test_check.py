"""kubectl demo-mode check and create on a cluster, of a workload without a pool."""

import json
import uuid

import pytest
from e2e.kit import App, config_map, demo_mode, eventually, workload

from kotatsu_operator.core.formats import is_true

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]


@pytest.fixture
def plain(platform):
    """A Deployment with a Ready pod and its Service, as most people have it: without a pool."""
    name = f"plain-{uuid.uuid4().hex[:4]}"
    platform.apply(config_map(), *workload(name))
    platform("rollout", "status", f"deployment/{name}", "--timeout=120s")
    yield name
    things = "warmpool,deployment,service"
    platform("delete", things, name, "--ignore-not-found", "--wait=false")


async def checked(platform, *words, code=0):
    """The answer of `check`."""
    return json.loads(await demo_mode(platform, "check", *words, "-o", "json", code=code))


async def test_a_good_workload_gets_a_pool_that_the_operator_accepts(platform, plain):
    answer = await checked(platform, f"deployment/{plain}", "--strict")
    assert answer["verdict"] == "ok"
    said = {f["check"]: f["message"] for f in answer["findings"]}
    assert "reports kotatsu_requests_in_flight 0 (/metrics on http)" in said["metrics"]
    words = ("--window", "pitch", "--at", "2030-12-18T10:00", "--for", "2h", "--apply", "--yes")
    out = await demo_mode(platform, "create", plain, *words)
    assert f"warmpool.kotatsu.dev/{plain} created" in out
    await eventually(
        "accepted",
        lambda: is_true(App(plain, platform).conditions().get("Accepted")),
    )
    assert (await checked(platform, f"warmpool/{plain}"))["warmPool"] == plain
