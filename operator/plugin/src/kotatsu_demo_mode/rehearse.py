"""kubectl demo-mode rehearse: run the next windows of pools now."""

from argparse import Namespace
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta

from kotatsu_operator.core.plan.activity import idle_after
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.core.protocol import REHEARSAL_ANNOTATION
from kotatsu_operator.core.report.verdict import Verdict

from .api import MERGE, Api
from .client import Client, Here, Inside, Pause
from .errors import DemoModeError
from .operators import watches
from .pools import Pool
from .shell import Shell
from .stages import BARRIER, Rehearsal, Report
from .words import about, clock, duration_of

_SPARE = timedelta(minutes=15)
"""No rehearsal if a window starts to warm up within this time."""

_EVERY = 0.5

Result = Report | DemoModeError
"""The report of a pool, or why its rehearsal could not be finished."""


def run(options: Namespace, shell: Shell) -> int:
    """Rehearse one pool, or all pools of a label; returns 1 if the demo would have failed."""
    begin = shell.clock()
    limit = duration_of(options.timeout, "--timeout")
    with shell.api(options) as api:
        pools = _pools(shell.find(api, options), options, shell)
        for pool in pools:
            if pool.refusal:
                raise DemoModeError(f"{pool.name} cannot be rehearsed: {pool.refusal}")
        watched = watches(api, pools, shell)
        for pool in pools:
            watched[pool.namespace].require(now=True)
            _check(pool, options, begin)

        def client(pool: Pool) -> Client:
            if options.url:
                return Here(options.url)
            watch = watched[pool.namespace]
            return Inside(api, pool, options.path, options.image, shell.clock, watch)

        rehearsals = [Rehearsal(api, pool, client(pool), options, shell, limit) for pool in pools]
        with ExitStack() as restored:
            for rehearsal in rehearsals:
                restored.enter_context(rehearsal.given_back())
            results = at_once([r.steps() for r in rehearsals], lambda: shell.sleep(_EVERY))
        for pool, result in zip(pools, results, strict=True):
            _record_verdict(api, pool, result, shell)
    names = [pool.name for pool in pools]
    return _print(dict(zip(names, results, strict=True)), options, shell)


def _pools(found: list[Pool], options: Namespace, shell: Shell) -> list[Pool]:
    there = ", ".join(pool.name for pool in found) or "there is none"
    if options.selector:
        if shell.refused:
            raise DemoModeError(
                f"not all pools with labels {options.selector} can be read, so nothing is rehearsed"
            )
        if options.url and len(found) > 1:
            raise DemoModeError(
                f"--url is one address for several pools ({there}); leave it out to call the "
                "Service of each, or rehearse one pool by name"
            )
    elif len(found) + len(shell.refused) != 1:
        raise DemoModeError(
            f"name one pool ({there}), as in `kubectl demo-mode rehearse voice`, or select several "
            "by label with -l"
        )
    return found


def at_once(
    runs: Sequence[Generator[Pause, None, Report]], pause: Callable[[], None]
) -> list[Result]:
    """Run rehearsals together: a step of each in turn, and each waits at a barrier for the others.

    One that fails leaves the others running. A single one raises its error.
    """
    results: dict[int, Result] = {}
    waiting: set[int] = set()
    running = dict(enumerate(runs))
    try:
        while running:
            for i in sorted(running.keys() - waiting):
                try:
                    if next(running[i]) is BARRIER:
                        waiting.add(i)
                except StopIteration as ended:
                    results[i] = ended.value
                except DemoModeError as error:
                    if len(runs) == 1:
                        raise
                    results[i] = error
                if i in results:
                    del running[i]
            if waiting >= running.keys():
                waiting.clear()
            else:
                pause()
    finally:
        for steps in runs:
            steps.close()  # deletes the pod that sends the requests
    return [results[i] for i in range(len(runs))]


def _failures(result: Result) -> list[str]:
    """Why the demo of a pool would have failed; empty if it would not."""
    return result.failures if isinstance(result, Report) else [str(result)]


def _record_verdict(api: Api, pool: Pool, result: Result, shell: Shell) -> None:
    """Annotate the pool with the verdict, which the operator reports as an event.

    Without it the rehearsal is complete all the same: a failure is only a remark.
    """
    failures = _failures(result)
    window = result.window if isinstance(result, Report) else ""
    verdict = Verdict(shell.clock(), not failures, window, tuple(failures))
    body = {"metadata": {"annotations": {REHEARSAL_ANNOTATION: verdict.written()}}}
    try:
        api.patch(pool.path, body, MERGE, {})
    except DemoModeError as error:
        shell.terminal.complain(f"the verdict is not recorded at {pool.name}: {error}")


def _print(results: dict[str, Result], options: Namespace, shell: Shell) -> int:
    passed = not any(_failures(result) for result in results.values())
    if options.output:
        records = [
            result.record()
            if isinstance(result, Report)
            else {"pool": name, "passed": False, "failures": _failures(result)}
            for name, result in results.items()
        ]
        many = {"passed": passed, "pools": records}
        shell.terminal.dump(many if options.selector else records[0], options.output)
    else:
        for line in text(results, passed, bool(options.selector)):
            shell.terminal.say(line)
    return 0 if passed else 1


def text(results: dict[str, Result], passed: bool, many: bool) -> Iterator[str]:
    """The reports, then one verdict on all of them."""
    for result in results.values():
        if isinstance(result, Report):
            yield from result.figures()
    after = f"{', '.join(results)} follow their schedules again."
    after = after if many else "The pool follows its schedule again."
    yield f"The demo would have {'succeeded' if passed else 'failed'}. {after}"
    for name, result in results.items():
        of = f"{name}: " if many else ""
        yield from (f"  - {of}{failure}" for failure in _failures(result))


def refusal(pool: Pool, now: datetime) -> str:
    """Why the pool cannot be rehearsed now: it is in use, or will be soon."""
    zone, spec = pool.spec.zone, pool.spec
    running = pool.override_at(now)
    plan = pool.plan_at(now)
    if running is not None:
        by = f" by {running.by}" if running.by else ""
        return f"an override{by} is in effect until {clock(running.until, zone, now)}"
    if plan.floor:
        return f"window {plan.window} is open or warming up"
    if plan.next is not None and plan.next.at - now < _SPARE:
        return f"window {plan.next.window} starts to warm up in {about(plan.next.at - now)}"
    active = pool.memory.last_active
    if active is not None and pool.memory.phase is not Phase.ASLEEP:
        quiet = now - active
        if quiet < idle_after(spec, pool.memory):
            return f"its last request was {about(quiet)} ago"
    return ""


def _check(pool: Pool, options: Namespace, now: datetime) -> None:
    if pool.spec.suspend:
        raise DemoModeError(
            f"{pool.name} is suspended and would not wake; set spec.suspend to false"
        )
    ignored = pool.raw["spec"].get("healthCheckPaths") or ()
    if not options.url and options.path.partition("?")[0] in ignored:
        raise DemoModeError(
            f"--path: {options.path} is in spec.healthCheckPaths and does not wake the pool; "
            "give a path that the demo uses"
        )
    why = refusal(pool, now)
    if why and not options.force:
        raise DemoModeError(
            f"{pool.name} cannot be rehearsed now: {why}; try later, or use --force"
        )
