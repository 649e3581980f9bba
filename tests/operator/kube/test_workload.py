"""Reading workloads of any kind: what their status counts, and which pods they select."""

from rows import each

from kotatsu_operator.core.objects import workload_selector
from kotatsu_operator.kube.objects import parts, ref
from kotatsu_operator.kube.views import ready_of_template
from tests.operator.cluster import deployment


def workload(**status):
    made = deployment(replicas=2)
    made["metadata"]["generation"] = 3
    return made | {"status": status}


@each(
    "why, kind, status, ready",
    [
        ("all", "Deployment", {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}, 2),
        ("generation as text", "Deployment",
         {"observedGeneration": "3", "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1}, 1),
        ("older", "Deployment",
         {"observedGeneration": "2", "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}, 0),
        ("no number", "Deployment",
         {"observedGeneration": "x", "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}, 0),
        ("rolling", "Deployment", {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 2}, 0),
        ("none yet", "Deployment", {}, 0),
        # As Argo Rollouts 1.10.1 wrote them: it leaves out counts of 0.
        ("asleep", "Rollout", {}, 0),
        ("wakes", "Rollout", {"replicas": 1, "updatedReplicas": 1}, 0),
        ("wakes as before an abort", "Rollout", {"replicas": 1}, 0),
        ("aborted: proven by others", "Rollout", {"replicas": 1, "readyReplicas": 1}, 0),
        ("a step of a canary", "Rollout",
         {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 2}, 0),
        ("promoted", "Rollout", {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, 1),
    ],
)  # fmt: skip
def test_ready_pods_of_the_template_are_what_the_status_counts(why, kind, status, ready):
    seen = {"observedGeneration": "3" if kind == "Rollout" else 3} | status
    assert ready_of_template(workload(**seen), kind) == ready, why


def test_a_further_kind_need_not_count_its_pods():
    assert ready_of_template(workload(phase="Healthy"), "Fleet") is None
    counted = workload(observedGeneration=3, replicas=1, updatedReplicas=1, readyReplicas=1)
    assert ready_of_template(counted, "Fleet") == 1


@each(
    "text, labels",
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
