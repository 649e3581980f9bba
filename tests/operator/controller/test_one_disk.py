"""A target with a volume claim gets no further pod by demand until the pool says how many."""

from rows import each

from tests.operator.cluster import horizontal_pod_autoscaler
from tests.operator.core.values import once, override, t
from tests.operator.day import Day

CLAIM = {"name": "data", "persistentVolumeClaim": {"claimName": "voice-data"}}
READ_ONLY = {"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}
OWN = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]


def with_disk(day, *, templates=None, volumes=()):
    """The target of a day with claims; the day goes on."""
    template = {"metadata": {"labels": {"app": "voice"}}, "spec": {"volumes": list(volumes)}}
    spec = {"template": template} | ({"volumeClaimTemplates": templates} if templates else {})
    day.kube.edit("Deployment", "voice", spec=spec)
    return day


async def busy(day):
    """150 requests at once in each pod, for some minutes: one serves a hundred by default."""
    await day.settle()
    day.scraper.in_flight = 150
    await day.until(t("10:05"))
    return day


@each("disk", [{"templates": OWN}, {"volumes": [CLAIM]}])
@each("spec", [{}, {"windows": [once("pitch", "12:00", "13:00", 1)]}])
async def test_150_requests_start_no_second_pod_and_that_is_said_before_they_come(disk, spec):
    day = with_disk(Day.begin(t("10:00"), replicas=1, ready=True, **spec), **disk)
    await day.settle()
    assert day.events.count("OneDisk") == 1
    assert day.condition("ReplicasKept")["reason"] == "OneDisk"
    await busy(day)
    assert day.replicas == 1
    assert day.events.count("OneDisk") == 1


async def test_the_condition_names_the_claim_and_the_field_to_set():
    day = with_disk(Day.begin(t("10:00"), replicas=1, ready=True), templates=OWN)
    await day.settle()
    said = day.condition("ReplicasKept")["message"]
    assert "(data), so a further pod begins empty" in said
    assert "until spec.maxReplicas is set, requests start no pod beyond 1. Set it to 1" in said


@each("most, disk", [(3, {"templates": OWN}), (10, {"volumes": [CLAIM]}), (1, {"templates": OWN})])
async def test_what_the_pool_says_counts(most, disk):
    day = with_disk(Day.begin(t("10:00"), replicas=1, ready=True, maxReplicas=most), **disk)
    await busy(day)
    assert day.replicas == most
    assert day.condition("ReplicasKept")["status"] == "True"


async def test_the_maximum_that_an_earlier_version_filled_in_does_not_count():
    day = with_disk(Day.begin(t("10:00"), replicas=1, ready=True, maxReplicas=10), templates=OWN)
    await busy(day)
    assert day.replicas == 1
    assert (
        "(10, which earlier versions filled in, does not count)"
        in (day.condition("ReplicasKept")["message"])
    )


@each("volumes", [[], [{"name": "tmp", "emptyDir": {}}], [READ_ONLY]])
async def test_without_a_disk_that_pods_write_to_requests_start_pods(volumes):
    day = with_disk(Day.begin(t("10:00"), replicas=1, ready=True), volumes=volumes)
    await busy(day)
    assert day.replicas == 10
    assert "OneDisk" not in day.events


async def test_a_cluster_of_three_with_disks_may_have_three_after_it_has_slept():
    day = with_disk(Day.begin(t("10:00"), replicas=3, ready=True), templates=OWN)
    await day.until(t("10:10"))
    assert day.replicas == 0
    day.wake()
    await day.settle()
    day.scraper.in_flight = 900
    await day.until(t("10:15"))
    assert day.replicas == 3


@each(
    "spec",
    [
        {"windows": [once("pitch", "10:01", "11:00", 2)]},
        {"override": override("Warm", t("11:00"), replicas=2)},
    ],
)
async def test_a_window_and_an_override_get_the_pods_that_they_name(spec):
    day = with_disk(Day.begin(t("10:00"), replicas=1, ready=True, **spec), templates=OWN)
    await day.until(t("10:03"))
    assert day.replicas == 2


async def test_an_autoscaler_says_the_most_itself():
    day = with_disk(Day.begin(t("10:00"), replicas=1, ready=True), templates=OWN)
    day.kube.put(horizontal_pod_autoscaler())
    await day.settle()
    assert "OneDisk" not in day.events
