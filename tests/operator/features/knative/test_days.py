"""Pools with a Knative target: what is written, remembered and told while Knative does its part."""

from datetime import timedelta
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry
from rows import each

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.demand import Observer
from kotatsu_operator.controller.reconciler import RETRY, Reconciler
from kotatsu_operator.controller.report import PoolMetrics, Reporter
from kotatsu_operator.controller.target import Tools
from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.spec import NO_PRICES, Platform
from kotatsu_operator.core.report.record import MIN_SCALE
from kotatsu_operator.features.knative.feature import Knative
from kotatsu_operator.features.knative.fields import SERVICE_LABEL
from kotatsu_operator.features.knative.min_scale import Defaults
from kotatsu_operator.features.knative.objects import keep_newer
from kotatsu_operator.kube.errors import ApiError
from tests.operator.cluster import (
    NAMESPACE,
    VOICE,
    FakeKube,
    deployment,
    keep,
    knative_service,
    pod,
    revision,
    served,
    service,
    warm_pool,
)
from tests.operator.core.values import SECOND, once, override, t
from tests.operator.day import Day

pytestmark = pytest.mark.timeout(60)

WINDOW = once("demo", "10:00", "10:15", 2)
ONE, TWO = "voice-00001", "voice-00002"
TAKES = timedelta(seconds=10)


TARGET = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "voice"}


def knative_pool(name="voice", **how):
    return warm_pool(name, targetRef=TARGET, **how)


class KnativeDay(Day):
    """An operator's looks at a pool, with a Knative that follows min-scale within 10 seconds."""

    def __init__(self, now, *revisions, prices=NO_PRICES, **spec):
        objects = knative_pool(**spec), knative_service(**{ONE: 100})
        kube = FakeKube(*objects, *(revisions or (revision(ONE),)))
        super().__init__(now, kube, prices=prices)
        self.requests = 0
        self._changed = {}
        self.restart()

    def restart(self):
        self.registry = CollectorRegistry()
        knative = Knative()
        self.knative = knative.known
        self.cache = Cache(served(), pod_labels={"Service": SERVICE_LABEL})
        self.reconciler = Reconciler(
            Tools(self.kube, Observer(self.cache, self.scraper), lambda: self.now),
            self.cache,
            Reporter(self.kube, self.cache, lambda: self.now, "operator-1"),
            features=[PoolMetrics(self.registry), knative],
            platform=Platform(prices=self.prices),
        )
        return self

    def watch(self):
        self.knative.synced = True
        for kind, kept in (
            ("Service", self.knative.services),
            ("Revision", self.knative.revisions),
        ):
            kept.clear()
            for obj in self.kube.all(kind):
                keep_newer(kept, obj)
        # The Service is Kubernetes' own, for a Deployment of the same name.
        there = *self.kube.all("WarmPool"), *self.kube.all("Deployment"), service(), *self.pods
        keep(self.cache, *there)

    async def until(self, end):
        """Let time pass in steps of a second; the operator looks when it is due or has news."""
        due, known = self.now, None
        while self.now < end:
            self.now += SECOND
            self._knative()
            if self.now >= min(due, end) or self.kube.version != known:
                known = self.kube.version
                due = await self.look() or end

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
            elif status["actualReplicas"] != wanted and self.now >= self._changed[name] + TAKES:
                self.kube.edit("Revision", name, status={"actualReplicas": wanted})

    def min_scale(self, name=ONE):
        return self.kube.stored("Revision", name)["metadata"]["annotations"].get(MIN_SCALE)

    def route_to(self, **traffic):
        self.kube.put(knative_service(**traffic))

    @property
    def remembered(self):
        return (self.status["internal"].get("knative") or {}).get("revisions")


async def in_window(*revisions):
    """A pool a minute after the operator has first looked, in its window."""
    day = KnativeDay(t("10:10"), *revisions, windows=[WINDOW])
    await day.until(t("10:11"))
    return day


# --- a window ---


async def test_the_pods_are_ready_before_the_window_and_the_min_scale_is_back_after_it():
    day = KnativeDay(t("09:58"), revision(ONE, min_scale="1", actual=1), windows=[WINDOW])
    await day.until(t("09:58:40"))
    assert (day.min_scale(), day.remembered) == ("1", None)
    await day.until(t("09:59:30"))
    assert (day.phase, day.status["reason"], day.min_scale()) == ("Warm", "Window", "2")
    assert day.remembered == [{"name": ONE, "minScale": "1", "written": ["2"]}]
    assert day.status["lastOpening"]["early"] > "30s"
    assert day.status["readyReplicas"] == day.status["desiredReplicas"] == 2
    await day.until(t("10:15:02"))
    assert (day.phase, day.min_scale(), day.remembered) == ("Draining", "1", None)


async def test_what_was_there_is_written_down_before_the_revision_is_touched():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    await day.look()
    assert day.kube.writes == ["patch_status", "annotate"]
    assert day.kube.called("patch_status")[0][2]["internal"]["knative"] == {
        "revisions": [{"name": ONE, "written": ["2"]}]
    }


async def test_an_operator_that_ends_before_the_patch_starts_again_where_it_was():
    day = KnativeDay(t("10:10"), revision(ONE, min_scale="1", actual=1), windows=[WINDOW])
    day.kube.on("annotate", KeyboardInterrupt(), 1)
    with pytest.raises(KeyboardInterrupt):
        await day.look()
    await day.restart().until(t("10:11"))
    assert day.min_scale() == "2"
    await day.restart().until(t("10:15:05"))
    assert (day.min_scale(), day.remembered) == ("1", None)


async def test_a_revision_that_changed_meanwhile_is_read_again():
    day = KnativeDay(t("10:10"), windows=[WINDOW])

    def somebody_else(*_):
        day.kube.edit("Revision", ONE, metadata={"labels": {"touched": "yes"}})

    day.kube.on("annotate", somebody_else, 1)
    assert await day.look() == day.now + RETRY
    assert day.min_scale() is None
    await day.look()
    assert day.min_scale() == "2"


async def test_nothing_is_called_while_nothing_changes():
    day = await in_window()
    day.kube.calls.clear()
    await day.until(t("10:14"))
    assert day.kube.calls == []


async def test_the_floor_moves_to_a_new_revision_with_the_traffic():
    day = await in_window()
    day.kube.put(revision(TWO, min_scale="0", actual=1))
    day.route_to(**{ONE: 50, TWO: 50})
    await day.until(t("10:11:05"))
    assert (day.min_scale(ONE), day.min_scale(TWO)) == ("1", "1")
    day.route_to(**{TWO: 100})
    await day.until(t("10:12"))
    assert (day.min_scale(ONE), day.min_scale(TWO)) == (None, "2")
    assert day.remembered == [{"name": TWO, "minScale": "0", "written": ["2"]}]
    assert day.phase == "Warm"
    await day.until(t("10:15:05"))
    assert (day.min_scale(ONE), day.min_scale(TWO), day.remembered) == (None, "0", None)


async def test_a_patched_revision_is_looked_at_again_though_its_own_patch_is_no_news():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    await day.until(t("10:14:59"))
    day.now += SECOND
    again = await day.look()
    assert (day.min_scale(), day.remembered) == (None, [{"name": ONE, "written": ["2"]}])
    assert again == day.now + RETRY
    day.now = again
    assert await day.look() > again + SECOND
    assert day.remembered is None


async def test_a_pool_with_another_target_now_gives_back_what_it_had():
    day = await in_window()
    day.kube.put(deployment(replicas=2))
    await day.edit(targetRef={"apiVersion": "apps/v1", "kind": "Deployment"}).look()
    await day.look()
    assert (day.min_scale(), day.remembered) == (None, None)


# --- only what is the pool's is taken back ---


def annotate(day, value, name=ONE):
    day.kube.edit("Revision", name, metadata={"annotations": {MIN_SCALE: value}})


@each("theirs", ["1", "5", None])
async def test_a_min_scale_that_others_set_during_a_window_is_there_after_it(theirs):
    day = await in_window(revision(ONE, min_scale="0"))
    annotate(day, theirs)
    await day.until(t("10:12"))
    assert day.min_scale() == ("5" if theirs == "5" else "2")
    await day.until(t("10:16"))
    assert (day.min_scale(), day.remembered) == (theirs, None)


@pytest.mark.parametrize("theirs", [None, "4"])
async def test_a_suspended_pool_writes_nothing_and_later_takes_back_only_its_own(theirs):
    day = await in_window()
    await day.edit(suspend=True).until(t("10:12"))
    if theirs:
        annotate(day, theirs)
    await day.until(t("10:20"))
    assert (day.min_scale(), day.remembered) == (theirs or "2", [{"name": ONE, "written": ["2"]}])
    await day.edit(suspend=False).until(t("10:21"))
    assert (day.min_scale(), day.remembered) == (theirs, None)


async def test_a_revision_made_anew_keeps_the_min_scale_of_its_own_template():
    first, second = revision(ONE), revision(ONE, min_scale="2")
    first["metadata"]["uid"], second["metadata"]["uid"] = "first", "second"
    day = await in_window(first)
    assert day.remembered == [{"name": ONE, "written": ["2"], "uid": "first"}]
    day.kube.put(second)
    await day.until(t("10:16"))
    assert (day.min_scale(), day.remembered) == ("2", None)


async def test_a_watch_that_lags_makes_no_original_of_what_the_pool_has_set():
    day = await in_window()
    old = day.kube.stored("Revision", ONE)
    await day.edit(windows=[once("demo", "10:00", "10:15", 3)]).until(t("10:12"))
    day.restart()
    day.watch()
    day.knative.revisions[NAMESPACE, ONE] = old
    day.kube.edit("WarmPool", "voice", status={"internal": {"knative": {"revisions": [
        {"name": ONE, "written": ["3"]}
    ]}}})  # fmt: skip
    day.cache.keep_pool(day.kube.stored("WarmPool", "voice"))
    await day.reconciler.reconcile(VOICE)
    assert day.remembered == [{"name": ONE, "written": ["3"]}]
    await day.until(t("10:16"))
    assert (day.min_scale(), day.remembered) == (None, None)


# --- what Knative allows, and what it does by itself ---


async def test_a_floor_below_the_clusters_default_lowers_nothing():
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    day.knative.defaults = Defaults(min_scale=3)
    await day.until(t("10:14"))
    assert (day.min_scale(), day.remembered) == (None, None)
    assert day.kube.called("annotate") == []


async def test_defaults_that_cannot_be_read_are_said_so():
    day = KnativeDay(t("09:00"))
    day.knative.why_no_defaults = "the operator cannot read them"
    await day.look()
    accepted = day.condition("Accepted")
    assert (accepted["status"], accepted["reason"]) == ("True", "DefaultsUnknown")
    assert accepted["message"] == "the spec is in effect, but the operator cannot read them"


def policy(annotations):
    """An admission webhook of the cluster's own, which the operator cannot foresee."""
    return "no min-scale on Fridays" if annotations.get(MIN_SCALE) else ""


async def test_what_a_webhook_refuses_is_said_in_its_words_and_tried_ever_less_often():
    day = KnativeDay(t("10:10"), override=override("Warm", t("12:00"), replicas=2))
    day.kube.refuses = policy
    day.requests = 2  # enough pods for the floor, but for as long as Knative likes
    await day.until(t("10:15"))
    assert 5 <= len(day.kube.called("annotate")) <= 10
    assert day.phase == "Warming"
    words = "min-scale 2 of Revision voice-00001: no min-scale on Fridays"
    for told in (day.condition("Ready"), day.condition("Warm")):
        assert (told["status"], told["reason"]) == ("False", "FloorRefused")
        assert told["message"].endswith(words)
    assert day.condition("ReplicasKept")["reason"] == "FloorRefused"
    assert day.events.count("FloorRefused") == 1
    day.kube.refuses = lambda _: ""
    await day.until(t("10:16:30"))
    assert (day.min_scale(), day.phase) == ("2", "Warm")
    assert day.condition("ReplicasKept")["status"] == "True"
    assert day.events.count("ReplicasKept") == 1


async def test_another_floor_is_tried_at_once_though_the_last_one_was_refused():
    day = KnativeDay(t("10:10"), override=override("Warm", t("12:00"), replicas=5))
    day.kube.refuses = lambda annotations: "too many" if annotations[MIN_SCALE] == "5" else ""
    await day.until(t("10:11"))
    await day.edit(override=override("Warm", t("12:00"), replicas=4)).until(t("10:11:02"))
    assert day.min_scale() == "4"


async def test_a_lower_floor_that_is_refused_leaves_the_pool_warm():
    day = KnativeDay(t("10:10"), override=override("Warm", t("12:00"), replicas=5))
    await day.until(t("10:11"))
    day.kube.refuses = lambda annotations: "no change today"
    await day.edit(override=override("Warm", t("12:00"), replicas=3)).until(t("10:12"))
    assert (day.min_scale(), day.phase, day.condition("Warm")["status"]) == ("5", "Warm", "True")
    assert "no change today" in day.condition("ReplicasKept")["message"]


@each("code", [401, 408, 429, 500])
async def test_a_refusal_that_says_nothing_about_what_is_written_is_no_condition(code):
    day = KnativeDay(t("10:10"), windows=[WINDOW])
    day.kube.on("annotate", ApiError(code, "not now"))
    with pytest.raises(ApiError):
        await day.look()
    assert day.knative.refused == {}


async def test_the_services_pods_are_billed_with_their_queue_proxies():
    prices = parse_table({"currency": "JPY", "cpuHour": "60"})
    day = KnativeDay(t("10:10"), windows=[WINDOW], prices=prices)
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
