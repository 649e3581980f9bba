"""kubectl demo-mode off: end the override, or put pools to sleep."""

from argparse import Namespace
from dataclasses import replace
from datetime import datetime, timedelta

from kotatsu_operator.core.formats import format_duration
from kotatsu_operator.core.plan.activity import idle_after

from .api import Api
from .on import Done, awake, override, show, watched, who, write
from .pools import Pool, is_named
from .shell import Shell
from .timeline import timeline
from .words import clock, pods

_NAP = timedelta(minutes=5)
"""The length of the Asleep override of `off --now` without an open window: time to drain."""


def run(options: Namespace, shell: Shell) -> int:
    """End the override of the chosen pools, or put them to sleep --now."""
    now = shell.clock()
    with shell.api(options) as api:
        pools = shell.find(api, options)
        if options.now:
            pools = shell.accepted(awake(pools, options, "off --now", shell))
            by = who(api, shell.user)
        else:
            if not is_named(options):
                pools = [pool for pool in pools if pool.spec.override is not None]
            shell.accepted(pools)  # an override of a refused pool is ended all the same
        operators = watched(api, pools, shell, must=options.now)

        def one(pool: Pool) -> Done:
            if options.now:
                operators[pool.namespace].require(now=False)
                return _asleep(api, pool, options, by, now)
            return _back(api, pool, options, now)

        show(shell.each(pools, one, lambda pool: pool.name), options, shell)
        if not (pools or options.output or shell.refused):
            shell.terminal.say("No pool has an override; all follow their schedules.")
    return 0


def _back(api: Api, pool: Pool, options: Namespace, now: datetime) -> Done:
    if pool.spec.override is None:
        return Done(pool, "unchanged", f" (no override){_keeps(pool, now)}", pool.raw)
    raw = write(api, pool, None, options)
    verb = "override removed" if pool.refusal else "returned to its schedule"
    return Done(pool, verb, _keeps(pool, now), raw)


def _keeps(pool: Pool, now: datetime) -> str:
    """How many pods the schedule keeps, or when the pool sleeps."""
    if pool.refusal:
        return ": its schedule is not in effect"
    plan, zone = pool.plan_at(now), pool.spec.zone
    if plan.floor:
        end = max(o.end for o in plan.current if o.window == plan.window)
        return (
            f": window {plan.window} keeps {pods(plan.floor)} until {clock(end, zone, now)} "
            f"{zone.key}; --now puts it to sleep until then"
        )
    return f": no window is open, so {when_idle(pool)}"


def when_idle(pool: Pool) -> str:
    """When the pods end without a window or an override."""
    spec = pool.spec
    if spec.target.scales_itself:
        return (
            "its minimum scale is removed, and Knative ends the pods: after the stable window "
            "without a request (60s by default) and scale-to-zero-grace-period (at most 30s)"
        )
    idle = f"{format_duration(idle_after(spec, pool.memory))} after its last request"
    if spec.parked is not None and spec.parked.lasting:
        return f"it is parked {idle}, and sleeps {format_duration(spec.parked.lasting)} later"
    return f"it sleeps {idle}"


def _asleep(api: Api, pool: Pool, options: Namespace, by: str, now: datetime) -> Done:
    """Sleep until the open windows end, or long enough to fall asleep."""
    without = replace(pool.asleep, spec=replace(pool.spec, override=None, parked_for=None))
    ahead = timeline(without, now, now + timedelta(hours=24))
    first = ahead.stretches[0]
    # One window may follow another without a gap: the end is that of the last one.
    end = next((s.begin for s in ahead.stretches if s.replicas == 0), ahead.end)
    if first.replicas == 0:
        waking = next((s.begin for s in ahead.stretches if s.replicas), ahead.end)
        end = min(now + _NAP, waking)
    value = override("Asleep", end, by=by, reason=options.reason, replicas=None)
    raw = write(api, pool, value, options)
    zone = pool.spec.zone
    why = ", when its window ends" if first.replicas else ""
    detail = f" until {clock(end, zone, now)} {zone.key}{why}; a request still wakes it"
    return Done(pool, "put to sleep", detail, raw)
