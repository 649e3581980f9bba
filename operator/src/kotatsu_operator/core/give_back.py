"""Gives back to a target what Kotatsu has changed of it: the one rule of operator, Job and plugin.

All of it may be repeated: replicas are only raised, since a target that runs more pods may need
them, every write names the version that was read, and what another client has set since stays.

A client of the API server is given as a `Cluster`. Nothing else is waited for here, so a client
that blocks serves as well.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.objects import Object, read_autoscaler, workload_selector
from kotatsu_operator.core.parked import pod_size, resize_patch, to_restore
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
class Result:
    """What was done with one object, or why not."""

    result: str
    message: str
    replicas: int | None = None
    """What the target has now; None if the step is about something else, or there is no target."""
    error: Exception | None = None
    """Why it has to be tried again."""


class Change(NamedTuple):
    """What to do with an object, and what to say of it."""

    said: str
    patch: Mapping[str, Any] | None = None
    """None: it stays as it is."""
    replicas: int | None = None
    """As in `Result`."""


class Part(NamedTuple):
    """One object, and what it gets back."""

    place: Place
    change: Callable[[Object], Change | None]
    """What to do with it as it is; None: nothing, and nothing to say."""
    by_hand: str
    """What a person must do if it fails."""
    gone: str = ""
    """What to say if it does not exist."""


async def give_back(cluster: Cluster, entry: Entry, replicas: int | None = None) -> list[Result]:
    """Give back all that an entry of the record owes; what fails does not stop what follows.

    With `replicas`, the target gets these, whatever it had and has.
    """
    pods = await _requests(cluster, entry) if "reduced" in entry.owed else []
    return pods + [step for part in _parts(entry, replicas) for step in await give(cluster, part)]


async def give(cluster: Cluster, part: Part) -> list[Result]:
    """Give an object back what it gets; it is read again if it has changed meanwhile."""
    for _ in range(TRIES):
        try:
            found = await cluster.read(part.place)
            if found is None:
                return [Result(UNCHANGED, part.gone)] if part.gone else []
            change = part.change(found)
            if change is None:
                return []
            if change.patch is None:
                return [Result(UNCHANGED, change.said, change.replicas)]
            version = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}}
            await cluster.write(part.place, joined(version, change.patch))
            return [Result(RESTORED, change.said, change.replicas)]
        except cluster.conflict as error:
            failed, why = error, f"it changes all the time: {error}"
        except cluster.errors as error:
            failed, why = error, str(error)
            break
    return [Result(FAILED, f"{why}; by hand: {part.by_hand}", error=failed)]


async def _requests(cluster: Cluster, entry: Entry) -> list[Result]:
    """Give pods the requests of their template. With smaller ones they serve as well.

    So a rejection is not tried again.
    """
    of, made = f"{entry.kind} {entry.target}", list[Result]()
    by_hand = f"`kubectl rollout restart` the pods of {of}, which keep their smaller requests"

    def failed(error: Exception) -> Result:
        again = None if cluster.is_refusal(error) else error
        return Result(FAILED, f"{error}; by hand: {by_hand}", error=again)

    try:
        workload = await cluster.read(Place(entry.kind, entry.namespace, entry.target)) or {}
        template = table(table(table(workload.get("spec")).get("template")).get("spec"))
        pods = await cluster.pods(workload) if template and workload_selector(workload) else ()
    except cluster.errors as error:
        return [failed(error)]
    for pod in pods:
        meta, size = pod["metadata"], pod_size(pod["spec"])
        requests = to_restore(pod_size(template), size)
        if not requests or "deletionTimestamp" in meta:
            continue
        place = Place(POD, entry.namespace, meta["name"], "resize")
        try:
            await cluster.write(place, resize_patch(meta["uid"], requests, size.sidecars))
            made.append(Result(RESTORED, f"Pod {meta['name']} has its full requests again"))
        except cluster.conflict:
            pass  # it is gone, or another one: it has nothing to get
        except cluster.errors as error:
            made.append(failed(error))
    return made


# --- what is owed ---


def _parts(entry: Entry, wanted: int | None) -> Iterator[Part]:
    """What is given back, in this order."""
    owed, namespace, of = entry.owed, entry.namespace, f"{entry.kind} {entry.target}"
    for kept in read_kept(owed):
        to = "remove it" if kept.min_scale is None else f"set it to {kept.min_scale}"
        by_hand = f"if Revision {kept.name} has the pool's {MIN_SCALE}, {to}"
        yield Part(Place(REVISION, namespace, kept.name), partial(_min_scale, kept), by_hand)
    # Before the replicas: the autoscaler then lowers them itself as far as it may.
    if (known := read_original(owed)) is not None:
        by_hand = f"set minReplicas of HorizontalPodAutoscaler {known.name} to {known.min_replicas}"
        yield Part(Place(AUTOSCALER, namespace, known.name), partial(_minimum, known), by_hand)
    if "takenService" in owed:
        place = Place(SERVICE, namespace, owed["takenService"])
        by_hand = f"remove {ROUTE_LABEL} from the selector of Service {place.name}"
        yield Part(place, _selector, by_hand)
    if entry.kind != KNATIVE:
        had = _found(owed)
        by_hand = f"scale {of} to {(had or 1) if wanted is None else wanted}"
        place = Place(entry.kind, namespace, entry.target, "scale")
        yield Part(place, partial(_scale, of, had, wanted), by_hand, gone=f"there is no {of}")


def _found(owed: Mapping[str, Any]) -> int | None:
    """The replicas that a target was found with: an autoscaler starts from its minimum."""
    found, known = owed.get("foundReplicas"), read_original(owed)
    return found if found is None or known is None else min(found, max(known.min_replicas, 1))


def _min_scale(kept: SavedMinScale, revision: Object) -> Change | None:
    meta = revision["metadata"]
    now = table(meta.get("annotations")).get(MIN_SCALE)
    if kept.holds(meta.get("uid", ""), now):
        patch = {"metadata": {"annotations": {MIN_SCALE: kept.min_scale}}}
        return Change(f"Revision {kept.name} has its own min-scale again", patch)
    if now == kept.min_scale:
        return None
    return Change(f"min-scale of Revision {kept.name} was set by another client and stays")


def minimum_back(known: Original, autoscaler: Object) -> int | None:
    """The minReplicas that an autoscaler gets back; None if it has them, or another client's."""
    now = read_autoscaler(autoscaler)
    return known.min_replicas if now.ours and now.min_replicas != known.min_replicas else None


def _minimum(known: Original, autoscaler: Object) -> Change | None:
    if (least := minimum_back(known, autoscaler)) is None:
        return None
    said = f"HorizontalPodAutoscaler {known.name} has minReplicas {least} again"
    return Change(said, {"spec": {"minReplicas": least}})


def _selector(service: Object) -> Change | None:
    if ROUTE_LABEL not in table(table(service.get("spec")).get("selector")):
        return None
    said = f"Service {service['metadata']['name']} selects its pods again"
    return Change(said, {"spec": {"selector": {ROUTE_LABEL: None}}})


def _scale(of: str, had: int | None, wanted: int | None, scale: Object) -> Change:
    now = int(table(scale.get("spec")).get("replicas", 1))
    given = max(now, had or 0) if wanted is None else wanted
    if given != now:
        again = " again" if wanted is None else ""
        return Change(f"{of} has {given} replicas{again}", {"spec": {"replicas": given}}, given)
    if now > 0:
        more = "" if had in (None, now) else f", {now - had} more than it was found with"
        return Change(f"{of} runs ({now} replicas{more}) and stays as it is", replicas=now)
    why = ": no record says that it had more" if had is None else ", as the pool found it"
    return Change(f"{of} stays at 0 replicas{why}", replicas=0)
