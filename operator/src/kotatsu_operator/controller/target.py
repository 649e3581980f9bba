"""What the reconciler asks of a target, whatever its kind, and whether a pool can be used.

A feature brings another kind of workload: a subclass of `Target`, and a `Kind` that lists it.
CONTRIBUTING.md lists what else a kind with a scale of its own needs.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.demand import Observer
from kotatsu_operator.controller.scale_down import Hook, Remember, no_hook, no_record
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.decide.phases import Step
from kotatsu_operator.core.decide.refusal import Refusal, check_dependencies, check_only_pool
from kotatsu_operator.core.formats import table
from kotatsu_operator.core.pool.decision import Decision, Observation
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.parse import SpecError, parse, salvage
from kotatsu_operator.core.pool.route import with_route
from kotatsu_operator.core.pool.spec import PLATFORM, Platform, PoolSpec
from kotatsu_operator.core.report.conditions import condition
from kotatsu_operator.core.report.status import Status
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.objects import Key, Object
from kotatsu_operator.kube.views import PodView

RETRY = timedelta(milliseconds=200)
"""How soon a reconcile is repeated after a conflict, after a request in flight while draining, or
after a patch of a Knative Revision (also a rejected one)."""

NO_POD: Mapping[str, Any] = {"matchLabels": {"": ""}}
"""A label selector that selects no pod."""


Objection = tuple[Refusal | None, Ends]
"""The result of one check: why it rejects the pool (None if it does not), and how far a pool that
it rejects may still be lowered."""


@dataclass(frozen=True)
class Tools:
    """The collaborators of a target that is observed and changed."""

    kube: Kube
    observer: Observer
    clock: Callable[[], datetime]
    hook: Hook = no_hook
    remember: Remember = no_record


@dataclass(frozen=True)
class Finished:
    """The result of the writes after the status."""

    again: datetime | None = None
    """When to reconcile again; None: when the decision says."""
    memory: Memory | None = None
    notes: tuple[Note, ...] = ()


async def nothing_left(_pool: Object) -> Finished:
    """Write nothing after the status."""
    return Finished()


@dataclass(frozen=True)
class Writes:
    """What is left to write after a target's first writes: into the status, and after it."""

    pool: Object
    """The pool at its newest version."""
    status: Status = field(default_factory=dict)
    """Further fields of the status. A crash after the status write loses nothing that is in it."""
    explain: Callable[[list[Status]], list[Status]] = lambda conditions: conditions
    """Corrects the conditions by what only the target knows."""
    finish: Callable[[Object], Awaitable[Finished]] = nothing_left
    """Makes the writes that come after the status; gets the pool as written."""


@dataclass(frozen=True)
class Target(ABC):
    """The workload of one pool, as the watches have shown it."""

    step: ClassVar[type[Step]] = Step
    """Its phases."""

    key: Key
    """The namespace and name of the pool."""
    spec: PoolSpec
    cache: Cache

    # --- read ---

    @property
    def place(self) -> Key:
        """The namespace and name of the target."""
        return self.key[0], self.spec.target.name

    @property
    def is_unknown(self) -> bool:
        """Whether the watches have not shown yet whether it exists."""
        return False

    @property
    @abstractmethod
    def selector(self) -> Mapping[str, Any]:
        """The label selector of its pods."""

    @property
    @abstractmethod
    def requests(self) -> Mapping[str, Decimal]:
        """The resource requests of one of its pods (base units)."""

    @property
    def template(self) -> Mapping[str, Any]:
        """The parts of its pods' PodSpec that requests depend on; empty if it shows none."""
        return MappingProxyType({})

    @property
    def autoscalers(self) -> list[Object]:
        """The HorizontalPodAutoscalers that scale it, by name."""
        return []

    @property
    def replicas(self) -> int:
        """spec.replicas; 0 if it does not exist or has none."""
        return 0

    @property
    def rejected(self) -> str:
        """Why its pods cannot be created; empty if they can."""
        return ""

    @property
    def other_writer(self) -> str:
        """The other manager that has set its replicas; empty if there is none."""
        return ""

    # --- accept ---

    @abstractmethod
    def objections(self) -> Iterator[Objection]:
        """Check whether a pool can have it. People read the first rejection."""

    def check_only_pool(self) -> Refusal | None:
        """Reject all but the oldest of the pools that have the same target."""
        of = self.spec.target
        claimants = self.cache.pools_of_target(of.kind, (self.key[0], of.name))
        return check_only_pool(self.spec, self.older_pool(claimants))

    def older_pool(self, claimants: Sequence[Key]) -> str:
        """The name of the oldest claimant; empty if that is this pool, or there is none."""
        return "" if not claimants or claimants[0] == self.key else claimants[0][1]

    # --- observe ---

    @abstractmethod
    async def observe(
        self, tools: Tools, pool: Object, memory: Memory, pods: list[PodView], *, ask: bool
    ) -> Observation:
        """What a decision depends on. Raises NotFoundError if the target was just deleted.

        Without `ask`, pods and activators are not asked: the decision does not depend on demand.
        """

    # --- act ---

    @abstractmethod
    async def act(
        self, tools: Tools, pool: Object, seen: Observation, decision: Decision, now: datetime
    ) -> Writes:
        """Make the writes that come before the status. Raises ConflictError, NotFoundError."""


@dataclass(frozen=True)
class Kind:
    """A kind of targets."""

    make: Callable[[Key, PoolSpec, Cache], Target]
    pod_label: str = ""
    """The label of its pods that has the target's name; empty: a selector finds them."""


Kinds = Mapping[str, Kind]
"""By the `kind` of spec.targetRef; the empty one is for all kinds that no feature brings."""


# --- whether the pool can be used ---
#
# Each reconcile makes all checks again. People read the message of the first that rejects. No
# rejection is stored: after a fix the pool continues from its status.


@dataclass(frozen=True)
class Refused(Refusal):
    """A rejection, and what may still be done: nothing starts, but what runs may end."""

    ends: Ends
    counts: bool
    """Whether this pool's ledger counts the target's pods."""
    stays_because: str = ""
    """Why the pods stay as they are, if the message does not say it."""


def accept(
    key: Key,
    pool: Object,
    cache: Cache,
    kinds: Kinds,
    last: PoolSpec | None = None,
    platform: Platform = PLATFORM,
) -> tuple[Target, Refused | None]:
    """A pool's target, and why the pool is rejected: by its spec and by other objects.

    Unreadable fields of the spec are taken from `last`, the last accepted spec, if there is one.
    """
    objections: list[tuple[Refusal, Ends]] = []
    annotations = table(pool["metadata"].get("annotations"))
    try:
        spec = parse(pool["spec"], platform, annotations)
    except SpecError as error:
        spec = salvage(pool["spec"], last, platform)
        objections.append((Refusal("InvalidSpec", str(error)), Ends.SLEEP))
    spec = with_route(spec, pool)
    target = (kinds.get(spec.target.kind) or kinds[""]).make(key, spec, cache)
    objections += [(why, ends) for why, ends in target.objections() if why is not None]
    unordered = check_dependencies(
        key[1], key[0], lambda name: cache.dependencies_of((key[0], name))
    )
    if unordered is not None:
        objections.append((unordered, Ends.SLEEP))
    return target, _refused(target, objections) if objections else None


def _refused(target: Target, objections: list[tuple[Refusal, Ends]]) -> Refused:
    first, ends, because = objections[0][0], min(ends for _, ends in objections), ""
    if target.other_writer and ends is not Ends.NOTHING:
        # The last writer of the replicas was not Kotatsu, so Kotatsu must not lower them.
        ends, because = Ends.NOTHING, f"{target.other_writer} has set the replicas"
    counts = all(refusal.reason != "TargetClaimed" for refusal, _ in objections)
    return Refused(first.reason, first.message, ends, counts, because)


def refused_conditions(refused: Refused, ledger: Ledger, pods: int) -> list[Status]:
    """Accepted, Ready and Warm of a rejected pool: the reason, what still runs and its cost."""
    text = refused.message + "".join(f"; {said}" for said in _still(refused, ledger, pods))
    return [condition(kind, False, refused.reason, text) for kind in ("Accepted", "Ready", "Warm")]


def _still(refused: Refused, ledger: Ledger, pods: int) -> Iterator[str]:
    if not refused.counts:
        return
    if pods == 0:
        return
    cost = f" at {ledger.rate:.2f} {ledger.currency} an hour" if ledger.currency else ""
    running = f"{pods} of its pods still run{cost}"
    if refused.ends is Ends.SLEEP:
        yield f"{running}, until nothing needs them; then they sleep"
    elif refused.ends is Ends.LOWER:
        yield f"{running}, until nothing needs them; one stays, because no request could wake it"
    else:
        why = f" ({refused.stays_because})" if refused.stays_because else ""
        yield f"{running}, and Kotatsu does not scale them{why}: to stop them, scale the target"
