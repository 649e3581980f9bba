"""A small cluster: objects as the API server hands them out, and an API server in memory."""

import asyncio
import contextlib
import inspect
import json
import marshal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from typing import Any

from kotatsu_operator.activator import pool as activator_pool
from kotatsu_operator.activator.pool import PodIdentity
from kotatsu_operator.activator.slices import make_slice
from kotatsu_operator.controller.served import Served
from kotatsu_operator.core.objects import owners, selects
from kotatsu_operator.core.pool.spec import BUILT_IN
from kotatsu_operator.core.protocol import (
    ACTIVATOR_LABELS,
    HOME_LABEL,
    SERVICE_LABEL,
    own_set,
    record_part,
)
from kotatsu_operator.core.report.record import parts_of
from kotatsu_operator.core.scope import Namespace, Scope
from kotatsu_operator.kube.client import EVERYWHERE, Keeps, Scale, everything
from kotatsu_operator.kube.errors import ApiError, ConflictError, NotFoundError, UnreadableError
from kotatsu_operator.kube.fields import used
from kotatsu_operator.kube.objects import Object, key_of, parts, resource_of, version_of
from tests.operator.core.values import annotations_of

NAMESPACE = "demo"
VOICE = (NAMESPACE, "voice")
SET = own_set(NAMESPACE, NAMESPACE)
"""The activators of that namespace, which is the release's too."""
RECORD = record_part(NAMESPACE)


SCOPE = Scope(NAMESPACE, own=frozenset([NAMESPACE]))


def namespace(name: str = NAMESPACE, **labels: str) -> Object:
    """A Namespace."""
    return {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def served(*namespaces: str) -> Served:
    """What an install serves: some namespaces in use, with activators of their own."""
    names = namespaces or (NAMESPACE,)
    scope = Scope(NAMESPACE, own=frozenset(names))
    known = {name: Namespace({}, is_ending=False, shares=False) for name in names}
    return Served(scope, known, set(names))


MINE = {"internal": {"activators": SET}}
"""The status of a pool that these activators serve."""


def in_use(operator: Any) -> None:
    """Let an operator know the namespace, as after its first lists."""
    operator._namespaces.keep(namespace())
    operator.cache.served.used.add(NAMESPACE)
    operator._namespaces.begin()
    operator._known.set()


pool_view = partial(activator_pool.pool_view, activators=SET)
"""How those activators read a pool."""


async def eventually(holds: Callable[[], Any]) -> None:
    """Wait until something holds that is under way already."""
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it does not happen")


@contextlib.contextmanager
def turns_of_others() -> Iterator[Callable[[], int]]:
    """A task beside the block that takes every turn of the loop it gets; how many it has had."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counted = asyncio.create_task(others())
    try:
        yield lambda: turns
    finally:
        counted.cancel()


def warm_pool(
    name: str = "voice", *, uid: str = "", status: Object | None = None, **spec
) -> Object:
    """A WarmPool; spec fields are written as in a manifest."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    annotations = annotations_of(spec)
    if (
        status
        and isinstance(status, dict)
        and isinstance(inner := status.get("internal", {}), dict)
    ):
        status = status | {"internal": {"activators": SET} | inner}
    return {
        "apiVersion": "kotatsu.dev/v1beta1",
        "kind": "WarmPool",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": uid or f"pool-{name}",
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": "2026-11-25T09:00:00Z",
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {"targetRef": target} | spec,
        **({} if status is None else {"status": status}),
    }


def deployment(name: str = "voice", replicas: int = 0) -> Object:
    """A Deployment that selects `app: name`, with a pod template of that label."""
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "resourceVersion": "1"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}},
        },
    }


def horizontal_pod_autoscaler(
    name: str = "voice", target: str = "voice", *, least: int | None = 1, most: int = 10
) -> Object:
    """A HorizontalPodAutoscaler on a Deployment."""
    return {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": NAMESPACE, "resourceVersion": "1"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            **({} if least is None else {"minReplicas": least}),
            "maxReplicas": most,
        },
    }


def owned(field: str, manager: str, *, operation: str = "Update", at: str = "10:00:00") -> Object:
    """An entry of managedFields: a manager owns one field of the spec."""
    return {
        "manager": manager,
        "operation": operation,
        "time": f"2026-11-25T{at}Z",
        "fieldsV1": {"f:spec": {f"f:{field}": {}}},
    }


def knative_service(name: str = "voice", *, ready: str = "True", **traffic: int) -> Object:
    """A Knative Service whose status sends this percentage of the requests to each Revision."""
    routed = [{"revisionName": r.replace("_", "-"), "percent": p} for r, p in traffic.items()]
    condition = {"type": "Ready", "status": ready, "reason": "Because", "message": "it says so"}
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "resourceVersion": "1"},
        "status": {"traffic": routed, "conditions": [condition]},
    }


def revision(
    name: str = "voice-00001",
    *,
    of: str = "voice",
    actual: int = 0,
    desired: int | None = None,
    ready: bool = True,
    **annotations: str,
) -> Object:
    """A Revision of a Knative Service; annotations like min_scale="2"."""
    return {
        "kind": "Revision",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "resourceVersion": "1",
            "labels": {"serving.knative.dev/service": of},
            "annotations": {
                f"autoscaling.knative.dev/{key.replace('_', '-')}": value
                for key, value in annotations.items()
            },
        },
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "actualReplicas": actual,
            "desiredReplicas": actual if desired is None else desired,
        },
    }


def service(name: str = "voice", *ports: Object) -> Object:
    """A Service in front of `app: name`, by default with the port `http`."""
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}"},
        "spec": {
            "selector": {"app": name},
            "ports": list(ports) or [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def pod(
    name: str = "voice-1",
    *,
    app: str = "voice",
    ip: str = "127.0.0.1",
    port: int = 8080,
    ready: bool = False,
    phase: str = "Running",
    terminating: bool = False,
    labels: dict[str, str] | None = None,
    **container: Any,
) -> Object:
    """A Pod with one container; what else the container has is given by name."""
    since = "2026-11-25T09:30:00Z"
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "labels": {"app": app} if labels is None else labels,
            **({"deletionTimestamp": since} if terminating else {}),
        },
        "spec": {
            "nodeName": "node-a",
            "containers": [{"ports": [{"name": "http", "containerPort": port}], **container}],
        },
        "status": {
            "phase": phase,
            "podIP": ip,
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": since},
                {"type": "Ready", "status": str(ready), "lastTransitionTime": since},
            ],
        },
    }


def activator_pod(name: str = "activator-1", *, ready: bool = True, **how: Any) -> Object:
    """A pod of the activator."""
    ports = [{"name": "metrics", "containerPort": how.pop("port", 8080)}]
    labels = ACTIVATOR_LABELS | {HOME_LABEL: NAMESPACE}
    return pod(name, labels=labels, ready=ready, ports=ports, **how)


def was_ready(obj: Object, status: str = "False") -> Object:
    """A pod that was Ready a minute after its start, and is not any more."""
    obj["status"]["startTime"] = "2026-11-25T09:30:00Z"
    told = {"type": "Ready", "status": status, "lastTransitionTime": "2026-11-25T09:31:00Z"}
    others = [c for c in obj["status"]["conditions"] if c["type"] != "Ready"]
    obj["status"]["conditions"] = [*others, told]
    return obj


def crashed(obj: Object, reason: str = "CrashLoopBackOff") -> Object:
    """A pod whose container has ended and waits to be started again."""
    ended = {"terminated": {"exitCode": 1}}
    container = {"state": {"waiting": {"reason": reason}}, "lastState": ended, "restartCount": 1}
    obj["status"]["containerStatuses"] = [container]
    return obj


def native_slice(
    *ready: bool, of: str = "voice", terminating: bool = False, family: str = "IPv4"
) -> Object:
    """The EndpointSlice that Kubernetes keeps for a Service, with one endpoint for each `ready`."""
    return {
        "kind": "EndpointSlice",
        "addressType": family,
        "metadata": {
            "name": f"{of}-native-{family.lower()}",
            "namespace": NAMESPACE,
            "labels": {
                SERVICE_LABEL: of,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
        },
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": r, "terminating": terminating}}
            for r in ready
        ],
    }


def config_map(**data: str) -> Object:
    """The record of what targets get back."""
    metadata = {"name": RECORD, "namespace": NAMESPACE}
    return {"kind": "ConfigMap", "metadata": metadata, **({"data": data} if data else {})}


def record() -> list[Object]:
    """All parts of the record, empty."""
    names = [{"name": part.name, "namespace": NAMESPACE} for part in parts_of(NAMESPACE)]
    return [{"kind": "ConfigMap", "metadata": metadata} for metadata in names]


def published(
    activator: str,
    epoch: int,
    *,
    pool: str = "voice",
    state: Any = "serving",
    family: Any = "IPv4",
    dual: bool = False,
) -> Object:
    """The slice that an activator's pod has published for a pool."""
    me = PodIdentity("demo", activator, f"uid-{activator}", ("10.0.0.9", "fd00::9"), "node-a", SET)
    route = {"target": "Activator", "epoch": epoch}
    view = pool_view(warm_pool(pool, status={"route": route}))
    of = service(pool)
    of["spec"]["ipFamilies"] = ["IPv4", "IPv6"] if dual else [family]
    return make_slice(view, of, me, family, {"http": 1}, state=state)


def keep(cache: Any, *objects: Object) -> None:
    """Let the watches tell a cache of objects."""
    for obj in objects:
        if obj["kind"] in cache.scaled:
            cache.keep_workload(obj["kind"], used(resource_of(cache.scaled[obj["kind"]]), obj))
        else:
            getattr(cache, f"keep_{_KEPT[obj['kind']]}")(obj)


def forget(cache: Any, kind: str, name: str) -> None:
    """Let the watches tell a cache that an object is gone."""
    if kind in cache.scaled:
        cache.forget_workload(kind, (NAMESPACE, name))
    else:
        getattr(cache, f"forget_{_KEPT[kind]}")((NAMESPACE, name))


_KEPT = {
    "WarmPool": "pool",
    "Pod": "pod",
    "Service": "service",
    "EndpointSlice": "slice",
    "HorizontalPodAutoscaler": "autoscaler",
}


def knative_refuses(annotations: Mapping[str, str]) -> str:
    """What Knative's webhook says against scale annotations; empty when it lets them pass.

    As validateMinMaxScale does it in pkg/apis/autoscaling/annotation_validation.go of Serving 1.21.
    """
    least, most, activation = (
        int(annotations.get(f"autoscaling.knative.dev/{name}", 0))
        for name in ("min-scale", "max-scale", "activation-scale")
    )
    why = ""
    if most and most < least:
        why = f"max-scale={most} is less than min-scale={least}"
    elif activation and least > activation:
        why = f"min-scale={least} is greater than activation-scale={activation}"
    webhook = 'admission webhook "validation.webhook.serving.knative.dev" denied the request'
    return f"{webhook}: validation failed: {why}: metadata.annotations" if why else ""


_WRITING = (
    "put_scale", "raise_scale", "put_minimum", "put_route", "resize", "patch_status",
    "annotate", "create", "replace", "delete",
)  # fmt: skip


def forbidden() -> ApiError:
    """What the API server answers where a Role is missing."""
    return ApiError(403, "forbidden")


DENIED = "ValidatingAdmissionPolicy 'kotatsu-scales' denied request: An activator may not"


def denied() -> ApiError:
    """What the API server answers where an admission policy refuses a write."""
    return ApiError(422, DENIED)


class FakeKube:
    """An API server in memory: versions grow, a stale write conflicts, every call is recorded.

    Objects of another namespace than `demo` are named `NAMESPACE/NAME` to tests, and in calls.
    `on(verb, act)` runs `act` as the verb's call comes in, before it is answered, or raises it;
    `down` makes every call fail as an API server does that is away.
    """

    def __init__(self, *objects: Object) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.down = False
        self.has_knative = True
        self.scaled = BUILT_IN
        self.restarts: Counter[str] = Counter()
        """How often the watch of a kind was restarted."""
        self.refuses = knative_refuses
        """Why an admission webhook refuses annotations; empty when it does not."""
        self._objects: dict[tuple[str, str], Object] = {}
        self._version = 100
        self._acts: dict[str, tuple[Any, int]] = {}
        self._watches: list[tuple[str, asyncio.Queue[tuple[str, Object]]]] = []
        for obj in objects:
            self.put(obj)

    # --- what tests do ---

    def put(self, obj: Object, kind: str = "") -> Object:
        """Store an object as somebody else's write would; returns it at its new version."""
        stored = _written(obj)
        self._version += 1
        stored["metadata"]["resourceVersion"] = str(self._version)
        self._objects[kind or obj["kind"], named(stored)] = stored
        self._tell(kind or obj["kind"], "MODIFIED", stored)
        return _copied(stored)

    def edit(self, kind: str, name: str, **fields: Any) -> Object:
        """Merge into an object as somebody else's write would."""
        return self.put(_merged(self._objects[kind, name], fields), kind)

    def remove(self, kind: str, name: str) -> None:
        """Delete an object as somebody else would."""
        self._tell(kind, "DELETED", self._objects.pop((kind, name)))

    def end_watches(self, kind: str) -> None:
        """End the streams of a kind, as when the versions to go on from are forgotten."""
        self._tell(kind, "END", {})

    def on(self, verb: str, act: Any, times: int = -1) -> None:
        """Run `act(*details)` at each call of a verb from now on, or at so many, or raise it."""
        self._acts[verb] = act, times if act is not None else 0

    def stored(self, kind: str, name: str) -> Object:
        """An object as it is now."""
        return _copied(self._objects[kind, name])

    def all(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        return [_copied(o) for (k, _), o in list(self._objects.items()) if k == kind]

    def versions(self, *kinds: str) -> dict[tuple[str, str], str]:
        """The version of every object of some kinds, by kind and name."""
        return {
            key: obj["metadata"]["resourceVersion"]
            for key, obj in list(self._objects.items())
            if key[0] in kinds
        }

    @property
    def version(self) -> int:
        """Grows with every write."""
        return self._version

    def called(self, *verbs: str) -> list[tuple[Any, ...]]:
        """The calls of some verbs so far."""
        return [call for call in self.calls if call[0] in verbs]

    @property
    def writes(self) -> list[str]:
        """The verbs of all calls that change something, in order; events and histories apart."""
        apart = ("Event", "WarmPoolHistory")
        return [call[0] for call in self.called(*_WRITING) if call[1] not in apart]

    # --- what the programs call ---

    def guarded(self, may_write: Callable[[], bool]) -> "FakeKube":
        """The same API server; that the guard is asked is tested with the real client."""
        return self

    def separate(self) -> "FakeKube":
        """The same API server; that its connections are others is tested with the real client."""
        return self

    async def close(self) -> None:
        """There are no connections."""

    def on_restart(self, kind: str, times: int) -> None:
        self.restarts[kind] += times

    async def versions_of(self, kind: Any) -> dict[str, int]:
        await self._enter("versions_of", kind.__name__)
        return {o["metadata"]["uid"]: version_of(o) for o in self.all(kind.__name__)}

    async def get(self, kind: Any, namespace: str, name: str) -> Object:
        place = _place(namespace, name)
        await self._enter("get", kind.__name__, place)
        return _copied(self._find(kind.__name__, place))

    async def find(
        self,
        kind: Any,
        namespace: str,
        labels: Mapping[str, str] | None = None,
        read: Callable[[Object], Any] = lambda obj: obj,
    ) -> list[Any]:
        await self._enter("find", kind.__name__, namespace)
        wanted = {"matchLabels": labels or {}}
        there = [o for o in self.all(kind.__name__) if _is_in(o, namespace)]
        found = [used(kind, o) for o in there]
        return [read(o) for o in found if selects(wanted, o["metadata"].get("labels") or {})]

    async def get_scale(self, namespace: str, name: str) -> Scale:
        name = _ref(namespace, name)
        await self._enter("get_scale", name)
        if (kind := parts(name)[0]) not in self.scaled:
            raise UnreadableError(f"{kind} is not among the kinds of the chart value `targets`")
        found = self._find(*parts(name))
        return Scale(found["spec"].get("replicas", 0), found["metadata"]["resourceVersion"])

    async def put_scale(self, namespace: str, name: str, replicas: int, version: str) -> None:
        name = _ref(namespace, name)
        await self._enter("put_scale", name, replicas)
        self._check(*parts(name), version)
        self._scale(name, replicas, "kotatsu-operator")

    async def raise_scale(self, namespace: str, name: str, version: str) -> Scale:
        name = _ref(namespace, name)
        await self._enter("raise_scale", name)
        self._check(*parts(name), version)
        self._scale(name, 1, "kotatsu-activator")
        return Scale(1, self._find(*parts(name))["metadata"]["resourceVersion"])

    def _scale(self, name: str, replicas: int, by: str) -> None:
        """A write of the scale: its manager owns the replicas from then on, if they had an owner.

        Nobody owns replicas of 0: the scale leaves them out.
        """
        found = self.stored(*parts(name))
        is_owned = bool(owners(found, "replicas")) and replicas > 0
        ours = {"managedFields": [owned("replicas", by)] if is_owned else []}
        self.edit(*parts(name), metadata=ours, spec={"replicas": replicas})

    async def resize(self, key: tuple[str, str], patch: Any) -> Object:
        asked = [c for kind in patch["spec"].values() for c in kind]
        requests = {c["name"]: c["resources"]["requests"] for c in asked}
        await self._enter("resize", _place(*key), _written(requests))
        found = _copied(self._find("Pod", _place(*key)))
        if found["metadata"]["uid"] != patch["metadata"]["uid"]:
            raise ConflictError(f"pod {key[1]} is another one")
        spec = found["spec"]
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            if (asked := requests.get(container.get("name"))) is not None:
                container["resources"]["requests"] |= asked
        return self.put(found)

    async def patch_status(
        self, namespace: str, name: str, status: Object, version: str | None = None
    ) -> Object:
        name = _place(namespace, name)
        await self._enter("patch_status", name, _written(status))
        found = self._find("WarmPool", name)
        if version is not None:
            self._check("WarmPool", name, version)
        new = _merged(found, {"status": status})
        return _copied(found) if new == found else self.put(new, "WarmPool")

    async def serves(self, kind: Any, namespace: str) -> bool:
        await self._enter("serves", kind.__name__, namespace)
        return self.has_knative

    async def merge(self, kind: Any, namespace: str, name: str, patch: Object) -> Object:
        """Tests know the call by what such a patch is for."""
        name, meta, spec = _place(namespace, name), patch.get("metadata", {}), patch.get("spec", {})
        match kind.__name__:
            case "Service":
                await self._enter("put_route", name, spec["selector"]["kotatsu.dev/route"])
            case "HorizontalPodAutoscaler":
                await self._enter("put_minimum", name, spec["minReplicas"])
            case _:
                await self._enter("annotate", name, dict(meta["annotations"]))
        found = self._find(kind.__name__, name)
        if "resourceVersion" in meta:
            self._check(kind.__name__, name, meta["resourceVersion"])
        new = _merged(found, patch)
        if refusal := self.refuses(new["metadata"].get("annotations", {})):
            raise ApiError(400, refusal)
        if spec:
            field = "selector" if "selector" in spec else "minReplicas"
            new["metadata"]["managedFields"] = [owned(field, "kotatsu-operator")]
        return self.put(new, kind.__name__)

    async def create(self, kind: Any, namespace: str, obj: Object) -> Object:
        await self._enter("create", kind.__name__, _written(obj))
        name = obj["metadata"].get("name", f"generated-{self._version}")
        if (kind.__name__, _place(namespace, name)) in self._objects:
            raise ConflictError(f"{name} already exists")
        there = {"namespace": namespace} | obj["metadata"] | {"name": name}
        return self.put(obj | {"metadata": there}, kind.__name__)

    async def apply(self, kind: Any, obj: Object) -> Object:
        await self._enter("apply", kind.__name__, _written(obj))
        there = self._objects.get((kind.__name__, named(obj)), {})
        return self.put(_merged(there, obj), kind.__name__)

    async def replace(self, kind: Any, namespace: str, obj: Object) -> Object:
        await self._enter("replace", kind.__name__, _written(obj))
        meta = obj["metadata"]
        self._check(kind.__name__, _place(namespace, meta["name"]), meta["resourceVersion"])
        return self.put(obj, kind.__name__)

    async def delete(self, kind: Any, namespace: str, name: str) -> None:
        name = _place(namespace, name)
        await self._enter("delete", kind.__name__, name)
        if (kind.__name__, name) in self._objects:
            self.remove(kind.__name__, name)

    async def follow(
        self, kind: Any, namespace: str, keeps: Keeps = everything
    ) -> AsyncIterator[tuple[str, Object]]:
        await self._enter("follow", kind.__name__)
        self._serve(kind.__name__)
        changes: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()
        self._watches.append((kind.__name__, changes))
        there = filter(keeps, self.all(kind.__name__))
        yield "LIST", {"items": [used(kind, obj) for obj in there]}
        while True:
            change, obj = await changes.get()
            if change == "END":
                return
            self._serve(kind.__name__)
            if keeps(obj):
                yield change, used(kind, obj)

    async def listed(
        self, kind: Any, namespace: str, keeps: Keeps
    ) -> AsyncIterator[tuple[list[Object], int]]:
        await self._enter("listed", kind.__name__)
        self._serve(kind.__name__)
        version = self._version
        there = [obj for obj in self.all(kind.__name__) if key_of(obj)[0] == namespace]
        yield [used(kind, obj) for obj in there if keeps(obj)], version

    # --- inside ---

    def _serve(self, kind: str) -> None:
        if kind == "Revision" and not self.has_knative:
            raise NotFoundError("404 page not found")

    async def _enter(self, verb: str, *details: Any) -> None:
        self.calls.append((verb, *details))
        await asyncio.sleep(0)
        if self.down:
            raise OSError("the API server is away")
        act, times = self._acts.get(verb, (None, 0))
        if times:
            self._acts[verb] = act, times - 1
            if isinstance(act, BaseException):
                raise act
            done = act(*details)
            if inspect.isawaitable(done):
                await done

    def _tell(self, kind: str, change: str, obj: Object) -> None:
        for watched, changes in self._watches:
            if watched == kind:
                changes.put_nowait((change, _copied(obj)))

    def _find(self, kind: str, name: str) -> Object:
        if (kind, name) not in self._objects:
            raise NotFoundError(f"{kind} {name} not found")
        return self._objects[kind, name]

    def _check(self, kind: str, name: str, version: str) -> None:
        if self._find(kind, name)["metadata"]["resourceVersion"] != version:
            raise ConflictError(f"{kind} {name} has been modified")


def _place(namespace: str | None, name: str) -> str:
    """How an object is named in the fake: with its namespace, unless that is `demo`."""
    return name if namespace in (None, "", NAMESPACE) else f"{namespace}/{name}"


def named(obj: Object) -> str:
    """How an object is named in the fake."""
    return _place(obj["metadata"].get("namespace"), obj["metadata"]["name"])


def _ref(namespace: str, workload: str) -> str:
    """The `ref` of a workload with its place."""
    kind, name = parts(workload)
    place = _place(namespace, name)
    return workload if place == name else f"{kind}/{place}"


def _is_in(obj: Object, namespace: str) -> bool:
    return namespace in (EVERYWHERE, obj["metadata"].get("namespace", namespace))


def _merged(old: Any, patch: Any) -> Any:
    """A JSON merge patch: None takes a field away."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _written(value: Any) -> Any:
    """What comes of a value on its way through JSON; it must be one that JSON has."""
    return json.loads(json.dumps(value))


def _copied(value: Any) -> Any:
    """A copy of what has come through JSON: in a third of the time that JSON takes."""
    return marshal.loads(marshal.dumps(value))  # noqa: S302  (nothing comes from outside)
