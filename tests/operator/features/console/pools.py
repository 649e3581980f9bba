"""Pools for the console: one of each kind that a page must be able to show."""

from datetime import UTC, datetime, timedelta
from typing import Any

from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.features.console.board import Board
from kotatsu_operator.kube.objects import Object
from tests.operator.cluster import warm_pool

NAMES = ("auth", "feed", "gallery", "lost", "voice")
NOW = datetime(2026, 11, 25, 10, 5, tzinfo=UTC)


class Clock:
    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def pool(name: str, *, status: Object | None = None, uid: str = "", **spec: Any) -> Object:
    return warm_pool(name, uid=uid, status=status or {}, **spec)


def condition(kind: str, holds: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": holds, "reason": reason, "message": message}


def status(phase: str, ready: int = 0, desired: int | None = None, **more: Any) -> Object:
    return {
        "phase": phase,
        "phaseSince": "2026-11-25T10:00:00Z",
        "reason": "Idle",
        "readyReplicas": ready,
        "desiredReplicas": ready if desired is None else desired,
        "route": {"target": "Native", "epoch": 1},
        "conditions": [condition("Accepted", "True", "Accepted", "the spec is in force")],
        **more,
    }


def day(clock: Clock) -> Board:
    """A board that has watched five pools for seven hours."""
    end = clock.now

    def at(hours: float) -> str:
        return stamp(end + timedelta(hours=hours))

    clock.now = end - timedelta(hours=7)
    board = Board(clock)
    windows = [
        {"name": "final-pitch", "start": wall(end, -2), "end": wall(end, 2), "replicas": 5},
        {"name": "rehearsal", "schedule": "0 18 * * *", "duration": "90m", "replicas": 2},
    ]
    voice = {"timeZone": "UTC", "windows": windows, "maxReplicas": 10}
    for hours, ready in ((-7, 0), (-6.4, 1), (-6.2, 0), (-2.1, 3), (-2.05, 5)):
        clock.now = end + timedelta(hours=hours)
        board.see(pool("voice", status=status("Warm" if ready else "Asleep", ready), **voice))
    clock.now = end
    told = "window final-pitch: 5 replicas are Ready 14s early"
    notice = {"id": "1", "reason": "WindowReady", "message": told, "at": at(-2)}
    warm = status(
        "Warm",
        5,
        reason="Window",
        activeWindow="final-pitch",
        nextTransition={"at": at(2), "window": "final-pitch", "kind": "close"},
        cost={
            "currency": "JPY", "accrued": "2710.5", "ratePerHour": "9.2", "limit": "3000",
            "forecast": "2812", "period": "Day", "periodStart": at(-10),
        },
        internal={"history": waiting(end), "notices": [notice], "cost": {"at": at(0)}},
        lastWake={"at": at(-6.4), "duration": "1.823s"},
        lastOpening={"window": "final-pitch", "at": at(-2), "early": "14s", "cold": False},
    )  # fmt: skip
    board.see(pool("voice", status=warm, budget={"limit": "3000"}, **voice))
    board.see_history(("demo", "voice"), {"record": history(end)})
    board.see(pool("auth", status=status("Asleep")))
    board.see(_gallery(end))
    missing = "there is no Deployment <b>lost</b>"
    refusal = condition("Accepted", "False", "TargetNotFound", missing)
    board.see(pool("lost", status={"conditions": [refusal]}))
    override = {"mode": "Warm", "until": at(1), "by": "alice", "reason": "judges came back"}
    board.see(pool("feed", status=status("Warming", 0, 3, reason="Override"), override=override))
    for name, in_flight, held in (("voice", 3, 1), ("gallery", 2, 0), ("auth", 0, 0)):
        board.show(("demo", name), Demand(in_flight, held))
    return board


def _gallery(end: datetime) -> Object:
    """A pool with all that can be wrong at once."""
    opening = {"window": "open-day", "at": stamp(end - timedelta(hours=1)), "cold": True}
    cost = {"currency": "JPY", "accrued": "512", "ratePerHour": "3.7", "limit": "500",
            "forecast": "540"}  # fmt: skip
    wrong = status(
        "Warm", 2, 4, reason="Window", activeWindow="open-day", lastOpening=opening, cost=cost
    )
    applies = "argocd applies a manifest that sets spec.replicas of Deployment gallery"
    wrong["conditions"] += [
        condition("ReplicasKept", "False", "AppliedByAnother", applies),
        condition("BudgetAvailable", "False", "Exhausted", "512 of 500 JPY are spent"),
    ]
    window = {"name": "open-day", "start": wall(end, -1), "end": wall(end, 3), "replicas": 4}
    return pool("gallery", status=wrong, windows=[window], timeZone="UTC")


def history(end: datetime) -> Object:
    """What the WarmPoolHistory has: a wake and an override. With the open window, they cost what
    the ledger has."""
    ended = [
        (-6.4, -6.2, "Request", "", 1, "10.250000", {"wakes": 1}),
        (-6.2, -6, "Override", "sound check <b>now</b>", 2, "200.250000", {}),
    ]
    episodes = [
        _episode(end, begin, reason, name, replicas, 720.0 * replicas, cost)
        | {"to": stamp(end + timedelta(hours=stop)), **counts}
        for begin, stop, reason, name, replicas, cost, counts in ended
    ]
    return {"since": stamp(end - timedelta(hours=10)), "episodes": episodes}


def waiting(end: datetime) -> Object:
    """What the status has beside it: the open window."""
    running = _episode(end, -2, "Window", "final-pitch", 5, 36000.0, "2500.000000")
    return {"running": running | {"opened": 1}}


def _episode(
    end: datetime, begin: float, reason: str, name: str, replicas: int, seconds: float, cost: str
) -> Object:
    return {
        "from": stamp(end + timedelta(hours=begin)), "reason": reason, "name": name,
        "replicas": replicas, "podSeconds": seconds, "cost": cost, "currency": "JPY",
        "periodStart": stamp(end - timedelta(hours=10)),
    }  # fmt: skip


def wall(at: datetime, hours: float) -> str:
    return (at + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S")
