"""kubectl demo-mode check and create on a cluster: one good workload, two broken ones."""

import json
import uuid

import pytest
from e2e.kit import App, config_map, eventually, pool, workload
from e2e.test_demo_mode import demo_mode

from kotatsu_operator.core.formats import is_true

pytestmark = pytest.mark.e2e


@pytest.fixture
def plain(platform):
    """A Deployment with a Ready pod and its Service, as most people have it: without a pool."""
    name = f"plain-{uuid.uuid4().hex[:4]}"
    platform.apply(config_map(), *workload(name))
    platform("rollout", "status", f"deployment/{name}", "--timeout=120s")
    yield name
    platform("delete", "warmpool", name, f"{name}-peers", "--ignore-not-found", "--wait=false")
    things = "deployment,service"
    platform("delete", things, name, f"{name}-peers", "--ignore-not-found", "--wait=false")


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


async def test_what_check_refuses_the_operator_refuses_in_the_same_words(platform, plain):
    peers = f"{plain}-peers"
    headless = workload(plain)[1] | {"metadata": {"name": peers}}
    headless["spec"] = headless["spec"] | {"clusterIP": "None"}
    platform.apply(headless)
    answer = await checked(platform, f"deployment/{plain}", "--service", peers, code=1)
    (refused,) = (f for f in answer["findings"] if f["level"] == "refused")
    assert refused["reason"] == "ServiceHeadless"
    platform.apply(pool(peers, targetRef={"name": plain}, service=peers))
    app = App(peers, platform)
    accepted = await eventually("refused", lambda: app.conditions().get("Accepted"))
    assert (accepted["status"], accepted["reason"]) == ("False", "ServiceHeadless")
    assert accepted["message"].partition(";")[0] in refused["message"]


async def test_a_workload_without_a_probe_is_warned_of(platform, plain):
    patch = [{"op": "remove", "path": "/spec/template/spec/containers/0/readinessProbe"}]
    platform("patch", "deployment", plain, "--type=json", "-p", json.dumps(patch))
    answer = await checked(platform, f"deployment/{plain}")
    assert answer["verdict"] == "warning"
    assert [f["reason"] for f in answer["findings"] if f["level"] == "warning"] == [
        "ReadinessMissing"
    ]
    await demo_mode(platform, "check", plain, "--strict", code=1)
