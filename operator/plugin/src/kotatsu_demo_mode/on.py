"""kubectl demo-mode on: keep pools warm for a while."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from kotatsu_operator.core.formats import conditions_of, count, is_true, table
from kotatsu_operator.core.plan.activity import OVERRIDE_LIMIT
from kotatsu_operator.core.pool.memory import KnownOverride

from .api import Api
from .errors import DemoModeError
from .overrides import Done, awake, override, override_of, show, watched, who, write
from .pools import Object, Pool, accepted, hopeless, read_pool
from .shell import Shell
from .timeline import timeline
from .words import about, amount, clock, duration_of, end_of_override, pods

_LENGTH = "1h"
_EVERY = 1.0
"""Seconds between two checks of --wait."""


def run(options: Namespace, shell: Shell) -> int:
    """Warm the chosen pools until --until, or for --for."""
    now = shell.clock()
    with shell.api(options) as api:
        pools = accepted(awake(shell.find(api, options), options, "on", shell), shell)
        waits = options.wait and not options.dry_run
        by = who(api, shell.user)
        planned = [(pool, _warm(pool, options, by, now)) for pool in pools]
        operators = watched(api, pools, shell, must=True, patient=waits)

        def one(pair: tuple[Pool, Object]) -> Done:
            pool, value = pair
            operators[pool.namespace].require(now=waits)
            return _warmed(pool, write(api, pool, value, options), now)

        done = shell.each(planned, one, lambda pair: pair[0].name)
        show(done, options, shell)
        if waits:
            limit = duration_of(options.timeout, "--timeout")
            quiet = bool(options.output)
            shell.each(
                done,
                lambda item: _wait(api, item, shell, limit, quiet=quiet),
                lambda item: item.pool.name,
            )
    return 0


def _warm(pool: Pool, options: Namespace, by: str, now: datetime) -> Object:
    until = end_of_override(options.lasting, options.until, pool.spec.zone, now, default=_LENGTH)
    most = pool.spec.max_replicas
    if options.replicas is not None and not 1 <= options.replicas <= most:
        raise DemoModeError(
            f"--replicas: {options.replicas} is not between 1 and {most}, the maxReplicas "
            f"of {pool.name}; use fewer, or raise that"
        )
    if len(options.reason) > 256:
        raise DemoModeError("--reason: more than 256 characters; shorten it")
    return override("Warm", until, by=by, reason=options.reason, replicas=options.replicas)


def _warmed(pool: Pool, raw: Object, now: datetime) -> Done:
    """The end of an override, its number of pods, and the cost."""
    after = read_pool(raw, pool.template, pool.spec.platform)
    given = after.spec.override
    if given is None:
        raise DemoModeError(f"the override of {pool.name} was removed at once; try again")
    after = replace(after, memory=replace(after.memory, override=KnownOverride()))
    ahead = timeline(after, now, min(given.until, now + OVERRIDE_LIMIT))
    most = max(s.replicas for s in ahead.stretches)
    zone = after.spec.zone
    detail = f" until {clock(given.until, zone, now)} {zone.key} (in {about(given.until - now)})"
    detail += f", {pods(most)}"
    if ahead.cost is not None:
        detail += f", {amount(ahead.cost, after.currency)} until then"
    verb = "warmed" if override_of(pool.raw) != override_of(raw) else "unchanged: warm"
    return Done(after, verb, detail, raw)


def _wait(api: Api, done: Done, shell: Shell, limit: timedelta, *, quiet: bool) -> None:
    """Wait until the operator reports the pool as Warm for this override."""
    begin = shell.clock()
    wanted = int(done.raw["metadata"].get("generation") or 0)
    while True:
        raw = api.get(done.pool.path)
        status = table(raw.get("status"))
        passed = shell.clock() - begin
        if is_warm(status, wanted):
            shell.terminal.clear()
            if not quiet:
                shell.terminal.say(warm_line(done.pool.name, status, passed))
            return
        if why := hopeless(status, wanted):
            raise DemoModeError(
                f"{done.pool.name} does not become Warm: {why}; see `kubectl describe warmpool "
                f"{done.pool.name}`"
            )
        if passed > limit:
            raise DemoModeError(
                f"{done.pool.name} is not Warm after {about(limit)} "
                f"({status.get('phase', 'no status yet')}, "
                f"{status.get('readyReplicas', 0)} of {status.get('desiredReplicas', '?')} Ready); "
                f"see `kubectl describe warmpool {done.pool.name}`"
            )
        shell.terminal.progress(
            f"{done.pool.name}: {status.get('phase', '-')}, {status.get('readyReplicas', 0)} of "
            f"{status.get('desiredReplicas', '?')} Ready, {about(passed)}"
        )
        shell.sleep(_EVERY)


def warm_line(name: str, status: Mapping[str, Any], passed: timedelta) -> str:
    """The line about a Warm pool, with the condition FloorLimited if it has fewer pods."""
    ready = pods(count(status.get("readyReplicas")))
    line = f"warmpool.kotatsu.dev/{name} is Warm: {ready} Ready after {about(passed)}"
    limited = conditions_of(status).get("FloorLimited", {})
    return f"{line}; {limited.get('message')}" if is_true(limited) else line


def is_warm(status: Mapping[str, Any], generation: int) -> bool:
    """Whether the condition Warm is true for this generation of the spec."""
    warm = conditions_of(status).get("Warm", {})
    return is_true(warm) and count(warm.get("observedGeneration")) >= generation
