"""Pools with a Knative target: what is written, remembered and told while Knative does its part."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry

from kotatsu_operator import restore as restore_module
from kotatsu_operator.activator.pool import pool_view
from kotatsu_operator.activator.slices import wants_slice
from kotatsu_operator.core.records import entry_of
from kotatsu_operator.events import Events
from kotatsu_operator.knative import watch as watch_module
from kotatsu_operator.knative.view import MIN_SCALE, SERVICE_LABEL
from kotatsu_operator.knative.watch import KnativeWatch, Runtime
from kotatsu_operator.kube import ConflictError
from kotatsu_operator.metrics import PoolMetrics
from kotatsu_operator.observe import Observer
from kotatsu_operator.reconcile import RETRY, Reconciler
from kotatsu_operator.restore import restore
from kotatsu_operator.status import stamp
from kotatsu_operator.world import World
from tests.operator.cluster import (
    NAMESPACE,
    VOICE,
    FakeKube,
    deployment,
    eventually,
    knative_service,
    pod,
    revision,
    service,
    warm_pool,
)
from tests.operator.core.values import MINUTE, SECOND, once, override, t
from tests.operator.day import FakeScraper

pytestmark = pytest.mark.timeout(20)

WINDOW = once("demo", "10:00", "10:15", 2)
ONE, TWO = "voice-00001", "voice-00002"


def knative_pool(name="voice", *, status=None, **spec):
    made = warm_pool(name, status=status, **spec)
    made["spec"]["targetRef"] = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "name": "voice",
    }
    return made


class KnativeDay:
    """An operator's looks at a pool, with a Knative that follows min-scale within 10 seconds."""

    def __init__(self, now, *revisions, **spec):
        self.now = now
        self.kube = FakeKube(knative_pool(**spec))
        self.kube.put(knative_service(**{ONE: 100}))
        for obj in revisions or (revision(ONE),):
            self.kube.put(obj)
        self.requests = 0
        self.pods = []
        self._changed = {}
        self.restart()

    def restart(self):
        self.registry = CollectorRegistry()
        self.world = World()
        self.reconciler = Reconciler(
            kube=self.kube,
            world=self.world,
            observer=Observer(self.kube, self.world, FakeScraper()),
            events=Events(self.kube, "operator-1"),
            displays=[PoolMetrics(self.registry)],
            clock=lambda: self.now,
        )

    def watch(self):
        for obj in self.kube.all("WarmPool"):
            self.world.keep_pool(obj)
        self.world.knative.synced = True
        self.world.knative.services.clear()
        for obj in self.kube.all("Service"):
            self.world.knative.keep_service(obj)
        self.world.knative.revisions.clear()
        for obj in self.kube.all("Revision"):
            self.world.knative.keep_revision(obj)
        self.world.keep_service(service())  # Kubernetes' own, for a Deployment of the same name
        for obj in self.kube.all("Deployment"):
            self.world.keep_deployment(obj)
        for obj in self.pods:
            self.world.keep_pod(obj)

    async def look(self):
        self.watch()
        return await self.reconciler.look(VOICE)

    async def until(self, end):
        """Let time pass in steps of a second, Knative's controllers and the operator at work."""
        while self.now < end:
            self.now += SECOND
            self._knative()
            await self.look()

    def _knative(self):
        traffic = self.kube.stored("Service", "voice")["status"]["traffic"]
        routed = {entry["revisionName"] for entry in traffic}
        for obj in self.kube.all("Revision"):
            name, status = obj["metadata"]["name"], obj["status"]
            asked = int(obj["metadata"]["annotations"].get(MIN_SCALE) or 0)
            wanted = max(asked, self.requests) if name in routed else 0
            if status["desiredReplicas"] != wanted:
                self._changed[name] = self.now
                self.kube.edit("Revision", name, status={"desiredReplicas": wanted})
            elif status["actualReplicas"] != wanted and self.now >= self._changed[name] + timedelta(
                seconds=10
            ):
                self.kube.edit("Revision", name, status={"actualReplicas": wanted})

    def min_scale(self, name=ONE):
        return self.kube.stored("Revision", name)["metadata"]["annotations"].get(MIN_SCALE)

    def route_to(self, **traffic):
        self.kube.put(knative_service(**traffic))

    def edit(self, **spec):
        self.kube.edit("WarmPool", "voice", spec=spec)

    @property
    def status(self):
        return self.kube.stored("WarmPool", "voice").get("status") or {}

    @property
    def phase(self):
        return self.status.get("phase")

    @property
    def remembered(self):
        return (self.status.get("knative") or {}).get("revisions")

    def condition(self, kind):
        (found,) = [c for c in self.status["conditions"] if c["type"] == kind]
        return found

    @property
    def events(self):
        return [c[2]["reason"] for c in self.kube.called("create") if c[1] == "Event"]


# --- a window ---


async def test_the_pods_are_ready_before_the_window_and_the_min_scale_is_back_after_it():
    day = KnativeDay(t("09:58"), revision(ONE, min_scale="1", actual=1), windows=[WINDOW])
    await day.until(t("09:58:40"))
    assert (day.min_scale(), day.remembered) == ("1", None)
    await day.until(t("09:59:30"))
    assert (day.phase, day.status["reason"], day.min_scale()) == ("Warm", "Window", "2")
    assert day.remembered == [{"name": ONE, "minScale": "1"}]
    assert day.status["lastOpening"]["early"] > "30s"
    assert day.status["readyReplicas"] == day.status["desiredReplicas"] == 2
    await day.until(t("10:15:02"))
    assert (day.phase, day.min_scale(), day.remembered) == ("Draining", "1", None)


async def test_a_whole_day_is_asleep_warming_warm_draining_asleep():
    day = KnativeDay(t("09:58"), windows=[WINDOW])
    seen = []
    while day.now < t("10:16"):
        await day.until(day.now + 5 * SECOND)
        if day.phase not in seen[-1:]:
            seen.append(day.phase)
    assert seen == ["Asleep", "Warming", "Warm", "Draining", "Asleep"]
    assert day.events == ["Warming", "Warm", "Proven", "Draining", "Asleep"]
    assert day.min_scale() is None
    assert day.status["warmUps"] == [{"seconds": 11.0, "replicas": 2, "template": ONE}]


async def test_what_was_there_is_written_down_before_the_revision_is_touched():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    await day.look()
    assert day.kube.writes == ["patch_status", "annotate"]
    assert day.kube.called("patch_status")[0][2]["knative"] == {"revisions": [{"name": ONE}]}


async def test_an_operator_that_ends_before_the_patch_starts_again_where_it_was():
    day = KnativeDay(t("10:10"), revision(ONE, min_scale="1", actual=1), windows=[WINDOW])

    def die(*_):
        raise KeyboardInterrupt

    day.kube.on("annotate", die)
    with pytest.raises(KeyboardInterrupt):
        await day.look()
    day.kube.on("annotate", None)
    day.restart()
    await day.until(t("10:11"))
    assert day.min_scale() == "2"
    day.restart()
    await day.until(t("10:15:05"))
    assert (day.min_scale(), day.remembered) == ("1", None)


async def test_a_revision_that_changed_meanwhile_is_read_again():
    day = KnativeDay(t("10:10"), windows=[WINDOW])

    def somebody_else(*_):
        day.kube.on("annotate", None)
        day.kube.edit("Revision", ONE, metadata={"labels": {"touched": "yes"}})

    day.kube.on("annotate", somebody_else)
    assert await day.look() == day.now + RETRY
    assert day.min_scale() is None
    await day.look()
    assert day.min_scale() == "2"


async def test_nothing_is_called_while_nothing_changes():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    await day.until(t("10:11"))
    day.kube.calls.clear()
    await day.until(t("10:14"))
    assert day.kube.calls == []


async def test_the_floor_moves_to_a_new_revision_with_the_traffic():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    await day.until(t("10:11"))
    day.kube.put(revision(TWO, min_scale="0", actual=1))
    day.route_to(**{ONE: 50, TWO: 50})
    await day.until(t("10:11:05"))
    assert (day.min_scale(ONE), day.min_scale(TWO)) == ("1", "1")
    day.route_to(**{TWO: 100})
    await day.until(t("10:12"))
    assert (day.min_scale(ONE), day.min_scale(TWO)) == (None, "2")
    assert day.remembered == [{"name": TWO, "minScale": "0"}]
    assert day.phase == "Warm"
    await day.until(t("10:15:05"))
    assert (day.min_scale(ONE), day.min_scale(TWO), day.remembered) == (None, "0", None)


async def test_a_patched_revision_is_looked_at_again_though_its_own_patch_is_no_news():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    await day.until(t("10:14:59"))
    day.now += SECOND
    again = await day.look()
    assert (day.min_scale(), day.remembered) == (None, [{"name": ONE}])
    assert again == day.now + RETRY
    day.now = again
    assert await day.look() > again + SECOND
    assert day.remembered is None


async def test_knatives_own_scaling_above_the_floor_is_shown_and_left_alone():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    day.requests = 7
    await day.until(t("10:11"))
    assert (day.status["readyReplicas"], day.min_scale()) == (7, "2")


async def test_an_asleep_override_gives_the_min_scale_back_at_once():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    await day.until(t("10:11"))
    day.edit(override=override("Asleep", t("12:00")))
    await day.until(t("10:11:02"))
    assert (day.min_scale(), day.phase, day.status["reason"]) == (None, "Draining", "Override")


async def test_a_suspended_pool_leaves_the_revisions_as_they_are():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    await day.until(t("10:11"))
    day.edit(suspend=True)
    await day.until(t("10:16"))
    assert (day.min_scale(), day.remembered) == ("2", [{"name": ONE}])
    day.edit(suspend=False)
    await day.until(t("10:17"))
    assert (day.min_scale(), day.remembered) == (None, None)


async def test_a_pool_with_another_target_now_gives_back_what_it_had():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    await day.until(t("10:11"))
    day.kube.put(deployment(replicas=2))
    day.edit(targetRef={"apiVersion": "apps/v1", "kind": "Deployment"})
    await day.look()
    await day.look()
    assert (day.min_scale(), day.remembered) == (None, None)


# --- what it costs ---


async def test_the_services_pods_are_billed_with_their_queue_proxies():
    budget = {"currency": "JPY", "prices": {"cpuHour": "60"}}
    day = KnativeDay(t("10:10"), windows=[WINDOW], budget=budget)
    made = pod("voice-00001-x", labels={SERVICE_LABEL: "voice"}, ready=True)
    made["spec"]["containers"] = [
        {"name": "user", "resources": {"requests": {"cpu": "1"}}},
        {"name": "queue-proxy", "resources": {"requests": {"cpu": "500m"}}},
    ]
    made["status"]["conditions"][0]["lastTransitionTime"] = stamp(t("10:10"))
    day.pods = [made]
    await day.until(t("10:21"))
    assert day.status["cost"]["ratePerHour"] == "90.000000"
    assert Decimal(day.status["cost"]["accrued"]) > Decimal(13)


# --- what people are told ---


async def test_a_service_that_knative_cannot_run_is_said_so():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    day.kube.put(knative_service(ready="False"))
    await day.look()
    ready = day.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "TargetNotReady")
    assert ready["message"].endswith("Because: it says so")
    assert day.kube.called("annotate") == []


async def test_a_floor_above_max_scale_is_said_so():
    day = KnativeDay(t("10:10"), revision(ONE, max_scale="1"), windows=[WINDOW])
    await day.until(t("10:11"))
    assert (day.min_scale(), day.phase) == ("1", "Warming")
    assert day.condition("FloorLimited")["reason"] == "MaxScale"
    assert "FloorLimited" in day.events


async def test_a_knative_that_does_not_follow_is_said_so():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    day._knative = lambda: None
    await day.until(t("10:11"))
    assert "older than Serving 1.21" in day.condition("Ready")["message"]


async def test_an_asleep_pool_is_healthy_without_any_activator_of_ours():
    day = KnativeDay(t("09:00"))
    await day.look()
    assert (day.phase, day.condition("Ready")["status"]) == ("Asleep", "True")
    assert day.status["route"] == {"target": "Native", "epoch": 0}


async def test_a_service_that_is_not_there_is_named():
    day = KnativeDay(t("09:00"))
    day.kube.remove("Service", "voice")
    await day.look()
    accepted = day.condition("Accepted")
    assert accepted["reason"] == "TargetNotFound"
    assert "no Knative Service voice in namespace demo" in accepted["message"]


async def test_a_second_pool_for_the_same_service_is_refused_and_a_deployments_is_not():
    day = KnativeDay(t("09:00"))
    day.kube.put(knative_pool("zz"))
    day.kube.put(warm_pool("aa", targetRef=warm_pool()["spec"]["targetRef"]))
    day.kube.put(deployment())
    day.watch()
    for name in ("voice", "zz", "aa"):
        await day.reconciler.look(("demo", name))
    reasons = {
        p["metadata"]["name"]: p["status"]["conditions"][0]["reason"]
        for p in day.kube.all("WarmPool")
    }
    assert reasons == {"voice": "Accepted", "zz": "TargetClaimed", "aa": "Accepted"}


async def test_without_knative_a_pool_is_told_what_is_missing():
    day = KnativeDay(t("09:00"))
    day.watch()
    day.world.knative.synced, day.world.knative.why_absent = False, "there is none"
    await day.reconciler.look(VOICE)
    accepted = day.condition("Accepted")
    assert (accepted["reason"], accepted["message"]) == ("KnativeNotFound", "there is none")


async def test_no_pool_is_judged_before_it_is_known_whether_knative_is_there():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    day.watch()
    day.world.knative.synced = False
    assert await day.reconciler.look(VOICE) == day.now + RETRY
    assert day.kube.writes == []


def test_the_activator_publishes_nothing_for_it():
    accepted = {"conditions": [{"type": "Accepted", "status": "True"}]}
    assert wants_slice(pool_view(warm_pool(status=accepted)), 0, 0, published=False)
    assert not wants_slice(pool_view(knative_pool(status=accepted)), 0, 0, published=False)


# --- a deleted pool ---


KEPT = {"knative": {"revisions": [{"name": ONE, "minScale": "1"}, {"name": "gone"}]}}


def annotation(kube):
    return kube.stored("Revision", ONE)["metadata"]["annotations"][MIN_SCALE]


async def test_the_revisions_of_a_deleted_pool_get_their_min_scale_back():
    kube = FakeKube(revision(ONE, min_scale="5"))
    await restore(kube, NAMESPACE, entry_of(knative_pool(status=KEPT)))
    assert annotation(kube) == "1"
    assert kube.called("put_scale") == []


async def test_those_of_a_pool_that_keeps_stay_as_they_are():
    kube = FakeKube(revision(ONE, min_scale="5"))
    await restore(kube, NAMESPACE, entry_of(knative_pool(status=KEPT, onDelete="Keep")))
    assert annotation(kube) == "5"


async def test_a_revision_that_changes_meanwhile_gets_it_back_all_the_same():
    kube = FakeKube(revision(ONE, min_scale="5"))
    conflicts = iter(range(3))

    def conflict(*_):
        for _number in conflicts:
            raise ConflictError("modified")

    kube.on("annotate", conflict)
    await restore(kube, NAMESPACE, entry_of(knative_pool(status=KEPT)))
    assert annotation(kube) == "1"


async def test_what_cannot_be_put_back_is_said_with_the_names(monkeypatch, caplog):
    kube = FakeKube(revision(ONE, min_scale="5"))
    monkeypatch.setattr(restore_module, "_PAUSE", 0.001)
    kube.down = True
    await restore(kube, NAMESPACE, entry_of(knative_pool(status=KEPT)))
    assert ONE in caplog.records[-1].getMessage()


# --- is Knative there? ---


@pytest.fixture
async def watching(monkeypatch):
    monkeypatch.setattr(watch_module, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(watch_module, "EXPECTED_EVERY", 0.01)
    tasks = []

    def begin(kube, runtime=Runtime.AUTO):
        world, touched = World(), []
        world.keep_pool(knative_pool())
        watch = KnativeWatch(kube, world, ["demo"], touched.append, runtime)
        tasks.append(asyncio.create_task(watch.run()))
        return world, touched

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_there_is_of_knative_is_watched(watching):
    kube = FakeKube(knative_service(**{ONE: 100}), revision(ONE))
    world, touched = watching(kube)
    assert world.knative.is_unknown
    await eventually(lambda: world.knative.synced)
    assert list(world.knative.services) == [VOICE]
    assert list(world.knative.revisions_in("demo")) == [ONE]
    assert set(touched) == {VOICE}
    touched.clear()

    kube.edit("Revision", ONE, status={"actualReplicas": 4})
    await eventually(lambda: world.knative.revisions_in("demo")[ONE].actual == 4)
    kube.put(revision("other-00001", of="other"))
    kube.edit("Service", "voice", metadata={"labels": {"a": "b"}})
    kube.remove("Revision", ONE)
    await eventually(lambda: ONE not in world.knative.revisions_in("demo"))
    assert touched == [VOICE] * 3


async def test_what_watching_knative_fails_with_is_told(monkeypatch):
    async def fail(_):
        raise ValueError("nobody foresaw this")

    monkeypatch.setattr(KnativeWatch, "_watch", fail)
    kube = FakeKube(knative_service(**{ONE: 100}))
    watch = KnativeWatch(kube, World(), ["demo"], lambda _: None, Runtime.AUTO)
    with pytest.raises(ValueError, match="nobody foresaw this"):
        await watch.run()


async def test_a_watch_that_lags_does_not_bring_an_older_version_back(watching):
    world, _ = watching(FakeKube())
    newer, older = revision(ONE, min_scale="2"), revision(ONE)
    newer["metadata"]["resourceVersion"] = "9"
    world.knative.keep_revision(newer)
    world.knative.keep_revision(older)
    assert world.knative.revisions_in("demo")[ONE].min_scale == "2"


async def test_knative_that_is_installed_later_is_found_and_removed_later_missed(watching):
    kube = FakeKube(knative_service(**{ONE: 100}))
    kube.has_knative = False
    world, touched = watching(kube)
    await eventually(lambda: "has no Knative Serving" in world.knative.why_absent)
    assert touched == [VOICE]
    kube.has_knative = True
    await eventually(lambda: world.knative.synced)
    assert world.knative.why_absent == ""
    kube.has_knative = False
    await eventually(lambda: not world.knative.synced)
    assert world.knative.services == {}


async def test_an_api_server_that_is_away_says_nothing_about_knative(watching):
    kube = FakeKube()
    kube.down = True
    world, _ = watching(kube)
    await eventually(lambda: len(kube.calls) > 3)
    assert world.knative.is_unknown
    kube.down = False
    await eventually(lambda: world.knative.synced)


async def test_a_native_operator_never_looks(watching):
    kube = FakeKube()
    world, _ = watching(kube, Runtime.NATIVE)
    await eventually(lambda: "chart value runtime" in world.knative.why_absent)
    assert kube.calls == []


async def test_where_it_is_expected_its_absence_is_worth_a_warning(watching, caplog):
    kube = FakeKube()
    kube.has_knative = False
    watching(kube, Runtime.KNATIVE)
    await eventually(lambda: any("is expected here" in r.getMessage() for r in caplog.records))


def test_looks_are_five_minutes_apart():
    assert timedelta(seconds=watch_module.LOOK_EVERY) == 5 * MINUTE


async def test_a_pool_that_waits_for_knative_has_it_looked_for_sooner(watching, monkeypatch):
    monkeypatch.setattr(watch_module, "LOOK_EVERY", 3600.0)
    monkeypatch.setattr(watch_module, "WAITED_FOR_EVERY", 0.01)
    kube = FakeKube(knative_service(**{ONE: 100}))
    kube.has_knative = False
    world, _ = watching(kube)
    await eventually(lambda: "has no Knative Serving" in world.knative.why_absent)
    kube.has_knative = True
    await eventually(lambda: world.knative.synced)
