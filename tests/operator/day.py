"""A day of one pool: a reconciler in front of an API server in memory, pods that come and go."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry

from kotatsu_operator.activator.pool import PodIdentity
from kotatsu_operator.activator.slices import make_slice
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.demand import Observer, PodAnswer
from kotatsu_operator.controller.pacer import Pacer
from kotatsu_operator.controller.reconciler import Reconciler
from kotatsu_operator.controller.report import PoolMetrics, Reporter
from kotatsu_operator.controller.scale_down import no_hook, no_record
from kotatsu_operator.controller.target import Tools
from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.exposition import Silence
from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.decision import Demand, Wake
from kotatsu_operator.core.pool.memory import Route
from kotatsu_operator.core.pool.spec import NO_PRICES, Platform, Prices
from kotatsu_operator.core.protocol import CAPACITY_LABEL, COST, MARK
from tests.operator.cluster import (
    SET,
    VOICE,
    FakeKube,
    activator_pod,
    deployment,
    forget,
    keep,
    pod,
    pool_view,
    served,
    service,
    warm_pool,
)
from tests.operator.core.values import annotations_of, t

ACTIVATOR = PodIdentity("demo", "activator-1", "uid-activator-1", ("10.0.0.9",), "node-a", SET)
WATCHED = ("WarmPool", "Deployment", "Service", "HorizontalPodAutoscaler")
READY_AFTER = timedelta(seconds=8)
GONE_AFTER = timedelta(seconds=3)
BUSY = timedelta(seconds=28)
"""How late an operator with thousands of pools looks."""
PUNCTUAL = timedelta(0)
"""An operator that looks when it is due: 1,800 times an hour while the pool is awake."""


@dataclass
class FakeScraper:
    """Answers for pods and activators what the test says."""

    in_flight: int | None = 0
    lacks: bool = False
    """Whether the pods have no gauge."""
    last_request: datetime | None = None
    held_now: int | None = 0
    asked: int = 0
    looks: int = 0
    """Questions of step 4, on which a pool may be put to sleep."""
    timed_out: int = 0
    """Requests that got 503 at holdTimeout so far."""
    passing_now: Demand = field(default_factory=Demand)
    busy: Counter[str] | None = None
    """The requests in flight of each pod by name; None: as `in_flight` and `busy_pods` say."""
    busy_pods: int | None = None
    """How many pods have the requests in flight, the first ones; None: all."""
    marked: Callable[[], Iterable[str]] = tuple
    """The pods whose mark all activators know."""
    used: Counter[str] = field(default_factory=Counter)
    """The connections to marked pods that they have."""

    async def passing(self, activators, key, *, looks=False):
        self.asked += 1
        self.looks += looks
        if self.held_now is None:
            return Demand(silent_activator="activator activator-1 is silent")
        late = {"uid-activator-1": self.timed_out}
        held = self.passing_now.held + self.held_now
        uses = {name: self.used[name] for name in self.marked()}
        return replace(self.passing_now, held=held, timed_out=late, uses=uses)

    async def pods(self, views, metrics, targets=(), metered=None):
        self.asked += len(views)
        if self.busy is not None:
            return [PodAnswer(self.busy[view.key[1]], self.last_request) for view in views]
        said, quiet = self._said(), PodAnswer(0, self.last_request)
        busy = len(views) if self.busy_pods is None else self.busy_pods
        return [said if n < busy else quiet for n in range(len(views))]

    def _said(self):
        if self.lacks:
            return Silence("has no port named http", lacks=True)
        if self.in_flight is None:
            return Silence("does not respond on port 8080 within 2 s")
        return PodAnswer(self.in_flight, self.last_request)


def _is_marked(pod):
    return (pod["metadata"].get("annotations") or {}).get(COST) == MARK


@dataclass
class DayPod:
    """A pod of the target."""

    name: str
    born: datetime
    ended: datetime | None = None

    def is_ready(self, now):
        return self.ended is None and now >= self.born + READY_AFTER

    def seen(self, now, **container):
        # As the kubelet reports it: a pod that ends stays Ready.
        ready = (self.ended or now) >= self.born + READY_AFTER
        made = pod(self.name, ready=ready, terminating=self.ended is not None)
        owner = {"kind": "ReplicaSet", "name": "voice-1", "uid": "uid-rs", "controller": True}
        made["metadata"]["ownerReferences"] = [owner]
        made["spec"]["containers"][0] |= container
        for c in made["status"]["conditions"]:
            c["lastTransitionTime"] = stamp(self.born)
        return made


@dataclass
class Day:
    """The pool voice from a moment on; `until` lets time pass."""

    now: datetime
    kube: FakeKube = field(default_factory=FakeKube)
    cache: Cache = field(default_factory=lambda: Cache(served()))
    scraper: FakeScraper = field(default_factory=FakeScraper)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    pods: list[DayPod] = field(default_factory=list)
    container: dict = field(default_factory=dict)
    activator: bool = True
    pod_conditions: dict = field(default_factory=dict)
    """A further condition of some pods, by name."""
    hook: object = no_hook
    remember: object = no_record
    prices: Prices = NO_PRICES
    settle_seconds: float = 5
    patches_services: bool = True
    marks_pods: bool = True
    """The chart's routeSettle."""
    catching_up: float = 0.0
    """For how many seconds the cluster lags behind an outage of the API server."""
    monotonic: object = None
    """Measures seconds; without it the clock does."""
    due: datetime | None = None
    hurried: list = field(default_factory=list)
    history: list = field(default_factory=list)
    """(time, phase, replicas) after each look that changed one of them."""
    _born: int = 0
    _shown: dict = field(default_factory=dict)
    """What the watches have told of each object, by kind and name."""

    # --- what tests do ---

    @classmethod
    def begin(cls, now, *, replicas=0, ready=False, settle=5, prices=None, **spec):
        """A pool that nobody has looked at yet; its pods, if any, are `ready` or just made."""
        day = cls(now, settle_seconds=settle, prices=parse_table(prices or {}))
        day.kube.put(warm_pool(**spec))
        day.kube.put(deployment(replicas=replicas))
        day.kube.put(service())
        day.scraper.marked = lambda: day.marked
        day._pods_follow()
        if ready:
            for made in day.pods:
                made.born -= READY_AFTER
        day.restart()
        return day

    @classmethod
    async def lived(cls, since, until="", **how):
        """A pool from one time of the day to another, or only until its first look is over."""
        day = cls.begin(t(since), **how)
        await (day.until(t(until)) if until else day.settle())
        return day

    def restart(self):
        """Start the operator afresh: what it keeps is in the status."""
        self.registry = CollectorRegistry()
        self.cache = Cache(served(), clock=lambda: self.now)
        self._shown = {}
        self.pacer = Pacer(5, lambda key, at: self.hurried.append((key, at)))
        self.observer = Observer(self.cache, self.scraper, lambda: self.catching_up)
        self.reconciler = Reconciler(
            Tools(
                *(self.kube, self.observer, lambda: self.now),
                *(lambda *step: self.hook(*step), lambda *entry: self.remember(*entry)),
            ),
            self.cache,
            Reporter(self.kube, self.cache, lambda: self.now, "operator-1"),
            features=[PoolMetrics(self.registry), *self.features()],
            pacer=self.pacer,
            monotonic=self.monotonic,
            platform=Platform(
                timedelta(seconds=self.settle_seconds),
                prices=self.prices,
                patches_services=self.patches_services,
                marks_pods=self.marks_pods,
            ),
        )
        return self

    def features(self):
        """The optional features: none, as the core's tests need none."""
        return []

    async def look(self):
        """Let the watches catch up, and look once."""
        self.watch()
        self.due = await self.reconciler.reconcile(VOICE)
        moment = (self.now, self.phase, self.replicas)
        if not self.history or self.history[-1][1:] != moment[1:]:
            self.history.append(moment)
        return self.due

    async def settle(self):
        """Look again until nothing is written any more."""
        assert await self.is_settled(), "it writes and writes"

    async def is_settled(self):
        """Look again until nothing is written any more; False if that does not end."""
        for _ in range(8):
            writes = len(self.kube.writes)
            await self.look()
            if len(self.kube.writes) == writes:
                return True
        return False

    async def until(self, end, *, late=BUSY):
        """Let time pass, looking when it is due and when a pod changes.

        `late` is how late the operator looks.
        """
        await self.settle()
        while (at := min(self.due + late, self._next_pod_event(), end)) < end:
            self.now = max(self.now, at)
            await self.settle()
        self.now = end
        await self.settle()

    def wake(self):
        """What an activator does for a request to a sleeping pool."""
        self.raised()
        woken = Wake(self.now, None)
        self.scraper.passing_now = replace(self.scraper.passing_now, last_wake=woken)
        return self

    def raised(self):
        """An activator, or somebody else, raises the scale from 0."""
        self.kube.edit("Deployment", "voice", spec={"replicas": 1})

    def ticket(self):
        """An activator announces a request."""
        demand = {"at": stamp(self.now)}
        self.kube.edit("WarmPool", "voice", status={"demand": demand})
        return self

    def edit(self, **spec):
        """Somebody edits the pool's spec."""
        generation = self.kube.stored("WarmPool", "voice")["metadata"]["generation"] + 1
        meta = {"generation": generation, "annotations": annotations_of(spec)}
        self.kube.edit("WarmPool", "voice", spec=spec, metadata=meta)
        return self

    def watch(self):
        """Let the watches catch up with the API server and the pods with their scale."""
        self._pods_follow()
        there = self._there()
        for kind, name in self._shown.keys() - there.keys():
            if kind != "EndpointSlice":  # slices outlive their activator
                forget(self.cache, kind, name)
        for (kind, name), said in there.items():
            if self._shown.get((kind, name)) != said:
                self._keep(kind, name)
        self._shown = there

    # --- what tests ask ---

    @property
    def status(self):
        return self.kube.stored("WarmPool", "voice").get("status") or {}

    @property
    def phase(self):
        return self.status.get("phase")

    @property
    def replicas(self):
        found = self.kube.all("Deployment")
        return found[0]["spec"]["replicas"] if found else 0

    @property
    def marked(self):
        """The names of the pods that go with the next step down."""
        return [made["metadata"]["name"] for made in self.kube.all("Pod") if _is_marked(made)]

    @property
    def events(self):
        """Reasons of the events posted so far."""
        return [event["reason"] for event in self._posted()]

    def messages(self, reason):
        """What the events with a reason say."""
        return [event["message"] for event in self._posted() if event["reason"] == reason]

    def condition(self, kind):
        (found,) = [c for c in self.status["conditions"] if c["type"] == kind]
        return found

    def metric(self, name, **labels):
        return self.registry.get_sample_value(
            name, {"namespace": "demo", "name": "voice", **labels}
        )

    def phases(self):
        """The phases so far, in order."""
        phases = [phase for _, phase, _ in self.history]
        return [p for p, before in zip(phases, [None, *phases], strict=False) if p != before]

    # --- inside ---

    def _posted(self):
        return [call[2] for call in self.kube.called("create") if call[1] == "Event"]

    def _there(self):
        """What there is, by kind and name: what is new of it when the watches tell of it again."""
        versions = self.kube.versions(*WATCHED)
        versions_of_pods = self.kube.versions("Pod")
        there = dict(versions)
        for kind, name in versions:
            if kind == "Deployment":
                there[kind, name] = versions[kind, name], self._rollout()
            if kind == "WarmPool" and self.activator:
                there["EndpointSlice", name] = versions[kind, name]
        for made in self.pods:
            has_ended = made.ended is not None
            said = made.born, made.is_ready(self.now), has_ended, dict(self.container)
            more = self.pod_conditions.get(made.name)
            said = (*said, more, versions_of_pods.get(("Pod", made.name)))
            there["Pod", made.name] = said
        there |= {("Pod", name): True for name in self.placeholders}
        if self.activator:
            there["Pod", "activator-1"] = True
        return there

    def _keep(self, kind, name):
        """Let a watch tell of an object."""
        if kind == "EndpointSlice":
            stored = self.kube.stored("WarmPool", name)
            view, ports = pool_view(stored, self.settle_seconds), {"http": 41000}
            obj = make_slice(view, service(), ACTIVATOR, "IPv4", ports, state="serving")
            if view.route is Route.NATIVE and any(p.is_ready(self.now) for p in self.pods):
                obj["endpoints"] = []
        elif kind != "Pod":
            obj = self.kube.stored(kind, name)
            if kind == "Deployment":
                seen = {"observedGeneration": obj["metadata"].get("generation", 0)}
                obj["status"] = obj.get("status", {}) | seen | self._rollout()
        elif name == "activator-1":
            obj = activator_pod()
        elif name in self.placeholders:
            obj = self._pending(name) | {"kind": "Pod"}
        else:
            (made,) = [p for p in self.pods if p.name == name]
            obj = self._stored(made)
        keep(self.cache, obj)

    def _stored(self, made):
        """A pod as the API server has it; only those with requests can be resized."""
        obj = made.seen(self.now, **self.container)
        if made.name in self.pod_conditions:
            obj["status"]["conditions"].append(self.pod_conditions[made.name])
        known = [p for p in self.kube.all("Pod") if p["metadata"]["name"] == made.name]
        for there in known:
            obj["metadata"] = there["metadata"] | obj["metadata"]
            if self.container.get("resources"):
                obj["spec"] = there["spec"]
            if obj == there:
                return there
        return self.kube.put(obj)

    def _pending(self, name):
        """A placeholder as the API server has it."""
        made = self.kube.stored("Pod", name)
        meta = {"namespace": "demo", "uid": f"uid-{name}"} | made["metadata"]
        return made | {"metadata": meta, "status": {"phase": "Pending"}}

    @property
    def placeholders(self):
        """The names of the pods that ask for nodes ahead of a window."""
        made = (pod["metadata"] for pod in self.kube.all("Pod"))
        return [meta["name"] for meta in made if CAPACITY_LABEL in (meta.get("labels") or {})]

    def _rollout(self):
        """What the Deployment's controller says; every pod is of the template in force."""
        staying = [p for p in self.pods if p.ended is None]
        ready = sum(p.is_ready(self.now) for p in staying)
        return {
            "replicas": len(staying),
            "updatedReplicas": len(staying),
            "readyReplicas": ready,
        }

    def _pods_follow(self):
        gone = [p for p in self.pods if p.ended and self.now >= p.ended + GONE_AFTER]
        there, marked = {p["metadata"]["name"] for p in self.kube.all("Pod")}, self.marked
        for made in gone:
            self.pods.remove(made)
            if made.name in there:
                self.kube.remove("Pod", made.name)
        staying = [p for p in self.pods if p.ended is None]
        staying.sort(key=lambda p: p.name in marked)
        wanted = sum(d["spec"]["replicas"] for d in self.kube.all("Deployment"))
        for made in staying[wanted:]:
            made.ended = self.now
        for _ in range(wanted - len(staying)):
            self._born += 1
            self.pods.append(DayPod(f"voice-{self._born}", self.now))

    def _next_pod_event(self):
        times = [p.born + READY_AFTER for p in self.pods]
        times += [p.ended + GONE_AFTER for p in self.pods if p.ended is not None]
        return min(
            (x for x in times if x > self.now), default=datetime.max.replace(tzinfo=self.now.tzinfo)
        )
