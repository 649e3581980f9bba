"""From weeks of use to settings: windows, parkedFor and idleAfter that would have paid.

The first weeks are learned, the last ones held out: what is said of a proposal was measured on
weeks that it has not seen. Costs are in hours of one warm pod; a parked pod costs a share of that,
and a cold start is worth some minutes of a warm pod.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.schedule import Window, occurrences

SLOT = timedelta(minutes=5)
"""The resolution in which use is remembered."""

WEEK = timedelta(weeks=1) // SLOT
"""Slots of a week."""

COLD_START = timedelta(minutes=20)
"""What a cold start is worth by default, in time of a warm pod."""

IDLE_AFTER = timedelta(seconds=30)
"""idleAfter where pods can be parked: a parked pod answers at once."""

ROWS = 4
"""The most windows that are proposed, so that a person can read them."""

GAIN = 0.05
"""What a proposal must save, as a share of the cost without it."""

_PART = 6
"""Slots of a half hour, the steps of a window."""
_PARTS = 48
"""Half hours of a day."""

_DAYS: Sequence[tuple[str, tuple[int, ...]]] = (
    ("*", (0, 1, 2, 3, 4, 5, 6)),
    ("1-5", (0, 1, 2, 3, 4)),
    ("6,0", (5, 6)),
    *((str((day + 1) % 7), (day,)) for day in range(7)),
)
"""Days of a window: as cron has them, and as `datetime.weekday` does."""


@dataclass(frozen=True)
class Usage:
    """In which slots a pool was in use."""

    begin: datetime
    """The beginning of the first slot, UTC."""
    used: Sequence[int]
    """1 for a slot with a request or a connection in use, 0 for one without."""

    def part(self, first: int, last: int) -> "Usage":
        """The weeks from `first` up to `last`, counted from 0."""
        return Usage(self.begin + first * WEEK * SLOT, self.used[first * WEEK : last * WEEK])

    @property
    def weeks(self) -> int:
        """Complete weeks."""
        return len(self.used) // WEEK


@dataclass(frozen=True)
class Prices:
    """What the states of a pod cost, as shares of a warm one."""

    parked: float
    """A parked pod. 1 where pods can not be parked: what is kept is then a warm pod."""
    cold_start: timedelta = COLD_START

    @property
    def rule(self) -> timedelta:
        """How long it pays to keep a pod: the price of a cold start ÷ that of a kept minute."""
        half_hours = max(round(self.cold_start / self.parked / (_PART * SLOT)), 1)
        return half_hours * _PART * SLOT


@dataclass(frozen=True)
class Settings:
    """What decides whether a pool without requests is warm, kept or asleep."""

    idle_after: timedelta
    kept: timedelta = timedelta()
    """How long an idle pool is parked."""
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True)
class Expected:
    """What a week is expected to bring, on average."""

    cold_starts: float
    hours: float
    """In hours of a warm pod."""

    def cost(self, prices: Prices) -> float:
        """Hours of a warm pod, with what the cold starts are worth."""
        return self.hours + self.cold_starts * (prices.cold_start / timedelta(hours=1))


@dataclass
class _Slots:
    """What a replay has found of each slot."""

    hours: float = 0
    cold: list[int] = field(default_factory=list)
    """The slots that began with a cold start."""
    asleep: list[int] = field(default_factory=list)
    """The slots without a pod."""


def floors(usage: Usage, windows: Iterable[Window], zone: ZoneInfo, parked: float) -> list[float]:
    """What the windows keep in each slot, as a share of a warm pod: 0 where none is open."""
    floor, many = [0.0] * len(usage.used), len(usage.used)
    for one in occurrences(tuple(windows), zone, usage.begin, usage.begin + many * SLOT):
        first = max(-((usage.begin - one.start) // SLOT), 0)
        last = min(-((usage.begin - one.end) // SLOT), many)
        share = parked if one.parked else 1.0
        for slot in range(first, last):
            floor[slot] = max(floor[slot], share)
    return floor


def _replay(usage: Usage, floor: Sequence[float], settings: Settings, prices: Prices) -> _Slots:
    """The slots of a pool with these settings, which sleeps before the first one."""
    idle, kept = settings.idle_after / SLOT, settings.kept / SLOT
    warm_left = kept_left = 0.0
    found, cost = _Slots(), 0.0
    for slot, (used, at_least) in enumerate(zip(usage.used, floor, strict=True)):
        if used:
            if warm_left <= 0 and kept_left <= 0 and not at_least:
                found.cold.append(slot)
            cost += 1
            warm_left, kept_left = idle, kept
            continue
        warm = min(warm_left, 1.0)
        parked = min(kept_left, 1.0 - warm)
        warm_left -= warm
        kept_left -= parked
        if not warm and not parked and not at_least:
            found.asleep.append(slot)
            continue
        cost += max(warm + parked * prices.parked, at_least)
        if at_least == 1:
            kept_left = kept  # an idle pool is parked when its window closes
    found.hours = cost * (SLOT / timedelta(hours=1))
    return found


def expected(usage: Usage, settings: Settings, zone: ZoneInfo, prices: Prices) -> Expected:
    """What the weeks of `usage` would have brought with these settings, a week."""
    found = _replay(usage, floors(usage, settings.windows, zone, prices.parked), settings, prices)
    return Expected(len(found.cold) / usage.weeks, found.hours / usage.weeks)


# --- windows ---


def _parts(usage: Usage, zone: ZoneInfo) -> list[int]:
    """The half hour of the week, in the pool's zone, of each half hour of the usage."""
    found = []
    for number in range(0, len(usage.used), _PART):
        at = (usage.begin + number * SLOT).astimezone(zone)
        found.append(at.weekday() * _PARTS + at.hour * 2 + at.minute // 30)
    return found


def _gains(usage: Usage, settings: Settings, zone: ZoneInfo, prices: Prices) -> list[list[float]]:
    """What keeping a pod would bring in each half hour of the week: in odd weeks, in even ones."""
    slots = _replay(usage, [0.0] * len(usage.used), settings, prices)
    where, worth = _parts(usage, zone), prices.cold_start / SLOT
    gains = [[0.0] * 7 * _PARTS for _ in range(2)]
    for slot in slots.cold:
        gains[slot // WEEK % 2][where[slot // _PART]] += worth
    for slot in slots.asleep:
        gains[slot // WEEK % 2][where[slot // _PART]] -= prices.parked
    return gains


def _best(gains: Sequence[Sequence[float]]) -> tuple[float, int, list[int]]:
    """The run of half hours with the most gain: its gain, its days, and which they are."""
    both = [odd + even for odd, even in zip(*gains, strict=True)]
    best: tuple[float, int, list[int]] = (0.0, 0, [])
    for number, (_, days) in enumerate(_DAYS):
        profile = [sum(both[day * _PARTS + part] for day in days) for part in range(_PARTS)]
        sums, begin = [0.0, *accumulate(profile)], 0
        for end in range(1, _PARTS + 1):
            if sums[end - 1] < sums[begin]:
                begin = end - 1
            gain = sums[end] - sums[begin]
            if gain > best[0] and _is_regular(gains, days, begin, end):
                best = gain, number, list(range(begin, end))
    return best


def _is_regular(
    gains: Sequence[Sequence[float]], days: Sequence[int], begin: int, end: int
) -> bool:
    """Whether a window would have paid in odd weeks and in even ones: chance seldom does."""
    return all(
        sum(sum(week[day * _PARTS + begin : day * _PARTS + end]) for day in days) > 0
        for week in gains
    )


def _window(number: int, parts: Sequence[int], name: str, *, parked: bool) -> Window:
    hour, half = divmod(parts[0], 2)
    return Window(
        name=name,
        replicas=1,
        schedule=f"{half * 30} {hour} * * {_DAYS[number][0]}",
        duration=len(parts) * _PART * SLOT,
        parked=parked,
    )


def learned(usage: Usage, settings: Settings, zone: ZoneInfo, prices: Prices) -> Settings:
    """The settings with the windows that pay: at most ROWS, in the order of the gain."""
    gains, windows = _gains(usage, settings, zone, prices), []
    for count in range(1, ROWS + 1):
        gain, number, parts = _best(gains)
        # A window that saves less than a cold start in two weeks is not worth a line.
        if gain < prices.cold_start / SLOT * usage.weeks / 2:
            break
        windows.append(_window(number, parts, f"use-{count}", parked=prices.parked < 1))
        for day in _DAYS[number][1]:
            for part in parts:
                for week in gains:
                    week[day * _PARTS + part] = 0.0
    return Settings(settings.idle_after, settings.kept, tuple(windows))


# --- the proposal ---


@dataclass(frozen=True)
class Proposal:
    """What is proposed, and what each of the settings would have brought in the held-out weeks."""

    today: Expected
    rule: Expected
    settings: Settings | None
    """None: nothing saves enough."""
    proposed: Expected
    """Of `settings`; without a proposal, of today's."""
    learned_weeks: int
    held_out_weeks: int


def by_rule(today: Settings, prices: Prices) -> Settings:
    """The rule for those who know nothing of their use: keep a pod as long as that may pay."""
    single = tuple(w for w in today.windows if w.schedule is None)
    if prices.parked < 1:
        return Settings(IDLE_AFTER, prices.rule, single)
    return Settings(prices.rule, windows=single)


def propose(usage: Usage, today: Settings, zone: ZoneInfo, prices: Prices) -> Proposal | None:
    """The settings that would have cost least; None with less than three complete weeks.

    Repeating windows are proposed anew; single ones are a person's appointments and stay.
    """
    weeks = usage.weeks
    if weeks < 3:
        return None
    first = -(-weeks // 2)
    past, test = usage.part(0, first), usage.part(first, weeks)
    rule = by_rule(today, prices)

    def cost(settings: Settings) -> float:
        return expected(test, settings, zone, prices).cost(prices)

    candidates = []
    for share in (0, 0.25, 0.5, 1, 2):
        kept = rule.kept * share if prices.parked < 1 else timedelta()
        idle = (
            rule.idle_after if prices.parked < 1 else max(rule.idle_after * share, today.idle_after)
        )
        found = learned(past, Settings(idle, kept), zone, prices)
        found = Settings(found.idle_after, found.kept, (*rule.windows, *found.windows))
        candidates.append((expected(past, found, zone, prices).cost(prices), found))
    best = min(candidates, key=lambda one: one[0])[1]
    chosen, least = None, cost(today)
    for settings in (rule, best):
        if (costs := cost(settings)) < least * (1 - GAIN):
            chosen, least = settings, costs
    return Proposal(
        today=expected(test, today, zone, prices),
        rule=expected(test, rule, zone, prices),
        settings=chosen,
        proposed=expected(test, chosen or today, zone, prices),
        learned_weeks=first,
        held_out_weeks=weeks - first,
    )
