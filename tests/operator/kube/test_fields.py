"""What is kept of an object: the fields that are used, with one bound for all of them."""

import json
import tracemalloc

import msgspec
import pytest
from rows import each

from kotatsu_operator.core.pool.spec import ScaledKind
from kotatsu_operator.core.protocol import REHEARSAL_ANNOTATION
from kotatsu_operator.kube.fields import MOST_KEPT, used
from kotatsu_operator.kube.objects import (
    Deployment,
    EndpointSlice,
    HorizontalPodAutoscaler,
    Namespace,
    NetworkPolicy,
    Pod,
    Service,
    WarmPool,
    resource_of,
)
from kotatsu_operator.kube.views import pod_view, workload_view
from tests.operator.cluster import deployment, horizontal_pod_autoscaler, pod, service, warm_pool

LARGE = "x" * 250_000
MIB = 2**20

KINDS = [
    (WarmPool, warm_pool()),
    (Pod, pod("voice-1")),
    (Service, service()),
    (HorizontalPodAutoscaler, horizontal_pod_autoscaler()),
    (Deployment, deployment()),
]


@each("kind, obj", KINDS, name=lambda value: getattr(value, "__name__", ""))
def test_no_metadata_of_others_is_kept(kind, obj):
    meta = {
        **obj["metadata"],
        "annotations": {"of/others": LARGE, REHEARSAL_ANNOTATION: "now"},
        "finalizers": [LARGE],
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:metadata": {LARGE: {}}}}],
        "ownerReferences": [{"kind": "Set", "name": "a", "blockOwnerDeletion": LARGE}],
    }
    status = {"of others": LARGE, "conditions": [{"type": "Ready", "status": "True"}]}
    kept = used(kind, {**obj, "metadata": meta, **({} if kind is WarmPool else {"status": status})})
    assert kept["metadata"]["name"] == obj["metadata"]["name"]
    assert kept["spec"]
    assert len(json.dumps(kept)) < 2000


def test_what_a_container_runs_is_not_kept():
    obj = pod("voice-1")
    kept = used(Pod, obj)
    for container in obj["spec"]["containers"]:
        container |= {"env": [{"name": "A", "value": LARGE}], "args": [LARGE], "image": LARGE}
    assert used(Pod, obj) == kept


def test_texts_of_two_objects_that_are_equal_are_one_string_unless_they_are_long():
    """10,000 pools say mostly the same."""

    def messages():
        said = [{"message": text} for text in ("The pods sleep.", "x" * 257)]
        kept = used(WarmPool, {"metadata": {"name": "voice"}, "status": {"conditions": said}})
        return [condition["message"] for condition in kept["status"]["conditions"]]

    (short, long), (equal, other) = messages(), messages()
    assert (short, long) == (equal, other)
    assert (short is equal, long is other) == (True, False)


def test_of_what_is_nested_too_deeply_for_python_the_used_fields_are_kept():
    deep = '{"f:a":' * 9_900 + "{}" + "}" * 9_900
    for kind, obj in KINDS:
        fields = [{"manager": "a", "fieldsV1": {"f:spec": "DEEP"}}]
        data = json.dumps({**obj, "metadata": {**obj["metadata"], "managedFields": fields}})
        kept = used(kind, data.replace('"DEEP"', deep).encode())
        assert kept["spec"] == used(kind, json.dumps(obj).encode())["spec"]


def hostile_pod(**container):
    """A pod as its namespace's owner may write it, in JSON; it is Pending."""
    obj = pod("voice-1")
    obj["spec"]["containers"] = [{"name": "app", **container}]
    return msgspec.json.encode(obj)


def largest(given, keep=used):
    """The most memory that a pod takes while it is read, and what is kept of it, in bytes."""
    keep(Pod, hostile_pod())  # the decoder is made once
    tracemalloc.start()
    try:
        kept = keep(Pod, given)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak, after, kept


def test_nothing_is_made_of_a_field_that_is_not_used():
    given = hostile_pod(env=[{"name": "a"}] * 195_000)
    assert len(given) > 2 * MIB
    peak, kept, _ = largest(given)
    assert peak < MIB / 10
    assert kept < MIB / 100


def probed(headers):
    http = {"port": 80, "httpHeaders": [{"name": "a", "value": "b"}] * headers}
    return {"httpGet": http}


def test_what_is_kept_of_a_pod_with_many_probes_has_a_bound_as_a_whole(caplog):
    obj = pod("voice-1")
    both = dict.fromkeys(("startupProbe", "readinessProbe"), probed(560))
    obj["spec"]["containers"] = [{"name": f"c{n}", **both} for n in range(50)]
    given = json.dumps(obj).encode()
    _, kept, found = largest(given)
    assert kept < MIB / 100
    assert (found["metadata"]["name"], found["spec"]) == ("voice-1", {})
    assert not pod_view(found).ready
    assert "Pod demo/voice-1 counts as empty, because of the fields that are used: it has more" in (
        caplog.text
    )


def test_of_one_that_is_just_within_the_bound_python_needs_a_dozen_times_as_much():
    headers = (MOST_KEPT - 2000) // len('{"name":"a","value":"b"},')
    _, kept, found = largest(hostile_pod(readinessProbe=probed(headers)))
    assert found["spec"]["containers"]
    assert kept < 12 * MOST_KEPT


@each("kind", [Pod, Service, HorizontalPodAutoscaler, Deployment, NetworkPolicy, Namespace])
def test_labels_without_end_leave_only_the_name(kind):
    labels = {f"a{n}": "x" * 63 for n in range(MOST_KEPT // 63)}
    selector = {"matchLabels": labels}
    spec = {"selector": labels if kind is Service else selector, "podSelector": selector}
    spec["scaleTargetRef"] = {"kind": "Deployment", "name": LARGE}
    meta = {"namespace": "demo", "name": "voice", "uid": "1", "labels": labels}
    found = used(kind, {"metadata": meta, "spec": spec})
    rest = {"namespace": "demo", "name": "voice", "uid": "1"}
    assert found == {"metadata": rest, "spec": {}, "status": {}}


def test_a_slice_may_have_as_many_endpoints_as_the_api_server_accepts():
    target = {"kind": "Pod", "namespace": "demo", "name": "x" * 60, "uid": "x" * 36}
    endpoint = {"addresses": ["10.255.255.255"], "nodeName": "x" * 60, "targetRef": target}
    endpoint["conditions"] = {"ready": True, "serving": True, "terminating": False}
    meta = {"namespace": "demo", "name": "voice-1"}
    obj = {"metadata": meta, "addressType": "IPv4", "endpoints": [endpoint] * 1000}
    assert len(used(EndpointSlice, obj)["endpoints"]) == 1000


# --- workloads ---


def test_any_change_of_a_template_changes_its_mark_and_its_fields_stay():
    obj = deployment()
    marks = set()
    for annotations in ({}, {"kubectl.kubernetes.io/restartedAt": "2030-01-01"}, {"a": LARGE}):
        obj["spec"]["template"].setdefault("metadata", {})["annotations"] = annotations
        found = used(Deployment, obj)
        marks.add(workload_view(found).template)
        assert "annotations" not in found["spec"]["template"]["metadata"]
    assert len(marks) == 3
    assert workload_view(found).labels == workload_view(used(Deployment, deployment())).labels


def test_a_further_kind_may_have_anything_in_the_fields_of_a_workload():
    flock = resource_of(ScaledKind("example.org/v1", "Flock", "flocks"))
    meta = {"namespace": "demo", "name": "voice", "uid": "1", "generation": "many"}
    odd = {"metadata": meta, "spec": {"replicas": "two", "selector": 7}, "status": {"replicas": []}}
    assert used(flock, odd) == odd
    for spec in (7, "text", []):
        assert used(flock, {"metadata": meta, "spec": spec})["spec"] == {}
    for template in (None, 7, "text", [], {"spec": 7}, {"metadata": []}):
        workload_view(used(flock, {"metadata": meta, "spec": {"template": template}}), "Flock")


@each("odd", [b"null", b"[]", b'"x"', b"7", b"{}", b'{"metadata": 7}', b"{", b""])
def test_what_is_no_object_is_said_to_be_none(odd):
    for kind, _ in KINDS:
        with pytest.raises(msgspec.MsgspecError):
            used(kind, odd)
