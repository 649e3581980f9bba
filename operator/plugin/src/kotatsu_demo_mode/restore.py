"""kubectl demo-mode restore: gives targets their replicas and Services back without Kotatsu.

By the rule of the operator (`core.give_back`), with the permissions of the user.
"""

from argparse import Namespace
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from kotatsu_operator.core import protocol
from kotatsu_operator.core.formats import table, text
from kotatsu_operator.core.give_back import (
    FAILED,
    RESTORED,
    SERVICE,
    UNCHANGED,
    Change,
    Part,
    Place,
    Result,
    give,
    give_back,
)
from kotatsu_operator.core.objects import activators_of, pod_labels, workload_selector
from kotatsu_operator.core.pool.spec import BUILT_IN, ScaledKind

from .api import MERGE, STRATEGIC, Api, dry_run_query, find
from .errors import ConflictError, DemoModeError, NotServedError
from .installs import Standing, Watch
from .objects import Object, label_query, name_of, path_of, spec_of
from .operators import watch
from .owed import Owed, choose, read_all
from .pools import pool_path
from .shell import Shell

T = TypeVar("T")

CONFIG_MAP = ScaledKind("v1", "ConfigMap", "configmaps")


@dataclass(frozen=True)
class Line:
    """What was done with one object of a pool, or why not."""

    namespace: str
    pool: str
    result: str
    message: str


@dataclass
class Restorer:
    """Restores targets in one cluster. A dry run validates writes (server), or makes none (client).

    It is the client of `give_back`.
    """

    api: Api
    dry_run: str | None = None
    replicas: int | None = None
    """Replicas for every target, whatever it had and has."""
    kinds: dict[str, ScaledKind | None] = field(default_factory=dict)
    """The kinds of targets that are known."""
    _alive: dict[str, set[str]] = field(default_factory=dict)
    """The uids of the activators' pods by namespace."""

    errors = (DemoModeError,)
    conflict = ConflictError

    def is_refusal(self, _: Exception) -> bool:
        return True

    async def read(self, place: Place) -> Object | None:
        return find(self.api, self._path(place))

    async def pods(self, workload: Mapping[str, Any]) -> Sequence[Object]:
        path = path_of("v1", "pods", workload["metadata"]["namespace"])
        return self.api.get(path, labelSelector=label_query(workload)).get("items") or ()

    async def write(self, place: Place, patch: Mapping[str, Any]) -> None:
        path = "/".join(filter(None, (self._path(place), place.part)))
        # With the operator's name: to a later install, another one is a foreign writer.
        query = {"fieldManager": protocol.OPERATOR, **dry_run_query(bool(self.dry_run))}
        if self.dry_run != "client":
            kind = STRATEGIC if place.part == "resize" else MERGE
            self.api.patch(path, dict(patch), kind, query)

    def _path(self, place: Place) -> str:
        kind = self._kind(place.kind) if isinstance(place.kind, str) else place.kind
        if kind is None:
            raise NotServedError(f"the cluster has no kind {place.kind} with a scale")
        return path_of(kind.api_version, kind.plural, place.namespace, place.name)

    def _kind(self, kind: str) -> ScaledKind | None:
        if kind not in self.kinds:
            self.kinds[kind] = BUILT_IN.get(kind) or next(self._serving(kind), None)
        return self.kinds[kind]

    def _serving(self, kind: str) -> Iterator[ScaledKind]:
        """The resources of a kind that have a scale: the record has no API group."""
        for group in self.api.get("/apis").get("groups") or ():
            version = group["preferredVersion"]["groupVersion"]
            found = self.api.get(f"/apis/{version}").get("resources") or ()
            names = {text(resource.get("name")) for resource in found}
            for resource in found:
                if resource.get("kind") == kind and f"{resource['name']}/scale" in names:
                    yield ScaledKind(version, kind, resource["name"])

    # --- what is done ---

    def target(self, owed: Owed) -> list[Line]:
        """Restore a target and its Service; an error of one object does not stop the others."""
        entry, made = owed.entry, list[Result]()
        if owed.waits_for:
            said = f"its deletion waits for {', '.join(owed.waits_for)}, which is not Kotatsu's"
            made.append(Result(UNCHANGED, said))
        made += at_once(give_back(self, entry, self.replicas))
        if owed.service:
            by_hand = f"give Service {owed.service} a selector for the pods of {owed.of}"
            place = Place(SERVICE, entry.namespace, owed.service)
            made += at_once(give(self, Part(place, partial(self._selector, owed), by_hand)))
        hint = "; --replicas gives it pods"
        return [
            Line(entry.namespace, entry.pool, s.result, s.message + hint * (s.replicas == 0))
            for s in made
        ]

    def _selector(self, owed: Owed, service: Mapping[str, Any]) -> Change | None:
        """Let a Service of route Activator that has no selector select the pods of its target."""
        spec, entry = spec_of(service), owed.entry
        if spec.get("selector") or spec.get("type") == "ExternalName" or self._has_endpoints(owed):
            return None
        workload = find(self.api, self._path(Place(entry.kind, entry.namespace, entry.target)))
        if workload is None:
            return None
        labels = workload_selector(workload).get("matchLabels") or pod_labels(workload)
        if not labels:
            raise DemoModeError(f"Service {owed.service} has no endpoint")
        shown = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        said = f"Service {owed.service} selects the pods of {owed.of} ({shown})"
        return Change(said, {"spec": {"selector": dict(labels)}})

    def _has_endpoints(self, owed: Owed) -> bool:
        """Whether a Service has endpoints that no activator has published."""
        place = path_of("discovery.k8s.io/v1", "endpointslices", owed.entry.namespace)
        theirs = f"{protocol.MANAGED_BY_LABEL}!={protocol.MANAGED_BY}"
        query = f"{protocol.SERVICE_LABEL}={owed.service},{theirs}"
        found = self.api.get(place, labelSelector=query).get("items") or ()
        return any(raw.get("endpoints") for raw in found)

    def slices(self, namespace: str, pools: set[str] | None) -> Iterator[Line]:
        """Delete the slices of activators that are gone: of some pools, or all (None)."""
        place = path_of("discovery.k8s.io/v1", "endpointslices", namespace)
        ours = f"{protocol.MANAGED_BY_LABEL}={protocol.MANAGED_BY}"
        for raw in self.api.get(place, labelSelector=ours).get("items") or ():
            home, _, uid = protocol.publisher_of_slice(raw)
            is_lost = uid not in self._activators(home)
            if is_lost and (pools is None or protocol.pool_of_slice(raw) in pools):
                if self.dry_run != "client":
                    path = f"{place}/{quote(name_of(raw))}"
                    self.api.delete(path, **dry_run_query(bool(self.dry_run)))
                said = f"EndpointSlice {name_of(raw)} of an activator that is gone is deleted"
                yield Line(namespace, "", RESTORED, said)

    def strike_out(self, record: Object, restored: set[str]) -> Iterator[Line]:
        """Remove the entries of deleted pools that are restored from a part of the record."""
        namespace, data = record["metadata"]["namespace"], table(record.get("data"))
        place = Place(CONFIG_MAP, namespace, name_of(record))
        try:
            if done := restored & data.keys():
                at_once(self.write(place, {"data": dict.fromkeys(done)}))
        except DemoModeError as error:
            yield Line(namespace, "", FAILED, str(error))

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


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that waits for nothing but a client that blocks."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise RuntimeError("it waits for something else")


# --- the command ---


def run(options: Namespace, shell: Shell) -> int:
    """Restore the chosen targets; returns 1 if something could not be restored."""
    lines, restored = list[Line](), set[str]()
    with shell.api(options) as api:
        options.namespace = shell.namespace(api, options)
        found = read_all(api, options.namespace, options.home, shell)
        chosen = choose(found.owed, api, options)
        is_all = chosen == list(found.owed)
        holders: dict[str, str | None] = {}
        restorer = Restorer(api, options.dry_run, options.replicas, {**found.kinds})
        for namespace in sorted({one.entry.namespace for one in chosen}):
            mine = [owed for owed in chosen if owed.entry.namespace == namespace]
            try:
                one = watch(api, namespace, shell, holders)
                if not options.force and (why := why_not(api, namespace, one)):
                    raise DemoModeError(why)
                for owed in mine:
                    took = restorer.target(owed)
                    lines += took
                    restored |= set() if _failed(took) else {owed.uid}
                lines += restorer.slices(
                    namespace, None if is_all else {owed.entry.pool for owed in mine}
                )
            except DemoModeError as error:
                lines.append(Line(namespace, "", FAILED, str(error)))
        for record in found.records:
            lines += restorer.strike_out(record, restored)
    _show(lines, options, shell)
    return int(_failed(lines))


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


def _failed(lines: Sequence[Line]) -> bool:
    return any(line.result == FAILED for line in lines)


def _show(lines: Sequence[Line], options: Namespace, shell: Shell) -> None:
    if options.output:
        shell.terminal.dump([asdict(line) for line in lines], options.output)
        return
    tried = f" ({options.dry_run} dry run)" if options.dry_run else ""
    for line in lines:
        of = "/".join(filter(None, (line.namespace, line.pool)))
        if line.result == FAILED:
            shell.terminal.complain(f"error: {of}: {line.message}")
        else:
            shell.terminal.say(f"{of}: {line.message}{tried if line.result == RESTORED else ''}")
    if not lines:
        shell.terminal.say("Nothing is left to restore.")
