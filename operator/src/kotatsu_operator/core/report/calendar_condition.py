"""The condition CalendarFailed: which calendars of a pool cannot be read, and what remains."""

from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.calendars import MOST_WINDOWS, Reading, Readings
from kotatsu_operator.core.pool.memory import Followed, Memory
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.report.conditions import condition
from kotatsu_operator.core.report.status import Status


def calendar_failures(spec: PoolSpec, memory: Memory, readings: Readings) -> list[Status]:
    """The condition while a calendar of the pool cannot be read; empty otherwise.

    A calendar that is configured and has not been read yet is not reported: the operator has just
    begun to lead.
    """
    known = {f.name: f for f in memory.calendars}
    names = spec.calendar_names
    unknown = [name for name in names if name not in readings]
    if unknown:
        text = "; ".join(_missing(name, known.get(name)) for name in unknown)
        return [condition("CalendarFailed", True, "NotConfigured", text)]
    failed = [(name, readings[name]) for name in names if readings[name].error]
    if failed:
        text = "; ".join(_unread(name, reading, known.get(name)) for name, reading in failed)
        return [condition("CalendarFailed", True, "Unreadable", text)]
    full = [name for name in names if name in known and known[name].left_out]
    if full:
        text = "; ".join(_full(known[name]) for name in full)
        return [condition("CalendarFailed", True, "EventsLeftOut", text)]
    return []


def _missing(name: str, known: Followed | None) -> str:
    return (
        f"the operator follows no calendar {name}: add it to the chart value `calendars`, or "
        f"correct the name{_kept(known)}"
    )


def _unread(name: str, reading: Reading, known: Followed | None) -> str:
    return f"calendar {name} {reading.error}{_kept(known)}"


def _kept(known: Followed | None) -> str:
    if known is None:
        return "; it has no windows yet"
    at = stamp(known.read_at.replace(microsecond=0))
    ahead = sum(w.end is not None for w in known.windows)
    if not ahead and not known.closed:
        return f"; nothing is left of what was read at {at}"
    what = [f"{ahead} windows"] * bool(ahead) + [f"{len(known.closed)} closed days"] * bool(
        known.closed
    )
    return f"; {' and '.join(what)} of {at} stay"


def _full(known: Followed) -> str:
    return (
        f"{known.left_out} events of calendar {known.name} are no windows: a pool takes the next "
        f"{MOST_WINDOWS} of a calendar, and none at a time that clocks skip; choose fewer with "
        "spec.calendars[].match"
    )
