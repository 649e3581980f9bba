"""Knative is watched while it is installed, and looked for while it is not."""

import asyncio

import pytest

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.namespaces import Namespaces
from kotatsu_operator.features.knative import feature
from kotatsu_operator.features.knative.feature import Knative
from kotatsu_operator.features.knative.min_scale import Defaults
from kotatsu_operator.features.knative.objects import keep_newer
from kotatsu_operator.kube.errors import ApiError, NotFoundError
from kotatsu_operator.runtime.settings import Runtime
from tests.operator.cluster import (
    VOICE,
    FakeKube,
    eventually,
    knative_service,
    revision,
    served,
)
from tests.operator.features.knative.test_days import ONE, knative_pool

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def watching(monkeypatch):
    monkeypatch.setattr(feature, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(feature, "EXPECTED_EVERY", 0.01)
    tasks = []

    def begin(kube, runtime=Runtime.AUTO, knative_namespace=""):
        cache, knative, touched = Cache(served()), Knative(runtime, knative_namespace), []
        cache.keep_pool(knative_pool())
        there = Namespaces(cache, touched.append)
        watch = knative.watch(kube, there, cache, touched.append)
        tasks.append(asyncio.create_task(watch))
        return knative.known, touched

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_there_is_of_knative_is_watched(watching):
    kube = FakeKube(knative_service(**{ONE: 100}), revision(ONE))
    knative, touched = watching(kube)
    assert knative.is_unknown
    await eventually(lambda: knative.synced)
    assert list(knative.services) == [VOICE]
    assert list(knative.revisions_in("demo")) == [ONE]
    assert set(touched) == {VOICE}
    touched.clear()

    kube.edit("Revision", ONE, status={"actualReplicas": 4})
    await eventually(lambda: knative.revisions_in("demo")[ONE].actual == 4)
    kube.put(revision("other-00001", of="other"))
    kube.edit("Service", "voice", metadata={"labels": {"a": "b"}})
    kube.remove("Revision", ONE)
    await eventually(lambda: ONE not in knative.revisions_in("demo"))
    assert touched == [VOICE] * 3


async def test_what_watching_knative_fails_with_is_told():
    kube = FakeKube(knative_service(**{ONE: 100}))
    kube.on("follow", ValueError("nobody foresaw this"))
    cache = Cache(served())
    there = Namespaces(cache, lambda _: None)
    with pytest.raises(ExceptionGroup) as raised:
        await Knative().watch(kube, there, cache, lambda _: None)
    assert raised.group_contains(ValueError, match="nobody foresaw this")


async def test_a_watch_that_lags_does_not_bring_an_older_version_back(watching):
    knative, _ = watching(FakeKube())
    newer, older = revision(ONE, min_scale="2"), revision(ONE)
    newer["metadata"]["resourceVersion"] = "9"
    keep_newer(knative.revisions, newer)
    keep_newer(knative.revisions, older)
    assert knative.revisions_in("demo")[ONE].min_scale == "2"


async def test_knative_that_is_installed_later_is_found_and_removed_later_missed(watching):
    kube = FakeKube(knative_service(**{ONE: 100}))
    kube.has_knative = False
    knative, touched = watching(kube)
    await eventually(lambda: "has no Knative Serving" in knative.why_absent)
    assert touched == [VOICE]
    kube.has_knative = True
    await eventually(lambda: knative.synced)
    assert knative.why_absent == ""
    kube.has_knative = False
    await eventually(lambda: not knative.synced)
    assert knative.services == {}


CONFIG = {
    "kind": "ConfigMap",
    "metadata": {"name": "config-autoscaler", "namespace": "knative-serving"},
    "data": {"min-scale": "2", "max-scale": "7"},
}


async def test_as_knative_goes_it_is_said_once_and_looked_for_at_the_usual_times(
    watching, caplog, monkeypatch
):
    monkeypatch.setattr(feature, "LOOK_EVERY", 3600.0)
    monkeypatch.setattr(feature, "WAITED_FOR_EVERY", 3600.0)
    kube = FakeKube(knative_service(**{ONE: 100}), revision(ONE), CONFIG)
    knative, _ = watching(kube, knative_namespace="knative-serving")
    await eventually(lambda: knative.synced)
    kube.has_knative = False
    kube.remove("Revision", ONE)
    await eventually(lambda: knative.why_absent)
    assert knative.services == {}
    asked = len(kube.called("follow", "serves"))
    await asyncio.sleep(0.3)
    assert len(kube.called("follow", "serves")) == asked
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert said == ["Knative Serving was removed; the operator checks for it from time to time"]


async def test_an_api_server_that_does_not_serve_everything_yet_is_asked_again(watching):
    kube = FakeKube(knative_service(**{ONE: 100}), revision(ONE))
    kube.on("follow", NotFoundError("404 page not found"), 1)
    knative, _ = watching(kube)
    await eventually(lambda: knative.synced)
    assert knative.why_absent == ""


async def test_knatives_defaults_are_read_from_where_the_chart_says_and_followed(watching):
    kube = FakeKube(CONFIG)
    knative, touched = watching(kube, knative_namespace="knative-serving")
    await eventually(lambda: knative.synced)
    assert (knative.defaults, knative.why_no_defaults) == (Defaults(2, 7), "")
    touched.clear()
    kube.edit("ConfigMap", "knative-serving/config-autoscaler", data={"min-scale": "4"})
    await eventually(lambda: knative.defaults == Defaults(4, 7))
    assert touched == [VOICE]


async def test_without_the_right_to_read_them_it_is_said_once_what_that_means(watching, caplog):
    denied = "it has no permission", "may not get configmaps"
    for namespace, why in zip(("", "knative-serving"), denied, strict=True):
        caplog.clear()
        kube = FakeKube()
        kube.on("get", ApiError(403, "may not get configmaps"))
        knative, _ = watching(kube, knative_namespace=namespace)
        await eventually(lambda kube=kube: len(kube.called("serves")) > 8)
        assert knative.synced
        assert knative.defaults == Defaults()
        assert why in knative.why_no_defaults
        assert len([r for r in caplog.records if "defaults" in r.getMessage()]) == 1
        assert bool(kube.called("get")) == bool(namespace)


async def test_an_api_server_that_is_away_says_nothing_about_knative(watching):
    kube = FakeKube()
    kube.down = True
    knative, _ = watching(kube)
    await eventually(lambda: len(kube.calls) > 3)
    assert knative.is_unknown
    kube.down = False
    await eventually(lambda: knative.synced)


async def test_a_native_operator_never_looks(watching):
    kube = FakeKube()
    knative, _ = watching(kube, Runtime.NATIVE)
    await eventually(lambda: "chart value knative.enabled" in knative.why_absent)
    assert kube.calls == []


async def test_where_it_is_expected_its_absence_is_worth_a_warning(watching, caplog):
    kube = FakeKube()
    kube.has_knative = False
    watching(kube, Runtime.KNATIVE)
    await eventually(lambda: "is expected (knative.enabled is true)" in caplog.text)


async def test_a_pool_that_waits_for_knative_has_it_looked_for_sooner(watching, monkeypatch):
    monkeypatch.setattr(feature, "LOOK_EVERY", 3600.0)
    monkeypatch.setattr(feature, "WAITED_FOR_EVERY", 0.01)
    kube = FakeKube(knative_service(**{ONE: 100}))
    kube.has_knative = False
    knative, _ = watching(kube)
    await eventually(lambda: "has no Knative Serving" in knative.why_absent)
    kube.has_knative = True
    await eventually(lambda: knative.synced)
