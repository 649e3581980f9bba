"""kubectl demo-mode on and off."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from kotatsu_operator.core.formats import conditions_of, count, format_duration, is_true, table
from kotatsu_operator.core.plan.activity import OVERRIDE_LIMIT, idle_after
from kotatsu_operator.core.plan.plan import Plan
from kotatsu_operator.core.pool.memory import KnownOverride

from .api import Api
from .errors import DemoModeError
from .money import amount
from .operators import Watch, watches
from .overrides import end_override, override, set_override
from .pools import Object, Pool, accepted, chosen, hopeless, is_named, read_pool
from .shell import Shell
from .timeline import timeline
from .times import about, clock, duration_of, end_of_override
from .words import pods

T = TypeVar("T")

DEFAULT_LENGTH = "1h"
_NAP = timedelta(minutes=5)
"""The length of the Asleep override of `off --now` without an open window: time to drain."""

_EVERY = 1.0
"""Seconds between two checks of --wait."""


@dataclass(frozen=True)
class Done:
    """The result for one pool."""

    pool: Pool
    verb: str
    detail: str
    raw: Object

    def line(self, note: str = "") -> str:
        """The result in kubectl's form: TYPE/name verbed."""
        return f"warmpool.kotatsu.dev/{self.pool.name} {self.verb}{self.detail}{note}"


def on(options: Namespace, shell: Shell) -> int:
    """Warm the chosen pools until --until, or for --for."""
    now = shell.clock()
    with shell.api(options) as api:
        pools = _chosen(shell.find(api, options), options, "on", len(shell.refused))
        pools = accepted(pools, shell)
        waits = options.wait and not options.dry_run
        by = _who(api, shell.user)
        planned = [(pool, _warm(pool, options, by, now)) for pool in pools]
        watched = _watched(api, pools, shell, must=True, patient=waits)

        def one(pair: tuple[Pool, Object]) -> Done:
            pool, value = pair
            watched[pool.namespace].require(now=waits)
            return _warmed(pool, _write(api, pool, value, options), now)

        done, failures = _each(planned, one, lambda pair: pair[0].name, shell)
        _show(done, options, shell)
        if waits:
            limit = duration_of(options.timeout, "--timeout")
            quiet = bool(options.output)

            def wait(item: Done) -> Done:
                _wait(api, item, shell, limit, quiet=quiet)
                return item

            failures += _each(done, wait, lambda item: item.pool.name, shell)[1]
    return 1 if failures else 0


def off(options: Namespace, shell: Shell) -> int:
    """End the override of the chosen pools, or put them to sleep --now."""
    now = shell.clock()
    with shell.api(options) as api:
        pools = shell.find(api, options)
        if options.now:
            pools = accepted(_chosen(pools, options, "off --now", len(shell.refused)), shell)
            by = _who(api, shell.user)
        elif not is_named(options):
            pools = [pool for pool in pools if pool.spec.override is not None]
        if not options.now:
            accepted(pools, shell)  # an override of a refused pool is ended all the same

        watched = _watched(api, pools, shell, must=options.now)

        def one(pool: Pool) -> Done:
            if options.now:
                watched[pool.namespace].require(now=False)
                return _asleep(api, pool, options, by, now)
            return _back(api, pool, options, now)

        done, failures = _each(pools, one, lambda pool: pool.name, shell)
        _show(done, options, shell)
        if not (pools or options.output or shell.refused):
            shell.terminal.say("No pool has an override; all follow their schedules.")
    return 1 if failures else 0


def _watched(
    api: Api, pools: Sequence[Pool], shell: Shell, *, must: bool, patient: bool = False
) -> dict[str, Watch]:
    """The operators of the pools' namespaces. One that does not act is reported.

    If one `must` act, only those are that may start in a moment: without others it is an error.
    """
    found = watches(api, pools, shell, patient=patient)
    for one in found.values():
        if not patient and (one.may_start or not (one.acts or must)):
            shell.terminal.complain(f"note: {one.message}")
    return found


def _write(api: Api, pool: Pool, value: Object | None, options: Namespace) -> Object:
    """Set the override of a pool, or end it (None); returns the pool, also of a dry run."""
    force, dry_run = options.force_conflicts, options.dry_run == "server"
    if options.dry_run == "client":
        spec = {key: inner for key, inner in pool.raw["spec"].items() if key != "override"}
        return pool.raw | {"spec": spec if value is None else spec | {"override": value}}
    if value is None:
        return end_override(api, pool, force=force, dry_run=dry_run)
    return set_override(api, pool, value, force=force, dry_run=dry_run)


def _chosen(pools: list[Pool], options: Namespace, command: str, refused: int) -> list[Pool]:
    """The pools of `chosen`; none may be suspended."""
    for pool in chosen(pools, options, command, refused):
        if pool.spec.suspend:
            raise DemoModeError(
                f"{pool.name} is suspended and ignores overrides; set spec.suspend to false"
            )
    return pools


def _each(
    items: Sequence[T], act: Callable[[T], Done], name: Callable[[T], str], shell: Shell
) -> tuple[list[Done], int]:
    """Act on each pool; an error of one does not affect the others."""
    done, failures = [], 0
    for item in items:
        try:
            done.append(act(item))
        except DemoModeError as error:
            if len(items) == 1:
                raise
            shell.terminal.complain(f"error: {name(item)}: {error}")
            failures += 1
    return done, failures


def _who(api: Api, user: str) -> str:
    """The name of the user in the cluster, or else on this machine."""
    kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = api.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", kind)
        name = answer["status"]["userInfo"]["username"]
    except (DemoModeError, KeyError):
        name = user
    return str(name)[:128]


def _warm(pool: Pool, options: Namespace, by: str, now: datetime) -> Object:
    until = end_of_override(
        options.lasting, options.until, pool.spec.zone, now, default=DEFAULT_LENGTH
    )
    most = pool.spec.scaling.max_replicas
    if options.replicas is not None and not 1 <= options.replicas <= most:
        raise DemoModeError(
            f"--replicas: {options.replicas} is not between 1 and {most}, the scaling.maxReplicas "
            f"of {pool.name}; use fewer, or raise that"
        )
    if len(options.reason) > 256:
        raise DemoModeError("--reason: more than 256 characters; shorten it")
    return override("Warm", until, by=by, reason=options.reason, replicas=options.replicas)


def _changed(before: Object, after: Object) -> bool:
    return bool(before["spec"].get("override") != after["spec"].get("override"))


def _warmed(pool: Pool, raw: Object, now: datetime) -> Done:
    """The end of an override, its number of pods, and the cost."""
    after = read_pool(raw, pool.template)
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
    verb = "warmed" if _changed(pool.raw, raw) else "unchanged: warm"
    return Done(after, verb, detail, raw)


def _plan(pool: Pool, now: datetime) -> Plan:
    return timeline(pool, now, now + timedelta(seconds=1)).first


def _back(api: Api, pool: Pool, options: Namespace, now: datetime) -> Done:
    if pool.spec.override is None:
        return Done(pool, "unchanged", f" (no override){_keeps(pool, now)}", pool.raw)
    raw = _write(api, pool, None, options)
    verb = "override removed" if pool.refusal else "returned to its schedule"
    return Done(pool, verb, _keeps(pool, now), raw)


def _keeps(pool: Pool, now: datetime) -> str:
    """How many pods the schedule keeps, or when the pool sleeps."""
    if pool.refusal:
        return ": its schedule is not in effect"
    plan = _plan(pool, now)
    zone = pool.spec.zone
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
    without = replace(pool, spec=replace(pool.spec, override=None, parked=None))
    ahead = timeline(without, now, now + timedelta(hours=24))
    first = ahead.stretches[0]
    # One window may follow another without a gap: the end is that of the last one.
    end = next((s.begin for s in ahead.stretches if s.replicas == 0), ahead.end)
    if first.replicas == 0:
        waking = next((s.begin for s in ahead.stretches if s.replicas), ahead.end)
        end = min(now + _NAP, waking)
    value = override("Asleep", end, by=by, reason=options.reason, replicas=None)
    raw = _write(api, pool, value, options)
    zone = pool.spec.zone
    why = ", when its window ends" if first.replicas else ""
    detail = f" until {clock(end, zone, now)} {zone.key}{why}; a request still wakes it"
    return Done(pool, "put to sleep", detail, raw)


def _show(done: Sequence[Done], options: Namespace, shell: Shell) -> None:
    if options.output:
        shell.terminal.dump_objects([item.raw for item in done], options.output)
        return
    note = f" ({options.dry_run} dry run)" if options.dry_run else ""
    for item in done:
        shell.terminal.say(item.line(note))


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
