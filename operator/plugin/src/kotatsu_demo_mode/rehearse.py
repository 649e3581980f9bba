"""kubectl demo-mode rehearse: run the next window now."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from kotatsu_operator.core.calendar.schedule import Occurrence, next_start
from kotatsu_operator.core.formats import parse_duration
from kotatsu_operator.core.plan.plan import plan_at
from kotatsu_operator.core.pool.memory import Phase

from .api import Api
from .client import Client, Here, Inside, Job
from .errors import DemoModeError
from .overrides import end_override, override, set_override
from .pools import Pool, read_pool
from .report import Answer, Report, answers
from .shell import Shell
from .switch import is_warm
from .times import about, clock, duration_of

_LOOK_AHEAD = timedelta(days=31)
_SPARE = timedelta(minutes=15)
"""No rehearsal if a window starts to warm up within this time."""

_EVERY = 0.5


def run(options: Namespace, shell: Shell) -> int:
    """Rehearse one pool; returns 1 if the demo would have failed."""
    begin = shell.clock()
    limit = duration_of(options.timeout, "--timeout")
    with shell.api(options) as api:
        pools = shell.find(api, options, priced=False)
        if len(pools) + len(shell.refused) != 1:
            there = ", ".join(pool.name for pool in pools) or "there is none"
            raise DemoModeError(
                f"name one pool ({there}), as in `kubectl demo-mode rehearse voice`"
            )
        pool = pools[0]
        _check(pool, options, begin)
        client = _client(api, pool, options, shell)
        rehearsal = _Rehearsal(api, pool, client, options, shell, limit)
        with rehearsal.given_back():
            report = rehearsal.go()
    if options.output in ("json", "yaml"):
        shell.terminal.dump(report.record(), options.output)
    else:
        for line in report.text():
            shell.terminal.say(line)
    return 0 if report.passed else 1


def refusal(pool: Pool, now: datetime) -> str:
    """Why the pool cannot be rehearsed now: it is in use, or will be soon."""
    zone, spec = pool.spec.zone, pool.spec
    running = pool.override_at(now)
    plan = plan_at(spec, pool.memory, now)
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
        if quiet < spec.scaling.idle_after:
            return f"its last request was {about(quiet)} ago"
    return ""


def _check(pool: Pool, options: Namespace, now: datetime) -> None:
    if pool.spec.suspend:
        raise DemoModeError(
            f"{pool.name} is suspended and would not wake; set spec.suspend to false"
        )
    ignored = (pool.raw["spec"].get("wake") or {}).get("ignorePaths") or ()
    if not options.url and options.path.partition("?")[0] in ignored:
        raise DemoModeError(
            f"--path: {options.path} is in spec.wake.ignorePaths and does not wake the pool; "
            "give a path that the demo uses"
        )
    why = refusal(pool, now)
    if why and not options.force:
        raise DemoModeError(
            f"{pool.name} cannot be rehearsed now: {why}; try later, or use --force"
        )


def _client(api: Api, pool: Pool, options: Namespace, shell: Shell) -> Client:
    if options.url:
        return Here(options.url)
    return Inside(api, pool, options.path, options.image, shell.clock, shell.sleep)


def rehearsed(pool: Pool, now: datetime) -> Occurrence | None:
    """The next opening, which is rehearsed."""
    return next_start(pool.spec.windows, pool.spec.zone, now, _LOOK_AHEAD)


class _Rehearsal:
    def __init__(
        self,
        api: Api,
        pool: Pool,
        client: Client,
        options: Namespace,
        shell: Shell,
        limit: timedelta,
    ) -> None:
        self._api, self._pool, self._client = api, pool, client
        self._options, self._shell, self._limit = options, shell, limit
        # The override ends by itself if this program cannot remove it.
        self._until = shell.clock() + min(3 * limit + timedelta(minutes=2), timedelta(hours=24))

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """Restore the previous override at the end, or remove the rehearsal's."""
        try:
            yield
        finally:
            before = self._pool.raw["spec"].get("override")
            now = self._read()
            if before is not None:
                set_override(self._api, now, before, force=True, dry_run=False)
            elif now.spec.override is not None:
                end_override(self._api, now, force=True, dry_run=False)
            self._shell.terminal.clear()

    def go(self) -> Report:
        """Put the pool to sleep, wake it by a request, start all replicas, send the requests."""
        coming = rehearsed(self._pool, self._shell.clock())
        replicas = coming.replicas if coming else 1
        replicas = min(self._options.replicas or replicas, self._pool.spec.scaling.max_replicas)
        cold = None
        if not self._options.warm_only:
            self._put_to_sleep()
            self._say("asleep; sending the request that wakes it")
            _, results = self._client.send(self._job(1, 1))
            cold = Answer(*results[0])
        warm_seconds = self._warm(replicas)
        self._say(f"{replicas} Ready; sending {self._options.requests} requests")
        seconds, results = self._client.send(
            self._job(self._options.requests, self._options.concurrency)
        )
        after = self._read()
        limit = self._options.max_p95
        return Report(
            pool=self._pool.name,
            route=self._client.route,
            window=coming.window if coming else "",
            replicas=replicas,
            cold=cold,
            ready_seconds=warm_seconds,
            lead=after.spec.lead or plan_at(after.spec, after.memory, self._shell.clock()).lead,
            load=answers(results),
            load_seconds=seconds,
            concurrency=self._options.concurrency,
            max_p95=None if limit is None else duration_of(limit, "--max-p95"),
        )

    def _job(self, requests: int, concurrency: int) -> Job:
        wake = (self._pool.raw["spec"].get("wake") or {}).get("holdTimeout") or "45s"
        headers = {}
        for text in self._options.header:
            name, separator, value = text.partition(":")
            if not separator:
                raise DemoModeError(
                    f"--header: {text!r} is not a header; write it like 'Name: value'"
                )
            headers[name.strip()] = value.strip()
        return {
            "method": self._options.method or ("GET" if self._options.data is None else "POST"),
            "data": self._options.data,
            "headers": headers,
            "requests": requests,
            "concurrency": concurrency,
            # Longer than the activator holds a request, to get the activator's answer.
            "timeout": parse_duration(wake).total_seconds() + 15,
        }

    def _read(self) -> Pool:
        return read_pool(self._api.get(self._pool.path), self._pool.requests)

    def _set(self, mode: str, replicas: int | None) -> int:
        value = override(
            mode, self._until, by=self._shell.user, reason="rehearsal", replicas=replicas
        )
        force = bool(self._options.force)
        raw = set_override(self._api, self._read(), value, force=force, dry_run=False)
        return int(raw["metadata"]["generation"])

    def _put_to_sleep(self) -> None:
        if self._is_asleep(self._read()):
            return
        self._set("Asleep", None)
        begin = self._shell.clock()
        while not self._is_asleep(pool := self._read()):
            self._say(f"putting it to sleep ({pool.status.get('phase', '-')})")
            self._give_up(begin, "did not fall asleep", pool)
            self._shell.sleep(_EVERY)

    @staticmethod
    def _is_asleep(pool: Pool) -> bool:
        return pool.status.get("phase") == Phase.ASLEEP and not pool.status.get("readyReplicas")

    def _warm(self, replicas: int) -> float:
        begin = self._shell.clock()
        generation = self._set("Warm", replicas)
        while not is_warm((pool := self._read()).status, generation):
            self._say(f"{pool.status.get('readyReplicas', 0)} of {replicas} Ready")
            self._give_up(begin, f"does not have {replicas} Ready pods", pool)
            self._shell.sleep(_EVERY)
        return (self._shell.clock() - begin).total_seconds()

    def _give_up(self, begin: datetime, what: str, pool: Pool) -> None:
        if self._shell.clock() - begin > self._limit:
            raise DemoModeError(
                f"the demo would have failed: {pool.name} {what} after {about(self._limit)} "
                f"(phase {pool.status.get('phase')}); see `kubectl describe warmpool {pool.name}`"
            )

    def _say(self, text: str) -> None:
        self._shell.terminal.progress(f"{self._pool.name}: {text}")
