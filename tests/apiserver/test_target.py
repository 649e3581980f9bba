"""What else there is around a pool's target: an autoscaler, another owner, a rollout, a Service."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from apiserver.kit import eventually
from apiserver.kubelet import STARTS_AFTER
from e2e.kit import asleep_override, stamp, workload

from kotatsu_operator.core.decide.decide import UNDONE_AFTER

pytestmark = pytest.mark.apiserver

QUICK = {"idleAfter": "1s"}


def autoscaler(name, least=1, most=6):
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 80},
                    },
                }
            ],
        },
    }


def least(app):
    return app.kubectl.get("horizontalpodautoscaler", app.name)["spec"]["minReplicas"]


def warm_override(replicas):
    until = stamp(datetime.now(UTC) + timedelta(minutes=5))
    return {"mode": "Warm", "until": until, "replicas": replicas, "reason": uuid.uuid4().hex}


@pytest.fixture
async def shared(make_app, platform):
    """An app with a HorizontalPodAutoscaler, asleep."""
    app = await make_app("shared", **QUICK)
    platform.apply(autoscaler(app.name))
    await app.asleep()
    await eventually("the autoscaler is known", lambda: app.inner().get("hpa"))
    yield app
    platform.delete("hpa", app.name)


async def test_the_floor_is_the_autoscalers_minimum_and_zero_comes_before_it_falls(
    shared, platform
):
    assert shared.status()["internal"]["hpa"] == {"name": shared.name, "minReplicas": 1}
    platform.patch("warmpool", shared.name, {"spec": {"override": warm_override(3)}})
    # Whenever the scale has reached the floor, the minimum has too.
    await eventually("scaled up", lambda: shared.replicas() == 3, every=0.02)
    assert least(shared) == 3
    await eventually("warm", lambda: shared.phase() == "Warm")

    asleep = asleep_override() | {"replicas": None}
    platform.patch("warmpool", shared.name, {"spec": {"override": asleep}})
    seen = set()

    def given_back():
        now = least(shared)
        seen.add((now, shared.replicas()))
        return now == 1

    await eventually("given back", given_back, every=0.02)
    assert (1, 3) not in seen
    assert shared.replicas() == 0
    await shared.asleep()


async def test_deleting_a_warm_pool_gives_the_autoscaler_its_minimum_back(shared, platform):
    platform.patch("warmpool", shared.name, {"spec": {"override": warm_override(2)}})
    await eventually("raised", lambda: least(shared) == 2)
    platform.delete("warmpool", shared.name)
    await eventually("given back", lambda: least(shared) == 1)


def accepted(app):
    return app.conditions()["Accepted"]


async def test_kubectl_scale_on_a_warm_pool_is_undone_and_an_event_says_what_to_do_instead(
    make_app, platform, http
):
    """The manifest has no replicas, so the API server records no owner of them."""
    app = await make_app("scaled", idleAfter="5m")
    await app.send(http)
    await asyncio.sleep(UNDONE_AFTER.seconds + 2)
    platform("scale", f"deployment/{app.name}", "--replicas=3")
    only = f"reason=ScaleUndone,involvedObject.name={app.name}"
    events = ("get", "events", "--field-selector", only, "-o", "jsonpath={.items[*].message}")
    said = await eventually("told", lambda: platform(*events), within=20)
    assert f"has set the replicas of Deployment {app.name} to 3" in said
    assert "kubectl demo-mode on --replicas 3" in said
    assert app.replicas() == 1


async def test_requests_that_a_slow_start_fails_are_counted_in_an_event_and_named_in_a_condition(
    make_app, platform, http
):
    app = await make_app("late", idleAfter="60s", holdTimeout="1s")
    await app.asleep()
    template = {"metadata": {"annotations": {STARTS_AFTER: "10"}}}
    platform.patch("deployment", app.name, {"spec": {"template": template}})
    answers = await asyncio.gather(
        *(http.post(app.url, params={"request_id": f"late-{n}"}) for n in range(5))
    )
    assert {answer.status_code for answer in answers} == {503}
    only = f"reason=RequestsTimedOut,involvedObject.name={app.name}"
    events = ("get", "events", "--field-selector", only, "-o", "jsonpath={.items[*].message}")
    said = await eventually("told", lambda: platform(*events))
    assert said.startswith("5 requests got 503, as no pod was Ready within holdTimeout (1s)")
    # Once the start has been measured, the condition names what to set.
    late = await eventually("late", lambda: app.failed("DurationsFit"))
    assert late["reason"] == "RequestsTimedOut"
    remedy = "set holdTimeout to"
    await eventually("measured", lambda: remedy in app.conditions()["DurationsFit"]["message"])


async def test_a_manifest_that_applies_replicas_is_named(make_app, platform):
    app = await make_app("contested", **QUICK)
    await app.asleep()
    manifest = workload(app.name)[0]
    manifest["spec"]["replicas"] = 1
    platform(
        *("apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-"),
        stdin=yaml.safe_dump(manifest),
    )
    found = await eventually("contested", lambda: app.failed("ReplicasKept"), within=30)
    assert found["reason"] == "AppliedByAnother"
    assert "gitops applies a manifest that sets spec.replicas" in found["message"]
    await app.asleep()
    assert app.failed("ReplicasKept")


SERVICES = {
    "ServiceHeadless": {"clusterIP": "None"},
    "ServiceExternalName": {"type": "ExternalName", "externalName": "example.com", "ports": None},
    "ServiceWithoutTCP": {"ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]},
    "ServiceHasNoSelector": {"selector": None},
    "ServiceSelectsOthers": {"selector": {"app": "somebody-else"}},
}


async def test_services_that_cannot_wake_are_refused_until_they_are_mended(make_app, platform):
    app = await make_app("services", **QUICK)
    await app.asleep()
    good = workload(app.name)[1]
    platform.delete("service", app.name)
    await eventually("missed", lambda: accepted(app)["reason"] == "ServiceNotFound")
    for reason, change in SERVICES.items():
        spec = {k: v for k, v in (good["spec"] | change).items() if v is not None}
        platform.apply(good | {"spec": spec})
        await eventually(reason, lambda r=reason: accepted(app)["reason"] == r)
        assert app.name in accepted(app)["message"]
        platform.delete("service", app.name)
    platform.apply(good)
    await eventually("accepted", lambda: accepted(app)["status"] == "True")
    await eventually("in the route", lambda: app.endpoints()["activator"])
    assert app.phase() == "Asleep"


async def test_a_sleeping_target_that_the_pool_leaves_runs_again_and_every_request_is_answered(
    make_app, platform, http
):
    app = await make_app("former", **QUICK)
    await app.asleep()
    after = f"{app.name}-after"
    deployment, service = workload(after)
    deployment["spec"]["replicas"] = 0
    platform.apply(deployment, service)
    named = {"apiVersion": "apps/v1", "kind": "Deployment", "name": after}
    platform.patch("warmpool", app.name, {"spec": {"targetRef": named}})
    moved = False
    while not moved:
        await app.send(http)
        moved = app.status()["internal"].get("target", {}).get("name") == after
    assert app.replicas() == 1
    await app.send(http)
    await eventually("the other one sleeps", lambda: app.phase() == "Asleep")
    assert platform.get("deployment", after)["spec"]["replicas"] == 0
    assert app.replicas() == 1
    platform.delete("deployment", after)
    platform.delete("service", after)
