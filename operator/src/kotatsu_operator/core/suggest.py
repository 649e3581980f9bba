"""From weeks of use to settings: windows, parkedFor and idleAfter that would have paid.

Whether it pays to learn is tested: the first weeks are learned, the last ones held out, and the
figures are those of the held-out weeks. What is proposed is then learned from all weeks. Costs are
in hours of one warm pod; a parked pod costs a share of that, and a cold start is worth some minutes
of a warm pod.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, count, groupby, product
from math import ceil
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.simulate import asks
from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.report.usage import LINGERS, SLOT, WEEK, Usage

COLD_START = timedelta(minutes=20)
"""What a cold start is worth by default, in time of a warm pod."""

PARKED_SHARE = 0.136
"""The price of a parked pod that is assumed where nothing is known, as a share of a warm one: that
of 250m CPU and 320Mi of memory, if a core costs nine times as much as a GiB."""

IDLE_AFTER = timedelta(seconds=30)
"""idleAfter where pods can be parked: a parked pod answers at once."""

ROWS = 4
"""The most windows that are proposed, so that a person can read them."""

GAIN = 0.05
"""What a proposal must save, as a share of the cost without it."""

KEPT = timedelta(minutes=30)
"""How long an idle pool is parked beside windows that are learned: they keep it where that pays
more often."""

SHORTEST = 2 * SLOT
"""idleAfter beside learned windows where pods cannot be parked. How often a pool sleeps with a
shorter one does not show: uses in slots that follow each other are less than this apart."""

_Gains = list[list[float]]

_PART = 6
"""Slots of a half hour, the steps of a window."""
_PARTS = 48
"""Half hours of a day."""

_DAYS: Sequence[tuple[str, tuple[int, ...]]] = (
    ("*", (0, 1, 2, 3, 4, 5, 6)),
    ("1-5", (0, 1, 2, 3, 4)),
    ("6,0", (5, 6)),
)
"""Days of a window: as cron has them, and as `datetime.weekday` does."""


_EPOCH = datetime.fromtimestamp(0, UTC)
_IDLE, _USED, _UNKNOWN = range(3)

ENOUGH = 0.9
"""The part of the least weeks that must be known."""

LEAST_USES = 10
"""Fewer uses are no habit: nothing is proposed of them."""

_DAY = WEEK // 7


@dataclass(frozen=True)
class KnownUse:
    """What is known of the use of a pool in some weeks."""

    first: int
    """The number of its first slot, at a half hour of UTC."""
    slots: bytes
    """_USED, _IDLE or _UNKNOWN for each slot."""
    share: float
    """The busy part of a used slot."""

    @property
    def begin(self) -> datetime:
        return _EPOCH + self.first * SLOT

    @property
    def weeks(self) -> int:
        return len(self.slots) // WEEK

    @property
    def known_weeks(self) -> float:
        """How much of it is known, in weeks."""
        return (len(self.slots) - self.slots.count(_UNKNOWN)) / WEEK

    @property
    def uses(self) -> int:
        """Runs of used slots; one that lasts longer than a day counts once for each."""
        runs = groupby(self.slots, lambda slot: slot == _USED)
        return sum(ceil(sum(1 for _ in run) / _DAY) for is_used, run in runs if is_used)

    @property
    def end(self) -> datetime:
        return self.begin + len(self.slots) * SLOT

    @property
    def learned_weeks(self) -> int:
        """How many of the weeks are learned before the others test what was learned."""
        return -(-self.weeks // 2)

    @property
    def held_out(self) -> "KnownUse":
        return self.part(self.learned_weeks, self.weeks)

    def part(self, first: int, last: int) -> "KnownUse":
        """The weeks from `first` up to `last`, counted from 0."""
        slots = self.slots[first * WEEK : last * WEEK]
        return KnownUse(self.first + first * WEEK, slots, self.share)


def past_of(usage: Usage) -> KnownUse:
    """The complete weeks up to the newest slot."""
    end = (usage.last + 1) // _PART * _PART
    begun = usage.last + 1 - usage.known.bit_length()
    weeks = max(end - begun, 0) // WEEK
    first = end - weeks * WEEK
    newer, many = usage.last + 1 - end, max(weeks, 1) * WEEK
    used, known = (f"{bits >> newer:0{many}b}"[-many:] for bits in (usage.used, usage.known))
    slots = (
        int(use) if is_known == "1" else _UNKNOWN for use, is_known in zip(used, known, strict=True)
    )
    return KnownUse(first, bytes(slots)[: weeks * WEEK], usage.share)


@dataclass(frozen=True)
class RelativePrices:
    """What the states of a pod cost, as shares of a warm one."""

    parked: float
    """A parked pod. 1 where pods can not be parked: what is kept is then a warm pod."""
    cold_start: timedelta = COLD_START
    awake: float = 1.0
    """The pods of a pool that is awake for requests, on average: an autoscaler may add some."""

    @property
    def rule(self) -> timedelta:
        """How long it pays to keep a pod: the price of a cold start ÷ that of a kept minute.

        In half hours, and at least one.
        """
        half_hours = round(self.cold_start / self.parked / (_PART * SLOT))
        return max(half_hours, 1) * _PART * SLOT


@dataclass(frozen=True)
class Settings:
    """What decides whether a pool without requests is warm, kept or asleep."""

    idle_after: timedelta
    kept: timedelta = timedelta()
    """How long an idle pool is parked."""
    windows: tuple[Window, ...] = ()

    @property
    def is_short(self) -> bool:
        """Whether a pool may sleep between uses in two slots that follow each other."""
        return self.idle_after + self.kept < SHORTEST


@dataclass(frozen=True)
class Expected:
    """What a week is expected to bring, on average."""

    cold_starts: float
    hours: float
    """In hours of a warm pod."""
    is_least: bool = False
    """Whether both may be more: sleeps between uses in slots that follow each other do not show."""

    def cost(self, prices: RelativePrices) -> float:
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
    has_runs: bool = False
    """Whether there is use in slots that follow each other."""


Floor = tuple[int, float]
"""The pods that windows keep, and what each costs, as a share of a warm one."""


def floors_of(past: KnownUse, spec: PoolSpec, parked: float) -> list[Floor]:
    """What the windows keep in each slot while they are open."""
    floor = list[Floor]()
    asked = [*asks(replace(spec, lead=timedelta()), Memory(), past.begin, past.end)]
    for ask, until in zip(asked, [*(ask.at for ask in asked[1:]), past.end], strict=True):
        each = 1.0 if ask.warm else parked if ask.replicas else 0.0
        # A slot has what is asked for at its begin.
        many = -((past.begin - until) // SLOT) - len(floor)
        floor += [(ask.replicas, each)] * many
    return floor


def _replay(past: KnownUse, settings: Settings, spec: PoolSpec, prices: RelativePrices) -> _Slots:
    """The slots of a pool with these settings, which sleeps before the first one.

    Uses in slots that follow each other are one. Time that is not known does not pass.
    """
    # How long the last slot of a run keeps the pool warm, and the others. A shorter idleAfter than
    # a slot ends within a run too; how often is not known, so the run is taken for one use.
    tail = max(settings.idle_after - LINGERS, timedelta()) / SLOT
    lasts = min(past.share + tail, 1.0) if settings.idle_after >= SLOT else past.share
    kept, joins, slot = settings.kept / SLOT, False, 0
    warm_left = kept_left = cost = 0.0
    found = _Slots()
    floors = floors_of(past, replace(spec, windows=settings.windows), prices.parked)
    for (use, (pods, each)), alike in groupby(zip(past.slots, floors, strict=True)):
        begin, many = slot, sum(1 for _ in alike)
        slot += many
        if use == _UNKNOWN:
            continue
        if use == _USED:
            if not joins and warm_left <= 0 and kept_left <= 0 and not pods:
                found.cold.append(begin)
            found.has_runs |= joins or many > 1
            total = lasts * (many - 1) + past.share + tail
            warm = min(total, many)
            parked = min(kept * many, many - warm)
            warm_left, kept_left = total - warm, kept
        else:
            warm = min(warm_left, many)
            parked = min(kept_left, many - warm)
            warm_left, kept_left = warm_left - warm, kept_left - parked
            if not pods:
                found.asleep += range(begin + ceil(warm + parked), slot)
        joins = use == _USED
        rest = many - warm - parked
        floor = pods * each
        cost += (
            warm * max(pods, spec.least, prices.awake)
            + parked * max(prices.parked, floor)
            + rest * floor
        )
        if each == 1:
            kept_left = kept  # an idle pool is parked when its window closes
    found.hours = cost * (SLOT / timedelta(hours=1))
    return found


def expected(
    past: KnownUse, settings: Settings, spec: PoolSpec, prices: RelativePrices
) -> Expected:
    """What the weeks of `past` would have brought with these settings, a week that is known."""
    found = _replay(past, settings, spec, prices)
    cold, hours = len(found.cold) / past.known_weeks, found.hours / past.known_weeks
    return Expected(cold, hours, is_least=settings.is_short and found.has_runs)


# --- windows ---


def _parts(past: KnownUse, zone: ZoneInfo) -> list[int]:
    """The half hour of the week, in the pool's zone, of each half hour of the past."""
    found = []
    for number in range(0, len(past.slots), _PART):
        at = (past.begin + number * SLOT).astimezone(zone)
        found.append(at.weekday() * _PARTS + at.hour * 2 + at.minute // 30)
    return found


def _gains(past: KnownUse, slots: _Slots, zone: ZoneInfo, parked: float, worth: float) -> _Gains:
    """What keeping a pod would bring in each half hour of the week, for each of the weeks."""
    where = _parts(past, zone)
    gains = [[0.0] * 7 * _PARTS for _ in range(past.weeks)]
    for slot in slots.cold:
        gains[slot // WEEK][where[slot // _PART]] += worth
    for slot in slots.asleep:
        gains[slot // WEEK][where[slot // _PART]] -= parked
    return gains


def _best(gains: _Gains) -> tuple[float, int, list[int]]:
    """The run of half hours with the most gain: its gain, its days, and which they are."""
    total = [sum(weeks) for weeks in zip(*gains, strict=True)]
    best: tuple[float, int, list[int]] = (0.0, 0, [])
    for number, (_, days) in enumerate(_DAYS):
        profile = [sum(total[day * _PARTS + part] for day in days) for part in range(_PARTS)]
        sums, begin = [0.0, *accumulate(profile)], 0
        for end in range(1, _PARTS + 1):
            if sums[end - 1] < sums[begin]:
                begin = end - 1
            gain = sums[end] - sums[begin]
            if gain > best[0] and _is_regular(gains, days, begin, end):
                best = gain, number, list(range(begin, end))
    return best


def _is_regular(gains: _Gains, days: Sequence[int], begin: int, end: int) -> bool:
    """Whether a window would have paid in three weeks of four: chance seldom does."""
    paid = [
        sum(sum(week[day * _PARTS + begin : day * _PARTS + end]) for day in days) > 0
        for week in gains
    ]
    return sum(paid) >= 0.75 * len(paid)


def _window(number: int, parts: Sequence[int], name: str, *, parked: bool) -> Window:
    hour, half = divmod(parts[0], 2)
    return Window(
        name=name,
        replicas=1,
        schedule=f"{half * 30} {hour} * * {_DAYS[number][0]}",
        duration=len(parts) * _PART * SLOT,
        parked=parked,
    )


def learned(past: KnownUse, base: Settings, spec: PoolSpec, prices: RelativePrices) -> Settings:
    """The settings and the windows that pay beside them: at most ROWS, by their gain."""
    slots = _replay(past, base, spec, prices)
    worth = prices.cold_start / SLOT
    gains = _gains(past, slots, spec.zone, prices.parked, worth)
    windows, names = list[Window](), {window.name for window in base.windows}
    # A window that saves less than a cold start in two weeks is not worth a line.
    while len(windows) < ROWS and (best := _best(gains))[0] >= worth * past.known_weeks / 2:
        _, number, parts = best
        name = next(n for n in map("use-{}".format, count(1)) if n not in names)
        names.add(name)
        windows.append(_window(number, parts, name, parked=prices.parked < 1))
        for week, day, part in product(gains, _DAYS[number][1], parts):
            week[day * _PARTS + part] = 0.0
    return replace(base, windows=(*base.windows, *windows))


# --- the proposal ---


@dataclass(frozen=True)
class Proposal:
    """What is proposed, and what each of the settings would have brought in the held-out weeks."""

    today: Expected
    by_rule: Settings
    rule: Expected
    settings: Settings | None
    """Learned from all weeks; None: nothing saves enough."""
    proposed: Expected
    """Of the settings that were learned in the same way from the first weeks, or of the rule;
    without a proposal, of today's."""
    learned_weeks: int
    held_out_weeks: int
    uses: int
    """Of all weeks. Nothing is proposed of fewer than LEAST_USES."""


Recorded = Callable[[datetime, datetime], Expected | None]
"""What was recorded from one time to another, a week; None if that is not known."""


_PROPOSED = re.compile(r"use-\d+")


def stays(window: Window) -> bool:
    """Whether a window is a person's: no proposal replaces it."""
    is_changed = window.schedule is None or window.replicas > 1 or window.exclude or window.calendar
    return bool(is_changed or not _PROPOSED.fullmatch(window.name))


def by_rule(today: Settings, prices: RelativePrices) -> Settings:
    """The rule for those who know nothing of their use: keep a pod as long as that may pay."""
    kept = tuple(window for window in today.windows if stays(window))
    if prices.parked < 1:
        return Settings(IDLE_AFTER, prices.rule, kept)
    return Settings(prices.rule, windows=kept)


def propose(
    past: KnownUse,
    today: Settings,
    spec: PoolSpec,
    prices: RelativePrices,
    recorded: Recorded = lambda *_: None,
) -> Proposal | None:
    """The settings that would have cost least; None with less than three known weeks.

    What today's settings cost is `recorded`, else computed as for the others. Windows of an
    earlier proposal are proposed anew; all others are a person's and stay.
    """
    weeks, first = past.weeks, past.learned_weeks
    known, test = past.part(0, first), past.held_out
    if known.known_weeks < 2 * ENOUGH or test.known_weeks < ENOUGH:
        return None
    rule = by_rule(today, prices)
    base = replace(rule, kept=min(KEPT, rule.kept))
    if prices.parked == 1:
        base = replace(rule, idle_after=min(SHORTEST, rule.idle_after))
    before, after = (learned(part, base, spec, prices) for part in (known, past))

    def of(part: KnownUse, settings: Settings) -> Expected:
        known = recorded(part.begin, part.end) if settings == today else None
        return known or expected(part, settings, spec, prices)

    def cost(part: KnownUse, settings: Settings) -> float:
        return of(part, settings).cost(prices)

    newest = past.part(weeks - 1, weeks)
    chosen, uses = today, past.uses
    for settings in (rule, before) if uses >= LEAST_USES else ():
        # A habit may have ended, which the mean of some weeks hides.
        lasts = newest.known_weeks < 0.5 or cost(newest, settings) <= cost(newest, chosen)
        if lasts and cost(test, settings) < cost(test, chosen) * (1 - GAIN):
            chosen = settings
    made = after if chosen == before else chosen
    return Proposal(
        today=of(test, today),
        by_rule=rule,
        rule=of(test, rule),
        settings=None if made == today else made,
        proposed=of(test, chosen),
        learned_weeks=first,
        held_out_weeks=weeks - first,
        uses=uses,
    )
