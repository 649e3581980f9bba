"""Reading workloads of any kind: what their status counts, and which pods they select."""

import pytest

from kotatsu_operator.core.objects import workload_selector
from kotatsu_operator.kube.objects import parts, ref
from kotatsu_operator.kube.workload import ready_of_template
from tests.operator.cluster import deployment


def workload(**status):
    made = deployment(replicas=2)
    made["metadata"]["generation"] = 3
    return made | {"status": status}


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}, 2),
        ({"observedGeneration": "3", "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1}, 1),
        ({"observedGeneration": "2", "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}, 0),
        ({"observedGeneration": "x", "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}, 0),
        ({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 2}, 0),
        ({"observedGeneration": 3}, 0),
    ],
    ids=["all", "generation as text", "older", "no number", "rolling", "none yet"],
)
def test_ready_pods_of_the_template_are_what_the_status_counts(status, ready):
    assert ready_of_template(workload(**status)) == ready


def test_a_further_kind_need_not_count_its_pods():
    assert ready_of_template(workload(phase="Healthy"), "Fleet") is None
    counted = workload(observedGeneration=3, replicas=1, updatedReplicas=1, readyReplicas=1)
    assert ready_of_template(counted, "Fleet") == 1


@pytest.mark.parametrize(
    ("counts", "ready"),
    [
        ({}, 0),
        ({"replicas": 1, "updatedReplicas": 1}, 0),
        ({"replicas": 1}, 0),
        ({"replicas": 1, "readyReplicas": 1}, 0),
        ({"replicas": 2, "updatedReplicas": 1, "readyReplicas": 2}, 0),
        ({"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, 1),
    ],
    ids=[
        "asleep",
        "wakes",
        "wakes as before an abort",
        "aborted",
        "a step of a canary",
        "promoted",
    ],
)
def test_argo_leaves_out_counts_of_0(counts, ready):
    """As Argo Rollouts 1.10.1 wrote them: a revision that was aborted is not proven by others."""
    assert ready_of_template(workload(observedGeneration="3", **counts), "Rollout") == ready


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("app=web", {"app": "web"}),
        ("app=web,tier==front", {"app": "web", "tier": "front"}),
        ("app=", {"app": ""}),
        ("app in (a)", None),
        ("!app", None),
        ("app=web,tier!=db", None),
        ("", None),
        (7, None),
    ],
)
def test_a_selector_in_text_form_is_read_if_it_asks_for_values_alone(text, labels):
    made = workload(selector=text)
    del made["spec"]["selector"]
    assert workload_selector(made) == ({} if labels is None else {"matchLabels": labels})


def test_a_workload_has_one_name_among_all_kinds():
    assert [ref("Deployment", "web"), ref("Rollout", "web")] == ["web", "Rollout/web"]
    assert [parts("web"), parts("Rollout/web")] == [("Deployment", "web"), ("Rollout", "web")]
