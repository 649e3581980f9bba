"""kubectl demo-mode on: keep pools warm for a while.

It writes spec.override, and no other field of a pool. `off` and `rehearse` do so too, with what is
here.
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from kotatsu_operator.core.formats import conditions_of, count, is_false, is_true, table
from kotatsu_operator.core.plan.activity import OVERRIDE_LIMIT
from kotatsu_operator.core.pool.memory import KnownOverride
from kotatsu_operator.core.protocol import API_VERSION, BY_ANNOTATION, REASON_ANNOTATION
from kotatsu_operator.core.schema import joined

from .api import APPLY, MANAGER, MERGE, Api, dry_run_query
from .entries import most_replicas
from .errors import ConflictError, DemoModeError, changed
from .installs import Watch
from .objects import Object, managers_of
from .operators import watches
from .pools import Pool, chosen, hopeless, read_pool
from .schema import defaulted
from .shell import Shell
from .timeline import timeline
from .words import about, amount, clock, duration_of, end_of_override, pods, stamp

_EVERY = 1.0
"""Seconds between two checks of --wait."""


def run(options: Namespace, shell: Shell) -> int:
    """Warm the chosen pools until --until, or for --for."""
    now = shell.clock()
    with shell.api(options) as api:
        pools = shell.accepted(awake(shell.find(api, options), options, "on", shell))
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
    until = end_of_override(options.lasting, options.until, pool.spec.zone, now, default="1h")
    most_replicas(pool, options.replicas)
    if len(options.reason) > 256:
        raise DemoModeError("--reason: more than 256 characters; shorten it")
    return override("Warm", until, by=by, reason=options.reason, replicas=options.replicas)


def _warmed(pool: Pool, raw: Object, now: datetime) -> "Done":
    """The end of an override, its number of pods, and the cost."""
    after = read_pool(raw)
    given, zone = after.spec.override, after.spec.zone
    if given is None:
        raise DemoModeError(f"the override of {pool.name} was removed at once; try again")
    after = replace(after, memory=replace(after.memory, override=KnownOverride()))
    ahead = timeline(after.asleep, now, min(given.until, now + OVERRIDE_LIMIT))
    most = max(s.replicas for s in ahead.stretches)
    detail = f" until {clock(given.until, zone, now)} {zone.key} (in {about(given.until - now)})"
    detail += f", {pods(most)}"
    if ahead.cost is not None:
        detail += f", {amount(ahead.cost, after.currency)} until then"
    verb = "warmed" if override_of(pool.raw) != override_of(raw) else "unchanged: warm"
    return Done(after, verb, detail, raw)


def _wait(api: Api, done: "Done", shell: Shell, limit: timedelta, *, quiet: bool) -> None:
    """Wait until the operator reports the pool as Warm for this override."""
    name, begin = done.pool.name, shell.clock()
    wanted = int(done.raw["metadata"].get("generation") or 0)
    while True:
        status = table(api.get(done.pool.path).get("status"))
        passed = shell.clock() - begin
        if is_warm(status, wanted):
            shell.terminal.clear()
            if not quiet:
                shell.terminal.say(warm_line(name, status, passed))
            return
        see = f"see `kubectl describe warmpool {name}`"
        if why := hopeless(status, wanted):
            raise DemoModeError(f"{name} does not become Warm: {why}; {see}")
        ready = f"{status.get('readyReplicas', 0)} of {status.get('desiredReplicas', '?')} Ready"
        phase = status.get("phase", "no status yet")
        if passed > limit:
            raise DemoModeError(
                f"{name} is not Warm after {about(limit)} ({phase}, {ready}); {see}"
            )
        shell.terminal.progress(f"{name}: {phase}, {ready}, {about(passed)}")
        shell.sleep(_EVERY)


def warm_line(name: str, status: Mapping[str, Any], passed: timedelta) -> str:
    """The line about a Warm pool, with the condition ReplicasKept if it has fewer pods."""
    ready = pods(count(status.get("readyReplicas")))
    line = f"warmpool.kotatsu.dev/{name} is Warm: {ready} Ready after {about(passed)}"
    kept = conditions_of(status).get("ReplicasKept", {})
    return f"{line}; {kept.get('message')}" if is_false(kept) else line


def is_warm(status: Mapping[str, Any], generation: int) -> bool:
    """Whether the condition Warm is true for this generation of the spec."""
    warm = conditions_of(status).get("Warm", {})
    return is_true(warm) and count(warm.get("observedGeneration")) >= generation


# --- the override of a pool ---


def override(mode: str, until: datetime, *, by: str, reason: str, replicas: int | None) -> Object:
    """The parts of a pool that make an override: spec.override, and who set it and why."""
    fields = {"mode": mode, "replicas": replicas, "until": stamp(until)}
    said = {BY_ANNOTATION: by, REASON_ANNOTATION: reason}
    return {
        "metadata": {"annotations": {key: value for key, value in said.items() if value}},
        "spec": {"override": {key: value for key, value in fields.items() if value}},
    }


def override_of(raw: Object) -> Object | None:
    """The same of a pool that has one; None without."""
    value = raw["spec"].get("override")
    if value is None:
        return None
    there = table(raw["metadata"].get("annotations"))
    said = {key: there[key] for key in (BY_ANNOTATION, REASON_ANNOTATION) if key in there}
    return {"metadata": {"annotations": said}, "spec": {"override": value}}


_NO_OVERRIDE = {
    "metadata": {"annotations": {BY_ANNOTATION: None, REASON_ANNOTATION: None}},
    "spec": {"override": None},
}
"""The merge patch that removes an override."""


def set_override(
    api: Api, pool: Pool, value: Object | None, *, force: bool, dry_run: bool = False
) -> Object:
    """Apply an override server-side, or end it (None).

    Raises ConflictError if another field manager owns it, and the pool is not to be forced.
    """
    query = dry_run_query(dry_run)
    others = [name for name, *_ in managers_of(pool.raw, "override") if name != MANAGER]
    if value is None and others:
        if not force:
            raise _held(pool, others, "")
        # An apply without it removes only what this field manager owns.
        version = {"metadata": {"resourceVersion": pool.raw["metadata"]["resourceVersion"]}}
        try:
            return api.patch(pool.path, joined(version, _NO_OVERRIDE), MERGE, query)
        except ConflictError:
            raise changed(pool.name) from None
    named = {"name": pool.name, "namespace": pool.namespace}
    body: Object = {"apiVersion": API_VERSION, "kind": "WarmPool", "metadata": named}
    query |= {"force": "true"} if force and value is not None else {}
    try:
        return api.patch(pool.path, joined(body, value or {}), APPLY, query)
    except ConflictError as error:
        raise _held(pool, others, str(error)) from None


def _held(pool: Pool, others: list[str], said: str) -> ConflictError:
    who = " and ".join(others) or f"another field manager ({said})"
    return ConflictError(
        f"the override of {pool.name} is owned by {who}; take it over with --force-conflicts (a "
        "GitOps tool may write it again)"
    )


def write(api: Api, pool: Pool, value: Object | None, options: Namespace) -> Object:
    """Set the override of a pool, or end it (None); returns the pool, also of a dry run."""
    if options.dry_run != "client":
        dry_run = options.dry_run == "server"
        return set_override(api, pool, value, force=options.force_conflicts, dry_run=dry_run)
    made: Object = defaulted(joined(pool.raw, _NO_OVERRIDE, value or {}), {})
    return made


# --- what the commands share ---


class Done(NamedTuple):
    """The result for one pool."""

    pool: Pool
    verb: str
    detail: str
    raw: Object


def watched(
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


def awake(pools: list[Pool], options: Namespace, command: str, shell: Shell) -> list[Pool]:
    """The pools of `chosen`; none may be suspended."""
    for pool in chosen(pools, options, command, len(shell.refused)):
        if pool.spec.suspend:
            raise DemoModeError(
                f"{pool.name} is suspended and ignores overrides; set spec.suspend to false"
            )
    return pools


def who(api: Api, user: str) -> str:
    """The name of the user in the cluster, or else on this machine."""
    kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = api.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", kind)
        user = answer["status"]["userInfo"]["username"]
    except (DemoModeError, KeyError):
        pass  # an older API server, or no permission
    return str(user)[:128]


def show(done: Sequence[Done], options: Namespace, shell: Shell) -> None:
    """Print the results in kubectl's form, TYPE/name verbed, or the pools."""
    if options.output:
        shell.terminal.dump_objects([item.raw for item in done], options.output)
        return
    note = f" ({options.dry_run} dry run)" if options.dry_run else ""
    for item in done:
        shell.terminal.say(f"warmpool.kotatsu.dev/{item.pool.name} {item.verb}{item.detail}{note}")
