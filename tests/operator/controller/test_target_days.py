"""Days of a pool whose target is shared, contested, changed, silent, or taken away."""

from datetime import timedelta
from functools import partial

from rows import each

from kotatsu_operator.controller.reconciler import RETRY
from tests.operator.cluster import horizontal_pod_autoscaler, owned, service
from tests.operator.controller.test_cache import FROM_GATEWAY, NARROW, policy
from tests.operator.core.values import MINUTE, SECOND, once, t
from tests.operator.day import Day

SOON = {"idleAfter": "1m", "requestsPerPod": 1}
PITCH = {"windows": [once("pitch", "10:00", "10:10", 4)], "lead": "1m"}


def minimum(day):
    return day.kube.stored("HorizontalPodAutoscaler", "voice")["spec"].get("minReplicas")


def shared(at, *, least=2, most=8, **how):
    day = Day.begin(t(at), **how)
    day.kube.put(horizontal_pod_autoscaler(least=least, most=most))
    return day


def is_kept(day):
    return day.condition("ReplicasKept")["status"] == "True"


# --- with a HorizontalPodAutoscaler ---


async def test_the_minimum_goes_up_before_the_scale_and_down_after_it():
    day = shared("09:50", **SOON, **PITCH)
    await day.until(t("10:08"))
    assert (day.replicas, minimum(day), day.phase) == (4, 4, "Warm")
    await day.until(t("10:20"))
    assert (day.replicas, minimum(day), day.phase) == (0, 2, "Asleep")
    writes = [(call[0], call[2]) for call in day.kube.called("put_scale", "put_minimum")]
    assert writes == [("put_minimum", 4), ("put_scale", 4), ("put_scale", 0), ("put_minimum", 2)]


@each("least", [None, 1, 2])
async def test_what_the_minimum_was_stands_in_the_status_before_it_is_changed(least):
    day = shared("10:00", least=least, **PITCH)
    seen = []
    day.kube.on("put_minimum", lambda *_: seen.append(day.status["internal"]["hpa"]))
    await day.settle()
    assert seen == [{"name": "voice", "minReplicas": least or 1}]


async def test_an_autoscaler_that_changed_meanwhile_is_decided_on_again():
    day = shared("10:00", **PITCH)
    somebody_else = partial(day.kube.edit, "HorizontalPodAutoscaler", "voice")
    day.kube.on("put_minimum", lambda *_: somebody_else(spec={"minReplicas": 3}), times=1)
    assert await day.look() == day.now + RETRY
    assert (minimum(day), day.replicas) == (3, 0)
    await day.settle()
    assert (minimum(day), day.replicas) == (4, 4)
    assert day.status["internal"]["hpa"]["minReplicas"] == 3


async def test_who_edits_the_minimum_while_it_is_raised_gets_that_back():
    day = shared("10:00", **SOON, **PITCH)
    await day.until(t("10:05"))
    by = {"managedFields": [owned("minReplicas", "kubectl-edit")]}
    day.kube.edit("HorizontalPodAutoscaler", "voice", metadata=by, spec={"minReplicas": 3})
    await day.until(t("10:10"))
    assert minimum(day) == 4
    await day.until(t("10:20"))
    assert minimum(day) == 3


async def test_an_autoscaler_that_is_deleted_is_forgotten():
    day = shared("10:00", **SOON, **PITCH)
    await day.until(t("10:05"))
    day.kube.remove("HorizontalPodAutoscaler", "voice")
    await day.until(t("10:06"))
    assert "hpa" not in day.status["internal"]
    day.scraper.in_flight = 2
    await day.until(t("10:07"))
    assert day.replicas == 10  # following demand is the pool's work again


async def test_an_autoscaler_that_is_pointed_elsewhere_gets_its_minimum_back():
    day = shared("10:00", **PITCH)
    await day.until(t("10:05"))
    target = {"scaleTargetRef": {"kind": "Deployment", "name": "other"}}
    day.kube.edit("HorizontalPodAutoscaler", "voice", spec=target)
    await day.until(t("10:06"))
    assert minimum(day) == 2
    assert "hpa" not in day.status["internal"]


async def test_an_autoscaler_that_allows_too_few_is_named():
    day = shared("10:00", most=3, **PITCH)
    await day.until(t("10:05"))
    found = day.condition("ReplicasKept")
    assert (found["status"], found["reason"]) == ("False", "AutoscalerMaximum")
    assert "allows at most 3 replicas, and 4 are requested" in found["message"]
    warm = "3 of 3 replicas are Ready; 4 are requested, 3 are possible"
    assert (day.phase, day.condition("Warm")["message"]) == ("Warm", warm)
    assert "WindowCold" not in day.events
    day.kube.edit("HorizontalPodAutoscaler", "voice", spec={"maxReplicas": 9})
    await day.until(t("10:06"))
    assert day.replicas == 4
    assert is_kept(day)
    told = [e for e in day.events if e in {"AutoscalerMaximum", "ReplicasKept"}]
    assert told == ["AutoscalerMaximum", "ReplicasKept"]


async def test_a_policy_that_limits_clients_only_while_the_pool_is_awake_is_named():
    day = shared("10:00", **PITCH)
    of_the_app = policy("app", {"app": "voice"}, FROM_GATEWAY)
    day.cache.keep_policy(of_the_app)
    await day.until(t("10:05"))
    found = day.condition("SameClients")
    assert (found["status"], found["reason"]) == ("False", "ActivatorsAdmitAll")
    assert "NetworkPolicy app limits" in found["message"]
    assert "activator.allowedClients" in found["message"]
    day.cache.keep_policy(NARROW)
    await day.until(t("10:06"))
    assert day.condition("SameClients")["status"] == "True"
    told = [e for e in day.events if e in {"ActivatorsAdmitAll", "SameClients"}]
    assert told == ["ActivatorsAdmitAll", "SameClients"]


async def test_a_sleeping_pool_says_which_clients_do_not_wake_it():
    day = Day.begin(t("10:00"), **SOON)
    day.kube.put(service("voice", {"name": "db", "port": 3306}))
    day.cache.keep_service(day.kube.stored("Service", "voice"))
    await day.until(t("10:05"))
    assert day.phase == "Asleep"
    assert day.condition("Ready")["message"] == (
        "the pool is asleep; the next request wakes it, but not a client of port 3306 (mysql) that "
        "waits for the server to speak: it gets no byte until a window, an override or a pool that "
        "depends on this one starts a pod"
    )


# --- contested replicas ---


def written(day, by, replicas, operation="Update"):
    """Somebody else sets the target's replicas, and now owns the field."""
    at = f"{day.now:%H:%M:%S}"
    fields = {"managedFields": [owned("replicas", by, operation=operation, at=at)]}
    day.kube.edit("Deployment", "voice", metadata=fields, spec={"replicas": replicas})


def taken_back(day):
    """Our own write has taken the field over."""
    fields = {"managedFields": [owned("replicas", "kotatsu-operator")]}
    day.kube.edit("Deployment", "voice", metadata=fields)


async def test_a_manifest_applied_with_replicas_is_named_until_it_stops():
    day = await Day.lived("08:00", **SOON)
    written(day, "argocd-controller", 1, "Apply")
    await day.until(t("08:00:30"))
    found = day.condition("ReplicasKept")
    assert (found["status"], found["reason"]) == ("False", "AppliedByAnother")
    assert "argocd-controller applies a manifest that sets spec.replicas" in found["message"]
    taken_back(day)
    await day.until(t("09:00"))
    assert not is_kept(day)
    await day.until(t("10:30"))
    assert is_kept(day)
    told = [e for e in day.events if e in {"AppliedByAnother", "ReplicasKept"}]
    assert told == ["AppliedByAnother", "ReplicasKept"]


@each(
    "replicas, instead",
    [
        (3, "kubectl demo-mode on --replicas 3 keeps as many pods for a time"),
        (0, "kubectl demo-mode off puts the pool to sleep"),
    ],
)
async def test_kubectl_scale_on_a_warm_pool_is_undone_and_one_event_says_what_to_do_instead(
    replicas, instead
):
    day = await Day.lived("08:00", "08:01:30", replicas=1, ready=True, idleAfter="10m")
    for _ in range(5):
        day.kube.edit("Deployment", "voice", spec={"replicas": replicas})
        await day.look()
        assert day.replicas == 1
        day.now += 10 * SECOND
    [message] = day.messages("ScaleUndone")
    assert message == (
        f"another client has set the replicas of Deployment voice to {replicas}, and the pool "
        f"sets them to 1, as an autoscaler does: {instead}"
    )


async def test_who_has_scaled_is_named_if_the_api_server_records_it():
    day = await Day.lived("08:00", "08:01:30", replicas=1, ready=True, idleAfter="10m")
    written(day, "kubectl", 3)
    await day.look()
    [message] = day.messages("ScaleUndone")
    assert message.startswith("kubectl has set the replicas")


async def test_more_pods_of_a_sleeping_pool_than_it_needs_are_undone_too():
    day = await Day.lived("08:00", "08:05")
    day.wake()
    await day.until(t("08:10"))
    assert day.phase == "Asleep"
    day.kube.edit("Deployment", "voice", spec={"replicas": 3})
    await day.until(t("08:10:10"))
    assert (day.replicas, len(day.messages("ScaleUndone"))) == (1, 1)


async def test_what_windows_and_requests_change_is_no_change_of_another_client():
    window = once("pitch", "08:20", "08:30", 3)
    day = Day.begin(t("08:00"), windows=[window], lead="1m", **SOON)
    for at in ("08:05", "08:10", "08:40"):
        await day.until(t(at))
        day.wake()
    await day.until(t("09:00"))
    assert (day.phase, day.messages("ScaleUndone")) == ("Asleep", [])


async def test_the_third_write_in_a_row_is_a_contest_across_a_restart():
    day = await Day.lived("08:00", **SOON)
    for minutes in (5, 10, 15):
        assert is_kept(day)
        await day.until(t("08:00") + minutes * MINUTE)
        written(day, "helm", 1)
        await day.until(day.now + 10 * SECOND)
        taken_back(day)
        await day.settle()
        day.restart()
    found = day.condition("ReplicasKept")
    assert found["reason"] == "WrittenByAnother"
    assert "helm has set spec.replicas" in found["message"]


@each("friend", ["kotatsu-operator", "kotatsu-activator", "kube-controller-manager"])
async def test_operator_activator_and_autoscaler_contest_nothing(friend):
    day = Day.begin(t("08:00"), **SOON)
    for _ in range(5):
        day.now += MINUTE
        written(day, friend, 1)
        await day.settle()
    assert "contest" not in day.status["internal"]


# --- a changed template ---


def roll_out(day, image):
    template = {"metadata": {"labels": {"app": "voice"}}, "spec": {"image": image}}
    day.kube.edit("Deployment", "voice", spec={"template": template})


async def test_a_rollout_while_asleep_is_unproven_until_a_warm_up_has_worked():
    day = await Day.lived("08:00", **SOON, **PITCH)
    day.wake()
    await day.until(t("08:05"))
    assert (day.phase, day.condition("Proven")["status"]) == ("Asleep", "True")
    roll_out(day, "voice:2")
    await day.until(t("08:06"))
    found = day.condition("Proven")
    assert (found["status"], found["reason"]) == ("False", "NeverReady")
    assert "wake the pool once" in found["message"]
    day.restart()
    await day.until(t("09:58"))
    assert day.condition("Proven")["status"] == "False"
    await day.until(t("10:00"))
    assert day.condition("Proven")["status"] == "True"
    assert [e for e in day.events if e in {"NeverReady", "Proven"}] == [
        "Proven",
        "NeverReady",
        "Proven",
    ]


# --- silence ---


async def test_a_pod_that_does_not_tell_is_named_with_the_cause_and_told_of_once():
    day = await Day.lived("10:00", "10:00:30", replicas=1, ready=True, **SOON)
    assert day.condition("DemandKnown")["status"] == "True"
    day.scraper.in_flight = None
    await day.until(t("10:05"))
    found = day.condition("DemandKnown")
    assert (found["status"], found["reason"]) == ("False", "NotReported")
    assert found["message"].startswith("pod voice-1 does not respond on port 8080 within 2 s;")
    assert found["message"].endswith("; the pool counts as busy")
    assert day.metric("kotatsu_pool_demand_known") == 0
    day.scraper.in_flight = 0
    await day.until(t("10:05:30"))
    assert day.condition("DemandKnown")["status"] == "True"
    assert day.metric("kotatsu_pool_demand_known") == 1
    assert [e for e in day.events if e in {"NotReported", "DemandKnown"}] == [
        "NotReported",
        "DemandKnown",
    ]


async def test_a_hiccup_is_told_to_nobody():
    day = await Day.lived("10:00", "10:00:30", replicas=1, ready=True, **SOON)
    day.scraper.in_flight = None
    await day.until(t("10:00:38"))
    day.scraper.in_flight = 0
    await day.until(t("10:00:50"))
    assert not [e for e in day.events if "Demand" in e]


# --- clocks ---


@each("off", [timedelta(minutes=-20), timedelta(), timedelta(minutes=20)])
async def test_an_activators_clock_may_be_any_other(off):
    day = await Day.lived("10:00", **SOON)
    true_now = day.now + SECOND
    day.now = true_now + off
    day.ticket()
    day.now = true_now
    day.kube.edit("Deployment", "voice", spec={"replicas": 1})
    await day.until(t("10:00:50"))
    assert (day.phase, day.status["reason"]) == ("Warm", "Request")
    await day.until(t("10:02"))
    assert (day.phase, day.replicas) == ("Asleep", 0)
