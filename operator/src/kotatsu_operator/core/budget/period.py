"""Budget periods: days, weeks from Monday and months, from midnight to midnight in a zone."""

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.wallclock import to_instant
from kotatsu_operator.core.pool.spec import Period


def period_at(period: Period, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """The period of `now`, as instants in UTC; its end belongs to the next period.

    If the clock skips midnight, the day begins with its first minute that exists.
    """
    today = now.astimezone(zone).date()
    start, end = _bounds(period, zone, today)
    if now >= end:
        # The clocks went back from just after midnight: the day still begins only once.
        return _bounds(period, zone, today + timedelta(days=1))
    return start, end


@lru_cache(maxsize=4096)
def _bounds(period: Period, zone: ZoneInfo, day: date) -> tuple[datetime, datetime]:
    first = day
    if period is Period.WEEK:
        first = day - timedelta(days=day.weekday())
    elif period is Period.MONTH:
        first = day.replace(day=1)
    after = {
        Period.DAY: first + timedelta(days=1),
        Period.WEEK: first + timedelta(days=7),
        Period.MONTH: (first + timedelta(days=31)).replace(day=1),
    }[period]
    start, end = (to_instant(datetime.combine(d, time()), zone)[0] for d in (first, after))
    return start, end
