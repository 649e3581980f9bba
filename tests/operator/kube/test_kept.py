"""What a namespace fills a cache with is bounded by what its objects have as JSON, or less."""

import gc
import json
import tracemalloc

import msgspec
import pytest

from kotatsu_operator.activator.namespace import View
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.kube.fields import used
from kotatsu_operator.kube.informer import MOST_LABELS, Pods
from kotatsu_operator.kube.objects import EndpointSlice, Pod
from kotatsu_operator.kube.views import pod_view
from tests.operator.cluster import (
    deployment,
    native_slice,
    pod,
    pool_view,
    published,
    served,
    service,
)

PODS, LABELS = 20, 1_800
SLICES, ENDPOINTS = 10, 1_000


def large_pods():
    """Pods of the app `voice`, as JSON. No two have a label with the same value but `app`."""
    for n in range(PODS):
        labels = {"app": "voice", **{f"l{i}": f"{n}x{i}" for i in range(LABELS)}}
        yield json.dumps(pod(f"voice-{n}", labels=labels), separators=(",", ":")).encode()


def large_slices():
    """Slices of other controllers, as JSON."""
    for n in range(SLICES):
        made = native_slice(of="voice")
        made["metadata"]["name"] = f"voice-{n}"
        made["endpoints"] = [
            {
                "addresses": [f"10.{n}.{i // 250}.{i % 250}"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"node-{i}",
                "targetRef": {"kind": "Pod", "name": f"voice-{n}-{i}", "uid": f"uid-{n}-{i}"},
            }
            for i in range(ENDPOINTS)
        ]
        yield json.dumps(made, separators=(",", ":")).encode()


def filled(kind, given, keep):
    """How many bytes a cache grows by with these objects, for each byte that they have as JSON."""
    half = len(given) // 2
    tracemalloc.start()
    try:
        sizes = []
        # The texts that all objects share are as many after each half.
        for part in (given[:half], given[half:]):
            for data in part:
                keep(used(kind, data))
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return (sizes[1] - sizes[0]) / sum(map(len, given[half:]))


def operators():
    """The cache of an operator, with a workload whose selector it has used."""
    cache = Cache(served())
    cache.keep_workload("Deployment", deployment("voice"))
    cache.target_pods("demo", {"matchLabels": {"app": "voice"}})
    return cache, cache.keep_pod, cache.keep_slice


def activators():
    """The same of an activator."""
    view = View(read=pool_view)
    view.on_change("Service")("ADDED", service())
    view.pods.selected_by({"matchLabels": {"app": "voice"}})

    def shown(kind):
        return lambda obj: view.on_change(kind)("ADDED", obj)

    return view, shown("Pod"), shown("EndpointSlice")


both = pytest.mark.parametrize("made", [operators, activators])


@both
def test_labels_that_no_selector_names_take_no_more_than_their_json(made):
    _cache, keep_pod, _ = made()
    assert filled(Pod, list(large_pods()), keep_pod) < 2


@both
def test_of_endpoints_of_other_controllers_eight_bytes_are_kept(made):
    _cache, _, keep_slice = made()
    assert filled(EndpointSlice, list(large_slices()), keep_slice) < 0.2


def test_a_slice_that_says_it_is_an_activators_is_kept_up_to_32_kib():
    small, large = published("activator-1", 1), published("activator-2", 1)
    large["endpoints"] *= 300
    assert used(EndpointSlice, small)["endpoints"]
    assert "endpoints" not in used(EndpointSlice, large)
    large["metadata"]["labels"] = native_slice()["metadata"]["labels"]
    assert len(used(EndpointSlice, large)["endpoints"]) == 300


# --- found by labels ---


def pods_of(*labels):
    found = Pods()
    for number, given in enumerate(labels):
        found[f"pod-{number}"] = pod_view(pod(f"pod-{number}", labels=given))
    return found


def names(found, selector):
    return [one.key[1] for one in found.selected_by(selector)]


def expression(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def test_pods_that_were_there_first_are_found_by_a_label_that_is_asked_for_later():
    found = pods_of({"app": "web", "tier": "front"}, {"app": "web"}, {})
    assert names(found, {"matchLabels": {"app": "web"}}) == ["pod-0", "pod-1"]
    assert names(found, {"matchLabels": {"tier": "front"}}) == ["pod-0"]
    assert names(found, {"matchLabels": {"app": "web", "tier": "front"}}) == ["pod-0"]
    assert names(found, expression("tier", "Exists")) == ["pod-0"]
    assert names(found, expression("zone", "DoesNotExist")) == ["pod-0", "pod-1", "pod-2"]
    assert names(found, expression("app", "NotIn", "web")) == ["pod-2"]


def test_a_pod_that_gets_or_loses_an_asked_label_is_found_by_what_it_has_now():
    found = pods_of({"app": "web"}, {})
    by = {"matchLabels": {"app": "web"}}
    assert names(found, by) == ["pod-0"]
    found["pod-0"] = pod_view(pod("pod-0", labels={"app": "db"}))
    found["pod-1"] = pod_view(pod("pod-1", labels={"app": "web"}))
    assert names(found, by) == ["pod-1"]
    del found["pod-1"]
    assert names(found, by) == []


def test_pods_are_found_also_by_more_labels_than_they_are_indexed_by():
    many = {f"l{n}": "x" for n in range(2 * MOST_LABELS)}
    found = pods_of(many, many | {f"l{2 * MOST_LABELS - 1}": "y"}, {"late": "x"})
    assert names(found, {"matchLabels": many}) == ["pod-0"]
    assert names(found, {"matchLabels": {"late": "x"}}) == ["pod-2"]
    assert names(found, expression("late", "DoesNotExist")) == ["pod-0", "pod-1"]


def test_pods_are_indexed_by_the_labels_that_selectors_ask_for_alone():
    found = pods_of({f"l{n}": "x" for n in range(100)})
    assert found.count(("l7", "x")) == 0
    assert names(found, {"matchLabels": {"l7": "x"}}) == ["pod-0"]
    assert found.terms("pod-0") == (("l7", "x"),)


def test_labels_are_kept_as_they_are():
    given = {"app": "wäb", "a/b": ""}
    assert pod_view(pod(labels=given)).labels == given
    assert msgspec.json.decode(pod_view(pod(labels={})).packed) == {}
