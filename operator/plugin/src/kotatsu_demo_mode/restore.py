"""kubectl demo-mode restore: gives targets their replicas and Services back without Kotatsu.

By the rules of the operator, with the permissions of the user.
"""

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

from kotatsu_operator.core import protocol
from kotatsu_operator.core.formats import table, text
from kotatsu_operator.core.objects import activators_of, pod_labels, workload_selector
from kotatsu_operator.core.pool.spec import BUILT_IN, KNATIVE, ScaledKind
from kotatsu_operator.core.report.record import minimum_back, replicas_back
from kotatsu_operator.core.report.status import read_original
from kotatsu_operator.features.knative.min_scale import MIN_SCALE, Revision, read_kept
from kotatsu_operator.features.parking.requests import (
    PodSize,
    pod_size,
    resize_patch,
    to_restore,
)

from .api import MERGE, STRATEGIC, Api, dry_run_query, find
from .checks.found import name_of, spec_of
from .checks.reader import label_query, path_of
from .errors import ConflictError, DemoModeError, NotServedError
from .operators import Standing, Watch, watch
from .owed import Owed, choose, read_all
from .pools import Object, pod_spec_of, pool_path
from .shell import Shell

_TRIES = 5
"""How often an object is read and written again after a conflict."""

CHANGED, UNCHANGED, FAILED = "restored", "unchanged", "failed"


@dataclass(frozen=True)
class Step:
    """What was done with one object, or why not."""

    namespace: str
    pool: str
    result: str
    message: str


Said = tuple[str, str]
"""A result, and a sentence."""


@dataclass
class Restorer:
    """Writes to one cluster. A dry run validates writes (server) or leaves them out (client)."""

    api: Api
    dry_run: str | None = None
    replicas: int | None = None
    """Replicas for every target, whatever it had and has."""
    _discovered: dict[str, ScaledKind | None] = field(default_factory=dict)
    _alive: dict[str, set[str]] = field(default_factory=dict)
    """The uids of the activators' pods by namespace."""

    def target(self, owed: Owed) -> Iterator[Step]:
        """Restore a target and its Service; an error of one object does not stop the others."""
        at = owed.namespace, owed.entry.pool
        if owed.waits_for:
            said = f"its deletion waits for {', '.join(owed.waits_for)}, which is not Kotatsu's"
            yield Step(*at, UNCHANGED, said)
        acts = self._minimum, self._requests, self._scale, self._min_scale, self._service
        for act in acts:
            yield from self._steps(*at, partial(act, owed))

    def _steps(
        self, namespace: str, pool: str, act: Callable[[], Iterator[Said]]
    ) -> Iterator[Step]:
        return (Step(namespace, pool, *said) for said in self._tried(act))

    def _tried(self, act: Callable[[], Iterator[Said]]) -> list[Said]:
        said: list[Said] = []
        for _ in range(_TRIES):
            try:
                said += act()
            except ConflictError as error:
                why = f"it changes all the time: {error}; try again"
            except DemoModeError as error:
                return [*said, (FAILED, str(error))]
            else:
                return said
        return [*said, (FAILED, why)]

    # --- replicas ---

    def _minimum(self, owed: Owed) -> Iterator[Said]:
        known = read_original(owed.entry.owed)
        if known is None:
            return
        place = path_of("autoscaling/v2", "horizontalpodautoscalers", owed.namespace, known.name)
        found = find(self.api, place)
        replicas, said = (None, "") if found is None else minimum_back(known, found)
        if found is not None and replicas is not None:
            self._patch(place, found, {"spec": {"minReplicas": replicas}})
            yield CHANGED, said

    def _requests(self, owed: Owed) -> Iterator[Said]:
        workload = self._workload(owed) if owed.parks or "reduced" in owed.entry.owed else None
        selector = "" if workload is None else label_query(workload)
        template = pod_spec_of(workload or {})
        if not (selector and template):
            return
        full, place = pod_size(template), path_of("v1", "pods", owed.namespace)
        for pod in self.api.get(place, labelSelector=selector).get("items") or ():
            if "deletionTimestamp" not in pod["metadata"]:
                yield from self._tried(partial(self._resize, place, pod, full))

    def _resize(self, place: str, pod: Object, full: PodSize) -> Iterator[Said]:
        size, name = pod_size(pod["spec"]), name_of(pod)
        if requests := to_restore(full, size):
            patch = resize_patch(pod["metadata"]["uid"], requests, size.sidecars)
            self._write(f"{place}/{quote(name)}/resize", patch, kind=STRATEGIC)
            yield CHANGED, f"Pod {name} has its full requests again"

    def _scale(self, owed: Owed) -> Iterator[Said]:
        if owed.entry.kind == KNATIVE:
            return
        entry, of = owed.entry, f"{owed.entry.kind} {owed.entry.target}"
        workload = self._workload(owed)
        if workload is None:
            yield UNCHANGED, f"there is no {of}"
            return
        now, wanted = int(spec_of(workload).get("replicas", 1)), self.replicas
        if wanted is not None and wanted != now:
            said = f"{of} has {wanted} replicas"
        elif "restoreReplicas" in entry.owed or now > 0:
            wanted, said = replicas_back(entry, now)
        else:
            wanted, said = None, f"{of} stays at 0 replicas: no record says that it had more"
        if wanted is not None:
            self._patch(f"{self._path(owed)}/scale", workload, {"spec": {"replicas": wanted}})
        elif now == 0:
            said += "; --replicas gives it pods"
        yield (UNCHANGED if wanted is None else CHANGED), said

    def _min_scale(self, owed: Owed) -> Iterator[Said]:
        for kept in read_kept(owed.entry.owed):
            place = path_of("serving.knative.dev/v1", "revisions", owed.namespace, kept.name)
            found = find(self.api, place)
            if found is None:
                continue
            meta = found["metadata"]
            now = table(meta.get("annotations")).get(MIN_SCALE)
            revision = Revision(kept.name, meta["resourceVersion"], now, uid=meta.get("uid", ""))
            if kept.holds(revision):
                self._patch(
                    place, found, {"metadata": {"annotations": {MIN_SCALE: kept.min_scale}}}
                )
                yield CHANGED, f"Revision {kept.name} has its own min-scale again"
            elif now != kept.min_scale:
                said = f"min-scale of Revision {kept.name} was set by another client and stays"
                yield UNCHANGED, said

    # --- the Service ---

    def _service(self, owed: Owed) -> Iterator[Said]:
        """Let a Service of route Activator select the pods of its target."""
        place = path_of("v1", "services", owed.namespace, owed.service)
        service = find(self.api, place) if owed.service else None
        if service is not None and protocol.ROUTE_LABEL in table(spec_of(service).get("selector")):
            self._patch(place, service, {"spec": {"selector": {protocol.ROUTE_LABEL: None}}})
            yield CHANGED, f"Service {owed.service} selects its pods again"
            return
        if service is None or spec_of(service).get("selector") or self._has_endpoints(owed):
            return
        workload = self._workload(owed)
        if workload is None or spec_of(service).get("type") == "ExternalName":
            return
        labels = workload_selector(workload).get("matchLabels") or pod_labels(workload)
        of = f"the pods of {owed.entry.kind} {owed.entry.target}"
        if not labels:
            yield FAILED, f"Service {owed.service} has no endpoint: give it a selector for {of}"
            return
        self._patch(place, service, {"spec": {"selector": dict(labels)}})
        shown = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        yield CHANGED, f"Service {owed.service} selects {of} ({shown})"

    def _has_endpoints(self, owed: Owed) -> bool:
        """Whether a Service has endpoints that no activator has published."""
        place = path_of("discovery.k8s.io/v1", "endpointslices", owed.namespace)
        found = self.api.get(place, labelSelector=f"{protocol.SERVICE_LABEL}={owed.service}").get(
            "items"
        )
        return any(
            raw.get("endpoints")
            and table(raw["metadata"].get("labels")).get(protocol.MANAGED_BY_LABEL)
            != protocol.MANAGED_BY
            for raw in found or ()
        )

    def slices(self, namespace: str, pools: set[str] | None) -> Iterator[Step]:
        """Delete the slices of activators that are gone: of some pools, or all (None)."""
        return self._steps(namespace, "", partial(self._lost_slices, namespace, pools))

    def _lost_slices(self, namespace: str, pools: set[str] | None) -> Iterator[Said]:
        place = path_of("discovery.k8s.io/v1", "endpointslices", namespace)
        ours = f"{protocol.MANAGED_BY_LABEL}={protocol.MANAGED_BY}"
        slices = self.api.get(place, labelSelector=ours).get("items") or ()
        if not slices:
            return
        for raw in slices:
            home, uid = activator_of_slice(raw)
            is_lost = uid not in self._activators(home)
            if is_lost and (pools is None or protocol.pool_of_slice(raw) in pools):
                self._delete(f"{place}/{quote(name_of(raw))}")
                yield (
                    CHANGED,
                    f"EndpointSlice {name_of(raw)} of an activator that is gone is deleted",
                )

    def _activators(self, namespace: str) -> set[str]:
        """The uids of the activators' pods in a namespace that stay.

        One that ends after an uninstall may not withdraw its slices any more.
        """
        if namespace not in self._alive:
            path = path_of("v1", "pods", namespace)
            there = self.api.get(path, labelSelector=protocol.ACTIVATOR_SELECTOR).get("items") or ()
            self._alive[namespace] = {
                pod["metadata"]["uid"]
                for pod in there
                if table(pod.get("status")).get("phase") not in ("Succeeded", "Failed")
                and "deletionTimestamp" not in pod["metadata"]
            }
        return self._alive[namespace]

    # --- the record ---

    def record(self, record: Object, restored: set[str]) -> Iterator[Step]:
        """Remove the entries of deleted pools that are restored from a part of the record."""
        namespace = record["metadata"]["namespace"]
        done = restored & table(record.get("data")).keys()

        def act() -> Iterator[Said]:
            if done:
                place = path_of("v1", "configmaps", namespace, name_of(record))
                self._write(place, {"data": dict.fromkeys(done), "metadata": {}})
            yield from ()

        return self._steps(namespace, "", act)

    # --- reading and writing ---

    def _path(self, owed: Owed) -> str:
        kind = self._kind(owed)
        if kind is None:
            raise NotServedError(f"the cluster has no kind {owed.entry.kind} with a scale")
        return path_of(kind.api_version, kind.plural, owed.namespace, owed.entry.target)

    def _kind(self, owed: Owed) -> ScaledKind | None:
        kind = owed.entry.kind
        if kind in BUILT_IN:
            return BUILT_IN[kind]
        if owed.api_version:
            return ScaledKind(owed.api_version, kind, f"{kind.lower()}s")
        if kind not in self._discovered:
            self._discovered[kind] = next(self._serving(kind), None)
        return self._discovered[kind]

    def _serving(self, kind: str) -> Iterator[ScaledKind]:
        """The resources of a kind that have a scale: the record has no API group."""
        for group in self.api.get("/apis").get("groups") or ():
            version = group["preferredVersion"]["groupVersion"]
            found = self.api.get(f"/apis/{version}").get("resources") or ()
            names = {text(resource.get("name")) for resource in found}
            for resource in found:
                if resource.get("kind") == kind and f"{resource['name']}/scale" in names:
                    yield ScaledKind(version, kind, resource["name"])

    def _workload(self, owed: Owed) -> Object | None:
        return find(self.api, self._path(owed))

    def _patch(self, path: str, read: Object, change: Mapping[str, Any]) -> None:
        """Merge into an object at the version that was read, as the operator would."""
        version = {"resourceVersion": read["metadata"]["resourceVersion"]}
        self._write(path, {**change, "metadata": {**version, **table(change.get("metadata"))}})

    def _write(self, path: str, patch: Object, kind: str = MERGE) -> None:
        # With the operator's name: to a later install, another one is a foreign writer.
        query = {"fieldManager": protocol.OPERATOR, **dry_run_query(bool(self.dry_run))}
        if self.dry_run != "client":
            self.api.patch(path, patch, kind, query)

    def _delete(self, path: str) -> None:
        if self.dry_run != "client":
            self.api.delete(path, **dry_run_query(bool(self.dry_run)))


def activator_of_slice(raw: Object) -> tuple[str, str]:
    """The namespace of the activator that published a slice, and its uid; empty if unknown."""
    meta = raw["metadata"]
    named = text(table(meta.get("annotations")).get(protocol.ACTIVATOR_ANNOTATION)).split("/")
    if len(named) == len(("namespace", "pod", "uid")):
        return named[0], named[2]
    return meta["namespace"], ""


# --- the command ---


def run(options: Namespace, shell: Shell) -> int:
    """Restore the chosen targets; returns 1 if something could not be restored."""
    steps, restored = list[Step](), set[str]()
    with shell.api(options) as api:
        options.namespace = "" if options.all_namespaces else shell.namespace(api, options)
        found = read_all(api, options.namespace, options.home, shell)
        chosen = choose(found.owed, api, options)
        is_all = chosen == list(found.owed)
        holders: dict[str, str | None] = {}
        restorer = Restorer(api, options.dry_run, options.replicas)
        for namespace in sorted({one.namespace for one in chosen}):
            mine = [owed for owed in chosen if owed.namespace == namespace]
            try:
                one = watch(api, namespace, shell, holders)
                if not options.force and (why := why_not(api, namespace, one)):
                    raise DemoModeError(why)
                names = None if is_all else {owed.entry.pool for owed in mine}
                done = [(owed, list(restorer.target(owed))) for owed in mine]
                steps += [step for _, took in done for step in took]
                steps += restorer.slices(namespace, names)
                restored |= {owed.uid for owed, took in done if not _failed(took)}
            except DemoModeError as error:
                steps.append(Step(namespace, "", FAILED, str(error)))
        for record in found.records:
            steps += restorer.record(record, restored)
    _show(steps, options, shell)
    return int(_failed(steps))


def why_not(api: Api, namespace: str, found: Watch) -> str:
    """Why nothing is restored in a namespace: an operator would undo it. Empty if none would."""
    remedy = (
        "uninstall Kotatsu or delete the WarmPools, which restores too, or use --force; for pods, "
        "`kubectl demo-mode on` is enough"
    )
    match found.standing:
        case Standing.ABSENT | Standing.DOWN:
            return ""
        case Standing.UNKNOWN:
            pools = (find(api, pool_path(namespace)) or {}).get("items") or ()
            if not any(map(activators_of, pools)):
                return ""  # an operator writes there which activators serve a pool
            return f"an operator may watch it ({found.message}): {remedy}"
    return f"{found.message}, and may undo it: {remedy}"


def _failed(steps: Sequence[Step]) -> bool:
    return any(step.result == FAILED for step in steps)


def _show(steps: Sequence[Step], options: Namespace, shell: Shell) -> None:
    if options.output:
        shell.terminal.dump([asdict(step) for step in steps], options.output)
        return
    tried = f" ({options.dry_run} dry run)" if options.dry_run else ""
    for step in steps:
        of = "/".join(filter(None, (step.namespace, step.pool)))
        if step.result == FAILED:
            shell.terminal.complain(f"error: {of}: {step.message}")
        else:
            shell.terminal.say(f"{of}: {step.message}{tried if step.result == CHANGED else ''}")
    if not steps:
        shell.terminal.say("Nothing is left to restore.")
