"""Gives back to a target what Kotatsu has changed of it: the one rule of operator, Job and plugin.

All of it may be repeated: replicas are only raised from exactly 0, every write names the version
that was read, and what another client has set since stays.

A client of the API server is given as a `Cluster`. Nothing else is waited for here, so a client
that blocks serves as well.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.objects import Object, read_autoscaler, workload_selector
from kotatsu_operator.core.parked import PodSize, pod_size, resize_patch, to_restore
from kotatsu_operator.core.pool.memory import Original
from kotatsu_operator.core.pool.spec import KNATIVE, ScaledKind
from kotatsu_operator.core.protocol import ROUTE_LABEL
from kotatsu_operator.core.report.record import MIN_SCALE, Entry, SavedMinScale, read_kept
from kotatsu_operator.core.report.status import read_original
from kotatsu_operator.core.schema import joined

RESTORED, UNCHANGED, FAILED = "restored", "unchanged", "failed"

TRIES = 10
"""How often an object is read and written again that changes meanwhile."""

AUTOSCALER = ScaledKind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
POD = ScaledKind("v1", "Pod", "pods")
REVISION = ScaledKind("serving.knative.dev/v1", "Revision", "revisions")
SERVICE = ScaledKind("v1", "Service", "services")


@dataclass(frozen=True)
class Place:
    """An object in a namespace, or a subresource of it (`part`)."""

    kind: ScaledKind | str
    """Of a target, its name alone."""
    namespace: str
    name: str
    part: str = ""


class Cluster(Protocol):
    """A client of the API server."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What a call raises that does not succeed."""

    @property
    def conflict(self) -> type[Exception]:
        """What a write raises if the object has changed meanwhile, or is gone."""

    def is_refusal(self, error: Exception) -> bool:
        """Whether the API server rejects a call, so that it would do so again."""

    async def read(self, place: Place) -> Object | None:
        """Read an object; None if it does not exist. Of a scale, its version and spec.replicas."""

    async def pods(self, workload: Object) -> Sequence[Object]:
        """Read the pods of a workload."""

    async def write(self, place: Place, patch: Mapping[str, Any]) -> None:
        """Merge a patch into an object, at the version or uid that it names."""


@dataclass(frozen=True)
class Step:
    """What was done with one object, or why not."""

    result: str
    message: str
    replicas: int | None = None
    """What the target has now; None if the step is about something else, or there is no target."""
    error: Exception | None = None
    """Why it has to be tried again."""


class Act(NamedTuple):
    """What is done with one object. It reads what it writes: it is repeated after a conflict."""

    do: Callable[[Cluster], Awaitable[list[Step]]]
    by_hand: str = ""
    """What a person must do if it fails."""
    must: bool = True
    """Whether it is tried again although the API server rejects it."""


async def give_back(cluster: Cluster, entry: Entry, replicas: int | None = None) -> list[Step]:
    """Give back all that an entry of the record owes; what fails does not stop what follows.

    With `replicas`, the target gets these, whatever it had and has.
    """
    return [step for act in _acts(entry, replicas) for step in await steps(cluster, act)]


def _acts(entry: Entry, replicas: int | None) -> Iterator[Act]:
    """What is to be done, in this order."""
    owed, namespace, of = entry.owed, entry.namespace, f"{entry.kind} {entry.target}"
    if "reduced" in owed:
        by_hand = f"`kubectl rollout restart` the pods of {of}, which keep their smaller requests"
        yield Act(partial(_requests, entry, by_hand), by_hand, must=False)
    for kept in read_kept(owed):
        wanted = "remove it" if kept.min_scale is None else f"set it to {kept.min_scale}"
        by_hand = f"if Revision {kept.name} has the pool's {MIN_SCALE}, {wanted}"
        yield Act(partial(_min_scale, namespace, kept), by_hand)
    # Before the replicas: the autoscaler then lowers them itself as far as it may.
    if (known := read_original(owed)) is not None:
        by_hand = f"set minReplicas of HorizontalPodAutoscaler {known.name} to {known.min_replicas}"
        yield Act(partial(_minimum, namespace, known), by_hand)
    if "takenService" in owed:
        name = owed["takenService"]
        by_hand = f"remove {ROUTE_LABEL} from the selector of Service {name}"
        yield Act(partial(_selector, namespace, name), by_hand)
    if entry.kind != KNATIVE:
        to = owed.get("restoreReplicas", 1) if replicas is None else replicas
        yield Act(partial(_scale, entry, replicas), f"scale {of} to {to}")


async def steps(cluster: Cluster, act: Act) -> list[Step]:
    """Do something with one object; after conflicts again, some times."""
    for _ in range(TRIES):
        try:
            return await act.do(cluster)
        except cluster.conflict as error:
            failed, why = error, f"it changes all the time: {error}"
        except cluster.errors as error:
            failed, why = error, str(error)
            break
    is_left = not act.must and cluster.is_refusal(failed)
    by_hand = f"; by hand: {act.by_hand}" if act.by_hand else ""
    return [Step(FAILED, f"{why}{by_hand}", error=None if is_left else failed)]


async def _write(cluster: Cluster, place: Place, found: Object, change: Mapping[str, Any]) -> None:
    """Merge into an object at the version that was read."""
    version = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}}
    await cluster.write(place, joined(version, change))


# --- the parts ---


async def _requests(entry: Entry, by_hand: str, cluster: Cluster) -> list[Step]:
    """The requests of the pods' template; pods with smaller ones serve, too."""
    workload = await cluster.read(Place(entry.kind, entry.namespace, entry.target))
    spec = table((workload or {}).get("spec"))
    template = table(table(spec.get("template")).get("spec"))
    if workload is None or not template or not workload_selector(workload):
        return []
    full = pod_size(template)
    pods = [p for p in await cluster.pods(workload) if "deletionTimestamp" not in p["metadata"]]
    acts = [Act(partial(_resize, entry.namespace, pod, full), by_hand, must=False) for pod in pods]
    return [step for act in acts for step in await steps(cluster, act)]


async def _resize(namespace: str, pod: Object, full: PodSize, cluster: Cluster) -> list[Step]:
    uid, name, size = pod["metadata"]["uid"], pod["metadata"]["name"], pod_size(pod["spec"])
    if not (requests := to_restore(full, size)):
        return []
    try:
        patch = resize_patch(uid, requests, size.sidecars)
        await cluster.write(Place(POD, namespace, name, "resize"), patch)
    except cluster.conflict:
        return []  # it is gone, or another one: it has nothing to get
    return [Step(RESTORED, f"Pod {name} has its full requests again")]


async def _min_scale(namespace: str, kept: SavedMinScale, cluster: Cluster) -> list[Step]:
    place = Place(REVISION, namespace, kept.name)
    found = await cluster.read(place)
    if found is None:
        return []
    now = table(found["metadata"].get("annotations")).get(MIN_SCALE)
    if kept.holds(found["metadata"].get("uid", ""), now):
        change = {"metadata": {"annotations": {MIN_SCALE: kept.min_scale}}}
        await _write(cluster, place, found, change)
        return [Step(RESTORED, f"Revision {kept.name} has its own min-scale again")]
    if now == kept.min_scale:
        return []
    said = f"min-scale of Revision {kept.name} was set by another client and stays"
    return [Step(UNCHANGED, said)]


def minimum_back(known: Original, autoscaler: Object) -> int | None:
    """The minReplicas that an autoscaler gets back; None if it has them, or another client's."""
    now = read_autoscaler(autoscaler)
    return known.min_replicas if now.ours and now.min_replicas != known.min_replicas else None


async def _minimum(namespace: str, known: Original, cluster: Cluster) -> list[Step]:
    place = Place(AUTOSCALER, namespace, known.name)
    found = await cluster.read(place)
    if found is None or (least := minimum_back(known, found)) is None:
        return []
    await _write(cluster, place, found, {"spec": {"minReplicas": least}})
    return [Step(RESTORED, f"HorizontalPodAutoscaler {known.name} has minReplicas {least} again")]


async def _selector(namespace: str, name: str, cluster: Cluster) -> list[Step]:
    place = Place(SERVICE, namespace, name)
    found = await cluster.read(place)
    if found is None or ROUTE_LABEL not in table(table(found.get("spec")).get("selector")):
        return []
    await _write(cluster, place, found, {"spec": {"selector": {ROUTE_LABEL: None}}})
    return [Step(RESTORED, f"Service {name} selects its pods again")]


async def _scale(entry: Entry, wanted: int | None, cluster: Cluster) -> list[Step]:
    of, place = (
        f"{entry.kind} {entry.target}",
        Place(entry.kind, entry.namespace, entry.target, "scale"),
    )
    found = await cluster.read(place)
    if found is None:
        return [Step(UNCHANGED, f"there is no {of}")]
    now, had = int(table(found.get("spec")).get("replicas", 1)), entry.owed.get("restoreReplicas")
    given = (now or had or 0) if wanted is None else wanted
    if given != now:
        await _write(cluster, place, found, {"spec": {"replicas": given}})
        again = " again" if wanted is None else ""
        return [Step(RESTORED, f"{of} has {given} replicas{again}", given)]
    if now > 0:
        said = f"{of} runs ({now} replicas) and stays as it is"
    elif had is None:
        said = f"{of} stays at 0 replicas: no record says that it had more"
    else:
        said = f"{of} stays at 0 replicas, as the pool found it"
    return [Step(UNCHANGED, said, now)]
