"""The state of a pool between two decisions; most of it is stored in the status."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.formats import count, internal, seconds, stamp
from kotatsu_operator.core.schema import MOST_ITEMS, Form

MANY = 3
"""This many writes of one manager, each within `CONTEST_LASTS` of the previous one, are a
contest."""


FIRST_START = timedelta(seconds=60)
"""The time to Ready without any observation: an image pull and a cold start."""


@dataclass(frozen=True)
class Contest:
    """The writes of replicas by another manager; stored in the status."""

    by: str
    written_at: datetime | None
    """The API server's time of the newest write. It identifies the write."""
    seen_at: datetime
    """When that write was first seen, by the operator's clock."""
    count: int = 1
    applied: bool = False

    @property
    def holds(self) -> bool:
        """Whether these writes are a contest and not a single manual change."""
        return self.applied or self.count >= MANY


@dataclass(frozen=True)
class Original:
    """The minReplicas of the HPA without the pool; stored in the status."""

    name: str
    min_replicas: int


class Phase(StrEnum):
    """The phases between asleep and warm.

    Parked: the pods are Ready and request almost nothing.
    Sleeping is the short phase after the scale is set to 0, while the pods finish and terminate.
    """

    ASLEEP = "Asleep"
    WARMING = "Warming"
    WARM = "Warm"
    PARKED = "Parked"
    DRAINING = "Draining"
    SLEEPING = "Sleeping"

    @property
    def is_asleep(self) -> bool:
        """Whether the scale is 0 or was just set to 0."""
        return self in (Phase.ASLEEP, Phase.SLEEPING)

    @property
    def is_awake(self) -> bool:
        """Whether pods serve or start to: neither asleep nor on the way down."""
        return self in (Phase.WARMING, Phase.WARM, Phase.PARKED)


class Reason(StrEnum):
    """Why a pool is in its phase."""

    WINDOW = "Window"
    REQUEST = "Request"
    DEMAND = "Demand"
    OVERRIDE = "Override"
    IDLE = "Idle"
    SUSPENDED = "Suspended"
    BUDGET = "Budget"


class Route(StrEnum):
    """What serves new connections to the Service: the pods alone, or also the activator."""

    NATIVE = "Native"
    ACTIVATOR = "Activator"


@dataclass(frozen=True)
class Opening:
    """Punctuality of the last window: when all replicas of the floor were Ready, or None."""

    window: str
    at: datetime
    ready_at: datetime | None = None
    cold: bool = False
    """True if the window opened before all replicas were Ready. An event reports it."""
    replicas: int = 0
    """The replicas of the floor at this opening."""
    excused: bool = False
    """True if an edit requested the window too late to pre-warm for it."""

    @property
    def early(self) -> timedelta | None:
        """The time from Ready to the opening; negative if late, None if not Ready yet."""
        return None if self.ready_at is None else self.at - self.ready_at


class Outcome(StrEnum):
    """The result of an opening. Each one counts as ready or cold; a cold one later as late too."""

    READY = "ready"
    """All replicas were Ready before the window opened."""
    COLD = "cold"
    """The window opened before all replicas were Ready."""
    LATE = "late"
    """The window opened cold, and all replicas are Ready now."""


@dataclass(frozen=True)
class Tally:
    """The openings of a pool by outcome."""

    ready: int = 0
    cold: int = 0
    late: int = 0

    def plus(self, outcome: Outcome) -> "Tally":
        """The tally with one more opening of this outcome."""
        return replace(self, **{outcome.value: getattr(self, outcome.value) + 1})


@dataclass(frozen=True)
class Parts:
    """The seconds of a warm-up by what they were spent on. Together they are the warm-up."""

    node: float
    """From the decision until the pod has a node."""
    sandbox: float
    """Volumes and network."""
    pull: float
    """Images, and init containers if there are any."""
    start: float
    """From the start of the containers until the operator sees the pod Ready."""


@dataclass(frozen=True)
class WarmUp:
    """One measured warm-up: `replicas` pods were Ready after `seconds`."""

    seconds: float
    replicas: int
    template: str = ""
    """The hash of the pod template that was started."""
    parts: Parts | None = None
    """Where the seconds went; None if the pods did not show it."""
    window: bool = False
    """Whether a window asked for its pods."""


Series = tuple[tuple[datetime, int], ...]
"""Values with their times, oldest first."""


@dataclass(frozen=True)
class Trend:
    """The replicas that recent demand required, and the recommendations derived from them."""

    asked: Series = ()
    sustained: Series = ()

    @property
    def replicas(self) -> int:
        """The recommendation; 0 without one."""
        return max((number for _, number in self.sustained), default=0)


@dataclass(frozen=True)
class Followed:
    """What a pool uses of a calendar, as last read; stored in the status."""

    name: str
    read_at: datetime
    """When the operator first read what is here."""
    windows: tuple[Window, ...] = ()
    closed: frozenset[date] = frozenset()
    left_out: int = 0
    """Events that match and are no windows: too many, or clocks skip them."""

    @cached_property
    def written(self) -> Mapping[str, Any]:
        """The entry of `internal.calendars`."""
        return {
            "name": self.name,
            "readAt": stamp(self.read_at),
            # Short, because a calendar has many: name, replicas, start, end and whether parked.
            "windows": [
                [
                    window.name,
                    window.replicas,
                    window.start.isoformat().removesuffix(":00"),
                    window.end.isoformat().removesuffix(":00"),
                    *[1] * window.parked,
                ]
                for window in self.windows
                if window.start is not None and window.end is not None
            ],
            "closed": [day.isoformat() for day in sorted(self.closed)],
            "leftOut": self.left_out,
        }


@dataclass(frozen=True)
class Routing:
    """The route of new connections."""

    target: Route = Route.NATIVE
    epoch: int = 0
    """The number of changes to the activator."""
    beside: bool = False
    """Whether the Service of a pool without a gauge leads to its pods as well (`route.is_beside`).
    """

    def through_activator(self) -> "Routing":
        """The same with the activators in the route: a new epoch, unless they are in it."""
        return self if self.target is Route.ACTIVATOR else self.renewed()

    def renewed(self) -> "Routing":
        """The same with a new epoch, which each activator has to acknowledge."""
        return replace(self, target=Route.ACTIVATOR, epoch=self.epoch + 1)


@dataclass(frozen=True)
class KnownOverride:
    """The override of the spec, as far as decisions have processed it."""

    key: str = ""
    seen_at: datetime | None = None
    """When it was first observed: its limit counts from then."""
    done: bool = False
    """True after an Asleep override has put the pool to sleep: later requests wake the pool."""

    def following(self, key: str, now: datetime) -> "KnownOverride":
        """What is known after an observation of the spec; `key` is empty without an override."""
        return self if key == self.key else KnownOverride(key, now if key else None)


@dataclass(frozen=True)
class Announced:
    """The newest announcement of a request that a decision has processed."""

    seen: datetime | None = None
    """The time that it names, by the activator's clock: it identifies the announcement."""
    seen_at: datetime | None = None
    """When it was first seen, by the operator's clock."""

    def following(self, ticket: datetime | None, now: datetime) -> "Announced":
        """What is known after an observation of the newest announcement."""
        return self if ticket in (None, self.seen) else Announced(ticket, now)


@dataclass(frozen=True)
class Template:
    """The pod template of the target."""

    hash: str = ""
    proven: bool = False
    """Whether all requested pods of that template have been Ready at least once."""
    metered: bool | None = None
    """Whether its pods have a gauge of requests in flight; None: not known yet."""
    asked: bool = False
    """Of one without a gauge: whether pods of that template, and of that spec, were asked for it.
    """

    def changed_to(self, hash_: str) -> "Template":
        """Another template: it is unproven, and its pods may lack the gauge, or have one."""
        return Template(hash_, metered=None if self.metered else self.metered)


@dataclass(frozen=True)
class Process:
    """What only this process knows, and no status: another one begins with the defaults."""

    acknowledged_at: datetime | None = None
    """When all activators had acknowledged this epoch (steps 2 and 3 of the way down)."""
    looked_at: datetime | None = None
    """When this process last saw pods of the current warm-up that were not Ready."""
    told: tuple[str, ...] = ()
    """The events that have said why pods of this warm-up do not start."""
    trend: Trend = Trend()
    lowered: bool = False
    """In phase Sleeping: true after this process has lowered the scale, so that replicas above 0
    were set by another client."""
    scaled: tuple[datetime, int] | None = None
    """The replicas that the pool has set last, and when."""
    lacking: tuple[datetime, ...] = ()
    """When Ready pods last showed in succession that they have no gauge."""
    counted: Mapping[str, int | None] = field(default_factory=dict)
    """Requests that have timed out until the last decision, by the uid of the activator; None if
    this is not known."""
    timed_out: int = 0
    """Requests that got 503 at holdTimeout and that no event has reported yet."""
    timed_out_since: datetime | None = None
    """When the first of them was seen."""
    lowering: datetime | None = None
    """Since when a step down waits for requests in flight."""

    @property
    def timeouts(self) -> "Process":
        """Only the requests that have timed out: they depend on no phase."""
        return Process(
            counted=self.counted, timed_out=self.timed_out, timed_out_since=self.timed_out_since
        )


@dataclass(frozen=True)
class Memory:
    """The state between decisions. All but `process` is stored in the WarmPool's status."""

    phase: Phase = Phase.ASLEEP
    reason: Reason = Reason.IDLE
    since: datetime | None = None
    """When the phase began; None before the first decision."""
    route: Routing = Routing()
    override: KnownOverride = KnownOverride()
    announced: Announced = Announced()
    template: Template = Template()
    last_active: datetime | None = None
    unknown_since: datetime | None = None
    raised_at: datetime | None = None
    """When the current warm-up began; None if there is none."""
    warm_ups: tuple[WarmUp, ...] = ()
    opening: Opening | None = None
    windows: Tally = Tally()
    first_start: timedelta = FIRST_START
    """The time to Ready that is assumed before the first warm-up: a setting of the operator. In
    the status, so that others calculate the same lead."""
    lead: timedelta = timedelta()
    """The current pre-warm lead. It does not shrink while the pool pre-warms for a window."""
    ahead: timedelta = timedelta()
    """How much earlier than the lead the current pre-warm began. It does not shrink."""
    capacity: int = 0
    """Pods for which capacity is held ahead of a window."""
    parked_since: datetime | None = None
    """Since when idle pods are parked; None if they are not. A parked pod that was not Ready for a
    moment changes the phase, and not this."""
    reduced: bool = False
    """Whether the pool has parked pods, and not all of them have their full requests back."""
    found: int | None = None
    """The replicas that the target had when the pool adopted it; None: not known."""
    keeps_one: bool = False
    """Whether the pool is older than `found`, and has one pod at least as before."""
    original: Original | None = None
    """The minReplicas of the target's HorizontalPodAutoscaler without this pool."""
    contest: Contest | None = None
    calendars: tuple[Followed, ...] = ()
    has_timed_out: bool = False
    """Whether requests of the current or latest wake got 503 at holdTimeout. The condition
    DurationsFit stores it, by its reason."""
    woken_soon: int = 0
    """Wakes in succession that a request asked for soon after a sleep."""
    process: Process = Process()

    def here(self, **values: Any) -> "Memory":
        """The memory with these values of `process`."""
        return changed(self, process=changed(self.process, **values))

    def not_after(self, now: datetime) -> "Memory":
        """The memory with no time of the operator's clock later than now: it may be set back."""
        return changed(
            _not_after(self, now, "since", "unknown_since", "raised_at", "parked_since"),
            override=_not_after(self.override, now, "seen_at"),
            announced=_not_after(self.announced, now, "seen_at"),
            process=_not_after(
                self.process, now, "acknowledged_at", "looked_at", "timed_out_since", "lowering"
            ),
        )


T = TypeVar("T", Memory, Routing, KnownOverride, Announced, Template, Process)


def _not_after(part: T, now: datetime, *names: str) -> T:
    ahead = [name for name in names if (at := getattr(part, name)) is not None and at > now]
    return changed(part, **dict.fromkeys(ahead, now)) if ahead else part


def changed(part: T, **values: Any) -> T:
    """A memory, or a part of one, with these values: the same object if nothing changes."""
    for name, value in values.items():
        known = getattr(part, name)
        if known is not value and known != value:
            return replace(part, **values)
    return part


# --- the measured warm-ups, as short rows of the status ---
#
# A row is `[seconds, replicas, window]`, and the four parts behind it if the pods showed them.
# `window` is 1 if a window asked for the pods. A string is the template of the rows that follow: a
# pool has up to 20 warm-ups, nearly always of one template. Their parts are stored of the slowest
# and of the newest ones: people look at those.

WITH_PARTS = 5
"""The newest warm-ups whose parts are stored."""


def read_warm_ups(status: Mapping[str, Any]) -> tuple[WarmUp, ...]:
    """The warm-ups in a WarmPool's status, oldest first."""
    return _read_rows(internal(status).get("warmUps"))


def _read_rows(given: Any) -> tuple[WarmUp, ...]:
    """The newest readable rows: an edited status may have more than the operator writes."""
    listed = given if isinstance(given, list) else []
    return tuple(_each_row(listed))[-MOST_ITEMS:]


def _each_row(listed: Sequence[Any]) -> Iterator[WarmUp]:
    template = ""
    for row in listed:
        if isinstance(row, str):
            template = row
        if not isinstance(row, list) or len(row) not in (3, 7):
            continue
        took, replicas, of_window, *rest = row
        if (lasted := seconds(took)) is None or (number := count(replicas, -1)) < 0:
            continue
        parts = [part for part in map(seconds, rest) if part is not None]
        yield WarmUp(
            lasted, number, template, Parts(*parts) if len(parts) == 4 else None, bool(of_window)
        )


def _written_rows(warm_ups: Sequence[WarmUp]) -> list[Any]:
    rows, template = list[Any](), ""
    slowest = max((one.seconds for one in warm_ups), default=0.0)
    for left, one in enumerate(warm_ups, start=1 - len(warm_ups)):
        if one.template != template:
            rows.append(template := one.template)
        is_told = left > -WITH_PARTS or one.seconds == slowest
        parts = astuple(one.parts) if one.parts is not None and is_told else ()
        row = [one.seconds, one.replicas, int(one.window), *parts]
        rows.append([round(x, 3) if isinstance(x, float) else x for x in row])
    return rows


WARM_UPS = Form(_read_rows, _written_rows)
"""The field `warmUps` of `internal`."""
