"""The pools in the picture of the console: a morning, 40 minutes after a pitch has begun."""

from datetime import UTC, datetime, timedelta
from typing import Any

from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.features.console.board import Board
from tests.operator.features.console.pools import Clock, pool, status

NAMESPACE = "demo"
ZONE = "Europe/Berlin"
NOW = datetime(2026, 11, 25, 9, 40, tzinfo=UTC)
"""10:40 in Berlin."""


def at(clock: str) -> datetime:
    """A time of this day in Berlin."""
    hours, minutes, *seconds = (int(part) for part in clock.split(":"))
    return datetime(2026, 11, 25, tzinfo=UTC) + timedelta(
        hours=hours - 1, minutes=minutes, seconds=seconds[0] if seconds else 0
    )


def window(name: str, start: str, end: str, replicas: int) -> dict[str, Any]:
    """A window of this day, by clock times."""
    day = "2026-11-25T"
    return {
        "name": name,
        "start": f"{day}{start}:00",
        "end": f"{day}{end}:00",
        "replicas": replicas,
    }


def cost(accrued: str, rate: str, forecast: str, limit: str) -> dict[str, str]:
    """What the ledger has of this day."""
    return {
        "currency": "EUR",
        "accrued": accrued,
        "ratePerHour": rate,
        "forecast": forecast,
        "limit": limit,
        "period": "Day",
        "periodStart": stamp(at("00:00")),
        "at": stamp(NOW),
    }


REHEARSAL = {"name": "rehearsal", "schedule": "0 18 * * *", "duration": "90m", "replicas": 2}
SPECS: dict[str, dict[str, Any]] = {
    "booking": {
        "windows": [window("pitch", "10:00", "12:00", 4), REHEARSAL],
        "budget": {"limit": "5"},
    },
    "search": {"windows": [window("judges", "10:41", "11:30", 2)], "budget": {"limit": "5"}},
    "reports": {"windows": [{**REHEARSAL, "name": "closing", "schedule": "0 17 * * *"}]},
    "gallery": {
        "override": {
            "mode": "Warm",
            "until": stamp(at("11:30")),
            "by": "alice",
            "reason": "the jury has more questions",
        },
        "budget": {"limit": "2"},
    },
}


def states() -> list[tuple[str, str, dict[str, Any]]]:
    """What became of the pools: time, pool, status."""
    asleep = status("Asleep")
    woken = {"lastWake": {"at": stamp(at("06:41")), "duration": "1.9s"}}
    opened = {"window": "pitch", "at": stamp(at("10:00")), "early": "14s", "cold": False}
    closes = {"at": stamp(at("12:00")), "window": "pitch", "kind": "close"}
    opens = {"at": stamp(at("10:41")), "window": "judges", "kind": "open"}
    contested = {
        "type": "ReplicasKept",
        "status": "False",
        "reason": "AppliedByAnother",
        "message": "argocd applies a manifest that sets spec.replicas of Deployment gallery",
    }
    seen = [("02:00", name, asleep) for name in SPECS]
    seen += [
        ("06:41", "booking", status("Warm", 1, **woken)),
        ("06:50", "booking", status("Asleep", **woken)),
        ("08:12", "reports", status("Warm", 1)),
        ("08:31", "reports", asleep),
        ("09:40", "gallery", status("Warm", 2)),
        ("09:59:30", "booking", status("Warming", 1, 4, **woken)),
        ("09:59:46", "booking", status("Warm", 4, **woken)),
        ("10:39:52", "search", status("Warming", 0, 2)),
    ]
    booking = status(
        "Warm",
        4,
        reason="Window",
        activeWindow="pitch",
        phaseSince=stamp(at("09:59:46")),
        nextTransition=closes,
        lastOpening=opened,
        cost=cost("0.55", "0.24", "0.96", "5"),
        **woken,
    )
    search = status(
        "Warming",
        1,
        2,
        reason="Window",
        phaseSince=stamp(at("10:39:52")),
        nextTransition=opens,
        cost=cost("0.02", "0.10", "0.16", "5"),
    )
    reports = status(
        "Asleep",
        phaseSince=stamp(at("08:31")),
        lastWake={"at": stamp(at("08:12")), "duration": "3.2s"},
    )
    gallery = status(
        "Warm",
        2,
        reason="Override",
        phaseSince=stamp(at("09:40")),
        cost=cost("0.09", "0.12", "0.20", "2"),
    )
    gallery["conditions"] = [*gallery["conditions"], contested]
    now = {"booking": booking, "search": search, "reports": reports, "gallery": gallery}
    return [*seen, *(("10:40", name, last) for name, last in now.items())]


def board(clock: Clock) -> Board:
    """A board that has watched them since two in the night; the clock ends at `NOW`."""
    clock.now = at("02:00")
    watched = Board(clock)
    for when, name, seen in sorted(states(), key=lambda state: at(state[0])):
        clock.now = at(when)
        spec = {"timeZone": ZONE, "maxReplicas": 10, **SPECS[name]}
        watched.see(pool(name, status=seen, **spec))
    clock.now = NOW
    for name, in_flight in {"booking": 7, "search": 0, "reports": 0, "gallery": 1}.items():
        watched.show((NAMESPACE, name), Demand(in_flight, 0))
    return watched
