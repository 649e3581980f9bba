"""Reads a WarmPool's spec: parsed, validated, with defaults.

The CRD's rules cannot detect an unknown time zone, an invalid cron expression or quantity: for
those this module raises `SpecError`, whose message becomes that of the condition Accepted=False.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import MAXYEAR, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.schedule import Window, check_cron, openings_a_day
from kotatsu_operator.core.calendar.wallclock import zones
from kotatsu_operator.core.formats import (
    amount,
    format_duration,
    instant,
    parse_duration,
    text,
)
from kotatsu_operator.core.pool.spec import (
    PLATFORM,
    Budget,
    CalendarUse,
    InFlightMetric,
    OnExhausted,
    Override,
    OverrideMode,
    Period,
    Platform,
    PoolSpec,
    RouteMode,
    Target,
    WindowMode,
)
from kotatsu_operator.core.protocol import BY_ANNOTATION, REASON_ANNOTATION

_LONGEST = timedelta(days=366)
"""The longest duration of all fields for which the CRD has no other one."""

_LONGEST_WHO, _LONGEST_WHY = 128, 256
"""Characters of the annotations about an override that are shown."""

CLOSED = "Closed"
"""The mode of a calendar whose days have no windows."""

D = TypeVar("D", timedelta, None)


class SpecError(ValueError):
    """The spec is invalid. The message says what to change."""


def parse(
    spec: Mapping[str, Any],
    platform: Platform = PLATFORM,
    annotations: Mapping[str, Any] = MappingProxyType({}),
) -> PoolSpec:
    """Parse a WarmPool's `spec` as the API server returns it. Raises SpecError.

    The annotations of the pool say who has set its override, and why.
    """
    target, calendars = spec["targetRef"], list(spec.get("calendars") or ())
    return PoolSpec(
        target=Target(target["apiVersion"], target["kind"], target["name"]),
        service=spec.get("service") or target["name"],
        zone=_zone(spec.get("timeZone") or "UTC"),
        route=RouteMode(spec.get("route", RouteMode.AUTO)),
        depends_on=tuple(spec.get("dependsOn") or ()),
        windows=_windows(spec.get("windows") or ()),
        calendars=tuple(_calendar(c) for c in calendars if c.get("mode") != CLOSED),
        closed_on=tuple(c["name"] for c in calendars if c.get("mode") == CLOSED),
        lead=_duration(spec, "lead", None),
        capacity_ahead=_duration(spec, "capacityAhead", None),
        min_replicas=spec.get("minReplicas", PoolSpec.min_replicas),
        max_replicas=spec.get("maxReplicas") or PoolSpec.max_replicas,
        has_maximum=bool(spec.get("maxReplicas")),
        requests_per_pod=spec.get("requestsPerPod", PoolSpec.requests_per_pod),
        idle_after=_duration(spec, "idleAfter", PoolSpec.idle_after),
        in_flight_metric=_in_flight_metric(spec.get("inFlightMetric") or {}),
        hold_timeout=_duration(spec, "holdTimeout", PoolSpec.hold_timeout),
        platform=platform,
        parked_for=_duration(spec, "parkedFor", None),
        budget=_budget(spec.get("budget") or {}),
        override=_override(spec.get("override"), annotations),
        suspend=bool(spec.get("suspend", False)),
    )


_PARTS = {
    "timeZone": ("zone",),
    "windows": ("windows",),
    "calendars": ("calendars", "closed_on"),
    "lead": ("lead",),
    "capacityAhead": ("capacity_ahead",),
    "idleAfter": ("idle_after",),
    "inFlightMetric": ("in_flight_metric",),
    "holdTimeout": ("hold_timeout",),
    "parkedFor": ("parked_for",),
    "budget": ("budget",),
    "override": ("override",),
}
"""The parts of a spec that `parse` may reject, and the attributes that they become."""


def salvage(
    spec: Mapping[str, Any], last: PoolSpec | None = None, platform: Platform = PLATFORM
) -> PoolSpec:
    """The valid parts of a spec that `parse` rejects.

    An invalid part is taken from `last`, the last valid spec, or omitted, and without a valid time
    zone the windows too.
    """
    rest = {name: value for name, value in spec.items() if name not in _PARTS}
    broken = []
    for name in _PARTS.keys() & spec.keys():
        try:
            parse({"targetRef": spec["targetRef"], name: spec[name]})
            rest[name] = spec[name]
        except SpecError:
            broken.append(name)
    if last is None:
        if "timeZone" in broken:
            rest.pop("windows", None)
        return parse(rest, platform)
    kept = {part: getattr(last, part) for name in broken for part in _PARTS[name]}
    return replace(parse(rest, platform), **kept)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    if name not in zones():
        raise SpecError(
            f"spec.timeZone: {name!r} is not an IANA time zone; write it like Asia/Tokyo or UTC"
        )
    return ZoneInfo(name)


def _duration(parent: Mapping[str, Any], key: str, default: D, inside: str = "") -> timedelta | D:
    given = parent.get(key)
    if given is None:
        return default
    try:
        duration = parse_duration(given)
    except ValueError as error:
        raise SpecError(f"spec.{inside}{key}: {error}") from None
    if duration > _LONGEST:
        raise SpecError(
            f"spec.{inside}{key}: {given} is too long: at most {format_duration(_LONGEST)}"
        )
    return duration


OPENINGS_A_DAY = 24 * 60
"""For all windows of a pool together: one opening each minute. Planning a day of them takes 10 ms,
during which no other pool is reconciled."""


def _windows(given: Iterable[Mapping[str, Any]]) -> tuple[Window, ...]:
    windows = tuple(_window(_hashable(raw)) for raw in given)
    openings = sum(openings_a_day(w.schedule) for w in windows if w.schedule is not None)
    if openings > OPENINGS_A_DAY:
        raise SpecError(
            f"spec.windows: the windows open up to {openings} times on one day, and the limit is "
            f"{OPENINGS_A_DAY}: use fewer and longer windows"
        )
    return windows


def _calendar(raw: Mapping[str, Any]) -> CalendarUse:
    name, replicas = raw["name"], raw.get("replicas")
    if replicas is None:
        raise SpecError(
            f"spec.calendars[{name}].replicas is missing: say how many pods events need"
        )
    return CalendarUse(name, replicas, raw.get("match", ""), parked=_is_parked(raw))


def _is_parked(raw: Mapping[str, Any]) -> bool:
    return WindowMode(raw.get("mode", WindowMode.WARM)) is WindowMode.PARKED


_WINDOW = ("name", "replicas", "start", "end", "schedule", "duration", "mode")


_TIMES = ({"start", "end"}, {"schedule", "duration"})
"""When a window is open, in the two ways to say it."""


def _hashable(raw: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    fields = ((name, raw[name]) for name in _WINDOW if name in raw)
    return *fields, ("excludeDates", tuple(raw.get("excludeDates") or ()))


@lru_cache(maxsize=16384)
def _window(fields: tuple[tuple[str, Any], ...]) -> Window:
    """Parse one window. Cached: each reconcile parses the spec, which rarely changes."""
    raw = dict(fields)
    name, replicas, schedule = raw["name"], raw["replicas"], raw.get("schedule")
    where, parked = f"windows[{name}]", _is_parked(raw)
    if raw.keys() & {"start", "end", "schedule", "duration"} not in _TIMES:
        raise SpecError(
            f"spec.{where}: give either start and end (once), or schedule and duration (repeating)"
        )
    exclude = frozenset(_date(text, where) for text in raw["excludeDates"])
    if schedule is not None:
        try:
            check_cron(schedule)
        except ValueError as error:
            raise SpecError(f"spec.{where}.schedule: {error}") from None
        lasting = _duration(raw, "duration", timedelta(), f"{where}.")
        return Window(
            name, replicas, schedule=schedule, duration=lasting, exclude=exclude, parked=parked
        )
    start, end = raw["start"], raw["end"]
    opens, closes = _wall(start, f"{where}.start"), _wall(end, f"{where}.end")
    if closes <= opens:
        raise SpecError(f"spec.{where}: end {end} is not after start {start}")
    return Window(name, replicas, start=opens, end=closes, exclude=exclude, parked=parked)


def _wall(text: str, where: str) -> datetime:
    try:
        wall = datetime.fromisoformat(text)
    except ValueError:
        wall = None
    if wall is None or wall.tzinfo is not None or not 1 < wall.year < MAXYEAR:
        raise SpecError(
            f"spec.{where}: {text!r} is not a wall-clock time; write it like 2030-11-25T10:00 "
            "(the zone is spec.timeZone)"
        )
    return wall


def _date(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SpecError(
            f"spec.{where}.excludeDates: {text!r} is not a date like 2030-12-31"
        ) from None


def _in_flight_metric(raw: Mapping[str, Any]) -> InFlightMetric:
    return InFlightMetric(
        port=str(raw.get("port", InFlightMetric.port)),
        path=raw.get("path", InFlightMetric.path),
        name=raw.get("name", InFlightMetric.name),
    )


def _override(raw: Mapping[str, Any] | None, annotations: Mapping[str, Any]) -> Override | None:
    if not raw:
        return None
    until = instant(raw.get("until"))
    if until is None:
        raise SpecError(
            f"spec.override.until: {raw.get('until', '')!r} is not an instant; write it like "
            "2030-11-25T12:30:00+09:00"
        )
    return Override(
        mode=OverrideMode(raw["mode"]),
        until=until,
        replicas=raw.get("replicas"),
        by=text(annotations.get(BY_ANNOTATION))[:_LONGEST_WHO],
        reason=text(annotations.get(REASON_ANNOTATION))[:_LONGEST_WHY],
    )


def _budget(raw: Mapping[str, Any]) -> Budget:
    limit = raw.get("limit")
    return Budget(
        limit=None if limit is None else positive(limit, "spec.budget.limit"),
        period=Period(raw.get("period", Period.MONTH)),
        on_exhausted=OnExhausted(raw.get("onExhausted", OnExhausted.BLOCK_STARTS)),
    )


def positive(given: Any, where: str) -> Decimal:
    """An amount of money, 0 or more. Raises SpecError."""
    # A binary fraction cannot represent every decimal price.
    read = None if isinstance(given, float) else amount(given)
    if read is None:
        raise SpecError(f"{where}: {given!r} is not an amount like 6.5")
    return read
