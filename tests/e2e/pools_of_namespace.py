"""Reads and edits the pools of one namespace, and checks what must hold. Runs no kubectl."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from e2e.kit import App, Kubectl, Object, asleep_override, is_ending, parse
from e2e.watcher import NamespaceWatcher
from lightkube import AsyncClient
from lightkube.types import PatchType

from kotatsu_operator.core.formats import internal
from kotatsu_operator.core.protocol import (
    ACTIVATOR_ANNOTATION,
    EPOCH_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    pool_of_slice,
)
from kotatsu_operator.kube.objects import WarmPool

SET = timedelta(seconds=10)
"""How far an operator's clock is from ours at least when a test has set it."""

ENDING = timedelta(seconds=20)
"""How much longer than its grace period a pod may take to go."""


@dataclass
class PoolsOfNamespace:
    """A namespace and its watcher."""

    kubectl: Kubectl
    client: AsyncClient
    watcher: NamespaceWatcher
    _books: dict[str, tuple[float, datetime]] = field(default_factory=dict, init=False)

    async def edit(self, app: App, spec: Object) -> int:
        """Edit a pool's spec; returns the generation of that."""
        pool = await self.client.patch(
            WarmPool,
            app.name,
            {"spec": spec},
            namespace=self.kubectl.namespace,
            patch_type=PatchType.MERGE,
        )
        return int(pool["metadata"]["generation"])

    async def ask_for_sleep(self, app: App) -> int:
        """Ask a pool to sleep now; returns the generation to give to `has_slept`."""
        return await self.edit(app, {"override": {**asleep_override(600), "replicas": None}})

    def has_slept(self, app: App, generation: int) -> bool:
        """Whether a pool has been put to sleep as it was asked to; it may be awake again."""
        override = internal(self.status(app, generation)).get("override") or {}
        return bool(override.get("done"))

    def status(self, app: App, generation: int = 0) -> Object:
        """A pool's status, if it is about this generation of its spec; else empty."""
        status = (self.watcher.objects["WarmPool"].get(app.name) or {}).get("status") or {}
        return status if status.get("observedGeneration", 0) >= generation else {}

    def replicas(self, app: App) -> int:
        """What the Deployment is asked for."""
        return int(self.watcher.objects["Deployment"][app.name]["spec"].get("replicas", 0))

    def not_awake(self, app: App, floor: int) -> str:
        """What a pool lacks that is to be awake with so many replicas; empty when nothing."""
        status, replicas = self.status(app), self.replicas(app)
        staying = [p for p in self.watcher.pods(app.name) if not is_ending(p)]
        route = (status.get("route") or {}).get("target")
        if status.get("phase") != "Warm" or route != "Native":
            return f"phase {status.get('phase')}, route {route}"
        if replicas < floor or [is_ready(p) for p in staying] != [True] * replicas:
            return f"{sum(map(is_ready, staying))} of {len(staying)} Ready, asked for {replicas}"
        if (status["desiredReplicas"], status["readyReplicas"]) != (replicas, replicas):
            return f"status says {status['readyReplicas']} of {status['desiredReplicas']}"
        serving = [s["metadata"]["name"] for s in self.slices(app) if serves(s)]
        return f"still an endpoint: {serving}" if serving else ""

    def not_asleep(self, app: App) -> str:
        """What a pool lacks that is to be asleep; empty when nothing."""
        status, pods = self.status(app), self.watcher.pods(app.name)
        if status.get("phase") != "Asleep" or self.replicas(app) or pods:
            return f"phase {status.get('phase')}, {self.replicas(app)} replicas, {len(pods)} pods"
        epoch = str((status.get("route") or {}).get("epoch"))
        activators = {p["metadata"]["uid"] for p in self.activators()}
        published = {
            owner(s)
            for s in self.slices(app)
            if serves(s) and s["metadata"]["annotations"][EPOCH_ANNOTATION] == epoch
        }
        return "" if activators and activators <= published else "not every activator is in its way"

    def remains(self) -> str:
        """What should not be there any more; empty when nothing is."""
        pods = {p["metadata"]["uid"] for p in self.watcher.objects["Pod"].values()}
        for name, obj in self.watcher.objects["EndpointSlice"].items():
            if is_ours(obj) and owner(obj) not in pods:
                return f"slice {name} is of an activator that is gone"
        now = datetime.now(UTC)
        for kind, objects in self.watcher.objects.items():
            for name, obj in objects.items():
                meta = obj["metadata"]
                if meta.get("finalizers"):
                    return f"{kind} {name} has a finalizer: {meta['finalizers']}"
                if is_ending(obj) and now > parse(meta["deletionTimestamp"]) + ENDING:
                    return f"{kind} {name} does not go"
        return ""

    def slices(self, app: App) -> list[Object]:
        """The activators' slices for a pool."""
        return [
            s
            for s in self.watcher.objects["EndpointSlice"].values()
            if is_ours(s) and pool_of_slice(s) == app.name
        ]

    def activators(self) -> list[Object]:
        """The activators' pods that are Ready and staying."""
        return [
            p
            for p in self.watcher.objects["Pod"].values()
            if p["metadata"]["labels"].get("app.kubernetes.io/component") == "activator"
            and is_ready(p)
            and not is_ending(p)
        ]

    def audit(self, app: App) -> tuple[float, int]:
        """Compare a pool's ledger with what its pods' times say, since the last audit.

        Returns by how many pod seconds it is off (below 0: too little was charged), and how many
        of its pods went meanwhile.
        """
        status = self.status(app)
        accrued = float(status["cost"]["accrued"])
        at = parse(internal(status)["cost"]["at"])
        entered = self.watcher.entered[app.name]
        if abs(at - entered) > SET:
            at = entered
        before = self._books.get(app.name)
        self._books[app.name] = (accrued, at)
        if before is None:
            return 0.0, 0
        least, most = self.watcher.pod_seconds(app.name, before[1], at)
        charged = accrued - before[0]
        off = min(0.0, charged - least) + max(0.0, charged - most)
        went = sum(
            life.app == app.name and life.gone is not None and life.gone[1] > before[1]
            for life in self.watcher.lives.values()
        )
        return off, went


def is_ready(pod: Object) -> bool:
    """Whether a pod is Ready."""
    conditions = pod["status"].get("conditions") or ()
    return any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)


def is_ours(obj: Object) -> bool:
    """Whether a slice is an activator's."""
    return bool(obj["metadata"]["labels"].get(MANAGED_BY_LABEL) == MANAGED_BY)


def owner(obj: Object) -> str:
    """Uid of a slice's activator."""
    return str(obj["metadata"]["annotations"][ACTIVATOR_ANNOTATION].rpartition("/")[2])


def serves(obj: Object) -> bool:
    """Whether a slice has a ready endpoint."""
    return any(e["conditions"].get("ready") for e in obj.get("endpoints") or ())
