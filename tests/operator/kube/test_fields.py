"""What is kept of a listed object: the fields that are used, of a bounded size."""

import json

from rows import each

from kotatsu_operator.core.protocol import REHEARSAL_ANNOTATION
from kotatsu_operator.kube.objects import (
    LONGEST,
    MOST_ITEMS,
    Deployment,
    HorizontalPodAutoscaler,
    Pod,
    Service,
    WarmPool,
    used,
)
from tests.operator.cluster import (
    deployment,
    horizontal_pod_autoscaler,
    pod,
    service,
    warm_pool,
)

LARGE = "x" * 250_000


KINDS = [
    (WarmPool, warm_pool()),
    (Pod, pod("voice-1")),
    (Service, service()),
    (HorizontalPodAutoscaler, horizontal_pod_autoscaler()),
]


@each("kind, obj", KINDS, name=lambda value: getattr(value, "__name__", ""))
def test_no_metadata_of_others_is_kept(kind, obj):
    meta = {
        **obj["metadata"],
        "annotations": {"of/others": LARGE, REHEARSAL_ANNOTATION: LARGE},
        "finalizers": [LARGE],
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:metadata": {LARGE: {}}}}],
        "labels": {"of/others": LARGE},
        "ownerReferences": [{"kind": "Set", "name": "a", "blockOwnerDeletion": LARGE}],
    }
    status = {"of others": LARGE, "conditions": [{"type": "Ready", "status": "True", "x": LARGE}]}
    kept = used(kind, {**obj, "metadata": meta, **({} if kind is WarmPool else {"status": status})})
    assert kept["metadata"]["name"] == obj["metadata"]["name"]
    assert len(json.dumps(kept)) < 2000


def test_what_a_container_runs_is_not_kept():
    obj = pod("voice-1")
    kept = used(Pod, obj)
    for container in obj["spec"]["containers"]:
        container |= {"env": [{"name": "A", "value": LARGE}], "args": [LARGE], "image": LARGE}
    assert used(Pod, obj) == kept


def test_a_field_of_unusual_length_is_left_out_as_if_it_were_absent():
    obj = service()
    obj["spec"]["selector"] = {f"a{n}": "x" * 63 for n in range(LONGEST // 63)}
    kept = used(Service, obj)
    assert "selector" not in kept["spec"]
    assert kept["spec"]["ports"] == obj["spec"]["ports"]


def test_a_list_without_end_is_cut():
    obj = service()
    obj["spec"]["ports"] = [{"port": n} for n in range(3 * MOST_ITEMS)]
    assert len(used(Service, obj)["spec"]["ports"]) == MOST_ITEMS


def test_an_object_that_is_read_into_a_view_at_once_is_whole():
    assert used(Deployment, deployment()) == deployment()


ODD = [None, [], "x", 7, {}, {"spec": None}, {"spec": 7}]


@each("odd", ODD)
def test_an_object_that_is_none_is_cut_without_an_error(odd):
    for kind, _ in KINDS:
        used(kind, odd)
