"""What a target gets back: what Kotatsu has changed, and nothing that others have set since."""

from rows import each

from kotatsu_operator.core.give_back import FAILED, RESTORED, TRIES, UNCHANGED, give_back
from kotatsu_operator.core.protocol import ROUTE_LABEL, ROUTE_TAKEN
from kotatsu_operator.core.report.record import MIN_SCALE, Entry
from kotatsu_operator.kube.cluster import Cluster
from kotatsu_operator.kube.errors import ApiError, ConflictError, HttpError
from tests.operator.cluster import (
    FakeKube,
    deployment,
    forbidden,
    horizontal_pod_autoscaler,
    owned,
    pod,
    revision,
    service,
)

HPA = {"name": "voice", "minReplicas": 2}
SAVED = {"name": "voice-1", "minScale": "1", "written": ["5"], "uid": "new"}


def entry(kind="Deployment", **owed):
    return Entry("demo", "voice", kind, "voice", owed)


def autoscaler(*, by="kotatsu-operator"):
    made = horizontal_pod_autoscaler(least=5)
    made["metadata"]["managedFields"] = [owned("minReplicas", by)]
    return made


def taken():
    made = service()
    made["spec"]["selector"][ROUTE_LABEL] = ROUTE_TAKEN
    return made


def kept(min_scale="5"):
    made = revision("voice-1", min_scale=min_scale)
    made["metadata"]["uid"] = "new"
    return made


def small(name="voice-1", **how):
    made = pod(name, ready=True, **how)
    made["spec"]["containers"] = [{"name": "app", "resources": {"requests": {"cpu": "5m"}}}]
    return made


def full(replicas=1):
    made = deployment(replicas=replicas)
    resources = {"requests": {"cpu": "1"}}
    made["spec"]["template"]["spec"] = {"containers": [{"name": "app", "resources": resources}]}
    return made


EVERYTHING = {"foundReplicas": 3, "hpa": HPA, "knative": {"revisions": [SAVED]}}
EVERYTHING |= {"reduced": True, "takenService": "voice"}


def cluster():
    return FakeKube(full(0), autoscaler(), taken(), kept(), small())


async def given(kube, of, replicas=None):
    """The results and messages, once all was given back."""
    steps = await give_back(Cluster(kube), of, replicas)
    assert all((step.result == FAILED) or step.error is None for step in steps)
    return [(step.result, step.message) for step in steps]


async def test_all_is_given_back_in_order_and_only_once():
    kube = cluster()
    assert await given(kube, entry(**EVERYTHING)) == [
        (RESTORED, "Pod voice-1 has its full requests again"),
        (RESTORED, "Revision voice-1 has its own min-scale again"),
        (RESTORED, "HorizontalPodAutoscaler voice has minReplicas 2 again"),
        (RESTORED, "Service voice selects its pods again"),
        (RESTORED, "Deployment voice has 2 replicas again"),
    ]
    assert kube.writes == ["resize", "annotate", "put_minimum", "put_route", "put_scale"]
    version = kube.version
    again = await given(kube, entry(**EVERYTHING))
    assert again == [(UNCHANGED, "Deployment voice runs (2 replicas) and stays as it is")]
    assert kube.version == version


FOUND = "stays at 0 replicas, as the pool found it"
MORE = "runs (5 replicas, 2 more than it was found with) and stays as it is"
NO_RECORD = "stays at 0 replicas: no record says that it had more"


@each("owed, now, asked, after, said", [
    ({"foundReplicas": 3}, 0, None, 3, "has 3 replicas again"),
    ({"foundReplicas": 3}, 1, None, 3, "has 3 replicas again"),
    ({"foundReplicas": 3}, 3, None, 3, "runs (3 replicas) and stays as it is"),
    ({"foundReplicas": 3}, 5, None, 5, MORE),
    ({"foundReplicas": 3, "hpa": HPA}, 0, None, 2, "has 2 replicas again"),
    ({"foundReplicas": 0}, 0, None, 0, FOUND),
    ({}, 0, None, 0, NO_RECORD),
    ({}, 2, None, 2, "runs (2 replicas) and stays as it is"),
    ({"foundReplicas": 3}, 0, 2, 2, "has 2 replicas"),
    ({"foundReplicas": 3}, 0, 0, 0, FOUND),
    ({}, 1, 4, 4, "has 4 replicas"),
    ({}, 4, 4, 4, "runs (4 replicas) and stays as it is"),
])  # fmt: skip
async def test_replicas_are_raised_to_those_found_and_never_lowered_unless_some_are_asked_for(
    owed, now, asked, after, said
):
    kube = FakeKube(deployment(replicas=now))
    [step] = await give_back(Cluster(kube), entry(**owed), asked)
    assert (step.result, step.message) == (
        UNCHANGED if now == after else RESTORED,
        f"Deployment voice {said}",
    )
    assert step.replicas == kube.stored("Deployment", "voice")["spec"]["replicas"] == after


@each("owed, there", [
    ({"hpa": HPA}, autoscaler(by="kubectl")),
    ({"hpa": HPA}, autoscaler() | {"spec": {"minReplicas": 2, "maxReplicas": 9}}),
    ({"takenService": "voice"}, service()),
    ({"knative": {"revisions": [SAVED]}}, kept("1")),
    ({"knative": {"revisions": [SAVED | {"uid": "old"}]}}, kept("1")),
    ({"reduced": True}, full()),
    ({"reduced": True}, small(terminating=True)),
    (EVERYTHING, full(2)),
])  # fmt: skip
async def test_what_others_have_set_and_what_is_gone_or_as_it_was_stays(owed, there):
    kube = FakeKube(full(2), there)
    [(result, _)] = await given(kube, entry(**owed))
    assert (result, kube.writes) == (UNCHANGED, [])


@each("saved, now", [(SAVED, "7"), (SAVED | {"uid": "old"}, "5")])
async def test_a_min_scale_of_anothers_is_named_and_stays(saved, now):
    kube = FakeKube(kept(now))
    said = "min-scale of Revision voice-1 was set by another client and stays"
    assert await given(kube, entry("Service", knative={"revisions": [saved]})) == [
        (UNCHANGED, said)
    ]
    assert kube.stored("Revision", "voice-1")["metadata"]["annotations"] == {MIN_SCALE: now}


async def test_nothing_is_owed_once_the_target_and_knative_are_gone():
    kube = FakeKube()
    kube.on("get", HttpError(404, "404 page not found"))
    owed = {name: owed for name, owed in EVERYTHING.items() if name != "reduced"}
    assert await given(kube, entry(**owed)) == [(UNCHANGED, "there is no Deployment voice")]


# --- what fails ---


@each("verb", ["put_scale", "put_minimum", "put_route", "annotate"])
async def test_an_object_that_changes_meanwhile_is_read_again(verb):
    kube = cluster()
    kube.on(verb, ConflictError("modified"), times=TRIES - 1)
    assert {result for result, _ in await given(kube, entry(**EVERYTHING))} == {RESTORED}


async def test_what_somebody_scales_meanwhile_is_left_to_them():
    kube = FakeKube(deployment(replicas=0))
    kube.on("put_scale", lambda *_: kube.edit("Deployment", "voice", spec={"replicas": 7}))
    [(result, _)] = await given(kube, entry(foundReplicas=3))
    assert (result, kube.stored("Deployment", "voice")["spec"]["replicas"]) == (UNCHANGED, 7)


BY_HAND = {
    "annotate": f"if Revision voice-1 has the pool's {MIN_SCALE}, set it to 1",
    "put_minimum": "set minReplicas of HorizontalPodAutoscaler voice to 2",
    "put_route": f"remove {ROUTE_LABEL} from the selector of Service voice",
    "put_scale": "scale Deployment voice to 2",
}


@each("verb, error", [
    *((verb, ConflictError("modified")) for verb in BY_HAND),
    *((verb, forbidden()) for verb in BY_HAND),
    *((verb, OSError("away")) for verb in BY_HAND),
])  # fmt: skip
async def test_what_fails_stops_nothing_and_is_named_with_what_to_do(verb, error):
    kube = cluster()
    kube.on(verb, error)
    steps = await give_back(Cluster(kube), entry(**EVERYTHING))
    [failed] = [step for step in steps if step.result != RESTORED]
    assert (failed.result, failed.error, len(steps)) == (FAILED, error, 5)
    assert failed.message.endswith(f"{error}; by hand: {BY_HAND[verb]}")


async def test_a_kind_that_the_chart_does_not_name_any_more_is_tried_again():
    steps = await give_back(Cluster(FakeKube()), entry("Flock", foundReplicas=2, reduced=True))
    assert [(step.result, "Flock" in str(step.error)) for step in steps] == [(FAILED, True)] * 2


@each("error, is_tried_again", [
    (forbidden(), False),
    (OSError("away"), True),
    (ApiError(429, "busy"), True),
])  # fmt: skip
async def test_a_pod_that_cannot_be_resized_is_named_and_stops_no_other(error, is_tried_again):
    """It serves with smaller requests too: a rejection need not be waited for."""
    kube = FakeKube(full(), small(), small("voice-2"))
    kube.on("resize", error, times=1)
    failed, other, _ = await give_back(Cluster(kube), entry(reduced=True))
    assert (failed.result, failed.error) == (FAILED, error if is_tried_again else None)
    assert "restart` the pods of Deployment voice, which keep their smaller" in failed.message
    assert other.message == "Pod voice-2 has its full requests again"


@each("call", ["find", "get"])
async def test_pods_that_may_not_be_read_are_not_waited_for(call):
    kube = FakeKube(full(), small())
    kube.on(call, forbidden())
    failed, _ = await give_back(Cluster(kube), entry(reduced=True))
    assert (failed.result, failed.error) == (FAILED, None)


async def test_a_pod_that_was_replaced_has_nothing_to_get():
    kube = FakeKube(full(), small())
    kube.on("resize", ConflictError("another uid"))
    assert [result for result, _ in await given(kube, entry(reduced=True))] == [UNCHANGED]
