"""The WarmPool's spec as values, and the kinds of its target; `parse` reads it from a manifest."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from itertools import chain
from typing import TypeVar
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.schedule import Occurrence, Window
from kotatsu_operator.core.objects import Disk

W = TypeVar("W", Window, Occurrence)


class OverrideMode(StrEnum):
    """The state that an override requests until it ends."""

    WARM = "Warm"
    ASLEEP = "Asleep"


class WindowMode(StrEnum):
    """The state of the pods that a window asks for."""

    WARM = "Warm"
    PARKED = "Parked"


def mode_field(*, parked: bool) -> dict[str, str]:
    """The field `mode` of a window as manifests have it; none for warm pods, the default."""
    return {"mode": WindowMode.PARKED.value} if parked else {}


class RouteMode(StrEnum):
    """The path of connections to an awake pool: all through the activator, or as its pods show."""

    AUTO = "Auto"
    ACTIVATOR = "Activator"


class Period(StrEnum):
    """The period of a budget; spending starts again from 0 with each period."""

    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"


class OnExhausted(StrEnum):
    """What a pool does when its budget is spent."""

    WARN = "Warn"
    BLOCK_STARTS = "BlockStarts"
    SLEEP = "Sleep"


@dataclass(frozen=True)
class ScaledKind:
    """A kind of workload with a scale subresource, whose replicas are at spec.replicas."""

    api_version: str
    kind: str
    plural: str
    """Its name in request paths and in RBAC rules."""


Scaled = Mapping[str, ScaledKind]
"""Kinds with a scale subresource, by kind."""

BUILT_IN: Scaled = {
    "Deployment": ScaledKind("apps/v1", "Deployment", "deployments"),
    "StatefulSet": ScaledKind("apps/v1", "StatefulSet", "statefulsets"),
}
"""Every cluster has these, and the chart's Roles permit them."""

KNATIVE = "Service"
"""The kind of a Knative Service, the only target without a scale."""


@dataclass(frozen=True)
class Target:
    """The workload that the pool scales."""

    api_version: str
    kind: str
    name: str

    @property
    def scales_itself(self) -> bool:
        """Whether its own platform (Knative) scales it: the pool then only sets its floor."""
        return self.kind == KNATIVE


@dataclass(frozen=True)
class Override:
    """A person's decision that takes precedence over the schedule until `until` (UTC)."""

    mode: OverrideMode
    until: datetime
    replicas: int | None = None
    by: str = ""
    """Who set it, and why: annotations of the pool."""
    reason: str = ""

    @property
    def key(self) -> str:
        """Identifies this override, so that the time of its first observation can be stored."""
        return f"{self.mode}/{self.replicas}/{self.until.isoformat()}"


@dataclass(frozen=True)
class InFlightMetric:
    """Where a pod reports its requests in flight (Prometheus text format)."""

    port: str = "http"
    path: str = "/metrics"
    name: str = "kotatsu_requests_in_flight"


@dataclass(frozen=True)
class Prices:
    """Prices per hour of requested resources: `cpu` per core, `memory` per GiB, others per unit."""

    currency: str = ""
    """Empty without prices."""
    per_hour: Mapping[str, Decimal] = field(default_factory=dict)


NO_PRICES = Prices()


@dataclass(frozen=True)
class Platform:
    """What the values of the chart say for all pools."""

    route_settle: timedelta = timedelta(seconds=5)
    """How long a change of endpoints takes at most to reach the kube-proxy of every node."""
    parked_cpu: Decimal = Decimal("0.005")
    """The cores that a container of a parked pod requests at most."""
    prices: Prices = NO_PRICES
    patches_services: bool = True
    """Whether the operator may patch Services."""
    home: str = ""
    """The namespace of the release, whose Services it never takes."""
    marks_pods: bool = True
    """Whether the operator may mark the pods that go with a step down."""


PLATFORM = Platform()
"""The chart's defaults."""


@dataclass(frozen=True)
class Parked:
    """What stays of an idle pool: a pod that is Ready, with smaller requests."""

    lasting: timedelta
    """How long an idle pool stays parked; 0 for one that is parked only in windows."""
    cpu: Decimal = PLATFORM.parked_cpu
    """The cores that a container requests at most while its pod is parked."""


@dataclass(frozen=True)
class Budget:
    """The limit on what pods may cost."""

    limit: Decimal | None = None
    period: Period = Period.MONTH
    on_exhausted: OnExhausted = OnExhausted.BLOCK_STARTS
    zone: ZoneInfo | None = None
    """That of the period; None: the pool's."""
    beside: Decimal = Decimal(0)
    """What other pools have spent of the same limit in this period."""
    shared: str = ""
    """What has the limit, if several pools share it; empty for the pool's own."""

    def beside_own(self, own: Decimal | None) -> "Budget":
        """This shared limit for a pool that says one of its `own`.

        If its owner has raised that, the difference counts as spent.
        """
        limit = self.limit or Decimal(0)
        spent = self.beside + max((own or limit) - limit, Decimal(0))
        return replace(self, limit=own or limit, beside=spent)


@dataclass(frozen=True)
class CalendarUse:
    """The events of a calendar that are windows of the pool."""

    name: str
    replicas: int
    match: str = ""
    """Of the title or a category; empty: all events."""
    parked: bool = False


@dataclass(frozen=True)
class PoolSpec:
    """The parts of a WarmPool's spec that decisions need."""

    target: Target
    service: str
    zone: ZoneInfo
    windows: tuple[Window, ...] = ()
    """Those of the manifest; `calendars.with_calendars` adds those of calendars."""
    calendars: tuple[CalendarUse, ...] = ()
    closed_on: tuple[str, ...] = ()
    """Calendars on whose days neither schedules nor events of other calendars open."""
    lead: timedelta | None = None
    """A fixed lead; None: learned."""
    capacity_ahead: timedelta | None = None
    """How long before the pods of a window start the nodes for them are asked for; None: not at
    all."""
    route: RouteMode = RouteMode.AUTO
    """For a pool: that of the manifest, or what Auto has decided (`route.with_route`)."""
    decided: bool = False
    """Whether Auto has decided for the activator: the pods have shown no gauge."""
    beside: bool = False
    """Whether the Service leads to the pods as well nevertheless (`route.is_beside`)."""
    depends_on: tuple[str, ...] = ()
    """Pools of the namespace that are warm before this one starts, and sleep after it."""
    min_replicas: int = 0
    """The least pods of an awake pool; 0: those that it was found with (`plan.with_least`)."""
    max_replicas: int = 10
    has_maximum: bool = False
    """Whether the manifest says max_replicas."""
    held: str = ""
    """The disk for which no demand adds a pod, in words that follow the target; empty for none."""
    requests_per_pod: int = 100
    idle_after: timedelta = timedelta(minutes=2)
    in_flight_metric: InFlightMetric = InFlightMetric()
    hold_timeout: timedelta = timedelta(seconds=45)
    """How long a request waits for a pod before it gets 503."""
    platform: Platform = PLATFORM
    parked_for: timedelta | None = None
    """How long an idle pool stays parked before it sleeps; None: it sleeps at once."""
    budget: Budget = Budget()
    override: Override | None = None
    suspend: bool = False

    @cached_property
    def parked(self) -> Parked | None:
        """How the pool is parked, for parkedFor or for a window; None if it never is."""
        asks = chain((c.parked for c in self.calendars), (w.parked for w in self.windows))
        if self.parked_for is None and not any(asks):
            return None
        return Parked(self.parked_for or timedelta(), self.platform.parked_cpu)

    @property
    def least(self) -> int:
        """The least pods of an awake pool: at least 1."""
        return max(min(self.min_replicas, self.max_replicas), 1)

    def raised(self, window: W) -> W:
        """A window or an opening of it, with the least pods of an awake pool if they are warm."""
        is_enough = window.parked or window.replicas >= self.least
        return window if is_enough else replace(window, replicas=self.least)

    @property
    def most_replicas(self) -> int:
        """The most that a window asks for; without windows, the least of an awake pool."""
        return max((w.replicas for w in map(self.raised, self.windows)), default=self.least)

    def leaves_open(self, disk: Disk) -> bool:
        """Whether the manifest does not say how many pods may have a disk."""
        # Until revision 18 the CRD filled in the default.
        is_filled_in = disk.for_one is True and self.max_replicas == PoolSpec.max_replicas
        return is_filled_in or not self.has_maximum

    def holding(self, disk: Disk, running: int) -> "PoolSpec":
        """The spec for a target with a disk that `running` pods have, or had when it was found.

        If the manifest leaves the most pods open, these are the most, besides those that windows,
        calendars and an override name.
        """
        if not self.leaves_open(disk):
            return self
        named = [w.replicas for w in self.windows] + [c.replicas for c in self.calendars]
        if self.override is not None:
            named.append(self.override.replicas or 1)
        return replace(self, max_replicas=max(1, running, *named), held=disk.why)

    def asked_by(self, override: Override) -> int:
        """The replicas of a Warm override: by default as many as the largest window."""
        return min(max(override.replicas or self.most_replicas, self.least), self.max_replicas)

    @property
    def override_key(self) -> str:
        """That of the override; empty without one."""
        return "" if self.override is None else self.override.key

    @property
    def calendar_names(self) -> Collection[str]:
        """All calendars that the pool uses, each once."""
        return dict.fromkeys([*(c.name for c in self.calendars), *self.closed_on])
