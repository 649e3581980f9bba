"""Times, amounts and numbers, as people write them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.wallclock import to_instant
from kotatsu_operator.core.formats import format_amount, format_duration, parse_duration
from kotatsu_operator.core.plan.activity import OVERRIDE_LIMIT
from kotatsu_operator.core.pool.memory import Parts

from .errors import DemoModeError
from .pools import Pool

_FORMS = "write it like 18:30, 2030-12-18T18:30 or 2030-12-18T18:30:00+09:00"


def duration_of(text: str, flag: str) -> timedelta:
    """A duration like 2h or 90m. Raises DemoModeError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise DemoModeError(f"{flag}: {error}") from None


def instant_of(text: str, zone: ZoneInfo, now: datetime, flag: str) -> datetime:
    """An instant in UTC. Without an offset, it is wall-clock time in the pool's time zone.

    A time of day is its next occurrence. When clocks go back, that may be the second one of the
    day. Raises DemoModeError.
    """
    return moment_of(text, zone, now, flag)[0]


def moment_of(text: str, zone: ZoneInfo, now: datetime, flag: str) -> tuple[datetime, bool]:
    """Like `instant_of`, and whether clocks skip the time: it is then the end of the gap."""
    if len(text) <= 8 and ":" in text:
        return _next_wall(text, zone, now, flag)
    try:
        given = datetime.fromisoformat(text)
        if given.tzinfo is not None:
            return given.astimezone(UTC), False
        return to_instant(given, zone)
    except (ValueError, OverflowError):
        raise DemoModeError(f"{flag}: {text!r} is not a time; {_FORMS}") from None


def _next_wall(text: str, zone: ZoneInfo, now: datetime, flag: str) -> tuple[datetime, bool]:
    today = now.astimezone(zone).date()
    try:
        clock = datetime.strptime(text, "%H:%M:%S" if text.count(":") == 2 else "%H:%M").time()  # noqa: DTZ007
    except ValueError:
        raise DemoModeError(f"{flag}: {text!r} is not a time of day; {_FORMS}") from None
    coming = []
    for ahead in range(3):
        wall = datetime.combine(today + timedelta(days=ahead), clock)
        first, shifted = to_instant(wall, zone)
        again = first if shifted else wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
        coming += [(at, shifted) for at in (first, again) if at > now]
    return min(coming)


def end_of_override(
    lasting: str | None, until: str | None, zone: ZoneInfo, now: datetime, default: str
) -> datetime:
    """The end of an override, from --for or --until. Raises DemoModeError.

    The operator ends each override 24 h after it first saw it, so a later end is an error.
    """
    if until is None:
        text = lasting or default
        after = duration_of(text, "--for")
        if after <= timedelta():
            raise DemoModeError(
                f"--for: {text} is not longer than 0; write it like 90s, 2m or 1h30m"
            )
        flag, shown, end = "--for", text, now + min(after, OVERRIDE_LIMIT * 2)
    else:
        flag, shown, end = "--until", until, instant_of(until, zone, now, "--until")
    if end <= now:
        here = now.astimezone(zone).isoformat(timespec="minutes")
        raise DemoModeError(
            f"--until: {shown} has passed (it is {here} in {zone.key}); give a later time"
        )
    if end - now > OVERRIDE_LIMIT:
        raise DemoModeError(
            f"{flag}: {shown} is more than {format_duration(OVERRIDE_LIMIT)} away, the longest "
            "override; for more, use `kubectl demo-mode window add`"
        )
    # Rounded up to seconds, so the shown end is the stored one.
    return end if not end.microsecond else end.replace(microsecond=0) + timedelta(seconds=1)


def clock(at: datetime, zone: ZoneInfo, now: datetime) -> str:
    """An instant in the pool's time zone: `18:30`, or with the date if it is not today."""
    here = at.astimezone(zone)
    seconds = ":%S" if here.second else ""
    day = "" if here.date() == now.astimezone(zone).date() else "%a %Y-%m-%d "
    return here.strftime(f"{day}%H:%M{seconds}")


def stamp(at: datetime) -> str:
    """An instant in RFC 3339, in UTC."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def wall(at: datetime) -> str:
    """A wall-clock time as spec.windows has it."""
    return at.isoformat(timespec="seconds" if at.second else "minutes")


def about(length: timedelta) -> str:
    """A duration in at most two units: `2h`, `1h 5m`, `40s`, `3d 4h`."""
    seconds = max(0, round(length.total_seconds()))
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    parts: list[str] = []
    for unit, size in units:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    shown = [p for p in parts[:2] if not p.startswith("0")]
    return " ".join(shown) or "0s"


def many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def pods(count: int) -> str:
    return many(count, "pod")


def shown_pods(replicas: int, *, parked: bool) -> str:
    return f"{replicas} parked" if parked else str(replicas)


def windows_pods(replicas: int, *, parked: bool) -> str:
    """The pods of a window, and whether they are parked."""
    return f"{pods(replicas)}, parked" if parked else pods(replicas)


def at_most(lines: Sequence[str], most: int, more: str) -> list[str]:
    """At most so many lines, and `more` about the number of others."""
    left = len(lines) - most
    return [*lines[:most], *([more.format(left)] if left > 0 else [])]


UNKNOWN = "-"


def amount(value: Decimal | None, currency: str = "") -> str:
    """An amount as `format_amount` writes it; `-` if unknown."""
    return UNKNOWN if value is None else format_amount(value, currency)


def number(value: Decimal | None) -> float | None:
    """An amount for JSON, rounded to six decimals."""
    return None if value is None else round(float(value), 6)


def spent_on(parts: Parts) -> str:
    """The parts of a warm-up that took at least half a second; all of it is the start otherwise."""
    named = {
        "node": parts.node,
        "volumes and network": parts.sandbox,
        "image": parts.pull,
        "start": parts.start,
    }
    long = [f"{name} {seconds:.0f}" for name, seconds in named.items() if seconds >= 0.5]
    return ", ".join(long) or f"start {parts.start:.0f}"


def last_warm_up(pool: Pool) -> str:
    """The latest warm-up of a pool and its parts."""
    if not pool.memory.warm_ups:
        return UNKNOWN
    last = pool.memory.warm_ups[-1]
    parts = "" if last.parts is None else f" ({spent_on(last.parts)})"
    return f"{last.seconds:.0f} s{parts}"


def skipped_note(opens: datetime, zone: ZoneInfo) -> str:
    """About a start that does not exist, because clocks go forward."""
    return (
        "the start does not exist on that day: clocks go forward, so the window opens at "
        f"{opens.astimezone(zone):%H:%M}"
    )
