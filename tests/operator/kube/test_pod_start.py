"""The times of a pod's start, as the scheduler and the kubelet write them."""

import pytest

from kotatsu_operator.core.pool.decision import PodStart, Starting
from kotatsu_operator.kube.fields import used
from kotatsu_operator.kube.objects import Pod
from kotatsu_operator.kube.views import pod_view, starting_pods
from tests.operator.cluster import pod
from tests.operator.core.values import t


def stamped(clock):
    return f"2026-11-25T{clock}Z"


def started(*conditions, containers=(), **how):
    """A pod with these conditions, given as (type, clock), and container statuses."""
    made = pod(**how)
    made["status"]["conditions"] = [
        {"type": kind, "status": "True", "lastTransitionTime": stamped(clock)}
        for kind, clock in conditions
    ]
    made["status"]["containerStatuses"] = list(containers)
    return made


def running(clock, **last):
    return {"state": {"running": {"startedAt": stamped(clock)}}, "lastState": last}


REPORTED = (
    ("PodScheduled", "10:01:30"),
    ("PodReadyToStartContainers", "10:01:32"),
    ("Ready", "10:01:50"),
)


def test_a_start_is_read_from_conditions_and_container_states():
    view = pod_view(started(*REPORTED, containers=[running("10:01:45")]))
    assert view.start == PodStart(t("10:01:30"), t("10:01:32"), t("10:01:45"), t("10:01:50"), "")


def test_of_a_container_that_was_restarted_the_first_start_that_is_known_counts():
    crashed = {"terminated": {"startedAt": stamped("10:01:40"), "exitCode": 1}}
    view = pod_view(started(*REPORTED, containers=[running("10:01:48", **crashed)]))
    assert view.start.started_at == t("10:01:40")


def test_a_pod_has_started_when_all_its_containers_have():
    made = started(*REPORTED, containers=[running("10:01:45")])
    made["spec"]["containers"].append({"name": "second"})
    assert pod_view(made).start.started_at is None


def unschedulable(message, reason="Unschedulable"):
    made = pod(phase="Pending")
    made["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    ]
    return made


def test_the_schedulers_message_is_kept_of_a_pod_without_a_node():
    views = [pod_view(unschedulable("0/3 nodes are available")), pod_view(pod(ready=True))]
    found = starting_pods(views)
    assert (found.waiting, found.no_node) == (1, "0/3 nodes are available")


def test_the_pod_that_was_ready_last_decides_what_the_warm_up_was_spent_on():
    late, early = (started(("Ready", clock)) for clock in ("10:01:00", "10:00:00"))
    never = started(("PodScheduled", "10:02:00"))
    assert starting_pods(map(pod_view, (late, early, never))).last == pod_view(late).start
    assert starting_pods([]) == Starting()


def test_a_pod_behind_a_scheduling_gate_has_not_been_looked_at():
    assert starting_pods([pod_view(unschedulable("gated", "SchedulingGated"))]).waiting == 0


def test_what_was_edited_by_hand_gives_no_times():
    made = started(*REPORTED, containers=[{"state": {"running": "yes"}, "lastState": None}])
    made["status"]["conditions"][1]["lastTransitionTime"] = "soon"
    start = pod_view(made).start
    assert (start.sandbox_at, start.started_at) == (None, None)


def waiting(reason, message="", kind="containerStatuses", **last):
    made = pod(phase="Pending")
    state = {"waiting": {"reason": reason, "message": message}}
    made["status"][kind] = [{"name": "app", "state": state, "lastState": last}]
    return made


@pytest.mark.parametrize("kind", ["containerStatuses", "initContainerStatuses"])
def test_a_pod_that_cannot_start_is_named_with_the_kubelets_words(kind: str):
    found = starting_pods([pod_view(used(Pod, waiting("ErrImagePull", "not found", kind=kind)))])
    assert found.failing == "pod voice-1 cannot start: container app: ErrImagePull (not found)"


def test_of_a_crash_loop_it_is_said_how_the_container_ended():
    ended = {"exitCode": 3, "reason": "Error", "message": "no database\n"}
    crashed = pod_view(waiting("CrashLoopBackOff", "back-off 40s", terminated=ended))
    said = "container app: CrashLoopBackOff (exit code 3: no database)"
    assert crashed.start.failing == said
    quiet = pod_view(waiting("CrashLoopBackOff", "back-off 40s"))
    assert quiet.start.failing == "container app: CrashLoopBackOff (back-off 40s)"


@pytest.mark.parametrize("wait", ["10s", "20s"])
def test_a_crash_loop_that_has_just_begun_may_end_by_itself(wait):
    """An app that waits for its database crashes a few times."""
    made = waiting("CrashLoopBackOff", f"back-off {wait} restarting failed container=app pod=x")
    assert pod_view(made).start.failing == ""


@pytest.mark.parametrize(
    ("unready", "began", "fails"),
    [
        ("10:05:00", "10:01:00", False),
        ("10:05:00", "10:04:30", True),  # was Ready for a moment: it may have no probe
        ("09:00:00", "10:01:00", True),  # has not been Ready
    ],
)
def test_the_first_crash_of_a_container_that_had_started_is_none_of_the_loop_before(
    unready, began, fails
):
    """The kubelet still waits as long as for the last one of that loop."""
    ended = {"exitCode": 1, "startedAt": stamped(began), "finishedAt": stamped("10:05:00")}
    said = "back-off 5m0s restarting failed container=app pod=x"
    made = waiting("CrashLoopBackOff", said, terminated=ended)
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": stamped(unready)}
    made["status"]["conditions"] = [ready]
    assert bool(pod_view(made).start.failing) is fails


def test_a_pod_whose_container_is_being_created_may_still_start():
    assert pod_view(waiting("ContainerCreating")).start.failing == ""


def test_of_a_long_message_only_the_beginning_is_kept():
    assert len(pod_view(waiting("ErrImagePull", "x" * 5000)).start.failing) < 250


def test_a_pod_that_ends_or_is_ready_does_not_count_as_one_that_cannot_start():
    ready, ending = waiting("CrashLoopBackOff"), waiting("CrashLoopBackOff")
    ready["status"] |= pod(ready=True)["status"]
    ending["metadata"]["deletionTimestamp"] = "2026-11-25T09:30:00Z"
    assert starting_pods(map(pod_view, (ready, ending))).failing == ""
