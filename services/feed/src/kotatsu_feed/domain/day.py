"""The pet's day: it begins at midnight in Tokyo, wherever the server and its user are."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Tokyo")


def day_of(now: datetime) -> date:
    """The pet's day at the instant `now` (which must know its time zone)."""
    if now.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return now.astimezone(ZONE).date()


def bounds(day: date) -> tuple[datetime, datetime]:
    """First and last second of `day` in UTC, both inside it, as GitHub's `from` and `to` want."""
    start = datetime.combine(day, time.min, ZONE).astimezone(UTC)
    end = datetime.combine(day + timedelta(days=1), time.min, ZONE).astimezone(UTC)
    return start, end - timedelta(seconds=1)
